"""Sums, traces, diagonals and norms against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wrenla as wl

from . import gallery
from .gallery import DTYPES, Array

SHAPES = ((1, 1), (21, 13), (8, 8), (3, 40), (30, 1))
TILES: tuple[Any, ...] = (4, (5, 3), 64)
ORDERS: tuple[Any, ...] = (None, "fro", 1, -1, np.inf, -np.inf)


def tolerance(a: Array) -> float:
    """Sums of n numbers, by their absolute values."""
    return 4 * gallery.unit_roundoff(a.dtype.name) * (a.size + 4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_sums_agree_with_numpy(shape: tuple[int, int], dtype: str) -> None:
    a = gallery.normal(shape, dtype)
    axes: tuple[Any, ...] = (None, 0, 1, -1, -2)
    for tile in TILES:
        A = wl.from_array(a, tile=tile)
        *sums, trace, diagonal = wl.compute(*(A.sum(axis) for axis in axes), A.trace(), A.diagonal())
        for axis, value in zip(axes, sums, strict=True):
            expected = gallery.wide(a).sum(axis)
            assert value.shape == expected.shape
            assert value.dtype == dtype
            assert (np.abs(value - expected) <= tolerance(a) * np.abs(a).sum(axis)).all()
        assert np.array_equal(diagonal, a.diagonal())
        assert trace.dtype == dtype
        assert abs(trace - gallery.wide(a).trace()) <= tolerance(a) * np.abs(a).trace()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_norms_agree_with_numpy(shape: tuple[int, int], dtype: str) -> None:
    a = gallery.normal(shape, dtype)
    for tile in TILES:
        A = wl.from_array(a, tile=tile)
        for order, value in zip(ORDERS, wl.compute(*map(A.norm, ORDERS)), strict=True):
            expected = np.linalg.norm(a.astype("complex128"), order)
            assert value.dtype == a.real.dtype
            assert abs(value - expected) <= tolerance(a) * expected
    assert abs(A.norm("max").compute() - np.abs(a).max()) <= tolerance(a)
    assert wl.linalg.matrix_norm(A).compute() == A.norm().compute()


@pytest.mark.parametrize("dtype", DTYPES)
def test_norms_and_sums_of_vectors_agree_with_numpy(dtype: str) -> None:
    v = gallery.normal(13, dtype)
    orders: tuple[Any, ...] = (None, 2, 1, np.inf, -np.inf)
    for tile in (1, 5, 20):
        V = wl.from_array(v, tile=tile)
        for order, value in zip(orders, wl.compute(*map(V.norm, orders)), strict=True):
            expected = np.linalg.norm(v.astype("complex128"), order)
            assert abs(value - expected) <= tolerance(v) * expected
        for value in wl.compute(V.sum(), V.sum(0), V.sum(-1)):  # type: ignore[arg-type]
            assert abs(value - gallery.wide(v).sum()) <= tolerance(v) * np.abs(v).sum()
        assert V.norm("max").compute() == V.norm(np.inf).compute()


STRUCTURES = ("lower", "upper", "hermitian")


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_structured_matrices(structure: Any, dtype: str) -> None:
    full = gallery.normal((13, 13), dtype)
    a = {"lower": np.tril(full), "upper": np.triu(full), "hermitian": full + full.conj().T}[structure]
    A = wl.from_array(a if structure == "hermitian" else full, tile=4, structure=structure, check=False)
    for x, y in ((A, a), (A.T, a.T), (A.H, a.conj().T), (2 * A.shift(1), 2 * (a + np.eye(13)))):
        for order, value in zip(ORDERS, wl.compute(*map(x.norm, ORDERS)), strict=True):
            expected = np.linalg.norm(y.astype("complex128"), order)
            assert abs(value - expected) <= tolerance(a) * expected
        for axis in (None, 0, 1):
            assert (np.abs(x.sum(axis).compute() - y.sum(axis)) <= tolerance(a) * np.abs(y).sum(axis)).all()
        assert (np.abs(x.diagonal().compute() - y.diagonal()) <= tolerance(a) * np.abs(y.diagonal())).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_frobenius_norm_neither_overflows_nor_underflows(dtype: str) -> None:
    info = np.finfo(dtype)
    for size in (float(info.max) / 1e4, float(info.tiny) * 1e4):
        a = (gallery.normal((13, 9), dtype) / 8 * np.asarray(size, dtype)).astype(dtype)
        expected = float(np.sqrt((np.abs(gallery.wide(a)) ** 2).sum()))
        assert abs(float(wl.from_array(a, tile=4).norm()) - expected) <= 64 * float(info.eps) * expected
    assert wl.zeros((3, 3), dtype=dtype).norm().compute() == 0


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_reductions_of_empty_matrices_agree_with_numpy(shape: tuple[int, int]) -> None:
    A = wl.zeros(shape, tile=2)
    a = np.zeros(shape)
    for axis in (None, 0, 1):
        assert np.array_equal(A.sum(axis).compute(), a.sum(axis))
    assert A.trace().compute() == 0
    assert A.diagonal().compute().shape == (0,)
    assert A.norm().compute() == 0
    assert A.norm("max").compute() == 0
    for order in (None, "fro", "f", "nuc", 1, 2, np.inf, -1, -2, -np.inf):
        for axes in (None, (0, 1), (1, 0)):
            try:
                expected = np.linalg.norm(a, order, axes)
            except ValueError:
                with pytest.raises(ValueError, match="the smallest of no entries"):
                    A.norm(order, axes)
            else:
                assert A.norm(order, axes).compute() == expected


def test_empty_vectors() -> None:
    v = wl.zeros(0, dtype="float32")
    assert v.sum().compute() == 0
    with np.errstate(divide="ignore"):
        for order in (None, 0, 1, 2, 3, 0.5, np.inf, -1, -2, np.float64(-0.5)):
            for keep in (False, True):
                expected = np.linalg.norm(np.zeros(0, "float32"), order, keepdims=keep)
                value = v.norm(order, keepdims=keep).compute()
                assert (np.shape(value), value.dtype) == (np.shape(expected), "float32")
                assert value == expected
    with pytest.raises(ValueError, match="the smallest of no entries"):
        v.norm(-np.inf)


@pytest.mark.parametrize("name", ["sum", "mean", "var", "std", "max", "min"])
def test_axes_of_reductions(name: str) -> None:
    a = gallery.normal((3, 4))
    A, v = wl.from_array(a, tile=2), wl.from_array(a[0], tile=2)
    axis: Any
    for axis in ((0, 1), (1, 0), (-1, 0), (0,), (-1,), np.int64(1)):
        assert np.allclose(getattr(A, name)(axis).compute(), getattr(a, name)(axis))
    for x, y, axes in (
        (A, a, [(5, 7), (0, 5), (0, 0), (1, -1), True, (True,), 2, -3, 0.5, (0, 1, 2)]),
        (v, a[0], [1, (0, 0), (0, 1)]),
    ):
        for axis in axes:
            with pytest.raises((ValueError, TypeError)) as theirs:
                getattr(y, name)(axis)
            with pytest.raises(theirs.type):
                getattr(x, name)(axis)
    with pytest.raises(ValueError, match="names no axis"):
        getattr(A, name)(())
    if name in ("max", "min"):
        for axis in (None, 0, 1):
            with pytest.raises(ValueError, match="of no numbers"):
                getattr(wl.zeros((0, 0)), name)(axis)


def test_axes_and_dimensions_of_norms() -> None:
    a = gallery.normal((5, 7))
    A, v = wl.from_array(a, tile=3), wl.from_array(a[0], tile=3)
    axes: Any
    for axes in (None, (0, 1), (1, 0), (-2, -1), (-1, 0), [0, 1]):
        for order in ("fro", 1, -1, np.inf, -np.inf):
            for keep in (False, True):
                expected = np.linalg.norm(a, order, None if axes is None else tuple(axes), keep)
                value = wl.linalg.norm(A, order, axes, keep).compute()
                assert np.shape(value) == np.shape(expected)
                assert np.allclose(value, expected, rtol=1e-14)
    for axis in (None, 0, -1, (0,)):
        assert np.allclose(v.norm(1, axis, True).compute(), np.linalg.norm(a[0], 1, None, True), rtol=1e-14)
    assert wl.linalg.matrix_norm(A, keepdims=True).compute().shape == (1, 1)
    for axes, kind in (
        (2, np.exceptions.AxisError),
        ((0, 2), np.exceptions.AxisError),
        ((0, 1, 0), ValueError),
        ((1, -1), ValueError),
        ((), ValueError),
        ("a", TypeError),
    ):
        with pytest.raises(kind):
            A.norm(None, axes)
    with pytest.raises(TypeError, match="norm: keepdims is True or False"):
        A.norm(None, keepdims="yes")  # type: ignore[arg-type]


def test_norms_of_rows_and_columns_and_of_all_orders_agree_with_numpy() -> None:
    a = gallery.normal((5, 7))
    A, v = wl.from_array(a, tile=3), wl.from_array(a[0], tile=3)
    for order in (None, 0, 1, 2, np.inf, -np.inf, 3, -0.5):
        for axis in (0, 1, -1, [0]):
            expected = np.linalg.norm(a, order, tuple(axis) if isinstance(axis, list) else axis)
            assert np.allclose(A.norm(order, axis).compute(), expected, rtol=1e-14)
        assert np.allclose(v.norm(order).compute(), np.linalg.norm(a[0], order), rtol=1e-14)
    with pytest.raises(ValueError, match="no order of a norm of a vector"):
        A.norm("fro", 0)


def test_operations_on_single_number_agree_with_numpy() -> None:
    x = wl.from_array(np.array([[3 - 4j]]))[0, 0]
    assert x.norm().compute() == 5
    assert x.sum().compute() == 3 - 4j
    assert x.H.compute() == x.conj().compute() == 3 + 4j
    assert (2 * x).compute() == 6 - 8j
    assert (x + x).compute() == 6 - 8j


def test_unsupported_norms_and_axes_are_refused() -> None:
    A, v = wl.zeros((3, 3)), wl.zeros(3)
    order: Any
    for order in (2, -2, "nuc"):
        with pytest.raises(NotImplementedError, match="needs its singular values"):
            A.norm(order)
    for order in (3, 0, [1], "frob", "inf"):
        with pytest.raises(ValueError, match="no order of a norm of a matrix; there are: None, 1"):
            A.norm(order)
    for order in ("fro", "nuc", "test", [2]):
        with pytest.raises(ValueError, match="no order of a norm of a vector"):
            v.norm(order)
    axis: Any
    for axis in (2, -3):
        with pytest.raises(ValueError, match=f"axis {axis} is out of bounds for array of dimension 2"):
            A.sum(axis)
    with pytest.raises(ValueError, match="axis 1 is out of bounds for array of dimension 1"):
        v.sum(1)
    for method in (v.trace, v.diagonal):
        with pytest.raises(ValueError, match="a matrix is needed, not 1 dimensions"):
            method()
