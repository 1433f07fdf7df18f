"""A stub of AWS Lambda with S3 beside it, and the certainty that nothing is left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

import wrenla as wl
from tests.settings import own_settings_in
from tests.waiting import until
from wrenla_handler.stores.s3.client import _owners
from wrenla_handler.stores.urls import open_store

from .stub import Endpoint, endpoint

Make = Callable[..., wl.LambdaExecutor]


@pytest.fixture
def lambda_environment(s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Credentials that nobody may see, and a bucket."""
    own_settings_in(tmp_path, monkeypatch)
    yield s3_bucket
    _owners.pop(s3_bucket, None)


@pytest.fixture
def stub(lambda_environment: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    """The endpoint; no thread of ours outlives a test."""
    threads = set(threading.enumerate())
    with endpoint(lambda_environment) as made:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", made.url)
        yield made
        until(lambda: not ours(threads))
        assert ours(threads) == []


@pytest.fixture(scope="session")
def boto_session() -> Any:
    """A session for all: what takes long when a client is made is to read what the service is like."""
    return boto3.session.Session("test", "test", region_name="us-east-1")


@pytest.fixture
def make(stub: Endpoint, boto_session: Any) -> Iterator[Make]:
    """Make executors that are ended with the test; nothing of theirs is left in the bucket."""
    made: list[wl.LambdaExecutor] = []

    def executor(**options: object) -> wl.LambdaExecutor:
        made.append(wl.LambdaExecutor(session=boto_session, **options))  # type: ignore[arg-type]
        return made[-1]

    yield executor
    for each in made:
        each.calls.stop(grace=0.0)
        each.shutdown()
    keys = [key for each in made for key in open_store(each.own_store).list()]
    assert keys == []


def ours(before: set[threading.Thread]) -> list[threading.Thread]:
    """Threads that this package has begun."""
    return [
        thread
        for thread in set(threading.enumerate()) - before
        if thread.name.startswith(("calls-", "wrenla-")) or "_renew" in thread.name
    ]
