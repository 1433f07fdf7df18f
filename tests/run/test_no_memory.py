"""Where memory ends: errors that say for what it was wanted, and what can be done."""

from __future__ import annotations

import mmap
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla.errors import PlanError
from wrenla.planning import plan, tile_graph
from wrenla_handler.stores.mmap import map_file

HUGE: dict[str, Callable[[], wl.BigMatrix]] = {
    "10^12 tiles": lambda: wl.random((10**6, 10**6), tile=1),
    "10^18 rows": lambda: wl.random((10**18, 2)),
    "10^30 rows": lambda: wl.zeros((10**30, 1), tile=5),
    "a sum over 10^18 rows": lambda: wl.random((10**18, 3)).sum(),
    "a product of 10^14 terms": lambda: wl.random((10**18, 10)).T @ wl.random((10**18, 1)),
    "a norm of 10^18 rows": lambda: wl.random((10**18, 3)).norm(1),
    "a function": lambda: wl.from_function(np.add.outer, (10**18, 10**18)),
    "a factor": lambda: wl.random((10, 10**8), tile=10).T.gram().shift(1.0).cholesky(),
}


@pytest.mark.timeout(60)
def test_plan_too_large_for_any_machine_is_refused(tmp_path: Path) -> None:
    """Refused before anything of it is made, whatever numpy would say of such a number."""
    with wl.LocalExecutor(1, "thread", allowed_mem="300 MiB") as executor:
        for name, make in HUGE.items():
            matrix = make()
            with pytest.raises(PlanError, match=r"plan alone.* × .*tiles of.*this machine has.*larger tiles"):
                matrix.save(f"{tmp_path}/{name}", executor=executor)
        part = wl.random((10**18, 3))[10**17 : 10**17 + 2].compute(executor)
    assert part.shape == (2, 3)
    assert list(tmp_path.rglob("zarr.json")) == []


def test_plan_too_large_for_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    A = wl.random((64, 64), tile=2)
    monkeypatch.setattr(tile_graph, "_memory", lambda: 500 << 10)
    with pytest.raises(PlanError, match="plan alone, for 64 × 64 in tiles of 2 × 2"):
        wl.plan(A @ A)
    monkeypatch.undo()

    def refuse(*_: Any) -> None:
        raise MemoryError("Unable to allocate")

    monkeypatch.setattr(plan, "Graph", refuse)
    with pytest.raises(PlanError, match=r"not enough memory for a plan of about 1,024 tiles.*larger tiles"):
        wl.plan(A @ A)


def test_read_without_memory_names_store_key_and_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names store, key and size, and travels."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(12, "Cannot allocate memory")

    with wl.LocalExecutor(1, "thread", allowed_mem="300 MiB") as executor, monkeypatch.context() as patch:
        patch.setattr(mmap, "mmap", refuse)
        with pytest.raises(MemoryError) as caught:
            wl.random((400, 400), tile=200).save(f"{tmp_path}/saved", executor=executor)
    error = pickle.loads(pickle.dumps(caught.value))
    for part in (
        ": c/0/0: a tile of 200 × 200 float64, 0.305 MiB: [Errno 12] Cannot allocate",
        "ulimit",
    ):
        assert part in str(error)
    assert str(error).count("fewer workers") == 1


def test_map_without_address_space_names_the_limits(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        with pytest.raises(OSError, match=r"(?s)allocate memory.*ulimit -v.*max_map_count.*allowed_mem"):
            map_file(descriptor, 0, 1 << 60, "file")
    finally:
        os.close(descriptor)


def test_memory_error_of_user_function_is_raised_unchanged() -> None:
    class Mine(MemoryError):
        pass

    def greedy(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        raise Mine("mine")

    with wl.LocalExecutor(1, "thread", allowed_mem="300 MiB") as executor, pytest.raises(Mine) as caught:
        wl.from_function(greedy, (4, 4), tile=2).compute(executor)
    assert str(caught.value) == "mine"
