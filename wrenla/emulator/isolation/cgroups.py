"""Control groups: memory and processor time of an environment, with versions 1 and 2 of the interface."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

__all__ = ["PREFIX", "Group", "Groups", "find_groups", "has_ended", "sweep_groups"]

PREFIX = "wrenla-emulator-"
"""What names of groups begin with; the number of the emulator's process follows, then one of the group, and
then that of the PID namespace, in which alone the first number means this process."""

_PERIOD = 100_000
"""Microseconds over which processor time is shared out."""

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_NAMESPACE = Path("/proc/self/ns/pid")


class Group(ABC):
    """The group of one environment; who joins it writes its process number into `join`.

    Parameters
    ----------
    folders : tuple of Path
        One for each controller with version 1, the first for memory; one with version 2.
    memory : int
        Bytes.
    """

    def __init__(self, folders: tuple[Path, ...], memory: int) -> None:
        self.folders = folders
        made = []
        try:
            for folder in folders:
                folder.mkdir()
                made.append(folder)
            self._limit_memory(memory)
        except OSError:
            for folder in made:
                folder.rmdir()
            raise

    @property
    def join(self) -> tuple[Path, ...]:
        """Files into which a process writes its number, to join."""
        return tuple(folder / "cgroup.procs" for folder in self.folders)

    @abstractmethod
    def _limit_memory(self, memory: int) -> None: ...

    @abstractmethod
    def limit_processor(self, processors: float) -> None:
        """Limit processor time to so many processors."""

    @abstractmethod
    def oom_kills(self) -> int:
        """Return how many processes the group's limit has killed."""

    @abstractmethod
    def peak(self) -> int:
        """Return the most bytes that the group has had, files that were read included."""

    def kill(self) -> None:
        """Kill every process in the group."""
        for folder in self.folders:
            with contextlib.suppress(OSError):
                _kill((folder / "cgroup.procs").read_text().split())

    def close(self) -> None:
        """Remove the group, when what was in it has ended."""
        for folder in self.folders:
            _remove(folder)


class GroupV1(Group):
    """Two folders: of the memory controller, and of the cpu controller."""

    def _limit_memory(self, memory: int) -> None:
        (self.folders[0] / "memory.limit_in_bytes").write_text(str(memory))
        with contextlib.suppress(OSError):  # swap is accounted for on some machines only
            (self.folders[0] / "memory.memsw.limit_in_bytes").write_text(str(memory))

    def limit_processor(self, processors: float) -> None:
        if len(self.folders) > 1:
            (self.folders[1] / "cpu.cfs_period_us").write_text(str(_PERIOD))
            (self.folders[1] / "cpu.cfs_quota_us").write_text(str(_quota(processors)))

    def oom_kills(self) -> int:
        return _field(self.folders[0] / "memory.oom_control", "oom_kill")

    def peak(self) -> int:
        return int(next(iter(_words(self.folders[0] / "memory.max_usage_in_bytes")), "0"))


class GroupV2(Group):
    """One folder with all controllers."""

    def _limit_memory(self, memory: int) -> None:
        (self.folders[0] / "memory.max").write_text(str(memory))
        with contextlib.suppress(OSError):
            (self.folders[0] / "memory.swap.max").write_text("0")

    def limit_processor(self, processors: float) -> None:
        file = self.folders[0] / "cpu.max"
        if file.exists():
            file.write_text(f"{_quota(processors)} {_PERIOD}")

    def oom_kills(self) -> int:
        return _field(self.folders[0] / "memory.events", "oom_kill")

    def peak(self) -> int:  # Linux 5.19
        return int(next(iter(_words(self.folders[0] / "memory.peak")), "0"))

    def kill(self) -> None:
        try:
            (self.folders[0] / "cgroup.kill").write_text("1")
        except OSError:  # Linux before 5.14
            super().kill()


class Groups:
    """Makes groups.

    Parameters
    ----------
    version : {1, 2}
    parents : tuple of Path
        Folders in which groups are made, the first one of the memory controller.
    limits_processor : bool
        Whether processor time can be limited, too.
    """

    def __init__(self, version: int, parents: tuple[Path, ...], limits_processor: bool) -> None:
        self.version = version
        self.parents = parents
        self.limits_processor = limits_processor
        self._count = 0

    def make(self, memory: int) -> Group:
        """Make a group with a limit of so many bytes."""
        self._count += 1
        name = f"{PREFIX}{os.getpid()}-{self._count}-{_namespace()}"
        kind = GroupV1 if self.version == 1 else GroupV2
        return kind(tuple(parent / name for parent in self.parents), memory)


