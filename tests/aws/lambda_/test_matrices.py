"""Matrices on Lambda: the same bits as here, what is counted is what was planned, and what dies goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla.emulator import LambdaEmulator
from wrenla.errors import NotPositiveDefiniteError, OutOfMemory, PlanError, ReachError, StructureError
from wrenla.run.events import Event, RunFinished
from wrenla_handler.stores.urls import open_store

u = np.finfo(float).eps / 2


def covariance(n: int, tile: int) -> wl.BigMatrix:
    def entries(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return 0.9 ** abs(i[:, None] - j)

    return wl.from_function(entries, (n, n), tile, structure="pos")


def locally(matrix: wl.BigMatrix) -> np.ndarray:
    with wl.LocalExecutor(2, allowed_mem="600 MiB") as executor:
        return np.asarray(matrix.compute(executor))


@pytest.mark.parametrize(
    "make",
    [
        # all of one run: each run has its own wait for the function
        lambda A, B: [A @ B, (np.exp(A.T) / 3 + 2 * B).max(axis=0), A.sum(), A[3:200, ::2]],
        # this one has kernels of the next one, and the last one those of the one before
        pytest.param(lambda A, B: [(A @ A.T).shift(500.0).cholesky()], marks=pytest.mark.slow),
        lambda A, B: [(A @ A.T).shift(500.0).solve(B[:, 3])],
        lambda A, B: [A.solve(B[:, 3], "gen", check=False)],
        lambda A, B: [A.solve(B[:, 3], "gen", check=False, method="rbt")],
        pytest.param(lambda A, B: [wl.linalg.ldl_factor(A + A.T).det()], marks=pytest.mark.slow),
    ],
)
def test_the_same_bits_as_here(
    executor: wl.LambdaExecutor, make: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    A = wl.from_array(rng.standard_normal((250, 250)), 100)
    B = wl.random((250, 250), tile=100, seed=2)
    matrices = make(A, B)  # type: ignore[operator]
    there = wl.compute(*matrices, executor=executor)
    monkeypatch.setenv("WRENLA_STORE", str(tmp_path))
    for matrix, found in zip(matrices, there, strict=True):
        assert np.asarray(found).tobytes() == locally(matrix).tobytes()


def test_waves_have_the_same_bits(
    executor: wl.LambdaExecutor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    A = wl.random((250, 250), tile=100, seed=2)
    x = (A @ A.T).shift(500.0).solve(A[:, 3])
    there = x.compute(executor, schedule="waves")
    monkeypatch.setenv("WRENLA_STORE", str(tmp_path))
    assert there.tobytes() == locally(x).tobytes()


def test_stored_matrices(executor: wl.LambdaExecutor, nothing_left: str) -> None:
    url = f"{nothing_left}/kept"
    A = covariance(300, 100).save(f"{url}/A", executor)
    L = wl.open(f"{url}/A").cholesky().save(f"{url}/L", executor)
    error = np.linalg.norm(locally(L @ L.T - A)) / (300 * u * np.linalg.norm(locally(A)))
    assert error < 1
    folders = {key.partition("/")[0] for key in open_store(nothing_left).list()}
    assert folders == {"kept"}


def test_numerical_failures_are_told_with_their_indices(executor: wl.LambdaExecutor) -> None:
    """And with the user's lines alone; what is said of a matrix is looked at there too."""
    d = np.ones(250)
    d[170] = -1.0
    with pytest.raises(NotPositiveDefiniteError) as caught:
        wl.from_array(np.diag(d), 100, structure="pos").cholesky().compute(executor)
    assert caught.value.minor == 171
    assert caught.value.__cause__ is None
    assert len(caught.traceback) == 1

    def lopsided(i: Any, j: Any) -> Any:
        return 9.0 * (i[:, None] == j) + (i[:, None] < j)

    with pytest.raises(StructureError, match=r"entry \(1, 0\) is 0\.0, entry \(0, 1\) is 1\.0"):
        wl.from_function(lopsided, (60, 60), 30, structure="pos").cholesky().compute(executor)


