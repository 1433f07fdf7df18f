"""Claimed structures of data: check now, or mark the tiles for whoever reads them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from wrenla.algorithms.flips import Flip
from wrenla.algorithms.views import Shift
from wrenla.planning.expression import Leaf, Node, make
from wrenla.words import Solver
from wrenla_handler.tiles.claims import check_diagonal

__all__ = ["claimed", "found"]

_AT_ONCE = 16 << 20
"""Bytes of an array that is looked at whole at once: about two milliseconds."""

_FLIPPED = {"lower": "upper", "upper": "lower"}


def found(A: Node) -> Solver:
    """Return what a matrix of which nothing is known turns out to be, if it is a small array.

    As in SciPy's `solve` a Hermitian one whose diagonal is positive is taken for positive definite. Nobody
    has said that small entries do not count: so zeros are zeros, and equal is equal to the last bit.
    """
    if not _is_small(A):
        return "general"
    array = np.asarray(A.op.payload)
    lower = not any(array[i, i + 1 :].any() for i in range(len(array)))
    upper = not any(array[i, :i].any() for i in range(len(array)))
    if lower or upper:
        return "diagonal" if lower and upper else "lower" if lower else "upper"
    positive = (array.diagonal().real > 0).all() and not array.diagonal().imag.any()
    return "pos" if positive and all(map(partial(_mirrors, array), range(len(array)))) else "general"


def _mirrors(array: npt.NDArray[Any], i: int) -> bool:
    """Tell whether a row left of the diagonal is the conjugate of the column above it."""
    return np.array_equal(array[i, :i], array[:i, i].conj(), equal_nan=True)


def claimed(A: Node, claim: str) -> Node:
    """Return `A` with what is said of its structure to be looked at.

    A small array is looked at now; of a larger one, and of a function, the diagonal tiles when they are read,
    and a sample of the others. What was saved, and what is computed, is believed.

    Raises
    ------
    StructureError
    """
    if isinstance(A.op, Leaf) and claim != "general" and A.grid.shape[0] == A.grid.shape[1]:
        spec = A.op.spec
        if _is_small(A):
            check_diagonal(np.asarray(A.op.payload), claim, 0)
        elif spec.kind in ("host", "function") and spec.grid.tile[0] == spec.grid.tile[1]:
            return replace(A, op=replace(A.op, spec=replace(spec, claim=claim)))
    elif isinstance(A.op, Shift) and np.isreal(A.op.c):
        return make(A.op, claimed(A.args[0], claim))
    elif isinstance(A.op, Flip):
        transposed = A.op.op in "TC"
        return make(A.op, claimed(A.args[0], _FLIPPED.get(claim, claim) if transposed else claim))
    return A


def _is_small(A: Node) -> bool:
    """Tell whether a matrix is an array that can be looked at whole."""
    if not isinstance(A.op, Leaf) or A.op.spec.kind != "host" or A.grid.shape[0] != A.grid.shape[1]:
        return False
    return isinstance(A.op.payload, np.ndarray) and A.op.payload.nbytes <= _AT_ONCE and A.ndim == 2
