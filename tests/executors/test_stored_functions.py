"""Functions that are too large for a message: stored once, and removed with the last call that needs them."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest

import wrenla as wl
from tests.waiting import until
from wrenla.executors.transport.scratch import ScratchSpace
from wrenla_handler.stores.base import Reach

from .gate import Gate

pytestmark = pytest.mark.timeout(60)

Large = Callable[[object], float]


def large(seed: float = 0.5) -> Large:
    """Return a function that has 2 MB."""
    table = np.full(1 << 18, seed)
    return lambda _: float(table[-1])


def adding(seed: float = 0.25) -> Callable[[list[float]], float]:
    """Return a reduction that has 2 MB."""
    table = np.full(1 << 18, seed)
    return lambda values: sum(values) + 0 * float(table[0])


@pytest.fixture
def functions(stored: Callable[[], list[str]]) -> Callable[[], int]:
    """How many objects of functions are stored now."""
    return lambda: sum("/functions/" in key for key in stored())


def test_stored_function_is_removed_with_its_call(
    processes: wl.LocalExecutor, functions: Callable[[], int]
) -> None:
    for n in range(3):
        assert processes.submit(large(n), 0).result(timeout=20) == n
        assert until(lambda: functions() == 0)


def test_stored_function_stays_while_a_call_waits(
    processes: wl.LocalExecutor, functions: Callable[[], int], gate: Gate
) -> None:
    blocked = processes.submit_many(gate.wait, range(2))
    first = large()
    futures = [processes.submit(first, 0), processes.submit(first, 1)]
    assert functions() == 1
    assert futures[0].cancel()
    gate.open()
    assert futures[1].result(timeout=20) == 0.5
    assert [future.result(timeout=20) for future in blocked] == [0, 1]
    assert until(lambda: functions() == 0)


@pytest.mark.parametrize("chunksize", [1, 2])
@pytest.mark.parametrize("buffersize", [None, 1, 3])
def test_stored_function_of_map_is_removed_with_last_call(
    processes: wl.LocalExecutor, functions: Callable[[], int], buffersize: int | None, chunksize: int
) -> None:
    function, seen = large(), []
    for value in processes.map(function, range(8), buffersize=buffersize, chunksize=chunksize):
        seen.append(value)
        assert buffersize is None or len(seen) > 5 or functions() == 1
    assert seen == [0.5] * 8
    assert until(lambda: functions() == 0)


@pytest.mark.parametrize("buffersize", [None, 2])
def test_stored_function_of_abandoned_map_is_removed(
    processes: wl.LocalExecutor, functions: Callable[[], int], buffersize: int | None
) -> None:
    for value in processes.map(large(), range(100), buffersize=buffersize):
        assert value == 0.5
        break
    assert until(lambda: functions() == 0)


def test_stored_function_of_map_with_failing_inputs_is_removed(
    processes: wl.LocalExecutor, functions: Callable[[], int]
) -> None:
    def inputs() -> object:
        yield 1
        raise KeyError("no more")

    with pytest.raises(KeyError):
        processes.map(large(), inputs())  # type: ignore[arg-type]
    with pytest.raises(KeyError):
        processes.submit_many(large(), inputs())  # type: ignore[arg-type]
    assert until(lambda: functions() == 0)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_map_reduce(processes: wl.LocalExecutor, functions: Callable[[], int], count: int) -> None:
    future = processes.map_reduce(large(), range(count), adding(), fan_in=2)
    assert future.result(timeout=20) == count / 2
    assert until(lambda: functions() == 0)


def test_map_reduce_that_fails(processes: wl.LocalExecutor, functions: Callable[[], int]) -> None:
    table = np.ones(1 << 18)
    future = processes.map_reduce(lambda x: table[0] / x, [1.0, "no", 2.0], adding(), fan_in=2)  # type: ignore[list-item]
    with pytest.raises(TypeError):
        future.result(timeout=20)
    assert until(lambda: functions() == 0)


def test_a_function_that_raises_or_dies(processes: wl.LocalExecutor, functions: Callable[[], int]) -> None:
    table = np.ones(1 << 18)
    acts = [lambda: {}[table[0]], lambda: os._exit(int(table[0])), lambda: sys.exit(int(table[0]))]
    for act in acts:
        assert processes.submit(act).exception(timeout=20) is not None
        assert until(lambda: functions() == 0)


def test_stored_function_stays_for_retries(
    processes: wl.LocalExecutor, functions: Callable[[], int], gate: Gate
) -> None:
    table, path = np.ones(1 << 18), gate.path

    def dies_once() -> float:
        if not path.exists():
            path.touch()
            os._exit(1)
        return float(table[0])

    assert processes.options(idempotent=True).submit(dies_once).result(timeout=20) == 1
    assert until(lambda: functions() == 0)


def test_stored_function_is_stored_again_while_removed(
    processes: wl.LocalExecutor, functions: Callable[[], int]
) -> None:
    function = large()
    for _ in range(20):  # one is removed while the next one is being stored
        assert processes.submit(function, 0).result(timeout=20) == 0.5
    assert until(lambda: functions() == 0)


def test_many_threads_share_and_drop(stored: Callable[[], list[str]]) -> None:
    place, part, lost = ScratchSpace("calls-shared", Reach.HOST), bytes(1 << 16), []

    def work() -> None:
        for _ in range(100):
            packed = place.share([part], "functions", inline=0)
            assert place.keep(packed)
            place.drop(packed)
            lost.extend(blob.key for blob in packed if not place.store.exists(blob.key))
            place.drop(packed)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lost == []
    assert stored() == []
    place.close()


def test_function_that_cannot_be_stored_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    place = ScratchSpace("calls-failing", Reach.HOST)
    with monkeypatch.context() as patch:
        patch.setattr(type(place.store), "put", lambda *_, **__: (_ for _ in ()).throw(OSError("full")))
        with pytest.raises(OSError, match="full"):
            place.share([b"part"], "functions", inline=0)
    packed = place.share([b"part"], "functions", inline=0)
    assert place.store.exists(packed[0].key)
    place.drop(packed)
    assert not place.store.exists(packed[0].key)
    assert not place.keep(packed)
    place.drop(packed)  # once more than it was shared
    place.close()
    place.drop(packed)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_that_ends_removes_nothing(
    processes: wl.LocalExecutor, functions: Callable[[], int], gate: Gate
) -> None:
    blocked = processes.submit_many(gate.wait, range(2))
    results = processes.map(large(), range(3), buffersize=1)
    child = os.fork()
    if child == 0:
        try:
            results.close()  # type: ignore[attr-defined]  # as when its program ends
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert functions() == 1
    gate.open()
    assert list(results) == [0.5] * 3
    assert [future.result(timeout=20) for future in blocked] == [0, 1]
    assert until(lambda: functions() == 0)
