"""NumPy's sums, extremes, shapes and types of matrices: `numpy.sum`, `numpy.transpose`, `numpy.real`, ….

Parameters are NumPy's, by name and order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wrenla.array_api import as_matrix
from wrenla.matrices.creation import eye, map_tiles
from wrenla.matrices.matrix import BigMatrix
from wrenla.matrices.operands import Handle, axis_places
from wrenla.numpy_functions.dispatch import NO_VALUE, implements
from wrenla.numpy_functions.making import zeros_like
from wrenla_handler.tiles.layout import DTYPES

_NONE: Any = NO_VALUE

# sums, means and extremes


@implements("sum", refused="out initial where")
def sum_(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = _NONE,
    where: Any = _NONE,
) -> BigMatrix:
    return as_matrix(a).sum(axis, keepdims=keepdims, dtype=dtype)


@implements("mean", refused="out where")
def mean(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    keepdims: bool = False,
    *,
    where: Any = _NONE,
) -> BigMatrix:
    return as_matrix(a).mean(axis, keepdims=keepdims, dtype=dtype)


@implements("var", refused="out where mean")
def var(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = _NONE,
    mean: Any = _NONE,
    correction: float | None = None,
) -> BigMatrix:
    return as_matrix(a).var(axis, ddof=ddof, keepdims=keepdims, correction=correction, dtype=dtype)


@implements("std", refused="out where mean")
def std(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: None = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    where: Any = _NONE,
    mean: Any = _NONE,
    correction: float | None = None,
) -> BigMatrix:
    return as_matrix(a).std(axis, ddof=ddof, keepdims=keepdims, correction=correction, dtype=dtype)


@implements("max", "amax", refused="out initial where")
def max_(
    a: Any,
    axis: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = _NONE,
    where: Any = _NONE,
) -> BigMatrix:
    return as_matrix(a).max(axis, keepdims=keepdims)


@implements("min", "amin", refused="out initial where")
def min_(
    a: Any,
    axis: Any = None,
    out: None = None,
    keepdims: bool = False,
    initial: Any = _NONE,
    where: Any = _NONE,
) -> BigMatrix:
    return as_matrix(a).min(axis, keepdims=keepdims)


@implements("clip", refused="out")
def clip(
    a: Any,
    a_min: Any = None,
    a_max: Any = None,
    out: None = None,
    *,
    min: Any = None,
    max: Any = None,
    **kwargs: Any,
) -> BigMatrix:
    """Return the entries, none less than `a_min` (or `min`), none greater than `a_max` (or `max`)."""
    if (a_min is not None or a_max is not None) and (min is not None or max is not None):
        raise ValueError("numpy.clip: say a_min= and a_max=, or min= and max=, not both")
    return as_matrix(a).clip(min if a_min is None else a_min, max if a_max is None else a_max, **kwargs)


# shapes, axes and types


@implements("shape")
def shape(a: Any) -> tuple[int, ...]:
    found: tuple[int, ...] = a.shape
    return found


@implements("ndim")
def ndim(a: Any) -> int:
    return len(shape(a))


@implements("size")
def size(a: Any, axis: Any = None) -> int:
    lengths = shape(a)
    places = range(len(lengths)) if axis is None else axis_places(axis, len(lengths))
    return math.prod(lengths[place] for place in places)


@implements("transpose", "permute_dims")
def transpose(a: Any, axes: Any = None) -> BigMatrix:
    A = as_matrix(a)
    if axes is not None:
        places = axis_places(tuple(axes), A.ndim)
        if len(places) != A.ndim:
            raise ValueError(f"numpy.transpose: axes={axes!r} do not match an array of {A.ndim} dimensions")
        return A if places == tuple(range(A.ndim)) else A.T
    return A.T


@implements("swapaxes")
def swapaxes(a: Any, axis1: int, axis2: int) -> BigMatrix:
    A = as_matrix(a)
    return A if axis_places(axis1, A.ndim) == axis_places(axis2, A.ndim) else A.T


@implements("diagonal")
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> BigMatrix:
    return _turned(a, axis1, axis2).diagonal(offset)


@implements("trace", refused="out")
def trace(
    a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: None = None
) -> BigMatrix:
    return _turned(a, axis1, axis2).trace(offset, dtype=dtype)


def _turned(a: Any, axis1: int, axis2: int) -> BigMatrix:
    """Return a matrix whose rows are along the first of two axes."""
    A = as_matrix(a)
    return A if A.ndim != 2 or axis_places((axis1, axis2), 2) == (0, 1) else A.T


@implements("diag")
def diag(v: Any, k: int = 0) -> BigMatrix:
    """Return a diagonal of a matrix, or the matrix that has a vector on its diagonal."""
    A = as_matrix(v)
    if A.ndim == 2:
        return A.diagonal(k)
    if k:
        raise TypeError("numpy.diag: there is no k= for a vector; wrenla.block puts matrices together")
    n, t = A.shape[0], A.tile[0]
    return eye(n, tile=t, dtype=A.dtype if A.dtype.name in DTYPES else np.float64).scale_rows(A)


@implements("tril", refused="k")
def tril(m: Any, k: int = 0) -> BigMatrix:
    return as_matrix(m).tril()


@implements("triu", refused="k")
def triu(m: Any, k: int = 0) -> BigMatrix:
    return as_matrix(m).triu()


@implements("real")
def real(val: Any) -> BigMatrix:
    """Return the real parts: of a complex matrix, by a task for each tile."""
    return val if isrealobj(val) else map_tiles(np.real, val, dtype=val.dtype.type(0).real.dtype)


@implements("imag")
def imag(val: Any) -> BigMatrix:
    """Return the imaginary parts: of a complex matrix, by a task for each tile."""
    return zeros_like(val) if isrealobj(val) else map_tiles(np.imag, val, dtype=val.dtype.type(0).real.dtype)


@implements("iscomplexobj")
def iscomplexobj(x: Any) -> bool:
    return bool(x.dtype.kind == "c")


@implements("isrealobj")
def isrealobj(x: Any) -> bool:
    return not iscomplexobj(x)


@implements("result_type")
def result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    return np.result_type(*(x.dtype if isinstance(x, Handle) else x for x in arrays_and_dtypes))  # type: ignore[attr-defined]


@implements("astype", refused="copy device")
def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: None = None) -> BigMatrix:
    return as_matrix(x).astype(dtype)


@implements("array_repr")
def array_repr(
    arr: Any, max_line_width: Any = None, precision: Any = None, suppress_small: Any = None
) -> str:
    return repr(arr)


@implements("array_str")
def array_str(a: Any, max_line_width: Any = None, precision: Any = None, suppress_small: Any = None) -> str:
    return str(a)


@implements("array2string")
def array2string(a: Any, *args: Any, **kwargs: Any) -> str:
    return str(a)
