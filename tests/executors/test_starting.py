"""Worker processes that cannot start, that take long to start, and drivers that fork."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import wrenla as wl
from wrenla.errors import Cancelled, NeverStarted


@pytest.fixture
def few_files() -> Iterator[None]:
    """Room for the files of about two worker processes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 14, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_workers_that_cannot_start_leave_the_calls_to_others(few_files: None) -> None:
    executor = wl.LocalExecutor(8, allowed_mem="600 MiB")
    try:
        assert list(executor.map(lambda x: time.sleep(0.02) or x, range(60))) == list(range(60))
    finally:
        executor.shutdown()


def test_no_worker_at_all_is_an_error_with_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with wl.LocalExecutor(2, allowed_mem="600 MiB") as executor:
        monkeypatch.setattr(sys, "executable", "/there/is/no/python")
        error = executor.submit(abs, -1).exception(timeout=60)
        assert isinstance(error, NeverStarted)
        assert "no worker process can be started" in str(error)
        monkeypatch.undo()
        monkeypatch.setenv("WRENLA_STORE", executor.store().url)
        assert executor.submit(abs, -1).result(timeout=60) == 1


def test_told_to_stop_while_the_worker_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "sitecustomize.py").write_text("import time; time.sleep(1.5)")
    monkeypatch.setenv("PYTHONPATH", str(slow))
    mark = tmp_path / "mark"
    with wl.LocalExecutor(1, allowed_mem="600 MiB") as executor:
        future = executor.submit(mark.write_text, "began")
        time.sleep(0.3)
        executor.calls.stop(grace=0.1)
        assert isinstance(future.exception(timeout=1), Cancelled)
    assert not mark.exists()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_neither_hangs_nor_takes_anything_away() -> None:
    with wl.LocalExecutor(1, allowed_mem="600 MiB") as executor:
        ref = executor.broadcast(np.zeros(100_000))
        assert executor.submit(len, ref).result(timeout=60) == 100_000
        child = os.fork()
        if child == 0:
            code = 1
            try:
                executor.submit(abs, -1)
            except RuntimeError as error:
                code = 0 if "forked" in str(error) else 2
            executor.shutdown()
            executor.calls.carrier.close()
            os._exit(code)
        deadline = time.monotonic() + 20
        while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert ended == (child, 0)
        executor.calls.carrier.place.store.get(next(executor.calls.carrier.place.store.list("broadcasts/")))
        assert executor.submit(len, ref).result(timeout=60) == 100_000
