"""From expressions to finished tiles: what is shared, kept and reached, and that every run ends."""

from __future__ import annotations

import gc
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from tests.waiting import slowed
from wrenla.errors import ReachError
from wrenla.run.events import Event, RunFinished, RunStarted, TaskFinished, TaskStarted
from wrenla_handler.stores.base import RUNS, Reach
from wrenla_handler.stores.local import LocalStore
from wrenla_handler.stores.urls import join, open_store
from wrenla_kernels import scipy_blas_info


@pytest.fixture
def matrix() -> wl.BigMatrix:
    return wl.random((160, 160), tile=32).gram().shift(160.0)


def test_common_subexpressions_are_computed_once(matrix: wl.BigMatrix, executor: wl.LocalExecutor) -> None:
    events: list[Event] = []
    L = matrix.cholesky()
    b = wl.random(160, tile=32)
    x, y, d = wl.compute(L.solve(b), L.H.solve(b), L.diagonal(), executor=executor, callbacks=[events.append])
    kernels = [event.kernel for event in events if isinstance(event, TaskFinished)]
    assert (kernels.count("potrf"), kernels.count("trsm")) == (5, 0)
    assert kernels.count("trsm_right") == 10
    A = np.tril(L.compute(executor))
    np.testing.assert_allclose(A @ x, b.compute(executor), atol=1e-9)
    np.testing.assert_allclose(A.T @ y, b.compute(executor), atol=1e-9)
    np.testing.assert_array_equal(d, np.diag(A))


def test_manifest_of_live_run_names_its_plan(
    matrix: wl.BigMatrix, executor: wl.LocalExecutor, root: str, left: Any
) -> None:
    seen: dict[str, Any] = {}

    def listen(event: Event) -> None:
        if isinstance(event, RunStarted):
            store = open_store(join(root, RUNS, event.run))
            seen.update(json.loads(bytes(store.get("run.json"))))
            assert list(store.list("wrenla-lease/"))

    matrix.cholesky().compute(executor, callbacks=[listen])
    assert seen["cut"] == str(wl.plan(matrix.cholesky(), executor=executor).cut)
    assert seen["plan"].startswith("plan for 160 × 160")
    assert seen["blas"]["internal_api"]
    assert seen["blas"]["architecture"] == scipy_blas_info().architecture  # decides which kernels compute
    assert seen["numpy"] == np.__version__
    assert left() == []


def test_temporary_tile_is_removed_after_its_last_reader(
    matrix: wl.BigMatrix, executor: wl.LocalExecutor, root: str
) -> None:
    expression = matrix.cholesky().solve(wl.random((160, 32), tile=32))
    plan = wl.plan(expression, executor=executor)
    counts = []

    def listen(event: Event) -> None:
        if isinstance(event, TaskFinished | RunFinished):
            keys = open_store(root).list()
            counts.append(sum("/c/" in key or "/partial/" in key for key in keys))

    expression.compute(executor, callbacks=[listen])
    assert len(counts) == plan.tasks + 1
    assert max(counts) < plan.tasks - 5
    assert counts[-1] == 5, "the result"


def test_persisted_tiles_live_as_long_as_their_matrix(
    matrix: wl.BigMatrix, executor: wl.LocalExecutor, left: Any
) -> None:
    L = matrix.cholesky().persist(executor)
    tiles = [key for key in left() if "/c/" in key]
    assert len(tiles) == 15
    assert not [key for key in left() if "/partial/" in key]
    x = L.solve(wl.random(160, tile=32))
    del L
    gc.collect()
    assert [key for key in left() if "/c/" in key] == tiles, "something made of it is in use"
    x.compute(executor)
    del x
    gc.collect()
    assert left() == []


class Far(wl.LocalExecutor):
    """Pretends that its workers are elsewhere."""

    def __init__(self, reach: Reach) -> None:
        super().__init__(1, allowed_mem="200 MiB")
        self.reach = reach


def test_unreachable_data_are_refused_before_the_run(
    tmp_path: Path, executor: wl.LocalExecutor, left: Any
) -> None:
    host = wl.from_array(np.eye(64), tile=32)
    memory = host.save(f"memory://{tmp_path.name}/A", executor)
    folder = host.save(tmp_path / "A", executor)
    events: list[Event] = []
    with Far(Reach.HOST) as near:
        (folder @ folder).compute(near)
        for unseen in (host, memory):
            with pytest.raises(ReachError, match=r"can be seen by this process only.*further away.*host"):
                (unseen @ folder).compute(near, callbacks=[events.append])
    with Far(Reach.ANYWHERE) as far, pytest.raises(ReachError, match="by this host only"):
        (folder @ folder).compute(far, callbacks=[events.append])
    assert events == []
    assert not [key for key in left() if "/c/" in key]


