"""Environments and concurrency: who may run, and where."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from wrenla.emulator.api.responses import Refusal
from wrenla.emulator.faults import Fault
from wrenla.emulator.metrics import Metrics
from wrenla.emulator.runtime.environment import Call, Environment, Outcome
from wrenla.emulator.runtime.functions import Function
from wrenla.emulator.runtime.launcher import Launcher

__all__ = ["Concurrency", "Pool"]

Concurrency = Literal["account's", "function's"]
"""Whose concurrency a call takes."""

_RESERVED = "ReservedFunctionConcurrentInvocationLimitExceeded"
_ACCOUNT = "ConcurrentInvocationLimitExceeded"


class Pool:
    """Runs calls, each in an environment of its own, and keeps environments for the next call.

    Parameters
    ----------
    host : Launcher
    limit : int
        Calls that may run at a time, of all functions together.
    counts : Metrics
    done : callable
        Called with names of function and environment, and the log of each call.
    """

    def __init__(
        self, host: Launcher, limit: int, counts: Metrics, done: Callable[[str, str, bytes], None]
    ) -> None:
        self._host = host
        self._limit = limit
        self._counts = counts
        self._done = done
        self._lock = threading.Lock()
        self._unreserved = 0
        self._environments: set[Environment] = set()
        self._reserved: Callable[[], int] = lambda: 0
        self._helpers = ThreadPoolExecutor(8, "wrenla-emulator-helper")
        self._over = False

    def reserve(self, reserved: Callable[[], int]) -> None:
        """Set the callable that returns the concurrency reserved by functions."""
        self._reserved = reserved

    def admit(self, function: Function) -> Concurrency:
        """Take concurrency for one call; pass it to `run`.

        Raises
        ------
        Refusal
            With status 429.
        """
        with self._lock:
            # Looked at and taken with one lock: the limit holds for calls that come at the same time, too.
            place: Concurrency = "account's" if function.reserved is None else "function's"
            if function.reserved is not None:
                if function.running >= function.reserved:
                    self._throttle(_RESERVED)
            elif self._unreserved >= self._limit - self._reserved():
                self._throttle(_ACCOUNT)
            else:
                self._unreserved += 1
            function.running += 1
            return place

    def _throttle(self, reason: str) -> None:
        self._counts.add("throttles")
        raise Refusal(429, "TooManyRequestsException", "Rate Exceeded.", reason)

    def run(self, function: Function, call: Call, place: Concurrency, fault: Fault | None = None) -> Outcome:
        """Run a call that was admitted to a place, which is free afterwards."""
        twin = None
        try:
            if fault is not None and fault.kind == "answer-twice":
                twin = self._helpers.submit(self._execute, function, call, None)
            return self._execute(function, call, fault)
        finally:
            if twin is not None:
                twin.exception()  # both have ended when the caller is told
            with self._lock:
                function.running -= 1
                if place == "account's":  # whatever has become of the function's reservation meanwhile
                    self._unreserved -= 1

    def _execute(self, function: Function, call: Call, fault: Fault | None) -> Outcome:
        environment = self._take(function)
        try:
            outcome = environment.run(call, fault)
        except BaseException:
            self._end(environment)
            raise
        self._counts.add("executions")
        self._done(function.config.name, environment.name, outcome.log)
        with function.lock:
            # In one step: a change of the function empties `idle` with this lock, and must not miss this one.
            keep = environment.alive and environment.config is function.config and not function.deleted
            if keep:
                function.idle.append(environment)
        if not keep:
            self._end(environment)
        return outcome

    def _take(self, function: Function) -> Environment:
        while True:
            with function.lock:
                environment = function.idle.pop() if function.idle else None
            if environment is None:
                break
            if environment.usable():
                return environment
            self._end(environment)
        environment = Environment(function.config, self._host)
        with self._lock:
            # Together with the entry: `close`, which has made its list by now, would not end this one.
            if self._over:
                environment.close()
                raise Refusal(500, "ServiceException", "The emulator is being closed.")
            self._environments.add(environment)
        self._counts.add("cold_starts")
        return environment

    def retire(self, environments: Iterable[Environment]) -> None:
        """End environments that nobody uses."""
        for environment in environments:
            self._end(environment)

    def _end(self, environment: Environment) -> None:
        environment.kill()  # at once: what has timed out must not go on
        self._helpers.submit(self._free, environment)

    def _free(self, environment: Environment) -> None:
        environment.close()
        with self._lock:
            self._environments.discard(environment)

    def close(self) -> None:
        """End all environments; calls that are running fail."""
        with self._lock:
            self._over = True
            environments = list(self._environments)
        for environment in environments:
            # Only killed: the threads of their calls still use them, and `free` comes when these have ended.
            environment.kill()
        self._helpers.shutdown()

    def free(self) -> None:
        """Free what is left, when no call is running any more."""
        for environment in list(self._environments):
            environment.close()
