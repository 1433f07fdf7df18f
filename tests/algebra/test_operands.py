"""What may stand beside a matrix: arrays, numbers, vectors, indices. What may not is told clearly."""

from __future__ import annotations

import operator
from collections.abc import Callable
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest

import wrenla as wl

from . import gallery
from .gallery import DTYPES, Array

SCALARS: tuple[Any, ...] = (
    2,
    0.5,
    1,
    True,
    1 + 0j,
    2j,
    np.float32(0.3),
    np.float64(0.3),
    np.float64(1),
    np.longdouble(0.25),
    np.complex64(1 + 2j),
    np.complex128(1),
    np.int8(3),
    np.int64(3),
    np.bool_(True),
    np.array(1.5),
    np.array(1j),
    np.array(2, np.float32),
)


def as_numpy_does(result: Array) -> str:
    """Extended precision is what tiles do not have."""
    return {"longdouble": "float64", "float128": "float64", "complex256": "complex128"}.get(
        result.dtype.name, result.dtype.name
    )


def close(x: Any, y: Array, u: float) -> bool:
    return bool((np.abs(gallery.wide(x) - gallery.wide(y)) <= 8 * u * np.abs(gallery.wide(y))).all())


@pytest.mark.parametrize("c", SCALARS, ids=lambda c: f"{type(c).__name__} {c}")
@pytest.mark.parametrize("dtype", DTYPES)
def test_scalars_have_numpys_values_and_dtypes(dtype: str, c: Any) -> None:
    """Python's numbers do not raise the precision, NumPy's do."""
    a = gallery.normal((7, 5), dtype)
    A, u = wl.from_array(a, tile=3), gallery.unit_roundoff(dtype)
    for lazy, eager in (
        (c * A, c * a),
        (A * c, a * c),
        (A / c, a / c),
        (A[:5].shift(c), a[:5] + c * np.eye(5, dtype=dtype)),
    ):
        assert lazy.dtype == as_numpy_does(eager)
        value = lazy.compute()
        assert value.dtype == lazy.dtype
        assert close(value, eager, u)


@pytest.mark.parametrize("dtypes", list(product(DTYPES, DTYPES)), ids="-".join)
def test_dtypes_of_sums(dtypes: tuple[str, str]) -> None:
    a, b = gallery.normal((7, 5), dtypes[0]), gallery.normal((7, 5), dtypes[1], 2)
    A, B = wl.from_array(a, tile=3), wl.from_array(b, tile=(2, 5))
    cases: tuple[tuple[Any, Array], ...] = (
        (A + B, a + b),
        (A - B, a - b),
        (A + b, a + b),
        (a - B, a - b),
        (b + A, b + a),
        (b - A, b - a),
        (A + A, a + a),
        (A.scale_rows(b[:, 0]), a * b[:, :1]),
        (B.scale_columns(a[0]), b * a[0]),
    )
    for lazy, eager in cases:
        assert lazy.dtype == eager.dtype
        value = lazy.compute()
        assert value.dtype == eager.dtype
        assert np.array_equal(value, eager)


def test_exactness_of_a_wide_matrix_in_a_narrow_result() -> None:
    """A difference is made in the precision of its operands, then rounded."""
    a = np.full((5, 5), 1 + 1e-10)
    A = wl.from_array(a, tile=2)
    exact = a - 1
    for x in (
        (A - np.ones((5, 5))).astype("float32"),
        wl.map_tiles(np.positive, A - np.ones((5, 5)), dtype="float32"),
        wl.map_tiles(lambda t: t - 1, 1.0 * A.T, dtype="float32"),
        (1e-300 * (1e300 * A - 1e300 * np.ones((5, 5)))).astype("float32"),
    ):
        assert np.allclose(x.compute(), exact, rtol=1e-6, atol=0)
    small = wl.from_array(np.full((5, 5), 1e-50), tile=2)
    assert np.array_equal((1e50 * small).astype("float32").compute(), np.ones((5, 5)))


