"""Call through all its attempts; `Transport` and `Channel`, the contract of what carries it to a worker."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias

from wrenla.errors import NeverStarted, TimedOut
from wrenla.executors.calls.future import Attempt, Future
from wrenla.executors.calls.options import CallOptions
from wrenla.executors.calls.retry_policy import Function, Sort, named, repeats
from wrenla.executors.calls.timer import Alarm
from wrenla.executors.transport.scratch import ScratchSpace
from wrenla_handler.calls.broadcast import Ref

__all__ = [
    "Batch",
    "Call",
    "Channel",
    "Ended",
    "Outcome",
    "Transport",
    "Work",
]

_MOST_DONE, _FAR, _SHORT = 0.75, 4.0, 0.5
"""A straggler: this share of its batch is done, it takes so many times the median, and this many seconds at
least."""

_SAMPLE = 256
"""Calls whose seconds are kept to tell what is usual."""


@dataclass(slots=True, eq=False, weakref_slot=True)
class Batch:
    """The calls of one `map` or `submit_many`.

    Attributes
    ----------
    submitted : int
    complete : bool
        All of them have been submitted.
    done : int
        Those that have ended and may have copies.
    inputs : int
        Inputs that each of them has at most; 0: they are not of inputs.
    name : callable, optional
        Returns what the n-th input is called. By default it has a number, and errors note it.
    """

    inputs: int = 0
    name: Callable[[int], str] | None = None
    submitted: int = 0
    complete: bool = False
    done: int = 0
    _seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_SAMPLE))
    _median: tuple[int, float] = (0, 0.0)

    def add(self, seconds: float) -> None:
        """Note what one of them took that has ended."""
        self.done += 1
        self._seconds.append(seconds)

    def called(self, number: int) -> str:
        """Return what an input is called."""
        return str(number) if self.name is None else self.name(number)

    def straggles(self, seconds: float) -> bool:
        """Tell whether a call that has been running for some seconds is far beyond the latest others."""
        if not self.complete or self.done < _MOST_DONE * self.submitted or not self.done:
            return False
        if self._median[0] != self.done:
            self._median = self.done, statistics.median(self._seconds)
        return seconds > max(_SHORT, _FAR * self._median[1])


@dataclass(slots=True, eq=False, weakref_slot=True)
class Call:
    """One call, through all its attempts.

    Attributes
    ----------
    future : Future
    options : CallOptions
    label : str
        The function's name, for messages.
    function, arguments : object
        As the transport made them.
    batch : Batch, optional
    held : bool
        It is part of something that holds the dispatcher open.
    raw : bool
        Its result is handed on as the transport has it, to be an argument of another call.
    release : callable, optional
        Frees what the arguments hold when nobody needs them any more.
    due : float, optional
        When its deadline is, on the clock of `time.monotonic`.
    running : dict of Attempt to int
        The attempts that are under way, and the numbers of their workers.
    alarms : dict of Attempt to Alarm
        What ends its attempts at their limits; under None what ends it at its deadline.
    repeats_itself : bool
        Its function sees to `retries` itself, and what it raises is the last word.
    failed : dict
        How many attempts of each sort have failed.
    may_be_copied : bool
        As many may fail as have, so a second copy may be started.
    index : int
        Its place in its batch, counted from 0.
    inputs : int
        How many inputs it has.
    begun, ended : bool
        It cannot be cancelled by its future any more; it has come to something.
    noted : bool
        It has ended, and nobody reads its arguments any more to say what it was about.
    """

    future: Future[Any]
    options: CallOptions
    label: str
    function: Any
    arguments: Any
    batch: Batch | None = None
    raw: bool = False
    held: bool = False
    release: Callable[[], None] | None = None
    submitted: float = field(default_factory=time.monotonic)
    due: float | None = None
    running: dict[Attempt, int] = field(default_factory=dict)
    alarms: dict[Attempt | None, Alarm] = field(default_factory=dict)
    repeats_itself: bool = False
    failed: dict[Sort, int] = field(default_factory=dict)
    may_be_copied: bool = True
    index: int = 0
    inputs: int = 1
    begun: bool = False
    ended: bool = False
    noted: bool = False

    def limit(self, now: float) -> float | None:
        """Return the seconds that an attempt which starts now may take."""
        if self.due is self.options.timeout is None:
            return None
        limits = [limit for limit in (self.options.timeout, self.due and self.due - now) if limit is not None]
        return max(0.0, min(limits)) if limits else None

    def never_started(self) -> NeverStarted:
        """Return the error for a call that waits at its deadline."""
        limit = f"{self.options.deadline:g} s"
        return NeverStarted(f"{self.label}: still waiting for a worker at its deadline of {limit}")

    def late(self, now: float) -> TimedOut:
        """Return the error for an attempt that has reached its limit."""
        if self.due is not None and now >= self.due:
            return TimedOut(f"{self.label}: still running at its deadline of {self.options.deadline:g} s")
        if self.options.timeout is not None:
            return TimedOut(f"{self.label}: still running after its timeout of {self.options.timeout:g} s")
        return TimedOut(f"{self.label}: still running at the limit of its worker")

    def attempts_left(self, outcome: Outcome, now: float) -> int:
        """Note that the latest attempt has failed, and return how many more there may be; 0 if none.

        Those under way are among them. What failed while a copy was at work counts, too: copies that die must
        not follow each other for ever.
        """
        if outcome.error is None or (self.due is not None and now >= self.due):
            return 0
        options = self.options
        if self.repeats_itself and outcome.function == "raised":
            options = replace(options, retries=0)
        sort, most = repeats(outcome.error, outcome.function, options)
        self.failed[sort] = self.failed.get(sort, 0) + 1
        return max(0, most - self.failed[sort] + 1)


@dataclass(slots=True)
class Outcome:
    """Outcome of one attempt: a value or an error, and its figures."""

    value: Any = None
    error: Exception | None = None
    function: Function = ""
    logs: bytes = b""  # a `Printed`, where streams are known
    worker: str = ""
    seconds: float | None = None
    peak: int = 0
    sent: int = 0
    received: int = 0
    gets: int = 0
    hits: int = 0
    billed: float = 0.0
    init: float = 0.0
    dollars: float = 0.0
    throttles: int = 0
    backoff: float = 0.0
    discard: Callable[[], None] | None = None

    def blame(self, error: Exception, label: str) -> None:
        """Note what the function has raised."""
        self.error = named(error, label)
        if self.error is error:  # otherwise it wants more memory than there is, and would again
            self.function = "raised"


Work: TypeAlias = tuple[Call, Attempt]

Ended: TypeAlias = tuple[Call, Attempt, Outcome | None]
"""An attempt and what it came to; None: it has not begun, and is to be undone."""


class Channel(Protocol):
    """One worker, as seen from the thread that hands it calls."""

    def appetite(self, call: Call) -> int:
        """Return how many more calls like this one the worker can be given at once."""

    def perform(self, work: Sequence[Work]) -> Iterator[Ended]:
        """Carry attempts out, one after the other. Errors are outcomes, too."""

    def stop(self, attempt: Attempt, *, gently: bool) -> None:
        """End an attempt from another thread, if it is still running; gently: let it clear up."""

    def close(self) -> None:
        """End the worker."""


class Transport(Protocol):
    """Transport of functions and arguments to workers."""

    keeps_limits: bool
    """Its channels end attempts at their limit themselves."""

    keeps_channels: bool
    """Its channels wait for the next call; otherwise they end when there is none."""

    scratch: ScratchSpace
    """For what does not fit into messages."""

    showing: Any
    """Shows what functions print, while they run: a `Showing`, set by whoever has the calls."""

    def function(self, fn: Callable[..., Any], label: str, options: CallOptions) -> Any:
        """Make a function ready to travel, for any number of calls."""

    def arguments(self, positional: tuple[Any, ...], keywords: dict[str, Any], label: str) -> Any:
        """Make the arguments of one call ready to travel."""

    def gathered(self, results: Sequence[Any]) -> Any:
        """Make the list of some raw results the one argument of a call."""

    def needs(self, function: Any, arguments: Any) -> Callable[[], None] | None:
        """Note what a call needs that is stored. Returns what lets go of it, None if there is nothing."""

    def forget(self, function: Any) -> None:
        """Note that no more calls of a function come: what is kept of it goes with the last one."""

    def positional(self, arguments: Any) -> Any:
        """Return the positional arguments of a call as they were given, or a few words for them."""

    def explain(self, error: BaseException) -> None:
        """Note on what a function has raised what is to be done about it, if that is known."""

    def discard(self, result: Any) -> None:
        """Remove a raw result that nobody needs."""

    def broadcast(self, value: object) -> Ref:
        """Store a value that many calls read."""

    def channel(self) -> Channel:
        """Return a new channel, used by one thread."""

    def ending(self) -> None:
        """Note that no more calls come, so that nothing is waited for that nobody needs."""

    def close(self) -> None:
        """Free what all channels share, after they have been closed."""
