"""Functions entry by entry, and numbers: NumPy's own bits, whatever the tiles are, in one pass."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wrenla as wl
from wrenla_kernels import UFUNCS

from .gallery import DTYPES, Array, normal
from .twins import RANDOM, same, tiles

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
"""NumPy warns of overflow; tiles are computed elsewhere, without warnings."""


@pytest.mark.parametrize("dtype", DTYPES)
def test_elementwise_functions_agree_with_numpy(dtype: str) -> None:
    a, b = (np.asarray(abs(normal((4, 3), dtype, seed)) / 4 + 0.1, dtype) for seed in (1, 2))
    A, B = wl.from_array(a, tile=(3, 2)), wl.from_array(b, tile=2)
    for function in UFUNCS.values():
        values = ((A, a), (B, b))[: function.nin]
        try:
            expected = function(*(eager for _, eager in values))
        except TypeError:
            with pytest.raises(TypeError, match=f"numpy.{function.__name__} takes no {dtype}"):
                function(*(lazy for lazy, _ in values))
            continue
        found = function(*(lazy for lazy, _ in values))
        assert isinstance(found, wl.BigMatrix)
        assert found.dtype == expected.dtype
        assert np.allclose(found.compute(), expected, rtol=8 * np.finfo(dtype).eps, atol=0, equal_nan=True)


def test_broadcasting() -> None:
    shapes = [(), (1,), (5,), (1, 5), (7, 1), (7, 5), (1, 1), (0,), (0, 5), (7, 0)]

    @RANDOM
    @given(st.data(), st.sampled_from(shapes), st.sampled_from(shapes), st.sampled_from([0, 1, 2]))
    def check(data: Any, left: tuple[int, ...], right: tuple[int, ...], as_arrays: int) -> None:
        def lazy(a: Array) -> Any:
            if not a.ndim:
                return wl.from_array(a.reshape(1), tile=1)[0]
            return wl.from_array(a, tile=tiles(data.draw) if a.ndim == 2 else data.draw(st.integers(1, 6)))

        a, b = normal(left), normal(right, seed=1)
        A, B = (a if as_arrays == 1 else lazy(a)), (b if as_arrays == 2 else lazy(b))
        f = data.draw(st.sampled_from([operator.add, operator.mul, operator.truediv, np.maximum]))
        try:
            expected = f(a, b)
        except ValueError:
            with pytest.raises(ValueError, match="cannot be broadcast together"):
                f(A, B)
            return
        same(f(A, B), expected)

    check()


def test_new_axes() -> None:
    v, a = np.arange(5.0), np.arange(20.0).reshape(4, 5)
    V, A = wl.from_array(v, tile=2), wl.from_array(a, tile=(3, 2))
    for index in (
        (slice(None), None),
        (None, slice(None)),
        None,
        (..., None),
        (slice(1, 4), None),
        (2, None),
    ):
        same(V[index], v[index])  # type: ignore[index]
    for index in ((slice(None), 2, None), (None, 1), (1, slice(None), None), (1, None), (None, ..., 0)):
        same(A[index], a[index])  # type: ignore[index]
    same(V[:, None] * V, v[:, None] * v)
    same(A.T * V[:, None], a.T * v[:, None])
    with pytest.raises(IndexError, match="would make it 3"):
        A[None]


def claimed(structure: str, dtype: str = "float64") -> tuple[wl.BigMatrix, Array]:
    a = normal((7, 7), dtype)
    if structure in ("lower", "upper"):
        return wl.from_array(a, tile=3, structure=structure, check=False), (
            np.tril if structure == "lower" else np.triu
        )(a)  # type: ignore[arg-type]
    h = a @ a.conj().T + np.eye(7, dtype=dtype)
    h = (h + h.conj().T) / 2
    return wl.from_array(h, tile=3, structure=structure, check=False), h  # type: ignore[arg-type]


def test_structure_follows() -> None:
    F: dict[str, Callable[[Any], Any]] = {
        "exp": np.exp,
        "sin": np.sin,
        "square": lambda x: x**2,
        "abs": abs,
        "plus": lambda x: x + 1,
        "half": lambda x: x / 2,
        "infinite": lambda x: x * np.inf,
        "over": lambda x: 1 / x,
        "self": lambda x: x * x,
        "ratio": lambda x: x / x,
        "most": lambda x: np.maximum(x, x * 2),
        "weighed": lambda x: x * np.arange(1.0, 8.0),
    }
    kept = {
        "lower": {"sin", "square", "abs", "half", "self", "most", "weighed"},
        "hermitian": set(F) - {"weighed"},
        "pos": {"square", "half", "self"},
    }
    kept["upper"] = kept["lower"]
    for structure in ("lower", "upper", "hermitian", "pos"):
        A, a = claimed(structure)
        for name, f in F.items():
            x, weaker = f(A), "hermitian" if structure == "pos" and name in kept["hermitian"] else "general"
            assert x.structure == (structure if name in kept[structure] else weaker), (structure, name)
            assert np.array_equal(x.compute(), f(a), equal_nan=True)
            assert np.array_equal((x @ np.eye(7)).compute(), f(a) @ np.eye(7), equal_nan=True)
            assert np.array_equal(x.persist().compute(), f(a), equal_nan=True)
    L, lower = claimed("lower")
    U, upper = claimed("upper")
    G = wl.from_array(normal((7, 7)), tile=(2, 3))
    for x, expected, structure in (
        (L * U, lower * upper, "lower"),
        (L * G, lower * normal((7, 7)), "lower"),
        (L + U, lower + upper, "general"),
        (L - L * 2, lower - lower * 2, "lower"),
        (np.maximum(L, U), np.maximum(lower, upper), "general"),
        (L.persist() * U.persist() + 1, lower * upper + 1, "general"),
        # the triangle of a triangle has more tiles that are zero than its structure says
        (np.exp(U.tril() + L.triu().T), np.exp(np.tril(upper) + np.triu(lower).T), "general"),
        (np.exp(L + U.tril().triu()), np.exp(lower + np.tril(upper)), "general"),
        (np.maximum(L, U.tril()), np.maximum(lower, np.tril(upper)), "lower"),
    ):
        assert x.structure == structure
        assert np.array_equal(x.compute(), expected)
        assert np.array_equal(x.rechunk(2).compute(), expected)


def test_structure_of_complex_matrices() -> None:
    A, a = claimed("hermitian", "complex128")
    for x, expected, structure in (
        (A * 2, a * 2, "hermitian"),
        (A * 1j, a * 1j, "general"),
        (A / 1j, a / 1j, "general"),
        (np.exp(A), np.exp(a), "hermitian"),
        (np.sqrt(-A), np.sqrt(-a), "general"),  # of a negative diagonal: not real
        (A * A, a * a, "hermitian"),
        (A / A.trace(), a / np.trace(a), "general"),
        (A / A.norm(), a / np.linalg.norm(a), "hermitian"),
    ):
        assert x.structure == structure
        assert np.allclose(x.compute(), expected, rtol=1e-12)


@pytest.mark.every_day(4)
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions(axis: Any, keepdims: bool) -> None:
    for structure in ("general", "lower", "hermitian"):
        for dtype in ("float32", "complex128"):
            A, a = claimed(structure, dtype) if structure != "general" else (None, normal((7, 5), dtype))
            A = wl.from_array(a, tile=(3, 2)) if A is None else A
            for name in ("sum", "mean", "var", "std", "max", "min"):
                x, expected = (getattr(y, name)(axis, keepdims=keepdims) for y in (A, a))
                assert (x.shape, x.dtype) == (expected.shape, expected.dtype), name
                value = x.compute()
                assert np.allclose(value, expected, rtol=50 * np.finfo(dtype).eps), name
                if not keepdims:
                    assert np.array_equal(getattr(np, name)(A, axis=axis).compute(), value), name


def test_reductions_of_vectors_nan_and_empty_agree_with_numpy() -> None:
    v = normal(7)
    V = wl.from_array(v, tile=3)
    for name in ("mean", "var", "std", "max", "min"):
        assert np.isclose(float(getattr(V, name)()), getattr(v, name)())
        assert getattr(V, name)(axis=0, keepdims=True).shape == (1,)
    assert np.isclose(float(V.std(ddof=1)), v.std(ddof=1))
    a = normal((5, 5))
    a[3, 1] = np.nan
    A = wl.from_array(a, tile=2)
    for name in ("mean", "var", "max", "min"):
        assert np.array_equal(np.isnan(getattr(A, name)(0).compute()), np.isnan(a).any(0))
        assert math.isnan(float(getattr(A, name)()))
    with pytest.raises(ValueError, match="maximum of no numbers"):
        wl.zeros((0, 3)).max(0)
    assert wl.zeros((0, 3)).max(1).compute().shape == (0,)
    with pytest.raises(TypeError, match="there is no where="):
        np.sum(A, where=a > 0)
    with pytest.raises(ValueError, match="axis 2"):
        A.mean(2)
    with pytest.raises(TypeError, match="integer"):
        A.mean(0.5)  # type: ignore[arg-type]
    assert (A.max((0, 1)).shape, A.max((1,), keepdims=True).shape) == ((), (5, 1))  # type: ignore[arg-type]
    assert np.array_equal(np.clip(V, -0.5, 0.5).compute(), np.clip(v, -0.5, 0.5))
    assert np.allclose(A.dot(v[:5]).compute(), a @ v[:5], equal_nan=True)
    assert np.array_equal(A.dot(2).compute(), 2 * a, equal_nan=True)


# what is refused


def test_comparisons_are_type_errors() -> None:
    A, x = wl.eye(3, tile=2), wl.eye(3).trace()
    for sign in ("eq", "ne", "lt", "le", "gt", "ge"):
        compare = getattr(operator, sign)
        for left, right in (
            (x, 3.0),
            (3.0, x),
            (A, A),
            (A, np.eye(3)),
            (np.eye(3), A),
            (A, None),
            (np.float64(3), x),
        ):
            with pytest.raises(TypeError, match="holds no truth values; compare what is computed, float"):
                compare(left, right)
    assert float(x) == 3.0
    assert wl.map_tiles(lambda a: a == 1, A).sum().compute() == 3
    for f in (lambda: 1 in A, lambda: list(A), lambda: A in (x,)):
        with pytest.raises(TypeError, match=r"not iterable|no truth values"):
            f()
    assert A in {A: 1}
    assert A in [A]


def test_unsupported_numpy_functions_are_type_errors() -> None:
    A, a = wl.zeros((3, 3), tile=2), np.ones((3, 3))
    for f, message in (
        (lambda: np.add.reduce(A), r"numpy.add.reduce takes no BigMatrix; there are A.sum"),
        (lambda: np.multiply.outer(A, A), r"numpy.multiply.outer takes no BigMatrix; .*linalg.outer\(v, w\)"),
        (lambda: np.add(A, a, out=a), r"no out=: .*write a = a \+ A"),
        (lambda: np.add(A, a, where=a > 0), "no where="),
        (lambda: np.exp(A, dtype="float32"), "A.astype"),
        (lambda: operator.iadd(a, A), r"write a = a \+ A instead of a \+= A"),
        (lambda: np.isnan(A), r"numpy.isnan of a BigMatrix is not there; wl.map_tiles"),
        (lambda: np.modf(A), "map_tiles"),
        (lambda: np.logical_and(A, A), "map_tiles"),
        (lambda: A + "text", "a matrix, an array or a number is needed, not str"),
        (lambda: A * None, "a matrix, an array or a number is needed, not NoneType"),
        (lambda: A + np.array(["a"] * 3), "a matrix or vector of numbers is needed"),
        (lambda: np.arctan2(A * 1j, A), "numpy.arctan2 takes no complex128"),
        (lambda: A[[0, 2]], r"not \[0, 2\]: take such rows of what is computed"),
        (lambda: divmod(A, 2), "unsupported"),
    ):
        with pytest.raises(TypeError, match=message):
            f()
    with pytest.raises(ValueError, match=r"broadcast together: \(3, 4\), \(3,\); a vector stands for a row"):
        wl.zeros((3, 4)) * np.ones(3)
