"""The Array API's extension linalg: signatures, and values against `numpy.linalg`."""

from __future__ import annotations

import inspect
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla import linalg

from . import gallery
from .gallery import DTYPES, ONE_REAL_ONE_COMPLEX, Array

STANDARD: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "cholesky": (("x",), {"upper": False}),
    "cross": (("x1", "x2"), {"axis": -1}),
    "det": (("x",), {}),
    "diagonal": (("x",), {"offset": 0}),
    "eigh": (("x",), {}),
    "eigvalsh": (("x",), {}),
    "inv": (("x",), {}),
    "matmul": (("x1", "x2"), {}),
    "matrix_norm": (("x",), {"keepdims": False, "ord": "fro"}),
    "matrix_power": (("x", "n"), {}),
    "matrix_rank": (("x",), {"rtol": None}),
    "matrix_transpose": (("x",), {}),
    "outer": (("x1", "x2"), {}),
    "pinv": (("x",), {"rtol": None}),
    "qr": (("x",), {"mode": "reduced"}),
    "slogdet": (("x",), {}),
    "solve": (("x1", "x2"), {}),
    "svd": (("x",), {"full_matrices": True}),
    "svdvals": (("x",), {}),
    "tensordot": (("x1", "x2"), {"axes": 2}),
    "trace": (("x",), {"offset": 0, "dtype": None}),
    "vecdot": (("x1", "x2"), {"axis": -1}),
    "vector_norm": (("x",), {"axis": None, "keepdims": False, "ord": 2}),
}
"""The extension linalg of 2023.12 and 2024.12: what goes by position only; by name only, with its default."""

LATER: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {"eig": (("x",), {}), "eigvals": (("x",), {})}
"""What 2025.12 has added."""

MISSING = {"eigh", "eigvalsh", "matrix_rank", "pinv", "qr", "svd", "svdvals"}

BY_NAME_TOO = {"solve": ("a", "b")}
"""NumPy and SciPy have names for these: `solve(a=A, b=b)`."""

SHAPES = ((1, 1), (7, 7), (11, 6), (4, 9), (1, 8), (9, 1), (0, 0), (0, 3), (5, 0))
TILES: tuple[Any, ...] = (3, (4, 2), 64)


def tolerance(a: Array) -> float:
    return 16 * gallery.unit_roundoff(a.dtype.name) * (a.size + 4)


@pytest.mark.parametrize("name", sorted(STANDARD.keys() - MISSING))
def test_signature_is_that_of_the_standard(name: str) -> None:
    positional, named = STANDARD[name]
    parameters = inspect.signature(getattr(linalg, name)).parameters
    kinds = inspect.Parameter
    if name in BY_NAME_TOO:
        first = [p.name for p in parameters.values() if p.kind is kinds.POSITIONAL_OR_KEYWORD]
        assert first == list(BY_NAME_TOO[name])
    else:
        first = [p.name for p in parameters.values() if p.kind is kinds.POSITIONAL_ONLY]
        assert first == list(positional)
        assert kinds.POSITIONAL_OR_KEYWORD not in [p.kind for p in parameters.values()]
    for keyword, default in named.items():
        assert parameters[keyword].kind is kinds.KEYWORD_ONLY
        assert parameters[keyword].default == default
    ours = [p for p in parameters.values() if p.name not in (*first, *named)]
    optional = (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)
    assert all(p.kind in optional or p.default is not kinds.empty for p in ours)


def test_missing_functions_are_known() -> None:
    assert {name for name in STANDARD if name not in linalg.__all__} == MISSING
    assert not LATER.keys() & set(linalg.__all__)
    assert linalg.slogdet(np.eye(2))._fields == ("sign", "logabsdet")


