"""Unpack a zip below a folder, and nowhere else."""

from __future__ import annotations

import errno
import lzma
import os
import shutil
import stat
import struct
import zipfile
import zlib
from pathlib import Path

__all__ = ["UNREADABLE", "BadPackage", "unpack"]

UNREADABLE = (
    *(zipfile.BadZipFile, EOFError, RuntimeError, ValueError, OverflowError),
    *(zlib.error, lzma.LZMAError, struct.error),
)
"""What `zipfile` raises of a zip that is broken, encrypted, or made in a way it does not know."""

_NAMES = {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.ELOOP, None}
"""Of an `OSError` that is the zip's fault: a name that no file can have; none if bzip2 cannot read it."""


_LONGEST = 4095
"""Bytes in the target of a link."""


class BadPackage(ValueError):
    """A zip that cannot be unpacked, or leads out of its folder; the message says which member, and why."""


def unpack(archive: zipfile.ZipFile, folder: Path) -> None:
    """Write what is in a zip into a new folder.

    Nothing is written through a link: names are compared before anything is written, links are made when all
    else is there, and each must lead to a place inside.

    Parameters
    ----------
    archive : ZipFile
    folder : Path
        It must not be there.

    Raises
    ------
    BadPackage
        Then there is a part of it.
    """
    folder.mkdir()
    try:
        files, folders, links = _sorted(archive)
        for path in sorted(folders):
            (folder / path).mkdir()
        for path, member in files.items():
            _write(archive, member, folder / path)
        for path, member in links.items():
            _link(archive.read(member), folder / path)
        for path in links:
            _check_link(folder, path)
    except BadPackage:
        raise
    except UNREADABLE as error:
        raise BadPackage(str(error)) from error
    except OSError as error:
        if error.errno not in _NAMES:
            raise
        raise BadPackage(error.strerror or str(error)) from error
    for path in (Path(), *folders):  # whatever our umask
        (folder / path).chmod(0o755)


def _sorted(
    archive: zipfile.ZipFile,
) -> tuple[dict[Path, zipfile.ZipInfo], set[Path], dict[Path, zipfile.ZipInfo]]:
    """Return files, folders and links by their paths below the folder; of two files of one name the last."""
    files: dict[Path, zipfile.ZipInfo] = {}
    links: dict[Path, zipfile.ZipInfo] = {}
    folders: set[Path] = set()
    for member in archive.infolist():
        path = Path(member.filename)
        if path.is_absolute() or ".." in path.parts:
            raise BadPackage(f"{member.filename!r} leads out of the package")
        folders.update(path.parents)
        kind = stat.S_IFMT(member.external_attr >> 16)
        if member.is_dir() or kind == stat.S_IFDIR:
            folders.add(path)
        elif kind == stat.S_IFLNK:
            if path in links:
                raise BadPackage(f"{member.filename!r} is there twice, as a link")
            if member.file_size > _LONGEST:
                raise BadPackage(f"the link {member.filename!r} is too long")
            links[path] = member
        elif kind in (0, stat.S_IFREG):
            files[path] = member
        else:
            raise BadPackage(f"{member.filename!r} is neither file nor folder nor link")
    folders.add(Path())  # the package's own folder is none that a member could be
    for one, other in ((files, folders), (files, links), (links, folders)):
        if twice := sorted(one.keys() & set(other)):
            raise BadPackage(f"{str(twice[0])!r} is there twice, as things of two kinds")
    folders.remove(Path())
    return files, folders, links


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    with archive.open(member) as packed, path.open("xb") as file:
        shutil.copyfileobj(packed, file, 1 << 20)
    mode = member.external_attr >> 16
    # on Lambda files belong to somebody else: those that not everybody may read cannot be read
    path.chmod(mode & 0o555 if mode & 0o004 else 0)


def _link(target: bytes, path: Path) -> None:
    text = target.decode()
    if not text or "\0" in text or text.startswith("/"):
        raise BadPackage(f"the link {path.name!r} leads out of the package")
    path.symlink_to(text)


def _check_link(folder: Path, path: Path) -> None:
    """Check where a link leads when all others are there, too: it may lead through them."""
    inside, end = os.path.realpath(folder), os.path.realpath(folder / path)
    if end != inside and not end.startswith(f"{inside}/"):
        raise BadPackage(f"the link {str(path)!r} leads out of the package")
    try:
        (folder / path).stat()
    except FileNotFoundError:
        return  # to nothing, but inside
    except OSError as error:
        raise BadPackage(f"the link {str(path)!r} leads nowhere: {error.strerror}") from None
