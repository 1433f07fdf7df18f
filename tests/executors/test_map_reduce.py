"""`map_reduce`: a tree that keeps the order, and whose intermediate results never come home."""

from __future__ import annotations

import concurrent.futures
import functools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import wrenla as wl
import wrenla.executors.transport.remote
from wrenla_handler.serialize.blobs import INLINE, load


def kept(executor: wl.LocalExecutor) -> list[str]:
    """What is in the executor's place, when nothing runs any more."""
    deadline = time.monotonic() + 5
    keys: list[str] = []
    while time.monotonic() < deadline:
        now = executor.stats()
        store = executor.calls.transport.scratch.store
        keys = [
            key for key in store.list() if not key.startswith(("wrenla-lease/", "functions/", "modules/"))
        ]
        if not now.waiting + now.running and not keys:
            break
        time.sleep(0.01)
    return keys


def reductions(n: int, fan_in: int) -> int:
    """How many calls of the reduction the tree has."""
    if n <= 1:
        return 1
    calls = 0
    while n > 1:
        calls += n // fan_in + (n % fan_in > 1)
        n = -(-n // fan_in)
    return calls


def as_list(x: int) -> list[int]:
    return [x]


def join(lists: list[list[int]]) -> list[int]:
    return functools.reduce(lambda a, b: a + b, lists, [])


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(n=st.integers(0, 40), fan_in=st.integers(2, 9))
@example(n=0, fan_in=2)
@example(n=1, fan_in=2)
@example(n=2, fan_in=2)
@example(n=9, fan_in=2)
@example(n=17, fan_in=16)
@example(n=27, fan_in=3)
@example(n=28, fan_in=3)
def test_the_order_is_kept_and_the_tree_is_as_it_should_be(
    shared: wl.LocalExecutor, n: int, fan_in: int
) -> None:
    before = shared.stats()
    assert shared.map_reduce(as_list, iter(range(n)), join, fan_in=fan_in).result(timeout=60) == list(
        range(n)
    )
    assert shared.stats().submitted - before.submitted == n + reductions(n, fan_in)


def test_map_reduce_passes_lists_of_fan_in_values(shared: wl.LocalExecutor) -> None:
    def group(values: list[Any]) -> tuple[Any, ...]:
        assert type(values) is list
        return tuple(values)

    def tree(n: int, fan_in: int) -> Any:
        return shared.map_reduce(str, range(n), group, fan_in=fan_in).result(timeout=30)

    assert tree(0, 2) == ()
    assert tree(1, 2) == ("0",)
    assert tree(4, 4) == ("0", "1", "2", "3")
    assert tree(5, 2) == ((("0", "1"), ("2", "3")), "4")
    assert tree(5, 4) == (("0", "1", "2", "3"), "4")


def test_usual_reductions(shared: wl.LocalExecutor) -> None:
    assert shared.map_reduce(abs, range(-5, 6), sum).result(timeout=30) == 30
    assert shared.map_reduce(abs, range(-5, 6), max, fan_in=2).result(timeout=30) == 5
    assert shared.map_reduce(str, range(30), "".join, fan_in=3).result(timeout=30) == "".join(
        map(str, range(30))
    )
    stacked = shared.map_reduce(np.atleast_2d, np.arange(6.0), np.vstack, fan_in=2).result(timeout=30)
    np.testing.assert_array_equal(stacked, np.arange(6.0)[:, None])


def test_the_future_runs_from_the_beginning(shared: wl.LocalExecutor) -> None:
    future = shared.map_reduce(time.sleep, [0.2] * 3, len)
    assert isinstance(future, wl.Future)
    assert future.running()
    assert not future.cancel()
    assert future.result(timeout=30) == 3
    assert future.attempts[0].ending == "value"
    empty = shared.map_reduce(time.sleep, [], len)
    assert empty.result(timeout=30) == 0


@pytest.mark.parametrize("fan_in", [1, 0, -3])
def test_a_tree_needs_branches(shared: wl.LocalExecutor, fan_in: int) -> None:
    before = shared.stats().submitted
    with pytest.raises(ValueError, match=f"fan_in={fan_in}: a whole number, at least 2"):
        shared.map_reduce(abs, [1], sum, fan_in=fan_in)
    assert shared.stats().submitted == before


# large results


def large(x: int) -> np.ndarray:
    return np.full(40_000, float(x))  # more than a message takes


def add(arrays: list[np.ndarray]) -> np.ndarray:
    return np.sum(arrays, axis=0)


def test_intermediate_results_never_come_home(
    processes: wl.LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Any] = []

    def counting(*args: Any, **more: Any) -> Any:
        loaded.append(load(*args, **more))
        return loaded[-1]

    fetched: list[str] = []
    place = processes.calls.transport.scratch
    fetch = place.fetch
    monkeypatch.setattr(wrenla.executors.transport.remote, "load", counting)
    monkeypatch.setattr(place, "fetch", lambda key: fetched.append(key) or fetch(key))
    result = processes.map_reduce(large, range(9), add, fan_in=3).result(timeout=60)
    np.testing.assert_array_equal(result, np.full(40_000, 36.0))
    assert len(loaded) == len(fetched) == 1
    assert kept(processes) == []
    assert result.nbytes > INLINE


def test_map_reduce_fails_with_its_call(processes: wl.LocalExecutor) -> None:
    def some_fail(x: int) -> np.ndarray:
        if x == 5:
            raise LookupError("no five")
        time.sleep(0.01)
        return np.full(40_000, float(x))

    before = processes.stats()
    future = processes.map_reduce(some_fail, range(60), add, fan_in=3)
    with pytest.raises(LookupError, match="no five"):
        future.result(timeout=60)
    assert kept(processes) == []
    after = processes.stats()
    assert after.cancelled - before.cancelled > 30
    assert after.failed - before.failed == 1


@pytest.mark.parametrize("first", [True, False])
def test_map_reduce_fails_with_its_reduction(processes: wl.LocalExecutor, first: bool) -> None:
    def fails(arrays: list[np.ndarray]) -> np.ndarray:
        total = np.sum(arrays, axis=0)
        if first or total[0] > 20:
            raise ArithmeticError("too much")
        return total

    with pytest.raises(ArithmeticError, match="too much"):
        processes.map_reduce(large, range(30), fails, fan_in=3).result(timeout=60)
    assert kept(processes) == []


def test_inputs_that_fail_midway_leave_nothing(shared: wl.LocalExecutor) -> None:
    def inputs() -> Iterator[int]:
        yield from range(4)
        time.sleep(0.3)
        raise LookupError("no more inputs")

    with pytest.raises(LookupError):
        shared.map_reduce(large, inputs(), add)
    assert kept(shared) == []


def test_an_argument_that_cannot_travel_leaves_nothing(processes: wl.LocalExecutor) -> None:
    def big(x: Any) -> np.ndarray:
        return np.zeros(100_000)

    with pytest.raises(TypeError, match="pickle"):
        processes.map_reduce(big, [1, 2, threading.Lock()], add)
    assert kept(processes) == []


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_the_end_of_the_block_waits_for_all_of_it(kind: Any) -> None:
    with wl.LocalExecutor(2, kind, allowed_mem="600 MiB") as executor:
        future = executor.map_reduce(lambda x: (time.sleep(0.05), x)[1], range(8), sum, fan_in=2)
    assert future.result(timeout=0) == 28


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_the_end_that_cancels_ends_it(kind: Any) -> None:
    executor = wl.LocalExecutor(2, kind, allowed_mem="600 MiB")
    future = executor.map_reduce(lambda x: (time.sleep(0.1), x)[1], range(20), sum, fan_in=2)
    executor.shutdown(cancel_futures=True)
    assert isinstance(future.exception(timeout=5), concurrent.futures.CancelledError)


def test_several_at_the_same_time(shared: wl.LocalExecutor) -> None:
    futures = [shared.map_reduce(as_list, range(n), join, fan_in=2) for n in range(12)]
    assert [future.result(timeout=60) for future in futures] == [list(range(n)) for n in range(12)]


def test_options_are_for_all_its_calls(shared: wl.LocalExecutor, tmp_path: Path) -> None:
    def flaky(name: str) -> Callable[[Any], Any]:
        def fn(x: Any) -> Any:
            path = tmp_path / f"{name}-{x}"
            if not path.exists():
                path.touch()
                raise ValueError(name)
            return sum(x) if isinstance(x, list) else x

        return fn

    future = shared.options(retries=1).map_reduce(flaky("map"), range(4), flaky("reduce"), fan_in=2)
    assert future.result(timeout=60) == 6
    assert len(list(tmp_path.glob("map-*"))) == 4
    assert len(list(tmp_path.glob("reduce-*"))) == 3
