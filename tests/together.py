"""Tests that run beside each other: one that needs the machine for itself waits for the others to end."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

FOLDER = "TESTS_TOGETHER"
"""Variable that names the folder of the locks; the first process of a run sets it for those it starts."""


@contextmanager
def turn(alone: bool) -> Iterator[None]:
    """Wait until a test may run: beside others, or alone.

    Every test holds the lock `running`, most of them together with others. Who must be alone also holds the
    `gate` while it waits, so that those who come later cannot keep it waiting for ever.
    """
    folder = os.environ.get(FOLDER)
    if folder is None:
        yield
        return
    with ExitStack() as mine:
        with _locked(Path(folder, "gate"), fcntl.LOCK_EX):
            mine.enter_context(_locked(Path(folder, "running"), fcntl.LOCK_EX if alone else fcntl.LOCK_SH))
        yield


@contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
