"""An executor, a place for temporaries, and the certainty that nothing is left of either."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import wrenla as wl
from tests.processes import open_files
from tests.settings import own_settings_in
from tests.waiting import until
from wrenla.planning import plan as plan_module
from wrenla.workspace import lease as lease_module
from wrenla_handler.stores.memory import MemoryStore
from wrenla_handler.stores.s3.client import close_clients
from wrenla_handler.stores.urls import open_store


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's settings but ours, and a place of our own for temporaries."""
    own_settings_in(tmp_path, monkeypatch, store="runs")


@pytest.fixture
def no_kept_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    """No plans of tests before, which would take memory away from this one's tiles."""
    monkeypatch.setattr(plan_module, "_KNOWN", {})


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
    close_clients()  # the process keeps connections to S3, whoever has used them
    if len(open_files()) > files:
        gc.collect()  # what errors of S3 hold in circles
    until(lambda: len(open_files()) <= files)  # a server in this process may be a moment behind
    assert len(open_files()) <= files


@pytest.fixture(params=["file", "memory", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Address for a matrix, in each kind of store."""
    match request.param:
        case "file":
            yield str(tmp_path / "m")
        case "memory":
            yield f"memory://{tmp_path.name}/m"
            MemoryStore.drop(tmp_path.name)
        case _:
            yield f"s3://{request.getfixturevalue('s3_bucket')}/some/m"


@pytest.fixture
def short_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "WATCH_SECONDS", 0.05)
    monkeypatch.setattr(lease_module, "_POLL_SECONDS", 0.01)
