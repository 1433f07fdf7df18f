"""What follows a failure, by the table of its docstring."""

from __future__ import annotations

from typing import Any

import pytest

from wrenla import errors
from wrenla.executors.calls.call import Call, Outcome
from wrenla.executors.calls.future import Future
from wrenla.executors.calls.options import CallOptions
from wrenla.executors.calls.retry_policy import Function


def a_call(**options: Any) -> Call:
    return Call(Future("a"), CallOptions(**options), "f", None, None)


def attempts(error: Exception, function: Function = "", **options: Any) -> int:
    """How many attempts a call gets that ends like this every time."""
    call, tried = a_call(**options), 1
    while tried < 50 and call.attempts_left(Outcome(error=error, function=function), 0.0):
        tried += 1
    return tried


OURS = [
    errors.NeverStarted,
    errors.WorkerDied,
    errors.Lost,
    errors.TimedOut,
    errors.OutOfMemory,
    errors.Throttled,
    errors.Cancelled,
    errors.CallError,
]
"""What has a meaning of its own, unless it was the function that has raised it."""


@pytest.mark.every_day(10)
@pytest.mark.parametrize("idempotent", [False, True])
@pytest.mark.parametrize("retries", [0, 1, 2, 3, 7])
class TestTable:
    """One line each."""

    def test_never_started(self, retries: int, idempotent: bool) -> None:
        assert attempts(errors.NeverStarted("x"), retries=retries, idempotent=idempotent) == 3

    @pytest.mark.parametrize("kind", [errors.WorkerDied, errors.Lost])
    def test_worker_died_and_lost(self, kind: type[Exception], retries: int, idempotent: bool) -> None:
        expected = max(3, 1 + retries) if idempotent else 1
        assert attempts(kind("x"), retries=retries, idempotent=idempotent) == expected

    def test_timed_out(self, retries: int, idempotent: bool) -> None:
        expected = 1 + retries if idempotent else 1
        assert attempts(errors.TimedOut("x"), retries=retries, idempotent=idempotent) == expected

    @pytest.mark.parametrize(
        "kind",
        [
            errors.OutOfMemory,
            errors.Throttled,
            errors.Cancelled,
            errors.CallError,
            errors.IntegrityError,
            errors.ServiceError,
            ValueError,  # of ours: the function may have returned
        ],
    )
    def test_never(self, kind: type[Exception], retries: int, idempotent: bool) -> None:
        assert attempts(kind("x"), retries=retries, idempotent=idempotent) == 1

    @pytest.mark.parametrize(
        "error",
        [
            ValueError("x"),
            TimeoutError("the function's own"),
            ConnectionError("x"),
            errors.RemoteError("SystemExit", "2", ""),
            errors.TransientStoreError("x"),
            errors.WrenlaError("x"),
            ExceptionGroup("x", [ValueError()]),
            *(kind("of an executor that the function has used") for kind in OURS),
        ],
    )
    def test_the_functions_own(self, error: Exception, retries: int, idempotent: bool) -> None:
        assert attempts(error, "raised", retries=retries, idempotent=idempotent) == 1 + retries

    @pytest.mark.parametrize("kind", [*OURS, errors.StoreError, errors.IntegrityError, ValueError])
    def test_answers_that_do_not_arrive(self, kind: Any, retries: int, idempotent: bool) -> None:
        """The function has ended, so `retries` are no reason to run it again."""
        again = idempotent and kind in (errors.Lost, errors.WorkerDied)
        expected = max(3, 1 + retries) if again else 1
        assert attempts(kind("x"), "ended", retries=retries, idempotent=idempotent) == expected


def ends(call: Call, *outcomes: Outcome) -> list[bool]:
    """Whether a call goes on each time, whose attempts end so one after the other."""
    return [call.attempts_left(outcome, 0.0) > 0 for outcome in outcomes]


STARTLESS = Outcome(error=errors.NeverStarted("x"))
LOST = Outcome(error=errors.Lost("x"))
LATE = Outcome(error=errors.TimedOut("x"))
RAISED = Outcome(error=ValueError("x"), function="raised")


def test_each_sort_of_failure_has_attempts_of_its_own() -> None:
    assert ends(a_call(retries=1), STARTLESS, RAISED, RAISED) == [True, True, False]
    assert ends(a_call(retries=2), RAISED, RAISED, STARTLESS, STARTLESS, STARTLESS) == [True] * 4 + [False]
    assert ends(a_call(retries=1, idempotent=True), LOST, LOST, RAISED, RAISED) == [True] * 3 + [False]


def test_timeouts_count_as_failures_of_the_function() -> None:
    assert ends(a_call(retries=2, idempotent=True), LATE, RAISED, LATE) == [True, True, False]


def test_one_that_repeats_itself_when_it_raises() -> None:
    """A chunk: what it raises is final, but it cannot repeat itself what was ended from outside."""
    call = a_call(retries=1, idempotent=True)
    call.repeats_itself = True
    assert ends(call, LATE, LATE) == [True, False]
    call.failed.clear()
    assert ends(call, RAISED) == [False]
