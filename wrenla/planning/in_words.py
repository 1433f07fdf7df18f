"""Plans and their matrices in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from wrenla.planning.canonical import topological
from wrenla.planning.cut import Cut
from wrenla.planning.expression import Node
from wrenla.units import counted, format_bytes, format_time

__all__ = ["as_document", "read", "requests", "sums", "tasks", "temporaries", "time", "title", "uploaded"]


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


def sums(longest: int, cut: Cut) -> str:
    """Return the lengths of sums, and their division into tasks."""
    if longest == 0:
        return "none of products"
    return f"up to {counted(longest, 'product')} for each tile, {cut.in_words()}"


def read(most: int, expected: int, tiles: int) -> str:
    """Return the bytes read, and what is expected of them where workers have the rest at hand."""
    less = f", {format_bytes(expected)} expected" if expected < most else ""
    return f"{format_bytes(most)} at most{less}, in {counted(tiles, 'tile')}"


def requests(most: int, expected: int) -> str:
    """Return the number of requests to stores."""
    return f"{most:,} at most" + (f", {expected:,} expected" if expected < most else "")


def uploaded(tiles: int, nbytes: int, timed: bool) -> list[tuple[str, str]]:
    """Return the line of what goes to the store before a run, or none."""
    if not tiles:
        return []
    much = f"{format_bytes(nbytes)} of this process's arrays at most, in {counted(tiles, 'tile')}"
    return [("upload", f"{much}, before the first task; its time is {'' if timed else 'not '}in that below")]


def time(seconds: float, least: float, workers: int) -> str:
    """Return the expected time and its lower bound for any number of workers."""
    return (
        f"about {format_time(seconds)} on {counted(workers, 'worker')}, at least "
        f"{format_time(least)} on any number (the longest chain of tasks)"
    )


def tasks(kernels: Mapping[str, int]) -> str:
    """Return the number of tasks, and of each kind of them."""
    kinds = ", ".join(f"{n:,} {kernel}" for kernel, n in kernels.items())
    return f"{sum(kernels.values()):,}  ({kinds})" if kernels else "0"


def temporaries(room: int, tasks: int) -> str:
    """Return the place of temporary tiles."""
    if not tasks:
        return "none"
    if not room:
        return "in the store: a run that is killed goes on from there"
    return f"in memory, up to {format_bytes(room)}: a run that is killed begins again"


def _shape(node: Node) -> str:
    """Return the shape of a matrix as a user knows it."""
    (rows, cols), ndim = node.grid.shape, node.ndim
    return f"{rows} × {cols}" if ndim == 2 else f"a vector of {rows}" if ndim else "a number"


def as_document(node: Node) -> dict[str, Any]:
    """Return what a matrix is, as a dict of what JSON knows."""
    grid, ndim = node.grid, node.ndim
    shapes = {"shape": list(grid.shape[:ndim]), "tile": list(grid.tile[:ndim])}
    return {**shapes, "dtype": node.dtype, "structure": node.structure}