def test_map_tiles_sees_the_dtype_of_each_matrix() -> None:
    a = gallery.normal((5, 5), "float32")
    A = wl.from_array(a, tile=2)
    for x, dtype in (
        (A, "float32"),
        (np.float64(1) * A, "float64"),
        (A.T + A, "float32"),
        (abs(A * 1j), "float32"),
    ):

        def sizes(t: Array) -> Array:
            return np.full(t.shape, t.itemsize)

        assert x.dtype == dtype
        assert (wl.map_tiles(sizes, x, dtype="complex128").compute() == x.dtype.itemsize).all()


def test_operands_of_other_types_are_converted() -> None:
    a = np.arange(12.0).reshape(4, 3)
    A = wl.from_array(a, tile=2)
    assert np.array_equal(operator.mul(A, Fraction(1, 2)).compute(), a / 2)
    assert np.array_equal((A + a.astype(int)).compute(), 2 * a)
    assert np.array_equal((A + a.tolist()).compute(), 2 * a)
    assert np.array_equal((A + a.astype(np.float16)).compute(), 2 * a)
    assert np.array_equal((A + a.astype(">f8")).compute(), 2 * a)
    assert np.array_equal((A @ [1, 2, 3]).compute(), a @ [1, 2, 3])
    assert np.array_equal((+A).compute(), a)
    assert np.array_equal((-A).compute(), -a)
    B = A
    B += a
    B *= 2
    assert np.array_equal(B.compute(), 4 * a)
    assert np.array_equal(A.compute(), a)


def test_small_dtypes_do_not_raise_the_precision() -> None:
    """Of an array beside a matrix, as NumPy has it; what is wider than any tile is refused."""
    for dtype, small in product(DTYPES, ("i1", "u1", "i2", "u2", "?", "f2", "i4", "u4", "i8", ">i2")):
        b = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 1]]).astype(small)
        a = gallery.normal((3, 3), dtype)
        A, expected = wl.from_array(a, tile=2), np.result_type(dtype, small)
        for lazy, eager in (
            (A * b, a * b),
            (b + A, b + a),
            (A - b.tolist(), a - b.tolist()),
            (A @ b, a @ b),
            (b[0] @ A, b[0] @ a),
            (np.maximum(A, b), np.maximum(a, b)),
            (A.scale_rows(b[0]), b[0][:, None] * a),
            (A.scale_columns(b[0]), a * b[0]),
            (A.gram(b[0]), (a * b[0]) @ a.conj().T),
        ):
            assert lazy.dtype == eager.dtype, (dtype, small)
            assert np.allclose(lazy.compute(), eager, rtol=1e-5), (dtype, small)
        assert (A * b).dtype == expected
        if b.dtype.kind != "f":
            assert wl.from_array(b).dtype == wl.linalg.gram(b).dtype == np.float64
    wide = np.ones((3, 3), np.longdouble)
    if wide.itemsize > 8:
        for use, x in product((wl.from_array, A.__add__, A.__matmul__, A.solve), (wide, wide * 1j)):
            with pytest.raises(TypeError, match=r"is not one of .* a\.astype\('(float64|complex128)'\)"):
                use(x)


class Theirs:
    """An operand of another library, which knows what to do beside a matrix."""

    def __rmul__(self, other: Any) -> str:
        return "theirs"

    __radd__ = __rsub__ = __rtruediv__ = __rfloordiv__ = __rmod__ = __rpow__ = __rmatmul__ = __rmul__


class Aside(Theirs):
    """As NumPy's protocol has it: arrays leave the operator to this side."""

    __array_ufunc__ = None
    shape, dtype = (2, 2), np.dtype(float)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise AssertionError("taken")


def test_operator_defers_to_the_other_operand() -> None:
    A = wl.eye(2)
    more = (operator.floordiv, operator.mod, operator.pow)
    for sign, other in product((*BINARY.values(), *more), (Theirs(), Aside())):
        assert sign(A, other) == "theirs"
    for sign, other in product(BINARY.values(), (wl.linalg.cho_factor(A), object())):
        with pytest.raises(TypeError, match="needed, not"):
            sign(A, other)


