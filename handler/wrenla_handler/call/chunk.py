"""Several calls as one: what `map(chunksize=…)` sends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from wrenla_handler.call.broadcast import resolved
from wrenla_handler.call.failure import Failure

__all__ = ["Chunk"]


@dataclass(frozen=True)
class Chunk:
    """Calls a function several times, and returns a result or a `Failure` for each.

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
                return True, self.function(*positional)
            except Exception as error:
                if attempt == self.retries:
                    return False, Failure.of(error)
        raise AssertionError("there is at least one attempt")
