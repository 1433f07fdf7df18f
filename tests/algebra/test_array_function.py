"""NumPy's functions on matrices: `__array_function__` against what NumPy does with arrays."""

from __future__ import annotations

import functools
import inspect
import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import overrides

import wrenla as wl
from wrenla.matrices import matrix as matrix_module
from wrenla.numpy_functions.table import FUNCTIONS, array_function

from . import gallery

pytestmark = pytest.mark.unit

numpy: Any = np
"""NumPy, whose annotations know nothing of other kinds of arrays."""

GUIDE = Path(__file__).parents[2] / "docs/guide/algebra.md"

CASES: dict[str, tuple[str, ...]] = {
    # names in the expressions: s is positive definite, a (7, 7), b (7, 3), v and w (7,)
    "linalg.cholesky": ("np.linalg.cholesky(s)", "np.linalg.cholesky(s, upper=True)"),
    "linalg.solve": ("np.linalg.solve(s, v)", "np.linalg.solve(a, b)"),
    "linalg.inv": ("np.linalg.inv(s)", "np.linalg.inv(a)"),
    "linalg.det": ("np.linalg.det(a)",),
    "linalg.slogdet": ("np.linalg.slogdet(s).logabsdet", "np.linalg.slogdet(a)[0]"),
    "linalg.norm": (
        "np.linalg.norm(a)",
        "np.linalg.norm(a, 1)",
        "np.linalg.norm(v, 3, axis=0)",
        "np.linalg.norm(b, axis=1, keepdims=True)",
    ),
    "linalg.cond": ("np.linalg.cond(s, p=1)", "np.linalg.cond(s, np.inf)"),
    "linalg.matrix_norm": ("np.linalg.matrix_norm(b, ord=np.inf, keepdims=True)",),
    "linalg.vector_norm": ("np.linalg.vector_norm(b, axis=0, ord=1)",),
    "linalg.matrix_power": ("np.linalg.matrix_power(s, 3)", "np.linalg.matrix_power(a=s, n=-1)"),
    "linalg.matrix_transpose": ("np.linalg.matrix_transpose(b)",),
    "linalg.outer": ("np.linalg.outer(v, w)",),
    "linalg.tensordot": ("np.linalg.tensordot(a, b, axes=([0], [0]))",),
    "linalg.vecdot": ("np.linalg.vecdot(v, w)", "np.linalg.vecdot(a, s, axis=0)"),
    "linalg.cross": ("np.linalg.cross(a[:3], s[:3], axis=0)",),
    "cross": ("np.cross(v[:3], w[:3])", "np.cross(a[:, :3], v[:3])", "np.cross(a[:3], b[:3, :1], axis=0)"),
    "linalg.diagonal": ("np.linalg.diagonal(b, offset=-2)",),
    "linalg.trace": ("np.linalg.trace(a, offset=1)",),
    "linalg.matmul": ("np.linalg.matmul(a, b)",),
    "linalg.multi_dot": (
        "np.linalg.multi_dot([v, a, b])",
        "np.linalg.multi_dot([b.T, s, a, v])",
        "np.linalg.multi_dot([v, w])",
    ),
    "matmul": ("np.matmul(a, b)", "np.matmul(v, b)"),
    "vecdot": ("np.vecdot(v, w)", "np.vecdot(a, s, axis=0)", "np.vecdot(a, v)"),
    "matvec": ("np.matvec(a, v)",),
    "vecmat": ("np.vecmat(v, b)",),
    "dot": ("np.dot(a, b)", "np.dot(v, w)", "np.dot(a, 2)", "np.dot(3.0, v)"),
    "inner": ("np.inner(v, w)", "np.inner(a, s)", "np.inner(b.T, v)", "np.inner(2, v)"),
    "vdot": ("np.vdot(v, w)", "np.vdot(a, s)", "np.vdot(v[0], w[1])"),
    "outer": ("np.outer(v, w)",),
    "tensordot": ("np.tensordot(a, b, 1)", "np.tensordot(a, s)", "np.tensordot(v, w, axes=0)"),
    "sum": ("np.sum(a)", "np.sum(a, 0)", "np.sum(b, axis=-1, keepdims=True, dtype=None, out=None)"),
    "mean": ("np.mean(b, 1)", "np.mean(b)"),
    "var": ("np.var(b, axis=0, ddof=1)", "np.var(v, correction=2)"),
    "std": ("np.std(b, axis=0, ddof=1, keepdims=True)", "np.std(b, 0, None, None, 1)"),
    "max": ("np.max(r)", "np.max(r, axis=0)"),
    "amax": ("np.amax(r, axis=1, keepdims=True)",),
    "min": ("np.min(r)", "np.min(r, axis=0)"),
    "amin": ("np.amin(r, axis=1)",),
    "clip": ("np.clip(r, -0.5, 0.5)", "np.clip(r, min=0)", "np.clip(r, None, 0.25)", "np.clip(r, r.T, 1)"),
    "shape": ("np.shape(b)", "np.shape(v[0])"),
    "ndim": ("np.ndim(b)",),
    "size": ("np.size(b)", "np.size(b, 1)", "np.size(v[0])"),
    "transpose": (
        "np.transpose(b)",
        "np.transpose(b, (1, 0))",
        "np.transpose(b, [0, -1])",
        "np.transpose(v, [0])",
    ),
    "permute_dims": ("np.permute_dims(b, (1, 0))",),
    "matrix_transpose": ("np.matrix_transpose(b)",),
    "swapaxes": ("np.swapaxes(b, 0, -1)", "np.swapaxes(b, 1, 1)"),
    "diagonal": ("np.diagonal(a)", "np.diagonal(b, 1)", "np.diagonal(b, 1, 1, 0)"),
    "trace": ("np.trace(a)", "np.trace(b, 1, axis1=1, axis2=0)"),
    "diag": ("np.diag(b, -1)", "np.diag(v)"),
    "tril": ("np.tril(a)", "np.tril(a, 0)"),
    "triu": ("np.triu(a)", "np.triu(s, k=0)"),
    "real": ("np.real(a)", "np.real(v)"),
    "imag": ("np.imag(a)", "np.imag(v)"),
    "iscomplexobj": ("np.iscomplexobj(a)", "np.iscomplexobj(r)"),
    "isrealobj": ("np.isrealobj(a)",),
    "result_type": ("np.result_type(a, np.float32)", "np.result_type(r, 'complex64', r)"),
    "astype": ("np.astype(r, 'complex64')",),
    "array_repr": (),
    "array_str": (),
    "array2string": (),
    "block": (
        "np.block([[a, b], [b.T, np.zeros((3, 3))]])",
        "np.block([a, b])",
        "np.block([v, w])",
        "np.block([[a], [v]])",
        "np.block([[v, v[:3]], [w, w[:3]]])",
        "np.block(a)",
    ),
    "concatenate": (
        "np.concatenate([a, b], axis=1)",
        "np.concatenate((a, s))",
        "np.concatenate([v, w, v[:2]])",
        "np.concatenate([v, w], axis=None)",
    ),
    "concat": ("np.concat([a, b], axis=-1)",),
    "hstack": ("np.hstack([a, b])", "np.hstack((v, w))"),
    "vstack": ("np.vstack([a, v])", "np.vstack((v, w))"),
    "stack": ("np.stack([v, w])", "np.stack((v, w, v), axis=-1)"),
    "column_stack": ("np.column_stack([v, b, w])",),
    "zeros_like": (
        "np.zeros_like(b)",
        "np.zeros_like(v, dtype='complex64')",
        "np.zeros_like(v, shape=(4, 2))",
    ),
    "ones_like": ("np.ones_like(b)", "np.ones_like(v[0])"),
    "empty_like": ("np.zeros_like(np.empty_like(b))",),
    "full_like": ("np.full_like(b, 2.5)", "np.full_like(v, np.float32(3), dtype='float32')"),
}
"""Expressions that use each function, and that are to be the same with arrays and with matrices."""

