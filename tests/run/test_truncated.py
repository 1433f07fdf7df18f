"""Mapped files that somebody cuts short end a run with an error, never the process, and never in a number."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla.run.events import TaskFinished, TaskStarted
from wrenla_handler.errors import TruncatedTileError
from wrenla_handler.stores.mmap import guard, refuse_truncated
from wrenla_handler.stores.urls import open_store

TILE = 256  # 512 KiB a tile: large enough to be mapped


def test_truncated_map_reads_as_zeros_and_raises_at_block_end(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put("a", np.ones(1 << 17).tobytes())
    tile = np.frombuffer(store.get("a"))
    os.truncate(tmp_path / "a", 1 << 16)
    with (
        pytest.raises(TruncatedTileError, match=r": a: the file was cut short while it was read"),
        refuse_truncated(),
    ):
        total = float(tile.sum())
    assert total == 1 << 13
    # as long as somebody may look at the zeros nothing else counts either, and not a moment longer
    with pytest.raises(TruncatedTileError), refuse_truncated():
        pass
    del tile
    with refuse_truncated():
        pass


def test_guarded_memmap_that_is_truncated_raises(tmp_path: Path) -> None:
    np.ones(1 << 17).tofile(tmp_path / "a")
    for mode in ("r", "r+"):
        array = np.memmap(tmp_path / "a", "f8", mode)
        view = array.reshape(256, -1)[3:]
        guard(view)
        os.truncate(tmp_path / "a", 1 << 16)
        with pytest.raises(TruncatedTileError, match="a: the file was cut short"), refuse_truncated():
            assert float(array.sum()) == 1 << 13
        with pytest.raises(TruncatedTileError, match="a: the file was cut short"):
            guard(view)
        with refuse_truncated():  # it is the user's own, who may keep it
            pass
        os.truncate(tmp_path / "a", 0)
        np.ones(1 << 17).tofile(tmp_path / "a")
    guard(np.ones(3))


def test_memmap_truncated_before_use_raises(executor: wl.LocalExecutor, tmp_path: Path) -> None:
    A = wl.eye(64, tile=16)
    for number, use in enumerate(
        (
            lambda v: wl.from_array(v),
            lambda v: A @ v,
            lambda v: A.solve(v),
            lambda v: A.scale_rows(v),
            lambda v: wl.map_tiles(np.negative, v),
        )
    ):
        for mode in ("r", "r+", "c"):
            path = tmp_path / f"{number}{mode}"
            np.ones(1 << 13).tofile(path)
            v = np.memmap(path, "f8", mode)
            os.truncate(path, 8)
            with pytest.raises(TruncatedTileError, match="was cut short"):
                use(v[: 1 << 13][-64:])


def test_sigbus_handler_installed_later_does_not_hide_ours(tmp_path: Path) -> None:
    import faulthandler

    store = open_store(str(tmp_path))
    store.put("a", np.ones(1 << 17).tobytes())
    tile = np.frombuffer(store.get("a"))
    enabled = faulthandler.is_enabled()
    try:
        faulthandler.disable()
        faulthandler.enable()
        os.truncate(tmp_path / "a", 1 << 16)
        with pytest.raises(TruncatedTileError), refuse_truncated():
            tile.sum()
    finally:
        if not enabled:
            faulthandler.disable()


@pytest.mark.parametrize("when", ["before a task", "at the end"])
def test_run_on_truncated_tile_raises(
    when: str, executor: wl.LocalExecutor, tmp_path: Path, left: Any
) -> None:
    a = np.random.default_rng(0).random((4 * TILE, 4 * TILE))
    A = wl.from_array(a, tile=TILE).save(str(tmp_path / "A"), executor)
    seen: list[int] = []

    def cut(event: Any) -> None:
        kind = TaskStarted if when == "before a task" else TaskFinished
        if isinstance(event, kind):
            seen.append(1)
            if len(seen) == (3 if when == "before a task" else 16):
                for path in (tmp_path / "A" / "c").rglob("*"):
                    if path.is_file():
                        os.truncate(path, 5000)

    with pytest.raises((TruncatedTileError, wl.WrenlaError)) as raised:
        (A @ A).compute(executor, callbacks=[cut])
    assert isinstance(raised.value, TruncatedTileError) or "was changed since" in str(raised.value)
    del raised
    # the executor goes on with what is whole
    B = wl.from_array(a, tile=TILE).save(str(tmp_path / "B"), executor)
    np.testing.assert_allclose((B @ B).compute(executor), a @ a, rtol=1e-12)


@pytest.mark.process
@pytest.mark.parametrize("whose", ["theirs", "ours, but nobody asks"])
def test_sigbus_outside_blocks_ends_the_process(whose: str, tmp_path: Path) -> None:
    """Zeros that nobody asks about would be taken for numbers; and another handler gets what is for it."""
    script = """
import contextlib, faulthandler, os, sys
import numpy as np
from wrenla_handler.stores.urls import open_store
from wrenla_handler.stores.mmap import refuse_truncated
faulthandler.enable()
folder, whose = sys.argv[1:]
store = open_store(folder)
store.put("a", bytes(1 << 17))
ours = np.frombuffer(store.get("a"), np.uint8)
theirs = np.memmap(folder + "/b", "u1", "w+", shape=1 << 17)
for name in "ab":
    os.truncate(folder + "/" + name, 10)
with refuse_truncated() if whose == "theirs" else contextlib.nullcontext():
    (theirs if whose == "theirs" else ours).sum()
"""
    command = [sys.executable, "-c", script, str(tmp_path), whose]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == -7
    assert "Bus error" in run.stderr
