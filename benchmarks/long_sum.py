"""One long sum: Bᵀ B of a tall matrix, on one worker, on two, and by NumPy in memory."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np

from benchmarks.contest import Contestant, compete
from benchmarks.contestants import Array, U, Watch, core, scratch, warm_memory
from benchmarks.figure import Figure
from wrenla.forecast.engine import Engine
from wrenla.forecast.simulate import simulate

ROWS, COLUMNS, TILE = 400_000, 300, 2000


def block(rows: Any, columns: Any) -> Array:
    """Return a block of the matrix: numbers between −1 and 1 without a pattern that BLAS could use."""
    return np.asarray(np.cos(0.37 * (rows % 9973)[:, None] * (columns + 1.0)))


def figures(rounds: int) -> list[Figure]:
    """Compare runs, and what a plan says with the clock of its schedule."""
    work = f"B.T @ B, B {ROWS:,} × {COLUMNS} in a folder"
    print(f"{work}: peer is NumPy in memory, with a thread for each core, and with one")
    arguments = {"rows": ROWS, "columns": COLUMNS}
    names = ["one_worker", "two_workers", "numpy_gram", "numpy_one_thread"]
    c = compete(names, arguments, rounds=rounds, module=__spec__.name)
    one, two, numpy, alone = c.values()
    found = []
    if one.runs and two.runs:
        found.append(_ratio(work, "two workers / one", two, one, 1.6, 1.9))
    if two.runs and numpy.runs:
        found.append(_ratio(work, "two workers / NumPy", two, numpy, 0.7, 0.95))
    if two.runs and alone.runs:
        ours, theirs = two.median_run["cpu"], alone.median_run["cpu"]
        figure = "processor seconds, NumPy in one thread / two workers"
        found.append(
            Figure(work, figure, theirs / ours, 0.6, 0.9, note=f"{ours:.2f} s against {theirs:.2f} s")
        )
    if two.runs:  # this one means something on a busy machine too
        busy = two.median_run["busy"]
        found.append(Figure(work, "share of the run in which two workers work", busy, 0.8, 0.95, ""))
    for contestant in (one, two):
        if contestant.runs:
            print(f"  {contestant.name}: {json.dumps(contestant.median_run['profile'])}")
    return found + _planned()


def _ratio(work: str, figure: str, ours: Contestant, peer: Contestant, must: float, goal: float) -> Figure:
    for run in ours.runs + peer.runs:
        assert run["residual"] <= 1, run  # NaN fails
    note = (
        f"{ours.seconds:.2f} s against {peer.seconds:.2f} s; processors "
        f"{ours.median_run['cpu']:.1f} s against {peer.median_run['cpu']:.1f} s"
    )
    return Figure(work, figure, peer.seconds / ours.seconds, must, goal, note=note)


def _planned() -> list[Figure]:
    """Compare what plans for 1 to 200 workers say with when the scheduler ends, on a clock of the model's."""
    import wrenla as wl
    from wrenla.evaluate.evaluation import made
    from wrenla.planning.cost_model import ExecutorModel
    from wrenla.planning.plan import make_plan

    B = wl.random((20_000_000, COLUMNS), tile=(TILE, COLUMNS))
    found = []
    for workers in (1, 2, 20, 200):
        model = ExecutorModel(workers, 60e9, 2e9, 1e-4, 60.0, 4 << 30)
        plan, _ = make_plan([made((B.T @ B)._node)], model)
        note = (
            f"{plan.seconds:.3g} s planned; {plan.work / workers:.3g} s of work for each worker, "
            f"longest chain {plan.critical_path:.3g} s"
        )
        work = f"B.T @ B, B 20,000,000 × {COLUMNS}, {workers} workers"
        ratio = plan.seconds / simulate(plan, Engine().filled(plan.model)).seconds
        found.append(Figure(work, "planned seconds / scheduled", ratio, 0.9, 0.99, note=note))
    return found


# contestants


def one_worker(rows: int, columns: int) -> dict[str, Any]:
    return _wrenla(rows, columns, 1)


def two_workers(rows: int, columns: int) -> dict[str, Any]:
    return _wrenla(rows, columns, 2)


def _wrenla(rows: int, columns: int, workers: int) -> dict[str, Any]:
    import wrenla as wl

    with scratch() as folder, wl.LocalExecutor(workers) as executor:
        B = wl.from_function(block, (rows, columns), (TILE, columns)).save(f"{folder}/B", executor)
        watch = Watch()
        warm_memory(1 << 30)
        start, before = time.perf_counter(), time.process_time()
        G = (B.T @ B).compute(executor, callbacks=[watch])
        seconds, cpu = time.perf_counter() - start, time.process_time() - before
        return {
            "seconds": seconds,
            "cpu": cpu,
            "residual": _residual(G, rows, columns),
            "busy": 1 - watch.profile(seconds)["idle"] / (workers * watch.totals["seconds"]),
            "profile": watch.profile(seconds),
        }


def numpy_gram(rows: int, columns: int) -> dict[str, Any]:
    B = np.empty((rows, columns))
    for start in range(0, rows, TILE):
        part = np.arange(start, min(start + TILE, rows))
        B[part] = block(part, np.arange(columns))
    warm_memory(1 << 30)
    began, before = time.perf_counter(), time.process_time()
    G = B.T @ B
    seconds, cpu = time.perf_counter() - began, time.process_time() - before
    return {"seconds": seconds, "cpu": cpu, "residual": _residual(G, rows, columns)}


def numpy_one_thread(rows: int, columns: int) -> dict[str, Any]:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return numpy_gram(rows, columns)


def _residual(G: Array, rows: int, columns: int) -> float:
    """Return the error of Bᵀ B on a random vector over its bound 2 u √(n+2) ‖B‖² ‖v‖ (Frobenius)."""
    v = np.random.default_rng(1).standard_normal(columns)
    product, square = np.zeros(columns), 0.0
    for start in range(0, rows, TILE):
        part = block(np.arange(start, min(start + TILE, rows)), np.arange(columns))
        product += part.T @ (part @ v)
        square += float(np.linalg.norm(part) ** 2)
    gap = np.linalg.norm(G @ v - product)
    return float(gap / (2 * U * np.sqrt(rows + 2) * square * np.linalg.norm(v)))


def main() -> None:
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    print(json.dumps({**globals()[name](**arguments), "core": core()}))


if __name__ == "__main__":
    main()
