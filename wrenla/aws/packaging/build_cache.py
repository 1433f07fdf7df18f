"""Build cache: files named by their inputs, whole or absent, old ones removed."""

from __future__ import annotations

import os
import re
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

__all__ = ["BuiltFile", "built_files", "default_folder", "digest", "forget_old"]

_OURS = re.compile(r"(\.?)(package|wheels|requirements)-[0-9a-f]{20}\.(zip|json|txt)(\.\w+\.part)?")
"""Names of what is built, and with a dot of what is being written, or was when its process was killed."""

_IN_USE = 600.0
"""Seconds after its last use in which a file may still be read: uploaded, or unpacked."""

_BEING_WRITTEN = 3600.0
"""Seconds that it takes at most to write a file."""


def default_folder() -> Path:
    """Return the folder for packages in the user's cache folder (``XDG_CACHE_HOME``)."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "wrenla" / "packages"


def digest(*inputs: object) -> str:
    """Return a short hash of values whose `repr` says all about them."""
    return sha256(repr(inputs).encode()).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class BuiltFile:
    """A file in the cache.

    Attributes
    ----------
    path : Path
    nbytes : int
    age : float
        Seconds since it was used.
    """

    path: Path
    nbytes: int
    age: float

    def remove(self) -> None:
        """Remove it, with the notes beside it: these first, since who finds notes expects the file."""
        self.path.with_suffix(".json").unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


def built_files(folder: Path) -> list[BuiltFile]:
    """Return what can be removed from a cache, what was used last first.

    That is what was built, and what processes that were killed had begun to write. What others have put there
    is left out.
    """
    found = []
    now = time.time()
    for path in folder.glob("*") if folder.is_dir() else ():
        name = _OURS.fullmatch(path.name)
        if name is None:
            continue
        with suppress(FileNotFoundError):  # another process forgets too
            about = path.lstat()
            age = max(0.0, now - about.st_mtime)
            if stat.S_ISREG(about.st_mode) and not (name[1] and age < _BEING_WRITTEN):
                found.append(BuiltFile(path, about.st_size, age))
    return sorted(found, key=lambda file: file.age)


def forget_old(folder: Path, pattern: str, kept: int) -> None:
    """Remove all but the newest files of a pattern, and but those that somebody may be reading."""
    of_pattern = [file for file in built_files(folder) if file.path.match(pattern)]
    for file in of_pattern[kept:]:
        if file.age > _IN_USE:
            file.remove()
