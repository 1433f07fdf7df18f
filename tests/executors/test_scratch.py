"""The place of an executor: what functions keep there, its processes, and the end of both."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info

import wrenla as wl
from tests.processes import children
from tests.waiting import until

from .gate import Gate


def test_calls_and_driver_share_a_store(executor: wl.LocalExecutor, stored: Callable[[], list[str]]) -> None:
    def give(x: int) -> bool:
        return wl.store().put(f"given/{x}", bytes([x]), create=True)

    def take(x: int) -> int:
        return wl.store().get(f"given/{x}")[0]

    assert list(executor.map(give, [1, 2])) == [True, True]
    assert list(executor.map(give, [1, 2])) == [False, False]
    assert list(executor.map(take, [1, 2])) == [1, 2]
    assert list(executor.store().list()) == list(wl.store().list()) == ["given/1", "given/2"]
    wl.store().put("mine", b"x")
    assert executor.submit(lambda: bytes(wl.store().get("mine"))).result() == b"x"
    assert len([key for key in stored() if "/data/" in key]) == 3
    assert executor.submit(wl.cancelled).result() is False
    assert not wl.cancelled()


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_scratch_objects_are_removed_with_the_executor(kind: Any, stored: Callable[[], list[str]]) -> None:
    with wl.LocalExecutor(1, kind, allowed_mem="300 MiB") as executor:
        executor.submit(lambda: wl.store().put("a/b", b"c")).result()
        assert len(stored()) == 1
    assert stored() == []
    with pytest.raises(RuntimeError, match="shut down"):
        executor.store()


def test_processes_start_with_the_first_call_and_none_for_matrices() -> None:
    before = children()
    with wl.LocalExecutor(2, allowed_mem="600 MiB") as executor:
        wl.random((20, 20), tile=10).trace().compute(executor)
        assert children() == before
        executor.submit(abs, -1).result()
        assert len(children() - before) == 1
    assert children() == before


def test_processes_are_replaced_after_so_many_calls() -> None:
    with wl.LocalExecutor(1, allowed_mem="300 MiB", max_calls_per_child=2) as executor:
        pids = list(executor.map(lambda _: os.getpid(), range(6)))
        assert pids[0::2] == pids[1::2]
        assert len(set(pids)) == 3


def test_processes_are_replaced_when_they_have_used_much_memory() -> None:
    def use(mib: int) -> int:
        np.ones(mib << 17).sum()
        return os.getpid()

    # what this process has used does not count, although the system counts it at first
    here = np.ones(400 << 17)
    with wl.LocalExecutor(1, allowed_mem="300 MiB", max_memory_per_child="350 MiB") as executor:
        pids = list(executor.map(use, [1, 1, 400, 1, 1]))
        last = executor.submit(use, 1)
        assert last.result() == pids[4]
    del here
    assert pids[0] == pids[1] == pids[2] != pids[3] == pids[4]
    assert 0 < last.stats.peak < 350 << 20


@pytest.mark.parametrize("threads", [1, 2])
def test_processes_have_as_many_blas_threads_as_was_said(threads: int) -> None:
    def ask() -> tuple[list[int], list[str | None]]:
        import numpy.linalg  # noqa: F401

        names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
        return [lib["num_threads"] for lib in threadpool_info()], [os.environ.get(name) for name in names]

    with wl.LocalExecutor(1, allowed_mem="300 MiB", blas_threads=threads) as executor:
        found, environment = executor.submit(ask).result()
    assert environment == [str(threads)] * 3
    assert found
    assert set(found) == {min(threads, os.cpu_count() or 1)}


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_an_executor_that_nobody_ends_ends_with_its_last_user(kind: Any) -> None:
    before = children()
    executor = wl.LocalExecutor(1, kind, allowed_mem="300 MiB")
    assert executor.submit(abs, -1).result() == 1
    assert len(children() - before) == (kind == "process")
    del executor
    gc.collect()
    until(lambda: children() == before)
    assert children() == before


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_calls_of_an_executor_that_nobody_uses_any_more_end_all_the_same(kind: Any, gate: Gate) -> None:
    executor = wl.LocalExecutor(1, kind, allowed_mem="300 MiB")
    futures = executor.submit_many(gate.wait, range(4))
    del executor
    gc.collect()
    assert not any(future.done() for future in futures)  # whoever drops it last does not wait
    gate.open()
    assert [future.result(timeout=30) for future in futures] == list(range(4))


def test_two_executors_at_the_same_time() -> None:
    with (
        wl.LocalExecutor(1, allowed_mem="300 MiB") as first,
        wl.LocalExecutor(1, "thread", allowed_mem="300 MiB") as second,
    ):
        assert wl.default_executor() is second
        assert second.submit(os.getpid).result() == os.getpid()
        assert first.submit(os.getpid).result() != os.getpid()
        first.store().put("a", b"first")
        assert list(second.store().list()) == []
        assert second.submit(lambda: first.submit(abs, -1).result()).result() == 1
