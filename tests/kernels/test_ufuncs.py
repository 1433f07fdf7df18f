"""The table of NumPy's functions that tasks may ask for."""

from __future__ import annotations

import numpy as np
import pytest

from wrenla_kernels import DTYPES, UFUNCS, apply_ufunc, ufunc_dtypes


def test_unlisted_ufunc_is_refused() -> None:
    out = np.ones((2, 2), order="F")
    for name in ("", "frompyfunc", "exp.reduce", "__class__", "isnan", "matmul"):
        with pytest.raises(ValueError, match="there is no function"):
            apply_ufunc(name, (out,), out)
        with pytest.raises(ValueError, match="there is no function"):
            ufunc_dtypes(name, "float64")


def test_dtypes_are_those_of_tiles() -> None:
    for name, function in UFUNCS.items():
        assert function.nin in (1, 2)
        assert function.nout == 1
        for dtype in DTYPES:
            try:
                expected = function(*(np.empty(0, dtype),) * function.nin).dtype
            except TypeError:
                with pytest.raises(TypeError, match=f"numpy.{name} takes no {dtype}"):
                    ufunc_dtypes(name, str(dtype))
            else:
                assert ufunc_dtypes(name, str(dtype))[1] == expected.name
                assert expected.name in DTYPES


def test_one_row_or_column_stands_for_all_and_out_may_be_an_argument() -> None:
    a, row, column = np.arange(6.0).reshape(2, 3, order="F"), np.ones((1, 3)), np.array([[1.0], [np.inf]])
    expected = a * row - column
    apply_ufunc("multiply", (a, row), a)
    apply_ufunc("subtract", (a, column), a)
    assert np.array_equal(a, expected)
    apply_ufunc("divide", (a, 0), a)  # no warning
    apply_ufunc("multiply", (1e300, np.ones((1, 1), np.float32)), np.empty((1, 1), np.float32))
