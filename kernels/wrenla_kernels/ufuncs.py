"""NumPy's elementwise functions, by name, that tasks may use.

A fixed table, so that a name that comes from elsewhere is one of these or an error. Nothing here warns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wrenla_kernels.layout import Matrix

__all__ = ["UFUNCS", "apply_ufunc", "ufunc_dtypes"]

_NAMES = (
    *("negative", "positive", "conjugate", "absolute", "fabs", "sign", "rint", "floor", "ceil", "trunc"),
    *("square", "sqrt", "cbrt", "reciprocal"),
    *("exp", "exp2", "expm1", "log", "log2", "log10", "log1p"),
    *("sin", "cos", "tan", "arcsin", "arccos", "arctan", "deg2rad", "rad2deg", "degrees", "radians"),
    *("sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh"),
    *("add", "subtract", "multiply", "divide", "floor_divide", "remainder", "fmod", "power", "float_power"),
    *("maximum", "minimum", "fmax", "fmin", "copysign", "nextafter", "heaviside", "hypot", "arctan2"),
    *("logaddexp", "logaddexp2"),
)

UFUNCS: dict[str, np.ufunc] = {name: getattr(np, name) for name in _NAMES}
"""By NumPy's name. Each takes one or two arguments and returns numbers of one of the dtypes of tiles."""


def ufunc_dtypes(name: str, dtype: str) -> tuple[str, str]:
    """Return the dtype in which a function computes on arguments of `dtype`, and that of its result.

    Raises
    ------
    ValueError
        There is no such function.
    TypeError
        NumPy does not have it for this dtype.

    Examples
    --------
    >>> ufunc_dtypes("absolute", "complex64"), ufunc_dtypes("float_power", "float32")
    (('complex64', 'float32'), ('float64', 'float64'))
    """
    function = _known(name)
    try:
        first, *_, result = function.resolve_dtypes((*(np.dtype(dtype),) * function.nin, None))
    except TypeError:
        raise TypeError(f"numpy.{name} takes no {dtype}") from None
    return first.name, result.name


def apply_ufunc(name: str, values: Sequence[Matrix | complex], out: Matrix) -> None:
    """Write a function of some matrices and numbers elsewhere, entry by entry: `out := name(*values)`.

    Parameters
    ----------
    name
        A key of `UFUNCS`.
    values
        Matrices of one dtype, and numbers, which are rounded to it. One row or column stands for all, as in
        NumPy.
    out
        (m, n) matrix, overwritten; it may be one of `values`.

    Raises
    ------
    ValueError
        There is no such function.

    Examples
    --------
    >>> out = np.array([[1.0], [2.0]], order="F")
    >>> apply_ufunc("multiply", (out, 3), out)
    >>> out
    array([[3.],
           [6.]])
    """
    function = _known(name)
    (dtype,) = {value.dtype for value in values if isinstance(value, np.ndarray)}
    with np.errstate(all="ignore"):
        function(*(v if isinstance(v, np.ndarray) else dtype.type(v) for v in values), out=out)


def _known(name: str) -> np.ufunc:
    function = UFUNCS.get(name)
    if function is None:
        raise ValueError(f"there is no function {name!r}; those of UFUNCS are all")
    return function
