"""Saving and opening: round trips, what overwriting may and may not do, and going on after a failure."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla.errors import NotAMatrixError
from wrenla.run.events import TaskFinished
from wrenla.workspace.lease import Holder
from wrenla_handler.stores.memory import MemoryStore
from wrenla_handler.stores.urls import open_store
from wrenla_handler.tiles.grid import Grid
from wrenla_handler.tiles.layout import TileLayout

from . import gallery
from .gallery import DTYPES

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
        urls = (place(str(number)), str(tmp_path / str(number)))
        for url in urls if dtype == "float64" else urls[number % 2 :][:1]:
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
def test_saved_matrix_keeps_its_structure(dtype: str, place: Place) -> None:
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
        assert objects(place(name)) == {"zarr.json", *tiles_of(saved, lower)}, (
            "symmetric ones are stored whole"
        )
    U = A.cholesky(upper=True).save(place("upper"))
    assert U.structure == "upper"
    assert objects(place("upper")) == {"zarr.json", *(f"c/{i}/{j}" for i in range(3) for j in range(i, 3))}
    b = np.ones(21, dtype)
    assert (
        gallery.solve_error(wl.open(place("upper")).compute(), wl.open(place("upper")).solve(b).compute(), b)
        <= 1
    )


def test_saved_matrix_is_read_not_computed_again(place: Place) -> None:
    calls = Counter()  # type: ignore[var-annotated]
    L = wl.from_array(gallery.well_conditioned(21, "float64"), tile=8).cholesky().save(place("L"))

    def count(event: Any) -> None:
        if isinstance(event, TaskFinished):
            calls[event.kernel] += 1

    (L @ np.ones(21)).compute(callbacks=[count])
    assert calls["potrf"] == 0


def test_open_of_empty_address_is_not_a_matrix_error(place: Place, tmp_path: Path) -> None:
    for url in (place("nowhere"), str(tmp_path / "nowhere"), (tmp_path / "nowhere").as_uri()):
        with pytest.raises(NotAMatrixError, match=r"nowhere.*there is no matrix here \(no zarr.json\)"):
            wl.open(url)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(NotAMatrixError):
        wl.open(tmp_path / "file")


def test_half_done_save_is_resumed(place: Place) -> None:
    """Its tiles are there, its metadata are not: only the rest is computed."""
    made: list[int] = []
    f = _FailsOnce(made)
    A = wl.from_function(f, (12, 4), tile=4)
    with pytest.raises(RuntimeError, match="power cut"):
        A.save(place("a"))
    assert "zarr.json" not in objects(place("a"))
    assert "wrenla-saving/wrenla-lease/00000000" in objects(place("a"))
    with pytest.raises(NotAMatrixError, match="unfinished"):
        wl.open(place("a"))
    with pytest.raises(FileExistsError, match="there is something"):
        wl.zeros((12, 4), tile=4).save(place("a"))
    done = {key for key in objects(place("a")) if re.match("wrenla-saving/tiles-[0-9a-f]{32}/c/", key)}
    assert done
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
    new = TileLayout(Grid((4, 4), (2, 2)), "float64", generation=32 * "a")
    note = {"result": "something else", "owner": 32 * "a", "new": new.to_json()}
    store = open_store(place("a"))
    store.put("wrenla-saving/wrenla-lease/00000003", Holder("them", ended=True, note=note).encode())
    store.put(f"wrenla-saving/tiles-{32 * 'a'}/c/0/0", b"old")
    store.put("c/0/0", b"old, and moved")
    with pytest.raises(FileExistsError, match="there is something already, an unfinished matrix"):
        wl.eye(3).save(place("a"))
    wl.eye(3).save(place("a"), overwrite=True)
    assert np.array_equal(wl.open(place("a")).compute(), np.eye(3))
    assert objects(place("a")) == {"zarr.json", "c/0/0"}
    store.close()


def test_metadata_are_written_last(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    put = MemoryStore.put

    def watched(self: MemoryStore, key: str, data: Any, **how: bool) -> bool:
        seen.append(f"{self.url}/{key}")
        return put(self, key, data, **how)

    monkeypatch.setattr(MemoryStore, "put", watched)
    wl.random((9, 9), tile=4).save(place("a"))
    assert seen.index(f"{place('a')}/zarr.json") == len(seen) - 1


def test_a_folder_whose_name_is_not_utf_8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it is in that folder, and none in one of a similar name."""
    name = os.fsdecode(bytes(tmp_path) + b"/caf\xe9")
    monkeypatch.setenv("WRENLA_STORE", f"{name}/store")
    A = wl.random((6, 6), tile=2).gram().save(f"{name}/a")
    B = (wl.open(f"{name}/a").shift(9.0).cholesky() @ np.ones((6, 1))).save(f"{name}/b")
    assert np.isfinite(B.compute()).all()
    assert float(wl.open(f"{A._node.op.spec.url}").trace()) == float(A.trace())
    assert os.listdir(bytes(tmp_path)) == [b"caf\xe9"]
    assert {"a", "b"} <= {*os.listdir(name)}
    with pytest.raises(ValueError, match="save the matrix elsewhere"):
        A.save(f"{name}/wrenla-runs/a")
