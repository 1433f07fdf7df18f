"""A bucket behind a proxy that breaks requests."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.settings import own_settings_in
from wrenla_handler.stores.s3.client import close_clients

from .fault_proxy import FaultProxy

REAL_S3 = "TEST_S3_ENDPOINT" in os.environ


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's settings but ours."""
    own_settings_in(tmp_path, monkeypatch, store="store")


@pytest.fixture(scope="module")
def proxy(s3_endpoint: str) -> Iterator[FaultProxy]:
    """A proxy in front of the S3 server; making a client takes longer than a test, so it stays."""
    with FaultProxy(s3_endpoint) as started:
        yield started
        close_clients()


@pytest.fixture
def bucket(s3_bucket: str, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty bucket, which everybody reaches through the proxy; it passes everything until it has rules."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
    proxy.start_over()
    yield s3_bucket
    proxy.start_over()


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was slept between attempts, which here takes no time."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    return pauses
