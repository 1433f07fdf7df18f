"""Choice between the ways to solve, by their plans on the executor at hand."""

from __future__ import annotations

from wrenla.algorithms.factorizations.checks import residual
from wrenla.algorithms.factorizations.lu import LU, lu_solve
from wrenla.planning.cost_model import ExecutorModel
from wrenla.planning.expression import Node
from wrenla.planning.plan import make_plan
from wrenla.procedures.ways import butterfly_factor, by_butterflies

__all__ = ["butterflies_win"]

_WORKERS = 8
"""Workers below which exchanges of rows are always cheaper than twice the reads of LU by blocks."""

_SECONDS = 60
"""Seconds of LU below which nobody need compare: planning twice takes seconds, too."""

_MARGIN = 0.8
"""Part of LU's time that butterflies may take. More than one step of refinement is rare, but happens."""


def butterflies_win(F: LU, A: Node, B: Node, model: ExecutorModel) -> bool:
    """Tell whether random butterflies, with a step of refinement, are expected to be faster than LU factors.

    Where many workers wait for the panels of LU they are: for 32 x 32 tiles of 2048 on 64 functions, 458
    seconds were simulated instead of 1,355.
    """
    model = model.nominal  # the choice changes the result: it must not depend on a measurement
    if model.workers < _WORKERS or A.grid.counts[0] < _WORKERS:
        return False
    by_lu = make_plan([lu_solve(F, B)], model)[0].seconds
    if by_lu < _SECONDS:
        return False
    way = by_butterflies(butterfly_factor(A, "general"), "general")
    X = way.solve(way.factor, B)
    D = way.solve(way.factor, residual(A, X, B, X.dtype))
    return make_plan([D], model)[0].seconds < _MARGIN * by_lu
