"""Choice of the cut of sums: by simulation for small graphs, by two bounds for large ones."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from wrenla.planning.cost_model import ExecutorModel
from wrenla.planning.cut import Cut
from wrenla.planning.graph import Floats, Graph, TileGraph
from wrenla_handler.tiles.task import Task

__all__ = ["choose_cut", "simulate"]

_SIMULATE_TILES = 300
"""Tiles up to which trying every candidate task by task takes less than the plan itself may."""


def choose_cut(tiles: TileGraph, model: ExecutorModel) -> Cut:
    """Return the cut with the shortest expected run; between equals the one with fewest tasks."""
    longest = max((len(during) for during in tiles.during), default=0)
    cap = max(1, min(longest, _longest_group(tiles, model)))
    if longest <= 1:
        return Cut()
    candidates = list(_candidates(longest, cap))
    if len(tiles.tasks) <= _SIMULATE_TILES:
        times = [simulate(Graph(tiles, cut, model), model.workers) for cut in candidates]
    else:
        costs = _TileCosts(tiles, model)
        times = [costs.bound(cut, model.workers) for cut in candidates]
    # a fraction of a percent is below what the model can tell: prefer the plan with fewer intermediates
    best = min(times) * 1.005
    return next(cut for cut, time in zip(candidates, times, strict=True) if time <= best)


def _candidates(longest: int, cap: int) -> Iterator[Cut]:
    """Yield cuts from few to many tasks."""
    if cap >= longest:
        yield Cut()
    sizes = [size for size in (32, 16, 8, 4, 2, 1) if size <= cap and size < longest]
    if cap < longest and cap not in sizes:
        yield Cut("fixed", cap)
    for size in sizes:
        yield Cut("fixed", size)
    if cap >= 2:
        yield Cut("doubling", min(16, cap))


def _longest_group(tiles: TileGraph, model: ExecutorModel) -> int:
    """Return how many terms fit into the seconds that one task may last, beside its base and its finish."""
    kinds: dict[object, Task] = {}
    for task in tiles.tasks:
        kind = task.out.array, task.shape, task.finish.kernel
        if task.terms and (kind not in kinds or kinds[kind].length < task.length):
            kinds[kind] = task
    fitting = math.inf
    for task in kinds.values():
        flops, nbytes, _ = tiles.term_costs(task)
        end_flops, base_bytes, arg_bytes, *_ = tiles.end_costs(task)
        out = tiles.arrays[task.out.array].nbytes
        term = float((flops / model.flops_per_second + nbytes / model.bytes_per_second).max())
        rest = model.seconds(end_flops, max(base_bytes, out) + arg_bytes + out)
        if term > 0:
            fitting = min(fitting, (model.longest_task - rest) / term)
    return max(1, int(min(fitting, 1 << 30)))


def simulate(graph: Graph, workers: int) -> float:
    """Return the seconds of a run in which a free worker takes the most urgent of the ready tasks."""
    path: list[float] = graph.urgency.tolist()
    seconds: list[float] = graph.seconds.tolist()
    missing = np.diff(graph.first_need).astype(np.int64)
    first, followers = graph.followers()
    ready: list[tuple[float, int]] = [(-path[p], p) for p in np.flatnonzero(missing == 0).tolist()]
    heapq.heapify(ready)
    running: list[tuple[float, int]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < workers:
            _, p = heapq.heappop(ready)
            heapq.heappush(running, (now + seconds[p], p))
        now, done = heapq.heappop(running)
        for q in followers[first[done] : first[done + 1]].tolist():
            missing[q] -= 1
            if missing[q] == 0:
                heapq.heappush(ready, (-path[q], q))
    return now


class _TileCosts:
    """Costs of each tile's sum, to judge a cut without listing its tasks."""

    def __init__(self, tiles: TileGraph, model: ExecutorModel) -> None:
        self.tiles, self.model = tiles, model
        self.term: list[float] = []
        self.end: list[float] = []
        self.extra: list[float] = []
        for task in tiles.tasks:
            flops, nbytes, _ = tiles.term_costs(task)
            end_flops, base_bytes, arg_bytes, *_ = tiles.end_costs(task)
            out = tiles.arrays[task.out.array].nbytes
            spent = flops / model.flops_per_second + nbytes / model.bytes_per_second
            self.term.append(float(spent.mean()) if len(spent) else 0.0)
            self.end.append(model.seconds(end_flops, base_bytes + arg_bytes + out))
            self.extra.append(model.seconds(0, 2 * out))

    def bound(self, cut: Cut, workers: int) -> float:
        """Return a lower bound of the run's seconds: all work shared evenly, and the longest path."""
        # one place more than there are tiles: −1, which stands for data, finds the zero at its end
        done = np.zeros(len(self.tiles.tasks) + 1)
        total = 0.0
        for number, task in enumerate(self.tiles.tasks):
            during = self.tiles.during[number]
            pieces, terms, groups = _groups(cut, len(during), bool(task.finish.kernel))
            term, extra, end = self.term[number], self.extra[number], self.end[number]
            spent = len(during) * term + (pieces - 1) * extra + end
            total += spent
            latest = max((done[p] for p in self.tiles.base[number]), default=0.0) + spent
            if during.size:
                # from the moment a term can be applied, its group and all later ones have to run
                left = terms * term + groups * extra + end
                latest = max(latest, float((done[during].max(axis=1) + left).max()))
            for p in self.tiles.args[number]:
                latest = max(latest, done[p] + end)
            done[number] = latest
        return max(total / workers, float(done.max()))


@lru_cache(maxsize=4096)
def _groups(cut: Cut, length: int, finishes: bool) -> tuple[int, Floats, Floats]:
    """Return the number of groups, and for each term how many terms and groups run from its own group on."""
    bounds = cut.bounds(length, finishes)
    terms, groups = np.empty(length), np.empty(length)
    for number, (a, b) in enumerate(bounds):
        terms[a:b] = length - a
        groups[a:b] = len(bounds) - 1 - number
    return len(bounds), terms, groups
