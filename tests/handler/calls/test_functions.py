"""Functions that are kept: so many, and so many bytes of them."""

from __future__ import annotations

import gc
import uuid
import weakref
from collections.abc import Iterator

import numpy as np
import pytest

from wrenla_handler.calls.messages import Request
from wrenla_handler.calls.runner import Runner
from wrenla_handler.lru import LRU
from wrenla_handler.serialize.blobs import INLINE, bare, dump, load, pack
from wrenla_handler.serialize.functions import Functions
from wrenla_handler.stores.base import Data, Store
from wrenla_handler.stores.memory import MemoryStore
from wrenla_handler.stores.urls import open_store


def test_lru_beyond_count_drops_least_recently_used() -> None:
    kept = LRU[str](3)
    assert [kept.put(name, name.upper()) for name in "abc"] == [[], [], []]
    assert kept.get("a") == "A"
    assert kept.put("d", "D") == ["B"]
    assert kept.put("a", "again") == []
    assert [kept.get(name) for name in "abcd"] == ["again", None, "C", "D"]
    assert sorted(kept.clear()) == ["C", "D", "again"]
    assert kept.get("a") is None


def test_lru_beyond_bytes_drops_least_recently_used() -> None:
    kept = LRU[str](10, 100)
    for name in "abc":
        assert kept.put(name, name, 30) == []
    assert kept.put("d", "d", 50) == ["a", "b"]
    assert kept.put("huge", "huge", 1000) == ["c", "d"]
    assert kept.get("huge") == "huge"  # the latest one always stays
    assert kept.put("small", "small", 1) == ["huge"]


class Callable:
    """A function that refers to itself, as those do whose globals contain them."""

    def __init__(self) -> None:
        self.me = self

    def __call__(self) -> None:
        """Do nothing."""


def test_large_functions_that_refer_to_themselves_are_freed() -> None:
    functions, seen = Functions(), []
    gc.disable()
    try:
        for n in range(12):
            function = Callable()
            seen.append(weakref.ref(function))
            functions.put(str(n), function, 30 << 20)
            del function
        alive = [each() is not None for each in seen]
    finally:
        gc.enable()
    assert sum(alive) <= 3
    assert alive[-2:] == [True, True]


@pytest.fixture
def store() -> Iterator[Store]:
    """An empty store."""
    name = uuid.uuid4().hex
    yield open_store(f"memory://{name}")
    MemoryStore.drop(name)


def test_a_callee_keeps_so_many_bytes_of_functions(store: Store) -> None:
    callee = Runner("someone", bytes)

    def put(number: int, part: Data) -> str:
        key = f"functions/{uuid.uuid4().hex}"
        store.put(key, part)
        return key

    def request(n: int) -> Request:
        table = np.full(3 << 20, n)  # 24 MB
        function = pack(dump(lambda: int(table[-1])), put, inline=INLINE)
        return Request("a", 1, function, pack(dump(((), {})), put), store=store.url)

    requests = [request(n) for n in range(4)]
    for n, each in enumerate(requests):
        assert load(callee.answer(each).value, store.get) == n
    for key in list(store.list("functions/")):
        store.delete(key)
    kept = [callee.answer(_named(each)).ending == "value" for each in requests]
    assert kept == [False, False, True, True]
    callee.forget_functions()
    assert callee.answer(_named(requests[3])).ending == "unknown function"
    callee.close()


def _named(request: Request) -> Request:
    return Request("a", 2, bare(request.function), request.arguments, store=request.store)


def test_a_callee_keeps_so_many_stores(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    monkeypatch.setattr(MemoryStore, "close", lambda self: closed.append(self.url))
    callee = Runner("someone", bytes)
    arguments = pack(dump(((-1,), {})), lambda number, part: "")
    names = [uuid.uuid4().hex for _ in range(40)]
    for name in names:
        MemoryStore(name).put("function", dump(abs)[0])
        function = pack(dump(abs), lambda number, part: "function", inline=0)
        callee.forget_functions()
        answer = callee.answer(Request("a", 1, function, arguments, store=f"memory://{name}"))
        assert answer.ending == "value"
        MemoryStore.drop(name)
    assert closed == [f"memory://{name}" for name in names[:24]]
    callee.close()
    assert sorted(closed) == sorted(f"memory://{name}" for name in names)
