"""This machine as executor: a `concurrent.futures.Executor` that keeps its promises and cleans up."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

import wrenla as wl
from wrenla.errors import NestedCallError
from wrenla.executors.local.executor import memory_of_this_machine
from wrenla.planning.plan import plans_bytes
from wrenla.run.events import Event, TaskFinished
from wrenla_handler.stores.base import Reach
from wrenla_kernels import scipy_blas_info


@pytest.fixture
def matrix() -> wl.BigMatrix:
    return wl.random((160, 160), tile=32).gram().shift(160.0)


# calls


def test_calls_run_on_as_many_workers_as_given() -> None:
    at_once, most, lock = 0, 0, threading.Lock()

    def call() -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.02)
        with lock:
            at_once -= 1

    with wl.LocalExecutor(3, "thread", allowed_mem="300 MiB") as executor:
        concurrent.futures.wait([executor.submit(call) for _ in range(12)])
    assert most == 3


def test_the_end_of_the_block_waits_for_calls() -> None:
    ended = []
    with wl.LocalExecutor(1, "thread", allowed_mem="300 MiB") as executor:
        executor.submit(lambda: (time.sleep(0.1), ended.append(1)))
    assert ended == [1]
    with pytest.raises(RuntimeError, match="shutdown"):
        executor.submit(abs, 1)
    executor.shutdown()  # once more does no harm


def test_waiting_call_can_be_cancelled() -> None:
    executor, release = wl.LocalExecutor(1, "thread", allowed_mem="300 MiB"), threading.Event()
    first, *others = [executor.submit(release.wait, 10) for _ in range(5)]
    while not first.running():
        time.sleep(0.001)
    timer = threading.Timer(0.05, release.set)
    timer.start()
    executor.shutdown(cancel_futures=True)
    timer.join()
    assert first.result() is True
    assert all(future.cancelled() for future in others)


# arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workers": 0}, "workers=0: a whole number, at least 1"),
        ({"workers": -2}, "workers=-2"),
        ({"workers": "2"}, "workers='2': a whole number"),
        ({"workers": 1.5}, "workers=1.5: a whole number"),
        ({"workers": 2.5}, "workers=2.5: a whole number"),
        ({"workers": True}, "workers=True: a whole number"),
        ({"blas_threads": 0}, "blas_threads=0: a whole number, at least 1"),
        ({"blas_threads": "1"}, "blas_threads='1': a whole number"),
        ({"kind": "fibre"}, "kind='fibre': calls run in 'process' or 'thread'"),
        ({"max_calls_per_child": 0}, "max_calls_per_child=0: a whole number, at least 1"),
        ({"max_calls_per_child": "5"}, "max_calls_per_child='5': a whole number"),
        ({"max_memory_per_child": "3 apples"}, "max_memory_per_child='3 apples': a number of bytes"),
        ({"max_memory_per_child": "abc"}, "max_memory_per_child='abc': a number of bytes.*'2 GiB'"),
        ({"max_memory_per_child": 0}, "max_memory_per_child=0: a number of bytes, at least 1"),
        ({"max_memory_per_child": -5}, "max_memory_per_child=-5"),
        ({"max_memory_per_child": "-1 GiB"}, "max_memory_per_child='-1 GiB'"),
        ({"max_memory_per_child": True}, "max_memory_per_child=True"),
        ({"kind": "thread", "max_calls_per_child": 5}, "are for kind='process'"),
        ({"kind": "thread", "max_memory_per_child": "1 GiB"}, "are for kind='process'"),
        ({"workers": 4, "allowed_mem": "60 MiB"}, r"too little for 4 workers: allow at least 100\.00 MiB"),
        ({"allowed_mem": 10}, "too little"),
        ({"allowed_mem": 0}, "allowed_mem=0: a number of bytes, at least 1"),
        ({"allowed_mem": "-1 GiB"}, "allowed_mem='-1 GiB': a number of bytes"),
        ({"allowed_mem": "much"}, "allowed_mem='much': a number of bytes"),
        ({"allowed_mem": ""}, "allowed_mem='': a number of bytes"),
        ({"allowed_mem": float("nan")}, "allowed_mem=nan: a number of bytes"),
        ({"allowed_mem": [1]}, r"allowed_mem=\[1\]: a number of bytes"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    before = threading.active_count()
    with pytest.raises(ValueError, match=message):
        wl.LocalExecutor(**arguments)
    assert threading.active_count() <= before


def test_defaults_are_those_of_the_machine() -> None:
    with wl.LocalExecutor() as executor:
        assert executor.workers >= 1
        assert executor.allowed_mem == memory_of_this_machine() // 2
        assert executor.reach == Reach.PROCESS
        assert repr(executor).startswith(
            f"LocalExecutor(workers={executor.workers}, kind='process', allowed_mem='"
        )
        model = executor.model
        assert model.workers == executor.workers
        assert 0 < model.allowed_bytes * executor.workers < executor.allowed_mem


# runs


def test_a_run_from_within_a_worker_is_refused(matrix: wl.BigMatrix) -> None:
    with wl.LocalExecutor(2, "thread", allowed_mem="600 MiB") as executor:
        for expression in (matrix.cholesky(), wl.eye(3, tile=3)):
            future = executor.submit(expression.compute, executor)
            with pytest.raises(NestedCallError, match="would wait for itself"):
                future.result(timeout=10)
        # another executor is free
        with wl.LocalExecutor(1, "thread", allowed_mem="300 MiB") as other:
            result = other.submit(lambda: matrix.trace().compute(executor)).result(timeout=10)
        assert result == pytest.approx(float(matrix.trace().compute(executor)))


@pytest.mark.process
def test_run_inside_worker_process_is_refused(executor: wl.LocalExecutor) -> None:
    with pytest.raises(TypeError, match="cannot travel to a worker"):
        executor.submit(lambda: wl.eye(3, tile=3).compute(executor))
    future = executor.submit(lambda: wl.eye(3, tile=3).compute())
    with pytest.raises(NestedCallError, match="would wait for this one"):
        future.result(timeout=30)


def test_a_run_from_within_a_listener_is_refused(matrix: wl.BigMatrix, executor: wl.LocalExecutor) -> None:
    errors: list[BaseException] = []

    def listen(event: Event) -> None:
        if isinstance(event, TaskFinished):
            matrix.trace().compute(executor)

    def run() -> None:
        try:
            matrix.cholesky().compute(executor, callbacks=[listen])
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "waits for itself"
    assert "would wait for itself" in str(errors[0])
    matrix.cholesky().compute(executor)  # the executor is none the worse for it


@pytest.fixture
def two_blas_threads(executor: wl.LocalExecutor) -> Iterator[None]:
    """Two, so that a limit of one is seen; tests have one otherwise."""
    with threadpool_limits(2):
        yield


def blas_of_all() -> dict[str, int]:
    return {library.filepath: library.num_threads for library in ThreadpoolController().lib_controllers}


@pytest.mark.usefixtures("two_blas_threads")
@pytest.mark.parametrize("how", ["well", "numerical failure", "interrupt"])
def test_blas_threads_are_restored_and_numpys_left_alone(
    how: str, matrix: wl.BigMatrix, executor: wl.LocalExecutor
) -> None:
    mine = scipy_blas_info().filepath
    before, during = blas_of_all(), []

    def listen(event: Event) -> None:
        if isinstance(event, TaskFinished):
            during.append(blas_of_all())
            if how == "interrupt":
                raise KeyboardInterrupt

    expression = matrix.shift(-1e6).cholesky() if how == "numerical failure" else matrix.cholesky()
    try:
        expression.compute(executor, callbacks=[listen])
        assert how == "well"
    except (wl.LinAlgError, KeyboardInterrupt):
        assert how != "well"
    assert blas_of_all() == before
    for numbers in during:
        assert numbers.pop(mine) == executor.blas_threads
        assert numbers == {path: number for path, number in before.items() if path != mine}


def test_blas_threads_as_asked_for(matrix: wl.BigMatrix) -> None:
    seen = []
    with wl.LocalExecutor(1, allowed_mem="300 MiB", blas_threads=2) as executor:
        matrix.cholesky().compute(executor, callbacks=[lambda event: seen.append(scipy_blas_info().threads)])
    assert set(seen) == {2}


@pytest.mark.usefixtures("no_kept_plans")
def test_tile_cache_stays_within_allowed_mem(tmp_path: Path) -> None:
    n, tile = 1200, 200
    with wl.LocalExecutor(2, allowed_mem="64 MiB") as executor:
        A = wl.random((n, n), tile=tile).gram().shift(float(n)).save(tmp_path / "A", executor)
        expression = A.cholesky()
        plan = wl.plan(expression, executor=executor)
        cache = executor.home.cache
        used = []
        expression.compute(executor, callbacks=[lambda event: used.append((cache.used, cache.limit))])
        budget = executor.allowed_mem - 2 * (24 << 20) - 2 * plan.projected - plans_bytes()
        assert {limit for _, limit in used} == {budget}
        assert 0 < max(bytes_used for bytes_used, _ in used) <= budget


def test_after_a_run_no_host_array_or_buffer_is_held(executor: wl.LocalExecutor) -> None:
    A = wl.from_array(np.ones((400, 400)), tile=200)
    (A @ A).compute(executor)
    assert executor.home.sources.hosts == {}
    assert executor.home.buffers.free == 0
    with pytest.raises(wl.LinAlgError):
        (A @ A).shift(-1e9).cholesky().compute(executor)
    assert executor.home.sources.hosts == {}


def test_runs_in_several_threads_wait_for_each_other(
    matrix: wl.BigMatrix, executor: wl.LocalExecutor
) -> None:
    events: list[tuple[int, Event]] = []

    def run(number: int) -> Any:
        return (
            matrix.shift(number)
            .cholesky()
            .compute(executor, callbacks=[lambda e: events.append((number, e))])
        )

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        results = list(pool.map(run, range(3)))
    order = [number for number, _ in events]
    assert [n for k, n in enumerate(order) if k == 0 or order[k - 1] != n] == list(dict.fromkeys(order))
    for number, L in enumerate(results):
        A = matrix.shift(number).compute(executor)
        np.testing.assert_allclose(L @ L.T, A, rtol=1e-10, atol=1e-8)


# the default one


@pytest.fixture
def default(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def make(**environment: str) -> Any:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return wl.default_executor()

    return make


@pytest.mark.process
def test_default_executor_follows_the_settings(default: Callable[..., Any]) -> None:
    first = default(WRENLA_WORKERS="1", WRENLA_ALLOWED_MEM="200 MiB")
    assert (first.workers, first.allowed_mem, first.blas_threads) == (1, 200 << 20, 1)
    assert default() is first
    second = default(WRENLA_WORKERS="2", WRENLA_BLAS_THREADS="3")
    assert (second.workers, second.allowed_mem, second.blas_threads) == (2, 200 << 20, 3)
    assert first.submit(abs, -1).result(timeout=30) == 1  # whoever has it may go on with it


def test_in_a_with_block_its_executor_is_the_default(executor: wl.LocalExecutor) -> None:
    assert wl.default_executor() is executor  # the fixture is in such a block
    with wl.LocalExecutor(1, allowed_mem="200 MiB") as inner:
        assert wl.default_executor() is inner
    assert wl.default_executor() is executor