def find_groups(root: Path = _ROOT, own: Path = _OWN) -> Groups | None:
    """Return what makes groups, None if this process may not.

    Parameters
    ----------
    root : Path
        Where control groups are mounted.
    own : Path
        The file that says in which groups this process is.
    """
    for groups in (*_version_2(root, own), *_version_1(root, own)):
        if _works(groups):
            return groups
    return None


def _own_groups(own: Path) -> dict[str, str]:
    """Return this process's group by controller; that of version 2 by the empty name."""
    with contextlib.suppress(OSError):
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
        return {name: path for _, names, path in lines for name in names.split(",")}
    return {}


def _version_1(root: Path, own: Path) -> Iterator[Groups]:
    mine = _own_groups(own)
    if "memory" in mine and (root / "memory").is_dir():
        memory = root / "memory" / mine["memory"].lstrip("/")
        processor = root / "cpu" / mine.get("cpu", "").lstrip("/")
        if (processor / "cpu.cfs_quota_us").exists() or "cpu" in mine:
            yield Groups(1, (memory, processor), True)
        yield Groups(1, (memory,), False)


def _version_2(root: Path, own: Path) -> Iterator[Groups]:
    """Yield the nearest groups above us whose children may have the memory controller.

    A group with processes in it, such as our own, cannot hand controllers to its children, the root excepted.
    """
    mine = _own_groups(own).get("")
    for mount in (root, root / "unified"):
        if mine is None or not (mount / "cgroup.controllers").exists():
            continue
        folder = mount / mine.lstrip("/")
        while True:
            handed = _words(folder / "cgroup.subtree_control")
            if "memory" not in handed:
                with contextlib.suppress(OSError):
                    (folder / "cgroup.subtree_control").write_text("+memory +cpu")
                    handed = _words(folder / "cgroup.subtree_control")
            if "memory" in handed:
                yield Groups(2, (folder,), "cpu" in handed)
            if folder == mount:
                break
            folder = folder.parent


def _works(groups: Groups) -> bool:
    """Tell whether groups can be made, limited, joined and removed."""
    try:
        group = groups.make(64 << 20)
    except OSError:
        return False
    try:
        if groups.limits_processor:
            group.limit_processor(1)
        script = 'for file in "$@"; do echo $$ > "$file" || exit 1; done'
        joined = subprocess.run(
            ["/bin/sh", "-c", script, "sh", *map(str, group.join)], capture_output=True, check=False
        )
        return joined.returncode == 0
    except OSError:
        return False
    finally:
        group.close()


def has_ended(pid: str) -> bool:
    """Tell whether a process is gone, or has ended and is waited for by nobody, which may last."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def sweep_groups(groups: Groups) -> None:
    """Remove what emulators have left that were killed.

    Those of other PID namespaces, such as containers have, are left alone: whether they live cannot be known.
    """
    for parent in groups.parents:
        for folder in parent.glob(f"{PREFIX}*"):
            owner, _, rest = folder.name.removeprefix(PREFIX).partition("-")
            namespace = rest.partition("-")[2] or _namespace()  # older versions did not say
            if owner.isdigit() and namespace == _namespace() and has_ended(owner):
                _kill(_words(folder / "cgroup.procs"))
                _remove(folder)


def _namespace() -> str:
    """Return the number of our PID namespace; while somebody is in it, it is no other's."""
    return str(_NAMESPACE.stat().st_ino)


def _kill(pids: list[str]) -> None:
    for pid in map(int, pids):
        if (
            pid > 0
        ):  # 0 is a process of another namespace, which has no number here; to `kill` it is our group
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _remove(folder: Path) -> None:
    """Remove a group; what is ending in it may need a moment."""
    for _ in range(100):
        try:
            folder.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.01)


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []


def _field(file: Path, name: str) -> int:
    words = _words(file)
    return int(words[words.index(name) + 1]) if name in words else 0


def _quota(processors: float) -> int:
    return max(1000, int(processors * _PERIOD))
