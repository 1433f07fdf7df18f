"""Channel to a worker process, which is replaced when it has died or is worn out."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from wrenla.errors import CallError, Cancelled, Lost, NeverStarted
from wrenla.executors.calls.call import Call, Ended, Outcome, Work
from wrenla.executors.calls.future import Attempt
from wrenla.executors.local.processes import Child, Leaving
from wrenla.executors.transport.remote import RemoteTransport
from wrenla.executors.transport.scratch import ScratchSpace
from wrenla_handler.calls.messages import Request, Response
from wrenla_handler.serialize.blobs import size

__all__ = ["ProcessTransport"]

_GRACE = 1.0
"""Seconds that a function has to clear up when its time is over."""

_AHEAD, _AHEAD_SECONDS = 15, 5e-3
"""How many calls are sent ahead at most, and the seconds that they should take together."""

_STARTS = 3
"""How often a channel tries to start a child before it says so."""


class ProcessTransport(RemoteTransport):
    """Carries calls to processes of this machine.

    Parameters
    ----------
    scratch : ScratchSpace
    variables : dict of str to str
        Environment variables of the processes, beside those that this one has when they start.
    max_calls : int, optional
        A process is replaced after so many calls.
    max_bytes : int, optional
        A process is replaced when it has used more memory than this.
    """

    keeps_limits = True
    keeps_channels = True

    def __init__(
        self,
        scratch: ScratchSpace,
        variables: dict[str, str],
        *,
        max_calls: int | None = None,
        max_bytes: int | None = None,
    ) -> None:
        super().__init__(scratch)
        self.variables = variables
        self.channels: list[ProcessChannel] = []
        self._max_calls = max_calls
        self._max_bytes = max_bytes

    def channel(self) -> ProcessChannel:
        """Return a channel whose process starts with its first call."""
        channel = ProcessChannel(self)
        self.channels.append(channel)
        return channel

    def ending(self) -> None:
        """Do nothing: attempts that nobody needs are ended at once, or left alone."""

    def close(self) -> None:
        """Remove what is stored."""
        self.scratch.close()

    @property
    def wears_out(self) -> bool:
        """Processes are replaced sometimes."""
        return self._max_calls is not None or self._max_bytes is not None

    def worn_out(self, child: Child) -> bool:
        """Tell whether a process is to be replaced."""
        return (self._max_calls is not None and child.calls >= self._max_calls) or (
            self._max_bytes is not None and child.peak > self._max_bytes
        )


class ProcessChannel:
    """One child process at a time, used by one thread; others may only stop what it runs."""

    def __init__(self, transport: ProcessTransport) -> None:
        self._transport = transport
        self._child: Child | None = None
        self._attempts: list[Attempt] = []
        self._seconds = 1.0  # what calls have taken lately
        self._told = False
        self._stopped: set[Attempt] = set()  # before their child was there
        self._failures = 0  # to start a child
        self._starting = False
        self._lock = threading.Lock()

    @property
    def has_child(self) -> bool:
        """Whether there is a process, which may be alive."""
        return self._child is not None

    @property
    def may_have_child(self) -> bool:
        """There is a process, or one is being started by a channel that has not failed to yet."""
        return self.has_child or (self._starting and self._failures == 0)

    def appetite(self, call: Call) -> int:
        """Return how many calls like this one to send ahead, so that short ones need not wait."""
        if (
            self._child is None
            or call.function.name not in self._child.known
            or call.options.idempotent  # its copies could not be ended one by one
            or call.options.timeout is not None
            or call.options.deadline is not None
            or self._transport.wears_out
        ):
            return 0
        return min(_AHEAD, int(_AHEAD_SECONDS / max(self._seconds, 1e-6)))

    def perform(self, work: Sequence[Work]) -> Iterator[Ended]:
        """Run attempts in the child, and end a child that cannot be used any more."""
        try:
            self._transport.scratch.take()  # before children take all the descriptors that there are
            child = self._ready([attempt for _, attempt in work])
            requests = self._requests(child, work)
        except NeverStarted as error:
            yield from self._without_child(work, error)
            return
        except Exception as error:  # there is no store, or a module is missing
            yield from ((call, attempt, Outcome(error=error)) for call, attempt in work)
            return
        with self._lock:
            stopped, self._stopped = self._stopped, set()
        if not stopped.isdisjoint(attempt for _, attempt in work):  # told to end while the child started
            for call, attempt in work:
                told = Outcome(error=Cancelled(f"{call.label}: told to stop before it began"))
                yield call, attempt, told if attempt in stopped else None
            return
        for call, attempt in work:
            attempt.started = time.monotonic()  # the child may have taken long to start
            if call.due is not None and attempt.started >= call.due:  # then it is alone
                yield call, attempt, Outcome(error=call.never_started())
                return
        left = {(r.id, r.attempt): (call, a, r) for (call, a), r in zip(work, requests, strict=True)}
        del work  # what has ended is nobody's here any more
        lost: CallError | None = None
        try:
            child.send(requests)
            del requests
            while left:
                # only one that is alone may have a limit
                call, attempt, _ = next(iter(left.values()))
                response = child.receive(call.limit(attempt.started), self._meanwhile(child, call, attempt))
                if response is None:
                    break
                if (response.id, response.attempt) not in left:
                    raise Lost("the worker answered another request: the function used its pipe")
                call, attempt, request = left.pop((response.id, response.attempt))
                # Before the outcome is handed on: a late stop would end a child that has done its work.
                if not left:
                    self._no_more_stops()
                yield call, attempt, self._read(child, request, response, call)
                del call, attempt, request, response
        except (
            Leaving
        ):  # somebody has told it to end, or a function has spoilt it: what is left has not begun
            self._no_more_stops()
            self.close()
            yield from ((call, attempt, None) for call, attempt, _ in left.values())
            return
        except CallError as broken:
            lost = broken
        except BaseException:  # what it answers next would be taken for the answer to another call
            self._no_more_stops()
            self._child = None
            child.kill()
            raise
        self._no_more_stops()
        if left:
            (call, attempt, _), *behind = left.values()
            yield call, attempt, self._given_up(child, call, attempt, lost)
            for call, attempt, _ in behind:
                # a child takes them in turn: when it has died, these have certainly not begun
                unknown = Outcome(error=Lost(f"{call.label}: {lost}")) if isinstance(lost, Lost) else None
                yield call, attempt, unknown
        # A stop came while the last answer was on its way: the child has a signal that must not end another
        # call.
        elif self._told:
            self._child = None
            child.kill()
        elif self._transport.worn_out(child):
            self.close()

    def _meanwhile(self, child: Child, call: Call, attempt: Attempt) -> Callable[[], None] | None:
        """Return what shows what a call prints while it runs, None if nothing of it is shown."""
        showing = self._transport.showing
        if call.options.logs == "quiet":
            return None

        def show() -> None:
            for name, text in child.printed():
                showing.live(call, attempt, name, text)

        return show

    def _read(self, child: Child, request: Request, response: Response, call: Call) -> Outcome | None:
        """Return the outcome in a response, None if the call has not begun."""
        if response.ending == "not begun":
            self._seconds = 1.0
            return None
        if response.ending == "unknown function":  # or its modules: send them again
            child.known.discard(call.function.name)
            child.modules = ""
            return None
        child.known.add(call.function.name)
        if request.modules:
            child.modules = request.modules[0].sha256
        child.peak = response.peak
        outcome = self._transport.read(response, call)
        outcome.sent = size(request.function) + size(request.arguments)
        self._seconds += 0.2 * (response.seconds - self._seconds)
        return outcome

    def _requests(self, child: Child, work: Sequence[Work]) -> list[Request]:
        requests, modules = [], child.modules
        for call, attempt in work:
            requests.append(self._transport.request(call, attempt, child.known, modules))
            if requests[-1].modules:  # which is what the child has when it comes to the next one
                modules = requests[-1].modules[0].sha256
        return requests

    def _without_child(self, work: Sequence[Work], error: NeverStarted) -> Iterator[Ended]:
        """Give calls back, for another channel may have a child, and pause, so as not to take them all."""
        self._failures += 1
        hopeless = self._failures >= _STARTS and not any(
            channel.may_have_child for channel in self._transport.channels
        )
        for call, attempt in work:
            yield call, attempt, Outcome(error=error) if hopeless else None
        time.sleep(min(1.0, 0.1 * 2**self._failures))

    def _no_more_stops(self) -> None:
        """Forbid `stop` to end this child from now on."""
        with self._lock:
            self._attempts = []

    def stop(self, attempt: Attempt, *, gently: bool) -> None:
        """End the child, if it still has this attempt."""
        with self._lock:
            if self._child is None or not any(attempt is mine for mine in self._attempts):
                self._stopped.add(attempt)
            else:
                self._told = True
                if gently:
                    self._child.interrupt()
                else:
                    self._child.kill_soon()

    def close(self) -> None:
        """Close the child."""
        child, self._child = self._child, None
        if child is not None:
            child.close()

    def _ready(self, attempts: list[Attempt]) -> Child:
        """Return a child, and let the attempts be stopped from now on."""
        child = self._child
        if child is not None and not child.alive():
            child.kill()
            child = None
        if child is None:
            self._starting = True
            try:
                child = Child(os.environ | self._transport.variables)
            finally:
                self._starting = False
        self._failures = 0
        with self._lock:
            # In one step: `stop`, in another thread, either finds the child with these attempts or notes the
            # attempt.
            self._child, self._attempts, self._told = child, attempts, False
        for attempt in attempts:
            attempt.worker = f"process {child.pid}"
        return child

    def _given_up(self, child: Child, call: Call, attempt: Attempt, lost: CallError | None) -> Outcome:
        """End a child that has not answered in time, or cannot any more."""
        self._child = None
        printed = child.kill(grace=_GRACE if lost is None else 0.0)
        # after the child's end: until then it may still store its result
        self._transport.scratch.free_results(call.future.id, attempt.number)
        cause = call.late(time.monotonic()) if lost is None else type(lost)(f"{call.label}: {lost}")
        return Outcome(error=cause, logs=printed, worker=attempt.worker)
