"""kill -9 in the middle of a run, again and again: the next run does only what is missing, bit by bit the same."""

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
from wrenla.plan.plan import make_plan
from wrenla_handler.stores import open_store

SCRIPT = """
import os, signal, sys
import numpy as np
import wrenla as wl

folder, out, what, fatal = *sys.argv[1:4], int(sys.argv[4])
count = 0

def say(event):
    global count
    kind = type(event).__name__
    if kind == "TaskStarted":
        os.write(1, f"{event.task}\\n".encode())
    if kind in ("TaskStarted", "TaskFinished"):
        count += 1
        if count == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

def kernel(rows, cols):
    return np.exp(-abs(rows[:, None] - cols) / 20.0)

def expression():
    if what == "function":
        return wl.from_function(kernel, (200, 200), 32, structure="pos").cholesky()
    A = wl.open(f"{folder}/A")
    return A.cholesky() if what == "cholesky" else A.solve(wl.open(f"{folder}/B"))

with wl.LocalExecutor(3, allowed_mem="300 MiB") as executor:
    expression().save(out, executor, on_event=say)
"""


def run(folder: Path, out: Path, what: str, fatal: int) -> tuple[int, list[int]]:
    """Run the script; it dies at the event of number `fatal`. Return how it ended and which tasks it began."""
    (folder / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(folder / "script.py"), str(folder), str(out), what, str(fatal)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "WRENLA_STORE": str(folder / "runs")},
        timeout=60,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode, [int(line) for line in done.stdout.split()]


def files(folder: Path) -> dict[str, bytes]:
    """The objects below a folder, and what is in them."""
    store = open_store(folder)
    return {key: bytes(store.get(key)) for key in store.list()}


def places(what: str, folder: Path) -> list[str]:
    """For each task of the plan, the end of the path of its tile."""
    A = wl.open(folder / "A")
    X = A.cholesky() if what == "cholesky" else A.solve(wl.open(folder / "B"))
    with wl.LocalExecutor(3, allowed_mem="300 MiB") as executor:
        plan, originals = make_plan([X._node], executor.model, whole=[X._node])
    tails = []
    for p in range(plan.tasks):
        ref = plan.graph.out(p)
        node = originals[ref.array]
        parent = "out" if node.key == X._node.key else node.key
        tails.append(
            f"{parent}/partial/{ref.i}/{ref.j}/{ref.partial}"
            if ref.partial
            else f"{parent}/c/{ref.i}/{ref.j}"
        )
    return tails


def kill_until_done(what: str, seed: int, times: int, folder: Path, out: Path) -> int:
    """Kill a run up to `times` times, then let it finish; return how often a later run had less to do."""
    rng = random.Random(seed)
    tails = places(what, folder) if what != "function" else []
    resumed, earlier = 0, set[str]()
    for _ in range(times):
        there = {str(path) for path in folder.rglob("*") if path.is_file()}
        code, begun = run(folder, out, what, rng.randint(1, 45))
        if tails:
            present = [p for p, tail in enumerate(tails) if any(path.endswith(tail) for path in there)]
            assert not set(begun) & set(present), "made again what was there"
            resumed += bool(present)
        if code == 0:
            return resumed
        assert not (out / "zarr.json").exists(), "a matrix exists when it is whole"
        earlier |= there
    code, _ = run(folder, out, what, -1)
    assert code == 0
    return resumed


@pytest.fixture
def folder(executor: wl.LocalExecutor, tmp_path: Path) -> Path:
    wl.random((200, 200), tile=32, seed=1).gram().shift(200.0).save(tmp_path / "A", executor)
    wl.random((200, 40), tile=32, seed=2).save(tmp_path / "B", executor)
    return tmp_path


def check(what: str, seed: int, times: int, folder: Path) -> int:
    """Compare what is there after the killed runs with an undisturbed one."""
    out = folder / "out"
    resumed = kill_until_done(what, seed, times, folder, out)
    assert list((folder / "runs" / "runs").glob("*")) == [] or not files(folder / "runs")
    code, _ = run(folder, folder / "undisturbed", what, -1)
    assert code == 0
    expected, found = files(folder / "undisturbed"), files(out)
    for key in ("zarr.json",):  # holds the name of its writing
        expected.pop(key), found.pop(key)
    assert found == expected
    return resumed


@pytest.mark.parametrize("what", ["solve"])
def test_killed_three_times(what: str, folder: Path) -> None:
    assert check(what, 3, 3, folder) > 0


@pytest.mark.slow
@pytest.mark.parametrize("what", ["cholesky", "solve", "function"])
@pytest.mark.parametrize("seed", range(4))
def test_killed_twenty_times(what: str, seed: int, folder: Path) -> None:
    # twenty runs in all for each expression, five for each seed
    resumed = check(what, seed, 5, folder)
    assert resumed > 0 or what == "function"


def test_the_killed_result_is_right(folder: Path, executor: wl.LocalExecutor) -> None:
    kill_until_done("cholesky", 0, 1, folder, folder / "out")
    A: Any = wl.open(folder / "A").compute(executor)
    L: Any = wl.open(folder / "out").compute(executor)
    residual = np.linalg.norm(A - L @ L.T, 1) / (200 * np.linalg.norm(A, 1) * 2.0**-53)
    assert residual <= 30
