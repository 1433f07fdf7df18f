"""trsm by its residual, in every combination of side, triangle, operation and dtype."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.ways import WAYS, take
from wrenla_kernels import DTYPES, trsm

CASES = list(itertools.product("LR", "LU", "NTCR", [False, True]))
WIDE = {"f": np.longdouble, "c": np.clongdouble}


def random(rng, m, n, dtype):
    a = rng.standard_normal((m, n)).astype(dtype)
    if a.dtype.kind == "c":
        a.imag = rng.standard_normal((m, n))
    return np.asfortranarray(a)


def triangle(rng, n, dtype, uplo, unit):
    """Return a well conditioned triangle with NaN wherever trsm must not read, and the triangle it means."""
    full = random(rng, n, n, dtype) / max(n, 1) ** 0.5 / 4
    full[np.diag_indices(n)] += 2
    meant = np.tril(full) if uplo == "L" else np.triu(full)
    stored = np.where(np.tri(n, dtype=bool) if uplo == "L" else np.tri(n, dtype=bool).T, full, np.nan)
    if unit:
        np.fill_diagonal(stored, np.nan)
        np.fill_diagonal(meant, 1)
    stored = np.asfortranarray(stored.astype(dtype))
    stored.flags.writeable = False
    return stored, meant


def residual(side, meant, op, x, b):
    """Return ‖op(T) X − B‖ in units of n u ‖T‖ ‖X‖."""
    wide = WIDE[x.dtype.kind] if x.shape[0] < 100 else (np.float64 if x.dtype.kind == "f" else np.complex128)
    t = {"N": meant, "T": meant.T, "C": meant.conj().T, "R": meant.conj()}[op].astype(wide)
    product = t @ x.astype(wide) if side == "L" else x.astype(wide) @ t
    scale = len(t) * np.finfo(x.dtype).eps / 2 * np.linalg.norm(meant) * np.linalg.norm(x)
    error = np.linalg.norm((product - b).astype(np.complex128))
    return error / scale if scale else error


def check(side, uplo, op, unit, n, other, dtype, seed):
    rng = np.random.default_rng(seed)
    stored, meant = triangle(rng, n, dtype, uplo, unit)
    m, columns = (n, other) if side == "L" else (other, n)
    b = random(rng, m, columns, dtype)
    frame = np.full((m + 4, columns + 4), 7, dtype, order="F")
    x = frame[2 : 2 + m, 2 : 2 + columns]
    x[...] = b
    trsm(side, stored, x, uplo=uplo, op=op, unit=unit)
    assert residual(side, meant, op, x, b) <= 30
    outside = np.ones(frame.shape, dtype=bool)
    outside[2 : 2 + m, 2 : 2 + columns] = False
    assert (frame[outside] == 7).all()


@pytest.mark.every_day(64)
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("side", "uplo", "op", "unit"), CASES)
def test_solves_across_the_splits(side, uplo, op, unit, dtype):
    check(side, uplo, op, unit, 203, 17, dtype, 0)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.sampled_from(CASES),
    st.sampled_from([0, 1, 2, 3, 31, 63, 64, 65, 66, 96, 127, 128, 129, 193]),
    st.integers(0, 9),
    st.sampled_from(DTYPES),
    st.integers(0, 2**32 - 1),
    st.sampled_from(WAYS),
)
def test_solves_any_shape(case, n, other, dtype, seed, way):
    with pytest.MonkeyPatch.context() as monkeypatch:
        take(way, monkeypatch)
        check(*case, n, other, dtype, seed)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(("side", "uplo"), list(itertools.product("LR", "LU")))
def test_a_nan_in_the_right_hand_side_stays(side, uplo):
    b = np.zeros((130, 130), order="F")
    b[64, 65] = np.nan
    t = np.eye(130, order="F")
    trsm(side, t, b, uplo=uplo, op="N")
    assert np.isnan(b[64, 65])


@pytest.mark.usefixtures("way")
def test_a_zero_on_the_diagonal_gives_no_finite_answer():
    t = np.eye(100, order="F")
    t[80, 80] = 0
    b = np.ones((100, 1), order="F")
    trsm("L", t, b, uplo="L", op="N")
    assert not np.isfinite(b[80, 0])


@pytest.mark.every_day(64)
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("side", "uplo", "op"), list(itertools.product("LR", "LU", "NTCR")))
@pytest.mark.parametrize("other", [1, 5])
def test_subnormal_numbers_on_the_diagonal(side, uplo, op, dtype, other):
    """The library multiplies by reciprocals, which overflow."""
    n, least = 70, np.finfo(dtype).tiny / 8
    rng = np.random.default_rng(1)
    t = np.tril(rng.integers(-2, 3, (n, n))) * least  # all sums below are exact
    np.fill_diagonal(t, least)
    t[3, 3], t[40, 40] = 1, -least
    t = (t if uplo == "L" else t.T).astype(dtype)
    if dtype.kind == "c":
        t = t * dtype.type(1j)
    shape = (n, other) if side == "L" else (other, n)
    x = rng.integers(-3, 4, shape).astype(dtype)
    wide = {"N": t, "T": t.T, "C": t.conj().T, "R": t.conj()}[op].astype(WIDE[dtype.kind])
    b = np.asfortranarray((wide @ x if side == "L" else x @ wide).astype(dtype))
    t = np.asfortranarray(t)
    before = t.copy()
    trsm(side, t, b, uplo=uplo, op=op)
    np.testing.assert_array_equal(t, before)
    exact, found = (wide @ x, wide @ b) if side == "L" else (x @ wide, b @ wide)
    size = abs(wide) @ abs(b) if side == "L" else abs(b) @ abs(wide)
    assert (abs(found - exact) <= n * np.finfo(dtype).eps * size).all()


@pytest.mark.parametrize(
    ("side", "uplo", "op", "message"),
    [("X", "L", "N", "side"), ("L", "X", "N", "uplo"), ("L", "L", "X", "op")],
)
def test_unknown_choices_are_refused(side, uplo, op, message):
    eye = np.eye(2, order="F")
    with pytest.raises(ValueError, match=f"^{message} must be"):
        trsm(side, eye, eye.copy(order="F"), uplo=uplo, op=op)


def test_shapes_must_fit():
    with pytest.raises(ValueError, match=r"t has shape \(2, 2\), but must have \(3, 3\)"):
        trsm("R", np.eye(2, order="F"), np.ones((2, 3), order="F"), uplo="L", op="N")
