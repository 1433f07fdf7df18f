"""Retile: the same expression over inputs in other tiles, to plan what has not been made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from wrenla.algorithms.procedure import Cell, Memo, Pending, Result
from wrenla.algorithms.tile_views import Blocks, BundlePart, TileSlice
from wrenla.planning.canonical import topological
from wrenla.planning.expression import Description, Leaf, Node, make
from wrenla_handler.tiles.grid import Grid

__all__ = ["main_tile", "retiled"]


def main_tile(nodes: Sequence[Node]) -> int:
    """Return the edge of the tiles of the largest input, or of the largest result if there is none."""
    found = topological(nodes)
    data = [node for node in found if node.is_leaf]
    largest = max(data or found, key=lambda node: node.grid.shape[0] * node.grid.shape[1])
    return max(largest.grid.tile)


def retiled(nodes: Sequence[Node], old: int, new: int) -> list[Node]:
    """Return expressions whose tiles have edges of `new` wherever they have edges of `old`.

    Raises
    ------
    ValueError
        They cannot be made so, as those that are made of parts which begin and end where tiles do (LU).
    """
    cells: dict[int, Cell] = {}
    done: dict[str, Node] = {}
    for node in topological(nodes):
        args = tuple(done[arg.key] for arg in node.args)
        op = node.op
        if isinstance(op, TileSlice | Blocks | BundlePart):
            raise ValueError("it is made of parts that are tiles")
        if isinstance(op, Leaf):
            if op.bundle is not None:
                raise ValueError("tiles that lie in one object with others stay as they are")
            grid = _grid(op.spec.grid, old, new)
            op = replace(op, spec=replace(op.spec, grid=grid))
            done[node.key] = Node(op, (), replace(node.description, grid=grid))
            continue
        if isinstance(op, Pending):
            if op.cell.stored:
                raise ValueError("a result that is kept stays as it is")
            cell = cells.setdefault(id(op.cell), Cell())
            if isinstance(op, Result):
                described = op.procedure.describe(*args)[op.number]
                op = replace(op, cell=cell, description=described)
            elif isinstance(op, Memo):
                op = replace(op, cell=cell)
        elif changed := _grids(op, old, new):
            op = replace(op, **changed)  # type: ignore[type-var]
        assert not isinstance(op, Leaf)
        done[node.key] = make(op, *args)  # type: ignore[arg-type]
    return [done[node.key] for node in nodes]


def _grids(op: Any, old: int, new: int) -> dict[str, Any]:
    """Return an operation's parameters that are or have grids, retiled."""
    found: dict[str, Any] = {}
    for field in fields(op):
        value = getattr(op, field.name)
        if isinstance(value, Grid):
            found[field.name] = _grid(value, old, new)
        elif isinstance(value, Description):
            found[field.name] = replace(value, grid=_grid(value.grid, old, new))
    return found


def _grid(grid: Grid, old: int, new: int) -> Grid:
    """Return a grid in other tiles, which are no larger than the matrix."""

    def edge(tile: int, length: int) -> int:
        return max(1, min(new, length)) if tile == min(old, length) and tile else tile

    rows, cols = (edge(tile, length) for tile, length in zip(grid.tile, grid.shape, strict=True))
    return Grid(grid.shape, (rows, cols))
