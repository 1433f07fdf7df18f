"""Waiting for what happens in another thread or process."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import wrenla as wl


def until(condition: Callable[[], object], seconds: float = 20.0) -> bool:
    """Wait until something is so, but not for ever (longer on a busy machine); tell whether it is."""
    began = time.monotonic()
    while not condition():
        if (waited := time.monotonic() - began) > seconds and waited > slowed(seconds):
            return False
        time.sleep(0.01)
    return True


def attempts(first: float) -> Iterator[float]:
    """Yield more and more seconds, for what has to be looked at before they are over.

    A busy machine may not be in time: then the caller tries again with more, and with the last it fails.
    """
    yield from (first, 4 * first, 16 * first)


def slowed(seconds: float) -> float:
    """Return how long what takes some seconds on a quiet machine may take now, with others that compute."""
    lately, _, _, now, _ = Path("/proc/loadavg").read_text().split()
    runnable = max(float(lately), float(now.partition("/")[0]))
    return seconds * max(1.0, runnable / (os.cpu_count() or 1))


def until_idle(executor: wl.Executor, seconds: float = 30.0) -> bool:
    """Wait until no call of an executor waits or runs."""

    def idle() -> bool:
        now = executor.stats()
        return not now.waiting + now.running

    return until(idle, seconds)


def without_copies(executor: wl.Executor) -> None:
    """Let an executor make no copies of stragglers, as a busy machine does: attempts are counted."""
    executor.calls._state._look_again = math.inf
