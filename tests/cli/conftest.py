"""A folder with small matrices of each kind, and the command line in this process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from click.testing import CliRunner, Result

import wrenla as wl
from tests.settings import own_settings_in
from wrenla.cli.main import main

N = 40

Wrenla: TypeAlias = Callable[..., Result]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of matrices that no test changes."""
    import zarr

    folder = tmp_path_factory.mktemp("matrices")
    r = np.random.default_rng(0)
    A = r.standard_normal((N, N))
    K = A @ A.T + N * np.eye(N)
    with_nan, one_zero, not_pos = A.copy(), K.copy(), K - 2 * N * np.eye(N)
    with_nan[3, 4] = np.nan
    one_zero[5] = one_zero[:, 5] = 0
    arrays = {
        "A": A,
        "K": K,
        "b": A[0],
        "y": A[1],
        "B": A[:, :3].copy(),
        "L": np.tril(A) + N * np.eye(N),
        "Z": A + 1j * A.T,
        "H": A + A.T + 1j * (A - A.T),
        "rectangular": A[:, :7].copy(),
        "short": A[0, :7].copy(),
        "cube": A.reshape(2, 20, 40),
        "nan": with_nan,
        "singular": one_zero,
        "indefinite": not_pos,
        "text": np.array(["a"]),
        "half": A.astype(np.float16),
        "number": np.array(3.0),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    zarr.create_array(str(folder / "A.zarr"), data=A, chunks=(16, 16))
    zarr.create_array(str(folder / "K.zarr"), data=K, chunks=(8, 40), zarr_format=2)
    zarr.create_group(str(folder / "group.zarr")).create_array("K", data=K, chunks=(20, 20))
    (folder / "lines.txt").write_text("one two\nthree\n")
    (folder / "words.py").write_text("def count(line):\n    return len(line.split())\n")
    np.savez(folder / "all.npz", A=A)
    with wl.LocalExecutor(2, allowed_mem="1 GiB") as executor:
        wl.from_array(K, tile=20).gram().compute(executor, record=folder / "run.jsonl")
        wl.from_array(K, tile=20).cholesky().save(folder / "lower.zarr", executor)
        wl.linalg.cho_factor(wl.from_array(K, tile=20)).save(folder / "factor.zarr", executor)
    (folder / "damaged.zarr").mkdir()
    (folder / "damaged.zarr" / "zarr.json").write_text("{zarr")
    (folder / "damaged.jsonl").write_text((folder / "run.jsonl").read_text().replace('"time":', '"when":'))
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, which has them, and nobody's settings."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    own_settings_in(tmp_path, monkeypatch, store="store")
    monkeypatch.setenv("WRENLA_WORKERS", "2")
    monkeypatch.setenv("WRENLA_ALLOWED_MEM", "1 GiB")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def wrenla(folder: Path) -> Wrenla:
    """The command line; an error that it has not caught is one of the test."""

    def invoke(*arguments: str, env: dict[str, str] | None = None) -> Result:
        result = CliRunner().invoke(main, list(arguments), env=env, prog_name="wrenla")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return invoke


def document(result: Result) -> Any:
    """Return the one JSON document on standard output."""
    (line,) = result.stdout.splitlines()
    return json.loads(line)
