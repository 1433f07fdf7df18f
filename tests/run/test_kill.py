"""kill -9 in the middle of a run, again and again: the next one does what is missing, to the same bits."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla.algorithms.solve import solve
from wrenla.planning.plan import make_plan
from wrenla_handler.stores.urls import open_store

SCRIPT = """
import os, signal, sys
import numpy as np
import wrenla as wl
from wrenla.algorithms.solve import solve

folder, out, what, fatal = *sys.argv[1:4], int(sys.argv[4])
count = 0

def say(event):
    global count
    kind = type(event).__name__
    if kind == "RunStarted":
        os.write(1, f"{event.tasks - event.todo}\\n".encode())
    if kind == "TaskStarted":
        os.write(1, f"{event.task}\\n".encode())
    if kind == "TaskFinished":
        count += 1
        if count == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

def kernel(rows, cols):
    return np.exp(-abs(rows[:, None] - cols) / 20.0)

def solution(A, B):  # in one run, as nobody looks at it
    return wl.BigMatrix(solve(A._node, B._node))

def expression():
    if what == "function":
        return wl.from_function(kernel, (200, 200), 32, structure="pos").cholesky()
    A = wl.open(f"{folder}/{'G' if what == 'general' else 'A'}")
    return A.cholesky() if what == "cholesky" else solution(A, wl.open(f"{folder}/B"))

with wl.LocalExecutor(3, allowed_mem="300 MiB") as executor:
    expression().save(out, executor, callbacks=[say])
"""


def run(folder: Path, out: Path, what: str, fatal: int) -> tuple[int, int, list[int]]:
    """Run the script; it dies when `fatal` tasks are done.

    Return how it ended, how many tasks it had not to do, and which ones it began.
    """
    (folder / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(folder / "script.py"), str(folder), str(out), what, str(fatal)],
        capture_output=True,
        env={**os.environ, "WRENLA_STORE": str(folder / "runs")},
        timeout=60,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    spared, *begun = map(int, done.stdout.split())
    return done.returncode, spared, begun


def files(folder: Path) -> dict[str, bytes]:
    """The objects below a folder, and what is in them."""
    store = open_store(folder)
    return {key: bytes(store.get(key)) for key in store.list()}


def places(what: str, folder: Path, out: str) -> list[str]:
    """For each task of the plan, the end of the path of its tile."""
    A = wl.open(folder / ("G" if what == "general" else "A"))
    X = A.cholesky() if what == "cholesky" else wl.BigMatrix(solve(A._node, wl.open(folder / "B")._node))
    with wl.LocalExecutor(3, allowed_mem="300 MiB") as executor:
        plan, originals = make_plan([X._node], executor.model, whole=[X._node])
    tails = []
    for p in range(plan.tasks):
        ref = plan.graph.out(p)
        node = originals[ref.array]
        parent = out if node.key == X._node.key else node.key
        tails.append(
            f"{parent}/partial/{ref.i}/{ref.j}/{ref.partial}"
            if ref.partial
            else f"{parent}/c/{ref.i}/{ref.j}"
        )
    return tails


def kill_until_done(what: str, seed: int, times: int, latest: int, folder: Path, out: Path) -> list[int]:
    """Kill a run up to `times` times, then let it finish; return what each one found done."""
    rng = random.Random(seed)
    tails = places(what, folder, out.name) if what != "function" else []
    found = []
    for attempt in range(times + 1):
        there = [str(path) for path in folder.rglob("*") if path.is_file()]
        code, spared, begun = run(folder, out, what, rng.randint(1, latest) if attempt < times else -1)
        present = {p for p, tail in enumerate(tails) if any(path.endswith(tail) for path in there)}
        assert not present & set(begun), "made again what was there"
        assert spared >= len(present)
        found.append(spared)
        if code == 0:
            break
        assert not (out / "zarr.json").exists(), "a matrix exists when it is whole"
    assert code == 0
    return found


@pytest.fixture
def folder(executor: wl.LocalExecutor, tmp_path: Path) -> Path:
    wl.random((200, 200), tile=32, seed=1).gram().shift(200.0).save(tmp_path / "A", executor)
    wl.random((200, 40), tile=32, seed=2).save(tmp_path / "B", executor)
    wl.random((200, 200), tile=26, seed=3).save(tmp_path / "G", executor)
    return tmp_path


def check(what: str, times: int, latest: int, folder: Path) -> None:
    """Kill runs, from the beginning again when one was done before, and compare with an undisturbed one."""
    undisturbed, killed = folder / "undisturbed", 0
    code, spared, _ = run(folder, undisturbed, what, -1)
    assert (code, spared) == (0, 0)
    expected = files(undisturbed)
    del expected["zarr.json"]  # names its own writing
    while killed < times:
        out = folder / f"out{killed}"
        found = kill_until_done(what, killed, times - killed, latest, folder, out)
        assert found == sorted(found), "no run had more to do than the one before"
        assert found[-1] > 0
        assert files(folder / "runs") == {}
        result = files(out)
        del result["zarr.json"]
        assert result == expected
        killed += len(found) - 1


@pytest.mark.process
def test_killed_three_times(folder: Path) -> None:
    check("solve", 3, 16, folder)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["cholesky", "solve", "function"])
def test_killed_twenty_times(what: str, folder: Path) -> None:
    check(what, 20, 5 if what == "solve" else 3, folder)


@pytest.mark.slow
def test_lu_killed_eight_times(folder: Path) -> None:
    """Of 8 × 8 ragged tiles, in bundles and alone."""
    check("general", 8, 16, folder)


@pytest.mark.process
def test_the_result_of_a_killed_run_is_right(folder: Path, executor: wl.LocalExecutor) -> None:
    kill_until_done("function", 0, 1, 20, folder, folder / "out")
    i = np.arange(200)
    A = np.exp(-abs(i[:, None] - i) / 20.0)
    L: Any = wl.open(folder / "out").compute(executor)
    residual = np.linalg.norm(A - L @ L.T, 1) / (200 * np.linalg.norm(A, 1) * 2.0**-53)
    assert residual <= 30
