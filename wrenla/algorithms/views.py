"""Views: what rides on the reads of others and makes no tiles of its own.

Reading a tile through views comes to ``diag(rows) · (scale · op(mask(tile)) + shift · I) · diag(cols)``,
summed over a few tiles. Whatever does not fit this form is first copied (`settle`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from wrenla.algorithms.assemble import copy, rechunk
from wrenla.plan.expression import Description, Node, Strip, View, make, result_dtype
from wrenla_handler.layout import Structure
from wrenla_handler.task import Mask, Op, Read, Scalar

__all__ = ["add", "flip", "scale", "scale_columns", "scale_rows", "settle", "shift", "triangle"]


_MOST = 64
"""Views of views: more would cost every reader more than a copy costs once."""


def _view(op: View, *args: Node) -> Node:
    """Return a view of some matrices; what is a view of views of views … is copied first."""
    return make(op, *(copy(A) if A.views >= _MOST else A for A in args))


def settle(A: Node, *unwanted: str) -> Node:
    """Return `A`, copied first if its reads already do one of `unwanted`."""
    return copy(A) if A.carries & set(unwanted) else A


def flip(A: Node, op: Op) -> Node:
    """Return A, Aᵀ, Aᴴ or conj(A)."""
    if np.dtype(A.dtype).kind != "c":
        op = "T" if op in "TC" else "N"
    if op == "N" or (op == "C" and A.structure in ("hermitian", "pos")):
        return A
    if isinstance(A.op, Flip):
        return flip(A.args[0], _compose(op, A.op.op))
    if np.dtype(A.dtype).kind == "c":  # a read cannot conjugate its weights
        A = settle(A, "rows", "cols")
    return make(Flip(op), A)


def scale(A: Node, c: Scalar, dtype: str = "") -> Node:
    """Return c A; `dtype` is that of `c` unless it is a number of Python's."""
    return A if c == 1 and _raised(A.dtype, c, dtype) == A.dtype else _view(Scale(c, dtype), A)


def shift(A: Node, c: Scalar, dtype: str = "") -> Node:
    """Return A + c I; `dtype` is that of `c` unless it is a number of Python's."""
    if c == 0 and _raised(A.dtype, c, dtype) == A.dtype:
        return A
    return _view(Shift(c, dtype), settle(_square_tiles(A), "rows", "cols"))


def _raised(of_matrix: str, c: Scalar, of_number: str) -> str:
    """Return the dtype of a matrix and a number together: as in NumPy one of Python's adds no precision."""
    weak = (np.complex64,) if isinstance(c, complex) else ()
    return result_dtype(of_matrix, *((of_number,) if of_number else ()), *weak)


def scale_rows(A: Node, w: Node) -> Node:
    """Return diag(w) A."""
    return _view(Weigh("rows"), settle(A, "rows"), w)


def scale_columns(A: Node, w: Node) -> Node:
    """Return A diag(w)."""
    return _view(Weigh("cols"), settle(A, "cols"), w)


def add(A: Node, B: Node) -> Node:
    """Return A + B, both in the same grid."""
    return _view(Add(), A, B)


def triangle(A: Node, part: Literal["lower", "upper"]) -> Node:
    """Return the lower or upper triangle of A, diagonal included."""
    if A.structure == part:
        return A
    return _view(Triangle(part), settle(_square_tiles(A), "mask"))


def _square_tiles(A: Node) -> Node:
    """Return A in tiles that its diagonal runs through corner by corner."""
    rows, cols = A.grid.tile
    if rows == cols or A.grid.shape[0] != A.grid.shape[1]:
        return A
    return rechunk(A, (min(rows, cols), min(rows, cols)))


def _compose(outer: Op, inner: Op) -> Op:
    transposed = (outer in "TC") != (inner in "TC")
    conjugated = (outer in "CR") != (inner in "CR")
    return ("C" if conjugated else "T") if transposed else ("R" if conjugated else "N")


_TRANSPOSED: dict[Structure, Structure] = {"lower": "upper", "upper": "lower"}


