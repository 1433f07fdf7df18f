"""Saved factorizations, opened again."""

from __future__ import annotations

import os

from wrenla.algorithms import solve as systems
from wrenla.algorithms.factorizations.block_lu import Mirrored
from wrenla.algorithms.tile_views import from_lower
from wrenla.matrices.creation import opened
from wrenla.matrices.factors import CholeskyFactor
from wrenla.matrices.ldl_factor import LDLFactor
from wrenla.matrices.lu_factor import LUFactor, given_factors
from wrenla.matrices.matrix import BigMatrix
from wrenla.matrices.operands import Operand, as_node
from wrenla.tracebacks import short
from wrenla_handler.tiles.layout import rows_of_pivots

__all__ = ["open_factor"]


@short
def open_factor(
    url: str | os.PathLike[str], a: Operand | None = None
) -> CholeskyFactor | LUFactor | LDLFactor:
    """Open a factorization that the method `save` of a factor has stored.

    Parameters
    ----------
    url : str or path
        A folder, ``file:///…``, ``s3://bucket/prefix`` or ``memory://name/…``.
    a : BigMatrix or array_like, optional
        The matrix A of which it is the factorization. An `LDLFactor` needs it to refine solutions, and an
        `LUFactor` to look at them where entries have grown in the elimination.

    Raises
    ------
    ValueError
        There is a matrix that was not saved as a factor, or a factor of a matrix of another shape or dtype
        than `a`, or one that needs `a`.
    NotAMatrixError
        There is none (or one that is not finished).

    Examples
    --------
    >>> import numpy as np, wrenla as wl
    >>> _ = wl.linalg.lu_factor(np.array([[0.0, 2.0], [1.0, 4.0]])).save("memory://docs/lu")
    >>> factor = wl.open_factor("memory://docs/lu")
    >>> factor
    LUFactor((2, 2), float64, computed)
    >>> factor.solve(np.array([2.0, 5.0])).compute()
    array([1., 1.])
    """
    node, layout = opened(url)
    A = None if a is None else as_node(a)
    if A is not None and (A.grid.shape, A.dtype, A.ndim) != (node.grid.shape, node.dtype, node.ndim):
        raise ValueError(
            f"{os.fspath(url)}: a factor of a matrix of {node.dtype}, {node.grid.shape}, not of one of "
            f"{A.dtype}, {A.grid.shape[: A.ndim]}"
        )
    if layout.factor == "cholesky":
        return CholeskyFactor(BigMatrix(node), lower=True)
    if layout.factor in ("ldlh", "ldlt"):
        if A is None:
            raise ValueError(
                f"{os.fspath(url)}: an LDL factorization refines its solutions with the matrix itself: "
                "open_factor(url, A)"
            )
        kind: Mirrored = "hermitian" if layout.factor == "ldlh" else "symmetric"
        A = from_lower(A, kind)
        return LDLFactor(kind, A, A, node)
    pivots = rows_of_pivots(layout.pivots, layout.grid.shape)
    if layout.factor != "lu" or pivots is None:
        raise ValueError(
            f"{os.fspath(url)}: this matrix was not saved as a factor: wl.open opens it; of a matrix A, "
            "wl.linalg.cho_factor(A).save(url) and lu_factor(A).save(url) store factors"
        )
    return given_factors(systems.bare_factor(node), pivots, A)
