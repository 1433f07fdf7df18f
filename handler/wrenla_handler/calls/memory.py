"""Peak memory of this process."""

from __future__ import annotations

import resource

__all__ = ["PeakMemory"]

_WORTH_READING = 1e-3
"""Seconds that a function must have run for its memory to be looked at: reading it takes 0.05 ms."""


class PeakMemory:
    """The process's largest resident memory.

    What the system counts for a process (`ru_maxrss`) begins with the memory of the one that started it, so
    below that the kernel's own record of the address space has to be read.
    """

    def __init__(self) -> None:
        self._inherited = _counted()
        self._latest = _recorded()

    def after(self, seconds: float) -> int:
        """Return the peak in bytes, after a function has run for some seconds."""
        counted = _counted()
        if counted > self._inherited:
            return counted
        if seconds > _WORTH_READING:
            self._latest = _recorded()
        return self._latest


def _counted() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _recorded() -> int:
    with open("/proc/self/status") as status:
        return next((int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM")), 0)
