"""Report of a solution: what was done, and how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

from wrenla.algorithms.procedure import Pending
from wrenla.planning.expression import Leaf, Node
from wrenla.units import counted, format_bytes

__all__ = ["SolveReport", "report_of"]


@dataclass(frozen=True, slots=True)
class SolveReport:
    """Report of the solution of A X = B.

    Attributes
    ----------
    method : str
        Factorization that the solution comes from.
    why : str
        Why it was chosen.
    shape : tuple of int
        Shape of A.
    columns : int
        Number of right-hand sides.
    dtype : str
        Of the solution.
    backward_error : float
        Largest of ‖b − A x‖ / (‖A‖ ‖x‖ + ‖b‖), in the maximum norm, over the right-hand sides: of the order
        of the unit roundoff u if the solution is that of a system nearby.
    hpl : float
        The same in units of n u. HPL and we accept up to 16.
    lapack : float
        Largest of ‖b − A x‖ / (‖A‖ ‖x‖ u), the ratio of LAPACK's tests, which accept up to 30 at orders of
        some dozens: it does not heed n.
    growth : float or None
        How much entries grew in the elimination: `max |U| / max |A|`. None for Cholesky, where they cannot.
    rcond : float
        Estimate of 1 / (‖A‖₁ ‖A⁻¹‖₁), rarely more than three times too large. Below u, no digit of the
        solution need be right.
    refinements : int
        Steps of iterative refinement, the most that a right-hand side has needed.
    fallbacks : tuple of str
        What was tried before, and why it was given up.
    flops : float
        Operations in real arithmetic, of all runs.
    bytes_read, bytes_written : int
        Bytes read from stores and written to them.
    """

    method: str
    why: str
    shape: tuple[int, int]
    columns: int
    dtype: str
    backward_error: float
    hpl: float
    lapack: float
    growth: float | None
    rcond: float
    refinements: int
    fallbacks: tuple[str, ...] = ()
    flops: float = 0.0
    bytes_read: int = 0
    bytes_written: int = 0

    def __str__(self) -> str:
        (m, n), k = self.shape, self.columns
        steps = self.refinements
        rows = [
            ("method", f"{self.method}: {self.why}"),
            (
                "residual",
                f"{self.hpl:.2g} units of HPL's criterion (at most 16), backward error "
                f"{self.backward_error:.2g}, LAPACK's ratio {self.lapack:.2g}",
            ),
            ("condition", f"rcond about {self.rcond:.2g}"),
        ]
        if self.growth is not None:
            rows.append(("growth", f"{self.growth:.3g}"))
        rows.append(("refinement", counted(steps, "step") if steps else "none needed"))
        rows += [("given up", text) for text in self.fallbacks]
        rows.append(
            (
                "work",
                f"{self.flops / 1e9:,.3g} GFLOP, {format_bytes(self.bytes_read)} read, "
                f"{format_bytes(self.bytes_written)} written",
            )
        )
        sides = "one right-hand side" if k == 1 else f"{k} right-hand sides"
        header = f"solution of {m} × {n}, {self.dtype}, {sides}"
        return "\n".join([header, *(f"  {name:<11}{text}" for name, text in rows)])


def report_of(node: Node) -> SolveReport | None:
    """Return the report of a solution that is computed, whether it is kept, persisted or saved; else None."""
    report = node.op.cell.report if isinstance(node.op, Pending) else None
    if isinstance(node.op, Leaf):
        report = node.op.report
    return report if isinstance(report, SolveReport) else None
