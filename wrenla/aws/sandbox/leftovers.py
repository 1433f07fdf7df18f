"""What sandboxes that were killed have left, and how to remove it."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from wrenla.aws.sandbox.cgroups import find_groups, has_ended, sweep_groups
from wrenla.aws.sandbox.code import remove_tree

__all__ = ["make_folder", "sweep_after", "sweep_folders"]

_FOLDER = "wrenla-sandbox-"
"""What names of folders begin with; the number of the sandbox's process follows."""


def make_folder() -> Path:
    """Make the folder of the sandbox that this process is."""
    return Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-"))


def sweep_folders() -> None:
    """Remove the folders of sandboxes that have ended."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        owner = folder.name.removeprefix(_FOLDER).partition("-")[0]
        if owner.isdigit() and has_ended(owner):
            remove_tree(folder)


def sweep_after(pid: int, seconds: float = 10.0) -> None:
    """Remove what a sandbox has left that was killed: the next one may not come for long."""
    groups = find_groups()
    if groups is not None:
        sweep_groups(groups)
    last = time.monotonic() + seconds
    while True:
        sweep_folders()
        if not any(Path(tempfile.gettempdir()).glob(f"{_FOLDER}{pid}-*")) or time.monotonic() > last:
            return
        time.sleep(0.1)  # its functions see soon that it has ended; until then they may write
