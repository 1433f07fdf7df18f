"""Faults of a Dask cluster: all ends with the right result, or with the cause, and nothing is left."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from tests.waiting import slowed, until, without_copies
from wrenla.errors import Lost, OutOfMemory, WorkerDied
from wrenla.executors.dask import cluster as cluster_module

from . import faults
from .conftest import Client, local_cluster, pilots
from .faults import INPUTS, WAIT, calls, install, matrix, undisturbed

pytestmark = pytest.mark.timeout(120)

KILL, STOP = signal.SIGKILL, signal.SIGSTOP

MOMENTS = ["before it is sent", "while it runs", "before the answer"]

FAST = {("calls", "while it runs"), ("cholesky", "before the answer"), ("solve", "before it is sent")}
"""Rows of those who run all tests: each costs a worker, which takes two seconds to start."""

SQUARES = [x * x for x in range(INPUTS)]


@pytest.fixture(scope="module")
def harmed() -> Iterator[Any]:
    """A cluster whose workers die; their nannies start others."""
    with local_cluster(2) as cluster, Client(cluster, set_as_default=False) as client:
        yield client


@pytest.fixture
def whole(harmed: Any, tmp_path: Path) -> Iterator[Any]:
    """The same with two workers, and nothing of ours on it after the test."""

    def is_whole() -> bool:
        harmed.cluster.scale(2)  # a dead worker's nanny ends with it
        return len(harmed.run(os.getpid, on_error="ignore")) == 2

    assert until(is_whole, 60)
    yield harmed
    acted = tmp_path / "acted"
    if acted.exists() and (pid := acted.read_text()):
        with contextlib.suppress(OSError):
            os.kill(int(pid), signal.SIGKILL)  # what was stopped
    assert until(lambda: pilots(harmed) == []), pilots(harmed)
    assert stored(tmp_path) == []


def stored(folder: Path) -> list[str]:
    """What is in the store for temporaries."""
    return [str(path) for path in (folder / "runs").rglob("*") if path.is_file()]


@contextlib.contextmanager
def fault(client: Any, folder: Path, number: int, when: str) -> Iterator[wl.DaskExecutor]:
    """An executor whose cluster has a fault at a certain moment."""
    with wl.DaskExecutor(client) as executor:
        without_copies(executor)
        if when == "before it is sent":
            with faults.before_it_is_sent(executor, folder, number):
                yield executor
        else:
            if when == "before the answer":
                client.run(install, folder, number)
            yield executor
    assert (folder / "acted").exists(), "the fault came"


@pytest.mark.parametrize(
    ("what", "when"),
    [
        pytest.param(what, when, marks=() if (what, when) in FAST else pytest.mark.slow)
        for what in ("calls", "cholesky", "solve")
        for when in MOMENTS
    ],
)
def test_worker_killed(what: str, when: str, whole: Any, tmp_path: Path) -> None:
    check(what, KILL, when, whole, tmp_path)


def check(what: str, number: int, when: str, client: Any, folder: Path) -> None:
    began = time.monotonic()
    with fault(client, folder, number, when) as executor:
        if what == "calls":
            check_calls(calls(executor, folder, number, when, idempotent=False), folder, when)
        else:
            found = matrix(what, folder, number, when).compute(executor)
            assert np.array_equal(found, undisturbed(what))
    assert time.monotonic() - began < slowed(30)


def check_calls(found: list[Any], folder: Path, when: str) -> None:
    """One has died, and was not tried again; the others know nothing of it."""
    died = [x for x in found if isinstance(x, Exception)]
    assert [y for y in found if not isinstance(y, Exception)] == [
        x * x for x, y in enumerate(found) if not isinstance(y, Exception)
    ]
    assert 1 <= len(died) <= 2, found
    assert all(isinstance(error, WorkerDied | Lost) and "tcp://" in str(error) for error in died), died
    runs = faults.runs(folder)
    assert max(runs) == 1, "what may have run is not run again"
    assert len(runs) == (INPUTS - len(died) if when == "before it is sent" else INPUTS)


@pytest.mark.parametrize(
    "when", [pytest.param(when, marks=() if when == MOMENTS[1] else pytest.mark.slow) for when in MOMENTS]
)
def test_idempotent_calls_of_a_worker_that_is_killed(when: str, whole: Any, tmp_path: Path) -> None:
    with fault(whole, tmp_path, KILL, when) as executor:
        assert calls(executor, tmp_path, KILL, when, idempotent=True) == SQUARES
    assert max(faults.runs(tmp_path)) == (1 if when == "before it is sent" else 2)


# a worker that does not answer


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are asked often, and not waited for long."""
    monkeypatch.setattr(cluster_module, "_PULSE", 0.2)
    monkeypatch.setattr(cluster_module, "_UNRESPONSIVE", 3.0)
    monkeypatch.setattr(cluster_module, "_LOOK_IDLE", 0.5)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "what",
    [pytest.param(what, marks=pytest.mark.slow) for what in ("calls", "cholesky", "solve")],
)
def test_worker_stopped(what: str, whole: Any, tmp_path: Path) -> None:
    """It is given up, and used again when it goes on."""
    with fault(whole, tmp_path, STOP, "while it runs") as executor:
        if what == "calls":
            found = calls(executor, tmp_path, STOP, "while it runs", idempotent=False)
            died = [error for error in found if isinstance(error, Exception)]
            assert len(died) == 1, found
            assert isinstance(died[0], WorkerDied)
            assert "has not answered for" in str(died[0])
            assert faults.runs(tmp_path) == [1] * INPUTS
        else:
            found = matrix(what, tmp_path, STOP, "while it runs").compute(executor)
            assert np.array_equal(found, undisturbed(what))
            assert stored(tmp_path) == []
        # a run may be done before: by a copy of what takes so long
        assert executor.workers == 1 or what != "calls"
        os.kill(int((tmp_path / "acted").read_text()), signal.SIGCONT)
        assert until(lambda: executor.workers == 2)
        assert executor.submit_many(abs, [-1, -2])[1].result(WAIT) == 2
        assert until(lambda: not [path for path in stored(tmp_path) if "/c/" in path]), stored(tmp_path)


