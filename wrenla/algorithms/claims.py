"""What is said of a matrix that is data: looked at now, or by whoever reads its tiles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wrenla.algorithms.views import Flip, Shift
from wrenla.plan.expression import Leaf, Node, make
from wrenla_handler.claims import check_diagonal

__all__ = ["claimed"]

_AT_ONCE = 16 << 20
"""Bytes of an array that is looked at whole at once: about two milliseconds."""

_FLIPPED = {"lower": "upper", "upper": "lower"}


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
        if spec.kind == "host" and A.op.payload.nbytes <= _AT_ONCE:
            check_diagonal(np.asarray(A.op.payload), claim, 0)
        elif spec.kind in ("host", "function") and spec.grid.tile[0] == spec.grid.tile[1]:
            return replace(A, op=replace(A.op, spec=replace(spec, claim=claim)))
    elif isinstance(A.op, Shift) and np.isreal(A.op.c):
        return make(A.op, claimed(A.args[0], claim))
    elif isinstance(A.op, Flip):
        transposed = A.op.op in "TC"
        return make(A.op, claimed(A.args[0], _FLIPPED.get(claim, claim) if transposed else claim))
    return A