DTYPES = ("float64", "complex128")


def arrays(dtype: str) -> dict[str, Any]:
    return {
        "s": gallery.well_conditioned(7, dtype),
        "a": gallery.normal((7, 7), dtype, 1),
        "b": gallery.normal((7, 3), dtype, 2),
        "v": gallery.normal(7, dtype, 3),
        "w": gallery.normal(7, dtype, 4),
        "r": gallery.normal((7, 7), "float64", 5),
    }


@contextmanager
def nothing_computed() -> Iterator[None]:
    """Fail if a matrix is computed to become an array."""

    def refuse(*_: Any) -> Any:
        raise AssertionError("computed")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matrix_module, "compute_nodes", refuse)
        yield


@pytest.fixture
def no_download() -> Iterator[None]:
    with nothing_computed():
        yield


def there(name: str) -> bool:
    return functools.reduce(lambda place, part: getattr(place, part, None), name.split("."), np) is not None  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in CASES if there(name)])
def test_function_is_lazy_and_agrees_with_numpy(name: str, dtype: str) -> None:
    plain = arrays(dtype)
    lazy = {word: wl.from_array(x, tile=(3, 2) if x.ndim == 2 else 3) for word, x in plain.items()}
    assert CASES[name] or name.startswith("array")
    for text in CASES[name]:
        theirs = eval(text, {"np": np} | plain)
        with nothing_computed():
            ours = eval(text, {"np": np} | lazy)
        if not isinstance(theirs, np.ndarray | np.inexact) or name == "linalg.cond":
            assert ours == pytest.approx(theirs) if isinstance(theirs, float) else ours == theirs, text
            continue
        assert isinstance(ours, wl.BigMatrix), text
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype), text
        assert np.allclose(ours.compute(), theirs, rtol=1e-11, atol=1e-11), text


