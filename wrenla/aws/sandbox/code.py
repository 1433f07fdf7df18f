"""The code of functions: zips, unpacked once for each content."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import stat
import threading
import zipfile
from pathlib import Path

from wrenla.aws.sandbox.answers import Refusal

__all__ = ["UNZIPPED", "CodeStore", "remove_tree"]

UNZIPPED = 262_144_000
"""Bytes that a package may have unpacked."""


class CodeStore:
    """A folder with one folder for each package.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        folder.mkdir()

    def take(self, package: bytes) -> Path:
        """Return the folder with what is in a zip.

        Raises
        ------
        Refusal
            It is too large, or no zip.
        """
        folder = self._folder / hashlib.sha256(package).hexdigest()
        with self._lock:
            if folder.exists():
                return folder
            half = folder.with_suffix(".half")
            try:
                with zipfile.ZipFile(io.BytesIO(package)) as archive:
                    if sum(member.file_size for member in archive.infolist()) > UNZIPPED:
                        message = f"Unzipped size must be smaller than {UNZIPPED} bytes"
                        raise Refusal(400, "InvalidParameterValueException", message)
                    _unpack(archive, half)
            except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
                message = "Could not unzip uploaded file. Please check your file, then try to upload again."
                raise Refusal(400, "InvalidParameterValueException", message) from error
            half.rename(folder)
            return folder


def _unpack(archive: zipfile.ZipFile, folder: Path) -> None:
    remove_tree(folder)  # what a package that broke off has left
    folder.mkdir()
    for member in archive.infolist():
        path = Path(archive.extract(member, folder))
        if member.is_dir():
            continue
        mode = member.external_attr >> 16
        if stat.S_ISLNK(mode):
            target = path.read_text()
            path.unlink()
            path.symlink_to(target)
        else:  # on Lambda files belong to somebody else: those that not everybody may read cannot be read
            path.chmod(mode & 0o555 if mode & 0o004 else 0)
    for parent, _, _ in os.walk(folder):
        os.chmod(parent, 0o755)


def remove_tree(folder: Path) -> None:
    """Remove a folder with all that is in it."""
    shutil.rmtree(folder, ignore_errors=True)
