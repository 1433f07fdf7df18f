"""Memory watchdog: a thread that kills processes over their limit, where control groups cannot."""

from __future__ import annotations

import threading

from wrenla.emulator.runtime.process import RuntimeProcess

__all__ = ["MemoryWatchdog"]

_EVERY = 0.05
"""Seconds between two looks."""


class MemoryWatchdog:
    """Kills processes that have more memory than they may have."""

    def __init__(self) -> None:
        self._limits: dict[RuntimeProcess, int] = {}
        self._killed: set[RuntimeProcess] = set()
        self._lock = threading.Lock()
        self._some = threading.Event()
        self._over = False
        self._thread = threading.Thread(target=self._run, name="wrenla-emulator-memory", daemon=True)
        self._thread.start()

    def watch(self, process: RuntimeProcess, limit: int) -> None:
        """Look at a process from now on; it may have `limit` bytes."""
        with self._lock:
            self._limits[process] = limit
            self._some.set()

    def leave(self, process: RuntimeProcess) -> None:
        """Do not look at a process any more: it is frozen, or has ended."""
        with self._lock:
            self._limits.pop(process, None)
            if not self._limits:
                self._some.clear()

    def has_killed(self, process: RuntimeProcess) -> bool:
        """Tell whether a process had too much."""
        with self._lock:
            return process in self._killed

    def forget(self, process: RuntimeProcess) -> None:
        """Forget a process that has ended."""
        self.leave(process)
        with self._lock:
            self._killed.discard(process)

    def close(self) -> None:
        """End the thread."""
        self._over = True
        self._some.set()
        self._thread.join()

    def _run(self) -> None:
        pause = threading.Event()
        while self._some.wait() and not self._over:
            with self._lock:
                # With the lock held, also while it kills: after `forget` the number may be another process's.
                for process, limit in self._limits.items():
                    used = process.memory()
                    process.observe(used)
                    if used > limit:
                        # Before it is killed: whoever waits for its end asks `has_killed` at once.
                        self._killed.add(process)
                        process.kill()
            pause.wait(_EVERY)
