"""Worker processes that cannot start, that take long to start, and drivers that fork."""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla.errors import Cancelled, NeverStarted, TimedOut
from wrenla.executors.local import process_channels
from wrenla.executors.local.processes import Child

from .gate import Gate


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


def test_scratch_space_is_taken_before_workers_take_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise those that start at the same time may leave none for it, and the call would fail."""
    taken: list[str] = []

    class Watched(Child):
        def __init__(self, variables: dict[str, str]) -> None:
            taken.append(executor.calls.transport.scratch._url)  # type: ignore[attr-defined]
            super().__init__(variables)

    monkeypatch.setattr(process_channels, "Child", Watched)
    with wl.LocalExecutor(2, allowed_mem="600 MiB") as executor:
        assert list(executor.map(abs, range(9))) == list(range(9))
    assert taken
    assert all(taken)


def test_calls_wait_for_a_worker_that_starts_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others that cannot start leave their calls to it, however long it takes."""
    begun = threading.Event()

    class Slow(Child):
        def __init__(self, variables: dict[str, str]) -> None:
            if begun.is_set():
                raise NeverStarted("no worker process can be started: too many open files")
            begun.set()
            time.sleep(3.0)
            super().__init__(variables)

    monkeypatch.setattr(process_channels, "Child", Slow)
    with wl.LocalExecutor(3, allowed_mem="600 MiB") as executor:
        assert list(executor.map(abs, range(9))) == list(range(9))


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
    (slow / "sitecustomize.py").write_text("import time; time.sleep(8)")
    monkeypatch.setenv("PYTHONPATH", str(slow))
    mark = tmp_path / "mark"
    with wl.LocalExecutor(1, allowed_mem="600 MiB") as executor:
        future = executor.submit(mark.write_text, "began")
        time.sleep(0.3)
        executor.calls.stop(grace=0.1)
        assert isinstance(future.exception(timeout=6), Cancelled)
    assert not mark.exists()


def test_a_deadline_while_the_worker_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import time; time.sleep(1.5)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    mark = tmp_path / "mark"
    with wl.LocalExecutor(1, allowed_mem="600 MiB") as executor:
        error = executor.options(deadline=0.3).submit(mark.write_text, "began").exception(timeout=60)
        assert isinstance(error, NeverStarted)
        assert "deadline of 0.3 s" in str(error)
        assert executor.submit(abs, -1).result(timeout=60) == 1
    assert not mark.exists()


def test_a_working_directory_that_has_been_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.syspath_prepend("")
    with wl.LocalExecutor(1, allowed_mem="300 MiB") as executor:
        assert executor.submit(abs, -1).result(timeout=60) == 1


def test_path_objects_in_sys_path_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python passes over it."""
    monkeypatch.setattr(sys, "path", [*sys.path, Path("/somewhere")])
    with wl.LocalExecutor(1, allowed_mem="600 MiB") as executor:
        assert executor.submit(abs, -1).result(timeout=60) == 1


class Threads:
    """Lets no thread of a name begin, but the first few."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
        begin, left = threading.Thread.start, [few]

        def start(thread: threading.Thread) -> None:
            if thread.name.endswith("-channel"):
                if not left[0]:
                    raise RuntimeError("can't start new thread")
                left[0] -= 1
            begin(thread)

        monkeypatch.setattr(threading.Thread, "start", start)


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_no_thread_for_a_call(kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked is told, and the call does not run later."""
    mark = tmp_path / "mark"
    executor = wl.LocalExecutor(2, kind, allowed_mem="600 MiB")
    with monkeypatch.context() as patch:
        Threads(patch, 0)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            executor.submit(mark.touch)
    assert executor.submit(abs, -1).result(timeout=60) == 1
    executor.shutdown()
    assert not mark.exists()
    assert executor.stats().submitted == 1


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_fewer_threads_than_workers(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Threads(monkeypatch, 1)
    with wl.LocalExecutor(3, kind, allowed_mem="600 MiB") as executor:
        assert list(executor.map(abs, range(50))) == list(range(50))
        assert executor.map_reduce(abs, range(50), sum, fan_in=4).result(timeout=60) == 1225


def test_nobody_is_left_to_carry_out_what_waits(monkeypatch: pytest.MonkeyPatch, gate: Gate) -> None:
    Threads(monkeypatch, 1)
    executor = wl.LocalExecutor(1, "thread", allowed_mem="600 MiB")
    stuck = executor.options(timeout=0.3).submit(gate.wait)  # its thread is left to itself
    waiting = executor.submit_many(abs, range(3))
    assert isinstance(stuck.exception(timeout=60), TimedOut)
    for future in waiting:
        assert isinstance(future.exception(timeout=60), NeverStarted)
    executor.shutdown()
    gate.open()


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
            executor.calls.transport.close()
            os._exit(code)
        deadline = time.monotonic() + 20
        while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert ended == (child, 0)
        executor.calls.transport.scratch.store.get(
            next(executor.calls.transport.scratch.store.list("broadcasts/"))
        )
        assert executor.submit(len, ref).result(timeout=60) == 100_000
