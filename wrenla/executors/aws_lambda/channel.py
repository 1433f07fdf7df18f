"""Channel to AWS Lambda: a thread that waits for one invocation at a time."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence

import msgspec

from wrenla.errors import (
    CallError,
    Lost,
    NeverStarted,
    ServiceError,
    Throttled,
    TimedOut,
    WorkerDied,
    WrenlaError,
)
from wrenla.executors.aws_lambda.budget import Reserved
from wrenla.executors.aws_lambda.client import MOST_SENT, Billing, Reply
from wrenla.executors.aws_lambda.function_state import LambdaService
from wrenla.executors.aws_lambda.rate_limiter import backoff
from wrenla.executors.calls.call import Call, Ended, Outcome, Work
from wrenla.executors.calls.future import Attempt
from wrenla.executors.tile_calls import TILES, TileWork
from wrenla_handler.calls.capture import Printed
from wrenla_handler.calls.messages import Request, Response
from wrenla_handler.serialize.blobs import size
from wrenla_handler.tiles.messages import TaskAnswer

__all__ = ["LambdaChannel"]

logger = logging.getLogger("wrenla.calls")

_PATIENCE = 300.0
"""Seconds for which a call without a deadline is offered to a service that does nothing for us meanwhile."""

_AWAIT = 10.0
"""Seconds for which the stored answer of a call is awaited whose connection broke early."""

_GRACE = 10.0
"""Seconds past a call's limit, which the function sees to itself, until its connection is broken."""


