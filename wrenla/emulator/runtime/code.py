"""Code of functions: zips, unpacked once per content."""

from __future__ import annotations

import hashlib
import io
import shutil
import threading
import zipfile
from pathlib import Path

from wrenla.emulator.api.responses import Refusal
from wrenla.emulator.runtime.unpack import UNREADABLE, BadPackage, unpack

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
                _unzip(package, half)
                half.rename(folder)
            finally:
                remove_tree(half)
            return folder


def _unzip(package: bytes, folder: Path) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(package)) as archive:
            members = archive.infolist()
            if not members:
                raise _refused("Uploaded file must be a non-empty zip")
            if sum(member.file_size for member in members) > UNZIPPED:
                raise _refused(f"Unzipped size must be smaller than {UNZIPPED} bytes")
            unpack(archive, folder)
    except UNREADABLE as error:
        message = "Could not unzip uploaded file. Please check your file, then try to upload again."
        why = f" (The emulator: {error})" if isinstance(error, BadPackage) else ""
        raise _refused(f"{message}{why}") from error


def _refused(message: str) -> Refusal:
    return Refusal(400, "InvalidParameterValueException", message)


def remove_tree(folder: Path) -> None:
    """Remove a folder with all that is in it."""
    shutil.rmtree(folder, ignore_errors=True)
