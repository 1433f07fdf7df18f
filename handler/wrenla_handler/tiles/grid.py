"""Grid: the tiling of a matrix; absent tiles, which are zero and not stored."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Grid", "Pair", "absent_in_text", "absent_tiles"]

Pair: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Grid:
    """The tile rows × tile columns of a matrix.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the matrix.
    tile : (int, int)
        Rows and columns of a tile, both ≥ 1; the last tiles of a row or column may be smaller.

    Examples
    --------
    >>> g = Grid((5, 3), (2, 3))
    >>> g.counts, g.extent(2, 0), g.origin(2, 0)
    ((3, 1), (1, 3), (4, 0))
    """

    shape: Pair
    tile: Pair

    def __post_init__(self) -> None:
        if min(self.shape) < 0:
            raise ValueError(f"a shape has no negative lengths: {self.shape}")
        if min(self.tile) < 1:
            raise ValueError(f"a tile has at least one row and one column: {self.tile}")

    @property
    def counts(self) -> Pair:
        """Number of tile rows and tile columns."""
        return -(-self.shape[0] // self.tile[0]), -(-self.shape[1] // self.tile[1])

    def extent(self, i: int, j: int) -> Pair:
        """Rows and columns of tile `(i, j)`, smaller than `tile` at the ragged edges."""
        m, n = self.shape
        a, b = self.tile
        return min(a, m - i * a), min(b, n - j * b)

    def origin(self, i: int, j: int) -> Pair:
        """Global index of the first row and column of tile `(i, j)`."""
        return i * self.tile[0], j * self.tile[1]

    @property
    def T(self) -> Grid:
        """The grid of the transpose."""
        return Grid(self.shape[::-1], self.tile[::-1])


def absent_in_text(absent: npt.NDArray[np.bool_]) -> str:
    """Return the text that says which tiles are absent; "" if none is.

    Parameters
    ----------
    absent : ndarray of bool, (tile rows, tile columns)

    Examples
    --------
    >>> absent_in_text(np.array([[False, True]]))
    'QA=='
    """
    # not compressed: results are named by it, and not every zlib makes the same of the same
    return base64.b64encode(np.packbits(absent, axis=None).tobytes()).decode() if absent.any() else ""


@lru_cache(maxsize=16)
def absent_tiles(text: str, counts: Pair) -> npt.NDArray[np.bool_]:
    """Return which tiles of a grid are absent.

    The text is a bit for each tile, row after row, the most significant bit of a byte first, the last byte
    filled with zeros, in base 64.

    Raises
    ------
    ValueError
        The text does not say so for so many tiles.

    Examples
    --------
    >>> absent_tiles("QA==", (1, 2))
    array([[False,  True]])
    """
    rows, cols = counts
    if not text:
        absent = np.zeros(counts, bool)
    else:
        bits = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
        if len(bits) != -(-rows * cols // 8):
            raise ValueError(f"not a list of absent tiles of a grid of {rows} × {cols}")
        absent = np.unpackbits(bits, count=rows * cols).astype(bool).reshape(counts)
    absent.flags.writeable = False
    return absent
