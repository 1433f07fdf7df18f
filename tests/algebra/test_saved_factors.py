"""Factors that are saved, opened again, here and elsewhere, and used; the diagonal of an inverse."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import zarr

import wrenla as wl
from wrenla.errors import MetadataError
from wrenla.run.events import Event, RunStarted, TaskFinished
from wrenla_handler.tiles.layout import pivots_in_text, rows_of_pivots

from . import gallery
from .gallery import DTYPES, SOLVE_GATE

N, TILE = 21, 8


@pytest.mark.parametrize("dtype", DTYPES)
def test_lu_factors_are_saved_with_their_pivots(dtype: str, tmp_path: Path) -> None:
    for m, n in ((N, N), (N, 13), (13, N), (1, 1)):
        a = gallery.normal((m, n), dtype, 1)
        factor = wl.linalg.lu_factor(wl.from_array(a, tile=TILE))
        saved = factor.save(tmp_path / f"{m}-{n}")  # type: ignore[arg-type]
        again = wl.open_factor(tmp_path / f"{m}-{n}")
        assert isinstance(again, wl.linalg.LUFactor)
        assert repr(again).endswith(", computed)")
        lu, piv = scipy.linalg.lu_factor(a)
        for each in (factor, saved, again):
            np.testing.assert_array_equal(each.piv(), piv)
            np.testing.assert_allclose(each.lu.compute(), lu, atol=1e3 * np.finfo(dtype).eps)
        np.testing.assert_array_equal(again.lu.compute(), factor.lu.compute())
    b = gallery.normal((N, 2), dtype, 2)
    a = gallery.normal((N, N), dtype, 1)
    again = wl.open_factor(str(tmp_path / f"{N}-{N}"))
    assert isinstance(again, wl.linalg.LUFactor)
    for trans, op in (("N", a), ("T", a.T), ("C", a.conj().T)):
        assert gallery.solve_error(op, again.solve(b, trans).compute(), b) <= SOLVE_GATE  # type: ignore[arg-type]
    np.testing.assert_allclose(again.det().compute(), np.linalg.det(a), rtol=1e3 * np.finfo(dtype).eps)
    with pytest.raises(ValueError, match="say norm"):
        again.rcond()
    assert 0 < again.rcond(norm=gallery.norm1(a)) < 1


def test_saved_factor_is_used_as_it_lies_there(tmp_path: Path) -> None:
    """Factor and pivots belong together: another processor may have chosen other ones."""
    a = gallery.normal((N, N), "float64", 4)
    wl.linalg.lu_factor(wl.from_array(a, tile=TILE)).save(str(tmp_path / "F"))
    events: list[Event] = []
    saved = wl.linalg.lu_factor(wl.from_array(a, tile=TILE)).save(str(tmp_path / "F"))
    x = saved.solve(np.ones(N)).compute(callbacks=[events.append])
    kernels = {event.kernel for event in events if isinstance(event, TaskFinished)}
    assert "getrf" not in kernels
    assert gallery.solve_error(a, x, np.ones(N)) <= SOLVE_GATE
    assert 0 < saved.rcond() < 1, "of which the matrix is known"


def test_factor_and_its_copy_are_one_run(tmp_path: Path) -> None:
    events: list[Event] = []
    factor = wl.linalg.lu_factor(wl.from_array(gallery.normal((N, N), "float64", 1), tile=TILE))
    factor.save(str(tmp_path / "F"), callbacks=[events.append])
    assert len([event for event in events if isinstance(event, RunStarted)]) == 1
    same = wl.linalg.lu_factor(wl.from_array(gallery.normal((N, N), "float64", 1), tile=TILE))
    same.save(str(tmp_path / "F"), callbacks=[events.append])
    assert len([event for event in events if isinstance(event, RunStarted)]) == 1, "it is there already"
    other = wl.linalg.lu_factor(wl.from_array(gallery.normal((N, N), "float64", 2), tile=TILE))
    with pytest.raises(FileExistsError):
        other.save(str(tmp_path / "F"))
    other.save(str(tmp_path / "F"), overwrite=True)
    found = wl.open_factor(str(tmp_path / "F"))
    assert isinstance(found, wl.linalg.LUFactor)
    np.testing.assert_array_equal(found.piv(), other.piv())


def test_any_zarr_reader_sees_the_factors(tmp_path: Path) -> None:
    a = gallery.normal((N, N), "float64", 1)
    wl.linalg.lu_factor(wl.from_array(a, tile=TILE)).save(str(tmp_path / "F"))
    lu, _ = scipy.linalg.lu_factor(a)
    np.testing.assert_allclose(zarr.open_array(tmp_path / "F", mode="r")[:], lu, atol=1e-12)


@pytest.mark.process
def test_saved_factors_are_opened_in_another_process(tmp_path: Path) -> None:
    a, b = gallery.well_conditioned(N, "float64"), np.ones(N)
    A = wl.from_array(a, tile=TILE)
    wl.linalg.lu_factor(A).save(str(tmp_path / "lu"))
    wl.linalg.cho_factor(A).save(str(tmp_path / "cholesky"))
    script = (
        "import sys, numpy as np, wrenla as wl\n"
        f"for url in sys.argv[1:]: print(*wl.open_factor(url).solve(np.ones({N})).compute().tolist())"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "lu"), str(tmp_path / "cholesky")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    for line in done.stdout.splitlines():
        x = np.array([float(word) for word in line.split()])
        assert gallery.solve_error(a, x, b) <= SOLVE_GATE


def test_only_factors_are_opened_as_such(tmp_path: Path) -> None:
    A = wl.from_array(gallery.normal((N, N), "float64", 1), tile=TILE)
    A.save(str(tmp_path / "A"))
    with pytest.raises(ValueError, match=r"not saved as a factor.*lu_factor\(A\)\.save"):
        wl.open_factor(str(tmp_path / "A"))
    with pytest.raises(wl.errors.NotAMatrixError):
        wl.open_factor(str(tmp_path / "nothing"))
    wl.linalg.lu_factor(A).save(str(tmp_path / "F"))
    bare = wl.open(str(tmp_path / "F"))
    for use in (
        lambda: bare.solve(np.ones(N)),
        lambda: wl.linalg.det(bare),
        lambda: wl.linalg.lu_factor(bare.T),
        lambda: wl.linalg.rcond(bare),
    ):
        with pytest.raises(ValueError, match=r"open_factor\(url\)"):
            use()
    assert bare.structure == "general", "the two triangles, as data"


@pytest.mark.parametrize(
    "pivots",
    [None, "", "AAAA", 7, "%%%%", pivots_in_text(np.arange(N - 1)), pivots_in_text(np.full(N, N))],
)
def test_damaged_pivots_are_an_error(pivots: Any, tmp_path: Path) -> None:
    wl.linalg.lu_factor(wl.eye(N, tile=TILE)).save(str(tmp_path / "F"))
    path = tmp_path / "F" / "zarr.json"
    meta = json.loads(path.read_text())
    meta["attributes"]["wrenla"]["pivots"] = pivots
    path.write_text(json.dumps(meta))
    with pytest.raises(MetadataError, match=f"pivots are not {N} rows of {N}"):
        wl.open_factor(str(tmp_path / "F"))


def test_pivots_in_text_are_pivots_again() -> None:
    for rows, shape in (([2, 2, 5], (6, 3)), ([], (0, 4)), ([0], (1, 9))):
        found = rows_of_pivots(pivots_in_text(np.array(rows)), shape)
        assert found is not None
        assert found.tolist() == rows


@pytest.mark.parametrize("dtype", DTYPES)
def test_diagonal_of_inverse(dtype: str) -> None:
    a, general = gallery.well_conditioned(N, dtype), gallery.normal((N, N), dtype, 3)
    A, G = wl.from_array(a, tile=TILE), wl.from_array(general, tile=TILE)
    for factor, matrix in ((wl.linalg.cho_factor(A), a), (wl.linalg.lu_factor(G), general)):
        found = factor.diagonal_of_inverse()
        assert (found.shape, found.dtype) == ((N,), np.dtype(dtype))
        inverse = np.linalg.inv(matrix.astype(complex if matrix.dtype.kind == "c" else float))
        size = np.linalg.norm(inverse) * np.linalg.cond(matrix)
        np.testing.assert_allclose(found.compute(), np.diag(inverse), atol=N * np.finfo(dtype).eps * size)
    with pytest.raises(ValueError, match="must be square"):
        wl.linalg.lu_factor(G[:13]).diagonal_of_inverse()
