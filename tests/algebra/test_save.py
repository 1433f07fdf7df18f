"""Saving and opening: round trips, what overwriting may and may not do, and going on after a failure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla.errors import NotAMatrixError
from wrenla.run.events import TaskFinished
from wrenla_handler.stores import MemoryStore, open_store

from . import gallery
from .gallery import DTYPES, Array

Place = Callable[[str], str]


def objects(url: str) -> set[str]:
    store = open_store(url)
    try:
        return set(store.list())
    finally:
        store.close()


@pytest.mark.parametrize("dtype", DTYPES)
def test_round_trip(dtype: str, place: Place, tmp_path: Path) -> None:
    cases = [
        (gallery.normal(shape, dtype), tile)
        for shape in ((1, 1), (21, 13), (8, 8), (0, 0), (0, 3), (3, 0), (7,), (0,))
        for tile in (1, 5, (8, 3), 64)
    ]
    for number, (a, tile) in enumerate(cases):
        for url in (place(str(number)), str(tmp_path / str(number))):
            saved = wl.from_array(a, tile=tile).save(url)
            for A in (saved, wl.open(url)):
                assert (A.shape, A.dtype, A.structure) == (a.shape, a.dtype, "general")
                assert A.tile == saved.tile
                assert np.array_equal(A.compute(), a)
            assert objects(url) == {"zarr.json", *tiles_of(saved)}


def tiles_of(A: wl.BigMatrix, lower: bool = False) -> set[str]:
    if A.ndim == 1:
        return {f"c/{i}" for i in range(A.grid[0])}
    return {f"c/{i}/{j}" for i in range(A.grid[0]) for j in range(A.grid[1]) if not lower or i >= j}


def test_numbers_are_saved_too(place: Place) -> None:
    x = wl.from_array([[3.0, 4.0]]).norm()
    assert x.save(place("x")).compute() == 5
    assert wl.open(place("x")).compute() == 5
    assert wl.open(place("x")).shape == ()
    assert objects(place("x")) == {"zarr.json", "c"}


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_structures(dtype: str, place: Place) -> None:
    a = gallery.well_conditioned(21, dtype)
    A = wl.from_array(a, tile=8, structure="pos")
    for name, x, lower in (
        ("lower", A.cholesky(), True),
        ("pos", A.shift(1), False),
        ("hermitian", A - 2 * A, False),
        ("gram", A.tril().gram(), False),
    ):
        saved = x.save(place(name))
        assert saved.structure == wl.open(place(name)).structure == x.structure
        assert np.array_equal(wl.open(place(name)).compute(), x.compute())
        assert objects(place(name)) == {"zarr.json", *tiles_of(saved, lower)}, "symmetric ones are stored whole"
    U = A.cholesky(upper=True).save(place("upper"))
    assert U.structure == "upper"
    assert objects(place("upper")) == {"zarr.json", *(f"c/{i}/{j}" for i in range(3) for j in range(i, 3))}
    b = np.ones(21, dtype)
    assert gallery.solve_error(wl.open(place("upper")).compute(), wl.open(place("upper")).solve(b).compute(), b) <= 1


def test_what_is_saved_is_read_again_not_computed(place: Place) -> None:
    calls = Counter()  # type: ignore[var-annotated]
    L = wl.from_array(gallery.well_conditioned(21, "float64"), tile=8).cholesky().save(place("L"))

    def count(event: Any) -> None:
        if isinstance(event, TaskFinished):
            calls[event.kernel] += 1

    (L @ np.ones(21)).compute(on_event=count)
    assert calls["potrf"] == 0


def test_nothing_there(place: Place, tmp_path: Path) -> None:
    for url in (place("nowhere"), str(tmp_path / "nowhere"), (tmp_path / "nowhere").as_uri()):
        with pytest.raises(NotAMatrixError, match=r"nowhere.*there is no matrix here \(no zarr.json\)"):
            wl.open(url)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(NotAMatrixError):
        wl.open(tmp_path / "file")


def saved(url: str, value: float = 1.0, tile: int = 4) -> Array:
    a = np.full((9, 9), value)
    wl.from_array(a, tile=tile).save(url)
    return a


def test_without_overwrite_it_is_refused(place: Place) -> None:
    a = saved(place("a"))
    for B in (wl.zeros((3, 3)), wl.from_array(a, tile=4)):
        with pytest.raises(FileExistsError, match=r"there is a matrix already; overwrite=True replaces it"):
            B.save(place("a"))
    assert np.array_equal(wl.open(place("a")).compute(), a)


def test_overwrite_replaces_all_of_it(place: Place) -> None:
    saved(place("a"), tile=2)
    A = wl.open(place("a"))
    B = wl.from_array(np.full((5, 5), 2.0), tile=4).save(place("a"), overwrite=True)
    for x in (B, wl.open(place("a"))):
        assert np.array_equal(x.compute(), np.full((5, 5), 2.0))
    assert objects(place("a")) == {"zarr.json", *tiles_of(B)}
    assert A.shape == (9, 9)


def test_overwriting_nothing_is_saving(place: Place) -> None:
    wl.eye(3).save(place("a"), overwrite=True)
    assert np.array_equal(wl.open(place("a")).compute(), np.eye(3))


@pytest.mark.parametrize("make", [lambda A: A + A, lambda A: A @ A, lambda A: A.T, lambda A: A[::-1], lambda A: A])
def test_overwriting_what_is_read_is_refused(make: Callable[[wl.BigMatrix], wl.BigMatrix], place: Place) -> None:
    a = saved(place("a"))
    with pytest.raises(ValueError, match=r"is needed to compute the new one; save it elsewhere"):
        make(wl.open(place("a"))).save(place("a"), overwrite=True)
    assert np.array_equal(wl.open(place("a")).compute(), a)


def test_overwriting_what_is_read_is_found_under_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a = saved(str(tmp_path / "a"))
    (tmp_path / "link").symlink_to(tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    names = ["a", "./a/", (tmp_path / "a").as_uri(), "link", str(tmp_path / "link" / ".." / "a")]
    for read in names:
        for written in names:
            with pytest.raises(ValueError, match="save it elsewhere"):
                (2 * wl.open(read)).save(written, overwrite=True)
    assert np.array_equal(wl.open("a").compute(), a)


def test_a_folder_of_other_things_is_never_touched(tmp_path: Path, place: Place) -> None:
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


def test_a_failed_overwrite_leaves_what_lies_below(tmp_path: Path) -> None:
    saved(str(tmp_path))
    a = saved(str(tmp_path / "L"), 3.0)
    with pytest.raises(wl.LinAlgError):
        wl.from_array(-np.eye(5), tile=2).cholesky().save(str(tmp_path), overwrite=True)
    with pytest.raises(NotAMatrixError):
        wl.open(tmp_path)
    assert np.array_equal(wl.open(tmp_path / "L").compute(), a)


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_an_overwritten_input_is_never_mistaken_for_the_old_one(kind: str, place: Place, tmp_path: Path) -> None:
    """Also where some of the old tiles are still in a worker's cache."""
    url = place("a") if kind == "memory" else str(tmp_path / "a")
    saved(url, 1.0)
    old = wl.open(url)
    assert (old @ np.ones(9)).compute()[0] == 9
    assert old[:4, :4].compute().sum() == 16
    saved_again = np.full((9, 9), 2.0)
    wl.from_array(saved_again, tile=4).save(url, overwrite=True)
    for x in (old, old @ np.ones(9), old.norm(), old[:4, :4], old.T):
        with pytest.raises(wl.errors.StaleMatrixError, match="was overwritten since it was opened: open it again"):
            x.compute()
    with pytest.raises(wl.errors.StaleMatrixError):
        old.persist().compute()
    new = wl.open(url)
    assert np.array_equal(new.compute(), saved_again)
    assert (new @ np.ones(9)).compute()[0] == 18
    assert new.norm().compute() == 18


