"""Matrices put together from blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wrenla.algorithms import assemble
from wrenla.array_like import is_block
from wrenla.matrices.creation import Tile
from wrenla.matrices.matrix import BigMatrix
from wrenla.matrices.operands import Handle, as_node, clipped, tile_pair
from wrenla.planning.expression import result_dtype
from wrenla.tracebacks import short
from wrenla_handler.tiles.layout import DTYPES

__all__ = ["block"]


@short
def block(blocks: Sequence[Any], tile: Tile = None) -> BigMatrix:
    """Assemble a matrix from a table of matrices, as `numpy.block`.

    Parameters
    ----------
    blocks : list of lists, or list, of BigMatrix or array_like
        All in a row of the table have equally many rows, and all rows of the table are equally wide. A list
        of matrices is one row. A vector is one column, which it is not in NumPy.
    tile : int or (int, int), optional
        Of the result; by default those of the first block.

    Examples
    --------
    >>> import wrenla as wl
    >>> wl.block([[wl.eye(1), wl.zeros((1, 1))], [wl.zeros((1, 1)), wl.eye(1)]]).compute()
    array([[1., 0.],
           [0., 1.]])
    """
    table = _table(blocks)
    known = [entry.dtype for line in table for entry in line if str(getattr(entry, "dtype", "")) in DTYPES]
    beside = result_dtype(*known) if known else ""
    # as they are: of nothing but integers a block is one of integers
    nodes = [
        [entry._node if isinstance(entry, Handle) else as_node(entry, beside=beside) for entry in line]
        for line in table
    ]
    if not nodes or not all(nodes):
        raise ValueError("block: a table of at least one matrix is needed")
    heights = [{node.grid.shape[0] for node in line} for line in nodes]
    widths = [sum(node.grid.shape[1] for node in line) for line in nodes]
    if any(len(height) > 1 for height in heights) or len(set(widths)) > 1:
        shapes = [[node.grid.shape for node in line] for line in nodes]
        raise ValueError(f"block: these shapes do not make a matrix: {shapes}")
    shape = (sum(height.pop() for height in heights), widths[0])
    chosen = nodes[0][0].grid.tile if tile is None else tile_pair(tile)
    return BigMatrix(assemble.block(nodes, clipped(chosen, shape)))


def _table(blocks: Sequence[Any]) -> Sequence[Sequence[Any]]:
    """Return the rows of a table of blocks, which may be one row, or one block, as in `numpy.block`."""
    if _is_array(blocks):
        return [[blocks]]
    alone = [_is_array(entry) for entry in blocks]
    if not any(alone):
        return blocks
    if not all(alone):
        raise ValueError("block: some entries are lists and some are matrices: put each row into a list")
    if all(np.ndim(entry) == 1 for entry in blocks):
        raise ValueError(
            "block: a vector is one column here, and numpy.block would make one vector of a list of them: "
            "say block([[v, w]]) for columns side by side, block([[v], [w]]) for one below the other"
        )
    return [blocks]


def _is_array(value: Any) -> bool:
    return isinstance(value, Handle) or is_block(value) or hasattr(value, "__array__")