def test_stacks_of_matrices() -> None:
    A, stack = wl.eye(4), np.ones((1, 4, 4))
    for use in (lambda: stack * A, lambda: A + stack, lambda: A @ stack, lambda: A.solve(stack.T)):
        with pytest.raises(ValueError, match=r"an array of 3 dimensions, \(.*\): .* a\[0\]"):
            use()


def test_numbers_are_shown_and_rounded_as_numbers() -> None:
    for dtype in DTYPES:
        t = wl.from_array(np.array([1.26], dtype))[0]
        value = t.compute()
        assert (f"{t:.1f}", f"{t:8.3f}") == (f"{value:.1f}", f"{value:8.3f}")
        assert f"{t}" == str(t) == repr(t)
        for f in (round, lambda x: round(x, 1), int):
            if dtype[0] == "c":
                with pytest.raises(TypeError):
                    f(t)
            else:
                assert f(t) == f(value)
                assert type(f(t)) is type(f(value))
    for A in (wl.eye(1), wl.eye(2), wl.zeros(1)):
        for f in (round, int, lambda x: f"{x:.3f}"):
            with pytest.raises(TypeError, match=r"only one number .*A\.compute\(\)"):
                f(A)
        assert f"{A}" == repr(A)


def test_indices_of_any_integer_type() -> None:
    a = np.arange(6.0).reshape(3, 2)
    A = wl.from_array(a, tile=2)
    for i in (1, np.int8(1), np.array(1), np.uint64(1), np.array(-1)):
        assert np.array_equal(A[i].compute(), a[i])
        assert A[i, i].compute() == a[i, i]
    for bad in (True, np.True_, np.array(True), 1.0, np.array([1]), "1"):
        with pytest.raises(TypeError, match="an index is an integer"):
            A[bad]
    with pytest.raises(IndexError, match="out of bounds"):
        A[np.array(3)]


BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "A + B": operator.add,
    "A - B": operator.sub,
    "A * B": operator.mul,
    "A / B": operator.truediv,
    "A @ B": operator.matmul,
}


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize(
    "other", ["text", None, {}, object(), np.array(["a", "b"])], ids=lambda x: type(x).__name__
)
def test_operand_of_bad_type_is_type_error(name: str, other: Any) -> None:
    A = wl.zeros((2, 2))
    with pytest.raises(TypeError):
        BINARY[name](A, other)
    with pytest.raises(TypeError):
        BINARY[name](other, A)


def test_a_shift_takes_a_number() -> None:
    A = wl.zeros((3, 3), tile=2)
    for other in (np.ones(3), A, "1"):
        with pytest.raises(TypeError, match="shift: a number is needed"):
            A.shift(other)  # type: ignore[arg-type]


def test_shapes_that_do_not_fit_are_refused() -> None:
    A = wl.zeros((3, 4), tile=2)
    for other in (np.ones(3), A.T, np.ones((2, 4)), np.ones((3, 2))):
        for f in (operator.add, operator.sub, operator.mul, operator.truediv):
            with pytest.raises(ValueError, match=r"cannot be broadcast together: \(3, 4\), "):
                f(A, other)


def test_only_square_matrices_have_a_shift_and_triangles() -> None:
    for A in (wl.zeros((3, 4), tile=2), wl.zeros(3, tile=2)):
        shape = str(A.shape).replace("(", r"\(").replace(")", r"\)")
        with pytest.raises(ValueError, match=f"square matrix; this one is {shape}"):
            A.shift(1)
        with pytest.raises(ValueError, match=f"square matrix is meant; this one is {shape}"):
            A.tril()


