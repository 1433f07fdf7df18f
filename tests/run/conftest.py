"""An executor, a place for temporaries, and the certainty that nothing is left of either."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import wrenla as wl
from tests.processes import open_files
from tests.settings import own_settings_in
from tests.waiting import until
from wrenla_handler.stores import open_store


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's settings but ours, and a place of our own for temporaries."""
    own_settings_in(tmp_path, monkeypatch, store="runs")


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
    threads, files = threading.active_count(), len(open_files())
    with wl.LocalExecutor(2, allowed_mem="600 MiB") as made:
        yield made
    until(lambda: threading.active_count() <= threads)
    assert threading.active_count() <= threads, threading.enumerate()
    assert len(open_files()) <= files
