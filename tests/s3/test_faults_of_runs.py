"""Calls, factorizations and solves whose store breaks requests: the same bits, and nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import wrenla as wl
from wrenla.run.events import Event, RunFinished
from wrenla_handler.stores.s3.client import close_clients
from wrenla_handler.stores.urls import open_store

from .fault_proxy import Cut, Drop, Fault, FaultProxy, Request, Rule, Slow, s3_error

TILE, N = 24, 5
n, m = TILE * N - 5, TILE * 8 - 5
CALLS = 30
LARGE = 40_000  # float64 numbers: more than a message holds
AT = (1, 6, 20)


def reads(request: Request) -> bool:
    return request.method == "GET"


def writes(request: Request) -> bool:
    return request.method == "PUT"


def creates(request: Request) -> bool:
    return writes(request) and "if-none-match" in request.headers


def drops(request: Request) -> bool:
    return request.method == "DELETE"


def on(fault: Fault, *kinds: object) -> list[Rule]:
    return [Rule(fault, kind, AT) for kind in kinds]  # type: ignore[arg-type]


FAULTS = {
    "500": lambda: on(s3_error(500, "InternalError"), reads, writes, drops),
    "503": lambda: on(s3_error(503, "SlowDown"), reads, writes, drops),
    "slow": lambda: on(Slow(0.3), reads, writes, drops),
    "dropped": lambda: on(Drop("before"), reads, writes, drops),
    "dropped within": lambda: on(Drop("within"), writes),
    "answer lost": lambda: on(Drop("after"), reads, creates, drops),
    "cut": lambda: on(Cut(1000), reads),
    "cut to nothing": lambda: on(Cut(0), reads),
    "cut in its head": lambda: on(Cut(None), reads, writes, drops),
}


VARIANTS = ("dropped within", "cut to nothing", "cut in its head")
"""What the stores' own table has as well: here they take too long for every day."""

OF_CALLS = [
    pytest.param(name, marks=[] if name in ("503", "answer lost") else [pytest.mark.slow])
    for name in FAULTS
    if name not in VARIANTS
]
"""Each starts two processes, which load boto3."""

OF_SOLVES = [
    pytest.param(name, marks=[] if name in ("503", "answer lost", "cut") else [pytest.mark.slow])
    for name in FAULTS
]
"""The others are those of a factorization, whose requests are the same."""


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.slow] if name in VARIANTS else []) for name in FAULTS]
)
def rules(request: pytest.FixtureRequest) -> list[Rule]:
    """A fault, at some of the requests of each kind that it can happen to."""
    return FAULTS[request.param]()


