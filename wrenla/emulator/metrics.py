"""Metrics of an emulator, for tests."""

from __future__ import annotations

import threading
from collections import Counter

__all__ = ["COUNTED", "Metrics"]

COUNTED = (*("invocations", "executions", "cold_starts", "throttles", "faults"),)
"""What is counted."""


class Metrics:
    """Numbers, by the names in `COUNTED`."""

    def __init__(self) -> None:
        self._numbers: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, name: str) -> None:
        """Count one more."""
        with self._lock:
            self._numbers[name] += 1

    def read(self) -> dict[str, int]:
        """Return them all."""
        with self._lock:
            return dict(self._numbers)