def test_workers_on_other_machines_see_shared_folders_only(
    tmp_path: Path, executor: wl.LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = np.eye(64)
    stored = wl.from_array(array, tile=32).save(tmp_path / "shared" / "A", executor)
    monkeypatch.setenv("WRENLA_STORE", str(tmp_path / "shared" / "temporary"))
    with Far(Reach.SHARED) as far:
        with pytest.raises(ReachError, match=r"by this host only.*\(shared\).*WRENLA_SHARED_FOLDERS"):
            (stored @ stored).compute(far)
        monkeypatch.setenv("WRENLA_SHARED_FOLDERS", f"/nowhere:{tmp_path / 'shared'}")
        # what is in this process's memory is brought to them
        product = stored @ wl.from_array(2 * array, tile=32)
        assert np.array_equal(product.compute(far), 2 * array)
        product.save(tmp_path / "shared" / "B", far)
        with pytest.raises(ReachError, match=r"cannot write there: .*WRENLA_SHARED_FOLDERS"):
            product.save(tmp_path / "other", far)
        monkeypatch.setenv("WRENLA_STORE", str(tmp_path / "shared-not"))
        with pytest.raises(ReachError, match=r"store for temporaries.*WRENLA_SHARED_FOLDERS"):
            product.compute(far)
    with (
        Far(Reach.ANYWHERE) as lambdas,
        pytest.raises(ReachError, match="by the machines that share it only"),
    ):
        (stored @ stored).compute(lambdas)


# every run ends


def waiting_for(path: Path, seconds: float = 20.0) -> Any:
    def wait(tile: Any) -> Any:
        deadline = time.monotonic() + seconds
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return tile

    return wait


def test_an_executor_that_is_shut_down_ends_its_run(tmp_path: Path) -> None:
    executor = wl.LocalExecutor(2, allowed_mem="300 MiB")
    slow = wl.map_tiles(waiting_for(tmp_path / "release"), wl.random((160, 160), tile=32))
    begun = threading.Event()

    def stop() -> None:
        begun.wait(10)
        executor.shutdown(wait=False, cancel_futures=True)
        (tmp_path / "release").touch()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(RuntimeError, match=r"shut ?down"):
        slow.compute(
            executor, callbacks=[lambda event: begun.set() if isinstance(event, TaskStarted) else None]
        )
    thread.join()
    executor.shutdown()


def test_a_listener_that_fails_ends_the_run(
    matrix: wl.BigMatrix, executor: wl.LocalExecutor, left: Any
) -> None:
    def listen(event: Event) -> None:
        if isinstance(event, TaskFinished):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        matrix.cholesky().compute(executor, callbacks=[listen])
    assert [key for key in left() if "/c/" in key]
    matrix.cholesky().compute(executor)
    assert left() == []


def test_ctrl_c_while_a_failed_run_waits_for_a_long_task(tmp_path: Path, executor: wl.LocalExecutor) -> None:
    release = tmp_path / "release"
    wait = waiting_for(release)

    def fail_or_wait(tile: Any) -> Any:
        if tile[0, 0] == 0:
            raise ArithmeticError
        return wait(tile)

    slow = wl.map_tiles(fail_or_wait, wl.eye(64, tile=32))
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.5, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            slow.compute(executor)
        assert time.monotonic() - began < slowed(10)  # the task takes 20 s
    finally:
        release.touch()
        timer.join()


def test_runs_leave_no_files_open(tmp_path: Path, executor: wl.LocalExecutor) -> None:
    A = wl.random((600, 600), tile=200).gram().shift(600.0).save(tmp_path / "A", executor)
    for _ in range(3):
        A.cholesky().compute(executor)
        with pytest.raises(wl.LinAlgError):
            A.shift(-1e6).cholesky().compute(executor)
    executor.home.cache.clear()
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        A.cholesky().compute(executor)
        with pytest.raises(wl.LinAlgError):
            A.shift(-1e6).cholesky().compute(executor)
    executor.home.cache.clear()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_run_of_empty_matrix_has_no_tasks(executor: wl.LocalExecutor, left: Any) -> None:
    events: list[Event] = []
    empty = wl.zeros((0, 3), tile=2) @ wl.zeros((3, 0), tile=2)
    assert empty.compute(executor, callbacks=[events.append]).shape == (0, 0)
    assert all(isinstance(event, RunStarted | RunFinished) for event in events)
    assert left() == []


def test_number_of_listings_is_independent_of_the_number_of_arrays(
    executor: wl.LocalExecutor, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A factorization has hundreds of arrays, and each request to S3 takes as long as a tile."""
    listings: list[str] = []
    scan_noting = LocalStore.scan_noting

    def counted(store: LocalStore, prefix: str, note: Any) -> Any:
        listings.append(f"{store.url} {prefix}")
        return scan_noting(store, prefix, note)

    monkeypatch.setattr(LocalStore, "scan_noting", counted)
    counts = []
    for length in (2, 12):
        A = wl.random((8, 8), tile=4)
        for k in range(length):
            A = A @ wl.random((8, 8), tile=4, seed=k)
        listings.clear()
        A.compute(executor)
        counts.append(len(listings))
    assert counts[0] == counts[1], listings
