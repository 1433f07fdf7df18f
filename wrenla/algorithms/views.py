"""Views: operations that ride on the reads of others and make no tiles of their own.

Reading a tile through views comes to ``diag(rows) · (scale · op(mask(tile)) + shift · I) · diag(cols)``,
summed over a few tiles. What does not fit this form, or would be rounded otherwise than in NumPy, is a read
of a read (`nested`): of numbers only signs are merged, as nothing else is exact whatever the entries are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from wrenla.algorithms.assemble import copy, rechunk
from wrenla.algorithms.flips import flip
from wrenla.planning.expression import Description, Node, View, make, result_dtype
from wrenla.planning.strips import Strip, combined, nested
from wrenla_handler.tiles.layout import Structure
from wrenla_handler.tiles.task import Mask, Read, Scalar

__all__ = [
    "add",
    "around",
    "factor",
    "flip",
    "masked",
    "materialize",
    "negative",
    "scale",
    "scale_columns",
    "scale_rows",
    "shift",
    "triangle",
    "view",
    "with_number",
]


_MOST = 64
"""Views of views: more would cost every reader more than a copy costs once."""


def view(op: View, *args: Node) -> Node:
    """Return a view of some matrices; what is a view of views of views … is copied first."""
    return make(op, *(copy(A) if A.views >= _MOST else A for A in args))


def materialize(A: Node, *unwanted: str) -> Node:
    """Return `A`, copied first if its reads already do one of `unwanted`.

    The words: "mask", "shift", "rows", "cols", and "sum" for whatever is worth being made only once, since it
    takes several tiles or a function that is not cheap.
    """
    return copy(A) if A.carries & set(unwanted) else A


def factor(A: Node, readers: int) -> Node:
    """Return `A` as a factor of products that read each of its tiles `readers` times."""
    return materialize(A, "sum") if readers > 1 else A


def scale(A: Node, c: Scalar, dtype: str = "") -> Node:
    """Return c A for a finite c; `dtype` is that of `c` unless it is a number of Python's."""
    if (c == 1 or c == -1) and with_number(A.dtype, c, dtype) == A.dtype:
        return A if c == 1 else negative(A)
    return view(Scale(c, dtype), A)


def negative(A: Node) -> Node:
    """Return −A."""
    return view(Negative(), A)


def shift(A: Node, c: Scalar, dtype: str = "") -> Node:
    """Return A + c I; `dtype` is that of `c` unless it is a number of Python's."""
    if c == 0 and with_number(A.dtype, c, dtype) == A.dtype:
        return A
    return view(Shift(c, dtype), _square_tiles(A))


def with_number(of_matrix: str, c: Scalar, of_number: str) -> str:
    """Return the dtype of a matrix and a number together: as in NumPy one of Python's adds no precision."""
    weak = (np.complex64,) if isinstance(c, complex) else ()
    return result_dtype(of_matrix, *((of_number,) if of_number else ()), *weak)


def scale_rows(A: Node, w: Node) -> Node:
    """Return diag(w) A."""
    return view(Weigh("rows"), A, w)


def scale_columns(A: Node, w: Node) -> Node:
    """Return A diag(w)."""
    return view(Weigh("cols"), A, w)


def add(A: Node, B: Node) -> Node:
    """Return A + B, both in the same grid."""
    return view(Add(), A, B)


def triangle(A: Node, part: Literal["lower", "upper"]) -> Node:
    """Return the lower or upper triangle of A, diagonal included."""
    if A.structure == part:
        return A
    return view(Triangle(part), materialize(_square_tiles(A), "mask"))


def _square_tiles(A: Node) -> Node:
    """Return A in tiles that its diagonal runs through corner by corner."""
    rows, cols = A.grid.tile
    if rows == cols or A.grid.shape[0] != A.grid.shape[1]:
        return A
    return rechunk(A, (min(rows, cols), min(rows, cols)))


def around(strip: Strip, fixed: int) -> Iterator[Strip]:
    """Yield a run in up to three parts: only the diagonal tile is changed, so it is a run of its own."""
    end = strip.start + strip.n
    for first, last in ((strip.start, min(fixed, end)), (fixed, fixed + 1), (fixed + 1, end)):
        first, last = max(first, strip.start), min(last, end)
        if first < last:
            yield strip.part(first, last)


def masked(strip: Strip, mask: Mask, dtype: str) -> Strip:
    """Return a diagonal tile with zeros in its other triangle, whatever its read would give there."""
    outer = nested("", dtype, dtype, (strip,))
    return replace(outer, read=replace(outer.read, mask=mask))


