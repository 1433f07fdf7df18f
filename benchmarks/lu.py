"""LU with pivots across tiles: from a folder to a folder, beside LAPACK in memory; solves beside SciPy's.

Each contestant is a function below, run in a process of its own, that prints one JSON line.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np

from benchmarks.contest import Contestant, compete, ratio, show_profile
from benchmarks.contestants import Array, Memory, U, Watch, core, scratch, warm_memory
from benchmarks.figure import Figure

N, LARGE, ALLOWED, EDGE = 8192, 20_000, "1 GiB", 576
"""The tile edge is what the error names that the default one gives."""


def figures(rounds: int) -> list[Figure]:
    """Run all contests."""
    work = f"LU n = {N}, folder to folder"
    print(f"{work}: peer is LAPACK's getrf in memory, in place; solves: scipy.linalg.solve")
    names = ["wrenla_lu", "lapack_getrf", "wrenla_solve", "wrenla_rbt", "scipy_solve"]
    names += ["wrenla_indefinite", "scipy_indefinite"]
    c = compete(names, {"n": N}, rounds=rounds, module=__spec__.name)
    found = ratio(work, c["wrenla_lu"], c["lapack_getrf"], 0.75, 0.95)
    found += ratio(f"general solve n = {N}, report included", c["wrenla_solve"], c["scipy_solve"], 0.75, 1.0)
    found += ratio(f'general solve n = {N}, method="rbt"', c["wrenla_rbt"], c["scipy_solve"], 0.75, 1.0)
    ours, theirs = c["wrenla_indefinite"], c["scipy_indefinite"]
    found += ratio(f"indefinite solve n = {N}, report included", ours, theirs, 0.75, 1.0)
    for name in ("wrenla_lu", "wrenla_solve", "wrenla_rbt", "wrenla_indefinite"):
        show_profile(c[name])
    return found + _large(c["wrenla_lu"]) + _planned()


def _planned() -> list[Figure]:
    """Plan both ways for many workers, as `butterflies_win` does: nothing is computed."""
    import wrenla as wl
    from wrenla.algorithms.factorizations.checks import residual
    from wrenla.algorithms.factorizations.lu import lu, lu_solve
    from wrenla.planning.cost_model import ExecutorModel
    from wrenla.planning.plan import make_plan
    from wrenla.procedures.ways import butterfly_factor, by_butterflies

    found, sides, edge = [], 32, 2048
    A = wl.random((sides * edge, sides * edge), tile=edge, seed=1)._node
    b = wl.zeros((sides * edge, 1), tile=(edge, 1))._node
    for workers in (16, 64, 256):
        functions = ExecutorModel(workers, 20e9, 75e6, 0.15, 900, 10 << 30)
        by_lu = make_plan([lu_solve(lu(A), b)], functions)[0].seconds
        for kind in ("general", "hermitian"):
            way = by_butterflies(butterfly_factor(A, kind), kind)
            X = way.solve(way.factor, b)
            refined = way.solve(way.factor, residual(A, X, b, X.dtype))
            planned = make_plan([refined], functions)[0].seconds
            work = f"{sides} x {sides} tiles of {edge}, {workers} functions, {way.method}, planned"
            note = f"{by_lu:.0f} s, {planned:.0f} s"
            found.append(Figure(work, "seconds of LU / of this", by_lu / planned, 1, 2, note=note))
    return found


def _large(small: Contestant) -> list[Figure]:
    work = f"LU n = {LARGE} within {ALLOWED}"
    print(f"{work}: its peer is our own n = {N}")
    arguments = {"n": LARGE, "allowed": ALLOWED, "tile": EDGE}
    large = compete(["wrenla_lu"], arguments, rounds=1, timeout=1200, module=__spec__.name)["wrenla_lu"]
    if not (large.runs and small.runs):
        return []
    run = large.median_run
    assert run["residual"] <= 1, run
    show_profile(large)
    rate = (LARGE / N) ** 3 * small.seconds / large.seconds
    note = f"{2 * LARGE**3 / 3 / large.seconds / 1e9:.0f} GFLOP/s, {large.seconds:.1f} s"
    return [
        Figure(work, "peak memory over the interpreter's", run["peak"] / 2**30, 1, 1, "GiB", True),
        Figure(work, f"rate / rate at n = {N}", rate, 0.7, 0.95, note=note),
    ]


# contestants


def _matrix(n: int) -> Array:
    return np.asarray(np.random.default_rng(0).standard_normal((n, n)).T)


def _exchanged(v: Array, piv: Any) -> Array:
    for k, row in enumerate(piv.tolist()):
        v[k], v[row] = v[row], v[k]
    return v


def _solve_residual(product: Array, x: Array, b: Array, norm: float) -> float:
    """HPL's criterion over its gate."""
    size = norm * np.abs(x).max() + np.abs(b).max()
    return float(np.abs(product - b).max() / (U * size * len(b)) / 16)


