"""Identity of a process: boot, namespace and start time, beside a number that the system uses again."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["boot", "is_running", "namespace", "start_of"]


def boot() -> str:
    """Return what the kernel calls this run of it, "" where it does not say."""
    return _read("/proc/sys/kernel/random/boot_id")


def namespace() -> str:
    """Return the namespace of process numbers, and that of the clock by which processes begin."""
    try:
        pids = os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
    with contextlib.suppress(OSError):  # kernels before 5.6 have none of time
        return f"{pids} {os.readlink('/proc/self/ns/time')}"
    return pids


def is_running(pid: int, started: str) -> bool | None:
    """Tell whether a process of this namespace still runs; None if we may not see it."""
    if began := start_of(pid):
        return bool(started) and began == started
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # /proc may hide processes of other users
        return None
    return False if _read(f"/proc/{pid}/stat") else None  # it has ended, and nobody has waited for it


def start_of(pid: int) -> str:
    """Return when a process of this namespace began, "" if it is gone, or has only not been waited for."""
    after_name = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return after_name[19] if len(after_name) > 19 and after_name[0] not in "ZX" else ""


def _read(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text().strip()
    return ""
