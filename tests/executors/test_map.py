"""`map`: in order or as they end, in chunks, with few under way, and what is left when it is closed."""

from __future__ import annotations

import gc
import itertools
import os
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from tests.waiting import slowed, until, until_idle
from wrenla.errors import OutOfMemory, RemoteError, WorkerDied
from wrenla.testing.calls import Counted

from .gate import Gate


def slow(x: float) -> float:
    time.sleep(x)
    return x


def inverse(x: float) -> float:
    return 1 / x


def test_a_slow_one_comes_last_if_order_does_not_matter(shared: wl.LocalExecutor) -> None:
    times = [0.5, 0.0, 0.01, 0.02]
    assert list(shared.map(slow, times)) == times
    assert list(shared.map(slow, times, ordered=False))[-1] == 0.5
    assert list(shared.map(slow, times, ordered=False, chunksize=2)) == [0.01, 0.02, 0.5, 0.0]


def unpicklable_if_odd(x: int) -> Any:
    return threading.Lock() if x % 2 else x


@pytest.mark.parametrize("chunksize", [1, 2])
def test_results_that_cannot_travel_are_exceptions_in_place_of_results(
    processes: wl.LocalExecutor, chunksize: int
) -> None:
    found = list(processes.map(unpicklable_if_odd, [0, 1, 2, 4], chunksize=chunksize, return_exceptions=True))
    assert len(found) == 4
    assert isinstance(found[1], TypeError)
    assert found[2:] == [2, 4]


def ends_its_process(x: int) -> int:
    if x == 1:
        os._exit(3)
    return x


@pytest.mark.parametrize("chunksize", [1, 2])
def test_workers_that_die_are_exceptions_in_place_of_results(
    processes: wl.LocalExecutor, chunksize: int
) -> None:
    found = list(processes.map(ends_its_process, range(4), chunksize=chunksize, return_exceptions=True))
    assert len(found) == 4
    assert isinstance(found[1], WorkerDied)
    assert found[2:] == [2, 3]


@pytest.mark.parametrize("kind", ["process", "thread"])
@pytest.mark.parametrize("chunksize", [1, 3])
def test_retries_are_for_each_input(kind: Any, chunksize: int, tmp_path: Path) -> None:
    def flaky(x: int) -> int:
        with open(tmp_path / f"{x}", "a") as file:
            file.write("x")
            tried = file.tell()
        if tried <= x:
            raise ValueError(f"{x} for the {tried}th time")
        return x

    with wl.LocalExecutor(2, kind, allowed_mem="600 MiB") as executor:
        view = executor.options(retries=2)
        assert list(view.map(flaky, [0, 1, 2], chunksize=chunksize)) == [0, 1, 2]
        with pytest.raises(ValueError, match="5 for the 3th time"):
            list(view.map(flaky, [5], chunksize=chunksize))
    assert {path.name: len(path.read_text()) for path in tmp_path.iterdir() if path.is_file()} == {
        "0": 1,
        "1": 2,
        "2": 3,
        "5": 3,
    }


# how many inputs are consumed


