"""Transposes and conjugates: nothing but another way to read the same tiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from wrenla.planning.expression import Description, Node, View, make
from wrenla.planning.strips import Strip, nested
from wrenla_handler.tiles.layout import Structure
from wrenla_handler.tiles.task import Op, Read, Scalar

__all__ = ["flip"]


def flip(A: Node, op: Op) -> Node:
    """Return A, Aᵀ, Aᴴ or conj(A)."""
    if np.dtype(A.dtype).kind != "c":
        op = "T" if op in "TC" else "N"
    if op == "N" or (op == "C" and A.structure in ("hermitian", "pos")):
        return A
    if isinstance(A.op, Flip):
        return flip(A.args[0], _compose(op, A.op.op))
    return make(Flip(op), A)


_TRANSPOSED: dict[Structure, Structure] = {"lower": "upper", "upper": "lower"}


@dataclass(frozen=True)
class Flip(View):
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

    def _change(self, strip: Strip, dtype: str) -> Strip:
        read, transposed, conjugated = strip.read, self.op in "TC", self.op in "CR"
        if (read.rows and read.cols) or (conjugated and (read.rows or read.cols)):
            # weights of rows come first, and are not conjugated
            strip = nested("", dtype, dtype, (strip,))
            read = strip.read
        di, dj, dr, dc = strip.step
        rows, cols = (read.cols, read.rows) if transposed else (read.rows, read.cols)
        read = replace(
            read,
            op=_compose(self.op, read.op),
            scale=_conj(read.scale) if conjugated else read.scale,
            shift=_conj(read.shift) if conjugated else read.shift,
            rows=rows,
            cols=cols,
        )
        return replace(strip, read=read, step=(di, dj, dc, dr) if transposed else strip.step)

    def reads(self, view: Node, i: int, j: int) -> tuple[Read, ...]:
        if self.op in "TC":
            i, j = j, i
        reads = view.args[0].reads(i, j)
        changed = (self._change(Strip(0, 1, read, (0, 0, 0, 0)), view.dtype).read for read in reads)
        return tuple(replace(new, accumulate=old.accumulate) for new, old in zip(changed, reads, strict=True))

    def strips(self, view: Node, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        along = 1 - axis if self.op in "TC" else axis
        for strip in view.args[0].strips(along, fixed, start, stop):
            yield self._change(strip, view.dtype)


def _conj(c: Scalar) -> Scalar:
    return c.conjugate() if isinstance(c, complex) else c


def _compose(outer: Op, inner: Op) -> Op:
    transposed = (outer in "TC") != (inner in "TC")
    conjugated = (outer in "CR") != (inner in "CR")
    return ("C" if conjugated else "T") if transposed else ("R" if conjugated else "N")
