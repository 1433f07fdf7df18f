"""Broadcast values: stored once, read at most once by each worker, changed by nobody."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla_handler.errors import StoreError


def total(_: int, table: np.ndarray) -> tuple[int, float]:
    time.sleep(0.02)
    return os.getpid(), float(table.sum())


def test_broadcast_is_read_once_by_each_worker(processes: wl.LocalExecutor) -> None:
    table = processes.broadcast(np.arange(200_000.0))
    found = list(processes.map(total, range(30), itertools.repeat(table)))
    pids = {pid for pid, _ in found}
    assert {value for _, value in found} == {199_999 * 100_000.0}
    stats = processes.stats()
    assert stats.gets <= 2 * len(pids)  # a pickle and a buffer
    assert stats.hits == 30 - len(pids)


@pytest.mark.parametrize("chunksize", [1, 4])
def test_broadcast_argument_arrives_as_value(executor: wl.LocalExecutor, chunksize: int) -> None:
    ref = executor.broadcast(np.arange(100_000))
    asked = executor.map(lambda i, t: int(t[i]), range(8), itertools.repeat(ref), chunksize=chunksize)
    assert list(asked) == list(range(8))
    assert executor.submit(lambda *, table: len(table), table=ref).result() == 100_000
    assert executor.submit(lambda refs: type(refs[0]).__name__, [ref]).result() == "Ref"
    assert executor.submit(lambda refs: len(refs["a"].get()), {"a": ref}).result() == 100_000
    assert executor.submit(lambda: int(ref.get()[5])).result() == 5
    assert executor.map_reduce(lambda r: len(r), [ref, ref], sum).result() == 200_000


@pytest.mark.every_day(4)
@pytest.mark.parametrize(
    "value",
    [
        np.zeros(10),
        np.zeros(3_000),
        np.zeros(300_000),
        np.zeros((300, 300))[::2, ::3],
        np.zeros((300, 400), order="F"),
        np.zeros(()),
    ],
    ids=["80 B", "24 KB", "2.4 MB", "sliced", "Fortran", "0-d"],
)
def test_arrays_are_read_only(executor: wl.LocalExecutor, value: np.ndarray) -> None:
    def change(table: np.ndarray) -> None:
        table[...] = 1

    ref = executor.broadcast(value)
    with pytest.raises(ValueError, match="read-only"):
        executor.submit(change, ref).result(timeout=30)
    assert not any(executor.map(np.any, [ref] * 4))
    assert value.flags.writeable


@pytest.mark.parametrize(
    "value", [None, 0, "", [], {"a": [1, 2]}, b"x" * 300_000, {"t": np.ones(20_000)}], ids=type
)
def test_broadcast_of_any_value_arrives_equal(executor: wl.LocalExecutor, value: Any) -> None:
    ref = executor.broadcast(value)
    found = executor.submit(lambda x: x, ref).result(timeout=30)
    assert type(found) is type(value)
    assert str(found) == str(value)
    assert str(ref.get()) == str(value)


def test_the_same_value_is_stored_once(processes: wl.LocalExecutor, stored: Callable[[], list[str]]) -> None:
    first = processes.broadcast(np.ones(100_000))
    before = [key for key in stored() if "broadcasts" in key]
    second = processes.broadcast(np.ones(100_000))
    assert [key for key in stored() if "broadcasts" in key] == before
    assert repr(first) == repr(second)
    assert repr(processes.broadcast(np.zeros(100_000))) != repr(first)


def test_broadcast_reference_has_size_and_repr(executor: wl.LocalExecutor) -> None:
    ref = executor.broadcast(np.zeros(100_000))
    assert isinstance(ref, wl.Ref)
    assert 800_000 <= ref.nbytes < 801_000
    assert repr(ref).startswith("Ref(")
    assert f"{ref.nbytes} bytes" in repr(ref)


def test_deleted_broadcast_is_gone_from_the_store(
    executor: wl.LocalExecutor, stored: Callable[[], list[str]]
) -> None:
    value = np.random.default_rng().random(100_000)
    ref = executor.broadcast(value)
    assert any("broadcasts" in key for key in stored())
    ref.delete()
    assert not any("broadcasts" in key for key in stored())
    with pytest.raises(StoreError, match="has been deleted"):
        executor.submit(np.sum, ref).result(timeout=30)
    with pytest.raises(StoreError, match="has been deleted"):
        ref.get()
    ref.delete()


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_broadcast_is_removed_with_the_executor(kind: Any, stored: Callable[[], list[str]]) -> None:
    with wl.LocalExecutor(1, kind, allowed_mem="300 MiB") as executor:
        ref = executor.broadcast(np.random.default_rng().random(100_000))
        assert stored()
    assert stored() == []
    with pytest.raises(StoreError):
        ref.get()
    with pytest.raises(RuntimeError, match="shut down"):
        executor.broadcast(1)
