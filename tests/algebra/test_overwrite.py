"""What saving may replace and what never, and that nobody mistakes the new matrix for the old one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import wrenla as wl
from wrenla.errors import NotAMatrixError, StaleMatrixError
from wrenla_handler.stores.memory import MemoryStore

from .gallery import Array
from .test_save import Place, objects, tiles_of


def saved(url: str, value: float = 1.0, tile: int = 4) -> Array:
    a = np.full((9, 9), value)
    wl.from_array(a, tile=tile).save(url)
    return a


def test_save_over_matrix_without_overwrite_is_refused(place: Place) -> None:
    a = saved(place("a"))
    for B in (wl.zeros((3, 3)), wl.from_array(a + 1, tile=4)):
        with pytest.raises(FileExistsError, match=r"there is a matrix already; overwrite=True replaces it"):
            B.save(place("a"))
    assert np.array_equal(wl.open(place("a")).compute(), a)


def test_overwrite_replaces_all_of_it(place: Place) -> None:
    saved(place("a"), tile=2)
    A = wl.open(place("a"))
    B = wl.from_array(np.full((5, 5), 2.0), tile=4).save(place("a"), overwrite=True)
    for x in (B, wl.open(place("a"))):
        assert np.array_equal(x.compute(), np.full((5, 5), 2.0))
    assert objects(place("a")) == {"zarr.json", *(key.replace("/", ".") for key in tiles_of(B))}
    assert A.shape == (9, 9)


def test_overwriting_nothing_is_saving(place: Place) -> None:
    wl.eye(3).save(place("a"), overwrite=True)
    assert np.array_equal(wl.open(place("a")).compute(), np.eye(3))


@pytest.mark.parametrize(
    "make", [lambda A: A + A, lambda A: A @ A, lambda A: A.T, lambda A: A[::-1], lambda A: A]
)
def test_overwriting_what_is_read_is_refused(
    make: Callable[[wl.BigMatrix], wl.BigMatrix], place: Place
) -> None:
    a = saved(place("a"))
    with pytest.raises(ValueError, match=r"is needed to compute the new one; save it elsewhere"):
        make(wl.open(place("a"))).save(place("a"), overwrite=True)
    assert np.array_equal(wl.open(place("a")).compute(), a)


def test_overwriting_what_is_read_is_found_under_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = saved(str(tmp_path / "a"))
    (tmp_path / "link").symlink_to(tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    names = ["a", "./a/", (tmp_path / "a").as_uri(), "link", str(tmp_path / "link" / ".." / "a")]
    for read in names:
        for written in names:
            with pytest.raises(ValueError, match="save it elsewhere"):
                (2 * wl.open(read)).save(written, overwrite=True)
    assert np.array_equal(wl.open("a").compute(), a)


def test_overwrite_of_foreign_folder_is_refused(tmp_path: Path, place: Place) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "0").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match=r"c/0|thesis.tex"):
            wl.eye(3).save(str(tmp_path), overwrite=overwrite)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    assert (tmp_path / "c" / "0").read_text() == "mine"


@pytest.mark.parametrize("content", ['{"zarr_format": 3, "node_type": "group"}', "not json", "[]", "{}"])
def test_a_group_of_matrices_is_never_touched(content: str, tmp_path: Path) -> None:
    (tmp_path / "zarr.json").write_text(content)
    a = saved(str(tmp_path / "a"))
    with pytest.raises(FileExistsError, match="is not a matrix"):
        wl.eye(3).save(str(tmp_path), overwrite=True)
    assert np.array_equal(wl.open(tmp_path / "a").compute(), a)
    assert (tmp_path / "zarr.json").read_text() == content


def test_overwriting_leaves_what_lies_below(tmp_path: Path) -> None:
    """A matrix, and beside its tiles others that somebody keeps there."""
    saved(str(tmp_path))
    a = saved(str(tmp_path / "factors" / "L"), 3.0)
    (tmp_path / "README.md").write_text("about")
    wl.eye(5, tile=2).save(str(tmp_path), overwrite=True)
    assert np.array_equal(wl.open(tmp_path).compute(), np.eye(5))
    assert np.array_equal(wl.open(tmp_path / "factors" / "L").compute(), a)
    assert (tmp_path / "README.md").read_text() == "about"


def test_a_failed_overwrite_leaves_the_old_matrix_and_what_lies_below(tmp_path: Path) -> None:
    saved(str(tmp_path))
    a = saved(str(tmp_path / "L"), 3.0)
    with pytest.raises(wl.LinAlgError):
        wl.from_array(-np.eye(5), tile=2).cholesky().save(str(tmp_path), overwrite=True)
    assert np.array_equal(wl.open(tmp_path).compute(), np.ones((9, 9)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["L", "c", "zarr.json"]
    assert np.array_equal(wl.open(tmp_path / "L").compute(), a)


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_an_overwritten_input_is_never_mistaken_for_the_old_one(
    kind: str, place: Place, tmp_path: Path
) -> None:
    """Also where some of the old tiles are still in a worker's cache."""
    url = place("a") if kind == "memory" else str(tmp_path / "a")
    saved(url, 1.0)
    old = wl.open(url)
    assert (old @ np.ones(9)).compute()[0] == 9
    assert old[:4, :4].compute().sum() == 16
    saved_again = np.full((9, 9), 2.0)
    wl.from_array(saved_again, tile=4).save(url, overwrite=True)
    for x in (old, old @ np.ones(9), old.norm(), old[:4, :4], old.T):
        with pytest.raises(StaleMatrixError, match="was overwritten since it was opened: open it again"):
            x.compute()
    with pytest.raises(StaleMatrixError):
        old.persist().compute()
    new = wl.open(url)
    assert np.array_equal(new.compute(), saved_again)
    assert (new @ np.ones(9)).compute()[0] == 18
    assert new.norm().compute() == 18


def test_a_factor_outlives_its_matrix(place: Place) -> None:
    """What is computed already does not need the input any more."""
    wl.from_array(4 * np.eye(9), tile=4, structure="pos").save(place("a"))
    A = wl.open(place("a"))
    factor, persisted = wl.linalg.cho_factor(A), (2 * A).persist()
    assert (factor.solve(np.ones(9)).compute() == 0.25).all()
    factor.solve(np.ones(9)).save(place("a"), overwrite=True)
    assert (factor.solve(2 * np.ones(9)).compute() == 0.5).all()
    assert persisted.norm("max").compute() == 8
    with pytest.raises(StaleMatrixError):
        wl.linalg.cho_factor(A).solve(np.ones(9)).compute()


def test_removed_input_is_not_a_matrix_error(place: Place) -> None:
    saved(place("a"))
    A = wl.open(place("a"))
    MemoryStore.drop(place("a").removeprefix("memory://"))
    with pytest.raises(NotAMatrixError):
        A.norm().compute()
