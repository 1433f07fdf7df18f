"""Basic slicing has NumPy's meaning; other indices are told to be none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wrenla as wl

from . import gallery

FULL = slice(None)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.data(), st.integers(0, 20), st.integers(0, 20), st.integers(1, 9), st.integers(1, 9))
def test_index_agrees_with_numpy(data: Any, m: int, n: int, rows: int, cols: int) -> None:
    def part(length: int) -> Any:
        slices = st.slices(length)
        return data.draw(st.one_of(slices, st.integers(-length, length - 1)) if length else slices)

    a = gallery.normal((m, n), "complex64", seed=m + n)
    A = wl.from_array(a, tile=(rows, cols))
    for _ in range(2):  # the second time of the result
        index: list[Any] = [part(length) for length in a.shape]
        if data.draw(st.booleans()):  # what an ellipsis, or the end, stands for
            start, stop = sorted(data.draw(st.integers(0, len(index))) for _ in range(2))
            index[start:stop] = [Ellipsis] if stop < len(index) or data.draw(st.booleans()) else []
        key = index[0] if len(index) == 1 and data.draw(st.booleans()) else tuple(index)
        A, a = A[key], a[key]
        assert A.shape == a.shape
        assert np.array_equal(A.compute(), a)


@pytest.mark.parametrize("structure", ["lower", "upper", "hermitian"])
def test_parts_of_structured_matrices(structure: Any) -> None:
    n = 13
    full = gallery.normal((n, n), "complex128")
    a = {"lower": np.tril(full), "upper": np.triu(full), "hermitian": full + full.conj().T}[structure]
    A = wl.from_array(full if structure != "hermitian" else a, tile=4, structure=structure, check=False)
    for key in (
        (slice(2, 9), slice(5, 11)),
        3,
        (FULL, 7),
        (5, 8),
        (8, 5),
        slice(None, None, -2),
        (slice(3), slice(9, 13)),
    ):
        assert A[key].structure == "general"
        assert np.array_equal(A[key].compute(), a[key])
        assert np.array_equal(A.H[key].compute(), a.conj().T[key])


@pytest.mark.parametrize("structure", ["lower", "upper", "hermitian", "pos"])
def test_principal_submatrices_keep_their_structure(structure: Any) -> None:
    n = 13
    full = gallery.normal((n, n), "complex128")
    gram = full @ full.conj().T + n * np.eye(n)
    a = {"lower": np.tril(full), "upper": np.triu(full)}.get(structure, (gram + gram.conj().T) / 2)
    A = wl.from_array(a, tile=4, structure=structure)
    other = {"lower": "upper", "upper": "lower"}.get(structure, structure)
    for part in (FULL, slice(2, 9), slice(1, None, 3), slice(0), slice(None, None, -1), slice(9, 1, -2)):
        backwards = part.step is not None and part.step < 0
        got = A[part, part]
        assert got.structure == (other if backwards else structure)
        assert np.array_equal(got.compute(), a[part, part])
        assert np.array_equal(got.T.compute(), a[part, part].T)
    if structure != "hermitian":
        x = A[:7, :7].solve(np.ones(7)).compute()
        assert np.linalg.norm(a[:7, :7] @ x - 1) <= 1e-13 * np.linalg.norm(a) * np.linalg.norm(x)


def test_parts_of_views() -> None:
    a, b = gallery.normal((13, 13), seed=1), gallery.normal((13, 13), seed=2)
    w = gallery.normal(13, seed=3)
    A, B = wl.from_array(a, tile=4), wl.from_array(b, tile=5)
    cases = {
        "sum": (A + B, a + b),
        "shift": (A.shift(2), a + 2 * np.eye(13)),
        "weighed": (A.scale_rows(w), w[:, None] * a),
        "triangle": (A.tril(), np.tril(a)),
        "transposed": (A.T, a.T),
        "all": ((2 * A.tril().shift(1) - B.T).scale_columns(w), (2 * (np.tril(a) + np.eye(13)) - b.T) * w),
    }
    for x, y in cases.values():
        for key in (
            (slice(2, 9), slice(5, 11)),
            6,
            (FULL, 6),
            (6, 6),
            (slice(10, 1, -3), slice(None, None, 2)),
        ):
            assert np.allclose(x[key].compute(), y[key], rtol=1e-14)
    rows = A[2:11]
    assert np.array_equal(rows[1:5][:, ::-1][2].compute(), a[2:11][1:5][:, ::-1][2])


def test_only_the_tiles_that_are_touched_are_read() -> None:
    made: list[tuple[int, int]] = []
    A = wl.from_function(_Recorder(made), (100, 100), tile=10)
    assert A[15:25, 31].compute().tolist() == [i + 31 for i in range(15, 25)]
    assert sorted(set(made)) == [(10, 30), (20, 30)]


class _Recorder:
    """A function that notes what it is asked for, also when it went through cloudpickle."""

    asked: dict[int, list[tuple[int, int]]] = {}  # noqa: RUF012

    def __init__(self, made: list[tuple[int, int]]) -> None:
        self.key = id(made)
        self.asked[self.key] = made

    def __call__(self, i: Any, j: Any) -> Any:
        self.asked[self.key].append((int(i[0]), int(j[0])))
        return np.add.outer(i, j)


def test_numbers_and_vectors_have_indices_too() -> None:
    v = wl.from_array(np.arange(7.0), tile=3)
    assert v[3].ndim == 0
    assert v[3].compute() == 3
    for key in ((), Ellipsis, (Ellipsis,)):
        assert v[3][key].compute() == 3
        assert np.array_equal(v[key].compute(), np.arange(7.0))
    last: Any = np.int64(-1)
    assert v[last].compute() == 6
    assert np.array_equal(v[np.int64(1) : np.int64(5)].compute(), np.arange(1.0, 5))


def test_bad_index_is_refused() -> None:
    A = wl.zeros((4, 3), tile=2)
    bad: Any
    for bad in (4, -5, (0, 3), (0, -4)):
        with pytest.raises(IndexError, match=r"index -?\d is out of bounds for axis [01] of length [34]"):
            A[bad]
    for bad in ((0, 0, 0), (Ellipsis, Ellipsis), (0, Ellipsis, 0, 0)):
        with pytest.raises(IndexError, match="too many indices for 2 dimensions"):
            A[bad]
    for bad in (
        [0, 1],
        np.array([0, 1]),
        np.ones(4, bool),
        True,
        "a",
        1.0,
        (0, np.arange(2)),
        (None, [0]),
    ):
        with pytest.raises(TypeError, match="an index is an integer, a slice or"):
            A[bad]
    with pytest.raises(IndexError):
        A[0, 0][0]
    with pytest.raises(ValueError, match="zero"):
        A[::0]
    with pytest.raises(TypeError):
        A[1.5:3]
    with pytest.raises(TypeError, match="assignment"):
        A[0] = 1  # type: ignore[index]


def test_a_row_of_a_vector_turned_back_is_a_column() -> None:
    v = gallery.normal(7, "complex128")
    V = wl.from_array(v, tile=3)
    for lazy, eager in (
        (V[None].T, v[None].T),
        (V[None].H, v[None].conj().T),
        (V[None].T.T, v[None]),
        (V[:, None].T, v[None]),
        (V[None].T @ V[None], np.outer(v, v)),
    ):
        assert lazy.shape == eager.shape
        assert np.allclose(lazy.compute(), eager, rtol=1e-14)
