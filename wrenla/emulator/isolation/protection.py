"""Protection: choose how functions are isolated and limited, and say what is missing."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass

from wrenla.emulator.isolation.binds import system_binds
from wrenla.emulator.isolation.cgroups import Groups, find_groups
from wrenla.emulator.options import Isolation, MemoryGuard
from wrenla.errors import WrenlaError

__all__ = ["Protection", "find_protection"]


@dataclass(frozen=True)
class Protection:
    """Protection that this machine offers.

    Parameters
    ----------
    bubblewrap : str
        The program; empty if functions are plain processes.
    groups : Groups, optional
        None if a thread watches their memory instead.
    """

    bubblewrap: str
    groups: Groups | None

    @property
    def missing(self) -> tuple[str, ...]:
        """Differences from the real Lambda, in words."""
        missing = []
        if not self.bubblewrap:
            missing += [
                "functions see this machine's files and processes (bubblewrap is not there, or not allowed)",
                "their code is read-only by its permissions only, which root ignores",
                "/tmp is a folder named by TMPDIR, without a limit of its size",
                "/dev/shm can be written: multiprocessing.Lock, Queue and Pool work here, and not on Lambda",
            ]
        else:
            missing.append("what a function keeps in /tmp counts as its memory")
        if self.groups is None:
            missing.append(
                "memory is looked at every 50 ms instead of being limited (no cgroup may be made here)"
            )
        if self.groups is None or not self.groups.limits_processor:
            missing.append("a function may use more processor time than its memory buys")
        missing.append("functions reach whatever network this machine reaches")
        return tuple(missing)


def find_protection(isolation: Isolation, guard: MemoryGuard) -> Protection:
    """Return the requested protection, or the best available.

    Raises
    ------
    WrenlaError
        What was asked for does not work here.
    """
    program = "" if isolation == "plain" else _working_bubblewrap()
    if isolation == "bubblewrap" and not program:
        raise WrenlaError(
            "isolation='bubblewrap' does not work here: install it (apt-get install bubblewrap), or allow "
            "user namespaces, or take isolation='plain'"
        )
    groups = None if guard == "watcher" else find_groups()
    if guard == "cgroup" and groups is None:
        raise WrenlaError(
            "memory_guard='cgroup' does not work here: no control group of version 1 or 2 that this user may "
            "write was found; take memory_guard='watcher'"
        )
    return Protection(program, groups)


def _working_bubblewrap() -> str:
    program = shutil.which("bwrap")
    if program is None:
        return ""
    flags = [
        "--tmpfs",
        "/tmp",
        *system_binds(),
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--unshare-user",
        "--unshare-pid",
    ]
    with tempfile.TemporaryDirectory(prefix="wrenla-emulator-probe-") as folder:
        tried = subprocess.run(
            [program, *flags, "--ro-bind", folder, folder, "--", "/bin/sh", "-c", ":"],
            capture_output=True,
            check=False,
        )
    return program if tried.returncode == 0 else ""
