"""NumPy's ways to make matrices of matrices: `numpy.block`, `numpy.concatenate`, `numpy.zeros_like`, ….

Parameters are NumPy's, by name and order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wrenla.array_api import as_matrix
from wrenla.array_like import as_array
from wrenla.matrices.blocks import block as block_of
from wrenla.matrices.creation import zeros
from wrenla.matrices.matrix import BigMatrix
from wrenla.matrices.operands import Handle, axis_places
from wrenla.numpy_functions.dispatch import implements
from wrenla_handler.tiles.layout import DTYPES


@implements("block")
def block(arrays: Any) -> BigMatrix:
    """Return a matrix put together from a table, in which a vector is a row, as NumPy has it."""
    if not isinstance(arrays, list):
        return as_matrix(arrays)
    if not any(isinstance(line, list) for line in arrays):
        return concatenate(arrays, axis=-1)
    table = [line if isinstance(line, list) else [line] for line in arrays]
    if any(isinstance(x, list) for line in table for x in line):
        raise ValueError("numpy.block: lists in lists of lists, but a matrix has two dimensions")
    return _together([[_row(x) for x in line] for line in table])


@implements("concatenate", "concat", refused="out dtype casting")
def concatenate(
    arrays: Sequence[Any],
    /,
    axis: int | None = 0,
    out: None = None,
    *,
    dtype: Any = None,
    casting: str = "same_kind",
) -> BigMatrix:
    """Return matrices below each other (axis 0) or side by side (1); vectors one after the other."""
    parts = list(arrays)
    dims = {np.ndim(x) for x in parts}
    if len(dims) > 1 or dims == {0}:
        raise ValueError(
            f"numpy.concatenate: arrays of {', '.join(map(str, sorted(dims)))} dimensions do not fit: "
            "v[None] is a row and v[:, None] is a column"
        )
    ndim = dims.pop()
    if axis is None and ndim == 2:
        raise TypeError("numpy.concatenate: there is no axis=None, which makes a vector of a BigMatrix")
    (place,) = axis_places(axis or 0, ndim)
    together = _together([parts] if place else [[x] for x in parts])
    return together[:, 0] if ndim == 1 else together


@implements("stack", refused="out dtype casting")
def stack(
    arrays: Sequence[Any],
    axis: int = 0,
    out: None = None,
    *,
    dtype: Any = None,
    casting: str = "same_kind",
) -> BigMatrix:
    """Return the matrix whose rows (axis 0) or columns (1) are some vectors."""
    parts = list(arrays)
    if any(np.ndim(x) != 1 for x in parts):
        raise ValueError("numpy.stack: vectors are needed, as a matrix has two dimensions: numpy.concatenate")
    return column_stack(parts) if axis_places(axis, 2) == (1,) else vstack(parts)


@implements("hstack", refused="dtype casting")
def hstack(tup: Sequence[Any], *, dtype: Any = None, casting: str = "same_kind") -> BigMatrix:
    parts = list(tup)
    return concatenate(parts, axis=0 if np.ndim(parts[0]) == 1 else 1)


@implements("vstack", refused="dtype casting")
def vstack(tup: Sequence[Any], *, dtype: Any = None, casting: str = "same_kind") -> BigMatrix:
    return concatenate([_row(x) for x in tup])


@implements("column_stack")
def column_stack(tup: Sequence[Any]) -> BigMatrix:
    return concatenate([_row(x).T if np.ndim(x) == 1 else x for x in tup], axis=1)


def _row(x: Any) -> Any:
    """Return a vector or a number as a matrix of one row."""
    A = x if isinstance(x, BigMatrix) else as_array(x)[0]
    return A if A.ndim > 1 else A[None] if A.ndim == 1 else A[None, None]


def _together(table: list[list[Any]]) -> BigMatrix:
    """Return a matrix of blocks, in the largest of their tiles: a row on top must not make all tiles thin."""
    tiles = [x._node.grid.tile for line in table for x in line if isinstance(x, BigMatrix)]
    return block_of(table, tile=(max(rows for rows, _ in tiles), max(columns for _, columns in tiles)))


@implements("zeros_like", refused="order subok device")
def zeros_like(
    a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *, device: None = None
) -> BigMatrix:
    """Return zeros of the shape, tiles and dtype of a matrix."""
    lengths = a.shape if shape is None else shape
    wanted = np.dtype(dtype) if dtype is not None else a.dtype if a.dtype.name in DTYPES else np.float64
    if lengths == ():
        return zeros(1, dtype=wanted)[0]
    return zeros(lengths, tile=a._node.grid.tile if shape is None else None, dtype=wanted)


@implements("empty_like", refused="order subok device")
def empty_like(
    prototype: Any,
    /,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: None = None,
) -> BigMatrix:
    """Return zeros, as a BigMatrix cannot be filled in later."""
    return zeros_like(prototype, dtype, shape=shape)


@implements("ones_like", refused="order subok device")
def ones_like(
    a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *, device: None = None
) -> BigMatrix:
    return zeros_like(a, dtype, shape=shape) + 1


@implements("full_like", refused="order subok device")
def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: None = None,
) -> BigMatrix:
    if np.ndim(fill_value):
        raise TypeError("numpy.full_like: fill_value= is a number for a BigMatrix")
    zero = zeros_like(a, dtype, shape=shape)
    if isinstance(fill_value, Handle):
        return (zero + fill_value).astype(zero.dtype)
    value: complex = np.asarray(fill_value).astype(zero.dtype, casting="same_kind").item()
    return zero + value
