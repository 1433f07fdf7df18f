"""Calls in processes of this machine: a lane is a child process, replaced when it has died or is worn out."""

from __future__ import annotations

import threading
import time

from wrenla.errors import CallError, Lost
from wrenla.executors.call import Call, Outcome
from wrenla.executors.envelopes import Envelopes
from wrenla.executors.future import Attempt
from wrenla.executors.place import Place
from wrenla.executors.processes import Child
from wrenla_handler.call.blobs import size
from wrenla_handler.call.envelope import Request, Response

__all__ = ["ProcessCarrier"]

_GRACE = 1.0
"""Seconds that a function has to clear up when its time is over."""

_AWAIT = 10.0
"""Seconds for which the stored answer of a worker that cannot be reached any more is awaited."""


class ProcessCarrier(Envelopes):
    """Carries calls to processes of this machine.

    Parameters
    ----------
    place : Place
    environment : dict of str to str
        The processes' environment variables.
    max_calls : int, optional
        A process is replaced after so many calls.
    max_bytes : int, optional
        A process is replaced when it has used more memory than this.
    """

    keeps_limits = True

    def __init__(
        self,
        place: Place,
        environment: dict[str, str],
        *,
        max_calls: int | None = None,
        max_bytes: int | None = None,
    ) -> None:
        super().__init__(place)
        self.environment = environment
        self._max_calls = max_calls
        self._max_bytes = max_bytes

    def lane(self) -> ProcessLane:
        """Return a lane whose process starts with its first call."""
        return ProcessLane(self)

    def close(self) -> None:
        """Remove what is stored."""
        self.place.close()

    def worn_out(self, child: Child, peak: int) -> bool:
        """Tell whether a process is to be replaced."""
        return (self._max_calls is not None and child.calls >= self._max_calls) or (
            self._max_bytes is not None and peak > self._max_bytes
        )


class ProcessLane:
    """One child process at a time, used by one thread; others may only stop what it runs."""

    def __init__(self, carrier: ProcessCarrier) -> None:
        self._carrier = carrier
        self._child: Child | None = None
        self._attempt: Attempt | None = None
        self._told = False
        self._lock = threading.Lock()

    def perform(self, call: Call, attempt: Attempt) -> Outcome:
        """Have the child carry an attempt out, and see to a child that is of no more use."""
        try:
            child = self._ready(attempt)
            request = self._carrier.request(call, attempt, child.known, child.modules)
        except Exception as error:  # no process can be started, or there is no store
            return Outcome(error=error)
        attempt.worker = f"process {child.pid}"
        limit = call.limit(attempt.started)
        sent = size(request.function) + size(request.arguments)
        lost: CallError | None = None
        response: Response | None = None
        try:
            response = child.exchange(request, limit)
            if response is not None and response.ending == "unknown function":
                response = child.exchange(self._carrier.request(call, attempt), limit)
        except CallError as broken:
            lost = broken
        with self._lock:
            self._attempt = None  # from now on nobody else ends this child
        if response is None:
            return self._given_up(child, request, call, attempt, lost)
        child.known.add(call.function.name)
        if request.modules:
            child.modules = request.modules[0].sha256
        outcome = self._carrier.read(response, call)
        outcome.sent = sent
        if self._told:
            self._child = None
            child.kill()
        elif self._carrier.worn_out(child, outcome.peak):
            self.close()
        return outcome

    def stop(self, attempt: Attempt, *, gently: bool) -> None:
        """End the child, if it still has this attempt."""
        with self._lock:
            if self._attempt is attempt and self._child is not None:
                self._told = True
                if gently:
                    self._child.interrupt()
                else:
                    self._child.kill_soon()

    def close(self) -> None:
        """Let the child end."""
        child, self._child = self._child, None
        if child is not None:
            child.close()

    def _ready(self, attempt: Attempt) -> Child:
        """Return a child, and let the attempt be stopped from now on."""
        child = self._child
        if child is not None and not child.alive():
            child.kill()
            child = None
        if child is None:
            child = Child(self._carrier.environment)
        with self._lock:
            self._child, self._attempt, self._told = child, attempt, False
        return child

    def _given_up(
        self, child: Child, request: Request, call: Call, attempt: Attempt, lost: CallError | None
    ) -> Outcome:
        """End a child that has not answered in time, or cannot any more; its answer may have been stored."""
        response = None
        if isinstance(lost, Lost):
            response = self._awaited(child, request, call, attempt)
        self._child = None
        printed = child.kill(grace=_GRACE if lost is None else 0.0)
        if lost is not None and response is None:
            response = self._carrier.recorded(request)
        if response is not None:
            return self._carrier.read(response, call)
        self._carrier.place.free_results(call.future.id, attempt.number)
        cause = call.late() if lost is None else type(lost)(f"{call.label}: {lost}")
        return Outcome(error=cause, logs=printed, worker=attempt.worker)

    def _awaited(self, child: Child, request: Request, call: Call, attempt: Attempt) -> Response | None:
        """Wait for the stored answer of a child that is alive and cannot be heard any more."""
        if not request.record:
            return None
        limit = call.limit(attempt.started)
        until = time.monotonic() + _AWAIT if limit is None else attempt.started + limit
        while (response := self._carrier.recorded(request)) is None:
            if time.monotonic() > until or not child.alive():
                break
            time.sleep(0.05)
        return response
