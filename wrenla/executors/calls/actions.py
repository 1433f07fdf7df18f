"""Actions of the dispatcher: the orders that its state gives to the threads around it."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from wrenla.executors.calls.call import Call, Outcome
from wrenla.executors.calls.future import Attempt

Action: TypeAlias = tuple[Any, ...]
"""One of the classes below. Workers, which have a thread and a channel each, are known by numbers."""

# with the lock held, before anything else can happen


class Claim(NamedTuple):
    """Let a call that waits be cancelled no more; say `claimed`, or `withdrawn` if it has been before."""

    call: Call
    worker: int | None = None
    error: Exception | None = None


class Unclaim(NamedTuple):
    """Let a call be cancelled again."""

    call: Call


class SetAlarm(NamedTuple):
    """Say `limit_reached` of an attempt at a time, or `deadline_reached` of its call."""

    call: Call
    attempt: Attempt | None
    when: float


class Hire(NamedTuple):
    """Begin a worker; say `not_hired` if the system has no thread for it."""

    worker: int
    call: Call | None


class GiveUp(NamedTuple):
    """Wait no more for a worker, which may never end."""

    worker: int


class Wake(NamedTuple):
    """Let a worker that waits say `ready`, or all of them."""

    every: bool = False


# for the worker that is `ready`


class Begin(NamedTuple):
    """Carry an attempt out."""

    call: Call
    attempt: Attempt


class Wait(NamedTuple):
    """Wait to be woken, at most so many seconds."""

    seconds: float | None


class Leave(NamedTuple):
    """End."""


# without the lock, one after the other: stores and the users' own functions may take long


class StopAttempt(NamedTuple):
    """Let a worker end an attempt; gently: it may clear up."""

    attempt: Attempt
    worker: int
    gently: bool


class Fail(NamedTuple):
    """End the future of a call that waits: as cancelled, if that is meant and can be, or with an error."""

    call: Call
    error: Exception
    cancel: bool = False


class Resolve(NamedTuple):
    """Note failed inputs, release the call if it is alone, say `noted` otherwise, and end its future."""

    call: Call
    outcome: Outcome
    alone: bool


class Retry(NamedTuple):
    """Tell the log that a call is tried again."""

    call: Call
    error: Exception


class Discard(NamedTuple):
    """Remove the result of an attempt, if it has one."""

    outcome: Outcome


class Release(NamedTuple):
    """Free what the arguments of a call hold."""

    call: Call


class Settle(NamedTuple):
    """Say `settled`, after the actions before this one."""


class Close(NamedTuple):
    """Free what all workers share: there are none, and nobody needs it."""
