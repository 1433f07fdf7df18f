"""Waiting for what happens in another thread or process."""

from __future__ import annotations

import time
from collections.abc import Callable

import wrenla as wl


def until(condition: Callable[[], object], seconds: float = 20.0) -> bool:
    """Wait until something is so, but not for ever; tell whether it is."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def until_idle(executor: wl.Executor, seconds: float = 30.0) -> bool:
    """Wait until no call of an executor waits or runs."""

    def idle() -> bool:
        now = executor.stats()
        return not now.waiting + now.running

    return until(idle, seconds)
