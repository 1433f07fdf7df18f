"""Calls: what can be called, what it is called with, and what comes back."""

from __future__ import annotations

import functools
import math
import operator
import os
import pickle
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from tests.waiting import until_idle
from wrenla.errors import NestedCallError, RemoteTraceback

# what can be called


def of_this_module(x: int) -> int:
    return x + 1


def factorial(n: int) -> int:
    return 1 if n == 0 else n * factorial(n - 1)


def twice(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return 2 * fn(*args, **kwargs)

    return wrapped


@twice
def decorated(x: int) -> int:
    return x + 1


@functools.lru_cache
def cached(x: int) -> int:
    return x * x


class Adder:
    """An object that can be called, and has methods of each kind."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __call__(self, x: int) -> int:
        return x + self.n

    def bound(self, x: int) -> int:
        return x + self.n

    @classmethod
    def of_class(cls, x: int) -> str:
        return f"{cls.__name__}{x}"

    @staticmethod
    def static(x: int) -> int:
        return -x


def closure() -> Callable[[int], int]:
    offset, helper = 10, lambda x: x * 2

    def inner(x: int) -> int:
        return inner(x + 1) if x < 0 else helper(x) + offset

    return inner


@pytest.mark.parametrize(
    ("fn", "args", "expected"),
    [
        (abs, (-1,), 1),
        (len, ("abc",), 3),
        (str.upper, ("a",), "A"),
        ("abc".index, ("c",), 2),
        (int, ("12",), 12),
        (operator.itemgetter(1), ([4, 5],), 5),
        (math.hypot, (3, 4), 5.0),
        (np.sqrt, (4.0,), 2.0),
        (np.linalg.norm, ([3.0, 4.0],), 5.0),
        (np.add.reduce, ([1, 2],), 3),
        (lambda x: x + 1, (1,), 2),
        (lambda *args: args, (), ()),
        (closure(), (-2,), 10),
        (functools.partial(pow, 2), (5,), 32),
        (functools.partial(functools.partial(of_this_module), 4), (), 5),
        (of_this_module, (1,), 2),
        (factorial, (20,), 2432902008176640000),
        (decorated, (1,), 4),
        (cached, (7,), 49),
        (Adder(5), (1,), 6),
        (Adder(5).bound, (1,), 6),
        (Adder.of_class, (1,), "Adder1"),
        (Adder.static, (1,), -1),
        (twice(lambda x: x), (3,), 6),
        (Adder, (3,), None),
    ],
)
def test_submit_takes_any_callable(
    shared: wl.LocalExecutor, fn: Callable[..., Any], args: tuple[Any, ...], expected: Any
) -> None:
    result = shared.submit(fn, *args).result(timeout=30)
    assert result.n == 3 if fn is Adder else result == expected


def test_classes_and_functions_made_here(shared: wl.LocalExecutor) -> None:
    class Here(Adder):
        def __call__(self, x: int) -> int:
            return super().__call__(x) * 100

    assert shared.submit(Here(2), 1).result(timeout=30) == 300
    made = shared.submit(lambda n: Here(n), 5).result(timeout=30)
    assert isinstance(made, Here)
    grown = shared.submit(lambda: lambda x: x + 1).result(timeout=30)
    assert grown(1) == 2


# what it is called with


@pytest.mark.parametrize("size", [0, 1, 9_000, 100_000, 1_000_000])
def test_arrays_go_and_come(shared: wl.LocalExecutor, size: int) -> None:
    x = np.arange(float(size))
    future = shared.submit(lambda x, *, y: [x, 2 * y], x, y=x)
    first, second = future.result(timeout=30)
    np.testing.assert_array_equal(first, x)
    np.testing.assert_array_equal(second, 2 * x)
    second[...] = 0
    if shared.kind == "process":
        assert future.stats.bytes_received >= 16 * size
        assert future.stats.bytes_sent >= 8 * size
    place = shared.calls.transport.scratch
    assert [key for key in place.store.list() if not key.startswith("wrenla-lease/")] == []


def test_arguments_of_a_process_are_copies(processes: wl.LocalExecutor) -> None:
    mine = [1, 2]
    assert processes.submit(lambda x: x.append(3) or x, mine).result() == [1, 2, 3]
    assert mine == [1, 2]
    x = np.zeros(100_000)
    assert processes.submit(lambda x: x.__setitem__(0, 1) or x[0], x).result() == 1
    assert x[0] == 0


def test_unpicklable_functions_and_arguments_are_refused_at_once(processes: wl.LocalExecutor) -> None:
    lock = threading.Lock()
    before = processes.stats().submitted
    with pytest.raises((TypeError, pickle.PicklingError)) as caught:
        processes.submit(of_this_module, lock)
    assert any("arguments" in note and "of_this_module" in note for note in caught.value.__notes__)
    with pytest.raises((TypeError, pickle.PicklingError)) as caught:
        processes.submit(lambda: lock.locked())
    assert any("function" in note and "<lambda>" in note for note in caught.value.__notes__)
    for ask in (processes.map, processes.submit_many):
        with pytest.raises((TypeError, pickle.PicklingError)):
            list(ask(id, [1, 2, lock, 3]))
    assert processes.stats().submitted - before == 4  # those before the lock, …
    until_idle(processes)
    assert processes.submit(abs, -1).result() == 1  # … and nothing has stopped


def test_the_executor_cannot_travel(processes: wl.LocalExecutor) -> None:
    with pytest.raises(TypeError, match="cannot travel"):
        processes.submit(lambda: processes.submit(abs, 1))
    with pytest.raises(TypeError, match="cannot travel"):
        processes.submit(len, [processes.options(retries=1)])


def test_calls_from_within_calls_are_refused() -> None:
    with wl.LocalExecutor(1, "thread", allowed_mem="300 MiB") as executor:
        for ask in (
            lambda: executor.submit(abs, 1),
            lambda: executor.map(abs, [1]),
            lambda: executor.submit_many(abs, [1]),
            lambda: executor.map_reduce(abs, [1], sum),
            lambda: executor.broadcast(1),
            lambda: executor.options(retries=1).submit(abs, 1),
        ):
            with pytest.raises(NestedCallError, match="would wait for itself"):
                executor.submit(ask).result(timeout=10)
        with wl.LocalExecutor(1, "thread", allowed_mem="300 MiB") as other:
            assert executor.submit(lambda: other.submit(abs, -1).result()).result(timeout=10) == 1


def test_a_function_in_a_process_gets_no_default_executor(processes: wl.LocalExecutor) -> None:
    with pytest.raises(NestedCallError, match="default executor"):
        processes.submit(lambda: __import__("wrenla").default_executor()).result(timeout=30)

    def own() -> int:
        import wrenla

        with wrenla.LocalExecutor(1, "thread", allowed_mem="200 MiB") as mine:
            return sum(mine.map(abs, [-1, -2]))

    assert processes.submit(own).result(timeout=30) == 3


# what comes back


def test_exceptions_come_back(shared: wl.LocalExecutor) -> None:
    def fail() -> None:
        error = KeyError("place")
        error.add_note("a note")
        raise error from ValueError("the cause")

    error = shared.submit(fail).exception(timeout=30)
    assert type(error) is KeyError
    assert error.args == ("place",)
    assert error.__notes__ == ["a note"]
    if shared.kind == "process":
        assert isinstance(error.__cause__, RemoteTraceback)
        assert "the cause" in error.__cause__.text
        assert "raise error from" in error.__cause__.text
        assert "wrenla_handler" not in error.__cause__.text


def test_a_result_that_cannot_be_pickled_is_told(processes: wl.LocalExecutor) -> None:
    error = processes.submit(lambda: threading.Lock()).exception(timeout=30)
    assert isinstance(error, TypeError)
    assert any("result" in note for note in error.__notes__)
    assert processes.submit(abs, -1).result() == 1


def test_a_result_that_cannot_be_loaded_here_is_told(processes: wl.LocalExecutor) -> None:
    def odd() -> Any:
        class Odd:
            def __reduce__(self) -> Any:
                return int, ("no number",)

        return Odd()

    error = processes.submit(odd).exception(timeout=30)
    assert isinstance(error, ValueError)
    assert any("odd" in note for note in error.__notes__)


# many


def test_ten_thousand_calls(shared: wl.LocalExecutor) -> None:
    futures = shared.submit_many(operator.neg, range(10_000))
    assert [future.result(timeout=100) for future in futures] == [-n for n in range(10_000)]


def test_two_processes_have_different_seeds(processes: wl.LocalExecutor) -> None:
    def draw(_: int) -> tuple[int, float, float]:
        time.sleep(0.2)
        return os.getpid(), random.random(), float(np.random.random())

    drawn = list(processes.map(draw, range(4)))
    assert len({pid for pid, _, _ in drawn}) == 2
    assert len({a for _, a, _ in drawn}) == 4
    assert len({b for _, _, b in drawn}) == 4


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_an_exception_that_takes_no_note_ends_its_call(kind: Any) -> None:
    def fail(number: int) -> None:
        error = ValueError(number)
        error.__notes__ = 5  # type: ignore[assignment]
        raise error

    with wl.LocalExecutor(1, kind=kind, allowed_mem="300 MiB") as executor:
        calls = executor.submit_many(fail, range(3))
        assert [type(call.exception(timeout=60)) for call in calls] == 3 * [ValueError]
        assert executor.submit(abs, -1).result(timeout=60) == 1