def test_unreachable_matrix_is_refused_before_the_run(
    executor: wl.LambdaExecutor, aws: LambdaEmulator, tmp_path: Path
) -> None:
    with wl.LocalExecutor(1, allowed_mem="300 MiB") as here:
        A = covariance(100, 50).save(tmp_path / "A", here)
        B = covariance(100, 50).save("memory://B", here)
    before = aws.counts()["invocations"]
    for matrix in (A, B):
        with pytest.raises(ReachError, match=r'save\("s3://'):
            matrix.cholesky().compute(executor)
    assert aws.counts()["invocations"] - before <= 1  # its ping


def test_task_too_large_for_function_is_refused_before_the_run(executor: wl.LambdaExecutor) -> None:
    with pytest.raises(PlanError, match="use tile="):
        wl.random((20_000, 20_000), tile=10_000).cholesky().compute(executor)


def test_calls_that_need_too_much_memory_have_a_name(executor: wl.LambdaExecutor) -> None:
    with pytest.raises(OutOfMemory, match="wrenla deploy --memory"):
        executor.submit(lambda: len(np.ones(1 << 28))).result(60)


@pytest.mark.slow
def test_counts(executor: wl.LambdaExecutor, nothing_left: str) -> None:
    n, tile = 4096, 512
    A = covariance(n, tile).save(f"{nothing_left}/kept/A", executor)
    plan = wl.plan(A.cholesky(), executor=executor)
    events: list[Event] = []
    L = A.cholesky().save(f"{nothing_left}/kept/L", executor, callbacks=[events.append])
    last = next(event for event in reversed(events) if isinstance(event, RunFinished))
    assert isinstance(last, RunFinished)
    assert last.totals.puts == last.totals.tasks == plan.tasks
    assert last.totals.gets + last.totals.cache_hits == plan.reads
    rng = np.random.default_rng(1)
    x = rng.standard_normal(n)
    exact = locally(A @ wl.from_array(x, tile))
    found = locally(L @ (L.T @ wl.from_array(x, tile)))
    norm = np.linalg.norm(locally(A))
    assert np.linalg.norm(found - exact) / (n * u * norm * np.linalg.norm(x)) < 1


SCRIPT = """
import sys
import numpy as np
import wrenla as wl

def entries(i, j):
    return 0.9 ** abs(i[:, None] - j)

if sys.argv[2] == "lu":
    result = wl.linalg.lu_factor(wl.random((395, 395), tile=50, seed=1)).lu
else:
    order = np.arange(400)
    result = wl.from_array(entries(order, order), tile=50, structure="pos").cholesky()
with wl.LambdaExecutor(concurrency=4) as executor:
    def tell(event):
        if type(event).__name__ == "TaskFinished":
            print("done", flush=True)
    result.save(sys.argv[1], executor, callbacks=[tell])
print("saved", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("what", ["cholesky", "lu"])
def test_a_driver_that_is_killed_is_resumed(
    what: str, aws: LambdaEmulator, executor: wl.LambdaExecutor, nothing_left: str, tmp_path: Path
) -> None:
    """A factor of LU lies among the temporaries until it is whole, and is copied then."""
    url = f"{nothing_left}/kept/L"
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), url, what]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ.copy()) as process:
        assert process.stdout is not None
        for _ in range(8):
            assert process.stdout.readline() == "done\n"
        process.kill()
    time.sleep(2)  # functions that it has invoked go on to their end
    written = open_store(url if what == "cholesky" else nothing_left).list()
    assert sum("/c/" in f"/{key}" or "/partial/" in f"/{key}" for key in written) >= 8
    again = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    *done, last = again.stdout.split()
    assert last == "saved"

    def entries(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return 0.9 ** abs(i[:, None] - j)

    whole = wl.from_function(entries, (400, 400), 50, structure="pos").cholesky()
    if what == "lu":
        whole = wl.linalg.lu_factor(wl.random((395, 395), tile=50, seed=1)).lu
    plan = wl.plan(whole, executor=executor)
    assert len(done) <= plan.tasks - 8
    assert locally(wl.open(url)).tobytes() == locally(whole).tobytes()
