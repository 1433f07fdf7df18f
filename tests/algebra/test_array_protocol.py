"""Matrices as arrays: `__array__`, `__array_ufunc__` beside NumPy's kinds of numbers, Dask's protocols."""

from __future__ import annotations

import operator
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla.errors import TooLargeError

from . import gallery
from .test_array_function import nothing_computed

numpy: Any = np


def test_array_has_numpys_arguments() -> None:
    a = gallery.normal((5, 4))
    A, x = wl.from_array(a, tile=2), wl.from_array(a)
    for made in (np.asarray(A), np.array(A), np.array(A, copy=True), np.asarray(A, copy=None), A.__array__()):
        assert type(made) is np.ndarray
        assert np.array_equal(made, a)
        assert made.flags.writeable
    for dtype in ("float32", ">f8", "complex128", int, "float16", object, "longdouble"):
        made = np.asarray(A, dtype=dtype)
        assert made.dtype == np.dtype(dtype)
        assert np.array_equal(made, a.astype(dtype))
    first = np.asarray(x)
    first[:] = 0
    assert np.array_equal(np.asarray(x), a), "no array is a view of the matrix"
    for make in (np.array, np.asarray):
        with pytest.raises(ValueError, match=r"copy=False: .*numpy.asarray\(A\) or A.compute\(\)"):
            make(A, copy=False)
    with pytest.raises(TypeError):
        A.__array__(None, False)  # type: ignore[call-arg]
    number = np.asarray(A[0, 0])
    assert number.ndim == 0
    assert number.dtype == np.float64
    assert np.array([A, A]).shape == (2, 5, 4)
    assert np.array_equal(np.asarray(A[0]), a[0])


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "bool"])
def test_complex_matrices_do_not_become_real(dtype: str) -> None:
    A = wl.from_array(gallery.normal((3, 3), "complex128"))
    with pytest.raises(TypeError, match=f"complex128 to {dtype} would drop the imaginary part"):
        np.asarray(A, dtype=dtype)


def test_arrays_are_limited_in_the_dtype_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    A = wl.zeros((32, 32), dtype="float32", tile=16)
    monkeypatch.setenv("WRENLA_MAX_COMPUTE_BYTES", "4 kiB")
    assert np.asarray(A).nbytes == 4096
    remedies = r"8.00 KiB.*max_compute_bytes.*\.save\(url\).*slicing.*A.compute\(max_compute_bytes=…\)"
    calls: tuple[Callable[[], Any], ...] = (
        lambda: np.asarray(A, dtype=float),
        lambda: np.asarray(A, dtype="int64"),
        lambda: np.asarray(A.astype(float)),
        lambda: np.testing.assert_allclose(A.astype(float), 0),
        lambda: np.ones(32) + np.asarray(A.astype(float)),
        lambda: np.ones(32).dot(A.astype(float)),
    )
    with nothing_computed():
        for call in calls:
            with pytest.raises(TooLargeError, match=remedies) as caught:
                call()
            assert "\n" not in str(caught.value)


SIGNS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "@": operator.matmul,
    "**": operator.pow,
}

NUMBERS = (np.float64(2), np.float32(1.5), np.int8(2), np.True_, np.array(2.0), np.array(3, "int16"), 1 + 2j)

ROWS = (
    [1, 2, 3],
    (1, 2, 3),
    np.array([True, False, True]),
    np.array([1, 2, 3], "float16"),
    np.ones((3, 3), ">f8"),
)


@pytest.mark.parametrize("sign", SIGNS)
def test_operators_on_either_side(sign: str) -> None:
    a, f = np.arange(9.0).reshape(3, 3) + 1, SIGNS[sign]
    A = wl.from_array(a, tile=2)
    for other in (*NUMBERS, *ROWS):
        if sign == "@" and np.ndim(other) == 0:
            for left, right in ((A, other), (other, A)):
                with pytest.raises(TypeError, match="a matrix or vector of numbers is needed"):
                    f(left, right)
            continue
        beside = other if np.ndim(other) == 0 else np.asarray(other, float)
        with np.errstate(all="ignore"):
            expected = f(a, beside), f(beside, a)
        with nothing_computed():
            found = f(A, other), f(other, A)
        for ours, theirs in zip(found, expected, strict=True):
            assert isinstance(ours, wl.BigMatrix)
            assert np.allclose(ours.compute(), theirs, rtol=1e-13)


OTHERS: dict[str, Any] = {
    "object": np.array([1, 2, 3], object),
    "datetime": np.array(["2020-01-01"] * 3, "M8[D]"),
    "timedelta": np.array([1, 2, 3], "m8[s]"),
    "a date": np.datetime64("2020-01-01"),
    "text": np.array(["a"] * 3),
    "record": np.zeros(3, [("x", float)]),
    "longdouble": np.ones(3, np.longdouble),
    "masked": np.ma.masked_array(np.ones(3), [False, True, False]),
}


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_operand_is_an_error_in_one_line(sign: str, name: str) -> None:
    A, other, f = wl.eye(3, tile=2), OTHERS[name], SIGNS[sign]
    for left, right in ((A, other), (other, A)):
        with nothing_computed(), pytest.raises((TypeError, ValueError)) as caught:
            f(left, right)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["iadd", "isub", "imul", "itruediv", "imatmul", "ipow"])
