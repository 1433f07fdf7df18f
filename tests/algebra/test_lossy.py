"""Data that is more than its numbers, or less: masks, units, sparse patterns, records, dates, objects."""

from __future__ import annotations

import inspect
import itertools
import operator
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import pytest
import scipy.sparse

import wrenla as wl

MASKED = np.ma.array(np.arange(1.0, 10).reshape(3, 3), mask=np.eye(3, dtype=bool))
VECTOR = np.ma.array([1.0, 2.0, 3.0], mask=[False, True, False])
A = np.eye(3)
LAZY = da.from_array(MASKED, chunks=2)
UNSAID = da.from_array(A, chunks=2).map_blocks(
    lambda tile: np.ma.masked_greater(tile, 0.5), dtype=float, meta=np.empty((0, 0))
)


class Quantity(np.ndarray[Any, Any]):
    """As astropy's and unyt's: an array that knows its unit."""

    unit = "m"


class Pint:
    """As pint's: an array and its unit side by side."""

    magnitude, units = A, "second"

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.magnitude


class Column:
    """As a column of pandas that has a missing number."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array([1, None, 3], dtype=object)


class Table:
    """As a column of a table that knows of missing numbers: an array only when it is asked for."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return MASKED


WAYS: dict[str, Callable[[Any], object]] = {
    "from_array": wl.from_array,
    "as a list": lambda a: wl.from_array(list(a) if getattr(a, "ndim", 0) == 2 and len(a.shape) else [a, a]),
    "operand @": lambda a: wl.eye(3) @ a,
    "@ operand": lambda a: wl.eye(3).__rmatmul__(a),
    "operand +": lambda a: wl.eye(3) + a,
    "operand -": lambda a: wl.eye(3) - a,
    "operand *": lambda a: wl.eye(3) * a,
    "right-hand side": lambda a: wl.eye(3).solve(a),
    "triangular": lambda a: wl.linalg.solve_triangular(a, A),
    "factor": lambda a: wl.linalg.cho_solve((a, True), A),
    "right of a factor": lambda a: wl.linalg.cho_factor(A).solve(a),
    "matrix": lambda a: wl.linalg.solve(a, A, assume_a="pos"),
    "weights": lambda a: wl.eye(3).scale_rows(a),
    "gram": lambda a: wl.eye(3).gram(a),
    "block": lambda a: wl.block([[a, A]]),
    "map_tiles": lambda a: wl.map_tiles(np.exp, a),
    "number": lambda a: wl.eye(3).shift(a),
    "from_function": lambda a: wl.from_function(lambda i, j: a, (3, 3)).compute(),
    "function of map_tiles": lambda a: wl.map_tiles(lambda tile: a, A).compute(),
}


@pytest.mark.parametrize("way", WAYS)
def test_lossy_array_is_refused_with_its_remedy(way: str) -> None:
    sparse = scipy.sparse.eye(3, format="csr")
    for data, kind, remedy in (
        (MASKED, ValueError, r"masked arrays are not supported.*a\.filled\(0\.0\)"),
        (VECTOR, ValueError, r"a\.filled"),
        (np.ma.masked, ValueError, r"a\.filled"),
        (np.ma.array(A), ValueError, r"if none is, a\.data"),
        ([VECTOR, [1.0, 2.0, 3.0]], ValueError, r"a\.filled"),
        (Table(), ValueError, r"a\.filled"),
        (LAZY, ValueError, r"dask\.array\.ma\.filled\(a, 0\.0\)"),
        (LAZY[1], ValueError, r"dask\.array\.ma\.filled"),
        ([LAZY[0], LAZY[2]], ValueError, r"dask\.array\.ma\.filled"),
        ([1.0, np.ma.masked, 3.0], ValueError, r"a\.filled"),
        (sparse, TypeError, r"a csr_\w+ is sparse: wrenla\.from_sparse\(S\) .* a\.toarray\(\)"),
        (scipy.sparse.csr_matrix(A), TypeError, r"a\.toarray\(\)"),
        (A.view(Quantity), TypeError, r"has a unit \(m\), which would be lost"),
        (Pint(), TypeError, r"has a unit \(second\).*a\.magnitude"),
    ):
        with pytest.raises(kind, match=remedy):
            WAYS[way](data)


