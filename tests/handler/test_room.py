"""Rooms: tiles in memory without a copy, never more bytes than allowed, the rest in the store beyond."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from wrenla_handler.errors import StoreError
from wrenla_handler.stores.memory import MemoryStore
from wrenla_handler.stores.room import Room, RoomStore, rooms_bytes, spill_rooms
from wrenla_handler.stores.urls import join, open_store
from wrenla_handler.tiles.buffers import Buffers
from wrenla_handler.tiles.sources import as_bytes


@pytest.fixture
def room() -> Iterator[Room]:
    """Room for 100 bytes."""
    made = Room(MemoryStore())
    made.limit = 100
    yield made
    made.close()


@pytest.fixture
def store(room: Room) -> RoomStore:
    opened = open_store(join(room.url, "array"))
    assert isinstance(opened, RoomStore)
    return opened


def block(nbytes: int, value: int = 0) -> memoryview:
    return np.full(nbytes, value, np.uint8).data


def nothing() -> None:
    pass


def test_kept_object_is_not_copied_and_cannot_be_changed(store: RoomStore) -> None:
    array = np.arange(40, dtype=np.uint8)
    assert store.keep("c/0/0", array.data, nothing)
    view = np.frombuffer(store.get("c/0/0", 8, 16), np.uint8)
    assert np.shares_memory(view, array)
    assert not view.flags.writeable
    assert list(store.list()) == ["c/0/0"]
    assert [(info.key, info.nbytes) for info in store.scan()] == [("c/0/0", 40)]


def test_memory_is_bounded_and_the_rest_goes_beyond(room: Room, store: RoomStore) -> None:
    assert store.keep("c/0/0", block(60), nothing)
    assert not store.keep("c/0/1", block(60), nothing)
    assert store.put("c/0/1", block(60, 1), create=True)
    assert (room.used, list(room.beyond.list())) == (60, ["array/c/0/1"])
    assert list(store.list()) == ["c/0/0", "c/0/1"]
    assert bytes(store.get("c/0/1")) == bytes([1] * 60)
    store.delete("c/0/0")
    store.delete("c/0/1")
    assert (room.used, list(room.beyond.list()), list(store.list())) == (0, [], [])


def test_first_object_of_a_key_stands_wherever_it_is(store: RoomStore) -> None:
    assert store.keep("in", block(10), nothing)
    assert not store.put("in", block(10), create=True)
    assert not store.keep("in", block(10), nothing)
    assert store.put("out", block(10), create=True)
    assert not store.keep("out", block(10), nothing)
    assert store.put("in", block(5, 7)), "unless it is replaced"
    assert bytes(store.get("in")) == bytes([7] * 5)


def test_objects_that_were_beyond_before_are_found() -> None:
    beyond = MemoryStore()
    beyond.put("array/c/0/0", b"tile")
    room = Room(beyond)
    room.limit = 100
    store = RoomStore(room.url.removeprefix("room://") + "/array")
    assert not store.keep("c/0/0", block(4), nothing)
    assert bytes(store.get("c/0/0")) == b"tile"
    room.close()


def test_memory_is_used_again_when_nobody_looks_at_it(store: RoomStore) -> None:
    buffers = Buffers()
    tile = buffers.take(1 << 18, 1, "uint8")
    store._room.limit = 1 << 18
    address = tile.ctypes.data
    assert store.keep("c/0/0", as_bytes(tile), buffers.lend(tile))
    del tile
    view: Any = np.frombuffer(store.get("c/0/0"), np.uint8)[5:]
    store.delete("c/0/0")
    assert buffers.free == 0, "somebody looks at it"
    del view
    assert buffers.free == 1 << 18
    assert buffers.take(1 << 18, 1, "uint8").ctypes.data == address


def test_memory_that_comes_back_after_the_run_goes_to_the_system(store: RoomStore) -> None:
    buffers = Buffers()
    tile = buffers.take(1 << 18, 1, "uint8")
    store._room.limit = 1 << 18
    assert store.keep("c/0/0", as_bytes(tile), buffers.lend(tile))
    del tile
    buffers.clear()
    store.delete("c/0/0")
    gc.collect()
    assert buffers.free == 0


def test_spilled_objects_are_found_beyond(room: Room, store: RoomStore) -> None:
    for number in range(4):
        assert store.keep(f"c/0/{number}", block(20, number), nothing)
    view = store.get("c/0/0")
    room.limit = 0
    before = rooms_bytes()
    spill_rooms(before - 30)
    assert room.used == 40
    assert [bytes(store.get(f"c/0/{number}"))[0] for number in range(4)] == [0, 1, 2, 3]
    assert list(room.beyond.list()) == ["array/c/0/0", "array/c/0/1"]
    assert bytes(view) == bytes(20)
    room.discard(lambda key: key.endswith("3"))
    assert list(store.list()) == ["c/0/0", "c/0/1", "c/0/2"]


def test_closed_room_takes_nothing_and_holds_nothing(room: Room, store: RoomStore) -> None:
    assert store.keep("c/0/0", block(20), nothing)
    room.close()
    assert room.used == 0
    assert not store.keep("c/0/1", block(20), nothing)
    assert not store.put("c/0/2", block(20), create=True)
    assert list(room.beyond.list()) == []
    with pytest.raises(KeyError):
        store.get("c/0/0")
    with pytest.raises(StoreError, match="is over"):
        open_store(room.url)


def test_collector_may_let_go_of_tiles_while_one_is_kept(room: Room, store: RoomStore) -> None:
    """It runs in any thread, between any two lines, and removes what nobody uses any more."""
    store.keep("c/0/0", block(20), nothing)

    def inside() -> None:
        with room.lock:  # where `keep` would be
            store.delete("c/0/0")
            list(store.list())

    thread = threading.Thread(target=inside, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "it waits for itself"
    assert room.used == 0


class Meddling(str):
    """Key that lets the collector come where it is looked at."""

    meddle = staticmethod(nothing)

    def startswith(self, *args: Any) -> bool:
        type(self).meddle()
        return super().startswith(*args)


@pytest.mark.parametrize("look", ["list", "scan"])
def test_collector_may_let_go_of_tiles_while_they_are_listed(
    look: str, room: Room, store: RoomStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        store.keep(f"c/0/{number}", block(20), nothing)
    room.objects = {Meddling(key): found for key, found in room.objects.items()}
    monkeypatch.setattr(Meddling, "meddle", staticmethod(lambda: store.delete("c/0/2")))
    assert len(list(getattr(store, look)())) >= 2
    assert list(store.list()) == ["c/0/0", "c/0/1"]


def test_collector_may_let_go_of_a_tile_while_it_is_spilled() -> None:
    class Slow(MemoryStore):
        def put(self, key: str, *args: Any, **options: Any) -> bool:
            store.delete(key)
            return super().put(key, *args, **options)

    room = Room(Slow())
    room.limit = 100
    store = RoomStore(room.url.removeprefix("room://"))
    store.keep("c/0/0", block(20), nothing)
    room.spill(0)
    assert (room.used, list(room.beyond.list())) == (0, [])
    room.close()


def test_used_is_right_if_the_collector_comes_while_it_is_counted(room: Room, store: RoomStore) -> None:
    """It may come in any call: here in that of the object that asks for the length of a tile."""
    for number in range(3):
        store.keep(f"c/0/{number}", block(20), nothing)

    class Counted:
        def __len__(self) -> int:
            store.delete("c/0/1")
            return 20

    room.objects["array/c/0/0"] = room.objects["array/c/0/0"]._replace(data=Counted())  # type: ignore[arg-type]
    store.delete("c/0/0")
    assert room.used == 20


def test_rooms_are_counted_while_others_are_made() -> None:
    """By other threads, between any two lines: here between any two of the counted ones."""
    before, made = rooms_bytes(), [Room(MemoryStore()) for _ in range(3)]

    def meddle(frame: Any, event: str, _: Any) -> None:
        if event == "return" and frame.f_code.co_name in ("values", "valuerefs") and len(made) < 50:
            made.append(Room(MemoryStore()))

    sys.setprofile(meddle)
    try:
        assert rooms_bytes() == before
    finally:
        sys.setprofile(None)
        for room in made:
            room.close()
    assert len(made) > 3


def test_used_is_right_after_many_threads(room: Room, store: RoomStore) -> None:
    room.limit, errors = 10_000, []

    def work(number: int) -> None:
        for count in range(200):
            key = f"c/{number}/{count}"
            if not store.keep(key, block(10 + count % 7), nothing):
                errors.append(key)
            if count % 3:
                store.delete(key)

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert room.used == sum(info.nbytes for info in store.scan())