MIXED = (
    "np.linalg.solve({}, {})",
    "np.dot({}, {})",
    "np.inner({}, {})",
    "np.vdot({}, {})",
    "np.tensordot({}, {})",
    "np.matmul({}, {})",
    "np.linalg.vecdot({}, {})",
    "np.concatenate([{}, {}])",
    "np.linalg.multi_dot([{}, {}])",
    "np.block([[{}], [{}]])",
)


@pytest.mark.parametrize("text", MIXED)
def test_arrays_and_matrices_mix(text: str) -> None:
    a, b = gallery.normal((5, 5)), gallery.normal((5, 5), seed=2)
    A, B = wl.from_array(a, tile=2), wl.from_array(b, tile=(3, 2))
    names = {"np": np, "a": a, "b": b, "A": A, "B": B}
    expected = eval(text.format("a", "b"), names)
    for pair in (("A", "b"), ("a", "B"), ("A", "B")):
        ours = eval(text.format(*pair), names)
        assert isinstance(ours, wl.BigMatrix)
        assert np.allclose(ours.compute(), expected, rtol=1e-10)


@given(
    lengths=st.lists(st.integers(1, 5), min_size=3, max_size=6),
    ends=st.tuples(st.booleans(), st.booleans()),
    tile=st.integers(1, 4),
)
def test_multi_dot_of_any_shapes(lengths: list[int], ends: tuple[bool, bool], tile: int) -> None:
    factors = [gallery.normal(shape, seed=seed) for seed, shape in enumerate(itertools.pairwise(lengths))]
    if ends[0]:
        factors[0] = factors[0][0]
    if ends[1]:
        factors[-1] = factors[-1][:, 0]
    ours = numpy.linalg.multi_dot([wl.from_array(x, tile=tile) for x in factors])
    theirs = functools.reduce(np.matmul, factors)
    assert np.shape(ours) == theirs.shape
    assert np.allclose(ours.compute(), theirs, atol=1e-12)


def test_multi_dot_takes_the_cheapest_order() -> None:
    """As numpy.linalg.multi_dot: (AB)C would need n³ operations, A(BC) needs n²."""
    A, v = wl.zeros((512, 512), tile=128), wl.zeros(512, tile=128)
    assert wl.plan(numpy.linalg.multi_dot([A, A, A, v])).flops < 4 * 2 * 512**2


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f"{f.__module__}.{f.__name__}")
def test_parameters_are_those_of_numpy(function: Any) -> None:
    if isinstance(function, np.ufunc):
        return  # by position, and axis
    theirs = inspect.signature(function).parameters
    ours = inspect.signature(FUNCTIONS[function]).parameters
    if function is np.array2string:
        return
    known = {p.name: p for p in ours.values()}
    # a newer NumPy may have new ones at the end
    assert [name for name in theirs if name in known] == list(known)
    for name, p in known.items():
        assert p.kind in (theirs[name].kind, p.POSITIONAL_OR_KEYWORD), name
        assert (p.default is p.empty) == (theirs[name].default is p.empty), name


