"""Products and Gram matrices: NumPy's meaning, its dtypes, and an error that is within its bound."""

from __future__ import annotations

import operator
from itertools import product
from typing import Any

import numpy as np
import pytest

import wrenla as wl

from . import gallery
from .gallery import ALARM, DTYPES, ONE_REAL_ONE_COMPLEX, Array

GATE = 3.0

SHAPES = ((1, 1, 1), (5, 5, 5), (24, 16, 8), (21, 13, 34), (3, 40, 2), (40, 1, 33), (17, 64, 17))


def check_product(c: Array, a: Array, b: Array) -> None:
    assert c.shape == (a @ b).shape
    assert c.dtype == np.result_type(a, b)
    error = gallery.matmul_error(c, a, b)
    assert error <= GATE
    assert error <= ALARM


@pytest.mark.every_day(4)
@pytest.mark.parametrize("dtypes", list(product(DTYPES, DTYPES)), ids="-".join)
def test_matmul(dtypes: tuple[str, str]) -> None:
    for number, (m, k, n) in enumerate(SHAPES if dtypes[0] == dtypes[1] else SHAPES[3::2]):
        a, b = gallery.normal((m, k), dtypes[0], number), gallery.normal((k, n), dtypes[1], number + 9)
        A, B = wl.from_array(a, tile=(8, 5)), wl.from_array(b, tile=8)
        check_product((A @ B).compute(), a, b)
        if dtypes[0] != dtypes[1]:
            continue
        check_product((A @ b).compute(), a, b)
        check_product(operator.matmul(a, B).compute(), a, b)
        check_product(wl.linalg.matmul(a, b).compute(), a, b)


@pytest.mark.parametrize("dtype", DTYPES)
def test_matmul_with_vectors_agrees_with_numpy(dtype: str) -> None:
    a, v, w = gallery.normal((21, 13), dtype), gallery.normal(13, dtype, 2), gallery.normal(21, dtype, 3)
    A = wl.from_array(a, tile=8)
    for left, right in ((a, v), (w, a), (v, v), (w, w)):
        lazy = [A if side is a else wl.from_array(side, tile=5) for side in (left, right)]
        for x in (lazy[0] @ lazy[1], operator.matmul(left, lazy[1]), lazy[0] @ right):
            check_product(np.asarray(x.compute()), left, right)
            assert x.ndim == (left @ right).ndim


@pytest.mark.parametrize("ops", list(product("NTHR", "NTHR")), ids="".join)
@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_transposed_and_conjugated(dtype: str, ops: tuple[str, str]) -> None:
    def apply(op: str, x: Any) -> Any:
        flipped = x.T if op in "TH" else x
        return flipped.conj() if op in "HR" else flipped

    a, b = gallery.normal((19, 13), dtype, 1), gallery.normal((13, 22), dtype, 2)
    a = a.T if ops[0] in "TH" else a
    b = b.T if ops[1] in "TH" else b
    A, B = wl.from_array(a, tile=(8, 5)), wl.from_array(b, tile=(4, 8))
    check_product((apply(ops[0], A) @ apply(ops[1], B)).compute(), apply(ops[0], a), apply(ops[1], b))


STRUCTURES = ("general", "lower", "upper", "hermitian", "pos")


def with_structure(structure: str, n: int, dtype: str, seed: int) -> Array:
    a = gallery.normal((n, n), dtype, seed)
    return {
        "general": a,
        "lower": np.tril(a),
        "upper": np.triu(a),
        "hermitian": (a + a.conj().T).astype(dtype),
        "pos": gallery.well_conditioned(n, dtype),
    }[structure]


@pytest.mark.parametrize("structures", list(product(STRUCTURES, STRUCTURES)), ids="-".join)
def test_matmul_of_structured_matrices_agrees_with_numpy(structures: tuple[Any, Any]) -> None:
    """Tiles that are known to be zero are left out, mirrored ones are read from the lower triangle."""
    alike = structures[0] == structures[1]
    for n, tiles in ((21, (8, 5)), (24, (8, 8)), *(((21, (8, 8)), (5, (8, 8))) if alike else ())):
        a, b = (with_structure(s, n, "complex128", i) for i, s in enumerate(structures))
        A, B = (
            wl.from_array(x, tile=t, structure=s, check=False)
            for x, t, s in zip((a, b), tiles, structures, strict=True)
        )
        check_product((A @ B).compute(), a, b)
        check_product((A.T @ B.H).compute(), a.T, b.conj().T)


