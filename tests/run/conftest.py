"""An executor, a place for temporaries, and the certainty that nothing is left of either."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import wrenla as wl
from wrenla_handler.stores import open_store


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's settings but ours, and a place of our own for temporaries."""
    for name in os.environ:
        if name.startswith("WRENLA_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("WRENLA_STORE", str(tmp_path / "runs"))


@pytest.fixture
def root(tmp_path: Path) -> str:
    """URL of the store for temporaries."""
    return str(tmp_path / "runs")


@pytest.fixture
def left(root: str) -> Callable[[], list[str]]:
    """What is in the store for temporaries."""
    return lambda: list(open_store(root).list())


@pytest.fixture
def executor() -> Iterator[wl.LocalExecutor]:
    """Two workers, and no thread or file of theirs when they are gone."""
    threads, files = threading.active_count(), open_files()
    with wl.LocalExecutor(2, allowed_mem="600 MiB") as made:
        yield made
    settle(lambda: threading.active_count() <= threads)
    assert threading.active_count() <= threads, threading.enumerate()
    assert open_files() <= files


def open_files() -> int:
    """Number of open file descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


def settle(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until something is so, but not for ever."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
