"""Products of `aslinearoperator`: time over that of bare tile reads and BLAS in as many threads.

Each contestant is a function below, run in a process of its own, that prints one JSON line.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from benchmarks.contest import compete
from benchmarks.contestants import Array, core, scratch, warm_memory
from benchmarks.figure import Figure

N, WORKERS, PRODUCTS = 8000, 2, 100


def figures(rounds: int) -> list[Figure]:
    """Compare products with what they consist of, and with NumPy in memory."""
    found: list[Figure] = []
    for structure in ("general", "pos"):
        for place in ("disk", "memory"):
            for tile in (512, 1024):
                where = "on disk" if place == "disk" else "of an array"
                work = f"A @ x, n = {N}, {structure}, tiles of {tile} {where}"
                print(f"{work}: peer is the reads of the same tiles and gemv, in {WORKERS} threads")
                arguments = {"structure": structure, "place": place, "tile": tile}
                c = compete(["products"], arguments, rounds=rounds, module=__spec__.name)["products"]
                if c.runs:
                    found += _figures(work, c.median_run)
    return found


def _figures(work: str, run: dict[str, Any]) -> list[Figure]:
    assert run["error"] <= 1, run  # NaN fails
    ours, bare, numpy = (run[name] * 1e3 for name in ("seconds", "bare", "numpy"))
    note = (
        f"{ours:.1f} ms against {bare:.1f} ms, medians of {PRODUCTS} in turn; NumPy in memory {numpy:.1f} ms"
    )
    return [
        Figure(work, "milliseconds over bare reads and gemv", ours - bare, 5, 2, "ms", True, note),
        Figure(work, "time / bare reads and gemv", ours / bare, 1.5, 1.1, "×", True),
    ]


# contestants


def products(structure: str, place: str, tile: int) -> dict[str, Any]:
    """Time products, bare reads with gemv, and NumPy, one after the other, again and again."""
    import wrenla as wl
    from wrenla_handler.tiles.arrays import TileRef
    from wrenla_kernels import blas_threads, gemv

    rng = np.random.default_rng(0)
    a = rng.standard_normal((N, N))
    a += a.T
    x = rng.standard_normal(N)
    warm_memory(1 << 30)
    with (
        scratch() as folder,
        wl.LocalExecutor(WORKERS, allowed_mem="4 GiB") as executor,
        ThreadPoolExecutor(WORKERS) as threads,
    ):
        A = wl.from_array(a, tile, structure=structure, check=False)
        A = A.save(f"{folder}/A", executor) if place == "disk" else A
        op = wl.linalg.aslinearoperator(A, executor=executor)
        node = op.A._node
        spec, grid, tiles = node.op.spec, node.grid, list(node.own_tiles())
        home = executor.home

        def part(worker: int) -> Array:
            y = np.zeros(N)
            for i, j in tiles[worker::WORKERS]:
                t, _ = home.fetch(spec, TileRef("A", i, j))
                (r, c), (m, n) = grid.origin(i, j), grid.extent(i, j)
                gemv(1, t, "N", x[c : c + n], y[r : r + m])
                if structure == "pos" and i != j:
                    gemv(1, t, "T", x[r : r + m], y[c : c + n])
            return y

        def bare() -> Array:
            with blas_threads(1), home.holding({} if place == "disk" else {spec.identity: node.op.payload}):
                return np.sum(list(threads.map(part, range(WORKERS))), axis=0)

        with blas_threads(WORKERS):
            ways: dict[str, Callable[[], Array]] = {
                "seconds": lambda: op @ x,
                "bare": bare,
                "numpy": lambda: a @ x,
            }
            results = {name: way() for name, way in ways.items()}
            times: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(PRODUCTS):
                for name, way in ways.items():
                    start = time.perf_counter()
                    way()
                    times[name].append(time.perf_counter() - start)
        bound = 2 * N * np.finfo(float).eps * (np.abs(a) @ np.abs(x))
        error = max(float((np.abs(results[name] - results["numpy"]) / bound).max()) for name in ways)
        return {name: statistics.median(each) for name, each in times.items()} | {"error": error}


if __name__ == "__main__":
    result = {**globals()[sys.argv[1]](**json.loads(sys.argv[2])), "core": core()}
    print(json.dumps(result))
