"""What has no Cholesky factor: the error names the same minor as LAPACK, whichever tile found it."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pytest
from scipy.linalg import get_lapack_funcs

import wrenla as wl
from wrenla.linalg import NotPositiveDefiniteError
from wrenla_handler.stores.memory import MemoryStore

from . import gallery
from .gallery import DTYPES, Array, last_pivot_is_minus_one, one_negative_eigenvalue, zero_row_and_column

TILES = (1, 3, 8, 64)


def lapack_info(a: Array) -> int:
    (potrf,) = get_lapack_funcs(("potrf",), (a,))
    return int(potrf(a, lower=True)[1])


def bad_cases(dtype: str) -> dict[str, Array]:
    n = 21
    return {
        "Fiedler": gallery.turned(gallery.fiedler(n), dtype),
        "Fiedler of order 2": gallery.turned(gallery.fiedler(2), dtype),
        "one negative eigenvalue": one_negative_eigenvalue(n, dtype),
        "first row zero": zero_row_and_column(n, dtype, 0),
        "zero row in the middle": zero_row_and_column(n, dtype, 12),
        "zero row at the start of a tile": zero_row_and_column(n, dtype, 8),
        "last row zero": zero_row_and_column(n, dtype, n - 1),
        "last pivot": last_pivot_is_minus_one(n, dtype),
        "negative number": np.full((1, 1), -1, dtype),
        "zero": np.zeros((1, 1), dtype),
        "negative identity": -np.eye(n, dtype=dtype),
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", bad_cases("float64"))
def test_minor_is_that_of_lapack(name: str, dtype: str) -> None:
    a = bad_cases(dtype)[name]
    info = lapack_info(a)
    assert info > 0
    for tile in TILES if dtype == "float64" else TILES[1:]:
        schedule = "waves" if tile in (3, 8) else "dataflow"
        with pytest.raises(NotPositiveDefiniteError) as caught:
            wl.from_array(a, tile=tile).cholesky().compute(schedule=schedule)
        assert caught.value.minor == info


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("n", [16, 20, 30])
def test_hilbert_matrix_from_16_is_not_positive_definite(n: int, tile: int) -> None:
    a = gallery.hilbert(n)
    with pytest.raises(NotPositiveDefiniteError) as caught:
        wl.from_array(a, tile=tile).cholesky().compute()
    assert 12 <= caught.value.minor <= n


def test_minor_in_a_tile_above_the_leaves_of_the_kernel() -> None:
    n = 700
    a = np.eye(n)
    for at in (290, 301, 560, 699):
        bad = a.copy()
        bad[at, at] = -1
        with pytest.raises(NotPositiveDefiniteError) as caught:
            wl.from_array(bad, tile=300).cholesky().compute()
        assert caught.value.minor == at + 1


BAD = last_pivot_is_minus_one(21, "float64")


OPERATIONS: dict[str, Callable[[wl.BigMatrix], wl.BigMatrix]] = {
    "upper": lambda A: A.cholesky(upper=True),
    "solve": lambda A: A.solve(np.ones(A.shape[0])),
    "cho_solve": lambda A: wl.linalg.cho_solve(wl.linalg.cho_factor(A), np.ones(A.shape[0])),
    "slogdet": lambda A: A.slogdet().logabsdet,
    "slogdet of the factor": lambda A: wl.linalg.cho_factor(A).slogdet().sign,
    "trace of L": lambda A: A.cholesky().trace(),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_not_positive_definite_is_raised_by_each_operation(name: str) -> None:
    with pytest.raises(NotPositiveDefiniteError) as caught:
        OPERATIONS[name](wl.from_array(BAD, tile=8, structure="pos")).compute()
    assert caught.value.minor == len(BAD)


def test_not_positive_definite_error_names_row_and_remedy() -> None:
    with pytest.raises(
        NotPositiveDefiniteError, match=r"order 21 is not positive definite.*A\.shift"
    ) as caught:
        wl.from_array(BAD, tile=8).cholesky().compute()
    error = caught.value
    assert isinstance(error, np.linalg.LinAlgError)
    assert isinstance(error, wl.LinAlgError)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_not_positive_definite_run_leaves_no_tiles(own_settings: str) -> None:
    with pytest.raises(NotPositiveDefiniteError):
        wl.from_array(BAD, tile=8).cholesky().compute()
    assert list(MemoryStore(own_settings).list()) == []


def test_a_failed_save_leaves_no_matrix(own_settings: str) -> None:
    with pytest.raises(NotPositiveDefiniteError):
        wl.from_array(BAD, tile=8).cholesky().save(f"memory://{own_settings}/L")
    assert list(MemoryStore(own_settings).list()) == []


def test_the_damped_retry_of_newton() -> None:
    """After the failure, the same matrix with a shift goes through."""
    A = wl.from_array(BAD, tile=8, structure="hermitian")
    factor = wl.linalg.cho_factor(A)
    b = np.ones(len(BAD))
    with pytest.raises(NotPositiveDefiniteError):
        factor.solve(b).compute()
    shifted = BAD + 10 * np.eye(len(BAD))
    x = wl.linalg.cho_factor(A.shift(10)).solve(b).compute()
    assert gallery.solve_error(shifted, x, b) <= gallery.SOLVE_GATE
