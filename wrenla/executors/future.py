"""The futures of calls: the standard library's, and what became of each attempt."""

from __future__ import annotations

import concurrent.futures
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

__all__ = ["Attempt", "CallStats", "Future"]

logger = logging.getLogger("wrenla.calls")

_T = TypeVar("_T")


@dataclass(slots=True, eq=False, weakref_slot=True)
class Attempt:
    """One attempt at a call.

    Attributes
    ----------
    number : int
        Counted from 1.
    started : float
        When it was handed to a worker, on the clock of `time.monotonic`.
    worker : str
        Which worker had it.
    ending : str
        "" while it runs; then "value", "exception", or the name of an error: "TimedOut", "Superseded", ….
    seconds : float
        In the function, as far as is known.
    copy : bool
        A second copy of a straggler.
    """

    number: int
    started: float
    worker: str = ""
    ending: str = ""
    seconds: float = 0.0
    copy: bool = False


@dataclass(slots=True)
class CallStats:
    """What one call took.

    Attributes
    ----------
    waited : float
        Seconds from submission to the start of the first attempt.
    seconds : float
        Seconds in the function, of the attempt that counts.
    total : float
        Seconds from submission to the end.
    bytes_sent, bytes_received : int
        Function, arguments and result, pickled, wherever they went.
    peak : int
        Most bytes of memory that its worker has used so far; 0 for a thread.
    gets, hits : int
        Objects that its worker read from the store, and broadcast values that it had at hand.
    billed, init : float
        Seconds that AWS has billed for the attempt that counts, and those of the cold start among them.
    dollars : float
        What all attempts have cost, requests to S3 aside.
    """

    waited: float = 0.0
    seconds: float = 0.0
    total: float = 0.0
    bytes_sent: int = 0
    bytes_received: int = 0
    peak: int = 0
    gets: int = 0
    hits: int = 0
    billed: float = 0.0
    init: float = 0.0
    dollars: float = 0.0


@dataclass(slots=True, eq=False, weakref_slot=True)
class _Account:
    attempts: list[Attempt] = field(default_factory=list)
    stats: CallStats = field(default_factory=CallStats)
    logs: bytes = b""


class Future(concurrent.futures.Future[_T], Generic[_T]):
    """The result of a call, in the future.

    It ends always: with a value, or with an error that names its cause. `concurrent.futures.wait`,
    `as_completed` and `asyncio.wrap_future` work on it. `cancel` is False once the call runs.

    Parameters
    ----------
    id : str
        Names the call.
    """

    def __init__(self, id: str = "") -> None:
        super().__init__()
        self.id = id
        self._account = _Account()
        # of a chunk: what is noted on the exceptions of the inputs that have failed
        self._notes: dict[int, Callable[[BaseException], None]] = {}

    def _invoke_callbacks(self) -> None:
        """As the standard library does, but a callback's SystemExit must not end a thread of ours, either."""
        for callback in self._done_callbacks:  # type: ignore[attr-defined]
            try:
                callback(self)
            except BaseException:
                logger.exception("exception calling callback for %r", self)

    def _wait_again(self) -> None:
        """Undo `set_running_or_notify_cancel`, as the worker has given the call back: it can be cancelled."""
        with self._condition:
            self._state = "PENDING"

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The attempts so far, the first one first."""
        return tuple(self._account.attempts)

    @property
    def stats(self) -> CallStats:
        """What the call took; complete when it has ended."""
        return self._account.stats

    @property
    def logs(self) -> str:
        """What the function printed and logged, in the attempt that counts; complete when it has ended."""
        return self._account.logs.decode("utf-8", "replace")