def test_document_says_what_is_there() -> None:
    text = (Path(__file__).parents[2] / "docs" / "reference" / "array-api.md").read_text()
    rows = re.findall(r"^\| `(\w+)(\(.*?\))` \| (yes|in part|not yet) \| (.+) \|$", text, re.MULTILINE)
    assert [name for name, *_ in rows] == sorted(STANDARD | LATER)
    for name, signature, there, notes in rows:
        positional, named = (STANDARD | LATER)[name]
        arguments = [*positional, "/", *(["*"] if named else [])]
        arguments += [f"{key}={json.dumps(v) if isinstance(v, str) else v}" for key, v in named.items()]
        assert signature == f"({', '.join(arguments)})", name
        assert (there == "not yet") == (name not in linalg.__all__), name
        assert notes.strip(), name
    known = (Path(__file__).parents[1] / "peers" / "array_api_xfails.txt").read_text()
    assert set(re.findall(r"linalg[.-](\w+)\]", known)) == MISSING


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_diagonals_and_traces_agree_with_numpy(shape: tuple[int, int], dtype: str) -> None:
    a = gallery.normal(shape, dtype)
    offsets = (0, 1, -1, 2, -3, 5, -6, 20, -20)
    for tile in TILES:
        A = wl.from_array(a, tile=tile)
        diagonals = [linalg.diagonal(A, offset=k) for k in offsets]
        traces = [linalg.trace(A, offset=k) for k in offsets]
        for k, d, t in zip(offsets, *wl.compute(diagonals, traces), strict=True):
            assert np.array_equal(d, np.linalg.diagonal(a, offset=k))
            assert (d.shape, d.dtype) == (a.diagonal(k).shape, a.dtype)
            gallery.agree(t, gallery.wide(a).trace(k), np.abs(a.diagonal(k)).sum(), dtype)


def test_dtype_of_trace_is_that_of_the_sum() -> None:
    a = np.full((300, 300), 0.1, "float32")
    A = wl.from_array(a, tile=64)
    wide = linalg.trace(A, offset=-3, dtype="float64").compute()
    assert wide.dtype == np.float64
    assert abs(wide - 297 * float(a[0, 0])) < 1e-12
    assert linalg.trace(A, dtype=np.complex64).compute().dtype == np.complex64
    assert linalg.trace(A.astype("float64"), dtype="float32").compute().dtype == np.float32
    for matrix, dtype in ((A, "int64"), (A.astype("complex64"), "float32"), (A, "float16")):
        with pytest.raises(TypeError, match="trace: dtype="):
            linalg.trace(matrix, dtype=dtype)


def test_diagonals_of_structured_matrices() -> None:
    full = gallery.normal((11, 11), "complex128")
    for structure, a in (
        ("lower", np.tril(full)),
        ("upper", np.triu(full)),
        ("hermitian", full + full.conj().T),
    ):
        given = a if structure == "hermitian" else full
        A = wl.from_array(given, tile=4, structure=structure, check=False)  # type: ignore[arg-type]
        for x, y in ((A, a), (A.T, a.T), (2 * A.shift(1), 2 * (a + np.eye(11)))):
            for k in (0, 1, -1, 4, -7):
                assert np.allclose(linalg.diagonal(x, offset=k).compute(), y.diagonal(k), rtol=1e-14)


def test_diagonal_reads_tiles_along_it_only() -> None:
    A = wl.zeros((64, 64), tile=8) + 1
    for offset in (3, -3, 16):
        plan = wl.plan(linalg.diagonal(A, offset=offset))
        assert (plan.tasks, plan.reads) == ((8, 15) if abs(offset) == 3 else (6, 6))
    assert wl.plan(A.rechunk((8, 16)).persist().diagonal()).tasks == 8


@pytest.mark.parametrize("offset", [1.0, "1", None, [1]])
def test_offset_is_an_integer(offset: Any) -> None:
    for function in (linalg.diagonal, linalg.trace):
        with pytest.raises(TypeError, match="a whole number is needed"):
            function(np.eye(3), offset=offset)


@pytest.mark.every_day(4)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [*SHAPES, (13,), (0,)])
def test_vector_norms_agree_with_numpy(shape: tuple[int, ...], dtype: str) -> None:
    a = gallery.normal(shape, dtype)
    a[a.real > 1.5] = 0
    orders: tuple[Any, ...] = (2, 0, 1, 3, 0.5, np.inf, -np.inf, -1, -2)
    axes: tuple[Any, ...] = (None, 0, -1, 1, (0, 1), (1,)) if len(shape) == 2 else (None, 0, -1, (0,))
    for tile, keep in itertools.product(TILES if len(shape) == 2 else (1, 5, 64), (False, True)):
        A = wl.from_array(a, tile=tile)
        lazy, expected = [], []
        for order, axis in itertools.product(orders, axes):
            try:
                with np.errstate(all="ignore"):
                    theirs = np.linalg.vector_norm(a, axis=axis, keepdims=keep, ord=order)
            except ValueError:
                with pytest.raises(ValueError, match="smallest of no entries"):
                    linalg.vector_norm(A, axis=axis, keepdims=keep, ord=order)
                continue
            expected.append(theirs)
            lazy.append(linalg.vector_norm(A, axis=axis, keepdims=keep, ord=order))
        for found, theirs in zip(wl.compute(*lazy), expected, strict=True):
            assert np.shape(found) == np.shape(theirs)
            assert found.dtype == a.real.dtype
            assert np.allclose(found, theirs, rtol=tolerance(a), atol=0)


