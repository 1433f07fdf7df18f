"""Mean, variance, extremes and norms along an axis, composed of sums and elementwise functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from wrenla.algorithms.elementwise import elementwise, filled, with_dimensions
from wrenla.algorithms.reductions import Parts, norm, sum_over
from wrenla.algorithms.views import flip
from wrenla.planning.expression import Description, Node, Operation, make
from wrenla_handler.tiles.grid import Grid
from wrenla_handler.tiles.task import Task

__all__ = ["entry_norms", "extreme", "kept", "mean", "variance", "vector_norm"]

Axis = Literal[0, 1] | None


def mean(A: Node, axis: Axis) -> Node:
    """Return the sum over an axis, divided by how many there are."""
    return elementwise("divide", sum_over(A, axis), (float(_count(A, axis)), ""))


def variance(A: Node, axis: Axis, ddof: float) -> Node:
    """Return the mean square of what is left when the mean is taken away: two passes, as in NumPy."""
    centered = elementwise("subtract", A, kept(mean(A, axis), axis, A.ndim))
    if np.dtype(A.dtype).kind == "c":
        centered = elementwise("absolute", centered)
    total = sum_over(elementwise("square", centered), axis)
    return elementwise("divide", total, (max(_count(A, axis) - ddof, 0.0), ""))


def kept(A: Node, axis: Axis, ndim: int) -> Node:
    """Return a reduction along an axis with that axis kept, of length one (``keepdims``)."""
    return with_dimensions(A, ndim, column=axis == 1)


def extreme(A: Node, axis: Axis, which: Literal["maximum", "minimum"]) -> Node:
    """Return the largest or smallest number of each column (axis 0) or row (1), or of all; NaN stays NaN."""
    if _count(A, axis) == 0:
        raise ValueError(f"{which} of no numbers: the shape is {A.grid.shape[: A.ndim]}")
    if axis == 0:
        return extreme(flip(A, "T"), 1, which)
    kernel = "row_maxima" if which == "maximum" else "row_minima"
    rows = make(Beside(kernel, 1), make(Parts(kernel, None, 1), filled(A)))
    if axis == 1:
        return rows
    return make(Beside(kernel, 0), make(Parts(kernel, None, 1), flip(rows, "T")))


def vector_norm(A: Node, axis: Axis, order: float) -> Node:
    """Return (Σ |a|^order)^(1/order) along an axis: 0 counts what is not zero, ±inf is an extreme.

    The Euclidean norm of all entries is safe from overflow; all others are as NumPy's.
    """
    if order == 2 and axis is None:
        return norm(A, "fro")
    sizes = entry_norms(A, order)
    if np.isinf(order) and not (order > 0 and _count(A, axis) == 0):
        return extreme(sizes, axis, "maximum" if order > 0 else "minimum")
    if order in (0, 1) or np.isinf(order):  # of nothing the largest is 0, as is the sum
        return sum_over(sizes, axis)
    if order == 2:
        return elementwise("sqrt", sum_over(elementwise("square", sizes), axis))
    total = sum_over(elementwise("power", sizes, (order, "")), axis)
    return elementwise("power", total, (1 / order, ""))


def entry_norms(A: Node, order: float) -> Node:
    """Return the norm of each entry, |a|; of order 0 it is 1 for what is not zero."""
    sizes = elementwise("absolute", A)
    if order == 0:  # fmin: NaN is not zero
        return elementwise("fmin", elementwise("sign", sizes), (1.0, ""))
    return sizes


def _count(A: Node, axis: Axis) -> int:
    m, n = A.grid.shape
    return m * n if axis is None else A.grid.shape[axis]


@dataclass(frozen=True)
class Beside(Operation):
    """The parts of a row side by side in one tile, then a kernel: s[i] = kernel([P[i, 0] P[i, 1] …]).

    Parts have one column. Tasks: one per row of parts; reads: one per part; waves: 1.
    """

    kernel: str
    ndim: int

    def describe(self, *args: Node) -> Description:
        P = args[0]
        return Description(Grid((P.grid.shape[0], 1), (P.grid.tile[0], 1)), P.dtype, "general", self.ndim)

    def tasks(self, out: Node) -> Iterator[Task]:
        P = out.args[0]
        N = P.grid.counts[1]
        for i in range(out.grid.counts[0]):
            base = tuple(replace(read, offset=(0, t)) for t in range(N) for read in P.reads(i, t))
            yield out.task(i, 0, base=base, finish=self.kernel, shape=(P.grid.extent(i, 0)[0], N))
