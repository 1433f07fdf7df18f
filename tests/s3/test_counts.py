"""A factorization in S3 takes the requests that its plan says, and no others."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

import wrenla as wl
from wrenla.run.events import Event, RunFinished
from wrenla_handler.stores.urls import open_store

from .conftest import REAL_S3
from .fault_proxy import FaultProxy

TILE = 512 if REAL_S3 else 48
n = 8 * TILE
U = 2.0**-53


@pytest.fixture
def executor() -> Iterator[wl.LocalExecutor]:
    with wl.LocalExecutor(workers=4, allowed_mem="1 GiB") as made:
        yield made


def tiles(proxy: FaultProxy, method: str) -> Counter[str]:
    """How often each tile was asked for; what else is in a store (metadata, leases) is no tile."""
    targets = (request.target for request in proxy.requests if request.method == method)
    return Counter(target for target in targets if re.search(r"/(c|partial)/", target))


def saved(
    result: wl.BigMatrix, url: str, proxy: FaultProxy, executor: wl.Executor, schedule: str
) -> wl.BigMatrix:
    """Store a result; see that S3 was asked for what the plan says."""
    plan = wl.plan(result, executor=executor)
    events: list[Event] = []
    proxy.start_over()
    stored = result.save(url, executor, schedule=schedule, on_event=events.append)
    last = events[-1]
    assert isinstance(last, RunFinished)
    written, read = tiles(proxy, "PUT"), tiles(proxy, "GET")
    # each task writes one object, once
    assert written.total() == len(written) == last.totals.puts == last.totals.tasks == plan.tasks
    # each tile that a task reads is asked for, or at hand
    assert read.total() == last.totals.gets
    assert last.totals.gets + last.totals.cache_hits == plan.reads
    assert tiles(proxy, "HEAD").total() == 0
    return stored


@pytest.mark.parametrize("schedule", ["dataflow", "waves"])
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
    A = wl.random((n, n), tile=TILE, seed=1).save(f"s3://{bucket}/A", executor)
    B = wl.random((n, 3), tile=TILE, seed=2).save(f"s3://{bucket}/B", executor)
    X = saved(A.solve(B, "gen"), f"s3://{bucket}/X", proxy, executor, schedule)
    assert {key.partition("/")[0] for key in open_store(f"s3://{bucket}").list()} == {"A", "B", "X"}
    a, b, x = A.compute(executor), B.compute(executor), X.compute(executor)
    size = np.linalg.norm(a, np.inf) * np.abs(x).max() + np.abs(b).max()
    assert np.abs(a @ x - b).max() / (n * size * U) <= 16
