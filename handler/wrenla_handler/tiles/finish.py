"""Finish kernels: the last step of a task, on the accumulated tile before it is stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

import wrenla_kernels as kernels
from wrenla_handler.linalg_errors import NotFiniteError, NotPositiveDefiniteError, SingularMatrixError
from wrenla_handler.plain_arrays import as_block
from wrenla_handler.tiles.cache import Tile
from wrenla_handler.tiles.reader import Report
from wrenla_handler.tiles.task import Mask, Op, Read, Task

__all__ = ["FINISHES", "FinishKernel", "Inputs", "Operand", "finish_kernel"]


class Operand(NamedTuple):
    """A tile as BLAS takes it: which triangle counts ("" for all), and transposed how."""

    tile: Tile
    op: Op
    mask: Mask


class Inputs(Protocol):
    """Context of a finishing kernel: its operands beside the sum, and its report."""

    task: Task
    report: Report

    def value(self, read: Read) -> Tile:
        """Return what a read stands for."""

    def triangle(self, read: Read) -> Operand:
        """Return a triangular tile; the other triangle is not referenced."""

    def function(self) -> Callable[..., Any]:
        """Return the user's function that the finish names."""


Flops: TypeAlias = Callable[[int, int], float]
_Change: TypeAlias = Callable[[Tile, int], None]


def _none(m: int, n: int) -> float:
    return 0


def _entries(m: int, n: int) -> float:
    return m * n


def _getrf_flops(m: int, n: int) -> float:
    """Step j divides m−j−1 entries of a column, and adds a product to (m−j−1)(n−j−1) entries."""
    k = min(m, n)
    divided = k * (m - 1) - k * (k - 1) / 2
    updated = k * (m - 1) * (n - 1) - (m + n - 2) * k * (k - 1) / 2 + (k - 1) * k * (2 * k - 1) / 6
    return divided + 2 * updated


@dataclass(frozen=True, slots=True)
class FinishKernel:
    """A row of the table: all that a worker and a plan know of a kernel.

    Attributes
    ----------
    call : callable
        ``call(work, inputs)`` returns the finished tile, `work` itself if it is made in place; of a bundle
        the column of tiles as one array, and the parts.
    flops : callable
        Operations in real arithmetic, for a sum of m × n. On complex tiles they count four times.
    in_place : bool
        The result has the shape and dtype of the sum, so that it is made where it is committed.
    real : bool
        The result is real for complex tiles, too.
    spare : int
        Tiles of the sum's size that it may need beside it.
    looks : bool
        It never writes to the sum, which may be a tile that others read, too.
    copies : int
        How often it may have all of its arguments in memory beside themselves.
    rate : str
        The rate (of `Rates`) by which its work is counted: that of a measured kernel for its flops, or one
        for the bytes of the sum; "" if it does nothing.
    columns : callable, optional
        ``columns(inputs)`` reads what the kernel needs and returns ``change(some, start)``, which changes
        some columns, the first of which is column `start` of the sum: no column needs another one.
    """

    call: Callable[[Tile, Inputs], Any]
    flops: Flops = _entries
    in_place: bool = False
    real: bool = False
    spare: int = 1
    looks: bool = False
    copies: int = 0
    rate: str = "looked"
    columns: Callable[[Inputs], _Change] | None = None


def _potrf(work: Tile, inputs: Inputs) -> Tile:
    """L[k, k] of L Lᴴ = work."""
    info = kernels.potrf(work)
    if info:
        raise NotPositiveDefiniteError(inputs.task.origin[0] + info)
    _refuse_infinity(work.diagonal(), inputs.task.origin[0])
    return work


def _trsm(side: kernels.Side, work: Tile, inputs: Inputs) -> Tile:
    """X of T X = work, or of X T = work."""
    task = inputs.task
    t, op, mask = inputs.triangle(task.args[0])
    if mask != "unit":
        diagonal = t.diagonal()
        if side == "L" and np.isfinite(pivots := np.abs(diagonal)).all():  # JSON has no NaN
            inputs.report.pivots = (float(pivots.min()), float(pivots.max()))
        first = task.origin[0 if side == "L" else 1]
        zeros = np.flatnonzero(diagonal == 0)
        if zeros.size:  # BLAS would divide by them
            raise SingularMatrixError(first + int(zeros[0]))
        _refuse_infinity(diagonal, first)
    kernels.trsm(side, t, work, uplo="U" if mask == "upper" else "L", op=op, unit=mask == "unit")
    return work


