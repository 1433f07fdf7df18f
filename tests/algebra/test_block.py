"""Blocks put together: tables, one row, one block; vectors are columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wrenla as wl

from . import gallery
from .gallery import DTYPES


@pytest.mark.parametrize("dtype", DTYPES)
def test_block(dtype: str) -> None:
    a, b, c, d = (gallery.normal(s, dtype, i) for i, s in enumerate([(5, 3), (5, 9), (8, 3), (8, 9)]))
    A, B, C = wl.from_array(a, tile=2), wl.from_array(b, tile=(4, 3)), wl.from_array(c.T.copy(), tile=2).T
    expected = np.block([[a, b], [c, d]])
    for tile in (None, 4, (13, 1)):
        x = wl.block([[A, B], [C, d]], tile=tile)
        assert np.array_equal(x.compute(), expected)
        assert x.dtype == dtype
    assert np.array_equal(wl.block([[A, b]]).compute(), np.block([[a, b]]))
    assert np.array_equal(wl.block([[A, b[:, 0]], [c, d[:, 0]]]).compute(), expected[:, :4])
    mixed = wl.block([[A.astype("complex128"), np.ones((5, 2), "f4")]])
    assert mixed.dtype == "complex128"
    for small, other in (("i1", "f8"), ("?", "f4"), ("i4", "f4"), ("i2", "c8")):
        row = [np.ones((5, 2), small), A, np.ones((5, 1), other)]
        assert wl.block(row).dtype == np.block([row[0], a, row[2]]).dtype  # type: ignore[list-item]


def test_block_of_one_row_and_one_block() -> None:
    """As NumPy has it: the rows of an array are not taken for blocks."""
    a = np.arange(6.0).reshape(2, 3)
    A = wl.from_array(a, tile=2)
    for blocks, expected in (
        ([a, a], [a, a]),
        ([A, a, A], [a, a, a]),
        ((A, A), [a, a]),
        ([A], [a]),
        (A, a),
        (a, a),
        ([[A], [a]], [[a], [a]]),
        ([A, np.ones(2)], [a, np.ones((2, 1))]),
    ):
        assert np.array_equal(wl.block(blocks).compute(), np.block(expected))  # type: ignore[arg-type]
    for vectors in ([a[0], a[1]], [A[0], a[1]]):
        with pytest.raises(ValueError, match=r"block\(\[\[v, w\]\]\) for columns"):
            wl.block(vectors)
        assert np.array_equal(wl.block([vectors]).compute(), a.T)
    with pytest.raises(ValueError, match="put each row into a list"):
        wl.block([[A], A])
    with pytest.raises(ValueError, match="do not make a matrix"):
        wl.block([a, a.T])


def test_block_of_odd_shapes() -> None:
    A, empty = wl.eye(2), wl.zeros((2, 0))
    assert np.array_equal(wl.block([[empty, A], [A, empty]]).compute(), np.vstack([np.eye(2)] * 2))
    assert wl.block([[empty, empty]]).compute().shape == (2, 0)
    with pytest.raises(ValueError, match="do not make a matrix"):
        wl.block([[A, A], [A]])
    with pytest.raises(ValueError, match="do not make a matrix"):
        wl.block([[A, wl.eye(3)]])
    table: Any
    for table in ([], [[]]):
        with pytest.raises(ValueError, match="at least one matrix"):
            wl.block(table)