def test_vector_norm_counts_nan_as_not_zero() -> None:
    a = np.array([[0.0, np.nan, -np.inf], [0.0, 0.0, 1e-300]])
    assert np.array_equal(linalg.vector_norm(a, axis=1, ord=0).compute(), [2, 1])
    assert float(linalg.vector_norm(a, ord=0)) == 3
    assert np.isnan(float(linalg.vector_norm(a)))


def test_norms_along_no_axis_are_those_of_entries() -> None:
    none: Any = ()
    a = np.array([[3.0, -4.0, 0.0], [np.nan, -np.inf, 1.5]])
    with np.errstate(all="ignore"):
        for order, keep in itertools.product((2, 1, 0, np.inf, -np.inf, 3, -1), (False, True)):
            for x in (a, a[0], a[0, 0]):
                expected = np.linalg.vector_norm(x, axis=none, ord=order, keepdims=keep)
                found = linalg.vector_norm(x, axis=none, ord=order, keepdims=keep).compute()
                assert np.allclose(found, expected, equal_nan=True, rtol=1e-15)
                assert found.shape == expected.shape
    for x, word in ((a, "fro"), (a[0], 2), (a[0], None)):  # of one vector or matrix there is one
        with pytest.raises(ValueError, match="names no axis"):
            linalg.norm(x, word, axis=none)


def test_numbers_are_arrays_of_no_dimension() -> None:
    a, number = gallery.normal((3, 4)), np.array(-2.0)
    lazy = linalg.trace(np.diag([1.0, -3.0]))
    for x in (number, lazy, -2, np.float32(-2)):
        for order in (2, 1, 0, np.inf, -np.inf, 3):
            norm = linalg.vector_norm(x, ord=order)
            assert (norm.shape, float(norm)) == ((), float(np.linalg.vector_norm(number, ord=order)))
        assert np.array_equal(linalg.tensordot(x, a, axes=0).compute(), -2 * a)
        assert np.array_equal(linalg.tensordot(a[0], x, axes=([], [])).compute(), -2 * a[0])
        assert linalg.tensordot(x, number, axes=0).compute().tolist() == 4
        for function in (linalg.matmul, linalg.outer, linalg.vecdot, linalg.cross):
            for pair in ((x, a[0]), (a[0], x), (x, lazy)):
                with pytest.raises((ValueError, TypeError)):
                    function(*pair)
    assert linalg.vector_norm(np.complex64(3 + 4j)).compute().dtype == np.float32


def test_vector_norm_of_triangle_reads_its_zeros() -> None:
    a = gallery.normal((9, 9))
    L = wl.from_array(a, tile=4).tril()
    for order in (0, 1, 2, 3, np.inf, -np.inf):
        for axis in (None, 0, 1):
            expected = np.linalg.vector_norm(np.tril(a), axis=axis, ord=order)
            assert np.allclose(linalg.vector_norm(L, axis=axis, ord=order).compute(), expected, rtol=1e-14)


def test_euclidean_norm_of_all_entries_does_not_overflow() -> None:
    a = np.full((5, 5), 1e200)
    assert np.isclose(float(linalg.vector_norm(wl.from_array(a, tile=2))), 5e200)


def test_norms_refuse_what_numpy_refuses() -> None:
    A = wl.zeros((3, 3), tile=2)
    order: Any
    for order in ("fro", "nuc", None, [2], 1j):
        with pytest.raises(ValueError, match="no order of a norm of a vector"):
            linalg.vector_norm(A, ord=order)
    for axis, kind in (
        ((0, 0), ValueError),
        (2, np.exceptions.AxisError),
        (0.5, TypeError),
    ):
        with pytest.raises(kind):
            linalg.vector_norm(A, axis=axis)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="keepdims is True or False"):
        linalg.vector_norm(A, keepdims="no")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="matrix_norm: a matrix is needed, not 1 dim"):
        linalg.matrix_norm(np.ones(3), ord=1)
    assert linalg.matrix_norm(A, keepdims=True, ord=-1).compute().shape == (1, 1)


