"""Futures of calls: the standard library's, with a record of each attempt."""

from __future__ import annotations

import concurrent.futures
import logging
import threading
import weakref
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

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
        "" while it runs; then "value", "exception", "superseded" if another one was faster, or the name of
        an error, such as "TimedOut".
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
    """Figures of one call.

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


class Stoppable(Protocol):
    """Queue that can end some of its calls, running ones too."""

    def stop(self, calls: Container[Future[Any]] | None = None) -> None: ...


class _Those:
    """Some futures, and those of some bunches: of calls that were submitted together."""

    def __init__(self, futures: Container[Future[Any]], bunches: Iterable[object]) -> None:
        self._futures = futures
        self._bunches = {id(bunch): bunch for bunch in bunches}

    def __contains__(self, future: object) -> bool:
        return isinstance(future, Future) and (future in self._futures or id(future._bunch) in self._bunches)


class _Waiters(list[Any]):
    """Waiters for a future by `concurrent.futures.wait` or `as_completed`, so that Ctrl-C reaches us."""

    def __init__(self, future: Future[Any]) -> None:
        super().__init__()
        self._future = weakref.ref(future)

    def append(self, waiter: Any) -> None:
        # the standard library holds the locks of all the futures meanwhile, so nobody has set the event
        if not isinstance(waiter.event, _Interruptible):
            waiter.event = _Interruptible()
        waiter.event.futures.add(self._future)
        super().append(waiter)


class _Interruptible(threading.Event):
    """An event; Ctrl-C in a wait for it ends the calls that it is about."""

    def __init__(self) -> None:
        super().__init__()
        self.futures: set[weakref.ref[Future[Any]]] = set()

    def wait(self, timeout: float | None = None) -> bool:
        try:
            return super().wait(timeout)
        except KeyboardInterrupt:
            _stop(future for ref in self.futures if (future := ref()) is not None)
            raise


def _stop(futures: Iterable[Future[Any]]) -> None:
    """End the calls of some futures, of whichever executors they are."""
    mine: dict[Stoppable, set[Future[Any]]] = {}
    for future in futures:
        owner = future._carried_out_by()
        if owner is not None and not future.done():
            mine.setdefault(owner, set()).add(future)
    for owner, calls in mine.items():
        owner.stop(_Those(calls, [future._bunch for future in calls if future._is_whole]))


class Future(concurrent.futures.Future[_T], Generic[_T]):
    """The result of a call, in the future.

    It ends always: with a value, or with an error that names its cause. `concurrent.futures.wait`,
    `as_completed` and `asyncio.wrap_future` work on it. `cancel` is False once the call runs.

    Ctrl-C while it is waited for ends the call, and those that were submitted along with it: of the same
    `submit_many` or `map_reduce`, or all by `submit`. In `wait` and `as_completed` it ends those waited for.

    Parameters
    ----------
    id : str
        Names the call.
    owner : Stoppable, optional
        Who carries the call out.
    """

    def __init__(self, id: str = "", owner: Stoppable | None = None) -> None:
        super().__init__()
        self.id = id
        self._account = _Account()
        self._owner = None if owner is None else weakref.ref(owner)
        self._bunch: object = object()
        self._is_whole = False  # of all the calls in its bunch, and of no call
        self._waiters = _Waiters(self)
        # of a chunk: what is noted on the exceptions of the inputs that have failed
        self._notes: dict[int, Callable[[BaseException], None]] = {}

    def result(self, timeout: float | None = None) -> _T:
        """Return what the function returned, or raise what it raised; wait for it if need be."""
        try:
            return super().result(timeout)
        except KeyboardInterrupt:
            self._interrupted()
            raise
        finally:
            del self  # as in the standard library: no circle through the traceback of an exception

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the function raised, or None; wait for it if need be."""
        try:
            return super().exception(timeout)
        except KeyboardInterrupt:
            self._interrupted()
            raise
        finally:
            del self

    def _interrupted(self) -> None:
        owner = self._carried_out_by()
        if owner is not None:
            owner.stop(_Those((), [self._bunch]))

    def _carried_out_by(self) -> Stoppable | None:
        return None if self._owner is None else self._owner()

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
        """Figures of the call; complete when it has ended."""
        return self._account.stats

    @property
    def logs(self) -> str:
        """Output and log of the function, in the attempt that counts; complete when it has ended."""
        return self._account.logs.decode("utf-8", "replace")
