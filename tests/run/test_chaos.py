"""kill -9 at any moment, of scripts that share a store and a part of their work: numbers stay right."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import wrenla as wl
from wrenla.evaluate.cleaning import clean
from wrenla_handler.stores.base import RUNS
from wrenla_handler.stores.urls import open_store

SCRIPT = """
import sys
import numpy as np
import wrenla as wl

what, out = sys.argv[1:]
K = wl.open("K")
print("begun", flush=True)
with wl.LocalExecutor(2, allowed_mem="300 MiB") as executor:
    if what == "save":
        K.cholesky().save("L", executor, overwrite=True)
    else:
        b = np.random.default_rng(int(what)).standard_normal((600, 5))
        np.save(out, K.solve(b).compute(executor))
"""

WORK = ("1", "2", "save")


def begin(what: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "script.py", what, f"x{what}.npy"],
        cwd=folder,
        env={**os.environ, "WRENLA_STORE": str(folder / "runs")},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_kills_of_scripts_that_share_their_work(executor: wl.LocalExecutor, tmp_path: Path) -> None:
    seed = int(os.environ.get("CHAOS_SEED", time.time_ns() % 10**6))
    sys.stdout.write(f"CHAOS_SEED={seed}\n")  # pytest shows it if the test fails
    rng = random.Random(seed)
    (tmp_path / "script.py").write_text(SCRIPT)
    K = wl.random((600, 600), tile=40, seed=0).gram().shift(600.0).save(tmp_path / "K", executor)
    L = K.cholesky().compute(executor)
    sides = {what: np.random.default_rng(int(what)).standard_normal((600, 5)) for what in WORK[:2]}
    expected = {what: K.solve(b).compute(executor) for what, b in sides.items()}
    kills = 0
    while kills < 20:
        # mostly one, sometimes two at once: of the same work, or of work that shares the factor
        running = [begin(rng.choice(WORK), tmp_path) for _ in range(rng.choice((1, 1, 2)))]
        for process in running:
            assert process.stdout is not None
            process.stdout.readline()
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0.0, 2.0))
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
            kills += process.returncode == -signal.SIGKILL
            assert process.returncode in (0, -signal.SIGKILL, 1), process.returncode
    for what in WORK:
        process = begin(what, tmp_path)
        process.communicate(timeout=60)
        assert process.returncode == 0, what
        if what != "save":
            np.testing.assert_array_equal(np.load(tmp_path / f"x{what}.npy"), expected[what])
    np.testing.assert_array_equal(wl.open(tmp_path / "L").compute(executor), L)
    assert all("wrenla" not in key for key in open_store(tmp_path / "L").list())
    list(clean(str(tmp_path / "runs")))
    assert list(open_store(tmp_path / "runs").list()) == []
    assert not any((tmp_path / "runs" / RUNS).iterdir())
