"""The same expressions with tiles and temporaries in S3."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import wrenla as wl
from wrenla.run.events import Event, RunFinished, RunStarted, Totals
from wrenla_handler.stores.s3.client import shared_client

U = 2.0**-53


@pytest.fixture
def executor() -> Iterator[wl.LocalExecutor]:
    with wl.LocalExecutor(workers=2, allowed_mem="256 MiB") as executor:
        yield executor


def keys(bucket: str) -> list[str]:
    found = shared_client().list_objects_v2(Bucket=bucket).get("Contents", [])
    return [entry["Key"] for entry in found]


def totals(events: list[Event]) -> Totals:
    (end,) = (event for event in events if isinstance(event, RunFinished))
    return end.totals


def test_cholesky_and_solve_from_s3_to_s3(
    s3_bucket: str, executor: wl.LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRENLA_STORE", f"s3://{s3_bucket}/tmp")
    n, events = 150, []
    A = wl.from_function(lambda i, j: 0.9 ** abs(i[:, None] - j), (n, n), 32, structure="pos").save(
        f"s3://{s3_bucket}/A", executor
    )
    L = A.cholesky().save(f"s3://{s3_bucket}/L", executor, callbacks=[events.append])
    plan = wl.plan(A.cholesky(), executor=executor)
    count = totals(events)
    assert count.puts == count.tasks == plan.tasks
    assert count.gets + count.cache_hits == plan.reads
    a, low = A.compute(executor), L.compute(executor)
    residual = np.linalg.norm(a - low @ low.T, 1) / (n * np.linalg.norm(a, 1) * U)
    assert residual <= 30
    b = np.ones((n, 3))
    x = A.solve(b).compute(executor)
    scale = np.linalg.norm(a, np.inf) * abs(x).max() + abs(b).max()
    assert abs(a @ x - b).max() / (U * scale * n) <= 16
    assert [key for key in keys(s3_bucket) if key.startswith("tmp/")] == []
    assert "L/zarr.json" in keys(s3_bucket)


def test_bits_are_those_of_a_folder(s3_bucket: str, executor: wl.LocalExecutor, tmp_path: Path) -> None:
    A = wl.random((90, 90), tile=32, seed=5).gram().shift(1.0)
    here = A.cholesky().save(f"{tmp_path}/L", executor).compute(executor)
    there = A.cholesky().save(f"s3://{s3_bucket}/L", executor).compute(executor)
    assert here.tobytes() == there.tobytes()


def test_unfinished_save_goes_on_where_it_was(s3_bucket: str, executor: wl.LocalExecutor) -> None:
    A = wl.random((160, 160), tile=32, seed=6).gram().shift(1.0).save(f"s3://{s3_bucket}/A", executor)

    def stop_after_five(event: Event, seen: list[Event] = []) -> None:  # noqa: B006
        seen.append(event)
        if sum(type(e).__name__ == "TaskFinished" for e in seen) == 5:
            raise ConnectionAbortedError("the test pulls the plug")

    with pytest.raises(ConnectionAbortedError) as stopped:
        A.cholesky().save(f"s3://{s3_bucket}/L", executor, callbacks=[stop_after_five])
    assert any("wrenla clean" in note for note in stopped.value.__notes__)
    events: list[Event] = []
    L = A.cholesky().save(f"s3://{s3_bucket}/L", executor, callbacks=[events.append])
    start = next(event for event in events if isinstance(event, RunStarted))
    assert start.tasks - start.todo >= 5
    a, low = A.compute(executor), L.compute(executor)
    assert np.linalg.norm(a - low @ low.T, 1) / (160 * np.linalg.norm(a, 1) * U) <= 30


def test_persisted_tiles_are_removed_at_program_end(s3_bucket: str, tmp_path: Path) -> None:
    """When no thread can be begun any more."""
    program = """
import atexit, wrenla as wl
kept = wl.random((90, 90), tile=30, seed=1).gram().persist()
"""
    variables = os.environ | {"WRENLA_STORE": f"s3://{s3_bucket}/tmp"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=variables, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    assert keys(s3_bucket) == []