@pytest.mark.parametrize("dtype", ONE_REAL_ONE_COMPLEX)
def test_matrix_powers_agree_with_numpy(dtype: str) -> None:
    a = (gallery.normal((9, 9), dtype) / 4 + np.eye(9)).astype(dtype)
    for tile in TILES:
        A = wl.from_array(a, tile=tile)
        # all powers in the first tiling, in the others those that are several products
        for n in (0, 1, 2, 3, 5, 8, np.int64(11), -1, -2, -3) if tile == TILES[0] else (5, -2):
            expected = np.linalg.matrix_power(a.astype("complex128"), n)
            found = linalg.matrix_power(A, n)  # type: ignore[arg-type]
            assert found.dtype == dtype
            bound = 2000 * gallery.unit_roundoff(dtype) * np.linalg.norm(expected) * np.linalg.cond(a)
            assert np.linalg.norm(found.compute() - expected) <= bound


def test_matrix_power_keeps_triangles_and_multiplies_rarely() -> None:
    A = wl.random((8, 8), tile=8)
    assert linalg.matrix_power(A.tril(), 6).structure == "lower"
    assert linalg.matrix_power(A, 1).compute().tolist() == A.compute().tolist()
    assert wl.plan(linalg.matrix_power(A.persist(), 2**10)).tasks == 10
    assert linalg.matrix_power(wl.zeros((0, 0)), 3).shape == (0, 0)
    assert linalg.matrix_power(wl.zeros((0, 0)), 0).compute().shape == (0, 0)
    ints = np.arange(4).reshape(2, 2)
    assert np.array_equal(linalg.matrix_power(ints, 3).compute(), np.linalg.matrix_power(ints, 3))
    with pytest.raises(wl.linalg.SingularMatrixError):
        linalg.matrix_power(np.zeros((3, 3)), -2).compute()


def test_integers_act_as_float64() -> None:
    v, A = np.arange(5), np.arange(10).reshape(2, 5)
    pairs: list[tuple[Any, Any]] = [
        (linalg.outer(v, v), np.outer(v, v)),
        (linalg.vecdot(A, v), A @ v),
        (linalg.tensordot(A, v, axes=1), A @ v),
        (linalg.vector_norm(v, ord=1), 10),
        (linalg.diagonal(A, offset=1), [1, 7]),
        (linalg.trace(A, offset=1), 8),
        (linalg.matmul(A, v), A @ v),
        (linalg.cross([1, 2, 3], [4, 5, 6]), [-3, 6, -3]),
    ]
    for lazy, expected in pairs:
        assert lazy.dtype == np.float64
        assert np.array_equal(lazy.compute(), expected)
    narrow = wl.from_array(np.ones(5, "float32"))
    for x in (narrow, narrow.compute()):
        small = A.astype("int16")
        for lazy in (linalg.outer(v.astype("int8"), x), linalg.matmul(small, x), linalg.vecdot(small, x)):
            assert lazy.dtype == np.float32
        assert linalg.tensordot(x, v.astype("int8"), axes=1).dtype == np.float32
        assert linalg.vecdot(A, x).dtype == np.float64


MATRIX, VECTOR, STACK = np.ones((3, 3)), np.ones(3), np.ones((2, 3, 3))

