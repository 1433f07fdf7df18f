"""Memory of processes, as the system reports it."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["high_water", "private_memory", "shares_of_memory"]


def private_memory(pids: Iterable[int]) -> int:
    """Return the bytes that processes have together, without files; what they share is counted once."""
    private = shared = 0
    for pid in pids:
        found = _fields(f"/proc/{pid}/status", ("RssAnon", "RssShmem"))
        private += found.get("RssAnon", 0)
        shared = max(shared, found.get("RssShmem", 0))
    return private + shared


def high_water(pid: int) -> int:
    """Return the most bytes that a process has had in memory, 0 if it has ended."""
    return _fields(f"/proc/{pid}/status", ("VmHWM",)).get("VmHWM", 0)


def shares_of_memory(pids: Iterable[int]) -> int:
    """Return the bytes that processes have now; what n processes share counts as an nth for each."""
    return sum(_fields(f"/proc/{pid}/smaps_rollup", ("Pss:",)).get("Pss", 0) for pid in pids)


def _fields(path: str, names: tuple[str, ...]) -> dict[str, int]:
    """Read lines such as ``VmHWM:  1234 kB``."""
    try:
        with open(path) as file:
            lines = [line.split(":", 1) for line in file if line.startswith(names)]
    except OSError:
        return {}
    return {name: int(value.split()[0]) << 10 for name, value in lines}
