"""A Dask cluster of two worker processes, and the certainty that nothing of ours is left on it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import distributed
import pytest

import wrenla as wl
from tests.settings import own_settings_in

Client: Any = distributed.Client
LocalCluster: Any = distributed.LocalCluster
"""Without types."""

QUIET = {
    "distributed.worker.memory.terminate": 0.95,
    "distributed.scheduler.worker-ttl": "60s",
    "distributed.comm.timeouts.connect": "5s",
    "distributed.scheduler.allowed-failures": 3,
    # a cluster ends the nanny of a worker that was away when it looks: later it is of another death
    "distributed.deploy.lost-worker-timeout": "0s",
    "distributed.logging": {"distributed": "critical"},
    "distributed.admin.system-monitor.gil.enabled": False,
    # what looks at threads and memory fifty times a second takes more than these tests do
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
}


@contextlib.contextmanager
def local_cluster(workers: int = 2, **how: Any) -> Iterator[Any]:
    """A cluster of processes with one thread each, without a dashboard."""
    with dask.config.set(QUIET):
        how = {"threads_per_worker": 1, "memory_limit": "2 GiB", **how}
        cluster = distributed.LocalCluster(
            n_workers=workers,
            dashboard_address="127.0.0.1:0",
            silence_logs="CRITICAL",
            host="127.0.0.1",
            **how,
        )
        with cluster:
            yield cluster


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's settings but ours, and a place of our own for temporaries."""
    own_settings_in(tmp_path, monkeypatch, store="runs")


@pytest.fixture(scope="package")
def cluster() -> Iterator[Any]:
    """Shared by all tests that do not harm it. It ends with them: other tests look for what is left open."""
    with local_cluster() as made:
        yield made


@pytest.fixture(scope="package")
def client(cluster: Any) -> Iterator[Any]:
    with Client(cluster, set_as_default=False) as made:
        yield made


@pytest.fixture(scope="package")
def shared(client: Any) -> Iterator[wl.DaskExecutor]:
    """For all tests that do not end it; not entered, or it would be the default one of other tests."""
    made = wl.DaskExecutor(client)
    yield made
    made.shutdown()


@pytest.fixture
def executor(client: Any, nothing_left: None) -> Iterator[wl.DaskExecutor]:
    """For one test."""
    with wl.DaskExecutor(client) as made:
        yield made


@pytest.fixture
def nothing_left(client: Any, tmp_path: Path) -> Iterator[None]:
    """After a test no executor, process, or tile of its own is left on the workers or in the store."""
    before = client.run(_left)
    yield
    for worker, left in client.run(_left).items():  # what was there before may have ended meanwhile
        assert set(left) <= set(before.get(worker, ()))
    runs = tmp_path / "runs"
    assert [str(path) for path in runs.rglob("*") if path.is_file()] == []


def _in_worker() -> Callable[[], list[str]]:
    """Return a function that travels by value: workers cannot import this module."""

    def left() -> list[str]:
        """Return what a worker has of ours: executors, and processes for calls."""
        import os
        import subprocess

        from wrenla.executors.dask import worker

        found = subprocess.run(
            ["ps", "-o", "args=", "--ppid", str(os.getpid())], capture_output=True, text=True
        )
        return [*worker._sites, *(line for line in found.stdout.splitlines() if "wrenla_handler" in line)]

    return left


_left = _in_worker()


def pilots(client: Any) -> list[str]:
    """Tasks of ours that the scheduler knows."""

    def known(dask_scheduler: Any) -> list[str]:
        return [key for key in dask_scheduler.tasks if "wrenla-pilot" in str(key)]

    return list(client.run_on_scheduler(known))
