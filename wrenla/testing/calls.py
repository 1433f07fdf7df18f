"""Contract of the map API, as tests."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import logging
import operator
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, CancelledError
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla.errors import OutOfMemory, RemoteError
from wrenla.executors.base import Executor

__all__ = ["CallTests"]

PATIENCE = 120.0
"""Seconds after which a call that has not ended is a failure."""

WAYS: tuple[dict[str, Any], ...] = (
    *({}, {"ordered": False}, {"chunksize": 3}, {"chunksize": 100}, {"buffersize": 1}),
    *({"buffersize": 4}, {"buffersize": 4, "ordered": False}, {"buffersize": 5, "chunksize": 2}),
    *({"buffersize": 2, "chunksize": 5, "ordered": False}, {"timeout": 60, "return_exceptions": True}),
)
"""Arguments of `map`."""


def _functions() -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Return functions that travel by value: a worker has no pytest, and so cannot import this module."""

    def slow(x: Any) -> Any:
        time.sleep(x)
        return x

    def inverse(x: Any) -> Any:
        return 1 / x

    return slow, inverse


slow, inverse = _functions()


class Counted:
    """Inputs, and how many have been asked for."""

    def __init__(self, inputs: Any) -> None:
        self.inputs = iter(inputs)
        self.taken = 0

    def __iter__(self) -> Counted:
        return self

    def __next__(self) -> Any:
        found = next(self.inputs)
        self.taken += 1
        return found


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.005)


def _idle(executor: Executor) -> None:
    """Wait until no call waits or runs."""
    _until(lambda: executor.stats().waiting + executor.stats().running == 0)


