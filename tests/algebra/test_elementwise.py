"""Functions entry by entry, and numbers: NumPy's own bits, whatever the tiles are, in one pass."""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import wrenla as wl
from wrenla.evaluate import made
from wrenla.plan.cut import Cut
from wrenla.plan.model import ExecutorModel
from wrenla.plan.plan import Plan, make_plan
from wrenla_kernels import UFUNCS

from .gallery import DTYPES, Array, normal
from .twins import tiles

RANDOM = settings(deadline=None, derandomize=True, max_examples=80, suppress_health_check=list(HealthCheck))

EXTREMES = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    3.0,
    0.1,
    1e-5,
    1e30,
    -1e-30,
    1e300,
    1e-300,
    5e-324,
    np.inf,
    -np.inf,
    np.nan,
)
NUMBERS: tuple[Any, ...] = (
    *(0.1, -1, 3, 2.0**-20, 10, 7.0, True, 1e-200, 1e200, 1e-310, np.inf, -np.inf, np.nan, 0, -0.0, 1, 1e300),
    *(np.float32(0.3), np.float64(0.3), np.int64(3), np.int8(-2), np.bool_(True), np.array(1.5)),
)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """NumPy warns of overflow; tiles are computed elsewhere, without warnings."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def same(x: wl.BigMatrix, expected: Any) -> None:
    """Compare bit for bit; one NaN is as good as another."""
    value, expected = x.compute(), np.asarray(expected)
    assert x.shape == expected.shape == np.shape(value)
    assert x.dtype == expected.dtype == value.dtype
    parts = (value.real, value.imag) if expected.dtype.kind == "c" else (value,)
    wanted = (expected.real, expected.imag) if expected.dtype.kind == "c" else (expected,)
    for found, right in zip(parts, wanted, strict=True):
        assert np.array_equal(found, right, equal_nan=True)
        there = ~np.isnan(right)
        assert np.array_equal(np.signbit(found)[there], np.signbit(right)[there])


def step(draw: Any, A: Any, a: Any, other: tuple[Any, Any], w: tuple[Array, Array]) -> tuple[Any, Any]:
    """Do one thing to a matrix and to its twin."""
    c = draw(st.sampled_from(NUMBERS))
    rows, cols = w
    kinds: list[Callable[[], tuple[Any, Any]]] = [
        lambda: (A * c, a * c),
        lambda: (c * A, c * a),
        lambda: (A / c, a / c),
        lambda: (A + c, a + c),
        lambda: (c - A, c - a),
        lambda: (-A, -a),
        lambda: (A + other[0], a + other[1]),
        lambda: (other[0] - A, other[1] - a),
        lambda: (A - (A - other[0]), a - (a - other[1])),
        lambda: (A * other[0], a * other[1]),
        lambda: (A.scale_rows(rows), rows[:, None] * a),
        lambda: (A.scale_columns(cols), a * cols),
        lambda: (A * cols, a * cols),
        lambda: (rows[:, None] / A, rows[:, None] / a),
        lambda: (A.T.scale_rows(cols).T, a * cols),
        lambda: (A**2, a**2),
        lambda: (np.maximum(A, c), np.maximum(a, c)),
        lambda: (A.T.T, a),
    ]
    return draw(st.sampled_from(kinds))()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_chains_have_the_bits_of_numpy(dtype: str) -> None:
    """No factor, shift or weight is merged with another before it has met the data."""

    @RANDOM
    @given(st.data(), st.integers(0, 5), st.integers(1, 5), st.integers(1, 5))
    def check(data: Any, m: int, n: int, length: int) -> None:
        entries = st.sampled_from(EXTREMES)
        a, b = (
            np.array(data.draw(st.lists(entries, min_size=m * n, max_size=m * n)), dtype).reshape(m, n)
            for _ in range(2)
        )
        other = wl.from_array(b, tile=tiles(data.draw)), b
        w = normal(m, dtype, 1), normal(n, dtype, 2)
        A, expected = wl.from_array(a, tile=tiles(data.draw)), a
        for _ in range(length):
            A, expected = step(data.draw, A, expected, other, w)
        same(A, expected)
        same(A.T, expected.T)
        same(A[::2, 1:], expected[::2, 1:])

    check()


def test_shifts_are_added_one_by_one() -> None:
    @RANDOM
    @given(st.data(), st.integers(1, 5))
    def check(data: Any, length: int) -> None:
        a = normal((5, 5))
        A, expected = wl.from_array(a, tile=data.draw(st.integers(1, 6))), a
        for _ in range(length):
            c = data.draw(st.sampled_from((1.0, 1e17, -1e17, 0.1, -3e300)))
            match data.draw(st.sampled_from(["shift", "scale", "divide", "sum", "weights"])):
                case "shift":
                    A, expected = A.shift(c), expected + np.diag(np.full(5, c))
                case "scale":
                    A, expected = A * c, expected * c
                case "divide":
                    A, expected = A / c, expected / c
                case "sum":
                    A, expected = A + a, expected + a
                case _:
                    A, expected = A.scale_columns(a[0]), expected * a[0]
        assert np.array_equal(A.compute(), expected, equal_nan=True)

    check()


def test_the_numbers_of_the_report() -> None:
    big, small = np.full((3, 3), 1e300), np.full((3, 3), 1e-300)
    A, B = wl.from_array(big, tile=2), wl.from_array(small, tile=2)
    same(A * 1e-200 * 1e-200, big * 1e-200 * 1e-200)
    same(B * 1e200 * 1e200, small * 1e200 * 1e200)
    same(wl.eye(2, tile=1) / 1e-310, np.eye(2) / 1e-310)
    same(wl.from_array([3.0]) / 10, np.array([3.0]) / 10)
    same((A - A * 2) * 1e10, (big - big * 2) * 1e10)
    same(wl.from_array(np.full((3, 3), 0.5), tile=2) * np.inf, np.full((3, 3), np.inf))
    same(wl.from_array(big, tile=2) / 0, big / 0)
    for x, expected in (
        ((A * 1e-200 * 1e-200).trace(), 3e-100),
        ((A * 1e-200 * 1e-200).norm(), 3e-100),
        ((A / 1e10).gram(np.full(3, 1e-300)), 3e280),
        ((A * 2.0**-20) @ np.full(3, 1e10), 3e304 * 2.0**-20 * 1e6),
        ((A * 1e-5) @ (B * 1e-5), 3e-10),
    ):
        assert np.allclose(x.compute(), expected, rtol=1e-14)


def test_a_product_does_not_overflow_where_its_factors_are_scaled() -> None:
    """BLAS would scale the product of 1e160 and 1e150, which is infinite."""
    A, B = (wl.from_array(np.full((2, 2), x)) for x in (1e160, 1e150))
    assert np.allclose(((A * 2.0**-20) @ B).compute(), 2e160 * 2.0**-20 * 1e150)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_numbers(dtype: str) -> None:
    a, b = normal((7, 5), dtype), normal((7, 5), dtype, 2)
    A, B = wl.from_array(a, tile=3), wl.from_array(b, tile=(2, 5))
    real = a.real.copy()
    cases: tuple[tuple[wl.BigMatrix, Array], ...] = (
        (A * 0.3 * 0.7, a * 0.3 * 0.7),
        (A / 10, a / 10),
        ((2 - 1j) * (A / (1 + 3j)), (2 - 1j) * (a / (1 + 3j))),
        ((A * 1j).H.scale_rows(b[0]).H, ((a * 1j).conj().T * b[0][:, None]).conj().T),
        ((A * B).conj(), (a * b).conj()),
        (abs(A) + B, abs(a) + b),
        (A.scale_rows(a[:, 0]).scale_columns(b[0]).H / 3, ((a * a[:, :1]) * b[0]).conj().T / 3),
        (wl.from_array(real, tile=2) * 2j + A, real * 2j + a),
        (np.square(A) - A * A, np.square(a) - a * a),
    )
    for x, expected in cases:
        value = x.compute()
        assert value.dtype == x.dtype == expected.dtype
        assert np.allclose(value, expected, rtol=4 * np.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_all_functions(dtype: str) -> None:
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
        return wl.from_array(a, tile=3, structure=structure), (np.tril if structure == "lower" else np.triu)(
            a
        )  # type: ignore[arg-type]
    h = a @ a.conj().T + np.eye(7, dtype=dtype)
    h = (h + h.conj().T) / 2
    return wl.from_array(h, tile=3, structure=structure), h  # type: ignore[arg-type]


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


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions(axis: Any, keepdims: bool) -> None:
    for structure in ("general", "lower", "hermitian"):
        for dtype in ("float32", "complex128"):
            A, a = claimed(structure, dtype) if structure != "general" else (None, normal((7, 5), dtype))
            A = wl.from_array(a, tile=(3, 2)) if A is None else A
            for name in ("sum", "mean", "var", "std", "max", "min"):
                x, expected = (getattr(y, name)(axis=axis, keepdims=keepdims) for y in (A, a))
                assert (x.shape, x.dtype) == (expected.shape, expected.dtype), name
                value = x.compute()
                assert np.allclose(value, expected, rtol=50 * np.finfo(dtype).eps), name
                assert np.array_equal(
                    getattr(np, name)(A, axis=axis).compute(), getattr(A, name)(axis).compute()
                )


def test_reductions_of_vectors_nan_and_nothing() -> None:
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


# what a plan takes


def plan(x: wl.BigMatrix) -> Plan:
    return make_plan([made(x._node)], ExecutorModel(2, 60e9, 2e9, 1e-4, 60.0, 1 << 50), cut=Cut())[0]


def test_chains_are_one_pass() -> None:
    A, B, v = wl.random((24, 18), tile=6), wl.random((24, 18), tile=6, seed=1), wl.random(18, tile=6)
    M, N = 4, 3
    chain = np.exp(-((A * 0.5 - B) ** 2) / 3) + 1
    for x, tasks, reads, waves in (
        (chain, M * N, 2 * M * N, 1),
        (chain.sum(1), M * N + M, 3 * M * N, 2),
        (chain.norm(), M * N + M + 1, 3 * M * N + M, 3),
        (chain @ v, M, 3 * M * N, 1),  # each tile is needed once
        (chain.T @ wl.random((24, 12), tile=6), M * N + 2 * N, 2 * M * N + 2 * 2 * M * N, 2),  # made once
        ((A / 3) @ wl.random((18, 12), tile=6), 2 * M, 2 * 2 * M * N, 1),  # cheaper than a copy
        ((A * A).sum(axis=0), M * N + N, 2 * M * N, 2),  # one tile is read once
        ((A - v) / (A - v).std(axis=0), None, None, None),
        (np.exp(wl.random((24, 24), tile=6).gram()).cholesky(), 20, None, 8),
    ):
        found = plan(x)
        if tasks is not None:
            assert found.tasks == tasks
        if reads is not None:
            assert found.reads == reads
        if waves is not None:
            assert found.waves == waves
    assert np.allclose((chain @ v).compute(), chain.compute() @ v.compute(), rtol=1e-12)


def test_runs_of_what_is_made_on_the_way() -> None:
    """A plan stays small: terms that are read alike are one object, forwards and backwards."""
    n = 24
    A, L = wl.random((n, n), tile=2), wl.random((n, n), tile=2, seed=1).tril().shift(n)
    v, column = wl.random(n, tile=2), wl.random((n, 1), tile=2)
    a, low, b = A.compute(), L.compute(), v.compute()
    for x, expected, most in (
        (np.exp(A.T) @ v, np.exp(a.T) @ b, 1),
        ((A * column / 7) @ v, (a * column.compute() / 7) @ b, 1),
        ((A.scale_columns(v).scale_rows(v).T / 7) @ v, ((a * b) * b[:, None]).T / 7 @ b, 1),
        (np.sin(L) @ v, np.sin(low) @ b, 2),
        ((L / 3).T.solve(v), np.linalg.solve((low / 3).T, b), 1),
        (np.exp(A + A.T) @ v, np.exp(a + a.T) @ b, 1),
    ):
        tasks = plan(x).graph.tiles.tasks
        assert max(len(task.terms) for task in tasks) <= most
        assert np.allclose(x.compute(), expected, rtol=1e-12)


def test_what_is_used_twice_in_one_expression_is_made_once() -> None:
    A = wl.random((12, 12), tile=6)
    E = np.exp(A)
    x, y = E * (1 - E), A * (1 - A)
    assert (plan(x).tasks, plan(x).reads) == (4 + 4, 4 + 2 * 4)
    assert (plan(y).tasks, plan(y).reads) == (4, 2 * 4)
    e = np.exp(A.compute())
    assert np.array_equal(x.compute(), e * (1 - e))
    for _ in range(30):  # it would be read 2³⁰ times
        E = E * (1 - abs(E)) / (2 + E)
        e = e * (1 - abs(e)) / (2 + e)
    assert plan(E).reads < 30 * 4 * 8
    assert np.array_equal(E.compute(), e)


def test_memory_is_priced() -> None:
    tile = 64 * 64 * 8
    A, B = wl.random((256, 256), tile=64), wl.random((256, 256), tile=64, seed=1)
    one, two = plan(np.exp(A) * 2), plan(A * B)
    assert one.projected == 3 * tile  # the result, the tile, and what is made of it
    assert two.projected == 4 * tile
    assert plan(np.exp(np.exp(np.exp(A)))).projected == one.projected  # in place


def test_variance_of_a_gaussian_process() -> None:
    x, y = np.linspace(0, 1, 20), np.linspace(0, 1, 13)
    k = np.exp(-((x[:, None] - x) ** 2) * 8) + 0.1 * np.eye(20)
    s = np.exp(-((x[:, None] - y) ** 2) * 8)
    K, S = wl.from_array(k, tile=6, structure="pos"), wl.from_array(s, tile=6)
    V = K.cholesky().solve(S)
    variance = 1.0 - (V * V).sum(axis=0)
    assert np.allclose(variance.compute(), 1 - np.einsum("ij,ij->j", s, np.linalg.solve(k, s)))


def test_resumed_runs_and_many_plans_know_the_function() -> None:
    A = wl.random((6, 6), tile=3)
    different = (
        A * 0.1,
        A * 0.2,
        A + 0.1,
        A / 0.1,
        np.exp(A),
        A * np.float32(0.1),
        A * 0.1 * 0.1,
        0.1 - A,
        A - 0.1,
    )
    assert len({x._node.key for x in different}) == len(different)
    assert (A * 0.1)._node.key == (A * 0.1)._node.key


# what is refused


def test_comparisons() -> None:
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


def test_what_numpy_may_not_do() -> None:
    A, a = wl.zeros((3, 3), tile=2), np.ones((3, 3))
    for f, message in (
        (lambda: np.add.reduce(A), r"numpy.add.reduce takes no BigMatrix; there are A.sum"),
        (lambda: np.multiply.outer(A, A), "numpy.multiply.outer takes no"),
        (lambda: np.add(A, a, out=a), r"no out=: write a = a \+ A"),
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