def test_every_function_is_tried_and_in_the_guide() -> None:
    names = {name for name in CASES if there(name)}
    there_now = {functools.reduce(getattr, name.split("."), np): name for name in names}
    assert set(there_now) == set(FUNCTIONS)
    section = GUIDE.read_text().partition("## NumPy's functions on a BigMatrix\n")[2].partition("\n## ")[0]
    listed = re.findall(r"`np\.([\w.]+)`", section.partition("\n\n|")[2].partition("\n\n")[0])
    assert set(listed) == set(CASES)


def test_all_others_are_type_errors_that_name_them(no_download: None) -> None:
    A = wl.zeros((3, 3), tile=2)
    others = overrides.get_overridable_numpy_array_functions() - FUNCTIONS.keys()
    assert len(others) > 150
    for function in others:
        with pytest.raises(TypeError) as caught:
            array_function(function, (wl.BigMatrix,), (A,), {})
        text = str(caught.value)
        assert f".{function.__name__} of a BigMatrix is not there" in text
        assert "\n" not in text
    calls: tuple[tuple[Callable[[], Any], str], ...] = (
        (lambda: np.linalg.qr(A), r"numpy.linalg.qr of .* numpy.linalg.qr\(A.compute\(\)\)"),
        (lambda: np.linalg.svd(A), "numpy.linalg.svd"),
        (lambda: np.linalg.eigh(A), "numpy.linalg.eigh"),
        (lambda: np.linalg.lstsq(A, np.ones(3)), r"\(A.H @ A\).solve.*linalg.lstsq\(A.compute\(\)\)"),
        (lambda: np.sort(A), "numpy.sort"),
        (lambda: np.fft.fft(A), "numpy.fft.fft"),
        (lambda: np.prod(A), "numpy.prod"),
        (lambda: np.allclose(A, A), r"numpy.allclose\(A.compute\(\), b\)"),
        (lambda: np.array_equal(np.eye(3), A), "numpy.array_equal"),
        (lambda: np.where(np.eye(3) > 0, A, 0), r"map_tiles\(numpy.where"),
        (lambda: np.round(A, 2), r"map_tiles\(numpy.round, A\) applies it tile by tile"),
        (lambda: np.save("a.npy", A), r"A.save\(url\)"),
        (lambda: np.zeros(3, like=A), "numpy.zeros"),
    )
    for call, match in calls:
        with pytest.raises(TypeError, match=match):
            call()


def test_what_errors_advise_works() -> None:
    a = gallery.normal((5, 5), "complex128")
    A, B, mask = wl.from_array(a, tile=2), wl.from_array(a.T, tile=2), a.real > 0
    for lazy, eager in (
        (wl.map_tiles(np.round, A), np.round(a)),
        (wl.map_tiles(np.angle, A, dtype=float), np.angle(a)),
        (wl.map_tiles(np.isclose, A, B, dtype=float), np.isclose(a, a.T)),
        (wl.map_tiles(np.where, mask, A, B, dtype=complex), np.where(mask, a, a.T)),
        ((A - B).norm("max"), abs(a - a.T).max()),
        (A * mask, a * mask),
        (A[:, 0][:, None] + B[0], np.add.outer(a[:, 0], a.T[0])),
    ):
        assert np.allclose(lazy.compute(), eager)


def test_arguments_that_are_not_there_are_named(no_download: None) -> None:
    A, a = wl.zeros((3, 3), tile=2), np.zeros((3, 3))
    for call, match in (
        (lambda: np.sum(A, 0, None, a[0]), "numpy.sum: there is no out="),
        (lambda: np.sum(A, where=a > 0), "numpy.sum: there is no where="),
        (lambda: np.max(A, initial=3), "numpy.max: there is no initial="),
        (lambda: np.dot(A, a, out=a), "numpy.dot: there is no out="),
        (lambda: np.tril(A, 1), "numpy.tril: there is no k="),
        (lambda: np.diag(A[0], 1), "numpy.diag: there is no k="),
        (lambda: np.concatenate([A, a], dtype="float32"), r"numpy.concat(enate)?: there is no dtype="),
        (lambda: np.zeros_like(A, order="C"), "numpy.zeros_like: there is no order="),
        (lambda: np.concatenate([A, A], None), "there is no axis=None"),
        (lambda: np.vecdot(A, a, out=a[0]), "numpy.vecdot: there is no out="),
    ):
        with pytest.raises(TypeError, match=match) as caught:
            call()
        assert "\n" not in str(caught.value)
    with pytest.raises(TypeError, match="unexpected keyword"):
        np.sum(A, axes=1)  # type: ignore[call-overload]
    shapes: tuple[Callable[[], Any], ...] = (
        lambda: np.concatenate([A, A[0]]),
        lambda: np.vdot(A, A[0]),
        lambda: np.matvec(A, A),
        lambda: np.stack([A, A]),
        lambda: np.block([[[A, A], [A, A]]]),
        lambda: np.linalg.multi_dot([A, A[0], A]),
        lambda: np.transpose(A, (0,)),
        lambda: np.outer(A, A),
    )
    for shape in shapes:
        with pytest.raises(ValueError, match=r"dimensions|differ"):
            shape()