@pytest.mark.every_day(4)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (21, 13), (8, 33), (40, 5), (5, 0), (0, 5)])
def test_gram(shape: tuple[int, int], dtype: str) -> None:
    a = gallery.normal(shape, dtype)
    w = gallery.normal(shape[1], a.real.dtype.name, 4)
    for tile in ((8, 8), (5, 8), (8, 3)):
        A = wl.from_array(a, tile=tile)
        g = A.gram().compute()
        check_product(g, a, a.conj().T)
        assert np.array_equal(g, g.conj().T)
        check_product((A @ A.H).compute(), a, a.conj().T)
        check_product(A.H.gram().compute(), a.conj().T, a)
        for weights in (w, wl.from_array(w, tile=4)):
            weighed = A.gram(weights)
            g = weighed.compute()
            assert np.array_equal(g, g.conj().T)
            check_product(g, a * w, a.conj().T)
            assert weighed.structure == "pos"


@pytest.mark.parametrize("dtype", ONE_REAL_ONE_COMPLEX)
def test_long_sums(dtype: str) -> None:
    """Tall and ragged: their tiles are sums of 16 to 90 products, for 1 to 12 tiles of the result."""
    real = np.empty(0, dtype).real.dtype.name
    for shape, tile in (((451, 3), 5), ((451, 13), (5, 4)), ((97, 9), (3, 20)), ((128, 11), 8)):
        b, c = gallery.normal(shape, dtype), gallery.normal((shape[0], 7), dtype, 1)
        v, w = gallery.normal(shape[0], dtype, 2), np.abs(gallery.normal(shape[0], real, 3))
        B, C = (
            wl.from_array(b, tile=tile),
            wl.from_array(c, tile=(tile if isinstance(tile, int) else tile[0], 3)),
        )
        products = {
            "gram": (B.H @ B, b.conj().T, b),
            "weighted": (B.H.gram(w), b.conj().T * w, b),
            "two": (B.T @ C, b.T, c),
            "scaled": ((2 * B.H) @ C.scale_rows(w), 2 * b.conj().T, w[:, None] * c),
            "vector": (v @ B, v, b),
            "inner": (wl.from_array(v, tile=2) @ v, v, v),
        }
        for (name, (_, x, y)), value in zip(
            products.items(), wl.compute(*(lazy for lazy, _, _ in products.values())), strict=True
        ):
            check_product(np.asarray(value), x, y)
            assert name not in ("gram", "weighted") or np.array_equal(value, value.conj().T)
        both = (B.H @ B + 2 * (B.H @ B)).compute()
        check_product(both, 3 * b.conj().T, b)
        assert wl.plan(B.H @ B).kernels["add"] > 0, "it is a tree"


@pytest.mark.parametrize("structure", ["lower", "upper"])
def test_long_sums_leave_zeros_out(structure: Any) -> None:
    """A triangle of 40 × 40 tiles times a vector."""
    a, v = gallery.normal((118, 118)), gallery.normal(118, seed=1)
    A = wl.from_array(a, tile=3, structure=structure, check=False)
    t = np.tril(a) if structure == "lower" else np.triu(a)
    for x, y in ((A, t), (A.T, t.T)):
        check_product((x @ v).compute(), y, v)
    plan = wl.plan(A @ v)
    assert plan.kernels["gemm"] < 40 * 3
    assert plan.flops < 1.1 * 118 * 119


def test_the_error_of_a_long_sum_is_that_of_a_tree() -> None:
    """4,096 products added one by one lose a digit or two more."""
    n = 1 << 16
    a = np.full((n, 1), np.float32(0.1))
    exact = float((a.astype("float64") ** 2).sum())
    value = (wl.from_array(a, tile=(16, 1)).T @ a).compute()
    one_by_one = np.cumsum((a[:, 0] ** 2).reshape(-1, 16).sum(1), dtype="float32")[-1]
    assert abs(value.item() - exact) < 0.02 * abs(float(one_by_one) - exact)


@pytest.mark.parametrize(
    ("of_a", "of_w"), [("float32", "float64"), ("complex64", "float64"), ("float64", "float32")]
)
def test_gram_with_weights_of_another_precision(of_a: str, of_w: str) -> None:
    a, w = gallery.normal((13, 21), of_a), gallery.normal(21, of_w, 4)
    check_product(wl.from_array(a, tile=8).gram(w).compute(), a * w, a.conj().T)


