"""Transport to a Dask cluster: calls and tile tasks as messages to the worker that has the least to do."""

from __future__ import annotations

import functools
import json
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any

from wrenla import errors
from wrenla.errors import CallError, Cancelled, Lost, NeverStarted, WrenlaError
from wrenla.executors.calls.call import Call, Ended, Outcome, Work
from wrenla.executors.calls.future import Attempt
from wrenla.executors.dask import worker as theirs
from wrenla.executors.dask.children import Answer
from wrenla.executors.dask.cluster import Cluster
from wrenla.executors.dask.remote import Remote
from wrenla.executors.tile_calls import TILES, TileWork
from wrenla.executors.transport.remote import RemoteTransport
from wrenla.executors.transport.scratch import ScratchSpace
from wrenla_handler.calls.capture import Printed
from wrenla_handler.calls.messages import Request, Response
from wrenla_handler.serialize.blobs import bare, size
from wrenla_handler.tiles.messages import TaskAnswer

__all__ = ["DaskTransport"]

_AHEAD, _AHEAD_SECONDS = 63, 20e-3
"""How many calls are sent together with one at most, and the seconds that they should take: ten messages."""

_LAST = 20.0
"""Seconds that the end of a call may take that has been told to stop, before its worker is left alone."""


class DaskTransport(RemoteTransport):
    """Carries calls, or tile tasks, to the workers of a Dask cluster.

    Parameters
    ----------
    scratch : ScratchSpace
    cluster : Cluster
    """

    keeps_limits = True
    keeps_channels = True

    def __init__(self, scratch: ScratchSpace, cluster: Cluster) -> None:
        super().__init__(scratch)
        self.cluster = cluster.hold()
        self._closed, self._closing = False, threading.Lock()

    def channel(self) -> DaskChannel:
        """Return a channel for the current thread."""
        return DaskChannel(self)

    def ending(self) -> None:
        """Do nothing: attempts that nobody needs are ended at once."""

    def close(self) -> None:
        """Remove what is stored, and end what is on the workers if nobody else uses them."""
        with self._closing:  # a dispatcher may say so more than once
            closed, self._closed = self._closed, True
        if closed:
            return
        try:
            self.scratch.close()
        finally:
            self.cluster.release()


