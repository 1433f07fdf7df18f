"""`wrenla solve --executor lambda`: from files to the function, and matrices on S3."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import wrenla as wl
from wrenla.cli.main import main
from wrenla.emulator import LambdaEmulator
from wrenla_handler.stores.urls import open_store


def wrenla(*arguments: str) -> dict[str, object]:
    done = CliRunner().invoke(main, [*arguments, "--json"])
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


@pytest.mark.slow
def test_solve_on_the_function(aws: LambdaEmulator, nothing_left: str, tmp_path: Path) -> None:
    A = np.random.default_rng(0).standard_normal((60, 60))
    np.save(tmp_path / "A.npy", A)
    np.save(tmp_path / "b.npy", A[0])
    on_lambda = ["--executor", f"lambda:{aws.function}", "--workers", "2", "--max-dollars", "1"]
    stored, x = f"{nothing_left}/A", str(tmp_path / "x.npy")
    wrenla("cp", str(tmp_path / "A.npy"), stored, "--tile", "20")
    assert wrenla("info", stored)["tiles"] == 9
    said = wrenla("solve", stored, str(tmp_path / "b.npy"), "-o", x, *on_lambda)
    assert str(said["executor"]).startswith("LambdaExecutor(")
    assert np.allclose(A @ np.load(x), A[0])
    wrenla("matmul", stored, x, "-o", f"{nothing_left}/b", *on_lambda)
    assert np.allclose(wl.open(f"{nothing_left}/b").compute(), A[0])
    for name in ("A", "b"):
        place = open_store(f"{nothing_left}/{name}")
        for key in list(place.list()):
            place.delete(key)
