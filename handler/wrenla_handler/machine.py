"""Memory and processors of this machine that this process may use, within all control groups and limits.

A limit may be set for the process (`ulimit`, `taskset`), for its control group, or for any group above that:
SLURM, systemd and Kubernetes set theirs on groups above those in which programs run.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path

__all__ = ["control_groups", "is_virtual", "memory_of_this_machine", "processors", "resident_bytes"]

_ROOT = Path("/")

_PAGE = os.sysconf("SC_PAGE_SIZE")


def control_groups(controller: str, root: Path = _ROOT) -> Iterator[Path]:
    """Yield the folders of this process's control group and of those above it, as far as they can be seen.

    Parameters
    ----------
    controller : str
        Such as ``memory``. With version 2 of the interface, one group has all controllers.
    root : Path, optional
        Below which ``/proc`` and the mounts are looked for.
    """
    own = _own_groups(root)
    for place, top, names in _mounts(root):
        if names is not None and controller not in names:
            continue
        group = own.get("" if names is None else controller)
        if group is None:
            continue
        # a container may see a part of the tree only: what its mount shows as the root is `top`
        inner = os.path.relpath(group, top)
        folder = place if inner.startswith("..") else place / inner
        if not folder.is_dir():  # the names are those of another namespace
            folder = place
        yield folder
        while folder != place:
            folder = folder.parent
            yield folder


def is_virtual(root: Path = _ROOT) -> bool:
    """Tell whether this is a virtual machine that says so: by its processor, or as Xen does."""
    with contextlib.suppress(OSError):
        if re.search(r"^flags\b.*\bhypervisor\b", (root / "proc/cpuinfo").read_text(), re.MULTILINE):
            return True
    return (root / "sys/hypervisor/type").exists()


def memory_of_this_machine(root: Path = _ROOT) -> int:
    """Return the bytes of memory that this process may use: the least of all limits."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft = resource.getrlimit(limit)[0]
        if soft != resource.RLIM_INFINITY:
            limits.append(soft)
    for folder in control_groups("memory", root):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            text = _text(folder / name)
            if text.isdigit():  # no limit is "max", or a number beyond any machine
                limits.append(int(text))
        # with version 1 the kernel also tells of groups above that cannot be seen
        limits += map(
            int, re.findall(r"^hierarchical_memory_limit (\d+)", _text(folder / "memory.stat"), re.M)
        )
    return min(limits)


def resident_bytes(pid: int | str = "self") -> int:
    """Return the bytes of memory that a process has right now, files that it has mapped included.

    Raises
    ------
    OSError
        It has ended.
    """
    statm = os.open(f"/proc/{pid}/statm", os.O_RDONLY)  # a file object would take most of the time: see tasks
    try:
        return int(os.read(statm, 200).split()[1]) * _PAGE
    finally:
        os.close(statm)


def processors(root: Path = _ROOT) -> int:
    """Return how many processors this process may use, a part of one counted as one."""
    found = [float(len(os.sched_getaffinity(0)))]
    for folder in control_groups("cpu", root):
        quota, period = (*_text(folder / "cpu.max").split(), "", "")[:2]
        if not quota:
            quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period):  # no limit is "max" or -1
            found.append(int(quota) / int(period))
    return max(1, math.ceil(min(found)))


def _own_groups(root: Path) -> dict[str, str]:
    """Return this process's group by controller; that of version 2 by the empty name."""
    lines = [line.split(":", 2) for line in _text(root / "proc/self/cgroup").splitlines()]
    return {name: line[2] for line in lines if len(line) == 3 for name in line[1].split(",")}


def _mounts(root: Path) -> Iterator[tuple[Path, str, frozenset[str] | None]]:
    """Yield where control groups are mounted, which group that is, and controllers (None: version 2)."""
    for line in _text(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        top, place = map(_unescaped, fields[3:5])
        names = frozenset(kind[2].split(",")) if kind[0] == "cgroup" else None
        yield root / place.lstrip("/"), top, names


def _unescaped(name: str) -> str:
    """Return a path of ``mountinfo``, where blanks and the like are octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), name)


def _text(file: Path) -> str:
    with contextlib.suppress(OSError):
        return file.read_text(errors="surrogateescape").strip()
    return ""
