"""An empty store of each kind."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from wrenla_handler.stores.base import Store
from wrenla_handler.stores.memory import MemoryStore
from wrenla_handler.stores.room import Room
from wrenla_handler.stores.urls import open_store


@pytest.fixture(params=["memory", "room", "file", "s3"])
def store_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Address of an empty store, one for each kind."""
    match request.param:
        case "memory":
            name = uuid.uuid4().hex
            yield f"memory://{name}"
            MemoryStore.drop(name)
        case "room":
            room = Room(MemoryStore())
            yield room.url
            room.close()
        case "file":
            folder: Path = request.getfixturevalue("tmp_path")
            yield (folder / "a folder").as_uri()
        case _:
            yield f"s3://{request.getfixturevalue('s3_bucket')}/some/prefix"


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An empty store, one for each kind."""
    opened = open_store(store_url)
    yield opened
    opened.close()