class _Tilewise(View):
    """A view of one matrix that reads tile `(i, j)` where the other has it, changed a little."""

    version: ClassVar[int] = 1

    def change(self, view: Node, strip: Strip, i: int, j: int) -> Strip:
        raise NotImplementedError

    def strips(self, view: Node, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        for strip in view.args[0].strips(axis, fixed, start, stop):
            i, j = (fixed, strip.start) if axis == 1 else (strip.start, fixed)
            yield self.change(view, strip, i, j)


def _exact(read: Read, dtype: str) -> bool:
    """Tell whether further arithmetic in `dtype` can go on in the same read: it has none in another one."""
    return read.dtype in ("", dtype) or (
        (read.scale == 1 or read.scale == -1) and not (read.shift or read.rows or read.cols)
    )


@dataclass(frozen=True)
class Scale(_Tilewise):
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
        return Description(A.grid, with_number(A.dtype, self.c, self.dtype), structure, A.ndim)

    def change(self, view: Node, strip: Strip, i: int, j: int) -> Strip:
        read, dtype = strip.read, view.dtype
        if (read.scale == 1 or read.scale == -1) and not (read.shift or read.rows or read.cols):
            return replace(
                strip, read=replace(read, scale=self.c if read.scale == 1 else -self.c, dtype=dtype)
            )
        return nested("multiply", dtype, dtype, (strip, self.c))


@dataclass(frozen=True)
class Negative(_Tilewise):
    """−A: a change of signs, which is exact wherever it is made."""

    def describe(self, *args: Node) -> Description:
        A = args[0].description
        return replace(A, structure="hermitian") if A.structure == "pos" else A

    def change(self, view: Node, strip: Strip, i: int, j: int) -> Strip:
        read = strip.read
        return replace(strip, read=replace(read, scale=-read.scale, shift=-read.shift if read.shift else 0))


@dataclass(frozen=True)
class Shift(_Tilewise):
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
        return Description(A.grid, with_number(A.dtype, self.c, self.dtype), structure)

    def carries(self, *args: Node) -> frozenset[str]:
        return args[0].carries | {"shift"}

    def change(self, view: Node, strip: Strip, i: int, j: int) -> Strip:
        read, dtype = strip.read, view.dtype
        if i != j:
            return strip
        if read.shift or read.rows or read.cols or not _exact(read, dtype):
            strip = nested("", dtype, dtype, (strip,))
        return replace(strip, read=replace(strip.read, shift=self.c, dtype=dtype))

    def strips(self, view: Node, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        for strip in view.args[0].strips(axis, fixed, start, stop):
            for part in around(strip, fixed):
                yield self.change(view, part, part.start, fixed)


@dataclass(frozen=True)
class Weigh(_Tilewise):
    """diag(w) A or A diag(w)."""

    side: Literal["rows", "cols"]
    version: ClassVar[int] = 2

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
        mask = {"mask"} if args[0].structure in ("lower", "upper") else set()
        return args[0].carries | {self.side} | mask

    def change(self, view: Node, strip: Strip, i: int, j: int) -> Strip:
        read, w, dtype = strip.read, view.args[1], view.dtype
        if read.cols or (self.side == "rows" and read.rows) or not _exact(read, dtype):
            strip = nested("", dtype, dtype, (strip,))
        if self.side == "rows":
            return replace(strip, read=replace(strip.read, rows=w.ref(i, 0), dtype=dtype))
        return replace(strip, read=replace(strip.read, cols=w.ref(j, 0), dtype=dtype))

    def strips(self, view: Node, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        for strip in super().strips(view, axis, fixed, start, stop):
            di, dj, dr, dc = strip.step
            if self.side == "rows":
                dr = 1 - axis
            else:
                dc = axis
            strip = replace(strip, step=(di, dj, dr, dc))
            if view.structure not in ("lower", "upper"):
                yield strip
                continue
            for part in around(strip, fixed):
                yield masked(part, view.structure, view.dtype) if part.start == fixed else part


@dataclass(frozen=True)
class Triangle(_Tilewise):
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

    def change(self, view: Node, strip: Strip, i: int, j: int) -> Strip:
        return strip if i != j else replace(strip, read=self._masked(strip.read))

    def _masked(self, read: Read) -> Read:
        other: Mask = "upper" if self.part == "lower" else "lower"
        return replace(read, mask=other if read.op in "TC" else self.part)

    def reads(self, view: Node, i: int, j: int) -> tuple[Read, ...]:
        outside = i < j if self.part == "lower" else i > j
        reads = () if outside else view.args[0].reads(i, j)
        return tuple(map(self._masked, reads)) if i == j else reads

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
class Add(View):
    """A + B: two reads for each tile."""

    version: ClassVar[int] = 1

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
        # several are added one by one, oldest first and in one dtype; what is added otherwise is added before
        if len(first) > 1 and view.args[0].dtype != view.dtype:
            first = _one(view.args[0], i, j)
        if len(second) > 1:
            second = _one(view.args[1], i, j)
        return (*first, *(replace(read, accumulate=bool(first)) for read in second))

    def strips(self, view: Node, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        sides = [list(arg.strips(axis, fixed, start, stop)) for arg in view.args]
        for first, last, found in combined(sides, start, stop):
            match [strip for strip in found if strip is not None]:
                case [strip]:
                    yield strip
                case [a, b]:
                    yield replace(nested("add", view.dtype, view.dtype, (a, b)), start=first, n=last - first)


def _one(A: Node, i: int, j: int) -> tuple[Read, ...]:
    return tuple(strip.read for strip in A.strips(1, i, j, j + 1))
