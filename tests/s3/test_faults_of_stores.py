"""Each request of a store, broken in each way on the wire: the right answer, or the error that says why."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from wrenla_handler.errors import TransientStoreError
from wrenla_handler.stores.s3.store import S3Store

from .fault_proxy import Cut, Drop, Fault, FaultProxy, Rule, Slow, s3_error

CONTENT = bytes(range(256)) * 400
NEW = CONTENT[::-1]

FAULTS: dict[str, Fault] = {
    "500": s3_error(500, "InternalError"),
    "503": s3_error(503, "SlowDown"),
    "slow": Slow(0.2),
    "dropped before": Drop("before"),
    "dropped within": Drop("within"),
    "answer lost": Drop("after"),
    "cut": Cut(20),
    "cut to nothing": Cut(0),
    "cut in its head": Cut(None),
}

KEYS = ["a/0", "a/1", "a/2", "b"]

OPERATIONS: dict[str, tuple[Callable[[S3Store], Any], Any]] = {
    "get": (lambda store: bytes(store.get("a/0")), CONTENT),
    "get in parts": (
        lambda store: bytes(S3Store(store._bucket, "prefix", part_bytes=30_000).get("a/0")),
        CONTENT,
    ),
    "get a range": (lambda store: bytes(store.get("a/0", 7, 50_000)), CONTENT[7:50_000]),
    "put": (lambda store: (store.put("a/0", NEW), store.get("a/0") == NEW), (True, True)),
    "create": (lambda store: (store.put("new", NEW, create=True), store.get("new") == NEW), (True, True)),
    "create what stands": (
        lambda store: (store.put("a/0", NEW, create=True), store.get("a/0") == CONTENT),
        (False, True),
    ),
    "replace another owner's": (
        lambda store: (
            store.put_owned("a/0", NEW, "me", lambda: None),
            store.get("a/0") == NEW,
            store.owner("a/0"),
        ),
        (True, True, "me"),
    ),
    "list": (lambda store: list(store.list("a/")), KEYS[:3]),
    "scan": (lambda store: [(info.key, info.nbytes) for info in store.scan("b")], [("b", len(CONTENT))]),
    "owner": (lambda store: store.owner("a/0"), ""),
    "delete": (lambda store: (store.delete("a/0"), list(store.list())), (None, KEYS[1:])),
    "exists": (lambda store: (store.exists("a/0"), store.exists("a")), (True, False)),
    "size": (lambda store: store.size("a/0"), len(CONTENT)),
    "get what is missing": (lambda store: missing(store.get, "no"), True),
}


def missing(call: Callable[[str], Any], key: str) -> bool:
    try:
        call(key)
    except KeyError:
        return True
    return False


@pytest.fixture
def store(bucket: str) -> Iterator[S3Store]:
    store = S3Store(bucket, "prefix")
    for key in KEYS:
        store.put(key, CONTENT)
    yield store
    store.close()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_survives_every_fault(
    operation: str, fault: str, store: S3Store, proxy: FaultProxy, slept: list[float]
) -> None:
    call, expected = OPERATIONS[operation]
    first, third = Rule(FAULTS[fault]), Rule(FAULTS[fault], at=(3,))
    proxy.start_over(first, third)
    assert call(store) == expected
    assert first.fired == 1
    assert sum(slept) < 15


OPERATIONS_FOR_EVER = {
    "get": lambda store: store.get("a/0"),
    "put": lambda store: store.put("a/0", NEW),
    "create": lambda store: store.put("new", NEW, create=True),
    "list": lambda store: list(store.list("a/0")),
    "delete": lambda store: store.delete("a/0"),
    "exists": lambda store: store.exists("a/0"),
}

NO_ANSWER = "S3 did not answer: "
BROKEN_OFF = "S3 (answered 500 |did not answer: )"  # an answer in chunks says itself that it is cut
FOR_EVER: dict[str, dict[str, str]] = {
    "500": dict.fromkeys(OPERATIONS_FOR_EVER, "S3 answered 500 "),
    "503": dict.fromkeys(OPERATIONS_FOR_EVER, "S3 answered 503 "),
    "dropped before": dict.fromkeys(OPERATIONS_FOR_EVER, NO_ANSWER),
    "dropped within": dict.fromkeys(OPERATIONS_FOR_EVER, NO_ANSWER),
    "answer lost": dict.fromkeys(OPERATIONS_FOR_EVER, NO_ANSWER),
    "cut": {"get": "the answer broke off 4 times: after 20 of ", "list": BROKEN_OFF},
    "cut to nothing": {"get": "the answer broke off 4 times: after 0 of ", "list": BROKEN_OFF},
    "cut in its head": {"exists": BROKEN_OFF},
}


@pytest.mark.parametrize(("fault", "operation"), [(f, o) for f, found in FOR_EVER.items() for o in found])
def test_lasting_fault_is_transient_store_error_with_cause(
    operation: str, fault: str, store: S3Store, proxy: FaultProxy, slept: list[float]
) -> None:
    proxy.start_over(Rule(FAULTS[fault], at=range(1, 1000)))
    with pytest.raises(TransientStoreError) as caught:
        OPERATIONS_FOR_EVER[operation](store)
    message = str(caught.value)
    key = "new" if operation == "create" else "a/0"
    assert re.match(f"{store.url}: {key}: {FOR_EVER[fault][operation]}", message)
    assert "\n" not in message
    assert len(proxy.requests) <= 16
    assert sum(slept) < 40


@pytest.mark.parametrize("create", [False, True])
def test_half_an_object_does_not_stand(
    create: bool, store: S3Store, proxy: FaultProxy, slept: list[float]
) -> None:
    """S3 has received half of what was put, and no more."""
    proxy.start_over(Rule(Drop("within"), at=range(1, 1000)))
    with pytest.raises(TransientStoreError):
        store.put("new", NEW, create=create)
    proxy.start_over()
    assert not store.exists("new")
    assert store.put("new", NEW, create=create)


def test_first_object_stands_after_lost_answers(
    store: S3Store, proxy: FaultProxy, slept: list[float]
) -> None:
    """The first answer of all is lost for ever: the writer does not know, and the next one is told."""
    proxy.start_over(Rule(Drop("after"), at=range(1, 1000)))
    with pytest.raises(TransientStoreError):
        store.put("new", NEW, create=True)
    proxy.start_over()
    assert not store.put("new", CONTENT, create=True)
    assert store.get("new") == NEW
