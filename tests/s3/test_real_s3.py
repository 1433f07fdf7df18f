"""What a stand-in does not do: check signatures, and refuse requests because there are too many."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla_handler.errors import StoreError
from wrenla_handler.stores.s3.client import shared_client
from wrenla_handler.stores.s3.store import S3Store
from wrenla_handler.stores.urls import open_store

from .conftest import REAL_S3

pytestmark = pytest.mark.skipif(not REAL_S3, reason="needs the S3 server that `make test-s3` starts")


@pytest.mark.parametrize(
    ("variable", "value"), [("AWS_SECRET_ACCESS_KEY", "wrong"), ("AWS_ACCESS_KEY_ID", "nobody")]
)
def test_wrong_credentials_are_an_error_of_one_line(
    variable: str, value: str, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    store = S3Store(s3_bucket)
    for call in (
        lambda: store.get("key"),
        lambda: store.put("key", b"", create=True),
        lambda: list(store.list("key")),
        lambda: store.delete("key"),
    ):
        with pytest.raises(StoreError) as caught:
            call()
        assert type(caught.value) is StoreError
        assert str(caught.value) == (
            f"s3://{s3_bucket}: the credentials are not accepted; "
            "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile (AWS_PROFILE, or --profile "
            "where a command has it)"
        )


def test_wrong_credentials_end_a_run_at_once(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with (
        wl.LocalExecutor(2, allowed_mem="600 MiB") as executor,
        pytest.raises(StoreError, match="not accepted; check AWS_ACCESS_KEY_ID"),
    ):
        wl.eye(100, tile=10).save(f"s3://{s3_bucket}/A", executor)


def test_many_creators_of_many_keys_have_one_winner_each(s3_bucket: str) -> None:
    store, rounds, writers = S3Store(s3_bucket, "race"), 20, 16
    start = threading.Barrier(writers)

    def write(writer: int) -> list[int]:
        won = []
        for number in range(rounds):
            start.wait()
            if store.put(f"{number}", bytes([writer]) * 50_000, create=True):
                won.append(number)
        return won

    with ThreadPoolExecutor(writers) as pool:
        winners = {
            number: writer for writer, won in enumerate(pool.map(write, range(writers))) for number in won
        }
    assert sorted(winners) == list(range(rounds))
    for number, writer in winners.items():
        assert store.get(f"{number}") == bytes([writer]) * 50_000
    store.close()


@pytest.fixture
def statuses(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[int]]:
    """What the gateway that takes two requests at a time answers, to whoever in this process asks it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", os.environ["TEST_S3_SLOW_ENDPOINT"])
    found: Counter[int] = Counter()

    def count(response_dict: dict[str, Any] | None, **_: Any) -> None:
        found[response_dict["status_code"] if response_dict else 0] += 1

    shared_client().meta.events.register("response-received.s3", count, unique_id="count")
    yield found
    shared_client().meta.events.unregister("response-received.s3", unique_id="count")


def test_503_slow_down_is_survived(s3_bucket: str, statuses: Counter[int]) -> None:
    store = S3Store(s3_bucket, "slow")
    content = np.random.default_rng(0).bytes(500_000)

    def work(number: int) -> bool:
        return store.put(f"{number}", content, create=True) and store.get(f"{number}") == content

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(100)))
    assert statuses[503] > 0
    assert len(list(store.list())) == 100


def test_a_run_survives_503_slow_down(
    s3_bucket: str, statuses: Counter[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRENLA_STORE", f"s3://{s3_bucket}/tmp")
    with wl.LocalExecutor(4, allowed_mem="600 MiB") as executor:
        A = wl.random((800, 800), tile=100, seed=3).gram().shift(800.0)
        L = A.cholesky().save(f"s3://{s3_bucket}/L", executor)
        assert statuses[503] > 0
        assert np.array_equal(L.compute(executor), A.cholesky().compute(executor))
    assert {key.partition("/")[0] for key in open_store(f"s3://{s3_bucket}").list()} == {"L"}


def test_lu_survives_503_slow_down(
    s3_bucket: str, statuses: Counter[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRENLA_STORE", f"s3://{s3_bucket}/tmp")
    A, b = wl.random((795, 795), tile=100, seed=3), np.ones(795)
    with wl.LocalExecutor(4, allowed_mem="600 MiB") as executor:
        x = A.solve(b, "gen").compute(executor)
        assert statuses[503] > 0
        monkeypatch.setenv("WRENLA_STORE", "memory://lu-without-503")
        assert np.array_equal(x, A.solve(b, "gen").compute(executor))
    assert list(open_store(f"s3://{s3_bucket}").list()) == []


def test_solution_by_butterflies_is_the_same(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    A, b = wl.random((395, 395), tile=100, seed=3), np.ones(395)
    systems = A.solve(b, "gen", method="rbt"), wl.linalg.ldl_factor(A + A.T).solve(b)
    with wl.LocalExecutor(4, allowed_mem="600 MiB") as executor:
        expected = wl.compute(*systems, executor=executor)
        monkeypatch.setenv("WRENLA_STORE", f"s3://{s3_bucket}/tmp")
        for x, found in zip(expected, wl.compute(*systems, executor=executor), strict=True):
            assert np.array_equal(x, found)
    assert list(open_store(f"s3://{s3_bucket}").list()) == []
