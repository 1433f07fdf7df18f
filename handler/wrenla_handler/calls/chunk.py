"""Chunks: several calls of `map(chunksize=…)` sent as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from wrenla_handler.calls.broadcast import resolved
from wrenla_handler.calls.context import cancelled, current_call
from wrenla_handler.calls.failure import Failure
from wrenla_handler.calls.returned import dump_result
from wrenla_handler.calls.time_limit import OutOfTime
from wrenla_handler.errors import WrenlaError

__all__ = ["Chunk"]


_TRAVEL = frozenset({int, float, complex, str, bytes, bool, type(None)})
"""What can always be pickled."""

_NUMPY = frozenset({"ndarray", "float64", "int64"})
"""Types of NumPy that nearly always can; by name, since a worker starts in half the time without NumPy."""


@dataclass(frozen=True)
class Chunk:
    """Calls a function several times, and returns a result or a failure for each.

    A failure is a `Failure`; in a thread it is the exception itself, as whoever asks can have it.

    Attributes
    ----------
    function : callable
    retries : int
        How often to try again after an exception.
    to_the_end : bool
        Go on after a failure.
    """

    function: Callable[..., Any]
    retries: int
    to_the_end: bool

    def __call__(self, arguments: Sequence[tuple[Any, ...]]) -> list[tuple[bool, Any]]:
        outcomes: list[tuple[bool, Any]] = []
        for each in arguments:
            outcomes.append(self._one(each))
            if not (outcomes[-1][0] or self.to_the_end):
                break
        return outcomes

    def _one(self, arguments: tuple[Any, ...]) -> tuple[bool, Any]:
        positional, _ = resolved(arguments, {})
        for attempt in range(self.retries + 1):
            try:
                return self._made_ready(self.function(*positional))
            except OutOfTime:  # a limit is one of all inputs together, and it strikes once
                raise
            except BaseException as error:
                if cancelled():  # told to end: the SystemExit is not the function's
                    raise
                # what needs more memory than there is would need it again
                hopeless = isinstance(error, MemoryError) and not isinstance(error, WrenlaError)
                if hopeless or attempt == self.retries:
                    return False, error if _can_be_had(error) else Failure.of(error)
        raise AssertionError("there is at least one attempt")

    def _made_ready(self, result: Any) -> tuple[bool, Any]:
        """Return what a call returned; what cannot be pickled would take the others with it."""
        kind = type(result)
        harmless = kind in _TRAVEL or (kind.__module__ == "numpy" and kind.__name__ in _NUMPY)
        if not harmless and _travels():
            try:
                dump_result(result)
            except Exception as error:  # no reason to run it again
                return False, Failure.of(error)
        return True, result


def _can_be_had(error: BaseException) -> bool:
    """Tell whether an exception can be raised where its call was asked for, as it is."""
    return isinstance(error, Exception) and not _travels()


def _travels() -> bool:
    """Tell whether results will be pickled: in a thread they will not."""
    call = current_call()
    return call is not None and call.owner is None
