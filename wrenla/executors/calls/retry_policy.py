"""Retry policy: the kind of a failure, and whether it is tried again. Pure functions."""

from __future__ import annotations

from typing import Literal, TypeAlias

from wrenla.errors import Lost, NeverStarted, OutOfMemory, RemoteTraceback, TimedOut, WorkerDied, WrenlaError
from wrenla.executors.calls.options import CallOptions
from wrenla_handler.calls.failure import Failure

__all__ = ["Function", "Sort", "named", "raised", "repeats"]

_STARTS = 3
"""Attempts at getting a call to a worker at all, and at an idempotent one whose worker is lost."""

Function: TypeAlias = Literal["", "raised", "ended"]
"""What is known of the function when an attempt has failed.

``raised``: the error is its own, whatever its class: it may have used an executor itself;
``ended``: it has, and what failed is to bring its answer here;
"" is all else, and then the class of the error says what has happened.
"""

Sort: TypeAlias = Literal["start", "worker", "function"]
"""What a failed attempt is counted as: attempts of one sort are not taken from those of another."""


def raised(failure: Failure | Exception, label: str) -> Exception:
    """Return the exception for what a function has raised on its worker."""
    return named(failure.exception() if isinstance(failure, Failure) else failure, label)


def named(error: Exception, label: str) -> Exception:
    """Return what the caller of a function is told that has raised an error: of a MemoryError OutOfMemory.

    Those that wrenla itself has raised in the function have a meaning of their own.
    """
    if not isinstance(error, MemoryError) or isinstance(error, WrenlaError):
        return error
    out = OutOfMemory(f"{label}: {str(error) or 'no more memory'}")
    out.__cause__ = error.__cause__ if isinstance(error.__cause__, RemoteTraceback) else error
    return out


def repeats(error: Exception, function: Function, options: CallOptions) -> tuple[Sort, int]:
    """Tell what a failed attempt is counted as, and how many of this sort are followed by another attempt.

    Parameters
    ----------
    error : Exception
        What the attempt ended with.
    function : {"", "raised", "ended"}
        What is known of the function.
    options : CallOptions

    Notes
    -----
    ================================= ======== ==========================================
    what has happened                 sort     attempts that follow
    ================================= ======== ==========================================
    the function raised               function `retries`
    timed out                         function `retries` if idempotent
    never started                     start    two
    throttled                         start    none: it was offered again and again already
    out of memory                     worker   none: there is no more memory than before
    worker died, lost                 worker   if idempotent: two, or `retries` if more
    its answer cannot be had          worker   the same
    its answer is not what it was,    worker   none
    or cannot be loaded here
    all else                          worker   none: it may have begun
    ================================= ======== ==========================================
    """
    if function == "raised":
        return "function", options.retries
    again = options.retries if options.idempotent else 0
    match error:
        case Lost() | WorkerDied():
            return "worker", max(_STARTS - 1, again) if options.idempotent else 0
        case NeverStarted() if not function:
            return "start", _STARTS - 1
        case TimedOut() if not function:
            return "function", again
    return "worker", 0
