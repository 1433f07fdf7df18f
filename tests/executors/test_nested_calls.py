"""Calls that ask for calls are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wrenla.errors import NestedCallError

from .faulty_calls import WAYS, Way, faulty, pool, usable

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("by_value")]


@WAYS
def test_nested_in_a_process(way: Way, tmp_path: Path) -> None:
    def act(folder: Path) -> Any:
        import wrenla

        return list(wrenla.default_executor().map(abs, [1]))

    with pool() as executor:
        cell = way(executor, faulty(act, tmp_path))
        assert isinstance(cell.error, NestedCallError), repr(cell.error)
        usable(executor, tmp_path)


@WAYS
def test_nested_in_a_thread(way: Way, tmp_path: Path) -> None:
    with pool("thread") as executor:
        cell = way(executor, faulty(lambda folder: executor.submit(abs, 1), tmp_path))
        assert isinstance(cell.error, NestedCallError), repr(cell.error)
        cell = way(executor, faulty(lambda folder: executor.broadcast(1), tmp_path))
        assert isinstance(cell.error, NestedCallError), repr(cell.error)
        usable(executor, tmp_path)


@WAYS
def test_an_executor_does_not_travel(way: Way, tmp_path: Path) -> None:
    with pool() as executor:
        with pytest.raises(TypeError, match="cannot travel"):
            way(executor, faulty(lambda folder: executor.submit(abs, 1), tmp_path))
        assert executor.stats().submitted == 0
        usable(executor, tmp_path)