class Theirs:
    """Of a library that knows `__array_function__`, too, and knows no BigMatrix."""

    asked = 0
    shape, dtype = (3, 3), np.dtype(float)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        Theirs.asked += 1
        return NotImplemented

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise AssertionError("taken")


class Answering(Theirs):
    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return "theirs"


def test_other_types_are_left_to_others(no_download: None) -> None:
    A = wl.eye(3)
    for call in (lambda x: np.dot(A, x), lambda x: np.dot(x, A), lambda x: np.concatenate([A, x])):
        with pytest.raises(TypeError, match="no implementation found"):
            call(Theirs())
        assert call(Answering()) == "theirs"
    assert Theirs.asked == 3
    dask = pytest.importorskip("dask.array")
    with pytest.raises(TypeError, match="no implementation found"):
        np.dot(A, dask.ones((3, 3)))


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_subclasses_of_arrays() -> None:
    A, a = wl.eye(3, tile=2), np.arange(9.0).reshape(3, 3)
    assert np.array_equal(numpy.dot(np.matrix(a), A).compute(), a)
    with pytest.raises(ValueError, match="masked arrays are not supported"):
        np.dot(A, np.ma.masked_array(a, a > 3))


def test_a_row_on_top_makes_no_thin_tiles() -> None:
    A, v = wl.zeros((300, 300), tile=100), wl.zeros(300, tile=100)
    for made in (np.vstack([v, A]), np.hstack([v[:, None], A]), np.block([[np.ones(300)], [A]])):
        assert isinstance(made, wl.BigMatrix)
        assert made.tile == (100, 100)
    assert numpy.zeros_like(A).tile == (100, 100)


def test_a_number_that_is_not_computed_fills_a_matrix(no_download: None) -> None:
    A = wl.eye(3)
    assert isinstance(numpy.full_like(A, A.trace()), wl.BigMatrix)
    with pytest.raises(TypeError, match="imaginary part"):
        numpy.full_like(A, (1j * A).trace())


def test_texts_are_those_of_the_handle(no_download: None) -> None:
    A = wl.zeros((3, 3), tile=2)
    assert numpy.array_repr(A) == numpy.array_str(A) == numpy.array2string(A, precision=3) == repr(A)


@settings(max_examples=40)
@given(data=st.data())
def test_blocks_of_any_shapes_and_tiles(data: st.DataObject) -> None:
    heights, widths = (data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)) for _ in "ij")
    table = [[gallery.normal((m, n), seed=m + 10 * n) for n in widths] for m in heights]
    plain = [[x[0] if len(x) == 1 and data.draw(st.booleans()) else x for x in line] for line in table]
    tiles = [[data.draw(st.integers(1, 4)) for _ in line] for line in plain]
    lazy = [
        [wl.from_array(x, tile=t) for x, t in zip(*each, strict=True)]
        for each in zip(plain, tiles, strict=True)
    ]
    last: Any = lazy[-1]
    if data.draw(st.booleans()):
        last[-1] = plain[-1][-1]
        lazy[0][0] = wl.from_array(plain[0][0], tile=2)
    ours, theirs = numpy.block(lazy), np.block(plain)
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    assert np.array_equal(ours.compute(), theirs)
    for axis, parts in ((1, lazy[0]), (0, [line[0] for line in lazy])):
        dims = {np.ndim(x) for x in parts}
        if len(dims) == 1 and (axis == 0 or dims == {2}):
            found = numpy.concatenate(parts, axis=axis).compute()
            assert np.array_equal(found, np.concatenate([np.asarray(x) for x in parts], axis=axis))
