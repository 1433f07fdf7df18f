"""Matrices in the words of plans."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from wrenla.planning.canonical import topological
from wrenla.planning.expression import Node
from wrenla.units import counted, format_bytes

__all__ = ["as_document", "title", "uploaded_in_words"]


def title(results: Sequence[Node]) -> str:
    """Return some results and their largest input in a line."""
    if not results:
        return "plan for nothing"
    made = ", ".join(f"{_shape(node)}, {node.dtype}" for node in results[:3])
    more = f" and {len(results) - 3} more" if len(results) > 3 else ""
    data = [node for node in topological(results) if node.is_leaf and min(node.grid.shape) > 0]
    largest = max(data, key=lambda node: math.prod(node.grid.shape), default=results[0])
    tile = " × ".join(map(str, largest.grid.tile[: max(1, largest.ndim)]))
    return f"plan for {made}{more}, from {_shape(largest)} in tiles of {tile}"


def uploaded_in_words(tiles: int, nbytes: int) -> list[tuple[str, str]]:
    """Return the line of what goes to the store before a run, or none."""
    if not tiles:
        return []
    much = f"{format_bytes(nbytes)} of this process's arrays at most, in {counted(tiles, 'tile')}"
    return [("upload", f"{much}, before the first task; its time is not in that below")]


def _shape(node: Node) -> str:
    """Return the shape of a matrix as a user knows it."""
    (rows, cols), ndim = node.grid.shape, node.ndim
    return f"{rows} × {cols}" if ndim == 2 else f"a vector of {rows}" if ndim else "a number"


def as_document(node: Node) -> dict[str, Any]:
    """Return what a matrix is, as a dict of what JSON knows."""
    grid, ndim = node.grid, node.ndim
    shapes = {"shape": list(grid.shape[:ndim]), "tile": list(grid.tile[:ndim])}
    return {**shapes, "dtype": node.dtype, "structure": node.structure}
