"""Arguments of calls and executors of the wrong kind: each is named, before anything is submitted."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable
from typing import Any

import pytest

import wrenla as wl
from tests.waiting import until_idle
from wrenla.executors.base import check_executor


@pytest.mark.parametrize(
    ("act", "kind", "message"),
    [
        (lambda e: e.map(abs, [1], timeout="3"), ValueError, "timeout='3': a number of seconds, or None"),
        (lambda e: e.map(abs, [1], timeout=True), ValueError, "timeout=True: a number of seconds"),
        (lambda e: e.map(abs, [1], timeout=float("nan")), ValueError, "timeout=nan: a number of seconds"),
        (lambda e: e.map(abs, [1], timeout=float("inf")), ValueError, "timeout=inf: a number of seconds"),
        (lambda e: e.map(abs, [1], ordered="no"), TypeError, "ordered='no': True or False"),
        (
            lambda e: e.map(abs, [1], return_exceptions=1),
            TypeError,
            "return_exceptions=1: True or False",
        ),
        (lambda e: e.map(abs, [1], chunksize="2"), ValueError, "chunksize='2': a whole number, at least 1"),
        (lambda e: e.map(abs, [1], chunksize=True), ValueError, "chunksize=True: a whole number"),
        (lambda e: e.map(abs, [1], buffersize=0), ValueError, "buffersize=0: a whole number, at least 1"),
        (lambda e: e.map_reduce(abs, [1], sum, fan_in="2"), ValueError, "fan_in='2': a whole number"),
        (lambda e: e.map_reduce(abs, [1], sum, fan_in=2.5), ValueError, "fan_in=2.5: a whole number"),
        (lambda e: e.map_reduce(abs, [1], sum, fan_in=1), ValueError, "fan_in=1: a whole number, at least 2"),
        (lambda e: e.map_reduce(abs, [1], sum, fan_in=True), ValueError, "fan_in=True: a whole number"),
    ],
)
def test_wrong_arguments_of_calls(
    executor: wl.LocalExecutor, act: Callable[[Any], Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as caught:
        act(executor)
    assert str(caught.value).startswith(message)
    assert executor.stats().submitted == 0


@pytest.mark.parametrize("wrong", [3, "local", wl.LocalExecutor, concurrent.futures.Executor])
def test_non_executor_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError) as caught:
        check_executor(wrong)
    assert str(caught.value) == (
        f"executor={wrong!r}: an executor of wrenla, as wl.LocalExecutor(…), or None for the default one"
    )
    with pytest.raises(TypeError, match="an executor of wrenla"):
        wl.eye(2, tile=2).compute(wrong)


def test_executor_and_its_views_are_accepted(executor: wl.LocalExecutor) -> None:
    assert check_executor(None) is None
    assert check_executor(executor) is executor
    assert check_executor(view := executor.options(retries=1)) is view


# timeouts of map


@pytest.fixture(autouse=True)
def _by_value(by_value: None) -> None:
    """Workers need not import this module, which takes them longer than the timeouts here."""


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@pytest.mark.parametrize("options", [{}, {"ordered": False}, {"buffersize": 3}])
def test_late_result_of_map_is_timeout_error(executor: wl.LocalExecutor, options: dict[str, Any]) -> None:
    list(executor.map(abs, range(4)))  # the workers are there
    results = executor.map(nap, [0.0, 1.5, 1.5], timeout=0.7, **options)
    assert next(results) == 0.0
    with pytest.raises(TimeoutError) as caught:
        next(results)
    assert str(caught.value) == (
        "map of nap: 1 result was there after its timeout of 0.7 s, the next one was not"
    )


@pytest.mark.parametrize("timeout", [0, -1, -0.5])
def test_map_with_timeout_of_zero_never_waits(executor: wl.LocalExecutor, timeout: float) -> None:
    """As in `concurrent.futures`: what is there already is a result, all else is a TimeoutError."""
    list(executor.map(abs, range(4)))  # the workers are there
    results = executor.map(nap, [0.7], timeout=timeout, chunksize=2)
    with pytest.raises(TimeoutError) as caught:
        next(results)
    assert str(caught.value) == f"map of nap: no results were there after its timeout of {timeout:g} s"
    results = executor.map(nap, [0.0], timeout=timeout)
    assert until_idle(executor)
    assert list(results) == [0.0]


def test_timeouts_of_others_stay_as_they_are(executor: wl.LocalExecutor) -> None:
    def fail(x: int) -> None:
        raise TimeoutError

    def inputs() -> Any:
        yield 1
        raise TimeoutError("no more inputs")

    with pytest.raises(TimeoutError) as caught:
        list(executor.map(fail, [1], timeout=60))
    assert str(caught.value) == ""
    with pytest.raises(TimeoutError, match=r"^no more inputs$"):
        list(executor.map(abs, inputs(), timeout=60, buffersize=1))


def test_closing_results_with_timeout_cancels_the_rest(executor: wl.LocalExecutor) -> None:
    results = executor.map(nap, [0.0] + [0.5] * 20, timeout=60)
    assert next(results) == 0.0
    results.close()  # type: ignore[attr-defined]
    executor.shutdown()
    assert executor.stats().cancelled >= 10
