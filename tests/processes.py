"""What this machine says about processes, and about what this one has open."""

from __future__ import annotations

import os
from pathlib import Path


def alive(pid: int) -> bool:
    """Tell whether a process has not ended; who has, but was not waited for, does not count."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children() -> set[int]:
    """Processes that this one has started and that have not been waited for."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found.update(map(int, (task / "children").read_text().split()))
        except (FileNotFoundError, ProcessLookupError):  # the thread has ended meanwhile
            continue
    return found


def open_files() -> set[str]:
    """Open file descriptors of this process."""
    return set(os.listdir("/proc/self/fd"))