@pytest.fixture
def url(bucket: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket, in which temporaries have a place."""
    monkeypatch.setenv("WRENLA_STORE", f"s3://{bucket}/tmp")
    return f"s3://{bucket}"


@pytest.fixture
def executor() -> Iterator[wl.LocalExecutor]:
    with wl.LocalExecutor(2, allowed_mem="600 MiB") as made:
        yield made


def entries(i: np.ndarray, j: np.ndarray) -> np.ndarray:
    return 0.9 ** abs(i[:, None] - j)


def matrix() -> wl.BigMatrix:
    return wl.from_function(entries, (n, n), TILE, structure="pos")


@pytest.fixture(scope="module")
def expected() -> tuple[np.ndarray, np.ndarray]:
    """The factor and the solution, computed in memory."""
    with pytest.MonkeyPatch.context() as patch, wl.LocalExecutor(2, allowed_mem="600 MiB") as made:
        patch.setenv("WRENLA_STORE", "memory://expected")
        A = matrix()
        return A.cholesky().compute(made), A.solve(np.ones(n)).compute(made)


def general() -> wl.BigMatrix:
    """8 × 8 tiles, the last ones ragged; rows are exchanged across all of them."""
    return wl.random((m, m), tile=TILE, seed=1)


@pytest.fixture(scope="module")
def expected_of_lu() -> np.ndarray:
    """Its solution, computed in memory."""
    with pytest.MonkeyPatch.context() as patch, wl.LocalExecutor(2, allowed_mem="600 MiB") as made:
        patch.setenv("WRENLA_STORE", "memory://expected-of-lu")
        return np.asarray(general().solve(np.ones(m), "gen").compute(made))


def test_cholesky_survives_faults(
    url: str,
    executor: wl.LocalExecutor,
    proxy: FaultProxy,
    rules: list[Rule],
    expected: tuple[np.ndarray, np.ndarray],
    slept: list[float],
) -> None:
    A = matrix().save(f"{url}/A", executor)
    plan = wl.plan(A.cholesky(), executor=executor)
    events: list[Event] = []
    proxy.start_over(*rules)
    L = A.cholesky().save(f"{url}/L", executor, callbacks=[events.append])
    assert all(rule.fired for rule in rules)
    proxy.start_over()
    assert L.compute(executor).tobytes() == expected[0].tobytes()
    last = next(event for event in reversed(events) if isinstance(event, RunFinished))
    assert isinstance(last, RunFinished)
    assert last.totals.puts == last.totals.tasks == plan.tasks
    assert last.totals.gets + last.totals.cache_hits == plan.reads
    assert {key.partition("/")[0] for key in open_store(url).list()} == {"A", "L"}


@pytest.mark.slow
def test_general_solve_survives_faults(
    url: str,
    executor: wl.LocalExecutor,
    proxy: FaultProxy,
    rules: list[Rule],
    expected_of_lu: np.ndarray,
    slept: list[float],
) -> None:
    """A fault in the middle of a bundle, or of a range of it."""
    b = wl.from_array(np.ones(m), tile=TILE).save(f"{url}/b", executor)
    x = general().save(f"{url}/A", executor).solve(b, "gen")
    plan = wl.plan(x, executor=executor)
    events: list[Event] = []
    proxy.start_over(*rules)
    found = x.compute(executor, callbacks=[events.append])
    assert all(rule.fired for rule in rules)
    proxy.start_over()
    assert found.tobytes() == expected_of_lu.tobytes()
    last = next(event for event in reversed(events) if isinstance(event, RunFinished))
    assert isinstance(last, RunFinished)
    assert last.totals.puts == last.totals.tasks == plan.tasks
    # the vectors with which the condition is estimated are in memory
    assert last.totals.gets + last.totals.cache_hits == plan.reads - 8
    assert {key.partition("/")[0] for key in open_store(url).list()} == {"A", "b"}


@pytest.mark.parametrize("rules", OF_SOLVES, indirect=True)
def test_solve_survives_faults(
    url: str,
    executor: wl.LocalExecutor,
    proxy: FaultProxy,
    rules: list[Rule],
    expected: tuple[np.ndarray, np.ndarray],
    slept: list[float],
) -> None:
    A = matrix().save(f"{url}/A", executor)
    proxy.start_over(*rules)
    x = A.solve(np.ones(n)).compute(executor)
    assert all(rule.fired for rule in rules)
    assert x.tobytes() == expected[1].tobytes()
    proxy.start_over()
    assert {key.partition("/")[0] for key in open_store(url).list()} == {"A"}


@pytest.mark.parametrize("rules", OF_CALLS, indirect=True)
def test_calls_survive_faults(url: str, proxy: FaultProxy, rules: list[Rule]) -> None:
    proxy.start_over(*rules)
    with wl.LocalExecutor(2, allowed_mem="600 MiB") as executor:
        results = executor.map(lambda k: np.full(LARGE, float(k)), range(CALLS))
        assert all(np.array_equal(x, np.full(LARGE, float(k))) for k, x in enumerate(results))
        assert len({request.target for request in proxy.requests if writes(request)}) >= CALLS
    assert all(rule.fired for rule in rules)
    proxy.start_over()
    assert list(open_store(url).list()) == []
    close_clients()
