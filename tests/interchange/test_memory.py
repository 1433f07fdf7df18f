"""What comes and goes is four times the allowed memory, and the process never takes more than that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import gc, sys
import dask.array as da
import numpy as np
import wrenla as wl
import zarr

def status(field):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

root, which = sys.argv[1:]
allowed = 64 << 20
n = int((4 * allowed / 8) ** 0.5)

def random(n, chunks):
    return da.random.default_rng(1).random((n, n), chunks=chunks)

def dask(n, chunks, tile):
    x = random(n, chunks) * 2
    return lambda: wl.from_dask(x, f"{root}/A{n}", tile)

def saved(n, tile=256):
    return wl.random((n, n), tile=tile).save(f"{root}/S{n}")

def to_zarr(n, **layout):
    A = saved(n)
    return lambda: A.to_zarr(f"{root}/z{n}", **layout)

def from_zarr(n, tile, **layout):
    array = saved(n).to_zarr(f"{root}/z{n}", **layout)
    return lambda: wl.from_zarr(array, f"{root}/C{n}", tile)

def to_npy(n):
    A = saved(n)
    return lambda: A.to_npy(f"{root}/{n}.npy")

def from_npy(n):
    saved(n).to_npy(f"{root}/{n}.npy")
    return lambda: wl.from_npy(f"{root}/{n}.npy").save(f"{root}/N{n}")

def to_dask(n):
    x = (saved(n) * 2).to_dask()
    return lambda: (x + 1).sum().compute()

cases = {
    "from_dask, whole blocks": lambda n: dask(n, min(n, 400), None),
    "from_dask, other tiles": lambda n: dask(n, min(n, 700), 300),
    "from_dask, strips": lambda n: dask(n, (60, -1), 300),
    "to_dask": to_dask,
    "to_zarr, tiles": to_zarr,
    "to_zarr, rows": lambda n: to_zarr(n, chunks=(8, n)),
    "to_zarr, shards": lambda n: to_zarr(n, chunks=(100, 100), shards=(600, 600)),
    "from_zarr, rows": lambda n: from_zarr(n, None, chunks=(8, n)),
    "from_zarr, shards": lambda n: from_zarr(n, 300, chunks=(100, 100), shards=(600, 600)),
    "from_npy": from_npy,
    "to_npy": to_npy,
}
with wl.LocalExecutor(2, allowed_mem=allowed):
    cases[which](500)()  # modules, threads, buffers
    run = cases[which](n)
    gc.collect()
    before = status("VmRSS")
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")
    run()
    print((status("VmHWM") - before) / allowed)
"""


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="peak memory cannot be reset")
@pytest.mark.parametrize(
    "which",
    [
        *("from_dask, whole blocks", "from_dask, other tiles", "from_dask, strips", "to_dask"),
        *("to_zarr, tiles", "to_zarr, rows", "to_zarr, shards"),
        *("from_zarr, rows", "from_zarr, shards", "from_npy", "to_npy"),
    ],
)
def test_four_times_the_allowed_memory(which: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), which],
        capture_output=True,
        text=True,
        env={**os.environ, "WRENLA_STORE": str(tmp_path / "runs")},
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) <= 1
