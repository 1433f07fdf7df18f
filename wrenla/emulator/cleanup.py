"""Cleanup after emulators that were killed.

Whether an emulator lives is asked twice. The number in a name says nothing if it is of another container that
shares ``/tmp`` with this one: there are other processes behind it. So an emulator holds a lock on its folder,
which holds wherever the folder is seen, and ends with the process, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from wrenla.emulator.isolation.cgroups import find_groups, has_ended, sweep_groups
from wrenla.emulator.runtime.code import remove_tree

__all__ = ["emulator_folder", "sweep_after", "sweep_folders"]

_FOLDER = "wrenla-emulator-"
"""What names of folders begin with; the number of the emulator's process follows."""

_STARTING = "wrenla-starting-"
"""The same of a folder that is not locked yet, and so must not be found."""


@contextlib.contextmanager
def emulator_folder() -> Iterator[Path]:
    """Make the folder of the emulator that this process is, and remove it in the end."""
    made = Path(tempfile.mkdtemp(prefix=_STARTING))
    folder = made.with_name(f"{_FOLDER}{os.getpid()}-{made.name.removeprefix(_STARTING)}")
    lock = os.open(made, os.O_RDONLY | os.O_DIRECTORY)  # no child has it: it is closed where a program begins
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        made.rename(folder)
        yield folder
    finally:
        remove_tree(made)
        remove_tree(folder)
        # Last: until the folder is gone no other emulator may sweep it, too.
        os.close(lock)


def sweep_folders() -> None:
    """Remove the folders of emulators of this user that have ended."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        with _of_the_dead(folder) as dead:
            if dead:
                remove_tree(folder)


def sweep_after(pid: int, seconds: float = 10.0) -> None:
    """Remove what an emulator has left that was killed: the next one may not come for long."""
    groups = find_groups()
    if groups is not None:
        sweep_groups(groups)
    last = time.monotonic() + seconds
    while True:
        sweep_folders()
        if not _any_left(pid) or time.monotonic() > last:
            return
        time.sleep(0.1)  # its functions see soon that it has ended; until then they may write


def _any_left(pid: int) -> bool:
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}{pid}-*"):
        with _of_the_dead(folder) as dead:
            if dead:
                return True
    return False


@contextlib.contextmanager
def _of_the_dead(folder: Path) -> Iterator[bool]:
    """Tell whether a folder is of an emulator that has ended; its lock is held meanwhile."""
    owner = re.fullmatch(rf"{_FOLDER}(\d+)-\w+", folder.name)
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # it is gone, a link, a file or another user's
        yield False
        return
    try:
        ours = os.fstat(lock).st_uid == os.geteuid()
        yield ours and owner is not None and has_ended(owner[1]) and _lock(lock)
    finally:
        os.close(lock)


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # it lives, or nobody can know
        return False
    return True
