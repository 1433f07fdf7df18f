"""`wrenla solve --executor dask`: on the cluster of these tests, and on one that it starts itself."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import dask
import distributed
import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.waiting import attempts, until
from wrenla.cli.main import main
from wrenla.cli.parts.params import Place
from wrenla.cli.parts.running import Running


def solved(folder: Path, executor: str, *more: str) -> Result:
    """Solve a system of files, and look at the solution."""
    A = np.random.default_rng(0).standard_normal((60, 60))
    np.save(folder / "A.npy", A)
    np.save(folder / "b.npy", A[0])
    paths = [str(folder / name) for name in ("A.npy", "b.npy")]
    command = ["solve", *paths, "-o", str(folder / "x.npy"), "--executor", executor, "--tile", "20", *more]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.stderr
    assert np.allclose(A @ np.load(folder / "x.npy"), A[0])
    return done


def test_solve_on_a_cluster(client: Any, nothing_left: None, tmp_path: Path) -> None:
    address = client.scheduler_info()["address"]
    said = json.loads(solved(tmp_path, f"dask:{address}", "--json").stdout)
    assert said["executor"].startswith("DaskExecutor(")
    assert said["report"]["hpl"] < 1


@pytest.mark.slow
def test_solve_on_a_cluster_of_its_own(tmp_path: Path) -> None:
    solved(tmp_path, "dask", "--workers", "2")


@pytest.mark.slow
def test_a_worker_that_dies_twice_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask's cluster looks some seconds after a death, and ends a nanny whose worker is away just then."""
    made: list[Any] = []
    real = distributed.LocalCluster

    def make(*how: Any, **more: Any) -> Any:
        made.append(real(*how, **more))  # type: ignore[no-untyped-call]
        return made[-1]

    monkeypatch.setattr(distributed, "LocalCluster", make)

    def there() -> set[int]:
        known = made[-1].scheduler_info["workers"]
        nannies = [nanny for nanny in made[-1].workers.values() if nanny.worker_address in known]
        return {nanny.pid for nanny in nannies if nanny.pid}  # none while it restarts: it is known still

    def is_back(dead: int) -> bool:
        return len(there() - {dead}) == 2

    for looks in attempts(6.0):
        with (
            dask.config.set({"distributed.deploy.lost-worker-timeout": looks}),
            Running(Place("dask"), workers=2).executor(),
        ):
            nanny = made[-1].workers[0]
            first = nanny.pid
            os.kill(first, signal.SIGKILL)
            looked = time.monotonic() + looks
            assert until(lambda dead=first: is_back(dead))
            second = nanny.pid
            if time.monotonic() > looked - 0.3:
                continue
            time.sleep(looked - 0.3 - time.monotonic())
            os.kill(second, signal.SIGKILL)
            assert until(lambda dead=second: is_back(dead))
            return
    pytest.fail("the machine is too busy for this test")
