"""`wrenla solve --executor dask`: on the cluster of these tests, and on one that it starts itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from wrenla.cli.main import main


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