class _Elementwise:
    """A view of one matrix that reads tile `(i, j)` where the other has it, changed a little."""

    def carries(self, *args: Node) -> frozenset[str]:
        return args[0].carries

    def change(self, view: Node, read: Read, i: int, j: int) -> Read:
        raise NotImplementedError

    def reads(self, view: Node, i: int, j: int) -> tuple[Read, ...]:
        return tuple(self.change(view, read, i, j) for read in view.args[0].reads(i, j))

    def strips(self, view: Node, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        for strip in view.args[0].strips(axis, fixed, start, stop):
            i, j = (fixed, strip.start) if axis == 1 else (strip.start, fixed)
            yield replace(strip, read=self.change(view, strip.read, i, j))


@dataclass(frozen=True)
class Flip:
    """Aᵀ, Aᴴ or conj(A)."""

    op: Op

    def describe(self, *args: Node) -> Description:
        A = args[0].description
        transposed = self.op in "TC"
        return Description(
            A.grid.T if transposed else A.grid,
            A.dtype,
            _TRANSPOSED.get(A.structure, A.structure) if transposed else A.structure,
            2 if transposed else A.ndim,  # a transposed vector is a row: no vector of ours any more
        )

    def carries(self, *args: Node) -> frozenset[str]:
        swap = {"rows": "cols", "cols": "rows"} if self.op in "TC" else {}
        return frozenset(swap.get(word, word) for word in args[0].carries)

    def _change(self, read: Read) -> Read:
        conjugated = self.op in "CR"
        rows, cols = (read.cols, read.rows) if self.op in "TC" else (read.rows, read.cols)
        return replace(
            read,
            op=_compose(self.op, read.op),
            scale=_conj(read.scale) if conjugated else read.scale,
            shift=_conj(read.shift) if conjugated else read.shift,
            rows=rows,
            cols=cols,
        )

    def reads(self, view: Node, i: int, j: int) -> tuple[Read, ...]:
        if self.op in "TC":
            i, j = j, i
        return tuple(map(self._change, view.args[0].reads(i, j)))

    def strips(self, view: Node, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        transposed = self.op in "TC"
        for strip in view.args[0].strips(1 - axis if transposed else axis, fixed, start, stop):
            di, dj, dr, dc = strip.step
            step = (di, dj, dc, dr) if transposed else strip.step
            yield replace(strip, read=self._change(strip.read), step=step)


def _conj(c: Scalar) -> Scalar:
    return c.conjugate() if isinstance(c, complex) else c


@dataclass(frozen=True)
class Scale(_Elementwise):
    """c A."""

    c: Scalar
    dtype: str = ""

    def describe(self, *args: Node) -> Description:
        A = args[0].description
        structure = A.structure
        if structure == "pos" and not (np.isreal(self.c) and np.real(self.c) > 0):
            structure = "hermitian"
        if structure == "hermitian" and not np.isreal(self.c):
            structure = "general"
        return Description(A.grid, _raised(A.dtype, self.c, self.dtype), structure, A.ndim)

    def change(self, view: Node, read: Read, i: int, j: int) -> Read:
        return replace(read, scale=read.scale * self.c, shift=read.shift * self.c)


@dataclass(frozen=True)
class Shift(_Elementwise):
    """A + c I."""

    c: Scalar
    dtype: str = ""

    def describe(self, *args: Node) -> Description:
        A = args[0].description
        if A.grid.shape[0] != A.grid.shape[1] or A.ndim != 2:
            shape = A.grid.shape[: A.ndim]
            raise ValueError(f"shift adds to the diagonal of a square matrix; this one is {shape}")
        structure = A.structure
        if structure == "pos" and not (np.isreal(self.c) and np.real(self.c) >= 0):
            structure = "hermitian"
        if structure == "hermitian" and not np.isreal(self.c):
            structure = "general"
        return Description(A.grid, _raised(A.dtype, self.c, self.dtype), structure)

    def carries(self, *args: Node) -> frozenset[str]:
        return args[0].carries | {"shift"}

    def change(self, view: Node, read: Read, i: int, j: int) -> Read:
        return replace(read, shift=read.shift + self.c) if i == j else read

    def reads(self, view: Node, i: int, j: int) -> tuple[Read, ...]:
        reads = view.args[0].reads(i, j)
        if not reads:
            return ()
        return (self.change(view, reads[0], i, j), *reads[1:])

    def strips(self, view: Node, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        for strip in view.args[0].strips(axis, fixed, start, stop):
            end = strip.start + strip.n
            # only the diagonal tile is changed, so a run that crosses it is three runs
            for first, last in ((strip.start, min(fixed, end)), (fixed, fixed + 1), (fixed + 1, end)):
                first, last = max(first, strip.start), min(last, end)
                if first < last:
                    part = strip.part(first, last)
                    yield replace(part, read=self.change(view, part.read, first, fixed))


@dataclass(frozen=True)
class Weigh(_Elementwise):
    """diag(w) A or A diag(w)."""

    side: Literal["rows", "cols"]

    def describe(self, *args: Node) -> Description:
        A, w = args[0].description, args[1]
        axis, what = (0, "rows") if self.side == "rows" else (1, "columns")
        if w.grid.shape != (A.grid.shape[axis], 1):
            raise ValueError(
                f"a matrix of shape {A.grid.shape} has {A.grid.shape[axis]} {what} to be weighed, "
                f"not {w.grid.shape[0]}"
            )
        structure = A.structure if A.structure in ("lower", "upper") else "general"
        return Description(A.grid, result_dtype(A.dtype, w.dtype), structure, A.ndim)

    def carries(self, *args: Node) -> frozenset[str]:
        return args[0].carries | {self.side}

    def change(self, view: Node, read: Read, i: int, j: int) -> Read:
        w = view.args[1]
        if self.side == "rows":
            return replace(read, rows=w.ref(i, 0))
        return replace(read, cols=w.ref(j, 0))

    def strips(self, view: Node, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        for strip in super().strips(view, axis, fixed, start, stop):
            di, dj, dr, dc = strip.step
            if self.side == "rows":
                dr = 1 - axis
            else:
                dc = axis
            yield replace(strip, step=(di, dj, dr, dc))


@dataclass(frozen=True)
class Triangle(_Elementwise):
    """The lower or upper triangle of A."""

    part: Literal["lower", "upper"]

    def describe(self, *args: Node) -> Description:
        A = args[0].description
        if A.grid.shape[0] != A.grid.shape[1] or A.ndim != 2:
            shape = A.grid.shape[: A.ndim]
            raise ValueError(f"the triangle of a square matrix is meant; this one is {shape}")
        return Description(A.grid, A.dtype, self.part)

    def carries(self, *args: Node) -> frozenset[str]:
        return args[0].carries | {"mask"}

    def change(self, view: Node, read: Read, i: int, j: int) -> Read:
        if i != j:
            return read
        other: Mask = "upper" if self.part == "lower" else "lower"
        return replace(read, mask=other if read.op in "TC" else self.part)

    def reads(self, view: Node, i: int, j: int) -> tuple[Read, ...]:
        outside = i < j if self.part == "lower" else i > j
        return () if outside else super().reads(view, i, j)

    def strips(self, view: Node, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        before = (self.part == "lower") == (axis == 1)
        inside = (start, min(stop, fixed)) if before else (max(start, fixed + 1), stop)
        if before:
            yield from view.args[0].strips(axis, fixed, *inside)
        if start <= fixed < stop:
            yield from super().strips(view, axis, fixed, fixed, fixed + 1)
        if not before:
            yield from view.args[0].strips(axis, fixed, *inside)


@dataclass(frozen=True)
class Add:
    """A + B: two reads for each tile."""

    def describe(self, *args: Node) -> Description:
        A, B = (arg.description for arg in args)
        if A.grid != B.grid or A.ndim != B.ndim:
            raise ValueError(f"a sum needs equal shapes: {A.grid.shape} + {B.grid.shape}")
        structure: Structure = "general"
        if A.structure == B.structure:
            structure = A.structure
        elif {A.structure, B.structure} == {"hermitian", "pos"}:
            structure = "hermitian"
        return Description(A.grid, result_dtype(A.dtype, B.dtype), structure, A.ndim)

    def carries(self, *args: Node) -> frozenset[str]:
        return args[0].carries | args[1].carries | {"sum"}

    def reads(self, view: Node, i: int, j: int) -> tuple[Read, ...]:
        first, second = (arg.reads(i, j) for arg in view.args)
        return (*first, *(replace(read, add=True) for read in second))

    def strips(self, view: Node, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        raise TypeError("a factor of a product is one tile; settle sums first")
