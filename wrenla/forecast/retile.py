"""Retile: the same expression over inputs in other tiles, to plan what has not been made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from wrenla.algorithms.gram import Gram
from wrenla.algorithms.long_sums import AddParts, Parts, Total, as_tree
from wrenla.algorithms.matmul import Matmul
from wrenla.algorithms.procedure import Cell, Memo, Pending, Result
from wrenla.algorithms.tile_views import Blocks, BundlePart, TileSlice
from wrenla.algorithms.views import flip
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
        if isinstance(node.op, Parts | AddParts):
            continue  # whether a sum is long, and how it is cut, its new tiles say
        if isinstance(node.op, Total):
            done[node.key] = _product_again(node, done)
            continue
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
        whole = done[node.key] = make(op, *args)  # type: ignore[arg-type]
        if isinstance(op, Matmul):
            done[node.key] = as_tree(whole, *args)
        elif isinstance(op, Gram):
            done[node.key] = as_tree(whole, args[-1], flip(args[0], "C"), lower=len(args) == 1)
    return [done[node.key] for node in nodes]


def _product_again(total: Node, done: Mapping[str, Node]) -> Node:
    """Return the product whose long sums a tree adds up, anew: with another tree, or with none."""
    parts = total.args[0]
    while not isinstance(parts.op, Parts):
        parts = parts.args[0]
    left, right = (done[arg.key] for arg in parts.args)
    if parts.op.whole.structure != "pos":
        whole = make(Matmul(parts.op.whole.ndim), left, right)
    elif parts.op.lower:
        whole = make(Gram(), left)
    else:
        whole = make(Gram(), flip(right, "C"), left)
    return as_tree(whole, left, right, lower=parts.op.lower)


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
