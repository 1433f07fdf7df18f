"""What a worker keeps of stores and functions for reading tiles: not more than it may."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path

import cloudpickle
import numpy as np
import pytest

from wrenla_handler.serialize.modules import join_function
from wrenla_handler.stores.local import LocalStore
from wrenla_handler.tiles.sources import Sources, function_key


def test_so_many_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    monkeypatch.setattr(LocalStore, "close", lambda self: closed.append(self.url))
    sources = Sources()
    first = sources.store(str(tmp_path / "0"))
    urls = [sources.store(str(tmp_path / str(n))).url for n in range(100)]
    assert sources.store(str(tmp_path / "99")) is sources.store(str(tmp_path / "99"))
    assert closed == urls[:36]
    first.put("still", b"there")  # whoever has one in hand may go on
    assert bytes(sources.store(str(tmp_path / "0")).get("still")) == b"there"
    sources.close()
    assert len(closed) == 101


def test_so_many_bytes_of_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, digests = LocalStore(tmp_path), []
    for n in range(5):
        table = np.full(3 << 20, n)  # 24 MB
        blob = join_function([], cloudpickle.dumps(lambda: int(table[-1])))  # noqa: B023
        digests.append(hashlib.sha256(blob).hexdigest())
        store.put(function_key(digests[-1]), blob)
    sources, read = Sources(), []
    real = LocalStore.get
    monkeypatch.setattr(LocalStore, "get", lambda self, key: read.append(key) or real(self, key))
    assert [sources.function(store.url, digest)() for digest in digests] == [0, 1, 2, 3, 4]
    assert len(read) == 5
    assert [sources.function(store.url, digest)() for digest in digests[3:]] == [3, 4]
    assert len(read) == 5
    assert sources.function(store.url, digests[0])() == 0
    assert len(read) == 6
    sources.close()


def test_a_small_function_is_the_same_each_time(tmp_path: Path) -> None:
    blob = join_function([], cloudpickle.dumps(lambda x: x + 1))
    digest, store = hashlib.sha256(blob).hexdigest(), LocalStore(tmp_path / uuid.uuid4().hex)
    store.put(function_key(digest), blob)
    sources = Sources()
    assert sources.function(store.url, digest) is sources.function(store.url, digest)
    sources.close()
