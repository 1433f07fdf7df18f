"""Finish kernels: the last step of a task, on the accumulated tile before it is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import wrenla_kernels as kernels
from wrenla_handler.linalg_errors import NotPositiveDefiniteError, SingularMatrixError
from wrenla_handler.tiles.cache import Tile
from wrenla_handler.tiles.task import Mask, Op, Task
from wrenla_handler.tiles.user_blocks import as_block

__all__ = ["FINISHES", "IN_PLACE", "Operand", "call_user"]


class Operand(NamedTuple):
    """A tile as BLAS takes it: which triangle counts ("" for all), and transposed how."""

    tile: Tile
    op: Op
    mask: Mask


def _potrf(work: Tile, args: tuple[Operand, ...], task: Task) -> Tile:
    """L[k, k] of L Lᴴ = work."""
    info = kernels.potrf(work)
    if info:
        raise NotPositiveDefiniteError(task.origin[0] + info)
    return work


def _trsm(side: kernels.Side) -> Callable[[Tile, tuple[Operand, ...], Task], Tile]:
    def finish(work: Tile, args: tuple[Operand, ...], task: Task) -> Tile:
        (t, op, mask) = args[0]
        zeros = np.flatnonzero(t.diagonal() == 0)
        if zeros.size:  # BLAS would divide by them
            raise SingularMatrixError(task.origin[0 if side == "L" else 1] + int(zeros[0]))
        kernels.trsm(side, t, work, uplo="L" if mask == "lower" else "U", op=op)
        return work

    return finish


def _mirror(work: Tile, args: tuple[Operand, ...], task: Task) -> Tile:
    kernels.mirror(work)
    return work


def _reduce(function: Callable[[Tile], Tile]) -> Callable[[Tile, tuple[Operand, ...], Task], Tile]:
    return lambda work, args, task: function(work)


def _extreme(pick: Callable[..., Any]) -> Callable[[Tile], Tile]:
    # np.max and np.min hand on a NaN, Python's do not
    return lambda work: np.full((1, 1), pick(work.real), work.real.dtype, order="F")


FINISHES: dict[str, Callable[[Tile, tuple[Operand, ...], Task], Tile]] = {
    "potrf": _potrf,
    "trsm_left": _trsm("L"),
    "trsm_right": _trsm("R"),
    "mirror": _mirror,
    "diagonal": _reduce(kernels.diagonal),
    "row_maxima": _reduce(kernels.row_maxima),
    "row_minima": _reduce(kernels.row_minima),
    "row_sums": _reduce(kernels.row_sums),
    "column_sums": _reduce(kernels.column_sums),
    "abs_row_sums": _reduce(kernels.abs_row_sums),
    "abs_column_sums": _reduce(kernels.abs_column_sums),
    "sum_squares": _reduce(kernels.sum_squares),
    "combine_sum_squares": _reduce(kernels.combine_sum_squares),
    "norm_from_sum_squares": _reduce(
        lambda parts: kernels.norm_from_sum_squares(kernels.combine_sum_squares(parts))
    ),
    "max_abs": _reduce(kernels.max_abs),
    "maximum": _reduce(_extreme(np.max)),
    "minimum": _reduce(_extreme(np.min)),
    "sign_part": _reduce(lambda work: kernels.logdet_part(work)[:1]),
    "logabs_part": _reduce(lambda work: kernels.logdet_part(work)[1:].real),
    "cast": _reduce(lambda work: work),
    "product": _reduce(lambda work: np.prod(work, keepdims=True)),
}
"""By name. Each takes (work, args, task) and returns the finished tile, `work` itself if done in place."""

IN_PLACE = frozenset({"", "potrf", "trsm_left", "trsm_right", "mirror"})
"""Finishes whose result has the shape and dtype of the sum, so that it is made where it is committed."""


def call_user(function: Callable[..., Any], operands: list[Tile], task: Task) -> Tile:
    """Finish with a user's function of the tiles (`map_tiles`); it must keep their shape."""
    # the cache holds these tiles: the function must not change them for others
    tiles = [tile.view() for tile in operands]
    for tile in tiles:
        tile.flags.writeable = False
    try:
        result = as_block(function(*tiles), "map_tiles")
        if result.shape != task.shape:
            raise ValueError(
                f"the function of a map_tiles returned shape {result.shape} for tiles of shape {task.shape}"
            )
        if not np.can_cast(result.dtype, task.dtype, "same_kind"):
            raise TypeError(
                f"the function of a map_tiles returned {result.dtype}, which is no {task.dtype}; "
                "say which dtype the result has: map_tiles(f, A, dtype=…)"
            )
    except Exception as error:
        (r, c), (rows, cols) = task.origin, task.shape
        error.add_note(f"while making rows {r}:{r + rows}, columns {c}:{c + cols} of a map_tiles")
        raise
    return result