def test_masked_array_on_the_left_is_refused_without_computing() -> None:
    """`numpy.ma` has the first word there, and would make an array of all of the matrix."""

    def touch(*block: Any) -> Any:
        raise AssertionError("computed")

    B = wl.from_function(touch, (3, 3))
    signs: tuple[Callable[[Any, Any], Any], ...] = (
        *(operator.mul, operator.add, operator.sub, operator.truediv, operator.floordiv, operator.pow),
        *(operator.eq, operator.ne, operator.lt, operator.matmul, np.ma.multiply),
    )
    for sign, masked in itertools.product(signs, (MASKED, VECTOR, np.ma.masked)):
        with pytest.raises((ValueError, TypeError), match=r"a\.filled"):
            sign(masked, B)
    assert inspect.getmembers(B, callable)
    with pytest.raises(ValueError, match=r"masked arrays are not supported: numpy\.ma .* a\.filled\(0\.0\)"):
        MASKED * B


def test_numpy_matrix_in_elementwise_operation_is_refused() -> None:
    B, m = wl.eye(3), A.view(np.matrix)
    for use in (
        *(lambda: B * m, lambda: m * B, lambda: B + m, lambda: m - B, lambda: B**m, lambda: B / m),
        *(lambda: np.multiply(B, m), lambda: B.clip(m)),
    ):
        with pytest.raises(TypeError, match=r"numpy\.matrix is no operand .* A @ m .* np\.asarray\(m\)"):
            use()
    assert np.array_equal((m @ B).compute(), A)


def test_mask_found_while_reading_is_refused() -> None:
    held = np.empty((), dtype=object)
    held[()] = np.ma.masked
    for use in (wl.from_array, wl.eye(2).shift, wl.eye(2).__mul__, lambda a: wl.from_array([a, a])):
        with pytest.raises(ValueError, match=r"a\.filled"):
            use(held)
    for given in (UNSAID, UNSAID[0], [UNSAID[0], UNSAID[1], A[2]]):
        for take in (wl.from_array, lambda a: wl.eye(3) @ a, lambda a: wl.eye(3) + a):
            with pytest.raises(ValueError, match=r"a\.filled"):
                take(given)
    for number in (wl.eye(3).shift, wl.eye(3).__mul__):
        with pytest.raises(ValueError, match=r"a\.filled"):
            number(UNSAID[0, 0])


def test_array_without_numbers_is_refused() -> None:
    records = np.zeros(3, dtype=[("x", float), ("y", float)])
    times = np.array(["2026-01-01"] * 3, dtype="M8[s]")
    for data, remedy in (
        (np.array([1, None, 3], dtype=object), r"a\.astype\(float\)"),
        (np.array([[1.0, 2.0]], dtype=object), r"a\.astype\(float\)"),
        (Column(), r"a\.astype\(float\)"),
        (np.array(["1", "2", "3"]), r"a\.astype\(float\)"),
        (records, r"a\['name'\]"),
        (records.view(np.recarray), r"a\['name'\]"),
        (times, r"timedelta64"),
        (times - times[0], r"timedelta64"),
    ):
        for use in (wl.from_array, lambda a: wl.eye(3) @ a, lambda a: wl.eye(3).solve(a)):
            with pytest.raises(TypeError, match=remedy):
                use(data)
        entry = np.asarray(data).reshape(-1)[:1]
        returned = wl.from_function(lambda i, entry=entry: entry.repeat(len(i)), 3)
        with pytest.raises(TypeError, match=r"which is no float64|not numbers"):
            returned.compute()


def test_lossless_arrays_are_accepted() -> None:
    for data in (A.view(np.matrix), A.tolist(), tuple(map(tuple, A)), [A[0], A[1], A[2]], A.astype(bool)):
        assert np.array_equal(wl.from_array(data).compute(), A)
        assert np.array_equal((wl.eye(3) @ data).compute(), A)
    assert np.array_equal(wl.from_array(MASKED.filled(0.0)).compute(), MASKED.filled(0.0))


def test_masked_piece_of_a_file_is_an_error_at_its_tile(place: Callable[[str], str]) -> None:
    """As netCDF4 reads: every piece is a masked array. What is really masked is an error, at that tile."""

    class Variable:
        def __init__(self, data: Any) -> None:
            self.data, self.shape, self.ndim, self.dtype = data, data.shape, data.ndim, data.dtype

        def __getitem__(self, index: Any) -> Any:
            return np.ma.array(self.data[index])

    full = wl.from_zarr(Variable(np.ma.array(A)), place("full"), tile=2)
    assert np.array_equal(full.compute(), A)
    for name, holes in (("holes", Variable(MASKED)), ("lazy", LAZY), ("unsaid", UNSAID)):
        with pytest.raises(ValueError, match=r"rows .*, columns .* masked entries.*a\.filled"):
            wl.from_zarr(holes, place(name), tile=2)
    wl.from_zarr(da.ma.filled(LAZY, 0.0), place("filled"), tile=2)
