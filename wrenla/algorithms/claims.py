"""Claimed structures: check at once, or when the tiles are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from wrenla.algorithms.assemble import rechunk
from wrenla.algorithms.flips import Flip
from wrenla.algorithms.views import Shift, around, view
from wrenla.planning.expression import Description, Leaf, Node, View, make
from wrenla.planning.strips import Strip, nested
from wrenla.vocabulary import Solver
from wrenla_handler.tiles.arrays import FunctionArray, HostArray
from wrenla_handler.tiles.claims import check_diagonal
from wrenla_handler.tiles.task import Read, Scalar

__all__ = ["claimed", "found"]

_AT_ONCE = 16 << 20
"""Bytes of an array that is looked at whole at once: some milliseconds."""

_FLIPPED = {"lower": "upper", "upper": "lower"}


def found(A: Node) -> Solver:
    """Return the structure of a small array that has none, by its entries.

    As in SciPy's `solve` a Hermitian one whose diagonal is positive is positive definite if it has a Cholesky
    factor. Nobody has said that small entries do not count: so zeros are zeros, and equal is equal to the
    last bit.
    """
    array = _small(A)
    if array is None:
        return "general"
    lower = not any(array[i, i + 1 :].any() for i in range(len(array)))
    upper = not any(array[i, :i].any() for i in range(len(array)))
    if lower or upper:
        return "diagonal" if lower and upper else "lower" if lower else "upper"
    positive = (array.diagonal().real > 0).all() and not array.diagonal().imag.any()
    if not (positive and all(map(partial(_mirrors, array), range(len(array))))):
        return "general"
    try:
        np.linalg.cholesky(array)
    except np.linalg.LinAlgError:
        return "hermitian"
    return "pos"


def _mirrors(array: npt.NDArray[Any], i: int) -> bool:
    """Tell whether a row left of the diagonal is the conjugate of the column above it."""
    return np.array_equal(array[i, :i], array[:i, i].conj(), equal_nan=True)


def claimed(A: Node, claim: str) -> Node:
    """Return `A` with a claimed structure that is checked when tiles are read.

    A small array is looked at now; of all else the diagonal tiles when they are read, and a sample of the
    others. `A` itself may be known to have another structure, which the claim then is compared with.

    Raises
    ------
    StructureError
    """
    if claim == "general" or A.grid.shape[0] != A.grid.shape[1]:
        return A
    match A.op:
        case Leaf() as op if A.structure in ("general", claim):
            if (array := _small(A)) is not None:
                check_diagonal(array, claim, 0)
                return A
            # whoever reads tiles of these can read entries of others as well
            spec, looks = op.spec, claim != "diagonal" and _has_square_tiles(A)
            if looks and isinstance(spec, HostArray | FunctionArray):
                return replace(A, op=replace(op, spec=replace(spec, claim=claim)))
        case Shift(c) if np.isreal(c):
            return make(A.op, claimed(A.args[0], claim))
        case Flip(op):
            return make(A.op, claimed(A.args[0], _FLIPPED.get(claim, claim) if op in "TC" else claim))
    edge = min(A.grid.tile)
    return view(Looked(claim), A if _has_square_tiles(A) else rechunk(A, (edge, edge)))


def _has_square_tiles(A: Node) -> bool:
    return A.grid.tile[0] == A.grid.tile[1]


def _small(A: Node) -> npt.NDArray[Any] | None:
    """Return the array that a matrix is, if it can be looked at whole."""
    if not isinstance(A.op, Leaf) or not isinstance(A.op.spec, HostArray) or A.ndim != 2:
        return None
    array, (m, n) = A.op.payload, A.grid.shape
    is_small = m == n and isinstance(array, np.ndarray) and array.nbytes <= _AT_ONCE
    return np.asarray(array) if is_small else None


@dataclass(frozen=True)
class Looked(View):
    """A, with its claimed structure checked at each read of a diagonal tile.

    With each diagonal tile A[k, k] one pair of others is read, A[p, k] and A[k, p], and A[p, p], which tells
    how large entries are there. Tasks: none of its own.
    """

    claim: str
    version: ClassVar[int] = 1

    def describe(self, *args: Node) -> Description:
        return args[0].description

    def reads(self, view: Node, i: int, j: int) -> tuple[Read, ...]:
        if i != j:
            return view.args[0].reads(i, j)
        return tuple(strip.read for strip in self.strips(view, 1, i, i, i + 1))

    def strips(self, view: Node, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        A = view.args[0]
        for strip in A.strips(axis, fixed, start, stop):
            for part in around(strip, fixed):
                yield self._looking(A, part) if part.start == fixed else part

    def _looking(self, A: Node, tile: Strip) -> Strip:
        """Return the read of a diagonal tile, with those of others beside it."""
        n, k = A.grid.counts[0], tile.start
        parts: list[Strip | Scalar] = [tile, A.grid.origin(k, k)[0]]
        if n > 1:
            p = (k + 1 + k * 2654435761 % 2**32 % (n - 1)) % n
            other, *pair = (next(A.row(i, j, j + 1), None) for i, j in ((p, p), (p, k), (k, p)))
            if other is not None and any(pair):
                parts += [other, A.grid.origin(p, p)[0], *(0 if one is None else one for one in pair)]
        return replace(nested(f"is {self.claim}", A.dtype, A.dtype, parts), start=k)
