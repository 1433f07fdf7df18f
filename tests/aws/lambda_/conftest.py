"""The Lambda emulator with wrenla's own function, started once for all these tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import wrenla as wl
from tests.algebra import gallery
from tests.settings import forget_settings
from tests.waiting import until
from wrenla.emulator import LambdaEmulator
from wrenla_handler.stores.s3.client import close_clients
from wrenla_handler.stores.urls import open_store

from .system import general, matrix, n

WORKERS = 4


@pytest.fixture(scope="package")
def aws() -> Iterator[LambdaEmulator]:
    """The emulator; the environment of this process points to it."""
    with pytest.MonkeyPatch.context() as patch:
        forget_settings(patch)
        with LambdaEmulator(memory=1024, timeout=60) as started:
            yield started
            close_clients()


@pytest.fixture(autouse=True)
def nothing_left(aws: LambdaEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of the function's place, which is empty before and after each test."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    root = f"s3://{aws.bucket}/{aws.prefix}"
    yield root
    aws.faults()
    # a call that the service has made twice may end after its run: then it removes again what it has written
    until(lambda: not left(root))
    found = left(root)
    for key in open_store(root).list():
        open_store(root).delete(key)
    assert found == []


def left(root: str) -> list[str]:
    """Return what is there and was not to be kept."""
    return [key for key in open_store(root).list() if not key.startswith("kept/")]


@pytest.fixture
def executor(aws: LambdaEmulator) -> Iterator[wl.LambdaExecutor]:
    """Four invocations at a time."""
    with wl.LambdaExecutor(concurrency=WORKERS) as made:
        yield made


@pytest.fixture(scope="package")
def expected() -> tuple[np.ndarray, np.ndarray]:
    """The factor and the solution, computed in memory."""
    with pytest.MonkeyPatch.context() as patch, wl.LocalExecutor(2, allowed_mem="600 MiB") as made:
        patch.setenv("WRENLA_STORE", "memory://expected")
        return matrix().cholesky().compute(made), matrix().solve(np.ones(n)).compute(made)


@pytest.fixture(scope="package")
def expected_of_lu() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """L and U in one, the pivots, and the solution, computed in memory; they are right."""
    with pytest.MonkeyPatch.context() as patch, wl.LocalExecutor(2, allowed_mem="600 MiB") as made:
        patch.setenv("WRENLA_STORE", "memory://expected-of-lu")
        A, b = general(), np.ones(n)
        factor = wl.linalg.lu_factor(A)
        a, lu, piv, x = (
            A.compute(made),
            factor.lu.compute(made),
            factor.piv(made),
            A.solve(b, "gen").compute(made),
        )
    assert gallery.lu_error(a, lu, piv) < gallery.LU_GATE
    assert gallery.solve_error(a, x, b) < gallery.SOLVE_GATE
    return lu, piv, x