WRONG: list[tuple[type[Exception], str, Callable[[], Any]]] = [
    (ValueError, "two vectors are needed, not arrays of 2 and 1", lambda: linalg.outer(MATRIX, VECTOR)),
    (ValueError, "vectors of 3 and of 4", lambda: linalg.vecdot(VECTOR, np.ones(4))),
    (ValueError, "vectors of 3 and of 1", lambda: linalg.vecdot(VECTOR, np.ones(1))),
    (TypeError, "vecdot: axis=.0, 1.: an int", lambda: linalg.vecdot(MATRIX, MATRIX, axis=(0, 1))),  # type: ignore[arg-type]
    (TypeError, "an integer is needed, not NoneType", lambda: linalg.vecdot(MATRIX, MATRIX, axis=None)),  # type: ignore[arg-type]
    (ValueError, "cross: .* not of 3 and 4 ent", lambda: linalg.cross(MATRIX, np.ones((3, 4)))),
    (ValueError, "cross: .* not of 1 and 3 ent", lambda: linalg.cross(np.ones((3, 1)), MATRIX)),
    (ValueError, r"broadcast together: \(2, 3\), \(3, 3\)", lambda: linalg.cross(np.ones((2, 3)), MATRIX)),
    (np.exceptions.AxisError, "axis -2", lambda: linalg.cross(VECTOR, MATRIX, axis=-2)),
    (TypeError, "cross: axis=.0,.: an int", lambda: linalg.cross(VECTOR, VECTOR, axis=(0,))),  # type: ignore[arg-type]
    (TypeError, "an integer is needed, not float", lambda: linalg.cross(VECTOR, VECTOR, axis=0.5)),  # type: ignore[arg-type]
    (ValueError, r"slogdet: .* square, not \(1,\)", lambda: linalg.slogdet([1.0])),
    (ValueError, r"cholesky: .* square, not \(1,\)", lambda: linalg.cholesky([1.0])),
    (ValueError, r"solve: .* square, not \(1,\)", lambda: linalg.solve([1.0], [1.0])),
    (ValueError, r"triangular: .* square, not \(1,\)", lambda: linalg.solve_triangular([1.0], [1.0])),
    (NotImplementedError, "order 'nuc' .* if it fits", lambda: linalg.matrix_norm(MATRIX, ord="nuc")),
    (NotImplementedError, "order -2 .* if it fits", lambda: linalg.matrix_norm(MATRIX, ord=-2)),
    (ValueError, "cannot be broadcast", lambda: linalg.vecdot(MATRIX, np.ones((2, 3)))),
    (np.exceptions.AxisError, "axis -2", lambda: linalg.vecdot(VECTOR, MATRIX, axis=-2)),
    (ValueError, "lengths of axes", lambda: linalg.tensordot(MATRIX, np.ones((4, 3)), axes=1)),
    (ValueError, "lengths of axes", lambda: linalg.tensordot(MATRIX, np.ones((1, 3)), axes=2)),
    (ValueError, "would have 4 dimensions", lambda: linalg.tensordot(MATRIX, MATRIX, axes=0)),
    (ValueError, "would have 3 dimensions", lambda: linalg.tensordot(MATRIX, VECTOR, axes=([], []))),
    (IndexError, "axes=2", lambda: linalg.tensordot(VECTOR, VECTOR)),
    (ValueError, "axes=-1", lambda: linalg.tensordot(MATRIX, MATRIX, axes=-1)),
    (TypeError, "an integer or a pair", lambda: linalg.tensordot(MATRIX, MATRIX, axes=1.0)),
    (ValueError, "those of the first", lambda: linalg.tensordot(MATRIX, MATRIX, axes=[1])),
    (
        ValueError,
        "2 axes of the first array and 1",
        lambda: linalg.tensordot(MATRIX, MATRIX, axes=([0, 1], [0])),
    ),
    (ValueError, "two different ones", lambda: linalg.tensordot(MATRIX, MATRIX, axes=([0, 0], [0, 1]))),
    (IndexError, "out of bounds", lambda: linalg.tensordot(MATRIX, MATRIX, axes=(2, 0))),
    (TypeError, "the exponent is an integer", lambda: linalg.matrix_power(MATRIX, 1.5)),  # type: ignore[arg-type]
    (np.linalg.LinAlgError, "must be square", lambda: linalg.matrix_power(np.ones((2, 3)), 0)),
    (np.linalg.LinAlgError, "must be square", lambda: linalg.matrix_power(VECTOR, 2)),
    (ValueError, "a matrix is needed, not 1", lambda: linalg.diagonal(VECTOR, offset=1)),
    (ValueError, "a matrix is needed, not 1", lambda: linalg.trace(VECTOR)),
    (ValueError, "inner lengths", lambda: linalg.matmul(np.ones((2, 2)), wl.zeros((3, 3)))),
]


@pytest.mark.parametrize(("kind", "match", "call"), WRONG)
def test_wrong_shapes_and_arguments_are_errors(kind: Any, match: str, call: Callable[[], Any]) -> None:
    with pytest.raises(kind, match=match):
        call()


@pytest.mark.parametrize("name", sorted(STANDARD.keys() - MISSING))
def test_stacks_and_objects_are_refused(name: str) -> None:
    function: Any = getattr(linalg, name)
    positional, _ = STANDARD[name]
    second = {"matrix_power": [2]}.get(name, [wl.zeros(3)] * (len(positional) - 1))
    with pytest.raises(ValueError, match="not an array of 3 dimensions"):
        function(STACK, *second)
    with pytest.raises(TypeError, match="a matrix or vector of numbers is needed"):
        function(np.array([[object(), None], [1, 2]]), *second)


def test_nothing_is_computed_before_it_is_asked_for() -> None:
    def fail(i: Any, j: Any) -> Any:
        raise AssertionError("a tile was made")

    A = wl.from_function(fail, (6, 6), tile=4)
    v = A[0]
    for lazy in (
        *(linalg.diagonal(A, offset=1), linalg.trace(A, offset=-1, dtype="complex128"), linalg.outer(v, v)),
        *(
            linalg.vector_norm(A, axis=0),
            linalg.vecdot(A, v),
            linalg.tensordot(A, A),
            linalg.matrix_power(A, -3),
        ),
    ):
        assert isinstance(lazy, wl.BigMatrix)
