"""One-norm of an operator that is only applied: of an inverse, from a factorization."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from wrenla.algorithms.factorizations.checks import balance, start_vectors
from wrenla.errors import SingularMatrixError
from wrenla.evaluate.evaluation import compute_nodes
from wrenla.evaluate.options import Options
from wrenla.executors.base import Executor
from wrenla.matrices.operands import as_node
from wrenla.planning.expression import Node

__all__ = ["applied", "one_norm", "rcond_of"]

Array: TypeAlias = npt.NDArray[Any]

_STEPS = 5
"""How often the operator is applied at most, as in LAPACK."""


def applied(
    expression: Callable[[Node], Node], like: Node, executor: Executor | None, options: Options
) -> Callable[[Array], Array]:
    """Return a function of arrays that computes an expression of them, in tiles as high as a matrix has."""
    rows = like.grid.tile[0]
    return lambda X: np.asarray(compute_nodes([expression(as_node(X, rows=rows))], executor, options)[0])


def rcond_of(
    A: Node,
    norm: Sequence[Node] | float,
    solve: Callable[[Node], Node],
    solve_adjoint: Callable[[Node], Node],
    executor: Executor | None,
    options: Options,
) -> float:
    """Compute 1 / (‖A‖₁ ‖A⁻¹‖₁), given ‖A‖₁ and expressions that solve with A and Aᴴ; 0 if A is singular.

    Instead of ‖A‖₁ there may be expressions for norms of A: the first that does not overflow counts. Of A
    itself only shape, tiles and dtype are looked at: its factor may stand for it.
    """
    n = A.grid.shape[0]
    if not n:
        return 1.0  # as LAPACK has it
    if isinstance(norm, Sequence):
        known = (float(compute_nodes([node], executor, options)[0]) for node in norm)
        norm = next((size for size in known if not np.isinf(size)), np.inf)
    if norm < 0:
        raise ValueError(f"rcond: a norm is not negative: {norm}")
    if not norm or np.isnan(norm):
        return norm
    from scipy.linalg import LinAlgWarning

    c = balance(norm)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LinAlgWarning)  # that is what we are here to find out
        try:
            forth = applied(solve, A, executor, options)
            back = applied(solve_adjoint, A, executor, options)
            inverse = one_norm(lambda X: forth(X * c), lambda X: back(X * c), n, A.dtype)
        except SingularMatrixError:
            return 0.0
    return c / norm / inverse if np.isfinite(inverse) and inverse else 0.0


def one_norm(
    apply: Callable[[Array], Array], apply_adjoint: Callable[[Array], Array], n: int, dtype: npt.DTypeLike
) -> float:
    """Return a lower bound of the one-norm of an operator, which is rarely less than a third of it.

    Algorithm: Higham and Tisseur 2000, 2.4, the block version of LAPACK's ``lacn2``. Its starting vectors are
    the same at each call, so the same operator gives the same number.

    Parameters
    ----------
    apply, apply_adjoint : callable
        Return B X and Bᴴ X for X of shape (n, k) and the dtype.
    n : int
    dtype : dtype

    Examples
    --------
    >>> B = np.array([[1.0, -2.0], [3.0, 4.0]])
    >>> one_norm(lambda X: B @ X, lambda X: B.T @ X, 2, float)
    6.0
    """
    if n == 0:
        return 0.0
    X = start_vectors(n).astype(dtype)
    columns = X.shape[1]
    largest, best, tried = 0.0, -1, set[int]()
    chosen: list[int] = []
    for step in range(_STEPS):
        Y = apply(X)
        sums = np.abs(Y).sum(axis=0)
        if not np.isfinite(sums).all():
            return float("inf")
        if step and sums.max() <= largest:
            break
        largest = float(sums.max())
        best = chosen[int(sums.argmax())] if step else -1
        sizes = np.abs(Y)
        phases = np.where(sizes == 0, 1, Y / np.where(sizes == 0, 1, sizes)).astype(dtype)
        heights = np.abs(apply_adjoint(phases)).max(axis=1)
        if step and heights.max() <= heights[best]:
            break
        chosen = [int(k) for k in np.argsort(-heights, kind="stable") if int(k) not in tried][:columns]
        if not chosen:
            break
        tried.update(chosen)
        X = np.zeros((n, len(chosen)), dtype, order="F")
        X[chosen, range(len(chosen))] = 1
    return largest
