"""The fault table on Lambda: whatever the service does, the right result or an error with a name."""

from __future__ import annotations

import gc
import time
from collections.abc import Collection

import numpy as np
import pytest

import wrenla as wl
from tests.waiting import slowed
from wrenla.emulator import LambdaEmulator
from wrenla.errors import Lost, WorkerDied

from .system import general, matrix, n

CALLS = 80

FAULTS = {
    "throttle 30 %": {"kind": "throttle", "share": 0.3, "seed": 1},
    "kill before": {"kind": "kill-before", "calls": (3, 12)},
    "kill during": {"kind": "kill-during", "calls": (3, 12), "seconds": 0.001},
    "kill after": {"kind": "kill-after", "calls": (3, 12)},
    "straggler × 20": {"kind": "delay", "calls": (5,), "seconds": 3.0},
    "duplicate": {"kind": "answer-twice", "share": 0.2, "seed": 2},
    "connection dropped": {"kind": "drop-connection", "calls": (4, 11)},
}

_NOT_IDEMPOTENT = {"kill before", "kill during", "kill after", "connection dropped"}
"""What a function may have begun before, so that only those calls are tried again of which that is said."""


EVERY_DAY_OF_LU = ("kill after",)
EVERY_DAY_OF_IDEMPOTENT_CALLS = ("connection dropped",)
EVERY_DAY_OF_CHOLESKY = ("kill during", "duplicate")
"""The others take too long for that. Each is a row of every day of `test_map`, which has all."""


def every_day(names: Collection[str]) -> pytest.MarkDecorator:
    """Let a test have all faults, those that are not named with the slow tests."""
    rows = [pytest.param(name, marks=[] if name in names else [pytest.mark.slow]) for name in FAULTS]
    return pytest.mark.parametrize("fault", rows, indirect=True)


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest, aws: LambdaEmulator) -> str:
    """One row of the table; the rules begin to count now."""
    aws.faults(FAULTS[request.param])
    name: str = request.param
    return name


@pytest.fixture
def warm(executor: wl.LambdaExecutor) -> wl.LambdaExecutor:
    """What has answered its ping already, so that faults hit calls."""
    assert executor.submit(abs, -1).result(60) == 1
    return executor


@every_day(EVERY_DAY_OF_IDEMPOTENT_CALLS)
def test_map_of_idempotent_calls(warm: wl.LambdaExecutor, aws: LambdaEmulator, fault: str) -> None:
    before = aws.counts()["faults"]
    start = time.monotonic()
    results = list(warm.options(idempotent=True).map(lambda x: x * x, range(CALLS)))
    assert results == [x * x for x in range(CALLS)]
    assert aws.counts()["faults"] > before
    assert time.monotonic() - start < slowed(60)


def test_map(warm: wl.LambdaExecutor, aws: LambdaEmulator, fault: str) -> None:
    results = list(warm.map(lambda x: x * x, range(CALLS), return_exceptions=True))
    wrong = [(x, y) for x, y in enumerate(results) if y != x * x]
    if fault in _NOT_IDEMPOTENT:
        assert len(wrong) == 2
        assert all(isinstance(error, WorkerDied | Lost) for _, error in wrong)
    else:
        assert wrong == []


@every_day(EVERY_DAY_OF_CHOLESKY)
def test_cholesky(
    warm: wl.LambdaExecutor, aws: LambdaEmulator, fault: str, expected: tuple[np.ndarray, np.ndarray]
) -> None:
    A = matrix()
    before, throttles = aws.counts()["faults"], warm.stats().throttles
    assert A.cholesky().compute(warm).tobytes() == expected[0].tobytes()
    assert aws.counts()["faults"] > before
    assert (warm.stats().throttles > throttles) == fault.startswith("throttle")


@pytest.mark.slow
def test_solve(
    warm: wl.LambdaExecutor, aws: LambdaEmulator, fault: str, expected: tuple[np.ndarray, np.ndarray]
) -> None:
    A = matrix()
    assert A.solve(np.ones(n)).compute(warm).tobytes() == expected[1].tobytes()


@every_day(EVERY_DAY_OF_LU)
def test_lu(
    warm: wl.LambdaExecutor,
    aws: LambdaEmulator,
    fault: str,
    expected_of_lu: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """A panel's tiles and its pivots are one object: there together, and once."""
    factor = wl.linalg.lu_factor(general())
    before = aws.counts()["faults"]
    found = factor.lu.compute(warm), factor.piv(warm)
    assert aws.counts()["faults"] > before
    assert [array.tobytes() for array in found] == [array.tobytes() for array in expected_of_lu[:2]]
    del factor
    gc.collect()  # with it go its tiles