@pytest.mark.parametrize(("buffersize", "chunksize"), [(4, 2), (1, 3), (6, 3), (5, 2)])
def test_inputs_are_consumed_in_chunks(shared: wl.LocalExecutor, buffersize: int, chunksize: int) -> None:
    inputs = Counted(itertools.count())
    found = shared.map(abs, inputs, buffersize=buffersize, chunksize=chunksize)
    under_way = max(chunksize, buffersize // chunksize * chunksize)
    assert inputs.taken == under_way
    for taken in range(1, 20):
        next(found)
        assert inputs.taken <= under_way + -(-taken // chunksize) * chunksize
    found.close()
    until_idle(shared)


def test_calls_begin_before_anybody_asks(shared: wl.LocalExecutor, tmp_path: Path) -> None:
    found = shared.map(Path.touch, [tmp_path / "a", tmp_path / "b"])
    assert until((tmp_path / "a").exists)
    assert until((tmp_path / "b").exists)
    assert list(found) == [None, None]


# its end before the end


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("chunksize", [1, 2])
def test_a_timeout_is_of_waiting(shared: wl.LocalExecutor, chunksize: int, ordered: bool, gate: Gate) -> None:
    found = shared.map(
        lambda x: x and gate.wait(x),
        [0, 0, *range(1, 7)],
        timeout=slowed(0.6),
        chunksize=chunksize,
        ordered=ordered,
    )
    assert [next(found), next(found)] == [0, 0]
    with pytest.raises(TimeoutError):
        next(found)
    before = shared.stats().succeeded
    gate.open()
    until_idle(shared)
    assert shared.stats().succeeded - before <= 2  # those that ran, none that waited


def test_a_timeout_does_not_hide_what_is_there(shared: wl.LocalExecutor) -> None:
    found = shared.map(abs, [-1, -2], timeout=0.3)
    until_idle(shared)
    time.sleep(0.4)
    assert list(found) == [1, 2]


@pytest.mark.parametrize("how", [{}, {"chunksize": 2}, {"ordered": False}, {"buffersize": 6}], ids=str)
def test_a_break_cancels_what_has_not_begun_and_nothing_else(shared: wl.LocalExecutor, how: Any) -> None:
    before = shared.stats()
    for result in shared.map(slow, [0.0, 0.0] + [0.3] * 20, **how):
        assert result == 0
        break
    until_idle(shared)
    after = shared.stats()
    assert after.cancelled - before.cancelled >= 3
    assert after.failed == before.failed
    assert after.succeeded - before.succeeded <= 6


def test_calls_for_their_side_effects_are_all_made(shared: wl.LocalExecutor, gate: Gate) -> None:
    """Nobody asks for a result: as in the standard library, that is no reason not to make the calls."""
    before = shared.stats()
    ways: list[dict[str, Any]] = [
        {},
        {"chunksize": 2},
        {"ordered": False},
        {"timeout": 60},
        {"return_exceptions": True},
    ]
    for how in ways:
        shared.map(gate.wait, range(6), **how)
        shared.map(gate.wait, range(6), **how).close()  # type: ignore[attr-defined]
    gc.collect()
    shared.map(gate.wait, itertools.count(), buffersize=3)  # so many and no more
    gate.open()
    until_idle(shared)
    after = shared.stats()
    assert after.cancelled == before.cancelled
    assert after.succeeded - before.succeeded == 4 * 12 + 6 + 3  # chunks are one call


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_a_block_ends_when_all_its_calls_are_made(kind: Any, tmp_path: Path) -> None:
    folder = tmp_path / "marks"
    folder.mkdir()
    with wl.LocalExecutor(2, kind, allowed_mem="600 MiB") as executor:
        executor.map(Path.touch, (folder / str(n) for n in range(50)))
    assert len(list(folder.iterdir())) == 50


def test_a_forgotten_map_keeps_neither_function_nor_arguments(
    processes: wl.LocalExecutor, stored: Callable[[], list[str]]
) -> None:
    large = bytes(300_000)
    for how in ({}, {"buffersize": 2}):
        processes.map(lambda _, __, large=large: len(large), range(4), itertools.repeat(large), **how)
        gc.collect()
        until_idle(processes)
        assert until(lambda: stored() == []), stored()


@pytest.mark.parametrize("chunksize", [1, 2])
def test_an_exception_cancels_what_has_not_begun_at_once(shared: wl.LocalExecutor, chunksize: int) -> None:
    before = shared.stats().cancelled
    with pytest.raises(TypeError) as caught:
        list(shared.map(slow, ["a", 0.0] + [0.2] * 20, chunksize=chunksize))
    until_idle(shared)
    assert shared.stats().cancelled - before >= 5
    assert caught.value is not None  # whoever holds the exception holds no calls


def test_results_are_not_held() -> None:
    """Whoever takes results one by one has one in memory."""

    class Held:
        pass

    ways: list[dict[str, Any]] = [
        {},
        {"chunksize": 3},
        {"buffersize": 2},
        {"ordered": False},
        {"timeout": 60},
        {"return_exceptions": True},
    ]
    with wl.LocalExecutor(1, "thread", allowed_mem="300 MiB") as executor:
        for how in ways:
            results = executor.map(lambda _: Held(), range(6), **how)
            until_idle(executor)
            for made in results:
                held = weakref.ref(made)
                del made
                assert until(lambda held=held: held() is None), how


def test_results_of_processes_are_not_held_by_channels(processes: wl.LocalExecutor) -> None:
    """Short calls are sent ahead in one message; what has been answered is nobody's any more."""
    list(processes.map(abs, range(200)))  # that they are short has to be found out
    futures = processes.submit_many(abs, [*range(100)])
    held = [weakref.ref(future) for future in futures]
    assert [future.result() for future in futures] == list(range(100))
    del futures
    assert until(lambda: not any(ref() for ref in held))


def test_an_executor_that_is_forgotten_ends_when_its_calls_have(gate: Gate) -> None:
    for kind in ("thread", "process"):
        executor: wl.LocalExecutor | None = wl.LocalExecutor(1, kind, allowed_mem="300 MiB")  # type: ignore[arg-type]
        results = executor.map(abs, range(-5, 5))
        calls = executor.calls
        del executor
        assert until(lambda calls=calls: calls._state.closed and calls._is_gone())
        assert list(results) == [5, 4, 3, 2, 1, 0, 1, 2, 3, 4]
        # one that has inputs to come keeps it
        ahead = wl.LocalExecutor(1, "thread", allowed_mem="300 MiB").map(abs, range(-5, 5), buffersize=1)
        assert list(ahead) == [5, 4, 3, 2, 1, 0, 1, 2, 3, 4]


# bad arguments


@pytest.mark.parametrize(
    ("ask", "kind", "message"),
    [
        (lambda e: e.submit_many(abs), TypeError, "at least one iterable"),
        (lambda e: e.map(abs, 3), TypeError, "iter"),
        (lambda e: e.map(abs, [1], chunksize=0), ValueError, "chunksize=0"),
        (lambda e: e.map(abs, [1], chunksize=-1), ValueError, "chunksize=-1"),
        (lambda e: e.map(abs, [1], chunksize=1.5), (TypeError, ValueError), "chunksize=1.5"),
        (lambda e: e.map(abs, [1], buffersize=0), ValueError, "buffersize=0"),
        (lambda e: e.map(abs, [1], buffersize=-2), ValueError, "buffersize=-2"),
        (lambda e: e.map(abs, [1], buffersize=2.0), TypeError, "buffersize=2.0.* integer or None"),
        (lambda e: e.map(abs, [1], buffersize="2"), TypeError, "buffersize='2'.* integer or None"),
        (lambda e: e.map(pow, [1], mod=1), TypeError, r"'mod'.*functools.partial\(pow, mod=…\)"),
        (lambda e: e.map(abs, [1], chunk_size=1), TypeError, "'chunk_size'; did you mean 'chunksize'"),
        (lambda e: e.map(abs, [1], retry=1), TypeError, r"did you mean 'executor.options\(retries=…\).map"),
        (lambda e: e.submit_many(pow, [1], mod=1), TypeError, r"functools.partial\(pow, mod=…\)"),
        (lambda e: e.map_reduce(abs, [1], sum, fanin=2), TypeError, "did you mean 'fan_in'"),
    ],
)
def test_bad_arguments(
    shared: wl.LocalExecutor, ask: Callable[[wl.LocalExecutor], Any], kind: Any, message: str
) -> None:
    before = shared.stats().submitted
    with pytest.raises(kind, match=message):
        ask(shared)
    assert shared.stats().submitted == before


def test_a_chunk_tries_only_again_what_has_failed(shared: wl.LocalExecutor, tmp_path: Any) -> None:
    def function(x: int) -> int:
        with open(tmp_path / "ran", "a") as file:
            file.write(f"{x} ")
        if x == 3:
            raise SystemExit(1)
        if x == 4:
            raise MemoryError("no more")
        return x

    found = list(shared.options(retries=2).map(function, range(6), chunksize=6, return_exceptions=True))
    assert (tmp_path / "ran").read_text().split() == ["0", "1", "2", "3", "3", "3", "4", "5"]
    assert [found[x] for x in (0, 1, 2, 5)] == [0, 1, 2, 5]
    assert [type(found[x]) for x in (3, 4)] == [RemoteError, OutOfMemory]


def test_numpy_integers_are_whole_numbers(shared: wl.LocalExecutor) -> None:
    found = shared.map(abs, range(10), chunksize=np.int64(2), buffersize=np.int32(4))  # type: ignore[arg-type]
    assert list(found) == list(range(10))
    assert shared.options(retries=np.int64(1)).submit(abs, -1).result(timeout=20) == 1  # type: ignore[arg-type]


class Mistake(Exception):
    """One that cannot be pickled as it is: its __init__ wants a keyword."""

    def __init__(self, *, why: object) -> None:
        super().__init__(why)
        self.why = why


def mistakes(number: int) -> Any:
    match number:
        case 0:
            raise Mistake(why=threading.Lock())
        case 1:
            try:
                raise KeyError("inner")
            except KeyError as error:
                raise ValueError("outer") from error
        case 2:
            error = ValueError("with a note")
            error.add_note("a note")
            raise error
        case 3:
            raise ExceptionGroup("a group", [ValueError("one"), KeyError("two")])
        case 4:
            raise StopIteration(4)
        case 5:
            raise GeneratorExit
        case 6:
            raise MemoryError("too much")
        case _:
            raise BaseExceptionGroup("not for you", [KeyboardInterrupt()])


def test_exceptions_are_the_same_in_chunks(shared: wl.LocalExecutor) -> None:
    def seen(error: Any) -> Any:
        chain = [type(each) for each in (error, error.__cause__, error.__context__)]
        members = [seen(each) for each in getattr(error, "exceptions", ())]
        return chain, str(error).partition(" at 0x")[0], getattr(error, "__notes__", []), members

    one, two = (
        list(shared.map(mistakes, range(8), return_exceptions=True, chunksize=size)) for size in (1, 2)
    )
    assert [seen(error) for error in one] == [seen(error) for error in two]
    if shared.kind == "thread":
        assert type(two[0]) is Mistake
        assert (type(two[1].__cause__), type(two[1].__context__)) == (KeyError, KeyError)
        error = ValueError("the very same")

        def fail(_: int) -> None:
            raise error

        with pytest.raises(ValueError) as caught:
            list(shared.map(fail, [1, 2], chunksize=2))
        assert caught.value is error
    for size in (1, 2):
        with pytest.raises(RuntimeError, match="StopIteration") as caught_too:
            list(shared.map(mistakes, [4], chunksize=size))
        assert isinstance(caught_too.value.__cause__, StopIteration)