def test_a_driver_that_was_stopped_does_not_take_its_workers_for_dead(
    executor: wl.DaskExecutor, tmp_path: Path
) -> None:
    """Ctrl-Z and fg: what workers have answered meanwhile has not been looked at yet."""

    def wait(x: int) -> int:
        while not (tmp_path / "go").exists():
            time.sleep(0.01)
        return x

    future = executor.submit(wait, 1)
    cluster = executor._cluster
    assert until(lambda: any(remote.waiting for remote in cluster.remotes))
    cluster._looked -= 1000.0
    cluster._ask_silent_ones()
    (tmp_path / "go").touch()
    assert future.result(WAIT) == 1
    assert executor.workers == 2


# not enough memory


def test_process_of_a_call_takes_too_much_memory(client: Any, nothing_left: None, tmp_path: Path) -> None:
    def much(x: int) -> int:
        import time

        with open(tmp_path / f"runs-{x}", "a") as file:
            file.write(".")
        if x == 1:
            held = np.ones(3 << 27)  # 3 GiB, and the worker may have 2
            time.sleep(30)
            return len(held)
        return x * x

    small = 96 << 20
    with wl.DaskExecutor(client) as executor:
        without_copies(executor)
        for remote in executor._cluster.remotes:
            remote.limit = small * 4  # of what a worker process has anyway: nobody takes gigabytes here
        found = list(executor.options(idempotent=True, retries=2).map(much, range(4), return_exceptions=True))
    assert found[:1] + found[2:] == [0, 4, 9]
    assert isinstance(found[1], OutOfMemory)
    assert isinstance(found[1], MemoryError)
    assert "memory_limit" in str(found[1])
    assert faults.runs(tmp_path) == [1] * 4


@pytest.mark.slow
@pytest.mark.parametrize("what", ["cholesky", "solve"])
def test_tile_tasks_take_too_much_memory(what: str, tmp_path: Path) -> None:
    """Dask's nanny ends their worker, and another one does them."""
    folder = tmp_path

    def kernel(rows: Any, cols: Any) -> Any:
        import time

        if rows[0] >= 64 and not (folder / "acted").exists():
            (folder / "acted").touch()
            held = np.ones(1 << 27)
            time.sleep(30)
            del held
        return np.exp(-abs(rows[:, None] - cols) / 20.0)

    def expression() -> wl.BigMatrix:
        A = wl.from_function(kernel, (200, 200), 32, structure="pos")
        return A.cholesky() if what == "cholesky" else A.solve(np.ones((200, 3)))

    with (
        local_cluster(2, memory_limit="700 MiB") as cluster,
        Client(cluster, set_as_default=False) as client,
        wl.DaskExecutor(client) as executor,
    ):
        assert np.array_equal(expression().compute(executor), undisturbed(what))
        assert (tmp_path / "acted").exists()
