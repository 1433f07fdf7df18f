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
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from benchmarks.contestants import U, factor_residual, kms, product_residual, scratch
from benchmarks.figure import Figure
from benchmarks.long_sum import COLUMNS, ROWS, TILE, block
from benchmarks.long_sum import _residual as sum_residual
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
        works = _Works(executor, folder).all()
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


class _Works:
    """Works on one executor; each method plans one, so that it can be run."""

    def __init__(self, executor: Any, folder: str) -> None:
        self.executor, self.folder = executor, folder
        self._matrices: dict[tuple[str, int], Any] = {}

    def all(self) -> dict[str, Callable[[], Run]]:
        """Return all works, by name."""
        found: dict[str, Callable[[], Run]] = {}
        for n in (SMALL, MIDDLE, LARGE):
            found[f"Cholesky n = {n}, folder to folder"] = partial(self.cholesky, n, True)
            if n != LARGE:
                found[f"Cholesky n = {n}, folder to memory"] = partial(self.cholesky, n, False)
                found[f"matmul n = {n}, folder to folder"] = partial(self.matmul, n)
                found[f"general solve n = {n}"] = partial(self.general, n)
        found[f"LU n = {MIDDLE}, folder to folder"] = self.lu
        found[f"B.T @ B, B {ROWS:,} × {COLUMNS}"] = self.long_sum
        for n, precision in ((SMALL, "full"), (LARGE, "full"), (LARGE, "mixed")):
            found[f"SPD solve n = {n}, {precision} precision"] = partial(self.definite, n, precision)
        return found

    def cholesky(self, n: int, saved: bool) -> Run:
        import wrenla as wl

        def residual(L: Any) -> float:
            L = L if isinstance(L, wl.BigMatrix) else wl.from_array(L)
            return factor_residual(lambda v: self._now(L @ v), lambda v: self._now(L.T @ v), n)

        L = self._kms(n).cholesky()
        return self._saved(L, residual) if saved else self.computed(L, residual)

    def matmul(self, n: int) -> Run:
        A = self._kms(n)
        return self._saved(A @ A, lambda C: product_residual(lambda v: self._now(C @ v), n))

    def lu(self) -> Run:
        import wrenla as wl

        B = self._random(MIDDLE)
        factor = wl.linalg.lu_factor(B)

        def residual(_: Any) -> float:
            _, L, up = factor.unpacked()
            moved = _exchanged(self._now(B @ np.ones(MIDDLE)), factor.piv(self.executor))
            again = self._now(L @ (up @ np.ones(MIDDLE)))
            norm = float(self._now(B.norm(np.inf)))
            return float(np.abs(again - moved).max() / (U * norm * MIDDLE) / 30)

        return self._saved(factor.lu, residual)

    def long_sum(self) -> Run:
        import wrenla as wl

        if ("tall", ROWS) not in self._matrices:
            made = wl.from_function(block, (ROWS, COLUMNS), (TILE, COLUMNS))
            self._matrices["tall", ROWS] = made.save(f"{self.folder}/tall", self.executor)
        B = self._matrices["tall", ROWS]
        return self.computed(B.T @ B, lambda G: sum_residual(G, ROWS, COLUMNS))

    def general(self, n: int) -> Run:
        B, b = self._random(n), np.ones(n)

        def residual(x: Any) -> float:
            return _solve_residual(self._now(B @ x), x, b, float(self._now(B.norm(np.inf))))

        return self.computed(B.solve(b, "gen"), residual)

    def definite(self, n: int, precision: str) -> Run:
        b = np.random.default_rng(2).standard_normal(n)
        return self.computed(self._kms(n).solve(b, precision=precision), lambda x: solve_residual(x, b) / 16)

    def computed(self, x: Any, residual: Callable[[Any], float]) -> Run:
        """Return a work from data to an array."""
        import wrenla as wl

        plan = wl.plan(x, executor=self.executor)
        return Run(plan, lambda listen: x.compute(self.executor, callbacks=[listen]), residual)

    def _saved(self, x: Any, residual: Callable[[Any], float]) -> Run:
        """Return a work from data to a folder, with the plan that its run makes."""
        from wrenla.evaluate.evaluation import model_of, plan_of

        place = f"{self.folder}/out"
        shutil.rmtree(place, ignore_errors=True)  # here: to remove what was there is none of the work
        plan = plan_of([x._node], model_of(self.executor, [x._node]), saved=True)
        return Run(plan, lambda listen: x.save(place, self.executor, callbacks=[listen]), residual)

    def _now(self, x: Any) -> Any:
        return x.compute(self.executor)

    def _kms(self, n: int) -> Any:
        import wrenla as wl

        if ("kms", n) not in self._matrices:
            made = wl.from_function(kms, (n, n), structure="pos")
            self._matrices["kms", n] = made.persist(self.executor)
        return self._matrices["kms", n]

    def _random(self, n: int) -> Any:
        import wrenla as wl

        if ("random", n) not in self._matrices:
            self._matrices["random", n] = wl.random((n, n), seed=1).persist(self.executor)
        return self._matrices["random", n]


def _kriging(rounds: int) -> Measured:
    """Run the demo: a matrix that a function makes, more than the memory allowed."""
    import wrenla as wl
    from wrenla.demo.kriging import NUGGET, load_terrain, matern

    terrain, n, tile = load_terrain(), 12_000, 750
    known = np.random.default_rng(0).permutation(terrain.heights.size)[:n]
    points, y = terrain.places[known], terrain.heights.ravel()[known]
    A = wl.from_function(matern(points, points), (n, n), tile, structure="pos").shift(NUGGET)
    found = Measured()
    for number in range(rounds):
        with scratch() as folder, wl.LocalExecutor(allowed_mem="256 MiB") as executor:
            x = A.solve(y - y.mean())
            work = partial(_Works(executor, folder).computed, x, partial(_by_report, x))
            _round(found, work, check=not number)
    return found


def _by_report(x: Any, _: Any) -> float:
    return float(x.report.hpl / 16)
