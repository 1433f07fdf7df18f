"""Functions that fork: their children are no workers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time

import numpy as np
import pytest

import wrenla as wl
from tests.waiting import until
from wrenla.errors import RemoteError

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),  # Python 3.12 on: it has threads
]


def waits_for_its_child() -> str:
    child = os.fork()
    if child == 0:
        sys.exit(0)
    os.waitpid(child, 0)
    return "the parent's value"


def leaves_its_child(seconds: float) -> tuple[int, int]:
    child = os.fork()
    if child == 0:
        time.sleep(seconds)
        sys.exit(0)
    return os.getpid(), child


def status_of_child_that_raises() -> int:
    child = os.fork()
    if child == 0:
        raise ValueError("in the child")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def status_of_child_that_returns() -> int:
    child = os.fork()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if child else 1


def ends(code: int) -> None:
    sys.exit(code)


def by_multiprocessing() -> int | None:
    process = multiprocessing.get_context("fork").Process(target=ends, args=(5,))
    process.start()
    process.join()
    return process.exitcode


def test_a_child_that_exits_is_not_the_call(executor: wl.LocalExecutor) -> None:
    assert executor.submit(waits_for_its_child).result(timeout=20) == "the parent's value"
    assert executor.submit(status_of_child_that_returns).result(timeout=20) == 0
    assert executor.submit(by_multiprocessing).result(timeout=20) == 5


def test_a_child_that_is_left_alone_takes_no_calls() -> None:
    with wl.LocalExecutor(1, allowed_mem="300 MiB") as executor:
        worker, child = executor.submit(leaves_its_child, 0.1).result(timeout=20)
        assert until(lambda: not os.path.exists(f"/proc/{child}") or _is_dead(child))
        # it would take one, or write into the middle of the answers
        assert {executor.submit(os.getpid).result(timeout=20) for _ in range(10)} == {worker}
        assert set(executor.map(lambda _: os.getpid(), range(20))) == {worker}


def test_a_child_goes_with_its_worker() -> None:
    with wl.LocalExecutor(1, allowed_mem="300 MiB") as executor:
        _, child = executor.submit(leaves_its_child, 60).result(timeout=20)
    assert until(lambda: not os.path.exists(f"/proc/{child}") or _is_dead(child))


def test_traceback_of_forked_child_is_in_logs() -> None:
    with wl.LocalExecutor(1, allowed_mem="300 MiB") as executor:
        future = executor.submit(status_of_child_that_raises)
        assert future.result(timeout=20) == 1
        assert future.logs.rstrip().endswith("ValueError: in the child")
        with pytest.raises(RemoteError, match="SystemExit: 3"):  # the worker's own end is still an error
            executor.submit(ends, 3).result(timeout=20)


def test_the_function_of_a_matrix_may_fork() -> None:
    mine = os.getpid()

    def block(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # should it go on with our tasks
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert os.getpid() == mine
        return np.add.outer(rows, columns).astype(float)

    with wl.LocalExecutor(2, "thread", allowed_mem="300 MiB") as executor:
        found = wl.from_function(block, (8, 8), tile=4).compute(executor)
    assert os.getpid() == mine
    np.testing.assert_array_equal(found, np.add.outer(np.arange(8.0), np.arange(8.0)))


def _is_dead(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True
