"""Removal of persisted tiles when nobody uses them any more."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import wrenla as wl
from wrenla.workspace.workspace import Workspace


@pytest.fixture
def ignored(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Exceptions that Python prints, as nobody can catch them."""
    found: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", found.append)
    yield found
    found.clear()


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError("no such disk")], ids=["interrupt", "failure"]
)
def test_removal_that_is_cut_short_prints_no_traceback(
    error: BaseException,
    ignored: list[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("WRENLA_STORE", str(tmp_path))

    def fails(folder: Workspace, token: int) -> None:
        raise error

    X = wl.random((40, 40), tile=20).persist()
    monkeypatch.setattr(Workspace, "let_go", fails)
    del X
    gc.collect()
    assert ignored == []
    (said,) = {record.getMessage() for record in caplog.records if record.levelname == "WARNING"}
    assert f"persisted tiles may stay in {tmp_path}" in said
    assert "wrenla clean removes them" in said
