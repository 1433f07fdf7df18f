"""Factorizations by functions take the requests to S3 that their plans say, and no others.

Functions sign with the keys of their role, which nobody but the emulator knows: the proxy signs anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import numpy as np
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import wrenla as wl
from tests.waiting import without_copies
from wrenla.emulator import LambdaEmulator
from wrenla_handler.stores.s3.client import close_clients
from wrenla_handler.stores.urls import open_store

from .fault_proxy import FaultProxy, Request
from .test_counts import TILE, U, check_lu, general, n, saved


class KnownSigner(S3SigV4Auth):
    """Signs requests whose body has been hashed, or left unsigned, by whoever has sent them."""

    def __init__(self, keys: Credentials, digest: str) -> None:
        super().__init__(keys, "s3", "us-east-1")
        self._digest = digest

    def payload(self, request: AWSRequest) -> str:
        return self._digest


def signed(request: Request) -> Mapping[str, str]:
    """Return the headers of a request as if the server's own user had sent it."""
    keys = Credentials(
        os.environ.get("TEST_S3_ACCESS_KEY", "test"), os.environ.get("TEST_S3_SECRET_KEY", "test")
    )
    replaced = ("authorization", "x-amz-date", "x-amz-security-token")
    kept = {name: value for name, value in request.headers.items() if name not in replaced}
    anew = AWSRequest(request.method, f"http://{kept['host']}{request.target}", headers=kept)
    KnownSigner(keys, kept["x-amz-content-sha256"]).add_auth(anew)
    return dict(anew.headers.items())


@pytest.fixture
def proxy(s3_endpoint: str) -> Iterator[FaultProxy]:
    """What everybody reaches S3 through, whatever keys he has."""
    with FaultProxy(s3_endpoint, signed) as started:
        yield started
        close_clients()


@pytest.fixture
def executor(
    proxy: FaultProxy, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[wl.LambdaExecutor]:
    """Functions that keep their tiles in S3, not in what the emulator has beside it."""
    environment = {"AWS_ENDPOINT_URL_S3": proxy.url}
    with LambdaEmulator(memory=1769, environment=environment) as aws:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        monkeypatch.delenv("WRENLA_STORE")  # temporaries go into the bucket, as is usual on Lambda
        close_clients()
        with wl.LambdaExecutor(aws.function, bucket=s3_bucket, concurrency=4) as made:
            without_copies(made)
            yield made
        close_clients()


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["dataflow", "waves"])
def test_requests_are_those_of_the_plan(
    schedule: str, proxy: FaultProxy, executor: wl.LambdaExecutor, s3_bucket: str
) -> None:
    def entries(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return 0.9 ** abs(i[:, None] - j)

    A = wl.from_function(entries, (n, n), TILE, structure="pos").save(f"s3://{s3_bucket}/A", executor)
    L = saved(A.cholesky(), f"s3://{s3_bucket}/L", proxy, executor, schedule)
    low = L.compute(executor)
    a = np.fromfunction(lambda i, j: 0.9 ** abs(i - j), (n, n))
    assert np.linalg.norm(a - low @ low.T, 1) / (n * np.linalg.norm(a, 1) * U) <= 1
    assert {key.partition("/")[0] for key in open_store(f"s3://{s3_bucket}").list()} == {"A", "L"}


@pytest.mark.slow
def test_requests_of_lu_are_those_of_the_plan(
    proxy: FaultProxy, executor: wl.LambdaExecutor, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the bits are those of threads."""
    found = check_lu(f"s3://{s3_bucket}", proxy, executor, "dataflow")
    monkeypatch.setenv("WRENLA_STORE", "memory://lu-in-threads")
    with wl.LocalExecutor(2, allowed_mem="1 GiB") as threads:
        factor = wl.linalg.lu_factor(general())
        expected = np.vstack([factor.lu.compute(threads), factor.piv(threads)])
        del factor
    assert found.tobytes() == expected.tobytes()
