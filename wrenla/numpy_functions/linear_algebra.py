"""NumPy's products, factors, systems and norms of matrices: `numpy.linalg`, `numpy.dot` and their like.

Parameters are NumPy's, by name and order; results and errors are those of `wrenla.linalg`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wrenla import linalg
from wrenla.array_api import as_matrix
from wrenla.errors import LinAlgError
from wrenla.linalg import matmul
from wrenla.matrices.matrix import BigMatrix
from wrenla.numpy_functions.dispatch import implements


@implements("linalg.cholesky")
def cholesky(a: Any, /, *, upper: bool = False) -> BigMatrix:
    return as_matrix(a).cholesky(upper=upper)


@implements("linalg.solve")
def solve(a: Any, b: Any) -> BigMatrix:
    return as_matrix(a).solve(b)


@implements("linalg.inv")
def inv(a: Any) -> BigMatrix:
    return linalg.inv(a)


@implements("linalg.det")
def det(a: Any) -> BigMatrix:
    return linalg.det(a)


@implements("linalg.slogdet")
def slogdet(a: Any) -> Any:
    return as_matrix(a).slogdet()


@implements("linalg.norm")
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> BigMatrix:
    return as_matrix(x).norm(ord, axis, keepdims)


@implements("linalg.cond")
def cond(x: Any, p: Any = None) -> float:
    return linalg.cond(x, p)


implements("linalg.matrix_norm")(linalg.matrix_norm)
implements("linalg.vector_norm")(linalg.vector_norm)
implements("linalg.matrix_transpose", "matrix_transpose")(linalg.matrix_transpose)
implements("linalg.outer")(linalg.outer)
implements("linalg.tensordot")(linalg.tensordot)
implements("linalg.vecdot", "vecdot")(linalg.vecdot)
implements("linalg.cross")(linalg.cross)
implements("linalg.diagonal")(linalg.diagonal)
implements("linalg.trace")(linalg.trace)
implements("linalg.matmul", "matmul")(linalg.matmul)


@implements("matvec")
def matvec(x1: Any, x2: Any, /) -> BigMatrix:
    _check_dims("matvec", x1, x2, (2, 1))
    return matmul(x1, x2)


@implements("vecmat")
def vecmat(x1: Any, x2: Any, /) -> BigMatrix:
    """Return x1ᴴ x2."""
    _check_dims("vecmat", x1, x2, (1, 2))
    return matmul(np.conjugate(x1), x2)


def _check_dims(name: str, x1: Any, x2: Any, dims: tuple[int, int]) -> None:
    if (np.ndim(x1), np.ndim(x2)) != dims:
        raise ValueError(
            f"numpy.{name}: {np.shape(x1)} and {np.shape(x2)}: {dims[0]} and {dims[1]} dimensions are needed"
        )


@implements("linalg.matrix_power")
def matrix_power(a: Any, n: int) -> BigMatrix:
    return linalg.matrix_power(a, n)


@implements("linalg.multi_dot", refused="out")
def multi_dot(arrays: Sequence[Any], *, out: None = None) -> BigMatrix:
    """Return the product of several matrices, in the order that takes the fewest operations."""
    factors = [as_matrix(x) for x in arrays]
    if len(factors) < 2:
        raise ValueError("numpy.linalg.multi_dot: at least two matrices are needed")
    for x in factors[1:-1]:
        if x.ndim != 2:
            raise LinAlgError(f"numpy.linalg.multi_dot: {x.ndim} dimensions: only the ends may be vectors")
    lengths = [*(x.shape[0] if x.ndim == 2 else 1 for x in factors[:1]), *(x.shape[0] for x in factors[1:])]
    lengths.append(factors[-1].shape[1] if factors[-1].ndim == 2 else 1)
    n, given = len(factors), list(arrays)
    # cost and last product of each run of factors; the runs from short to long
    best: dict[tuple[int, int], tuple[int, int]] = {(i, i): (0, i) for i in range(n)}
    for span in range(1, n):
        for i in range(n - span):
            j = i + span
            best[i, j] = min(
                (best[i, k][0] + best[k + 1, j][0] + lengths[i] * lengths[k + 1] * lengths[j + 1], k)
                for k in range(i, j)
            )

    def product(i: int, j: int) -> Any:
        k = best[i, j][1]
        return given[i] if i == j else matmul(product(i, k), product(k + 1, j))

    found: BigMatrix = product(0, n - 1)
    return found


@implements("dot", refused="out")
def dot(a: Any, b: Any, out: None = None) -> BigMatrix:
    if 0 in (np.ndim(a), np.ndim(b)):
        found: BigMatrix = np.multiply(a, b)
        return found
    return matmul(a, b)


@implements("cross", refused="axisa axisb axisc")
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    return linalg.cross(a, b, axis=-1 if axis is None else axis)


@implements("inner")
def inner(a: Any, b: Any, /) -> BigMatrix:
    """Return the sum of products over the last axes of both."""
    if 0 in (np.ndim(a), np.ndim(b)):
        return dot(a, b)
    return linalg.tensordot(a, b, axes=(-1, -1))


@implements("vdot")
def vdot(a: Any, b: Any, /) -> BigMatrix:
    """Return the sum of products of all entries, those of the first conjugated."""
    if np.shape(a) != np.shape(b):
        raise ValueError(f"numpy.vdot: shapes {np.shape(a)} and {np.shape(b)} differ")
    if np.ndim(a) == 0:
        return as_matrix(np.multiply(np.conjugate(a), b))
    return linalg.tensordot(as_matrix(a).conj(), b, axes=np.ndim(a))


@implements("outer", refused="out")
def outer(a: Any, b: Any, out: None = None) -> BigMatrix:
    return linalg.outer(a, b)


@implements("tensordot")
def tensordot(a: Any, b: Any, axes: Any = 2) -> BigMatrix:
    return linalg.tensordot(a, b, axes=axes)
