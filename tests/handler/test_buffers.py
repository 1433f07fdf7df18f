"""Buffers: memory of tiles that is used again, whatever the sizes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wrenla_handler.tiles.buffers import Buffers

PAGE, LEAST = 4096, 1 << 18  # bytes of a page, and from which a tile has pages of its own


def test_a_smaller_tile_takes_part_of_a_larger_one_and_the_rest_goes_back() -> None:
    buffers = Buffers()
    large = buffers.take(3 * LEAST, 1, "uint8")
    large[...] = 7
    address = large.ctypes.data
    buffers.give(large)
    del large
    small = buffers.take(LEAST, 1, "uint8")
    assert small.ctypes.data == address
    assert buffers.free == 0
    assert small[0, 0] == 7
    assert not _pages_of(small)[LEAST:].any(), "the system has cleared them"
    buffers.give(small)
    del small
    assert buffers.free == LEAST
    assert not buffers.take(3 * LEAST, 1, "uint8").any(), "a map of its own"


def _pages_of(tile: Any) -> Any:
    """Return all bytes of the map that a tile is in."""
    while isinstance(tile, np.ndarray):
        tile = tile.base
    return np.frombuffer(tile, np.uint8)


def test_the_smallest_piece_that_holds_a_tile_is_taken() -> None:
    buffers = Buffers()
    tiles = [buffers.take(k * LEAST, 1, "uint8") for k in (3, 1, 2)]
    addresses = [tile.ctypes.data for tile in tiles]
    for tile in tiles:
        buffers.give(tile)
    del tile, tiles
    assert buffers.take(2 * LEAST - 5, 1, "uint8").ctypes.data == addresses[2]


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
