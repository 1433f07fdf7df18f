"""Positive definite systems: with the report, without it, in mixed precision, and SciPy in memory.

Each contestant is a function below, run in a process of its own, that prints one JSON line.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.contest import compete, ratio, show_profile
from benchmarks.contestants import (
    Array,
    U,
    Watch,
    core,
    kms,
    kms_array,
    kms_times,
    norm_one,
    scratch,
    warm_memory,
)
from benchmarks.figure import Figure
from wrenla.units import counted


def figures(rounds: int) -> list[Figure]:
    found: list[Figure] = []
    for rhs in (1, 64):
        work = f"solve n = 14336, {counted(rhs, 'right-hand side')}"
        print(f"{work}: peer is SciPy's cho_factor + cho_solve in memory")
        names = ["wrenla_solve", "wrenla_unchecked", "wrenla_mixed", "scipy_cho_solve"]
        c = compete(names, {"n": 14336, "rhs": rhs}, rounds=rounds, module=__spec__.name)
        ours, unchecked, mixed, scipys = (c[name] for name in names)
        found += ratio(work, ours, scipys, 0.9, 1.1)
        found += ratio(f"{work}, mixed precision", mixed, ours, 1.3, 1.7)
        found += ratio(f"{work}, mixed precision", mixed, scipys, 1.25, 1.6)
        if ours.runs and unchecked.runs:
            cost = ours.seconds / unchecked.seconds - 1
            found.append(
                Figure(f"{work}, report", "cost of the report", cost, 0.08, 0.04, smaller_is_better=True)
            )
        for contestant in (ours, mixed):
            show_profile(contestant)
            if contestant.runs:
                print(contestant.median_run["report"])
    return found


# contestants


def solve_residual(x: Array, b: Array) -> float:
    """Return the HPL criterion, which is to be below 16."""
    n, a = len(b), norm_one(len(b))
    gap = np.abs(kms_times(x) - b).max()
    return float(gap / (U * (a * np.abs(x).max() + np.abs(b).max()) * n))


def right_hand_sides(n: int, count: int) -> Array:
    return np.random.default_rng(2).standard_normal((n, count) if count > 1 else n)


def scipy_cho_solve(n: int, rhs: int, **_: Any) -> dict[str, Any]:
    import scipy.linalg

    a, b = kms_array(n), right_hand_sides(n, rhs)
    warm_memory()
    start = time.perf_counter()
    x = scipy.linalg.cho_solve(scipy.linalg.cho_factor(a, lower=True), b)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "residual": solve_residual(x, b)}


def wrenla_solve(n: int, rhs: int, tile: int | None = None, **_: Any) -> dict[str, Any]:
    return _wrenla_solve(n, rhs, tile, lambda A, b: A.solve(b))


def wrenla_mixed(n: int, rhs: int, tile: int | None = None, **_: Any) -> dict[str, Any]:
    return _wrenla_solve(n, rhs, tile, lambda A, b: A.solve(b, precision="mixed"))


def wrenla_unchecked(n: int, rhs: int, tile: int | None = None, **_: Any) -> dict[str, Any]:
    """Cholesky and two substitutions alone: nobody looks at residual and condition."""
    import wrenla as wl

    return _wrenla_solve(n, rhs, tile, lambda A, b: wl.linalg.cho_factor(A).solve(b))


def _wrenla_solve(n: int, rhs: int, tile: int | None, solve: Callable[..., Any]) -> dict[str, Any]:
    import wrenla as wl

    with scratch(), wl.LocalExecutor() as executor:
        A = wl.from_function(kms, (n, n), tile, structure="pos").persist(executor)
        b = right_hand_sides(n, rhs)
        watch = Watch()
        warm_memory()
        start = time.perf_counter()
        x = solve(A, b)
        found = x.compute(executor, callbacks=[watch])
        seconds = time.perf_counter() - start
        return {
            "seconds": seconds,
            "residual": solve_residual(found, b),
            "report": str(x.report),
            "tile": A.tile[0],
            "profile": watch.profile(seconds),
        }


def main() -> None:
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    print(json.dumps({**globals()[name](**arguments), "core": core()}))


if __name__ == "__main__":
    main()