def wrenla_lu(n: int, tile: int | None = None, allowed: str | None = None) -> dict[str, Any]:
    import wrenla as wl

    memory = Memory()
    with scratch() as folder, wl.LocalExecutor(allowed_mem=allowed) as executor:
        A = wl.random((n, n), tile=tile, seed=1).persist(executor)
        watch = Watch()
        warm_memory()
        start = time.perf_counter()
        with memory:
            factor = wl.linalg.lu_factor(A)
            factor.lu.save(folder + "/LU", executor, callbacks=[watch])
        seconds = time.perf_counter() - start
        # P A v beside L (U v), for one v: their distance over what rounding explains
        _, L, up = factor.unpacked()
        moved = _exchanged((A @ np.ones(n)).compute(executor), factor.piv(executor))
        again = (L @ (up @ np.ones(n))).compute(executor)
        norm = float(A.norm(np.inf).compute(executor))
        return {
            "seconds": seconds,
            "residual": float(np.abs(again - moved).max() / (U * norm * n) / 30),
            "tile": A.tile[0],
            "profile": watch.profile(seconds),
            "peak": memory.peak,
        }


def lapack_getrf(n: int) -> dict[str, Any]:
    import scipy.linalg

    a = _matrix(n)
    moved = a @ np.ones(n)
    norm = np.abs(a).sum(axis=1).max()
    warm_memory()
    start = time.perf_counter()
    lu, piv = scipy.linalg.lu_factor(a, overwrite_a=True, check_finite=False)
    seconds = time.perf_counter() - start
    moved = _exchanged(moved, piv)
    above = np.triu(lu) @ np.ones(n)
    again = np.tril(lu, -1) @ above + above
    return {"seconds": seconds, "residual": float(np.abs(again - moved).max() / (U * norm * n) / 30)}


def wrenla_solve(n: int, tile: int | None = None) -> dict[str, Any]:
    return _wrenla_solve(n, tile, "gen", method="lu")


def wrenla_rbt(n: int, tile: int | None = None) -> dict[str, Any]:
    return _wrenla_solve(n, tile, "gen", method="rbt")


def wrenla_indefinite(n: int, tile: int | None = None) -> dict[str, Any]:
    return _wrenla_solve(n, tile, "her")


def _wrenla_solve(n: int, tile: int | None, kind: str, **options: Any) -> dict[str, Any]:
    import wrenla as wl

    with scratch(), wl.LocalExecutor() as executor:
        A, b = wl.random((n, n), tile=tile, seed=1), np.ones(n)
        A = (A if kind == "gen" else A + A.T).persist(executor)
        watch = Watch()
        warm_memory()
        start = time.perf_counter()
        x = A.solve(b, kind, check=False, **options)
        found = x.compute(executor, callbacks=[watch])
        seconds = time.perf_counter() - start
        norm = float(A.norm(np.inf).compute(executor))
        return {
            "seconds": seconds,
            "residual": _solve_residual((A @ found).compute(executor), found, b, norm),
            "tile": A.tile[0],
            "profile": watch.profile(seconds),
            "report": str(x.report),
        }


def scipy_solve(n: int) -> dict[str, Any]:
    return _scipy_solve(_matrix(n), "gen")


def scipy_indefinite(n: int) -> dict[str, Any]:
    a = _matrix(n)
    return _scipy_solve(np.asfortranarray(a + a.T), "sym")


def _scipy_solve(a: Array, kind: str) -> dict[str, Any]:
    import scipy.linalg

    b = np.ones(len(a))
    warm_memory()
    start = time.perf_counter()
    x = scipy.linalg.solve(a, b, assume_a=kind)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "residual": _solve_residual(a @ x, x, b, float(np.abs(a).sum(axis=1).max()))}


def main() -> None:
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    print(json.dumps({**globals()[name](**arguments), "core": core()}))


if __name__ == "__main__":
    main()
