"""Buffers: memory of tiles that is used again, whatever the sizes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
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
