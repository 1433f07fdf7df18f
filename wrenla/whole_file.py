"""Whole files: what is written is there whole, or not at all, and replaces only another file."""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from wrenla_handler.stores.atomic_files import NO_UNNAMED_FILES, give_name

__all__ = ["check_replaceable", "whole_file"]


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Give a file to write to, which replaces `path` at the end of the block; after an error nothing has.

    Of a link it is what the link leads to. The file that is written has no name until it is whole, so that a
    killed process leaves nothing; where the file system has no such files, it has a hidden one beside it.

    Parameters
    ----------
    path : str or path
        Its folder is there.

    Raises
    ------
    OSError
        It cannot be written, or `check_replaceable` refuses it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole_file(f"{folder}/numbers") as file:
    ...         _ = file.write(b"1 2 3")
    ...     Path(folder, "numbers").read_text(), os.listdir(folder)
    ('1 2 3', ['numbers'])
    """
    place = check_replaceable(path)
    part = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with _opened(part) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if not part.exists():
                give_name(file.fileno(), str(part))  # one that is free: only a rename replaces
        os.replace(part, place)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def _opened(part: Path) -> IO[bytes]:
    try:
        return open(os.open(part.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666), "w+b")
    except OSError as error:
        if error.errno not in NO_UNNAMED_FILES:
            raise
        return open(part, "x+b")


def check_replaceable(path: str | os.PathLike[str]) -> Path:
    """Return the file that a path leads to, by links too, whether it is there or not.

    Raises
    ------
    OSError
        Something is there that is no file, as a folder, a device or a pipe. To replace ``/dev/null`` would
        take it from all programs.
    """
    place = Path(os.path.realpath(path))
    with suppress(FileNotFoundError, NotADirectoryError):
        mode = place.stat().st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "Is a folder", str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "Is a device or a pipe, not a file that can be replaced", str(path))
    return place
