"""Factorizations as objects: factor once, solve many times."""

from __future__ import annotations

from wrenla.algorithms import systems
from wrenla.algorithms.anchor import Cell, anchor
from wrenla.algorithms.cholesky import cholesky
from wrenla.algorithms.reductions import slogdet_triangular
from wrenla.matrix import BigMatrix, SlogdetResult
from wrenla.operands import Operand, as_node
from wrenla.plan.expression import Node

__all__ = ["CholeskyFactor"]


class CholeskyFactor:
    """A = L Lᴴ, made by `wrenla.linalg.cho_factor`.

    The factor is computed by the first run that needs it and kept as long as this object, or anything made of
    it, is in use.

    Attributes
    ----------
    L : BigMatrix, (n, n)
        The lower triangular factor.

    Examples
    --------
    >>> import numpy as np, wrenla as wl
    >>> factor = wl.linalg.cho_factor(np.array([[4.0, 2.0], [2.0, 5.0]]))
    >>> factor.solve(np.array([8.0, 12.0])).compute()
    array([1., 2.])
    >>> round(float(factor.slogdet().logabsdet), 6)
    2.772589
    """

    def __init__(self, A: Node) -> None:
        self._cell = Cell()
        self._node = anchor(cholesky(A), self._cell)

    @property
    def L(self) -> BigMatrix:
        return BigMatrix(self._node)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.L.shape

    def solve(self, b: Operand) -> BigMatrix:
        """Return x with A x = b.

        Parameters
        ----------
        b : BigMatrix or array_like, (n,) or (n, k)
        """
        return BigMatrix(systems.cho_solve(self._node, as_node(b, rows=self._node.grid.tile[0])))

    def slogdet(self) -> SlogdetResult:
        """Return sign (1) and logarithm of det A."""
        sign, logabs = slogdet_triangular(self._node, power=2)
        return SlogdetResult(BigMatrix(sign), BigMatrix(logabs))

    def __repr__(self) -> str:
        state = "not computed yet" if self._cell.stored is None else "computed"
        return f"CholeskyFactor({self.shape}, {self.L.dtype}, {state})"
