"""Saved results go past the page cache where that was measured to be faster; nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from tests.rates import RATES
from wrenla_handler.stores.local import LocalStore

Saved = Callable[[float], dict[bool, set[str]]]


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Saved:
    """Saves a factor at so many bytes a second past the cache; returns keys of tiles by how they went."""
    monkeypatch.setenv("WRENLA_MEASURE", "true")
    monkeypatch.setenv("WRENLA_STORE", str(tmp_path / "temporary"))
    monkeypatch.setattr("wrenla_handler.tiles.worker.DIRECT_FROM", 1)
    really_put = LocalStore.put

    def save(direct: float) -> dict[bool, set[str]]:
        rates = replace(RATES, written=1e9, direct=direct)
        monkeypatch.setattr("wrenla.executors.local.executor.measured_rates", lambda *_: rates)
        seen: dict[bool, set[str]] = {True: set(), False: set()}

        def put(self: LocalStore, key: str, data: Any, **how: Any) -> bool:
            seen[how.get("direct", False)].add(f"{self.url}/{key}")
            return really_put(self, key, data, **how)

        monkeypatch.setattr(LocalStore, "put", put)
        A = np.diag(np.arange(1.0, 201.0)) + 1
        with wl.LocalExecutor(2) as executor:
            L = wl.from_array(A, tile=100, structure="pos").cholesky().save(tmp_path / "L.zarr", executor)
            np.testing.assert_allclose(L.compute(executor) @ L.T.compute(executor), A, rtol=1e-12)
        return {how: {key for key in keys if "/c/" in key} for how, keys in seen.items()}

    return save


def test_saved_tiles_go_past_the_cache_where_it_is_faster(saved: Saved) -> None:
    found = saved(5e9)
    assert sorted(key[-5:] for key in found[True]) == ["c/0/0", "c/1/0", "c/1/1"]
    assert all("L.zarr" in key for key in found[True])
    assert not any("L.zarr" in key for key in found[False])


def test_a_little_faster_is_not_worth_it(saved: Saved) -> None:
    assert saved(1.2e9)[True] == set()


def test_small_tiles_are_not_worth_it(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wrenla_handler.tiles.worker.DIRECT_FROM", 100 * 100 * 8 + 1)
    assert saved(5e9)[True] == set()


def test_on_another_device_nobody_has_measured(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wrenla.run.execute.device_of", lambda url: "L.zarr" in url)
    assert saved(5e9)[True] == set()