class DaskChannel:
    """One job at a time, on whichever worker has the least to do; others may only stop it."""

    def __init__(self, transport: DaskTransport) -> None:
        self._transport = transport
        self._cluster = transport.cluster
        self._attempts: list[Attempt] = []
        self._told = threading.Event()
        self._job: tuple[Remote, str, list[tuple[str, int]]] | None = None
        self._seconds = 1.0  # what calls have taken lately
        self._known = ""  # the function that they were of
        self._lock = threading.Lock()

    def appetite(self, call: Call) -> int:
        """Return how many calls like this one to send together, so that short ones need few messages."""
        options = call.options
        if (
            call.function is TILES
            or call.function.name != self._known
            or options.idempotent  # its copies could not be ended one by one
            or options.timeout is not None
            or options.deadline is not None
        ):
            return 0
        return min(_AHEAD, int(_AHEAD_SECONDS / max(self._seconds, 1e-6)))

    def perform(self, work: Sequence[Work]) -> Iterator[Ended]:
        """Have a worker carry attempts out, one after the other."""
        with self._lock:
            self._attempts, self._job = [attempt for _, attempt in work], None
            self._told.clear()
        remote: Remote | None = None
        try:
            if any(call.ended for call, _ in work):  # told to, before there was an attempt to tell
                yield from ((call, attempt, _untold(call) if call.ended else None) for call, attempt in work)
                return
            remote = self._cluster.take(self._told, work[0][0].due)
            call = work[0][0]
            outcomes = self._tiles(remote, *work[0]) if call.function is TILES else self._calls(remote, work)
            del call
        except WrenlaError as error:
            outcomes = [(c, a, Outcome(error=_labelled(error, c))) for c, a in work]
        except Exception as error:  # there is no store, or a module is missing
            outcomes = [(c, a, Outcome(error=error)) for c, a in work]
        finally:
            with self._lock:
                self._attempts, self._job = [], None
            if remote is not None:
                self._cluster.give_back(remote)
        del work
        outcomes.reverse()
        while outcomes:  # what has ended is nobody's here any more
            yield outcomes.pop()

    def stop(self, attempt: Attempt, *, gently: bool) -> None:
        """End an attempt that is running, with the process that has it; tile tasks end by themselves."""
        with self._lock:
            if not any(attempt is mine for mine in self._attempts):
                return
            self._told.set()
            job = self._job
        if job is not None:
            remote, name, calls = job
            self._cluster.tell(remote, theirs.stop, name, calls, gently)

    def close(self) -> None:
        """Do nothing: the workers belong to all channels."""

    def _sent(
        self, remote: Remote, kind: str, payload: Sequence[Any], calls: list[tuple[str, int]]
    ) -> Future[Any]:
        name, answer = self._cluster.ask(remote, kind, payload)
        with self._lock:
            self._job = remote, name, calls
            told = self._told.is_set()
        if told:  # between the two
            self._cluster.tell(remote, theirs.stop, name, calls, False)
        return answer

    # calls

    def _calls(self, remote: Remote, work: Sequence[Work]) -> list[Ended]:
        requests: list[Request] = []
        for call, attempt in work:
            request = self._transport.request(call, attempt)
            if requests:  # the process has what came with the first one
                request.function, request.modules = bare(request.function), bare(request.modules)
            requests.append(request)
        now = time.monotonic()
        first = work[0][0]
        left = None if first.due is None else max(1e-3, first.due - now)
        for _, attempt in work:
            attempt.started, attempt.worker = now, remote.address
        texts = [request.encode() for request in requests]
        answer = self._sent(
            remote, "calls", (texts, first.options.timeout, left), [(r.id, r.attempt) for r in requests]
        )
        try:
            answers = self._awaited(answer, due=first.due)
        except CallError as error:
            for call, attempt in work:
                self._transport.scratch.free_results(call.future.id, attempt.number)
            return [(call, attempt, Outcome(error=_labelled(error, call))) for call, attempt in work]
        if not isinstance(answers, list):
            why = _not_done(answers)
            return [(call, attempt, Outcome(error=_labelled(why, call))) for call, attempt in work]
        return [
            (call, attempt, self._read(Answer(*found), request, call, attempt, remote))
            for (call, attempt), request, found in zip(work, requests, answers, strict=True)
        ]

    def _read(
        self, answer: Answer, request: Request, call: Call, attempt: Attempt, remote: Remote
    ) -> Outcome | None:
        """Return the outcome in an answer, None if the call has not begun."""
        if answer.pid:
            attempt.worker = f"{remote.address}, process {answer.pid}"
        words = answer.text.decode("utf-8", "replace") if answer.kind != "answered" else ""
        printed = Printed.of(answer.printed, answer.streams)
        match answer.kind:
            case "answered":
                response = Response.decode(answer.text)
                if response.ending in ("not begun", "unknown function"):
                    self._seconds, self._known = 1.0, ""
                    return None
                self._known = call.function.name
                self._seconds += 0.2 * (response.seconds - self._seconds)
                outcome = self._transport.read(response, call)
                outcome.worker = attempt.worker
                outcome.sent = size(request.function) + size(request.arguments)
                return outcome
            case "undone":
                return None
            case "told":
                late = call.due is not None and not self._told.is_set()
                return Outcome(error=call.never_started()) if late else _untold(call)
            case "unstarted":
                return Outcome(error=NeverStarted(f"{call.label}: on {remote.address}: {words}"))
            case "late":
                error: CallError = call.late(time.monotonic())
            case _:
                kind = getattr(errors, answer.cause)
                error = kind(f"{call.label}: {words}, on {remote.address}")
        self._transport.scratch.free_results(call.future.id, attempt.number)
        return Outcome(error=error, logs=printed, worker=attempt.worker)

    # tile tasks

    def _tiles(self, remote: Remote, call: Call, attempt: Attempt) -> list[Ended]:
        tiles: TileWork = call.arguments
        attempt.started, attempt.worker = time.monotonic(), remote.address
        answer = self._sent(remote, "tasks", (tiles.request.encode(), remote.take_dropped()), [])
        assert self._job is not None
        # a worker that is given up may go on, and its tiles come when nobody removes them any more
        remote.late[self._job[1]] = functools.partial(_clear_up, tiles)
        try:
            found = self._awaited(answer, leave=True)
        except CancelledError:
            answer.add_done_callback(
                lambda late: _clear_up(tiles, None if late.exception() else late.result())
            )
            return [(call, attempt, Outcome(error=Cancelled(f"{call.label}: told to stop while it ran")))]
        except CallError as error:
            return [(call, attempt, Outcome(error=_labelled(error, call)))]
        if not isinstance(found, bytes):
            return [(call, attempt, Outcome(error=_labelled(_not_done(found), call)))]
        answered = TaskAnswer.of(json.loads(found))
        if len(answered.outcomes) != len(tiles.request.tasks):
            raise Lost(f"{len(answered.outcomes)} outcomes of {len(tiles.request.tasks)} tasks")
        if attempt.ending == "superseded":
            tiles.clear_up(answered)
        return [(call, attempt, Outcome(answered.outcomes, worker=remote.address))]

    def _awaited(self, answer: Future[Any], *, leave: bool = False, due: float | None = None) -> Any:
        """Return the answer of a worker; whoever has told it to stop waits a while for that.

        The cluster ends every answer: it looks after the workers. What no thread of Dask's has begun when it
        is due is taken back; what has begun the worker ends. Raises CancelledError if it is to be left.
        """
        ended = threading.Event()
        answer.add_done_callback(lambda _: ended.set())
        until: float | None = None
        while not ended.wait(0.2 if until is None else max(0.0, min(0.2, until - time.monotonic()))):
            if due is not None and time.monotonic() >= due and self._job is not None:
                due = None
                self._cluster.tell(self._job[0], theirs.take_back, *self._job[1:])
            if not self._told.is_set():
                continue
            if leave:
                raise CancelledError
            until = until or time.monotonic() + _LAST
            if time.monotonic() > until:
                raise Lost("told to stop, and its worker does not say that it has")
        return answer.result()


def _untold(call: Call) -> Outcome:
    return Outcome(error=Cancelled(f"{call.label}: told to stop before it began"))


def _not_done(answer: Sequence[str]) -> CallError:
    """Return the error for the pair that a worker answers that has not done a job, or does not know."""
    what, why = answer
    return NeverStarted(why) if what == "gone" else Lost(f"{why}; whether it ran is not known")


def _labelled(error: WrenlaError, call: Call) -> WrenlaError:
    """Return an error with the name of the function that it is about; each call gets one of its own."""
    named = type(error)(f"{call.label}: {error}")
    named.__cause__ = error.__cause__
    return named


def _clear_up(tiles: TileWork, found: Any) -> None:
    """Remove what tasks have written that were left when their run ended."""
    if isinstance(found, bytes):
        tiles.clear_up(TaskAnswer.of(json.loads(found)))
