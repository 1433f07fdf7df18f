"""What does not fit into messages of calls, on S3: workers are other processes, so it really travels."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

import wrenla as wl
from wrenla_handler.stores.s3.client import close_clients
from wrenla_handler.stores.urls import open_store


@pytest.fixture
def url(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A prefix for temporaries."""
    url = f"s3://{s3_bucket}/temporaries"
    monkeypatch.setenv("WRENLA_STORE", url)
    yield url
    close_clients()


def left(url: str) -> list[str]:
    return [key for key in open_store(url).list() if "/wrenla-lease/" not in key]


def test_large_arguments_results_and_broadcasts(url: str) -> None:
    array = np.arange(200_000.0)
    with wl.LocalExecutor(2, allowed_mem="600 MiB") as executor:
        doubled = executor.submit(lambda a: 2 * a, array).result(timeout=60)
        assert np.array_equal(doubled, 2 * array)
        assert doubled.flags.writeable
        assert left(url) == []  # as soon as nobody needs it
        ref = executor.broadcast(array)
        found = list(executor.map(lambda k, a: float(a[k]), range(20), itertools.repeat(ref)))
        assert found == list(map(float, range(20)))
        assert executor.stats().gets <= 4  # the argument, and the broadcast once for each worker
        assert len(left(url)) == 1
    assert list(open_store(url).list()) == []


def test_intermediate_results_of_a_reduction(url: str) -> None:
    with wl.LocalExecutor(2, allowed_mem="600 MiB") as executor:
        future = executor.map_reduce(lambda k: np.full(60_000, float(k)), range(9), sum, fan_in=3)
        assert np.array_equal(future.result(timeout=60), np.full(60_000, 36.0))
        assert left(url) == []
    assert list(open_store(url).list()) == []


def test_objects_stored_by_functions_are_shared_and_removed(url: str) -> None:
    with wl.LocalExecutor(2, allowed_mem="600 MiB") as executor:
        assert all(executor.map(lambda k: wl.store().put(f"seen/{k}", b"yes"), range(3)))
        assert list(executor.store().list("seen/")) == ["seen/0", "seen/1", "seen/2"]
    assert list(open_store(url).list()) == []


def test_no_bucket_is_an_error_at_once(s3_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRENLA_STORE", "s3://there-is-no-such-bucket/x")
    with wl.LocalExecutor(1, allowed_mem="600 MiB") as executor:
        error = executor.submit(abs, 1).exception(timeout=60)
        assert isinstance(error, wl.WrenlaError)
        assert "there-is-no-such-bucket" in str(error)
    close_clients()
