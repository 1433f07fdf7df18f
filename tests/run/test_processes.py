"""Several processes, or threads, that run the same at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla.errors import SaveConflictError
from wrenla.run.events import Event, TaskFinished
from wrenla_handler.stores.urls import open_store

TOGETHER = """
import sys, time
import numpy as np, wrenla as wl
from wrenla.planning import plan
from wrenla.planning.cut import Cut

plan.choose_cut = lambda tiles, model: Cut("fixed", 1)
A = wl.open(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()

def slowly(event):
    if type(event).__name__ == "TaskFinished":
        time.sleep(float(sys.argv[4]))

if sys.argv[2] == "compute":
    np.save(sys.argv[3], A.cholesky().compute(callbacks=[slowly]))
else:
    try:
        A.cholesky().save(sys.argv[2], callbacks=[slowly])
    except FileExistsError:
        print("the others were done before we began")
"""


@pytest.fixture
def together(tmp_path: Path, executor: wl.LocalExecutor) -> Iterator[Callable[[str], list[Path]]]:
    """Run the same script in some processes at once, of which some are slower than others."""
    wl.random((256, 256), tile=32).gram().shift(256.0).save(tmp_path / "A", executor)
    stack = ExitStack()

    def run(target: str) -> list[Path]:
        outputs = [tmp_path / f"{k}.npy" for k in range(3)]
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", TOGETHER, str(tmp_path / "A"), target, str(output), str(pause)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "WRENLA_WORKERS": "2"},
            )
            for output, pause in zip(outputs, (0.001, 0.0015, 0.003), strict=True)
        ]
        for process in processes:
            stack.enter_context(process)
            stack.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        for process in processes:
            _, err = process.communicate(timeout=60)
            assert process.returncode == 0, err
        return outputs

    with stack:
        yield run


def expected(tmp_path: Path, executor: wl.LocalExecutor) -> Any:
    return wl.open(tmp_path / "A").cholesky().compute(executor)


@pytest.mark.process
def test_processes_that_compute_the_same_at_once(
    together: Callable[[str], list[Path]], left: Any, tmp_path: Path, executor: wl.LocalExecutor
) -> None:
    for output in together("compute"):
        np.testing.assert_array_equal(np.load(output), expected(tmp_path, executor))
    assert left() == []


@pytest.mark.process
def test_processes_that_save_the_same_at_once(
    together: Callable[[str], list[Path]], left: Any, tmp_path: Path, executor: wl.LocalExecutor
) -> None:
    together(str(tmp_path / "L"))
    result = wl.open(tmp_path / "L").compute(executor)
    np.testing.assert_array_equal(result, expected(tmp_path, executor))
    assert left() == []
    assert not [key for key in open_store(tmp_path / "L").list() if not key.startswith("c/")][1:]


def test_runs_in_threads_have_workspaces_of_their_own(executor: wl.LocalExecutor, left: Any) -> None:
    A = wl.random((160, 160), tile=32).gram().shift(1.0).cholesky()
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(A.compute(executor))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for result in results:
        np.testing.assert_array_equal(result, results[0])
    assert left() == []


def test_second_save_at_one_address_is_save_conflict(
    tmp_path: Path, executor: wl.LocalExecutor, left: Any
) -> None:
    """Also if both save the same, in one process: nobody writes over the other, or waits without a word."""
    L = wl.random((160, 160), tile=32).gram().shift(160.0).cholesky()
    url, begun, done = str(tmp_path / "L"), threading.Event(), threading.Event()

    def wait(event: Event) -> None:
        if isinstance(event, TaskFinished):
            begun.set()
            done.wait(20)

    def save_slowly() -> wl.BigMatrix:
        with wl.LocalExecutor(1, allowed_mem="200 MiB") as slow:
            return L.save(url, slow, callbacks=[wait])

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(save_slowly)
        try:
            begun.wait(20)
            for other, overwrite in ((L, False), (L, True), (2 * L, False), (2 * L, True)):
                with pytest.raises(SaveConflictError, match=f"process {os.getpid()} on .* is saving"):
                    other.save(url, executor, overwrite=overwrite)
        finally:
            done.set()
        np.testing.assert_array_equal(first.result(20).compute(executor), L.compute(executor))
    assert left() == []
