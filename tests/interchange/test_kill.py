"""Copies that are killed: from Dask they go on, to Zarr half of one is none; nothing else is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

import wrenla as wl

pytestmark = [pytest.mark.process, pytest.mark.slow]

FROM_DASK = """
import os, signal, sys
import dask.array as da
import wrenla as wl

root, last = sys.argv[1], int(sys.argv[2])

def slow(block, block_info=None):
    place = block_info[0]["chunk-location"]
    with open(f"{root}/computed", "a") as file:
        file.write(f"{place}\\n")
    if place[0] * 8 + place[1] == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return block * 2

x = da.arange(6400, chunks=800).reshape(80, 80).rechunk(10).map_blocks(slow, dtype=int, name="twice")
with wl.LocalExecutor(1):
    wl.from_dask(x, f"{root}/A", tile=15)
"""

TO_ZARR = """
import os, signal, sys
import wrenla as wl
from zarr.storage import LocalStore

class Deadly(LocalStore):
    writes = 0
    async def set(self, key, value):
        Deadly.writes += "c/" in key
        if Deadly.writes == 30:
            os.kill(os.getpid(), signal.SIGKILL)
        await super().set(key, value)

with wl.LocalExecutor(1):
    wl.zeros((80, 80), tile=15).to_zarr(Deadly(f"{sys.argv[1]}/z"), chunks=(10, 10))
"""


def run(script: str, folder: Path, *arguments: str) -> int:
    (folder / "tmp").mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder), *arguments],
        env={**os.environ, "WRENLA_STORE": str(folder / "runs"), "TMPDIR": str(folder / "tmp")},
        timeout=100,
        check=False,
    )
    return done.returncode


def test_killed_copy_from_dask_goes_on(tmp_path: Path) -> None:
    assert run(FROM_DASK, tmp_path, "40") == -signal.SIGKILL
    before = len((tmp_path / "computed").read_text().splitlines())
    assert run(FROM_DASK, tmp_path, "-1") == 0
    computed = (tmp_path / "computed").read_text().splitlines()
    assert before > 30
    assert len(set(computed)) == 64
    assert len(computed) <= 64 + 2 * 8 + 1, "what tiles need that were not whole is computed again: two rows"
    assert np.array_equal(wl.open(tmp_path / "A").compute(), 2.0 * np.arange(6400).reshape(80, 80))
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not any(path.is_file() for path in (tmp_path / "runs").rglob("*"))


def test_killed_copy_to_zarr_is_no_array(tmp_path: Path) -> None:
    assert run(TO_ZARR, tmp_path) == -signal.SIGKILL
    assert len(list((tmp_path / "z").rglob("c/*/*"))) > 20
    with pytest.raises(FileNotFoundError):
        zarr.open_array(tmp_path / "z", mode="r")
    array = wl.zeros((80, 80), tile=15).to_zarr(tmp_path / "z", chunks=(10, 10))
    assert np.array_equal(array[...], np.zeros((80, 80)))
