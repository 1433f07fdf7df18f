"""Blocks of a matrix whose tiles are there, for those who take it elsewhere piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from wrenla.evaluate.evaluation import persist_node
from wrenla.evaluate.options import Options
from wrenla.evaluate.storing import made, owners_of
from wrenla.executors.base import Executor
from wrenla.planning.expression import Leaf, Node
from wrenla_handler.tiles.arrays import ArraySpec, FormulaArray, StoredArray
from wrenla_handler.tiles.cache import Tile
from wrenla_handler.tiles.grid import Pair
from wrenla_handler.tiles.task import Read

__all__ = ["fill_region", "readable", "specs_of"]

Region: TypeAlias = tuple[Pair, Pair]
"""First row and the one after the last; columns alike."""


def readable(node: Node, executor: Executor | None) -> Node:
    """Return the same values as something whose tiles can be read at once, wherever its stores are seen.

    That is data in stores, formulas, and what rides on reads of these. All else is persisted, and kept as
    long as the returned node.
    """
    if all(_is_there(owner) for owner in owners_of(node)):
        return node
    return persist_node(made(node), executor, Options.of())


def _is_there(node: Node) -> bool:
    return isinstance(node.op, Leaf) and isinstance(node.op.spec, StoredArray | FormulaArray)


def specs_of(node: Node) -> dict[str, ArraySpec]:
    """Return where the tiles are that reads of a readable node name, by the names in them."""
    return {owner.key: owner.op.spec for owner in owners_of(node) if isinstance(owner.op, Leaf)}


def fill_region(node: Node, value: Callable[[Read], Tile], region: Region, out: npt.NDArray[Any]) -> None:
    """Write the entries of a node in a region into an array of that shape.

    Parameters
    ----------
    node : Node
        Readable.
    value : callable
        Returns what a read stands for.
    region : ((int, int), (int, int))
    out : ndarray, two-dimensional
    """
    out[...] = 0
    for (i, j), here, there in _overlaps(node, region):
        for read in node.reads(i, j):
            with np.errstate(all="ignore"):
                if read.accumulate:
                    out[there] += value(read)[here]
                else:
                    out[there] = value(read)[here]


def _overlaps(node: Node, region: Region) -> Iterator[tuple[Pair, tuple[slice, slice], tuple[slice, slice]]]:
    """Yield the tiles that meet a region, what of each does, and where that goes in the region."""
    axes = [
        [
            (t, slice(low - t * length, high - t * length), slice(low - start, high - start))
            for t in range(start // length, -(-stop // length))
            for low, high in [(max(start, t * length), min(stop, (t + 1) * length))]
        ]
        for (start, stop), length in zip(region, node.grid.tile, strict=True)
    ]
    # by columns, as tiles that lie below each other are named in runs
    for j, col, to_col in axes[1]:
        for i, row, to_row in axes[0]:
            yield (i, j), (row, col), (to_row, to_col)
