"""Expected seconds of plans beside measured ones, on threads of this machine.

Works run in this process in turn, round after round. The rates are measured anew, as by whoever uses a
machine for the first time, and nobody asks for memory before: a virtual machine's host has taken back most of
what was used seconds ago, in the measurement as in the runs.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from benchmarks.contestants import factor_residual, kms, product_residual, scratch
from benchmarks.figure import Figure
from benchmarks.long_sum import COLUMNS, ROWS, TILE, block
from benchmarks.long_sum import _residual as _sum_residual
from benchmarks.lu import _exchanged, _solve_residual
from benchmarks.solve import solve_residual

SMALL, MIDDLE, LARGE = 2000, 8192, 14336


class Run(NamedTuple):
    """A work: its plan, what runs it, and what returns the residual of its result, at most 1."""

    plan: Any
    go: Callable[[Callable[[Any], None]], Any]
    residual: Callable[[Any], float]


@dataclass
class Measured:
    """What a work has come to: expected, measured by the clock and by the processors, by kernel."""

    expected: float = 0.0
    work: float = 0.0
    seconds: list[float] = field(default_factory=list)
    processors: list[float] = field(default_factory=list)
    kernels: dict[str, tuple[float, float]] = field(default_factory=dict)

    def figure(self, name: str) -> Figure:
        measured, cpu = statistics.median(self.seconds), statistics.median(self.processors)
        note = (
            f"{self.expected:.3g} s expected, {measured:.3g} s measured: {self.expected / measured:.2f}; "
            f"work {self.work:.3g} s, processors {cpu:.3g} s: {self.work / cpu:.2f}"
        )
        off = abs(self.expected / measured - 1)
        return Figure(name, "|expected / measured − 1|", off, 0.25, 0.1, "", True, note)


def figures(rounds: int) -> list[Figure]:
    """Run all works."""
    import wrenla as wl

    found: dict[str, Measured] = defaultdict(Measured)
    with scratch() as folder, wl.LocalExecutor() as executor:
        print(executor.measured())
        works = {**_cholesky(executor, folder), **_others(executor, folder), **_solves(executor)}
        for number in range(rounds):
            for name, make in works.items():
                _round(found[name], make, check=not number)
    found["kriging n = 12000 within 256 MiB"] = _kriging(rounds)
    for name, measured in found.items():
        print(f"  {name}: {measured.figure(name).note}")
        for kernel, (expected, spent) in measured.kernels.items():
            if max(expected, spent) > 0.03 * measured.work:
                print(f"      {kernel}: {expected:.3g} s expected of all workers, {spent:.3g} s measured")
    return [measured.figure(name) for name, measured in found.items()]


def _round(measured: Measured, make: Callable[[], Run], check: bool) -> None:
    plan, go, residual = make()
    # by kernel: what the plan says, and what the workers report
    expected: dict[str, float] = defaultdict(float)
    for tile, last, seconds in zip(plan.graph.tile, plan.graph.last, plan.graph.seconds, strict=True):
        expected[plan.graph.tiles.tasks[tile].kernel if last else "gemm"] += float(seconds)
    spent: dict[str, float] = defaultdict(float)

    def listen(event: Any) -> None:
        if type(event).__name__ == "TaskFinished":
            report = event.report
            spent[event.kernel] += report.read_seconds + report.compute_seconds + report.write_seconds

    begun, before = time.perf_counter(), time.process_time()
    result = go(listen)
    measured.seconds.append(time.perf_counter() - begun)
    measured.processors.append(time.process_time() - before)
    measured.expected, measured.work = plan.seconds, plan.work
    measured.kernels = {name: (expected[name], spent[name]) for name in expected}
    if check:
        assert residual(result) <= 1  # NaN fails


def _saved(x: Any, executor: Any, folder: str, residual: Callable[[Any], float]) -> Run:
    """Return a work from data to a folder, with the plan that its run makes."""
    from wrenla.evaluate.evaluation import plan_of

    place = f"{folder}/out"
    shutil.rmtree(place, ignore_errors=True)  # here: to remove what was there is none of the work
    plan = plan_of([x._node], executor, saved=True)
    return Run(plan, lambda listen: x.save(place, executor, on_event=listen), residual)


def _computed(x: Any, executor: Any, residual: Callable[[Any], float]) -> Run:
    """Return a work from data to an array."""
    import wrenla as wl

    return Run(wl.plan(x, executor=executor), lambda listen: x.compute(executor, on_event=listen), residual)


def _kms(n: int, executor: Any) -> Any:
    import wrenla as wl

    return wl.from_function(kms, (n, n), structure="pos").persist(executor)


def _cholesky(executor: Any, folder: str) -> dict[str, Callable[[], Run]]:
    import wrenla as wl

    def residual(n: int) -> Callable[[Any], float]:
        def of(L: Any) -> float:
            L = L if isinstance(L, wl.BigMatrix) else wl.from_array(L)
            return factor_residual(
                lambda v: (L @ v).compute(executor), lambda v: (L.T @ v).compute(executor), n
            )

        return of

    works: dict[str, Callable[[], Run]] = {}
    for n in (SMALL, MIDDLE, LARGE):
        A = _kms(n, executor)
        works[f"Cholesky n = {n}, folder to folder"] = lambda A=A, n=n: _saved(
            A.cholesky(), executor, folder, residual(n)
        )
        if n != LARGE:
            works[f"Cholesky n = {n}, folder to memory"] = lambda A=A, n=n: _computed(
                A.cholesky(), executor, residual(n)
            )
    return works


def _others(executor: Any, folder: str) -> dict[str, Callable[[], Run]]:
    """Return products, LU and a long sum."""
    import wrenla as wl

    works: dict[str, Callable[[], Run]] = {}
    for n in (SMALL, MIDDLE):
        A = _kms(n, executor)
        works[f"matmul n = {n}, folder to folder"] = lambda A=A, n=n: _saved(
            A @ A,
            executor,
            folder,
            lambda C: product_residual(lambda v: (C @ v).compute(executor), n),
        )
    B = wl.random((MIDDLE, MIDDLE), seed=1).persist(executor)

    def lu() -> Run:
        factor = wl.linalg.lu_factor(B)

        def residual(_: Any) -> float:
            _, L, up = factor.unpacked()
            moved = _exchanged((B @ np.ones(MIDDLE)).compute(executor), factor.piv(executor))
            again = (L @ (up @ np.ones(MIDDLE))).compute(executor)
            norm = float(B.norm(np.inf).compute(executor))
            return float(np.abs(again - moved).max() / (2.0**-53 * norm * MIDDLE) / 30)

        return _saved(factor.lu, executor, folder, residual)

    works[f"LU n = {MIDDLE}, folder to folder"] = lu
    tall = wl.from_function(block, (ROWS, COLUMNS), (TILE, COLUMNS)).save(f"{folder}/tall", executor)

    works[f"B.T @ B, B {ROWS:,} × {COLUMNS}"] = lambda: _computed(
        tall.T @ tall, executor, lambda G: _sum_residual(G, ROWS, COLUMNS)
    )
    return works


def _solves(executor: Any) -> dict[str, Callable[[], Run]]:
    import wrenla as wl

    works: dict[str, Callable[[], Run]] = {}
    for n in (SMALL, MIDDLE):
        B = wl.random((n, n), seed=1).persist(executor)

        def general(B: Any = B, n: int = n) -> Run:
            def residual(x: Any) -> float:
                norm = float(B.norm(np.inf).compute(executor))
                return _solve_residual((B @ x).compute(executor), x, np.ones(n), norm)

            return _computed(B.solve(np.ones(n), "gen"), executor, residual)

        works[f"general solve n = {n}"] = general
    for n, precision in ((SMALL, "full"), (LARGE, "full"), (LARGE, "mixed")):
        A, b = _kms(n, executor), np.random.default_rng(2).standard_normal(n)
        works[f"SPD solve n = {n}, {precision} precision"] = lambda A=A, b=b, precision=precision: _computed(
            A.solve(b, precision=precision), executor, lambda x: solve_residual(x, b) / 16
        )
    return works


def _kriging(rounds: int) -> Measured:
    """The demo: a matrix that a function makes, more than the memory allowed."""
    import wrenla as wl
    from examples.kriging import NUGGET, load_terrain, matern

    terrain, n, tile = load_terrain(), 12_000, 750
    known = np.random.default_rng(0).permutation(terrain.heights.size)[:n]
    points, y = terrain.places[known], terrain.heights.ravel()[known]
    A = wl.from_function(matern(points, points), (n, n), tile, structure="pos").shift(NUGGET)
    found = Measured()
    for number in range(rounds):
        with scratch(), wl.LocalExecutor(allowed_mem="256 MiB") as executor:
            x = A.solve(y - y.mean())
            _round(found, lambda x=x: _computed(x, executor, lambda _: x.report.hpl / 16), check=not number)
    return found