class LambdaChannel:
    """The thread that uses it, and the invocation it waits for."""

    def __init__(self, transport: LambdaService) -> None:
        self.thread = threading.current_thread()
        self._transport = transport
        self._attempt: Attempt | None = None
        self._told = threading.Event()
        self._late = False
        self._superseded = float("inf")
        self._sent = 0.0
        self._cost: Reserved
        self._throttles, self._backoff = 0, 0.0
        self._until = float("inf")
        self._armed = float("inf")
        self._lock = threading.Lock()

    def leave_superseded(self, since: float) -> None:
        """Break the connection of an attempt that another one overtook before a time."""
        if self._superseded < since:
            self.leave()

    def appetite(self, call: Call) -> int:
        """Return 0: an invocation answers one call; `chunksize` puts several inputs into one."""
        return 0

    def perform(self, work: Sequence[Work]) -> Iterator[Ended]:
        """Carry attempts out, one after the other."""
        for call, attempt in work:
            self._throttles, self._backoff = 0, 0.0
            outcome = self._perform(call, attempt)
            outcome.throttles, outcome.backoff = self._throttles, self._backoff
            yield call, attempt, outcome

    def stop(self, attempt: Attempt, *, gently: bool) -> None:
        """Stop waiting for an attempt. A function that runs cannot be stopped: it runs on.

        Where another attempt was faster we do wait: what this one stores when it ends has to be removed.
        """
        if attempt.ending != "superseded":
            self.leave(attempt)
        elif attempt is self._attempt:
            self._superseded = time.monotonic()

    def leave(self, attempt: Attempt | None = None) -> None:
        """Break the connection on which an attempt is waited for, or whatever is."""
        with self._lock:
            # With the lock held the thread cannot go on to its next call, whose connection would be cut
            # instead.
            if self._attempt is not None and attempt in (None, self._attempt):
                self._told.set()
                self._transport.invoked.hang_up(self.thread)

    def close(self) -> None:
        """Do nothing: the connections belong to all channels."""

    def _perform(self, call: Call, attempt: Attempt) -> Outcome:
        with self._lock:
            self._attempt, self._late, self._until = attempt, False, float("inf")
            self._superseded = float("inf")
            # Together with the new attempt: a stop that was meant for the one before must not end this one.
            self._told.clear()
        transport = self._transport
        try:
            if call.ended:  # told to, before there was an attempt to tell
                return Outcome(error=NeverStarted(f"{call.label}: told to stop before it began"))
            if call.due is not None:  # which may come before there is anything to be invoked for
                self._hang_up_at(call.due)
            transport.handshake.ready(self._told)
            with transport.budget.reserve(call.label, self._told) as self._cost:
                return self._tiles(call, attempt) if call.function is TILES else self._call(call, attempt)
        except WrenlaError as error:
            late = self._late and isinstance(error, NeverStarted)
            return Outcome(error=call.never_started() if late else _labelled(error, call))
        finally:
            with self._lock:
                self._attempt, self._until = None, float("inf")

    # calls

    def _call(self, call: Call, attempt: Attempt) -> Outcome:
        transport = self._transport
        request = transport.request(call, attempt)

        def payload() -> bytes:
            limit = call.limit(time.monotonic())  # which begins when the function does
            if limit is not None:
                request.limit = max(limit, 1e-3)
                self._hang_up_at(time.monotonic() + limit + _GRACE)
            return request.encode()

        outcome = self._invoked(call, attempt, payload, lambda reply: self._read(reply, request, call))
        outcome.sent = size(request.function) + size(request.arguments)
        if not outcome.function and isinstance(outcome.error, Lost | WorkerDied):  # there was no answer
            return self._recovered(call, attempt, request, outcome)
        return outcome

    def _read(self, reply: Reply, request: Request, call: Call) -> Outcome:
        if reply.error is not None:
            if not isinstance(reply.error, WorkerDied):  # which may have stored its answer before
                self._transport.forget_record(request)
            return Outcome(error=_labelled(reply.error, call), logs=reply.billing.output.encode())
        response = Response.of(msgspec.json.decode(reply.body))
        if (response.id, response.attempt) != (request.id, request.attempt):
            raise ValueError("it answers another call")
        if request.record and response.seconds >= request.unrecorded:
            self._transport.forget_record(request)
        outcome = self._transport.read(response, call)
        if response.ending == "timed out" and call.options.timeout is call.due is None:
            facts = self._transport.invoked.facts
            outcome.error = TimedOut(
                f"{call.label}: still running when the function's own limit of {facts.timeout} s was near: "
                "do less in one call, or allow more (wrenla deploy --timeout)"
            )
        return outcome

    def _recovered(self, call: Call, attempt: Attempt, request: Request, outcome: Outcome) -> Outcome:
        """Look for the stored answer of a function that could not give it to us."""
        transport = self._transport
        if call.ended and self._told.is_set():  # nobody wants it, and whoever told us does not want to wait
            return outcome
        response = transport.recorded(request)
        if response is None and isinstance(outcome.error, Lost) and not self._told.is_set():
            response = self._awaited(call, attempt, request)
        if response is None:
            transport.scratch.free_results(call.future.id, attempt.number)
            if self._late:
                outcome.error = call.late(time.monotonic())
            return outcome
        transport.forget_record(request)
        found = transport.read(response, call)
        found.billed, found.dollars, found.init = outcome.billed, outcome.dollars, outcome.init
        if self._cost.unknown:  # it is known now
            found.billed, found.dollars = self._cost.pay(Billing(), max(response.seconds, outcome.billed))
        return found

    def _awaited(self, call: Call, attempt: Attempt, request: Request) -> Response | None:
        """Wait for the answer of a function that may still be running."""
        if not request.record or call.options.idempotent:  # to run it again is quicker
            return None
        now = time.monotonic()
        # If it ran longer than `unrecorded`, its answer will be stored: wait up to its limit. Otherwise most
        # likely nothing comes: wait a few seconds only.
        ran = now - attempt.started
        limit = request.limit or self._transport.invoked.facts.timeout
        until = attempt.started + limit + _GRACE if ran >= request.unrecorded else now + _AWAIT
        pause = 0.1
        while not self._told.wait(pause) and time.monotonic() < until:
            response = self._transport.recorded(request)
            if response is not None:
                return response
            pause = min(2.0, 1.5 * pause)
        return None

    def _hang_up_at(self, when: float) -> None:
        """Break the connection at a time, unless the attempt has ended."""
        with self._lock:
            self._until = when
            if self._armed <= when:
                return  # the timer comes by before, and sets itself again
            self._armed = when
        # The clock outlives channels: it must not keep one whose thread has ended.
        mine = weakref.ref(self)

        def look() -> None:
            channel = mine()
            if channel is not None:
                channel._look(when)

        self._transport.clock.at(when, look)

    def _look(self, when: float) -> None:
        with self._lock:
            if self._armed == when:
                self._armed = float("inf")
            attempt, until = self._attempt, self._until
            late = attempt is not None and time.monotonic() >= until
            self._late = self._late or late
        # Without the lock, which `stop` takes.
        if late and attempt is not None:
            self.stop(attempt, gently=False)
        elif until < float("inf"):
            self._hang_up_at(until)

    # tile tasks

    def _tiles(self, call: Call, attempt: Attempt) -> Outcome:
        work: TileWork = call.arguments

        def read(reply: Reply) -> Outcome:
            if reply.error is not None:
                return Outcome(error=_labelled(reply.error, call))
            answer = TaskAnswer.of(msgspec.json.decode(reply.body))
            if len(answer.outcomes) != len(work.request.tasks):
                raise ValueError(f"{len(answer.outcomes)} outcomes of {len(work.request.tasks)} tasks")
            if attempt.ending == "superseded":
                work.clear_up(answer)
            logs = Printed.of(answer.logs, answer.streams)
            return Outcome(answer.outcomes, worker=answer.worker, peak=answer.peak, logs=logs)

        return self._invoked(call, attempt, work.request.encode, read)

    # both

    def _invoked(
        self, call: Call, attempt: Attempt, payload: Callable[[], bytes], read: Callable[[Reply], Outcome]
    ) -> Outcome:
        """Invoke the function as soon as the service lets us, and read its answer."""
        try:
            reply = self._offered(call, attempt, payload)
        except Lost as error:
            seconds, dollars = self._cost.lose(time.monotonic() - self._sent)
            return Outcome(error=_labelled(error, call), billed=seconds, dollars=dollars)
        seconds, dollars = self._cost.pay(reply.billing, time.monotonic() - self._sent)
        try:
            outcome = read(reply)
        except ValueError as error:
            outcome = Outcome(
                error=ServiceError(
                    f"{call.label}: not an answer of wrenla's function ({error}: {reply.body[:80]!r}); "
                    "run: wrenla deploy"
                )
            )
        outcome.billed, outcome.dollars, outcome.init = seconds, dollars, reply.billing.init
        outcome.peak = max(outcome.peak, reply.billing.peak)
        return outcome

    def _offered(self, call: Call, attempt: Attempt, payload: Callable[[], bytes]) -> Reply:
        """Offer a call to the service until it takes it."""
        transport, refusals = self._transport, 0
        began = time.monotonic()
        while True:
            while (pause := transport.limiter.take()) > 0:
                self._back_off(call, min(pause, 1.0), began)
            # After the pause: it tells the function how much of the call's time is left.
            message = payload()
            if len(message) > MOST_SENT:
                raise ServiceError(
                    f"{call.label}: the request has {len(message)} bytes, more than the {MOST_SENT} that AWS "
                    "Lambda takes: pass large values through executor.broadcast or wrenla.store()"
                )
            self._sent = attempt.started = time.monotonic()
            try:
                with transport.limiter.offering():
                    reply = transport.invoked.invoke(message, self._told)
            except (Throttled, NeverStarted) as error:  # NeverStarted: it cannot be reached at all
                # Nothing runs there that could be late; `_pause` looks at the call's deadline itself.
                self._until = float("inf")
                refusals += 1
                logger.debug("%s: %s: refused %d times", call.future.id, error, refusals)
                if isinstance(error, Throttled):
                    transport.limiter.refused()
                    self._throttles += 1
                    self._back_off(call, backoff(refusals), began, error)
                else:
                    self._pause(call, backoff(refusals), began, error)
            else:
                transport.limiter.accepted()
                return reply

    def _back_off(self, call: Call, seconds: float, began: float, error: Throttled | None = None) -> None:
        """Pause because the service has refused this call, or others before."""
        since = time.monotonic()
        try:
            self._pause(call, seconds, began, error)
        finally:
            self._backoff += time.monotonic() - since

    def _pause(
        self, call: Call, seconds: float, began: float, error: Throttled | NeverStarted | None = None
    ) -> None:
        if self._told.wait(seconds):
            raise NeverStarted(f"{call.label}: told to stop before it began")
        now = time.monotonic()
        if call.due is not None and now >= call.due:
            raise call.never_started()
        # an account that may have few at a time takes the next ones when these have ended
        if now - max(began, self._transport.limiter.served()) > _PATIENCE:
            raise Throttled(str(error or f"{call.label}: AWS Lambda took no call for {_PATIENCE:g} s"))


def _labelled(error: WrenlaError, call: Call) -> WrenlaError:
    """Return an error of the service's with the name of the function that it is about."""
    if isinstance(error, CallError) and not str(error).startswith(call.label):
        named = type(error)(f"{call.label}: {error}")
        named.__cause__ = error.__cause__
        return named
    return error