def _refuse_infinity(diagonal: Tile, first: int) -> None:
    """Raise NotFiniteError if a diagonal has infinity: what is divided by it is zero, without a trace."""
    infinite = np.flatnonzero(np.isinf(diagonal))
    if infinite.size:
        raise NotFiniteError(first + int(infinite[0]))


def _refuse_not_finite(work: Tile, first: int) -> None:
    """Raise NotFiniteError if a column is not finite; sums show it at the rate of memory."""
    with np.errstate(all="ignore"):
        sums = work.sum(axis=0)
    for column in np.flatnonzero(~np.isfinite(sums)):
        if not np.isfinite(work[:, column]).all():  # or else only their sum overflows
            raise NotFiniteError(first + int(column))


def _getrf(work: Tile, inputs: Inputs) -> tuple[Tile, Tile]:
    """L and U of P work = L U, and the pivots as rows of the whole matrix."""
    (first,) = inputs.task.finish.numbers
    _refuse_not_finite(
        work, first
    )  # LAPACK would pivot on infinity, and return a solution without a trace of it
    return work, kernels.getrf(work)[:, np.newaxis] + first


def _laswp(inputs: Inputs) -> _Change:
    """P work, or P⁻¹ work."""
    first, back, beyond = inputs.task.finish.numbers
    pivots = _pivots(inputs)
    pivots -= first

    def exchange(some: Tile, start: int) -> None:
        if beyond >= 0:
            _refuse_not_finite(some, beyond + inputs.task.origin[1] + start)
        kernels.laswp(some, pivots, back=bool(back))

    return exchange


def _pivots(inputs: Inputs) -> npt.NDArray[np.int64]:
    """Return pivots that lie in several tiles, as an array of its own."""
    none = np.empty(0, np.int64)
    return np.concatenate([none, *(inputs.value(read)[:, 0] for read in inputs.task.args)])


def _butterfly(inputs: Inputs) -> _Change:
    """W work, or Wᵀ work."""
    seed, depth, transposed = inputs.task.finish.numbers
    return lambda some, start: kernels.butterfly(some, seed, depth, transposed=bool(transposed))


def _by_columns(columns: Callable[[Inputs], _Change], copies: int) -> FinishKernel:
    """Return the row of a kernel that changes each column by itself."""

    def whole(work: Tile, inputs: Inputs) -> tuple[Tile]:
        columns(inputs)(work, 0)
        return (work,)

    return FinishKernel(whole, _none, copies=copies, rate="exchanged", columns=columns)


_INVERSES: dict[int, Callable[[Tile], int]] = {
    0: kernels.getri,
    1: kernels.hetri,
    2: partial(kernels.hetri, conjugate=False),
}


def _inverse(work: Tile, inputs: Inputs) -> Tile:
    """Inverse of a general (0), Hermitian (1) or symmetric (2) tile; NaN if there is none.

    That is no error: a tile of a matrix that has been mixed may be singular where the matrix is not, and an
    error would keep who uses the factor from another way.
    """
    (kind,) = inputs.task.finish.numbers
    if _INVERSES[kind](work):
        work[...] = np.nan
    return work


def _times(side: kernels.Side, work: Tile, inputs: Inputs) -> Tile:
    """T work, or work T."""
    t, op, _ = inputs.triangle(inputs.task.args[0])
    product = np.zeros(work.shape, work.dtype, order="F")
    if side == "L":
        kernels.gemm(1, t, op, work, "N", product)
    else:
        kernels.gemm(1, work, "N", t, op, product)
    return product


def _triangular(work: Tile) -> Tile:
    """Return a triangular matrix with the determinant of a square one, which is overwritten."""
    pivots = kernels.getrf(work)
    if np.count_nonzero(pivots != np.arange(pivots.size)) % 2:
        work[0] = -work[0]
    return work


def _permutation(work: Tile, inputs: Inputs) -> Tile:
    """The vector p with A = L[p] U: the exchanges undone, the last one first."""
    rows = np.arange(work.shape[0])
    pivots = _pivots(inputs)
    for k in range(pivots.size - 1, -1, -1):
        rows[k], rows[pivots[k]] = rows[pivots[k]], rows[k]
    return rows[:, np.newaxis]


