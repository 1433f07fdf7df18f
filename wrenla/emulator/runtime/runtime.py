"""Lambda's runtime: Python, AWS's runtime client, and boto3."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from wrenla.errors import WrenlaError

__all__ = ["ARCHITECTURE", "PYTHON", "RUNTIME", "link_runtime", "runtime_pieces"]

PYTHON = os.path.realpath(sys.executable)
"""The interpreter itself: that of a virtual environment would bring its packages along."""

RUNTIME = f"python{sys.version_info[0]}.{sys.version_info[1]}"
"""The only runtime there is here."""

ARCHITECTURE = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
"""The only architecture there is here, as AWS calls it."""

_CLIENT = ("awslambdaric", "simplejson", "snapshot-restore-py")
_SDK = ("boto3", "botocore", "s3transfer", "jmespath", "python-dateutil", "six", "urllib3")
"""The managed runtimes for Python have these, and no other packages."""


def runtime_pieces() -> dict[str, str]:
    """Return the path of each file and folder of ``/var/runtime``, by name.

    Raises
    ------
    WrenlaError
        A package is not installed.
    """
    pieces = {}
    for package in (*_CLIENT, *_SDK):
        try:
            found = distribution(package)
        except PackageNotFoundError:
            message = f"the emulator needs {package}, which is not installed: pip install 'wrenla[emulator]'"
            raise WrenlaError(message) from None
        for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            pieces[top] = os.path.realpath(str(found.locate_file(top)))
    return pieces


def link_runtime(folder: Path) -> None:
    """Make a folder that can stand in for ``/var/runtime``."""
    folder.mkdir()
    for name, path in runtime_pieces().items():
        (folder / name).symlink_to(path)
