"""What holds calls up for as long as a test likes."""

from __future__ import annotations

import time
from pathlib import Path


class Gate:
    """Calls of `wait` end when it is opened, or after so long that whoever waited for them is found out."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def wait(self, value: object = None) -> object:
        """Return what is given, once the gate is open."""
        deadline = time.monotonic() + 30
        while not self.path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return value

    def open(self) -> None:
        """Let them end."""
        self.path.touch()