@pytest.mark.parametrize("tile", [(2, 3), (3, 2), (1, 7), (7, 1), (3, 3)])
def test_the_diagonal_in_tiles_that_are_not_square(tile: tuple[int, int]) -> None:
    a = gallery.normal((7, 7), "complex128")
    A, eye = wl.from_array(a, tile=tile), np.eye(7)
    for lazy, eager in (
        (A.shift(2), a + 2 * eye),
        (A.T.shift(1j).H, (a.T + 1j * eye).conj().T),
        (A.tril(), np.tril(a)),
        (A.T.triu(), np.triu(a.T)),
        (A.tril().triu(), np.diag(a.diagonal())),
        (A.diagonal(), a.diagonal()),
        (A.shift(2) @ eye, a + 2 * eye),
    ):
        assert np.array_equal(lazy.compute(), eager)
    for structure in ("lower", "upper"):
        T = wl.from_array(a, tile=3, structure=structure, check=False)  # type: ignore[arg-type]
        other = T.triu() if structure == "lower" else T.tril()
        assert np.array_equal(other.compute(), np.diag(a.diagonal())), "what is stored there does not count"


def test_weights_of_bad_shape_or_type_are_refused() -> None:
    A = wl.zeros((3, 4), tile=2)
    with pytest.raises(ValueError, match="3 rows to be weighed, not 4"):
        A.scale_rows(np.ones(4))
    with pytest.raises(ValueError, match="4 columns to be weighed, not 3"):
        A.scale_columns(np.ones(3))
    with pytest.raises(ValueError, match="weights are a vector"):
        A.scale_columns(np.ones((1, 4)))
    a, w = gallery.normal((7, 5), "complex128"), gallery.normal(7, "complex128", 2)
    W = wl.from_array(a, tile=3).scale_rows(w)
    for lazy, eager in (
        (W, w[:, None] * a),
        (W.H, (w[:, None] * a).conj().T),
        (W.T.scale_columns(w), a.T * w * w),
    ):
        assert np.allclose(lazy.compute(), eager, rtol=1e-14)


def test_as_a_truth_value_a_number_a_sequence() -> None:
    A, v, one = wl.eye(3, tile=2), wl.zeros(3, tile=2), wl.eye(1)
    for x in (A, v):
        with pytest.raises(ValueError, match="truth value of a matrix is ambiguous"):
            bool(x)
        for f in (float, complex):
            with pytest.raises(TypeError, match=r"only one number can become a number, not .*3"):
                f(x)
        with pytest.raises(TypeError, match="not iterable"):
            iter(x)
        with pytest.raises(TypeError):
            operator.contains(x, 1)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            int(x)  # type: ignore[call-overload]
        assert len(x) == 3
    assert one
    assert not v[0]
    assert (float(one), complex(one), float(A.trace()), complex(v[1])) == (1, 1, 3, 0)
    with pytest.raises(TypeError, match=r"complex"):
        float((1j * A).trace())
    with pytest.raises(TypeError, match="a number has no length"):
        len(A.trace())
    with pytest.raises(ValueError, match="copy"):
        np.array(A, copy=False)
    assert np.asarray(A, dtype="float32").dtype == np.float32
    assert float(np.linalg.norm(A)) == np.sqrt(3)


def test_identity_of_expressions() -> None:
    """Matrices can be keys, by identity."""
    A = wl.eye(3)
    assert len({A, A.T, A}) == 2
    assert {A: 1}[A] == 1


def test_repr_and_attributes() -> None:
    A = wl.zeros((7, 5), tile=(3, 2), dtype="complex64")
    assert (A.shape, A.dtype, A.ndim, A.size, A.nbytes, A.tile, A.grid, A.structure) == (
        (7, 5),
        np.dtype("complex64"),
        2,
        35,
        280,
        (3, 2),
        (3, 3),
        "general",
    )
    assert repr(A) == "BigMatrix((7, 5), complex64, tiles of (3, 2), grid (3, 3), general)"
    assert repr(A[0]) == "BigMatrix((5,), complex64, tiles of (2,), grid (3,), general)"
    assert repr(A.norm()) == "BigMatrix((), float32, tiles of (), grid (), general)"
    assert (A.norm().size, A.norm().nbytes, A.T.tile) == (1, 4, (2, 3))
