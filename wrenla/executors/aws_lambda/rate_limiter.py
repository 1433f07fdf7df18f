"""Adaptive rate limiter (429s): learns from refusals how fast the service may be called; backoff."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["AdaptiveRateLimiter", "backoff"]

_WINDOW = 0.5
"""Seconds over which refusals count as one, and between two changes of the rate."""

_CUT, _GROW, _LEAST = 0.7, 1.2, 25.0
"""What a refusal leaves of the rate; what a window without one makes of it; calls a second at least."""

_FORGET = 30.0
"""Seconds without a refusal after which there is no limit any more."""

_TAKEN = 5.0
"""Seconds after which a call that has been offered was surely taken: a refusal comes at once."""

_FIRST, _LONGEST = 0.05, 2.0
"""Seconds of the first pause after a refusal, and of the longest one, on average twice as many."""


class AdaptiveRateLimiter:
    """A token bucket without a limit, until the service refuses something for the first time.

    Then the rate is a part of what the service took lately. It grows as long as nothing more is refused, and
    is cut again when something is: additive growth would take minutes where a service allows thousands more
    by the second, as AWS Lambda does.

    Parameters
    ----------
    clock : callable
        Returns the time, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.refusals = 0
        self._timer = clock
        self._rate: float | None = None
        self._tokens = 0.0
        self._filled = self._changed = self._refused = clock()
        self._accepted: deque[float] = deque(maxlen=4096)
        self._offered: dict[int, float] = {}
        self._served = self._filled
        self._lock = threading.Lock()

    @property
    def rate(self) -> float | None:
        """Calls a second that are let through now, None for no limit."""
        return self._rate

    def take(self) -> float:
        """Take a token. Returns 0, or the seconds until the next try."""
        with self._lock:
            if self._rate is None:
                return 0.0
            now = self._timer()
            # Not more than a tenth of a second's calls: a service refuses a burst after a pause.
            self._tokens = min(max(1.0, 0.1 * self._rate), self._tokens + self._rate * (now - self._filled))
            self._filled = now
            if self._tokens >= 1:
                self._tokens -= 1
                return 0.0
            return (1 - self._tokens) / self._rate

    @contextmanager
    def offering(self) -> Iterator[None]:
        """Note that the current thread offers a call to the service, and waits for its answer."""
        me = threading.get_ident()
        with self._lock:
            self._offered[me] = self._timer()
        try:
            yield
        finally:
            with self._lock:
                del self._offered[me]

    def served(self) -> float:
        """Return when the service was last seen at work, on the clock: it is while a call takes long."""
        with self._lock:
            now = self._timer()
            if any(now - since > _TAKEN for since in self._offered.values()):
                self._served = now
            return self._served

    def accepted(self) -> None:
        """Note that the service has taken a call."""
        with self._lock:
            now = self._served = self._timer()
            self._accepted.append(now)
            # Right after a change answers are to calls of the old rate: they say nothing about the new one.
            if self._rate is None or now - max(self._refused, self._changed) < _WINDOW:
                return
            self._changed = now
            self._rate = None if now - self._refused > _FORGET else self._rate * _GROW

    def refused(self) -> None:
        """Note that the service has refused a call."""
        with self._lock:
            now = self._timer()
            self.refusals += 1
            first = self._rate is None
            self._refused = now
            # Many calls are under way when the first one is refused. Their refusals say the same, and to cut
            # for each would end at the least rate.
            if not first and now - self._changed < _WINDOW:
                return
            lately = sum(now - when <= 1.0 for when in self._accepted)
            before = max(float(lately), _LEAST) if self._rate is None else self._rate
            self._rate = max(_LEAST, _CUT * before)
            self._changed = self._filled = now
            # What was saved up at the old rate would be refused as well.
            self._tokens = 0.0


def backoff(refusals: int) -> float:
    """Return the seconds to wait after so many refusals: exponential backoff with jitter."""
    return random.uniform(0.5, 1.5) * min(_LONGEST, _FIRST * 2.0 ** min(refusals - 1, 10))
