"""Matrices in the words of plans."""

from __future__ import annotations

from typing import Any

from wrenla.planning.expression import Node

__all__ = ["as_document", "shape_in_words"]


def shape_in_words(node: Node) -> str:
    """Return the shape of a matrix as a user knows it."""
    (rows, cols), ndim = node.grid.shape, node.ndim
    return f"{rows} × {cols}" if ndim == 2 else f"a vector of {rows}" if ndim else "a number"


def as_document(node: Node) -> dict[str, Any]:
    """Return what a matrix is, as a dict of what JSON knows."""
    grid, ndim = node.grid, node.ndim
    shapes = {"shape": list(grid.shape[:ndim]), "tile": list(grid.tile[:ndim])}
    return {**shapes, "dtype": node.dtype, "structure": node.structure}
