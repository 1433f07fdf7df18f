"""Handshake: the first ping checks that function and driver fit each other."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from typing import Any

from wrenla.errors import (
    CallError,
    EventError,
    Lost,
    NeverStarted,
    OverBudget,
    ServiceError,
    VersionError,
    WrenlaError,
)
from wrenla.executors.aws_lambda.budget import Budget
from wrenla.executors.aws_lambda.client import Function, Reply
from wrenla.executors.aws_lambda.rate_limiter import backoff
from wrenla.executors.transport.versions import differences
from wrenla_handler.calls.messages import VERSION

__all__ = ["PING", "Handshake", "compared"]

PING: Mapping[str, Any] = {"version": VERSION, "kind": "ping"}
"""The event that a function answers with what it is."""

_PINGS = 8
"""How often a function is asked what it is."""

_AGAIN = 5.0
"""Seconds for which a refusal is everybody's answer."""

_LOOK = 1.0
"""Seconds after which a channel that waits for another one's ping looks whether it is told to stop."""


class Handshake:
    """Ping of a function, once, by the first channel that needs it.

    Parameters
    ----------
    function : Function
    budget : Budget
        Which pings are paid from, as calls are.
    """

    def __init__(self, function: Function, budget: Budget) -> None:
        self._function = function
        self._budget = budget
        self._pong: Mapping[str, Any] | WrenlaError | None = None
        self._unanswered: WrenlaError = NeverStarted("")
        self._asked = 0  # in vain
        self._again = 0.0
        self._comparing = threading.Lock()

    def ready(self, told: threading.Event | None = None) -> Mapping[str, Any]:
        """Compare both sides, once, and return the function's answer.

        Parameters
        ----------
        told : threading.Event, optional
            Ends the waiting for an answer.

        Raises
        ------
        VersionError
            Which all calls end with.
        OverBudget
            If not even a ping may be paid for.
        ServiceError, NeverStarted
            If there is no answer; a later call asks again: keys are renewed, an update of the function ends.
        """
        told = told or threading.Event()
        # Before the wait: whoever asks from now on asks for us, too.
        asked = self._asked
        while self._pong is None:
            if told.is_set():
                raise NeverStarted("told to stop before it began")
            if not self._comparing.acquire(timeout=_LOOK):
                continue
            try:
                # Another channel has asked while we waited, or just before, and got no answer: that is our
                # answer, too. Otherwise thousands of channels would ask one after the other.
                if self._pong is None and (self._asked != asked or time.monotonic() < self._again):
                    raise _anew(self._unanswered)
                if self._pong is None:
                    self._ask(told)
            finally:
                self._comparing.release()
        if isinstance(self._pong, WrenlaError):
            raise _anew(self._pong)
        return self._pong

    def _ask(self, told: threading.Event) -> None:
        name = self._function.facts.name
        try:
            self._pong = compared(self._ping(told), name)
        except VersionError as error:
            self._pong = error
        except EventError as error:
            self._pong = VersionError(f"{name}: {error}")
        except (ServiceError, NeverStarted) as error:
            if not told.is_set():
                self._unanswered = error
                self._asked += 1
                self._again = time.monotonic() + (_AGAIN if isinstance(error, ServiceError) else 0.0)
            raise

    def _ping(self, told: threading.Event) -> Any:
        payload = json.dumps(PING).encode()
        for attempt in range(1, _PINGS + 1):
            try:
                reply = self._invoked(payload, told)
                if reply.error is None:
                    return _parsed(reply.body)
                error = reply.error
            except OverBudget:  # which another ping does not change
                raise
            except CallError as refused:
                error = refused
            if not isinstance(error, CallError):
                raise error
            if told.wait(backoff(attempt)):
                break
        raise NeverStarted(f"{self._function.facts.name} does not answer: {error}") from error

    def _invoked(self, payload: bytes, told: threading.Event) -> Reply:
        """Invoke the function for a ping, and pay for it."""
        with self._budget.reserve(self._function.facts.name, told) as cost:
            sent = time.monotonic()
            try:
                reply = self._function.invoke(payload, told)
            except Lost:
                cost.lose(time.monotonic() - sent)
                raise
            cost.pay(reply.billing, time.monotonic() - sent)
            return reply


def compared(pong: Any, name: str) -> Mapping[str, Any]:
    """Compare Python's minor version and the packages that must agree with what a function has answered.

    Pickles of functions hold byte code, and the numbers depend on NumPy and SciPy. Returns the answer.

    Raises
    ------
    VersionError
        Naming all that differs.
    """
    known = isinstance(pong, Mapping) and pong.get("kind") == "pong" and pong.get("version") == VERSION
    if not known or not isinstance(pong.get("packages"), Mapping):
        raise VersionError(
            f"{name}: this function is not wrenla's, or of another version; run: wrenla deploy"
        )
    found: Mapping[str, Any] = pong
    if different := differences(found):
        raise VersionError(f"{name}: {'; '.join(different)}; run: wrenla deploy")
    return found


def _parsed(body: bytes) -> Any:
    """Return JSON, None if it is none."""
    try:
        return json.loads(body)
    except ValueError:
        return None


def _anew(error: WrenlaError) -> WrenlaError:
    """Return an error of the same kind: one that is raised in many threads would collect their tracebacks."""
    again = type(error)(*error.args)
    again.__cause__ = error.__cause__
    return again