def test_a_removed_input(place: Place) -> None:
    saved(place("a"))
    A = wl.open(place("a"))
    MemoryStore.drop(place("a").removeprefix("memory://"))
    with pytest.raises(NotAMatrixError):
        A.norm().compute()


def test_a_half_done_save_goes_on(place: Place) -> None:
    """Its tiles are there, its metadata are not: only the rest is computed."""
    made: list[int] = []
    f = _FailsOnce(made)
    A = wl.from_function(f, (12, 4), tile=4)
    with pytest.raises(RuntimeError, match="power cut"):
        A.save(place("a"))
    assert "zarr.json" not in objects(place("a"))
    assert "wrenla-unfinished.json" in objects(place("a"))
    with pytest.raises(NotAMatrixError, match="unfinished"):
        wl.open(place("a"))
    with pytest.raises(FileExistsError, match="there is something"):
        wl.zeros((12, 4), tile=4).save(place("a"))
    done = {key for key in objects(place("a")) if key.startswith("c/")}
    _FailsOnce.failing = False
    made.clear()
    A.save(place("a"))
    assert len(made) == 3 - len(done)
    assert np.array_equal(wl.open(place("a")).compute(), np.repeat(np.arange(12.0)[:, None], 4, 1))
    assert objects(place("a")) == {"zarr.json", "c/0/0", "c/1/0", "c/2/0"}


class _FailsOnce:
    """A function of one's own module, so that it is not copied with what it remembers."""

    failing = True
    calls: dict[int, list[int]] = {}  # noqa: RUF012

    def __init__(self, made: list[int]) -> None:
        self.key = id(made)
        self.calls[self.key] = made

    def __call__(self, i: Any, j: Any) -> Any:
        if i[0] == 8 and _FailsOnce.failing:
            raise RuntimeError("power cut")
        self.calls[self.key].append(int(i[0]))
        return np.repeat(i[:, None], len(j), 1)


def test_another_matrix_over_a_half_done_one(place: Place) -> None:
    store = open_store(place("a"))
    store.put("wrenla-unfinished.json", json.dumps({"result": "something else"}).encode())
    store.put("c/0/0", b"old")
    with pytest.raises(FileExistsError):
        wl.eye(3).save(place("a"))
    wl.eye(3).save(place("a"), overwrite=True)
    assert np.array_equal(wl.open(place("a")).compute(), np.eye(3))
    store.close()


def test_metadata_come_last(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    put = MemoryStore.put

    def watched(self: MemoryStore, key: str, data: Any, *, create: bool = False) -> bool:
        seen.append(f"{self.url}/{key}")
        return put(self, key, data, create=create)

    monkeypatch.setattr(MemoryStore, "put", watched)
    wl.random((9, 9), tile=4).save(place("a"))
    assert seen.index(f"{place('a')}/zarr.json") == len(seen) - 1
