"""What a failed attempt at a call is, and what follows: pure functions, so that tables can hold them."""

from __future__ import annotations

from wrenla.errors import CallError, Lost, NeverStarted, OutOfMemory, Throttled, TimedOut, WorkerDied
from wrenla.executors.options import CallOptions
from wrenla_handler.call.failure import Failure

__all__ = ["raised", "try_again"]

_STARTS = 3
"""Attempts at getting a call to a worker at all, and at an idempotent one whose worker is lost."""


def raised(failure: Failure, label: str) -> Exception:
    """Return the exception for what a function has raised on its worker."""
    error = failure.exception()
    if isinstance(error, MemoryError) and not isinstance(error, OutOfMemory):
        out = OutOfMemory(f"{label}: {failure.message or 'no more memory'}")
        out.__cause__ = error.__cause__
        return out
    return error


def try_again(error: Exception, attempts: int, options: CallOptions) -> bool:
    """Tell whether a call is tried once more.

    Parameters
    ----------
    error : Exception
        What the latest attempt ended with: a `CallError`, or what the function raised.
    attempts : int
        How many there have been.
    options : CallOptions

    Notes
    -----
    ============================== =========================================
    never started                  always, three attempts
    throttled                      never: it was offered again and again already
    worker died, lost              if idempotent, at least three attempts
    timed out                      if idempotent, `retries` times
    out of memory                  never: there is no more memory than before
    the function's own exception   `retries` times
    ============================== =========================================
    """
    match error:
        case OutOfMemory() | Throttled():
            return False
        case NeverStarted():
            return attempts < _STARTS
        case WorkerDied() | Lost():
            return options.idempotent and attempts < max(_STARTS, 1 + options.retries)
        case TimedOut():
            return options.idempotent and attempts < 1 + options.retries
        case CallError():
            return False
        case _:
            return attempts < 1 + options.retries
