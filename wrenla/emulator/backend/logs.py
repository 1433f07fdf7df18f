"""Logs on their way to CloudWatch Logs, behind the caller's back."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque

from wrenla.emulator.backend.moto_backend import MotoBackend
from wrenla.emulator.runtime.launcher import log_stream

__all__ = ["Logs"]

_Log = tuple[str, str, int, bytes]
"""Group, environment, time in milliseconds, and text."""

_RECENT = 1 << 20
"""Bytes that are kept to be looked at."""


class Logs:
    """Writes the log of each call into the stream of its environment.

    Parameters
    ----------
    cloud : MotoBackend
    """

    def __init__(self, cloud: MotoBackend) -> None:
        self._cloud = cloud
        self._queue: queue.SimpleQueue[_Log | threading.Event | None] = queue.SimpleQueue()
        self._recent: deque[bytes] = deque()
        self._size = 0
        self._thread = threading.Thread(target=self._run, name="wrenla-emulator-logs", daemon=True)
        self._thread.start()

    def put(self, function: str, environment: str, log: bytes) -> None:
        """Queue the log of one call."""
        self._queue.put((f"/aws/lambda/{function}", environment, int(time.time() * 1000), log))

    def flush(self) -> None:
        """Wait until what is queued is written."""
        written = threading.Event()
        self._queue.put(written)
        written.wait()

    def recent(self) -> str:
        """Return the newest text of all functions."""
        return b"".join(list(self._recent)).decode(errors="replace")

    def close(self) -> None:
        """End the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
                continue
            group, environment, milliseconds, log = item
            text = log.decode(errors="replace")
            lines = [(milliseconds, line) for line in text.split("\n") if line.strip()]
            self._cloud.write_logs(group, log_stream(environment), lines)
            self._recent.append(log)
            self._size += len(log)
            while self._size > _RECENT and len(self._recent) > 1:
                self._size -= len(self._recent.popleft())
