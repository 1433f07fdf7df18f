"""Condition numbers: a free lower bound from the diagonals of the triangles that were solved with.

Of a triangle T every |tᵢᵢ| is at most ‖T‖, and every 1/|tᵢᵢ| at most ‖T⁻¹‖. So max |tᵢᵢ| / min |tᵢᵢ| is at
most cond(T), and the square of it at most cond(A) for A = T Tᴴ. The condition number may be much larger: that
nobody is warned promises nothing. Of the U of LU factors only cond(U) is known, and the warning says so.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Container, Mapping

import numpy as np

from wrenla.planning.expression import Node, Operation
from wrenla.planning.graph import Graph
from wrenla.run.events import Event, TaskFinished

__all__ = ["Conditioning", "warn_growth", "warn_ill_conditioned"]


class Conditioning:
    """Listener that warns of ill-conditioned systems, as SciPy does.

    Parameters
    ----------
    graph : Graph
    originals : mapping of str to Node
        What the arrays of the graph are.
    quiet : container of str
        Keys of nodes that are left out.
    """

    def __init__(self, graph: Graph, originals: Mapping[str, Node], quiet: Container[str] = ()) -> None:
        self._graph = graph
        self._solved: dict[str, tuple[int, str, str]] = {}
        for name in graph.tiles.arrays:
            op = (node := originals[name]).op
            if node.key not in quiet and isinstance(op, Operation) and (power := op.factor_power(node)):
                self._solved[name] = power, node.dtype, op.factor_name or "matrix"
        self._pivots: dict[str, tuple[float, float]] = {}

    def __bool__(self) -> bool:
        return bool(self._solved)

    def __call__(self, event: Event) -> None:
        if isinstance(event, TaskFinished) and event.report.pivots != (0.0, 0.0):
            name = self._graph.out(event.task).array
            low, high = self._pivots.get(name, (np.inf, 0.0))
            self._pivots[name] = min(low, event.report.pivots[0]), max(high, event.report.pivots[1])

    def warn(self) -> None:
        """Emit a `scipy.linalg.LinAlgWarning` if a condition number is surely too large for the precision."""
        rcond, of = 1.0, ""
        for name, (low, high) in self._pivots.items():
            power, dtype, what = self._solved.get(name, (0, "", ""))
            if not power or low == 0:
                continue
            bound = (low / high) ** power
            if bound < min(rcond, float(np.finfo(dtype).eps)):
                rcond, of = bound, what
        if of:
            warn_ill_conditioned(f"rcond is at most {rcond:.3g}", of)


def warn_ill_conditioned(why: str, what: str = "matrix") -> None:
    """Emit a `scipy.linalg.LinAlgWarning`, in the line of the user's that has asked for the solution."""
    _warn(
        f"Ill-conditioned {what}: {why}, below the precision of its dtype, so the solution may have no "
        "correct digit"
    )


def warn_growth(growth: float) -> None:
    """Emit a `scipy.linalg.LinAlgWarning`: a determinant is found by factors whose entries have grown."""
    _warn(
        f"Determinant: entries grow to {growth:.2g} times their size in the elimination of the matrix, and "
        "in that of its adjoint, so it may have no correct digit"
    )


def _warn(text: str) -> None:
    from scipy.linalg import LinAlgWarning

    warnings.warn(text, LinAlgWarning, stacklevel=_depth())


def _depth() -> int:
    """Return the `stacklevel` of the first frame outside of wrenla."""
    depth, frame = 1, sys._getframe(1)
    ours = __name__.partition(".")[0]
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in (
        ours,
        "contextlib",
    ):
        depth, frame = depth + 1, frame.f_back
    return depth
