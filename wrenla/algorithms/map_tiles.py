"""Map of a user's function over the tiles of matrices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from wrenla.algorithms.assemble import rechunk
from wrenla.algorithms.elementwise import filled
from wrenla.planning.expression import Description, Node, Operation, make
from wrenla_handler.tiles.task import Task

__all__ = ["map_tiles"]


def map_tiles(function: Node, matrices: tuple[Node, ...], dtype: str) -> Node:
    """Return F with F[i, j] = function(A[i, j], B[i, j], …); the others are brought to the tiles of A."""
    first = matrices[0]
    for A in matrices[1:]:
        if A.grid.shape != first.grid.shape or A.ndim != first.ndim:
            raise ValueError(f"map_tiles: shapes {first.grid.shape} and {A.grid.shape} differ")
    # the function sees zeros where a triangular matrix has no tiles
    aligned = (filled(rechunk(A, first.grid.tile)) for A in matrices)
    return make(MapTiles(dtype), function, *aligned)


@dataclass(frozen=True)
class MapTiles(Operation):
    """F[i, j] = function(A[i, j], B[i, j], …). Tasks: one per tile; waves: 1."""

    dtype: str

    def describe(self, *args: Node) -> Description:
        return replace(args[1].description, dtype=self.dtype, structure="general")

    def tasks(self, out: Node) -> Iterator[Task]:
        function, *matrices = out.args
        for i, j in out.own_tiles():
            tiles = tuple(replace(A[i, j], dtype=A.dtype) for A in matrices)
            yield out.task(i, j, finish="call", function=function.key, args=tiles)
