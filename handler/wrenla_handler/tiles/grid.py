"""Grid: the tiling of a matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Grid", "Pair"]

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
