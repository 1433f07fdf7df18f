"""Products of vectors and of matrices by the Array API's names, against NumPy's."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla import linalg

from . import gallery
from .gallery import DTYPES


@pytest.mark.every_day(4)
@pytest.mark.parametrize(("one", "other"), list(itertools.product(DTYPES, DTYPES)))
def test_products_of_vectors_agree_with_numpy(one: str, other: str) -> None:
    for m, n in ((1, 1), (13, 5), (5, 13), (7, 7), (0, 4), (4, 0), (0, 0)):
        v, w = gallery.normal(m, one), gallery.normal(n, other, 7)
        for tile in (1, 3, 64):
            V, W = wl.from_array(v, tile=tile), wl.from_array(w, tile=4)
            for x, y in ((V, W), (V, w), (v, W), (v.tolist() if m else v, w)):
                found = linalg.outer(x, y)
                assert found.shape == (m, n)
                assert np.allclose(found.compute(), np.linalg.outer(v, w), rtol=1e-6, atol=0)
            assert linalg.outer(V, W).dtype == np.result_type(v, w)
            exact, size = np.outer(gallery.wide(v), gallery.wide(w)), np.outer(np.abs(v), np.abs(w))
            gallery.agree(linalg.outer(V, W).compute(), exact, size, np.result_type(v, w))
            gallery.agree(linalg.tensordot(V, W, axes=0).compute(), exact, size, np.result_type(v, w))
            if m == n:
                dots = np.vdot(gallery.wide(v), gallery.wide(w))
                size = np.abs(v) @ np.abs(w)
                gallery.agree(linalg.vecdot(V, W).compute(), dots, size, np.result_type(v, w))
                gallery.agree(linalg.vecdot(V, W, axis=0).compute(), dots, size, np.result_type(v, w))
                dot = gallery.wide(v) @ gallery.wide(w)
                gallery.agree(linalg.tensordot(V, W, axes=1).compute(), dot, size, np.result_type(v, w))


@pytest.mark.parametrize("dtype", DTYPES)
def test_outer_product_with_itself_is_symmetric_if_that_is_certain(dtype: str) -> None:
    v = gallery.normal(11, dtype)
    V = wl.from_array(v, tile=4)
    P = linalg.outer(V, V)
    assert P.structure == ("general" if dtype.startswith("c") else "hermitian")
    assert linalg.outer(V, 2 * V).structure == "general"
    for found, expected in (
        (P, np.outer(v, v)),
        (P.T, np.outer(v, v).T),
        (P[3:9, 3:9], np.outer(v, v)[3:9, 3:9]),
        (P @ V, np.outer(v, v) @ v),
        (P + linalg.outer(V, V.conj()), np.outer(v, v) + np.outer(v, v.conj())),
    ):
        assert np.allclose(found.compute(), expected, rtol=1e-4 if v.real.dtype.itemsize == 4 else 1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_vecdot_of_matrices_agrees_with_numpy(dtype: str) -> None:
    shapes: tuple[Any, ...] = (
        *(((7, 5), (7, 5), -1), ((7, 5), (7, 5), 0), ((7, 5), (7, 5), 1), ((7, 5), (5,), -1)),
        *(((7,), (7, 5), 0), ((1, 5), (7, 5), -1), ((7, 5), (7, 1), -2), ((0, 5), (0, 5), 0)),
        ((0, 5), (0, 5), 1),
    )
    for first, second, axis in shapes:
        a, b = gallery.normal(first, dtype), gallery.normal(second, dtype, 3)
        if axis == 0 and len(first) != len(second):  # NumPy moves the axis of each
            expected = np.linalg.vecdot(gallery.wide(a), gallery.wide(b).T)
        else:
            expected = np.linalg.vecdot(gallery.wide(a), gallery.wide(b), axis=axis)
        size = np.vecdot(
            np.abs(a), np.abs(b), axes=[axis if a.ndim == 2 else -1, axis if b.ndim == 2 else -1, ()]
        )
        for tile in (2, (3, 4), 64) if len(first) == len(second) == 2 else (3,):
            A, B = wl.from_array(a, tile=tile), wl.from_array(b, tile=tile)
            for x, y in ((A, B), (A, b), (a, B)):
                gallery.agree(linalg.vecdot(x, y, axis=axis).compute(), expected, size, dtype)


@pytest.mark.parametrize(("one", "other"), list(zip(DTYPES, (*DTYPES[1:], DTYPES[0]), strict=True)))
def test_cross_products_agree_with_numpy(one: str, other: str) -> None:
    shapes: tuple[Any, ...] = (
        *(((3,), (3,), -1), ((3,), (3,), 0), ((3,), (5, 3), -1), ((5, 3), (5, 3), 1), ((1, 3), (5, 3), -1)),
        *(((3, 5), (3, 5), 0), ((3, 5), (3, 1), -2), ((3, 5), (3,), 0), ((3, 3), (3, 3), -1)),
        *(((3, 3), (3, 3), -2), ((0, 3), (3,), -1), ((3, 0), (3, 0), 0), ((3, 0), (3, 1), -2)),
    )
    pairs = []
    for first, second, axis in shapes:
        a, b = gallery.normal(first, one), gallery.normal(second, other, 3)
        for tile in (1, 4):
            A, B = wl.from_array(a, tile=tile), wl.from_array(b, tile=3)
            pairs += [(linalg.cross(x, y, axis=axis), a, b, axis) for x, y in ((A, B), (A, b), (a, B))]
    results = wl.compute(*(lazy for lazy, *_ in pairs))
    for found, (lazy, a, b, axis) in zip(results, pairs, strict=True):
        expected = np.cross(a, b, axis=axis)
        assert found.shape == lazy.shape == expected.shape
        assert found.dtype == lazy.dtype == expected.dtype
        if expected.dtype.kind == "f":
            assert np.array_equal(found, expected)  # to the last bit
        else:
            assert np.allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_cross_product_is_orthogonal_in_small_plans() -> None:
    A, B = wl.random((40, 3), tile=8).persist(), wl.random((40, 3), tile=8, seed=1).persist()
    C = linalg.cross(A, B)
    assert (C.tile, C.grid) == ((8, 3), (5, 1))
    assert wl.plan(C).tasks == 7 * 5  # six columns and the result, of five tiles
    for x in (A, B):
        assert np.abs(linalg.vecdot(x, C).compute()).max() < 1e-15
    assert np.array_equal(linalg.cross(B.T, A.T, axis=-2).compute(), -C.compute().T)


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensordot_agrees_with_numpy(dtype: str) -> None:
    cases: tuple[Any, ...] = (
        *(((7, 5), (5, 3), 1), ((7, 5), (7, 5), 2), ((7, 5), (5,), 1), ((5,), (5, 3), 1)),
        *(((7, 5), (7, 3), ([0], [0])), ((7, 5), (3, 5), (1, 1)), ((7, 5), (3, 7), ((0,), (-1,)))),
        *(
            ((7, 5), (5, 7), ([0, 1], [1, 0])),
            ((7, 5), (5, 7), ([1, 0], [0, 1])),
            ((7, 5), (7, 5), ([1, 0], [1, 0])),
        ),
        *(((7, 5), (7,), (0, 0)), ((0, 5), (0, 3), (0, 0)), ((0, 5), (0, 5), 2), ((7, 0), (0, 3), 1)),
    )
    for first, second, axes in cases:
        a, b = gallery.normal(first, dtype), gallery.normal(second, dtype, 3)
        expected = np.tensordot(gallery.wide(a), gallery.wide(b), axes)
        size = np.tensordot(np.abs(a), np.abs(b), axes)
        A, B = wl.from_array(a, tile=3), wl.from_array(b, tile=4)
        for x, y in ((A, B), (A, b), (a, B), (a, b)):
            gallery.agree(linalg.tensordot(x, y, axes=axes).compute(), expected, size, dtype)
    A = wl.from_array(gallery.normal((4, 4), dtype), tile=3)
    assert linalg.tensordot(linalg.trace(A), A, axes=0).shape == (4, 4)
    assert linalg.tensordot(A, A.H, axes=1).structure == "pos"
