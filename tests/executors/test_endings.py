"""What follows a failure, by the table of its docstring."""

from __future__ import annotations

import pytest

from wrenla import errors
from wrenla.executors.endings import try_again
from wrenla.executors.options import CallOptions


def attempts(error: Exception, **options: object) -> int:
    """How many attempts a call gets that ends like this every time."""
    tried = 1
    while tried < 50 and try_again(error, tried, CallOptions(**options)):  # type: ignore[arg-type]
        tried += 1
    return tried


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
        [errors.OutOfMemory, errors.Throttled, errors.Cancelled, errors.Superseded, errors.CallError],
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
        ],
    )
    def test_the_functions_own(self, error: Exception, retries: int, idempotent: bool) -> None:
        assert attempts(error, retries=retries, idempotent=idempotent) == 1 + retries
