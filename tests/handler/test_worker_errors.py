"""Tasks that cannot be done, or need not be."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import cloudpickle
import numpy as np
import pytest

from wrenla_handler.errors import MissingTileError, StoreError, TruncatedTileError
from wrenla_handler.linalg_errors import NotPositiveDefiniteError
from wrenla_handler.stores.local import LocalStore
from wrenla_handler.stores.memory import MemoryStore
from wrenla_handler.stores.urls import open_store
from wrenla_handler.tiles.arrays import ArraySpec, FormulaArray, FunctionArray, StoredArray, TileRef
from wrenla_handler.tiles.grid import Grid
from wrenla_handler.tiles.layout import tile_key
from wrenla_handler.tiles.sources import as_bytes, function_key
from wrenla_handler.tiles.task import Finish, Read, Task
from wrenla_handler.tiles.worker import Worker

T = 4
GRID = Grid((3 * T, 3 * T), (T, T))
Specs: TypeAlias = dict[str, ArraySpec]


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker(1 << 20)
    yield made
    made.close()


@pytest.fixture
def specs(tmp_path: Path) -> Specs:
    """A stored matrix of ones, and a place for a result."""
    found = {name: StoredArray(GRID, "float64", 2, name, str(tmp_path / name)) for name in ("A", "out")}
    store = open_store(found["A"].url)
    for i in range(3):
        for j in range(3):
            store.put(tile_key(i, j), as_bytes(np.ones((T, T), order="F")))
    return found


def test_missing_and_truncated_tiles(worker: Worker, specs: Specs) -> None:
    store = open_store(specs["A"].url)
    task = Task(TileRef("out", 0, 0), (T, T), "float64", (Read(TileRef("A", 2, 1)),))
    store.delete("c/2/1")
    with pytest.raises(MissingTileError, match=r"A: c/2/1: tile \(2, 1\) is missing"):
        worker.run(task, specs)
    store.put("c/2/1", b"short")
    with pytest.raises(TruncatedTileError, match=r"c/2/1: 5 bytes where 128 belong \(4 × 4 of float64\)"):
        worker.run(task, specs)
    assert not open_store(specs["out"].url).exists("c/0/0")


@pytest.mark.parametrize(
    ("there", "superseded"),
    [
        ([], False),
        (["partial/1/1/1"], False),
        (["partial/1/1/2"], True),
        (["partial/1/1/3"], True),
        (["partial/1/1/10"], True),
        (["partial/1/10/3"], False),
        (["c/1/1"], True),
        (["c/1/0"], False),
    ],
)
def test_a_task_whose_work_was_done_by_another_writes_nothing(
    worker: Worker, specs: Specs, there: list[str], superseded: bool
) -> None:
    out = open_store(specs["out"].url)
    for key in there:
        out.put(key, b"")
    # it wants the sum after one term, which is gone or never was
    base = (Read(TileRef("gone", 1, 1, 1)),)
    task = Task(TileRef("out", 1, 1, 2), (T, T), "float64", base)
    specs |= {"gone": StoredArray(GRID, "float64", 2, "gone", "memory://gone")}
    if superseded:
        assert not worker.run(task, specs).committed
    else:
        with pytest.raises(MissingTileError):
            worker.run(task, specs)
    assert list(out.list()) == there


def test_a_later_sum_may_appear_while_we_look(
    worker: Worker, specs: Specs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder is not listed in one moment: one file may go, and the next one come, without being seen."""
    out, real, looks = worker.sources.store(specs["out"].url), LocalStore.list, []

    def list_too_early(store: LocalStore, prefix: str = "") -> Iterator[str]:
        looks.append(prefix)
        if len(looks) == 2:
            out.put("partial/1/1/5", b"")
        return iter(()) if len(looks) == 1 else real(store, prefix)

    monkeypatch.setattr(LocalStore, "list", list_too_early)
    task = Task(TileRef("out", 1, 1, 3), (T, T), "float64", (Read(TileRef("out", 1, 1, 2)),))
    assert not worker.run(task, specs).committed
    assert set(looks) == {"partial/1/1/"}


def test_a_matrix_that_is_not_positive_definite_names_the_global_minor(worker: Worker, specs: Specs) -> None:
    eye = FormulaArray(GRID, "float64", 2, "eye", "eye")
    base = (Read(TileRef("eye", 1, 1), shift=-2.0),)
    task = Task(TileRef("out", 1, 1), (T, T), "float64", base, finish=Finish("potrf"), origin=(T, T))
    with pytest.raises(NotPositiveDefiniteError) as error:
        worker.run(task, specs | {"eye": eye})
    assert error.value.minor == T + 1


# users' functions


def function_spec(function: Any, url: str, *, digest: str = "") -> ArraySpec:
    blob = cloudpickle.dumps(function)
    true = hashlib.sha256(blob).hexdigest()
    open_store(url).put(function_key(digest or true), blob)
    return FunctionArray(GRID, "float64", 2, f"f {true} {url}", url, digest or true)


def test_a_function_that_is_not_the_drivers_is_never_loaded(
    worker: Worker, specs: Specs, tmp_path: Path
) -> None:
    mark = tmp_path / "loaded"

    class Bomb:
        def __reduce__(self) -> Any:
            return mark.touch, ()

    spec = function_spec(Bomb(), "memory://bomb", digest="0" * 64)
    task = Task(TileRef("out", 0, 0), (T, T), "float64", (Read(TileRef("f", 0, 0)),))
    specs |= {"f": spec}
    with pytest.raises(StoreError, match="not the function that the driver wrote"):
        worker.run(task, specs)
    assert not mark.exists()
    MemoryStore.drop("bomb")
    with pytest.raises(StoreError, match="the run's function is not there"):
        worker.run(task, specs)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda i, j: np.ones((2, 2)), ValueError, r"returned shape \(2, 2\) for a block of shape \(4, 4\)"),
        (lambda i, j: np.ones((4, 4)) * 1j, TypeError, "returned complex128, which is no float64"),
        (lambda i, j: 1 / 0, ZeroDivisionError, "division by zero"),
    ],
)
def test_functions_that_return_something_else(
    worker: Worker, specs: Specs, function: Any, error: type[Exception], message: str
) -> None:
    specs |= {"f": function_spec(function, "memory://wrong")}
    task = Task(TileRef("out", 0, 0), (T, T), "float64", (Read(TileRef("f", 1, 2)),))
    with pytest.raises(error, match=message) as raised:
        worker.run(task, specs)
    if error is ZeroDivisionError:
        assert raised.value.__notes__ == ["while making rows 4:8, columns 8:12 of a from_function"]
