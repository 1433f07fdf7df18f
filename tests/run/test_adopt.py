"""What a dead run has finished is found by another one that needs it, and by nobody else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from tests.run.saves import stop_after
from wrenla.lease import Holder
from wrenla.plan import plan as plan_module
from wrenla.plan.cut import Cut
from wrenla.run.events import Event, RunStarted
from wrenla_handler.stores import LEASE, RUNS, open_store

N, TILE = 200, 32
B1, B2 = (np.random.default_rng(seed).standard_normal((N, 3)) for seed in (1, 2))


@pytest.fixture
def K(url: str, executor: wl.LocalExecutor, monkeypatch: pytest.MonkeyPatch) -> wl.BigMatrix:
    """A positive definite matrix of 7 × 7 tiles, in the kind of store where temporaries go as well."""
    monkeypatch.setenv("WRENLA_STORE", store_beside(url))
    return wl.random((N, N), tile=TILE, seed=0).gram().shift(float(N)).save(url, executor)


def store_beside(url: str) -> str:
    return f"{url.rpartition('/')[0]}/runs"


def kill(x: wl.BigMatrix, executor: wl.Executor, after: int, **more: Any) -> None:
    """Begin to compute something, and end as one who is killed: the lease is not given back."""
    with pytest.raises(ConnectionAbortedError):
        x.compute(executor, on_event=stop_after(after, ConnectionAbortedError()), **more)


def run(x: wl.BigMatrix, executor: wl.Executor) -> tuple[Any, int]:
    """Compute something, and return it and how many tiles were there before."""
    events: list[Event] = []
    result = x.compute(executor, on_event=events.append)
    begun = next(event for event in events if isinstance(event, RunStarted))
    return result, begun.tasks - begun.todo


def tiles(url: str, array: str = "") -> list[str]:
    """Return the tiles in the store for temporaries, of one array or of all."""
    with closing(open_store(f"{store_beside(url)}/{RUNS}")) as store:
        return [key for key in store.list() if "/c/" in key and array in key]


def test_a_factor_is_found_whatever_else_differs(K: wl.BigMatrix, url: str, executor: wl.LocalExecutor) -> None:
    L = K.cholesky()
    name = L._node.key
    others: dict[str, Callable[[], wl.BigMatrix]] = {
        "another right-hand side": lambda: K.solve(B2),
        "a vector": lambda: K.solve(B2[:, 0]),
        "a determinant": lambda: wl.linalg.slogdet(K)[1],
        "the factor": lambda: K.cholesky(),
        "a part of it": lambda: K.cholesky()[40:100, 20:60],
        "more after it": lambda: K.cholesky().T @ B2,
    }
    expected = {what: make().compute(executor) for what, make in others.items()}
    solved = K.solve(B1).compute(executor)
    assert tiles(url) == []
    for what, make in others.items():
        kill(K.solve(B1), executor, 20)
        there = len(tiles(url, name))
        assert there > 8, what
        result, found = run(make(), executor)
        np.testing.assert_array_equal(result, expected[what], err_msg=what)
        assert found > 0, what
        # what was taken over went with the run, and the rest is for whoever began it
        assert len(tiles(url, name)) < there, what
        result, _ = run(K.solve(B1), executor)
        np.testing.assert_array_equal(result, solved, err_msg=what)
        assert tiles(url) == [], what


def test_a_save_takes_over_what_a_solve_has_made(K: wl.BigMatrix, url: str, executor: wl.LocalExecutor) -> None:
    name, expected = K.cholesky()._node.key, K.cholesky().compute(executor)
    kill(K.solve(B1), executor, 20)
    there = len(tiles(url, name))
    events: list[Event] = []
    L = K.cholesky().save(f"{url}-L", executor, on_event=events.append)
    begun = next(event for event in events if isinstance(event, RunStarted))
    assert begun.tasks - begun.todo == there > 8
    np.testing.assert_array_equal(L.compute(executor), expected)
    assert tiles(url, name) == []
    with closing(open_store(f"{url}-L")) as store:
        assert sorted(store.list()) == ["zarr.json" if False else key for key in sorted(store.list())]
        assert not any("wrenla" in key for key in store.list())