def _parity(work: Tile, inputs: Inputs) -> Tile:
    """Determinant of the permutation that pivots are: each that is not its own row changes the sign."""
    pivots = _pivots(inputs)
    moved = np.count_nonzero(pivots != np.arange(pivots.size))
    return np.full((1, 1), -1.0 if moved % 2 else 1.0, order="F")


def _largest_units(work: Tile, inputs: Inputs) -> tuple[Tile]:
    """Unit vectors, one a column, of the rows in which the largest entries are."""
    sizes = np.abs(work).max(axis=1, initial=0)
    rows = np.argsort(-sizes, kind="stable")[: work.shape[1]]
    units = np.zeros(work.shape, work.dtype, order="F")
    units[rows, range(rows.size)] = 1
    return (units,)


def _tile_sizes(work: Tile, inputs: Inputs) -> Tile:
    """Sums of absolute values along each row, then down each column, then the largest one: a column.

    In diagonal tiles of a Hermitian matrix, of which the lower ones are read, columns are not counted.
    """
    height, width, hermitian = inputs.task.finish.numbers
    (m, n), (i, j) = work.shape, inputs.task.origin
    rows, columns, largest = kernels.abs_sizes(work)
    sizes = np.zeros((height + width + 1, 1), rows.dtype, order="F")
    sizes[:m], sizes[-1] = rows, largest
    if not (hermitian and i == j):
        sizes[height : height + n] = columns.T
    return sizes


def _row_sizes(work: Tile, inputs: Inputs) -> Tile:
    """`_tile_sizes` of a row of tiles, side by side: what has to be added to that of other rows.

    First the sums down columns, one for each column of the matrix; of a Hermitian one along rows, too, in
    their places. Then the largest sum along a row, and the largest entry, in the row's place among all.
    """
    height, hermitian, row, rows = inputs.task.finish.numbers
    with np.errstate(all="ignore"):
        along = work[:height].sum(axis=1)
        columns = work[height:-1].flatten(order="F")
        if hermitian:  # sums down columns stop at the diagonal, and beyond it those along rows go on
            part = columns[row * height : (row + 1) * height]
            part += along[: part.size]
    peaks = np.zeros((2, rows), work.dtype)
    peaks[0, row], peaks[1, row] = np.max(along, initial=0), np.max(work[-1], initial=0)
    return np.concatenate([columns, *peaks])[:, np.newaxis]


def _all_sizes(work: Tile, inputs: Inputs) -> Tile:
    """Largest sum along a row and down a column, and the largest entry, of the sum of all `_row_sizes`."""
    hermitian, rows = inputs.task.finish.numbers
    columns, along, largest = np.split(work[:, 0], [len(work) - 2 * rows, len(work) - rows])
    column = np.max(columns, initial=0)
    row = column if hermitian else np.max(along, initial=0)
    found = np.array([row, column, np.max(largest, initial=0)], work.dtype)
    return np.asfortranarray(found[:, np.newaxis])


def _mirror(conjugate: bool, work: Tile, inputs: Inputs) -> Tile:
    kernels.mirror(work, conjugate=conjugate)
    return work


def _of(function: Callable[[Tile], Tile]) -> Callable[[Tile, Inputs], Tile]:
    """Return the kernel that is a function of the sum alone."""
    return lambda work, inputs: function(work)


def _extreme(pick: Callable[..., Any]) -> Callable[[Tile, Inputs], Tile]:
    # np.max and np.min hand on a NaN, Python's do not
    return _of(lambda work: np.full((1, 1), pick(work.real), work.real.dtype, order="F"))


def _call(work: Tile, inputs: Inputs) -> Tile:
    """A user's function of the tiles (`map_tiles`); it must keep their shape."""
    task, function = inputs.task, inputs.function()
    # the cache holds these tiles: the function must not change them for others
    tiles = [inputs.value(read).view() for read in task.args]
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


