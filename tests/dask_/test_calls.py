"""Calls that go wrong on a Dask cluster: the table of local processes, limits, Ctrl-C, large things."""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

import wrenla as wl
from tests.executors import fault_acts, faulty_calls
from tests.executors.fault_rows import PROCESS_ROWS, Row
from tests.executors.faulty_calls import by_submit
from tests.executors.test_faults import check_cell
from tests.interrupting import interrupts
from tests.waiting import until, until_idle, without_copies
from wrenla.errors import Cancelled, NeverStarted, TimedOut
from wrenla_handler.stores.urls import open_store

from .faults import WAIT

pytestmark = pytest.mark.timeout(60)

FAST = {"killed", "os._exit", "retries"}
"""Rows of those who run all tests: the rest is the same code as on this machine."""


@pytest.fixture(scope="module", autouse=True)
def by_value() -> Iterator[None]:
    """Functions travel as those of a script do: workers need not import tests."""
    modules = (fault_acts, faulty_calls, sys.modules[__name__])
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    yield
    for module in modules:
        cloudpickle.unregister_pickle_by_value(module)


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, marks=() if row.name in FAST else pytest.mark.slow) for row in PROCESS_ROWS],
    ids=str,
)
def test_rows_of_processes(row: Row, executor: wl.DaskExecutor, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("WRENLA_STORE", str(tmp_path / "store"))
    without_copies(executor)

    def stored() -> list[str]:
        return [key for key in open_store(tmp_path / "store").list() if "/wrenla-lease/" not in key]

    check_cell(row, by_submit, executor, tmp_path, stored)  # type: ignore[arg-type]


def until_told(_: object = None) -> None:
    deadline = time.monotonic() + 60
    while not wl.cancelled() and time.monotonic() < deadline:
        time.sleep(0.01)


def gated(folder: Path) -> Any:
    def call(x: int) -> int:
        with open(folder / f"began-{x}", "a") as file:
            file.write(".")
        deadline = time.monotonic() + 40
        while not (folder / "go").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return x

    return call


def test_stop_ends_what_runs_and_what_waits(executor: wl.DaskExecutor, tmp_path: Path) -> None:
    futures = executor.submit_many(gated(tmp_path), range(6))
    assert until(lambda: len(list(tmp_path.glob("began-*"))) == 2)
    executor.calls.stop()
    assert all(future.cancelled() or isinstance(future.exception(WAIT), Cancelled) for future in futures)
    assert len(list(tmp_path.glob("began-*"))) == 2
    assert executor.submit(abs, -1).result(WAIT) == 1, "it can still be used"


def test_one_running_call_is_stopped_and_no_other(executor: wl.DaskExecutor, tmp_path: Path) -> None:
    futures = executor.submit_many(gated(tmp_path), range(2))
    assert until(lambda: len(list(tmp_path.glob("began-*"))) == 2)
    executor.calls.stop({futures[0]})
    assert isinstance(futures[0].exception(WAIT), Cancelled)
    (tmp_path / "go").touch()
    assert futures[1].result(WAIT) == 1


def test_waiting_calls_are_cancelled(executor: wl.DaskExecutor, tmp_path: Path) -> None:
    futures = executor.submit_many(gated(tmp_path), range(4))
    assert until(lambda: len(list(tmp_path.glob("began-*"))) == 2)
    assert futures[3].cancel()
    assert not futures[0].cancel()
    (tmp_path / "go").touch()
    assert [future.result(WAIT) for future in futures[:3]] == [0, 1, 2]
    assert not (tmp_path / "began-3").exists()


def test_a_deadline_ends_what_waits(executor: wl.DaskExecutor, tmp_path: Path) -> None:
    executor.submit_many(gated(tmp_path), range(2))
    assert until(lambda: len(list(tmp_path.glob("began-*"))) == 2)
    late = executor.options(deadline=0.3).submit(abs, -1)
    with pytest.raises(NeverStarted, match="still waiting for a worker at its deadline"):
        late.result(WAIT)
    (tmp_path / "go").touch()


def test_a_call_that_waits_for_a_thread_of_dask_ends_at_its_deadline(
    executor: wl.DaskExecutor, client: Any, tmp_path: Path
) -> None:
    """Other tasks have all the threads: the message is on the worker, and no pilot comes."""
    gate = gated(tmp_path)
    others = client.map(gate, range(100, 102), pure=False)
    assert until(lambda: len(list(tmp_path.glob("began-*"))) == 2)
    began = time.monotonic()
    late = executor.options(deadline=0.5).submit(abs, -1)
    with pytest.raises((NeverStarted, TimedOut), match="deadline"):
        late.result(20)
    assert time.monotonic() - began < 20
    (tmp_path / "go").touch()
    assert client.gather(others) == [100, 101]


def test_ctrl_c_ends_what_is_waited_for(executor: wl.DaskExecutor) -> None:
    futures = [executor.submit(until_told, n) for n in range(4)]
    assert until(lambda: executor.stats().running)
    with interrupts("result"):
        futures[-1].result()
    assert until_idle(executor)
    futures = executor.submit_many(until_told, range(4))
    with interrupts("wait"):
        wait(futures)
    assert until_idle(executor)
    assert executor.submit(abs, -1).result(WAIT) == 1


def test_ctrl_c_during_a_run_leaves_the_executor_as_it_was(executor: wl.DaskExecutor) -> None:
    import _thread

    def press(event: Any) -> None:
        if type(event).__name__ == "TaskFinished":
            _thread.interrupt_main()

    A = wl.random((200, 200), tile=20, seed=1)
    with pytest.raises(KeyboardInterrupt):
        (A @ A).compute(executor, callbacks=[press])
    found = (A @ A).compute(executor)  # goes on from there, and leaves nothing
    with wl.LocalExecutor(1, "thread") as local:
        assert np.array_equal(found, (A @ A).compute(local))


def test_large_arguments_results_and_broadcasts(executor: wl.DaskExecutor) -> None:
    large = np.arange(1 << 18, dtype=float)
    shared = executor.broadcast(large)
    assert np.array_equal(executor.submit(lambda x: x + 1, large).result(WAIT), large + 1)
    sums = executor.map(lambda k, x: float(x[k]), range(4), [shared] * 4)
    assert list(sums) == [0.0, 1.0, 2.0, 3.0]


def test_functions_that_fork(executor: wl.DaskExecutor) -> None:
    def fork() -> str:
        child = os.fork()
        if child == 0:
            sys.exit(0)
        os.waitpid(child, 0)
        return "the parent's value"

    assert executor.submit(fork).result(WAIT) == "the parent's value"


def test_functions_that_abort(executor: wl.DaskExecutor) -> None:
    with pytest.raises(wl.errors.WorkerDied, match=r"SIGABRT.*on tcp://"):
        executor.submit(os.abort).result(WAIT)


def test_a_tile_function_that_exits_ends_its_task_only(shared: wl.DaskExecutor) -> None:
    def kernel(rows: Any, cols: Any) -> Any:
        sys.exit(3)

    with pytest.raises(wl.errors.RemoteError, match="SystemExit: 3"):
        wl.from_function(kernel, (40, 40), 20).compute(shared)
    assert np.array_equal((wl.eye(40, tile=20) @ wl.eye(40, tile=20)).compute(shared), np.eye(40))


def test_local_modules_travel_and_so_do_their_changes(
    executor: wl.DaskExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "dask_local_module.py"
    path.write_text("VALUE = 1\ndef value(x):\n    return VALUE + x\n")
    module = importlib.import_module("dask_local_module")
    try:
        assert list(executor.map(module.value, range(4))) == [1, 2, 3, 4]
        path.write_text("VALUE = 10000\ndef value(x):\n    return VALUE + x\n")
        importlib.reload(module)
        assert list(executor.map(module.value, range(4))) == [10000, 10001, 10002, 10003]
    finally:
        del sys.modules["dask_local_module"]


def test_errors_in_place_of_results(executor: wl.DaskExecutor) -> None:
    found = list(executor.map(lambda x: 1 // x, range(3), return_exceptions=True))
    assert isinstance(found[0], ZeroDivisionError)
    assert found[1:] == [1, 0]


def test_many_threads_and_short_calls(executor: wl.DaskExecutor) -> None:
    """Pilots end and begin, batches are sent: nothing is lost, or done twice."""
    found: list[list[int]] = []

    def work() -> None:
        found.append(list(executor.map(abs, range(-200, 0))))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert found == [list(range(200, 0, -1))] * 4
