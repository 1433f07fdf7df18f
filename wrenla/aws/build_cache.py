"""A folder of built files: named by what they are made from, whole or not there, old ones forgotten."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

__all__ = ["default_folder", "digest", "forget_old", "replacing"]


def default_folder() -> Path:
    """Return the folder for packages in the user's cache folder (``XDG_CACHE_HOME``)."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "wrenla" / "packages"


def digest(*inputs: object) -> str:
    """Return a short hash of values whose `repr` says all about them."""
    return sha256(repr(inputs).encode()).hexdigest()[:20]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file to write to, which replaces `path` at the end: others see all of it or nothing."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
        os.chmod(name, 0o644)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def forget_old(folder: Path, pattern: str, kept: int) -> None:
    """Remove all but the newest files of a pattern, with the notes beside them."""
    found = []
    for path in folder.glob(pattern):
        with suppress(FileNotFoundError):  # another process forgets too
            found.append((path.stat().st_mtime, path))
    for _, path in sorted(found, reverse=True)[kept:]:
        path.with_suffix(".json").unlink(missing_ok=True)  # first: who finds notes expects the file
        path.unlink(missing_ok=True)
