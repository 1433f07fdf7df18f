"""`LinearOperator` of SciPy over a matrix in tiles, for its iterative solvers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse.linalg import LinearOperator

from wrenla.evaluate.products import Products, at_hand
from wrenla.executors.base import Executor, check_executor
from wrenla.executors.default import default_executor
from wrenla.matrices.matrix import BigMatrix
from wrenla.matrices.operands import Operand, as_node
from wrenla.tracebacks import short_methods

__all__ = ["TiledLinearOperator", "operator_of"]

Array = npt.NDArray[Any]


def operator_of(A: Operand, executor: Executor | None) -> TiledLinearOperator:
    """Return the operator of a matrix, which is computed and persisted unless it is data; of one, itself."""
    if isinstance(A, TiledLinearOperator) and executor is None:
        return A
    node = as_node(A.A if isinstance(A, TiledLinearOperator) else A)
    if node.ndim != 2:
        raise ValueError(
            f"aslinearoperator: a matrix is needed, not a {'vector' if node.ndim else 'number'} of shape "
            f"{node.grid.shape[: node.ndim]}; a column is x[:, None]"
        )
    found = check_executor(executor) or default_executor()
    return TiledLinearOperator(Products(at_hand(node, found), found))


@short_methods
class TiledLinearOperator(LinearOperator):  # type: ignore[misc]  # SciPy has no types
    """Operator of a matrix in tiles: each product goes once through the tiles.

    Not made directly: see `wrenla.linalg.aslinearoperator`.

    Attributes
    ----------
    A : BigMatrix
        The matrix as data. It, and the operator, keep its tiles.
    """

    def __init__(self, products: Products) -> None:
        node = products.node
        super().__init__(np.dtype(node.dtype), node.grid.shape)
        self._products = products
        self.A = BigMatrix(node)
        self.args = (self.A,)

    def _matmat(self, X: Array) -> Array:
        return _stacked(self._products, X)

    def _rmatmat(self, X: Array) -> Array:
        return _stacked(self._products.adjoint, X)

    def _matvec(self, x: Array) -> Array:
        return _of_vectors(self._products, x)

    def _rmatvec(self, x: Array) -> Array:
        return _of_vectors(self._products.adjoint, x)

    def _adjoint(self) -> TiledLinearOperator:
        return TiledLinearOperator(self._products.adjoint)

    def _transpose(self) -> TiledLinearOperator:
        return TiledLinearOperator(self._products.transpose)


def _of_vectors(products: Products, x: Array) -> Array:
    """Return A x for a vector, or for each of some in the rows of x; SciPy before 1.18 gives a column."""
    x, (m, n) = np.asarray(x), products.node.grid.shape
    if x.shape[-1:] != (n,):
        return products.times(x)
    y = products.times(x.reshape(math.prod(x.shape[:-1]), n).T)
    return y.T.reshape(*x.shape[:-1], m)


def _stacked(products: Products, X: Array) -> Array:
    """Return A X, for one matrix or for each of a stack."""
    X = np.asarray(X)
    if X.ndim == 2:
        return products.times(X)
    side_by_side = np.moveaxis(X, -2, 0)  # (n, …, k)
    Y = products.times(side_by_side.reshape(len(side_by_side), math.prod(side_by_side.shape[1:])))
    return np.moveaxis(Y.reshape(Y.shape[0], *side_by_side.shape[1:]), 0, -2)
