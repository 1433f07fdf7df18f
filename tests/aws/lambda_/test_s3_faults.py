"""The fault table on Lambda, for what the store does: all reach it through a proxy that breaks requests."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import numpy as np
import pytest

import wrenla as wl
from tests.s3.fault_proxy import FaultProxy, Rule
from tests.s3.test_faults_of_runs import CALLS, FAULTS, LARGE
from wrenla.emulator import LambdaEmulator
from wrenla_handler.stores.s3.client import close_clients
from wrenla_handler.stores.urls import open_store

from .system import general, matrix, n

EVERY_DAY = {"answer lost": "solution"}
"""What meets which fault; the others take too long for that."""


def rows(what: str) -> pytest.MarkDecorator:
    """Let a test have all faults, but for one with the slow tests."""
    marks = {name: [] if EVERY_DAY.get(name) == what else [pytest.mark.slow] for name in FAULTS}
    return pytest.mark.parametrize(
        "rules", [pytest.param(name, marks=marks[name]) for name in FAULTS], indirect=True
    )


@pytest.fixture(scope="module")
def proxy(aws: LambdaEmulator) -> Iterator[FaultProxy]:
    """A proxy before the store, for the function and for us."""
    client = boto3.session.Session().client("lambda")
    variables = client.get_function_configuration(FunctionName=aws.function)["Environment"]["Variables"]
    with FaultProxy(aws.s3_url) as started, pytest.MonkeyPatch.context() as patch:
        environment = {"Variables": variables | {"AWS_ENDPOINT_URL_S3": started.url}}
        client.update_function_configuration(FunctionName=aws.function, Environment=environment)
        patch.setenv("AWS_ENDPOINT_URL_S3", started.url)
        yield started
        client.update_function_configuration(FunctionName=aws.function, Environment={"Variables": variables})
        close_clients()
    client.close()


@pytest.fixture(params=FAULTS)
def rules(request: pytest.FixtureRequest) -> list[Rule]:
    """A fault, at some of the requests of each kind that it can happen to."""
    return FAULTS[request.param]()


@pytest.fixture
def broken(proxy: FaultProxy, rules: list[Rule], nothing_left: str) -> Iterator[str]:
    """Where matrices go; requests break from now on."""
    proxy.start_over(*rules)
    yield f"{nothing_left}/kept"
    assert any(rule.fired for rule in rules)
    proxy.start_over()


@rows("factorization")
def test_factorization(
    broken: str, executor: wl.LambdaExecutor, expected: tuple[np.ndarray, np.ndarray], proxy: FaultProxy
) -> None:
    L = matrix().cholesky().save(f"{broken}/L", executor)
    proxy.start_over()
    assert L.compute(executor).tobytes() == expected[0].tobytes()
    assert {key.partition("/")[0] for key in open_store(broken).list()} == {"L"}


@rows("solution")
def test_solution(broken: str, executor: wl.LambdaExecutor, expected: tuple[np.ndarray, np.ndarray]) -> None:
    assert matrix().solve(np.ones(n)).compute(executor).tobytes() == expected[1].tobytes()


@pytest.mark.slow
def test_solution_by_lu(
    broken: str, executor: wl.LambdaExecutor, expected_of_lu: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    """A fault in the middle of a bundle, or of a range of it."""
    x = wl.linalg.solve(general(), np.ones(n), assume_a="gen").compute(executor)
    assert x.tobytes() == expected_of_lu[2].tobytes()


@pytest.mark.slow
def test_calls(broken: str, executor: wl.LambdaExecutor) -> None:
    results = executor.map(lambda k: np.full(LARGE, float(k)), range(CALLS))
    assert all(np.array_equal(x, np.full(LARGE, float(k))) for k, x in enumerate(results))
