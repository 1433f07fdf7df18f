"""Where the system has no more threads for us: errors with a name, and nothing that waits for ever."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable

import numpy as np
import pytest
from rich.console import Console

import wrenla as wl
from wrenla.errors import ThreadLimitError
from wrenla.report.progress import progress_listener
from wrenla.run.events import RunFinished, RunStarted, Totals
from wrenla_handler.threads import Threads


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """Let only so many threads begin whose names begin so."""
    begin = threading.Thread.start

    def let(name: str, count: int) -> None:
        left = [count]

        def start(thread: threading.Thread) -> None:
            if thread.name.startswith(name):
                if not left[0]:
                    raise RuntimeError("can't start new thread")
                left[0] -= 1
            begin(thread)

        monkeypatch.setattr(threading.Thread, "start", start)

    return let


@pytest.mark.timeout(30)
@pytest.mark.parametrize("there", [0, 1, 3])
def test_an_executor_without_its_threads_is_an_error_at_once(
    there: int, few: Callable[[str, int], None]
) -> None:
    few("wrenla_", there)
    with pytest.raises(ThreadLimitError, match=r"LocalExecutor\(workers=4\).*new thread.*fewer workers"):
        wl.LocalExecutor(4, allowed_mem="600 MiB")
    few("wrenla_", 4)
    with wl.LocalExecutor(4, "thread", allowed_mem="600 MiB") as executor:
        assert executor.submit(abs, -1).result(timeout=30) == 1


@pytest.mark.timeout(30)
def test_ctrl_c_while_an_executor_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    begin, begun = threading.Thread.start, list[threading.Thread]()

    def start(thread: threading.Thread) -> None:
        if len(begun) == 2:
            raise KeyboardInterrupt
        begun.append(thread)
        begin(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(KeyboardInterrupt):
        wl.LocalExecutor(4, allowed_mem="600 MiB")
    assert len(begun) == 2
    assert not any(thread.is_alive() for thread in begun)


def test_a_pool_does_with_the_threads_it_has(few: Callable[[str, int], None]) -> None:
    gate, done = threading.Event(), list[int]()
    few("few", 1)
    with Threads(4, "few") as pool:
        futures = [pool.submit(gate.wait, 20), *(pool.submit(done.append, n) for n in range(5))]
        gate.set()
    assert all(future.done() for future in futures)
    assert done == list(range(5))
    few("none", 0)
    with Threads(4, "none") as pool:
        for _ in range(2):
            with pytest.raises(ThreadLimitError, match="none: can't start new thread"):
                pool.submit(done.append, 99)
        few("none", 1)
        assert pool.submit(len, done).result(timeout=20) == 5  # what was refused is not done later
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.submit(abs, 1)


@pytest.mark.timeout(60)
def test_a_run_does_without_threads_that_only_save_time(few: Callable[[str, int], None]) -> None:
    few("wrenla-", 0)  # that read ahead, and that draw the progress
    M = np.arange(160_000.0).reshape(400, 400)
    console = Console(file=io.StringIO(), force_terminal=True)
    with wl.LocalExecutor(2, allowed_mem="600 MiB") as executor, progress_listener(True, console) as listener:
        assert listener is not None
        A = wl.from_array(M, tile=200)
        listener(RunStarted("run", 1, 1, 1, 1.0, 2, 0.0))
        B = A.persist(executor)
        found = (B @ B).compute(executor)
        listener(RunFinished("run", 1.0, "", Totals(), 0.0))
    np.testing.assert_allclose(found, M @ M)