FINISHES: dict[str, FinishKernel] = {
    "": FinishKernel(_of(lambda work: work), _none, in_place=True, spare=0, rate=""),
    "potrf": FinishKernel(_potrf, lambda m, n: n**3 / 3 + n**2 / 2 + n / 6, in_place=True, rate="potrf"),
    "trsm_left": FinishKernel(partial(_trsm, "L"), lambda m, n: m * n * m, in_place=True, rate="trsm_left"),
    "trsm_right": FinishKernel(partial(_trsm, "R"), lambda m, n: m * n * n, in_place=True, rate="trsm_right"),
    "getrf": FinishKernel(_getrf, _getrf_flops, rate="getrf"),
    "tile_sizes": FinishKernel(_tile_sizes, real=True, looks=True),
    "row_sizes": FinishKernel(_row_sizes, _none, real=True, looks=True),
    "all_sizes": FinishKernel(_all_sizes, _none, real=True, looks=True),
    "largest_units": FinishKernel(_largest_units, spare=2),
    "laswp": _by_columns(_laswp, copies=2),
    "butterfly": _by_columns(_butterfly, copies=0),
    "inverse": FinishKernel(_inverse, lambda m, n: 2 * n**3, in_place=True, rate="inverse"),
    "times_left": FinishKernel(partial(_times, "L"), lambda m, n: 2 * m * n * m, spare=2, rate="gemm"),
    "times_right": FinishKernel(partial(_times, "R"), lambda m, n: 2 * m * n * n, spare=2, rate="gemm"),
    "permutation": FinishKernel(_permutation, _none, real=True, spare=2, copies=1),
    "parity": FinishKernel(_parity, _none, real=True, copies=2),
    "mirror": FinishKernel(partial(_mirror, True), _none, in_place=True, rate="copied"),
    "hermitian_from_lower": FinishKernel(partial(_mirror, True), _none, in_place=True, rate="copied"),
    "symmetric_from_lower": FinishKernel(partial(_mirror, False), _none, in_place=True, rate="copied"),
    "diagonal": FinishKernel(_of(kernels.diagonal), _none, looks=True),
    "row_maxima": FinishKernel(_of(kernels.row_maxima), looks=True),
    "row_minima": FinishKernel(_of(kernels.row_minima), looks=True),
    "row_sums": FinishKernel(_of(kernels.row_sums), looks=True),
    "column_sums": FinishKernel(_of(kernels.column_sums), looks=True),
    "abs_row_sums": FinishKernel(_of(kernels.abs_row_sums), real=True, looks=True),
    "abs_column_sums": FinishKernel(_of(kernels.abs_column_sums), real=True, looks=True),
    "sum_squares": FinishKernel(_of(kernels.sum_squares), real=True, looks=True),
    "combine_sum_squares": FinishKernel(_of(kernels.combine_sum_squares)),
    "norm_from_sum_squares": FinishKernel(
        _of(lambda parts: kernels.norm_from_sum_squares(kernels.combine_sum_squares(parts)))
    ),
    "max_abs": FinishKernel(_of(kernels.max_abs), real=True, looks=True),
    "maximum": FinishKernel(_extreme(np.max), real=True, looks=True),
    "minimum": FinishKernel(_extreme(np.min), real=True, looks=True),
    "sign_part": FinishKernel(_of(lambda work: kernels.logdet_part(work)[:1]), looks=True),
    "logabs_part": FinishKernel(_of(lambda work: kernels.logdet_part(work)[1:].real), real=True, looks=True),
    "sign_of_tile": FinishKernel(
        _of(lambda work: kernels.logdet_part(_triangular(work))[:1]), _getrf_flops, rate="getrf"
    ),
    "logabs_of_tile": FinishKernel(
        _of(lambda work: kernels.logdet_part(_triangular(work))[1:].real),
        _getrf_flops,
        real=True,
        rate="getrf",
    ),
    "product_part": FinishKernel(_of(kernels.product_part), looks=True),
    "combine_products": FinishKernel(_of(kernels.combine_products)),
    "number_from_product": FinishKernel(_of(kernels.number_from_product)),
    "cast": FinishKernel(_of(lambda work: work), rate="copied"),
    "product": FinishKernel(_of(lambda signs: np.prod(signs, keepdims=True))),
    "call": FinishKernel(_call, spare=2, rate="called"),
}
"""By name. A new kernel is one row more."""


def finish_kernel(task: Task) -> FinishKernel:
    """Return the row of a task's finish."""
    return FINISHES[task.finish.kernel]
