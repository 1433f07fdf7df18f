"""Buffers: memory of tiles that is used again, whatever the sizes."""

from __future__ import annotations

import itertools
import mmap
import os
import resource
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wrenla_handler.tiles.buffers import Buffers

PAGE, LEAST = 4096, 1 << 18  # bytes of a page, and from which a tile has pages of its own


def test_a_smaller_tile_takes_part_of_a_larger_one() -> None:
    buffers = Buffers()
    large = buffers.take(3 * LEAST, 1, "uint8")
    address = large.ctypes.data
    buffers.give(large)
    del large
    parts = [buffers.take(LEAST, 1, "uint8") for _ in range(3)]
    assert [part.ctypes.data - address for part in parts] == [0, LEAST, 2 * LEAST]
    assert buffers.free == 0
    for part in (parts[0], parts[2], parts[1]):
        buffers.give(part)
    del part, parts
    assert buffers.free == 3 * LEAST
    assert buffers.take(3 * LEAST, 1, "uint8").ctypes.data == address, "neighbours are one piece again"


def test_the_smallest_piece_that_holds_a_tile_is_taken() -> None:
    buffers = Buffers()
    tiles = [buffers.take(k * LEAST, 1, "uint8") for k in (3, 1, 1, 1, 2, 1)]
    address = tiles[4].ctypes.data
    for tile in tiles[::2]:  # between them one is in use
        buffers.give(tile)
    assert buffers.free == 6 * LEAST
    assert buffers.take(2 * LEAST - 5, 1, "uint8").ctypes.data == address


def test_small_tiles_side_by_side_make_a_large_one() -> None:
    buffers = Buffers()
    tiles = [buffers.take(LEAST, 1, "uint8") for _ in range(4)]
    address = min(tile.ctypes.data for tile in tiles)
    for tile in tiles:
        tile[...] = 7
        buffers.give(tile)
    del tile, tiles
    large = buffers.take(5 * LEAST, 1, "uint8")
    assert large.ctypes.data == address
    assert large[4 * LEAST - 1, 0] == 7
    assert not large[4 * LEAST :].any(), "only so much of it is new"


@pytest.mark.parametrize("limit", [resource.RLIMIT_AS, resource.RLIMIT_DATA])
def test_addresses_are_not_taken_where_they_count_as_memory(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlimited = resource.getrlimit
    monkeypatch.setattr(
        resource, "getrlimit", lambda which: (1 << 40, -1) if which == limit else unlimited(which)
    )
    buffers = Buffers()
    first = buffers.take(LEAST, 1, "uint8")
    assert len(_map_of(first)) == LEAST
    buffers.give(first)
    assert buffers.take(LEAST, 1, "uint8").ctypes.data == first.ctypes.data


def test_no_more_addresses_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new stretch begins where one ends."""
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 3 * LEAST // PAGE}.__getitem__)
    buffers = Buffers()
    tiles = [buffers.take(2 * LEAST, 1, "uint8") for _ in range(3)]
    assert len({id(_map_of(tile)) for tile in tiles}) == 3
    large = buffers.take(7 * LEAST, 1, "uint8")
    assert len(_map_of(large)) == 7 * LEAST


def _map_of(tile: Any) -> Any:
    while not isinstance(tile, mmap.mmap):
        tile = tile.base if isinstance(tile, np.ndarray) else tile.obj
    return tile


def test_tiles_are_whole_pages_and_begin_with_one() -> None:
    buffers = Buffers()
    first = buffers.take(LEAST + 1, 3, "uint8")
    buffers.give(first)
    assert buffers.free == 3 * LEAST + PAGE
    second = buffers.take(LEAST // 8 + 1, 1, "float64")
    third = buffers.take(LEAST // 8 + 1, 1, "float64")
    for tile in (second, third):
        assert tile.ctypes.data % PAGE == 0
        assert tile.flags.f_contiguous
        assert tile.flags.writeable


SIZES = st.sampled_from([LEAST, LEAST + 1, 2 * LEAST, 3 * LEAST - 7, 5 * LEAST, 40 * LEAST])


@given(st.lists(st.one_of(SIZES, st.integers(0, 20)), max_size=30))
def test_tiles_in_use_never_overlap_and_no_more_is_held_than_was_in_use(steps: list[int]) -> None:
    """A size takes a tile, a small number gives one back."""
    buffers, used, most = Buffers(), list[tuple[Any, int]](), 0
    for mark, step in enumerate(steps):
        tile: Any = None
        if step >= LEAST:
            tile = buffers.take(step, 1, "uint8")
            tile[0], tile[-1] = mark, mark
            used.append((tile, mark))
        elif used:
            tile, mark = used.pop(step % len(used))
            assert (tile[0], tile[-1]) == (mark, mark)
            buffers.give(tile)
        del tile
        assert all(tile[0] == mark == tile[-1] for tile, mark in used)
        held = sum(-(-tile.nbytes // PAGE) * PAGE for tile, _ in used)
        most = max(most, held)
        assert held + buffers.free <= most
        spans = sorted((tile.ctypes.data, tile.ctypes.data + tile.nbytes) for tile, _ in used)
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))


def test_what_is_given_back_to_the_system_is_zero_again() -> None:
    """Also if the rest of its map is in use."""
    buffers = Buffers()
    whole = buffers.take(2 * LEAST, 1, "uint8")
    whole[...] = 7
    buffers.give(whole)
    del whole
    half = buffers.take(LEAST, 1, "uint8")
    view: Any = half
    while isinstance(view, np.ndarray):
        view = view.base
    pages = np.frombuffer(view, np.uint8)
    assert pages[LEAST] == 7
    buffers.clear()
    assert pages[LEAST] == 0
    assert half[0, 0] == 7