class CallTests:
    """Tests of what users call: `submit`, `map`, futures, the end. Fixtures are those of `ExecutorTests`."""

    @pytest.fixture
    def fresh(self, executor: Executor) -> Executor:
        return executor

    # calls

    def test_a_call_returns_what_its_function_does(self, executor: Executor) -> None:
        before = executor.stats()
        assert isinstance(executor, concurrent.futures.Executor)
        assert executor.workers >= 1
        assert executor.submit(int, "11", base=2).result(PATIENCE) == 3
        offset = 10
        assert executor.submit(lambda x: x + offset, 1).result(PATIENCE) == 11

        def make() -> Callable[[int], int]:
            return lambda x: x + 1

        assert executor.submit(make).result(PATIENCE)(1) == 2
        _idle(executor)
        after = executor.stats()
        assert (after.submitted - before.submitted, after.succeeded - before.succeeded) == (3, 3)

    @pytest.mark.parametrize("thing", [None, 3, "abs", [abs]])
    def test_objects_that_are_not_callable_are_refused(self, executor: Executor, thing: Any) -> None:
        before = executor.stats().submitted
        for ask in (
            lambda: executor.submit(thing),
            lambda: executor.map(thing, [1]),
            lambda: executor.map(thing, [1], chunksize=2),
            lambda: executor.submit_many(thing, [1]),
            lambda: executor.map_reduce(thing, [1], sum),
            lambda: executor.map_reduce(abs, [1], thing),
        ):
            with pytest.raises(TypeError, match="cannot be called"):
                ask()
        assert executor.stats().submitted == before

    def test_keyword_arguments_of_every_name(self, executor: Executor) -> None:
        names = {"fn": 1, "self": 2, "timeout": 3, "args": 4, "kwargs": 5, "call": 6}
        assert executor.submit(dict, **names).result(PATIENCE) == names
        found = executor.submit(sorted, [1, 3, 2], reverse=True, key=operator.neg)
        assert found.result(PATIENCE) == [1, 2, 3]

    @pytest.mark.parametrize("size", [0, 1, 9_000, 1_000_000])
    def test_arrays_go_and_come(self, executor: Executor, size: int) -> None:
        def both(x: Any, *, y: Any) -> list[Any]:
            return [x, 2 * y]

        x = np.arange(float(size))
        first, second = executor.submit(both, x, y=x).result(PATIENCE)
        np.testing.assert_array_equal(first, x)
        np.testing.assert_array_equal(second, 2 * x)
        second[...] = 0

    def test_an_exception_comes_back_with_its_notes(self, executor: Executor) -> None:
        def fail() -> None:
            error = KeyError("place")
            error.add_note("a note")
            raise error from ValueError("the cause")

        error = executor.submit(fail).exception(PATIENCE)
        assert type(error) is KeyError
        assert (error.args, error.__notes__) == (("place",), ["a note"])
        assert error.__cause__ is not None

    @pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
    def test_base_exceptions_come_back_as_remote_error(
        self, executor: Executor, kind: type[BaseException]
    ) -> None:
        def fail() -> None:
            raise kind("enough")

        error = executor.submit(fail).exception(PATIENCE)
        assert isinstance(error, RemoteError)
        assert str(error) == f"{kind.__name__}: enough"
        assert executor.submit(abs, -1).result(PATIENCE) == 1

    def test_a_memory_error_is_out_of_memory(self, executor: Executor) -> None:
        def fail() -> None:
            raise MemoryError("all gone")

        with pytest.raises(OutOfMemory, match="fail: all gone") as caught:
            executor.options(retries=3).submit(fail).result(PATIENCE)
        assert isinstance(caught.value, MemoryError)

    def test_printed_and_logged_lines_are_in_logs(self, executor: Executor) -> None:
        def talk(n: int) -> None:
            print(f"hello {n} ä")  # noqa: T201
            print("to stderr", file=sys.stderr)  # noqa: T201
            logging.getLogger("talker").warning("logged %d", n)

        first, second, silent = (
            executor.submit(talk, 1),
            executor.submit(talk, 2),
            executor.submit(abs, 1),
        )
        for n, future in enumerate([first, second], 1):
            future.result(PATIENCE)
            assert f"hello {n} ä\n" in future.logs
            assert "to stderr\n" in future.logs
            assert f"WARNING talker: logged {n}" in future.logs
        silent.result(PATIENCE)
        assert silent.logs == ""

    def test_lines_printed_before_an_exception_are_in_logs(self, executor: Executor) -> None:
        future = executor.submit(lambda: (print("before"), 1 / 0))  # noqa: T201
        assert isinstance(future.exception(PATIENCE), ZeroDivisionError)
        assert future.logs == "before\n"

    def test_calls_from_many_threads_at_once(self, executor: Executor) -> None:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            asked = list(
                pool.map(lambda n: [executor.submit(operator.mul, n, k) for k in range(20)], range(8))
            )
        for n, mine in enumerate(asked):
            assert [future.result(PATIENCE) for future in mine] == [n * k for k in range(20)]
        assert len({future.id for mine in asked for future in mine}) == 160

    def test_submit_many_takes_the_shortest(self, executor: Executor) -> None:
        futures = executor.submit_many(pow, [1, 2, 3], iter([2, 3]))
        assert [future.result(PATIENCE) for future in futures] == [1, 8]
        assert all(isinstance(future, wl.Future) for future in futures)
        assert executor.submit_many(abs, []) == []
        with pytest.raises(TypeError, match="at least one iterable"):
            executor.submit_many(abs)

    def test_map_reduce_and_broadcast(self, executor: Executor) -> None:
        assert executor.map_reduce(lambda x: x * x, range(10), sum).result(PATIENCE) == 285
        weights = executor.broadcast(np.arange(3.0))
        assert list(executor.map(lambda k, w: float(w[k]), range(3), [weights] * 3)) == [0.0, 1.0, 2.0]

    def test_random_numbers_differ_from_call_to_call(self, executor: Executor) -> None:
        drawn = list(executor.map(lambda b: np.random.normal(0, b, 64).tobytes(), [1.0] * 10))
        assert len(set(drawn)) == 10

    # map

    @pytest.mark.parametrize("how", WAYS, ids=str)
    def test_map_has_a_result_for_every_input(self, executor: Executor, how: dict[str, Any]) -> None:
        found = list(executor.map(operator.sub, range(17), (2 * k for k in itertools.count()), **how))
        expected = [-k for k in range(17)]
        assert (found if how.get("ordered", True) else sorted(found, reverse=True)) == expected

    @pytest.mark.parametrize("how", WAYS, ids=str)
    def test_map_of_no_inputs_has_no_results(self, executor: Executor, how: dict[str, Any]) -> None:
        assert list(executor.map(abs, [], **how)) == []
        assert list(executor.map(pow, [1], [], **how)) == []
        assert list(executor.map(abs, **how)) == []

    @pytest.mark.parametrize("chunksize", [1, 2])
    def test_map_raises_where_the_result_would_be(self, executor: Executor, chunksize: int) -> None:
        found = executor.map(inverse, [1, 2, 4, 0, 8], chunksize=chunksize)
        assert iter(found) is found
        assert [next(found) for _ in range(3)] == [1, 0.5, 0.25]
        with pytest.raises(ZeroDivisionError):
            next(found)
        with pytest.raises(StopIteration):
            next(found)

    @pytest.mark.parametrize("chunksize", [1, 2, 100])
    @pytest.mark.parametrize("buffersize", [None, 2])
    def test_map_returns_exceptions_in_place_of_results(
        self, executor: Executor, chunksize: int, buffersize: int | None
    ) -> None:
        inputs = [1, 0, 2, "a", 0.5]
        how: dict[str, Any] = {"chunksize": chunksize, "buffersize": buffersize}
        found = list(executor.map(inverse, inputs, return_exceptions=True, **how))
        assert [type(each) for each in found] == [float, ZeroDivisionError, float, TypeError, float]
        assert [each for each in found if isinstance(each, float)] == [1, 0.5, 2]

    @pytest.mark.parametrize("ordered", [True, False])
    @pytest.mark.parametrize("buffersize", [1, 3, 10])
    def test_map_consumes_inputs_as_results_are(
        self, executor: Executor, buffersize: int, ordered: bool
    ) -> None:
        inputs = Counted(itertools.count())
        found: Any = executor.map(abs, inputs, buffersize=buffersize, ordered=ordered)
        assert inputs.taken == buffersize
        for taken in range(1, 30):
            next(found)
            assert inputs.taken == buffersize + taken
        found.close()
        assert inputs.taken == buffersize + 29
        _idle(executor)

    @pytest.mark.parametrize(("count", "buffersize"), [(3, 10), (10, 3), (3, 3), (4, 3), (50, None)])
    def test_map_consumes_all_inputs_and_no_more(
        self, executor: Executor, count: int, buffersize: int | None
    ) -> None:
        inputs = Counted(range(count))
        found = executor.map(abs, inputs, buffersize=buffersize)
        assert inputs.taken == min(count, buffersize or count)
        assert list(found) == list(range(count))
        assert inputs.taken == count

    @pytest.mark.parametrize("how", [{}, {"buffersize": 2}, {"chunksize": 2}, WAYS[-2]], ids=str)
    def test_map_ends_where_its_inputs_fail(self, executor: Executor, how: dict[str, Any]) -> None:
        def inputs() -> Iterator[float]:
            yield from [0.0] * 8
            raise LookupError("no more inputs")

        with pytest.raises(LookupError, match="no more inputs"):
            list(executor.map(slow, inputs(), **how))
        _idle(executor)
        assert executor.submit(abs, -1).result(PATIENCE) == 1

    def test_a_break_cancels_what_has_not_begun(self, executor: Executor) -> None:
        before = executor.stats()
        for result in executor.map(slow, [0.0] + [0.3] * (5 * executor.workers)):
            assert result == 0
            break
        _idle(executor)
        after = executor.stats()
        assert after.cancelled > before.cancelled
        assert after.failed == before.failed

    # futures

    def test_wait_knows_its_futures(self, executor: Executor) -> None:
        futures = executor.submit_many(slow, [0.05, 0.5])
        done, pending = concurrent.futures.wait(futures, PATIENCE, return_when=FIRST_COMPLETED)
        assert futures[0] in done
        done, pending = concurrent.futures.wait(futures, PATIENCE, return_when=ALL_COMPLETED)
        assert (len(done), len(pending)) == (2, 0)
        futures = [executor.submit(slow, "x"), executor.submit(slow, 0.5)]
        done, _ = concurrent.futures.wait(futures, PATIENCE, return_when=FIRST_EXCEPTION)
        assert futures[0] in done
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            mixed = [pool.submit(abs, -1), executor.submit(abs, -2), *futures[1:]]
            found = {future.result() for future in concurrent.futures.as_completed(mixed, PATIENCE)}
        assert found == {1, 2, 0.5}

    def test_asyncio_awaits_them(self, executor: Executor) -> None:
        async def main() -> tuple[Any, ...]:
            loop = asyncio.get_running_loop()
            first = loop.run_in_executor(executor, pow, 2, 5)
            second = asyncio.wrap_future(executor.submit(slow, 0.05))
            third = loop.run_in_executor(executor, slow, "x")
            return tuple(await asyncio.gather(first, second, third, return_exceptions=True))

        first, second, third = asyncio.run(main())
        assert (first, second) == (32, 0.05)
        assert isinstance(third, TypeError)

    def test_callbacks_are_called_and_may_submit(self, executor: Executor) -> None:
        more: list[wl.Future[Any]] = []
        there = threading.Event()

        def go_on(future: concurrent.futures.Future[Any]) -> None:
            more.append(executor.submit(operator.neg, future.result()))
            there.set()

        future = executor.submit(slow, 0.1)
        future.add_done_callback(go_on)
        assert there.wait(PATIENCE)
        assert more[0].result(PATIENCE) == -0.1
        late: list[object] = []
        future.add_done_callback(late.append)
        assert late == [future]

    def test_cancel_is_for_what_waits(self, executor: Executor) -> None:
        running = [executor.submit(slow, 0.5) for _ in range(executor.workers)]
        waiting = [executor.submit(slow, 0.0) for _ in range(3)]
        _until(lambda: all(future.running() or future.done() for future in running))
        assert not running[0].cancel()
        assert waiting[-1].cancel()
        assert waiting[-1].cancelled()
        with pytest.raises(CancelledError):
            waiting[-1].result()
        assert set(concurrent.futures.as_completed([*running, *waiting], PATIENCE)) == {*running, *waiting}
        assert waiting[-1].attempts == ()

    def test_attempts_are_counted(self, executor: Executor) -> None:
        future = executor.options(retries=2).submit(slow, "x")
        assert isinstance(future.exception(PATIENCE), TypeError)
        assert [attempt.number for attempt in future.attempts] == [1, 2, 3]
        assert {attempt.ending for attempt in future.attempts} == {"exception"}
        starts = [attempt.started for attempt in future.attempts]
        assert starts == sorted(starts)
        fine = executor.submit(slow, 0.0)
        assert fine.result(PATIENCE) == 0
        assert fine.attempts[-1].ending == "value"
        with pytest.raises(TimeoutError):
            executor.submit(slow, 0.5).result(timeout=0.05)
        _idle(executor)

    # the end

    def test_the_end_waits_for_what_was_submitted(self, fresh: Executor) -> None:
        futures = [fresh.submit(slow, 0.05) for _ in range(6)]
        fresh.shutdown()
        assert [future.result(timeout=0) for future in futures] == [0.05] * 6
        fresh.shutdown()

    def test_the_end_cancels_what_waits_if_told_so(self, fresh: Executor) -> None:
        futures = [fresh.submit(slow, 0.4) for _ in range(fresh.workers * 3)]
        _until(lambda: futures[0].running() or futures[0].done())
        fresh.shutdown(cancel_futures=True)
        assert futures[0].result(timeout=0) == 0.4
        assert futures[-1].cancelled()
        assert all(future.done() for future in futures)

    def test_after_the_end_there_are_no_more_calls(self, fresh: Executor) -> None:
        fresh.shutdown()
        for ask in (
            lambda: fresh.submit(abs, 1),
            lambda: fresh.map(abs, [1]),
            lambda: fresh.submit_many(abs, [1]),
            lambda: fresh.map_reduce(abs, [1], sum),
        ):
            with pytest.raises(RuntimeError, match="shutdown"):
                ask()