def test_arrays_are_not_changed_in_place_by_a_download(name: str) -> None:
    a, A, change = np.ones((3, 3)), wl.eye(3, tile=2), getattr(operator, name)
    with nothing_computed():
        with pytest.raises(
            TypeError, match=r"there is no out=: .*write a = a \+ A instead of a \+= A, or a \+= A.c"
        ):
            change(a, A)
        assert isinstance(change(A, a), wl.BigMatrix), "a new matrix"
    assert (a == 1).all()


def test_arguments_and_methods_of_numpys_functions() -> None:
    A, a = wl.eye(3, tile=2), np.ones((3, 3))
    calls: tuple[tuple[Callable[[], Any], str], ...] = (
        (lambda: np.add(A, 1, where=a > 0), r"numpy.add: there is no where= of a BigMatrix: .*A \* mask"),
        (lambda: np.add(A, 1, dtype="float32"), r"no dtype= of a BigMatrix: A.astype\(dtype\)"),
        (lambda: numpy.add(a, a, out=A), "numpy.add: there is no out="),
        (lambda: np.matmul(A, a, axes=[(0, 1), (0, 1), (0, 1)]), "numpy.matmul: there is no axes="),
        (lambda: np.add.reduce(A), r"numpy.add.reduce takes no BigMatrix; there are A.sum\(axis\)"),
        (lambda: np.add.accumulate(A), r"numpy.add.accumulate .*A.compute\(\)"),
        (lambda: np.add.reduceat(A, [0, 1]), r"numpy.add.reduceat .*A\[:k\].sum"),
        (lambda: np.add.outer(A, A), r"numpy.add.outer .*linalg.outer\(v, w\)"),
        (lambda: np.add.at(A, 0, 1), r"numpy.add.at .*A.compute\(\)"),
        (lambda: np.add.at(a, 0, A), "numpy.add.at"),
    )
    with nothing_computed():
        for call, match in calls:
            with pytest.raises(TypeError, match=match):
                call()
        assert isinstance(numpy.add(A, 1, where=True, dtype=None, casting="same_kind"), wl.BigMatrix)


# Dask


def test_token_names_content_and_expression() -> None:
    base = pytest.importorskip("dask.base")

    def made(shift: float) -> wl.BigMatrix:
        return wl.from_array(np.arange(12.0).reshape(4, 3), tile=2).gram().shift(shift)

    with nothing_computed():
        token = base.tokenize(made(0.5))
        assert token == base.tokenize(made(0.5))
        others = (made(0.25), made(0.5)[:, 0], made(0.5).rechunk(3), made(0.5).astype("float32"))
        assert len({token, *map(base.tokenize, others)}) == 5
        assert not base.is_dask_collection(made(0.5))


@pytest.mark.process
def test_in_another_process_the_token_is_the_same_and_a_pickle_has_all_functions() -> None:
    base = pytest.importorskip("dask.base")
    text = "wl.from_array(np.arange(36.0).reshape(6, 6), tile=2) @ wl.random((6, 6), tile=2).T"
    script = f"""
import pickle, numpy as np
print(np.linalg.det(pickle.loads(bytes.fromhex({pickle.dumps(wl.eye(3)).hex()!r}))))
import dask.base, wrenla as wl
print(dask.base.tokenize({text}))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == [repr(numpy.linalg.det(wl.eye(3))), base.tokenize(eval(text))]


def test_dask_neither_downloads_nor_takes_it_for_a_collection() -> None:
    dask = pytest.importorskip("dask")
    array = pytest.importorskip("dask.array")
    a = gallery.normal((5, 5))
    A = wl.from_array(a, tile=2)
    with nothing_computed(), dask.config.set(scheduler="synchronous"):
        assert dask.compute(A)[0] is A
        assert dask.persist(A)[0] is A
        assert dask.delayed(lambda x: x.T.shape)(A).compute() == (5, 5)
        assert dask.delayed(lambda x: x, pure=True)(A).compute() is A
        assert not hasattr(A, "__dask_graph__")
        whole = array.from_array(A, chunks=3)
        assert isinstance(whole._meta, wl.BigMatrix)
        found = whole.compute(), array.from_array(A, asarray=True).compute(), (whole + 1).compute()
    for lazy, expected in zip(found, (a, a, a + 1), strict=True):
        assert isinstance(lazy, wl.BigMatrix)
        assert np.array_equal(lazy.compute(), expected)
