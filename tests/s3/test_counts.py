"""A factorization in S3 takes the requests that its plan says, and no others."""

from __future__ import annotations

import gc
import re
from collections import Counter
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

import wrenla as wl
from wrenla.run.events import Event, RunFinished
from wrenla_handler.stores.urls import open_store

from .conftest import REAL_S3
from .fault_proxy import FaultProxy

TILE = 512 if REAL_S3 else 48
n = 8 * TILE
ragged = n - 5
U = 2.0**-53


@pytest.fixture
def executor() -> Iterator[wl.LocalExecutor]:
    with wl.LocalExecutor(workers=4, allowed_mem="1 GiB") as made:
        yield made


def tiles(proxy: FaultProxy, method: str) -> Counter[str]:
    """How often each tile was asked for; what else is in a store (metadata, leases, arrays) is no tile."""
    targets = (request.target for request in proxy.requests if request.method == method)
    paths = (target.partition("?")[0] for target in targets)
    return Counter(
        path for path in paths if re.search(r"/(c|partial)/|/[0-9a-f]{24}/c$", path) and "/array-" not in path
    )


def saved(
    result: wl.BigMatrix, url: str, proxy: FaultProxy, executor: wl.Executor, schedule: str
) -> wl.BigMatrix:
    """Store a result; see that S3 was asked for what the plan says.

    A solution is looked at before it is stored, which is a run of its own: its tiles are copied then. The
    vectors with which the condition is estimated lie in the memory of this process, or are brought to it.
    """
    plan = wl.plan(result, executor=executor)
    events: list[Event] = []
    proxy.start_over()
    stored = result.save(url, executor, schedule=schedule, callbacks=[events.append])
    runs = [event.totals for event in events if isinstance(event, RunFinished)]
    gets = sum(run.gets for run in runs)
    copied = 0 if stored.report is None else stored.grid[0]
    brought = 0 if isinstance(executor, wl.LocalExecutor) else copied
    written, read = tiles(proxy, "PUT"), tiles(proxy, "GET")
    # each task writes one object, once
    assert written.total() == len(written) == sum(run.puts for run in runs)
    assert len(written) == sum(run.tasks for run in runs) == plan.tasks + copied
    # each tile that a task reads is asked for, or at hand
    fetched = (
        7 if brought else 0
    )  # norms, which decide: this process reads them itself if it has not made them
    assert read.total() - fetched == gets - brought
    assert gets + sum(run.cache_hits for run in runs) == plan.reads + brought
    # a right-hand side of this process is read here without a request, and brought to workers elsewhere
    assert plan.requests == plan.tasks + plan.reads + (brought or -copied)
    assert tiles(proxy, "HEAD").total() == 0
    return stored


def general() -> wl.BigMatrix:
    """8 × 8 tiles, the last ones ragged."""
    return wl.random((ragged, ragged), tile=TILE, seed=1)


def check_lu(url: str, proxy: FaultProxy, executor: wl.Executor, schedule: str) -> npt.NDArray[np.float64]:
    """Factor, and solve with, a general matrix; return L and U in one, and the pivots as its last row."""
    A = general().save(f"{url}/A", executor)
    B = wl.random((ragged, 3), tile=TILE, seed=2).save(f"{url}/B", executor)
    factor = wl.linalg.lu_factor(A)
    LU = saved(factor.lu, f"{url}/LU", proxy, executor, schedule)
    X = saved(A.solve(B, "gen"), f"{url}/X", proxy, executor, schedule)
    a, b, lu, x = (M.compute(executor) for M in (A, B, LU, X))
    piv = factor.piv(executor)
    exchanged = a.copy()
    for row, other in enumerate(piv):
        exchanged[[row, other]] = exchanged[[other, row]]
    error = exchanged - (np.tril(lu, -1) + np.eye(ragged)) @ np.triu(lu)
    assert np.linalg.norm(error, 1) / (ragged * np.linalg.norm(a, 1) * U) < 30
    size = np.linalg.norm(a, np.inf) * np.abs(x).max() + np.abs(b).max()
    assert np.abs(a @ x - b).max() / (ragged * size * U) < 16
    del factor
    gc.collect()  # with it go its tiles
    assert {key.partition("/")[0] for key in open_store(url).list()} == {"A", "B", "LU", "X"}
    return np.vstack([lu, piv])


@pytest.mark.parametrize("schedule", ["dataflow", pytest.param("waves", marks=pytest.mark.slow)])
def test_requests_are_those_of_the_plan(
    schedule: str, bucket: str, proxy: FaultProxy, executor: wl.LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRENLA_STORE", f"s3://{bucket}/tmp")
    A = wl.random((n, n), tile=TILE, seed=1).gram().shift(float(n)).save(f"s3://{bucket}/A", executor)
    L = saved(A.cholesky(), f"s3://{bucket}/L", proxy, executor, schedule)
    assert {key.partition("/")[0] for key in open_store(f"s3://{bucket}").list()} == {"A", "L"}
    a, low = A.compute(executor), L.compute(executor)
    assert np.linalg.norm(a - low @ low.T, 1) / (n * np.linalg.norm(a, 1) * U) <= 30


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["dataflow", "waves"])
def test_requests_of_lu_are_those_of_the_plan(
    schedule: str, bucket: str, proxy: FaultProxy, executor: wl.LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tiles of bundles, and pivots, are read by their ranges of bytes."""
    monkeypatch.setenv("WRENLA_STORE", f"s3://{bucket}/tmp")
    check_lu(f"s3://{bucket}", proxy, executor, schedule)