@pytest.mark.parametrize("dtype", DTYPES)
def test_matmul_of_views_agrees_with_numpy(dtype: str) -> None:
    n = 21
    a, b = gallery.normal((n, n), dtype, 1), gallery.normal((n, n), dtype, 2)
    w = gallery.normal(n, a.real.dtype.name, 3)
    A, B, eye = wl.from_array(a, tile=8), wl.from_array(b, tile=8), np.eye(n, dtype=dtype)
    check_product(((A - B) @ B.shift(2)).compute(), a - b, b + 2 * eye)
    check_product((A.scale_columns(w) @ B.scale_rows(w)).compute(), a * w, w[:, None] * b)
    check_product((A.tril() @ (0.5 * B.triu())).compute(), np.tril(a), 0.5 * np.triu(b))
    check_product((A.shift(1).scale_rows(w).T @ B).compute(), (w[:, None] * (a + eye)).T, b)
    for weighed, expected in ((A.scale_columns(w), a * w), (A.scale_rows(w), w[:, None] * a)):
        check_product(weighed.gram().compute(), expected, expected.conj().T)
        check_product(weighed.gram(w).compute(), expected * w, expected.conj().T)
        check_product(weighed.H.gram().compute(), expected.conj().T, expected)
    check_product((A[::2, 3:] @ B[3:, ::-1]).compute(), a[::2, 3:], b[3:, ::-1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_extreme_scales_do_not_overflow_on_the_way(dtype: str) -> None:
    """The product of two scales may be too large for the dtype although that of the matrices is not."""
    huge = float(np.finfo(dtype).max) ** 0.7
    a = gallery.normal((13, 13), dtype)
    A = wl.from_array((a / np.asarray(huge, dtype)).astype(dtype), tile=8)
    scaled = np.asarray(a / np.asarray(huge, dtype), dtype) * np.asarray(huge, dtype)
    check_product(((huge * A) @ (huge * A)).compute(), scaled, scaled)
    check_product((huge * A).gram().compute(), scaled, scaled.conj().T)
    check_product((huge * A).tril().gram().compute(), np.tril(scaled), np.tril(scaled).conj().T)


@pytest.mark.parametrize("shape", [(0, 0, 0), (0, 3, 2), (3, 0, 2), (3, 2, 0), (0, 3, 0), (3, 0, 0)])
def test_matmul_of_empty_matrices_has_numpys_shape(shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    c = (wl.zeros((m, k), tile=2) @ np.ones((k, n))).compute()
    assert np.array_equal(c, np.zeros((m, n)))
    assert (wl.zeros((m, k), tile=2) @ np.ones(k)).compute().shape == (m,)
    assert operator.matmul(np.ones(k), wl.zeros((k, n), tile=2)).compute().shape == (n,)
    assert (wl.zeros(k) @ np.ones(k)).compute() == 0


def test_matmul_of_unfit_shapes_is_refused() -> None:
    A, v = wl.zeros((4, 3), tile=2), np.ones(4)
    with pytest.raises(ValueError, match=r"\(4, 3\) @ \(4, 2\): the inner lengths 3 and 4 differ"):
        A @ np.ones((4, 2))
    with pytest.raises(ValueError, match=r"\(4, 3\) @ \(4,\): the inner lengths 3 and 4 differ"):
        A @ v
    with pytest.raises(ValueError, match=r"\(3,\) @ \(4, 3\): the inner lengths 3 and 4 differ"):
        np.ones(3) @ A
    with pytest.raises(ValueError, match=r"\(4,\) @ \(3,\): the inner lengths 4 and 3 differ"):
        wl.from_array(v) @ np.ones(3)
    with pytest.raises(ValueError, match="matmul: a number is no operand"):
        A @ A.norm()
    with pytest.raises(TypeError, match="matrix or vector of numbers"):
        A @ 3
    with pytest.raises(TypeError, match="gram: weights are real"):
        A.gram(np.ones(3) * 1j)
    with pytest.raises(ValueError, match="3 columns to be weighed, not 4"):
        A.gram(np.ones(4))
    with pytest.raises(ValueError, match="weights are a vector"):
        A.gram(np.ones((3, 1)))
    with pytest.raises(ValueError, match="gram: a matrix is needed"):
        wl.from_array(v).gram()
