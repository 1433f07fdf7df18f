"""Claimed structures, checked where entries are read anyway.

Of a Hermitian matrix only the lower tiles are read, of a triangular one only its triangle: what stands in the
others would never be met. So diagonal tiles are looked at whole, and of some other pairs of tiles a small
block. Two entries that should be equal may differ by rounding: by √u, u the precision of the dtype, relative
to the largest entries that are known of their row and their column (√(rᵢ cⱼ), which no scaling of rows and
columns changes). That is many times what sums in another order differ by, and nothing that anybody means.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from wrenla_handler.linalg_errors import StructureError
from wrenla_handler.tiles.grid import Pair

__all__ = ["SAMPLE", "check_diagonal", "check_pair", "check_tiles", "is_sampled"]

Array: TypeAlias = npt.NDArray[Any]

SAMPLE = 16
"""Rows and columns of the block that is compared of a pair of tiles."""

_BLOCK = 128
"""Edge of the blocks in which a tile is compared: two of them stay in the second-level cache."""


def is_sampled(i: int, j: int, n: int) -> bool:
    """Tell whether tiles (i, j) and (j, i) are compared: one pair for each of the n tile columns.

    Examples
    --------
    >>> sum(is_sampled(i, j, 9) for i in range(9) for j in range(i))
    8
    """
    low, high = min(i, j), max(i, j)
    return low < high == low + 1 + low * 2654435761 % 2**32 % (n - low - 1)


_MIRRORED = ("hermitian", "pos", "symmetric")
"""Claims that say what is across the diagonal."""


def _across(part: Array, claim: str) -> Array:
    """Return what stands across the diagonal if the claim is true."""
    return part.T if claim == "symmetric" else part.conj().T


def check_diagonal(tile: Array, claim: str, corner: int) -> None:
    """Raise StructureError unless a diagonal tile, or a whole matrix, has the structure that is said.

    Parameters
    ----------
    tile : ndarray, (n, n)
    claim : str
        A structure, or "diagonal".
    corner : int
        Global index of its first row and column.
    """
    n = min(tile.shape)
    scales = _Scales(tile)
    for c in range(0, n, _BLOCK):
        for r in range(c, n, _BLOCK):
            low = tile[r : r + _BLOCK, c : c + _BLOCK]
            up = tile[c : c + _BLOCK, r : r + _BLOCK]
            if claim in _MIRRORED:
                across = _across(up, claim)
                if not np.array_equal(low, across):
                    _compare(low, across, scales.of(r, c, low.shape), claim, (corner + r, corner + c))
                continue
            if claim in ("lower", "diagonal"):
                part = up if r > c else np.triu(up, 1)
                if part.any():
                    _compare(part, None, scales.of(c, r, up.shape), claim, (corner + c, corner + r))
            if claim in ("upper", "diagonal"):
                part = low if r > c else np.tril(low, -1)
                if part.any():
                    _compare(part, None, scales.of(r, c, low.shape), claim, (corner + r, corner + c))


def check_pair(block: Array, mate: Array, diagonals: tuple[Array, Array], claim: str, at: Pair) -> None:
    """Raise StructureError unless a block off the diagonal and the mirrored one fit.

    Parameters
    ----------
    block : ndarray, (m, n)
        Of a tile that counts.
    mate : ndarray, (n, m)
        What stands on the other side of the diagonal.
    diagonals : two of ndarray, (m,) and (n,)
        The diagonal in the rows, and in the columns, of `block`.
    claim : str
    at : (int, int)
        Global indices of the block's corner.
    """
    rows = np.fmax(_largest(block, 1), np.abs(diagonals[0]))
    columns = np.fmax(_largest(block, 0), np.abs(diagonals[1]))
    scale = np.sqrt(rows)[:, None] * np.sqrt(columns)
    if claim in _MIRRORED:
        _compare(block, _across(mate, claim), scale, claim, at)
    else:
        _compare(mate, None, scale.T, claim, (at[1], at[0]))


def check_tiles(claim: str, parts: Sequence[Any]) -> None:
    """Raise StructureError unless a diagonal tile and what else was read with it fit.

    Parameters
    ----------
    claim : str
    parts : sequence
        The diagonal tile and the global index of its corner. Then, if there is one, another diagonal tile and
        its corner; the tile in the rows of that one and the columns of the first; the tile across from it.
        Zero stands for a tile of zeros. Of two tiles that should mirror each other a block is compared, of
        zeros all are looked at, which takes less time than reading them.
    """
    tile, corner, *others = parts
    check_diagonal(tile, claim, corner)
    if not others:
        return
    other, r, low, up = others
    c, pivots = corner, [_pivots(other), _pivots(tile)]
    if r < c:
        low, up, r, c, pivots = up, low, c, r, pivots[::-1]
    m, n = map(len, pivots)
    low, up = np.broadcast_to(low, (m, n)), np.broadcast_to(up, (n, m))
    if claim in _MIRRORED:
        s, t = (37 * r + c) % max(1, m - SAMPLE + 1), (r + 37 * c) % max(1, n - SAMPLE + 1)
        rows, columns = slice(s, s + SAMPLE), slice(t, t + SAMPLE)
        diagonals = pivots[0][rows], pivots[1][columns]
        check_pair(low[rows, columns], up[columns, rows], diagonals, claim, (r + s, c + t))
    if claim in ("lower", "diagonal") and up.any():
        check_pair(low, up, (pivots[0], pivots[1]), claim, (r, c))
    if claim in ("upper", "diagonal") and low.any():
        check_pair(up, low, (pivots[1], pivots[0]), claim, (c, r))


def _pivots(tile: Array) -> Array:
    pivots: Array = tile.diagonal()
    return pivots


def _compare(a: Array, b: Array | None, scale: Array, claim: str, at: Pair) -> None:
    """Raise if two blocks differ, or (b None) one is not zero; `scale` is what both are compared with."""
    if a.dtype.kind not in "fc":
        a, b = a.astype(np.float64), None if b is None else b.astype(np.float64)
    expected: Array = np.zeros((), a.dtype) if b is None else b
    tolerance = np.sqrt(np.finfo(a.dtype).eps)
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.abs(a - expected)
        same = (difference <= tolerance * scale) & (difference < np.inf) | (a == expected)
    same |= np.isnan(a) & np.isnan(expected)
    if same.all():
        return
    i, j = divmod(int(np.argmin(same)), same.shape[1])
    mate = a.dtype.type(0) if b is None else b[i, j] if claim == "symmetric" else np.conj(b[i, j])
    found = (at[0] + i, at[1] + j, a[i, j].item(), mate.item())
    if b is not None and found[0] < found[1]:  # of two, the one below the diagonal comes first
        found = (found[1], found[0], found[3], found[2])
    raise StructureError(claim, *found)


class _Scales:
    """Square roots of the largest entries of rows and columns of a tile, found when they are first needed."""

    def __init__(self, tile: Array) -> None:
        self._tile = tile

    @cached_property
    def _roots(self) -> Array:
        roots: Array = np.sqrt(np.fmax(_largest(self._tile, 1), _largest(self._tile, 0)))
        return roots

    def of(self, r: int, c: int, shape: Pair) -> Array:
        return self._roots[r : r + shape[0], None] * self._roots[c : c + shape[1]]


def _largest(a: Array, axis: int) -> Array:
    """Return the largest absolute value of each row (axis 1) or column (axis 0); NaN does not count."""
    a = a if a.dtype.kind in "fc" else a.astype(np.float64)
    values: Array = np.fmax.reduce(np.abs(a), axis=axis, initial=0)
    return values
