"""Choice of the cut of sums: by simulation for small graphs, by two bounds for large ones."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from wrenla.planning.cost_model import ExecutorModel
from wrenla.planning.cut import Cut
from wrenla.planning.graph import Floats, Graph, TileGraph
from wrenla_handler.tiles.task import Task

__all__ = ["choose_cut", "simulate"]

_SIMULATE_TILES = 300
"""Tiles up to which trying every candidate task by task takes less than the plan itself may."""

_EQUAL = 1.005
"""Less than this is below what the model can tell: of equals the plan with fewer intermediates wins."""


def choose_cut(tiles: TileGraph, model: ExecutorModel) -> Cut:
    """Return the cut with the shortest expected run; between equals the one with fewest tasks.

    By the nominal model: who resumes a run must find the same cut, however the machine was measured since.
    """
    model = model.nominal
    longest = max((len(during) for during in tiles.during), default=0)
    cap = max(1, min(longest, _longest_group(tiles, model)))
    if longest <= 1:
        return Cut()
    candidates = list(_candidates(longest, cap))
    if len(tiles.tasks) <= _SIMULATE_TILES:
        times = _times(tiles, candidates, model)
    else:
        times = _TileCosts(tiles, model).bounds(candidates, model.workers)
    best = min(times) * _EQUAL
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


def _times(tiles: TileGraph, cuts: Sequence[Cut], model: ExecutorModel) -> list[float]:
    """Return the seconds of a run with each cut, or infinity where it is longer than another for sure.

    A run lasts as long as all of its work takes if no worker ever waits. Each cut of a sum adds to the work:
    a tile is written and read once more.
    """
    extra = np.array([model.seconds(0, 2 * tiles.arrays[task.out.array].nbytes) for task in tiles.tasks])
    times: list[float] = []
    work, shortest = 0.0, math.inf  # without extras
    for cut in cuts:
        more = float(extra @ np.array([len(pieces) - 1 for pieces in tiles.bounds(cut)], np.float64))
        if (work + more) / model.workers > shortest * _EQUAL:
            times.append(math.inf)
            continue
        graph = Graph(tiles, cut, model)
        work = (float(graph.seconds.sum()) - more) * (1 - 1e-9)  # it is rounded
        times.append(simulate(graph, model.workers)[0])
        shortest = min(shortest, times[-1])
    return times


def _longest_group(tiles: TileGraph, model: ExecutorModel) -> int:
    """Return how many terms fit into the seconds that one task may last, beside its base and its finish."""
    kinds: dict[object, Task] = {}
    for task in tiles.tasks:
        kind = task.out.array, task.shape, task.finish.kernel
        if task.terms and (kind not in kinds or kinds[kind].length < task.length):
            kinds[kind] = task
    fitting = math.inf
    for task in kinds.values():
        flops, nbytes, *_ = tiles.term_costs(task)
        end_flops, base_bytes, arg_bytes, *_ = tiles.end_costs(task)
        out = tiles.arrays[task.out.array].nbytes
        term = float((flops / model.flops_per_second + nbytes / model.bytes_per_second).max())
        rest = model.seconds(end_flops, max(base_bytes, out) + arg_bytes + out)
        if term > 0:
            fitting = min(fitting, (model.longest_task - rest) / term)
    return max(1, int(min(fitting, 1 << 30)))


def simulate(graph: Graph, workers: int, together: int = 1, latency: float = 0.0) -> tuple[float, int]:
    """Play a run through in which a free worker takes the most urgent of the ready tasks.

    Parameters
    ----------
    graph : Graph
    workers : int
    together : int
        Tasks that a worker takes at once, at most: no more than leave some to the other free ones.
    latency : float
        Seconds of a task that those which are taken together have in common.

    Returns
    -------
    seconds : float
    taken : int
        How often workers took tasks.
    """
    path: list[float] = graph.urgency.tolist()
    seconds: list[float] = graph.seconds.tolist()
    missing = np.diff(graph.first_need).astype(np.int64)
    first, followers = graph.followers
    ready: list[tuple[float, int]] = [(-path[p], p) for p in np.flatnonzero(missing == 0).tolist()]
    heapq.heapify(ready)
    running: list[tuple[float, list[int]]] = []
    now, taken = 0.0, 0
    while ready or running:
        while ready and len(running) < workers:
            size = min(together, -(-len(ready) // (workers - len(running))))
            batch = [heapq.heappop(ready)[1] for _ in range(size)]
            ends = now + sum(seconds[p] for p in batch) - (size - 1) * latency
            heapq.heappush(running, (ends, batch))
            taken += 1
        now, ended = heapq.heappop(running)
        for done in ended:
            for q in followers[first[done] : first[done + 1]].tolist():
                missing[q] -= 1
                if missing[q] == 0:
                    heapq.heappush(ready, (-path[q], q))
    return now, taken


class _TileCosts:
    """Costs of each tile's sum, to judge cuts without listing their tasks."""

    def __init__(self, tiles: TileGraph, model: ExecutorModel) -> None:
        self.tiles, self.model = tiles, model
        self.term = np.empty(len(tiles.tasks))
        self.end = np.empty(len(tiles.tasks))
        self.extra = np.empty(len(tiles.tasks))
        for number, task in enumerate(tiles.tasks):
            flops, nbytes, *_ = tiles.term_costs(task)
            end_flops, base_bytes, arg_bytes, *_ = tiles.end_costs(task)
            out = tiles.arrays[task.out.array].nbytes
            spent = float(flops.sum()) / model.flops_per_second + float(nbytes.sum()) / model.bytes_per_second
            self.term[number] = spent / len(flops) if len(flops) else 0.0
            self.end[number] = model.seconds(end_flops, base_bytes + arg_bytes + out)
            self.extra[number] = model.seconds(0, 2 * out)

    def bounds(self, cuts: Sequence[Cut], workers: int) -> list[float]:
        """Return lower bounds of a run's seconds with each cut: work shared evenly, and the longest path."""
        tiles = self.tiles
        # one place more than there are tiles: −1, which stands for data, finds the zeros at its end
        done = np.zeros((len(tiles.tasks) + 1, len(cuts)))
        total = np.zeros(len(cuts))
        for number, task in enumerate(tiles.tasks):
            during = tiles.during[number]
            pieces, terms, groups = _groups(tuple(cuts), len(during), bool(task.finish.kernel))
            term, extra, end = self.term[number], self.extra[number], self.end[number]
            spent = len(during) * term + (pieces - 1) * extra + end
            total += spent
            base = tiles.base[number]
            latest = (done[base].max(axis=0) if base else 0.0) + spent
            if during.size:
                # from the moment a term can be applied, its group and all later ones have to run
                left = terms * term + groups * extra + end
                begin = np.maximum.reduce([done[column] for column in during.T])
                latest = np.maximum(latest, (begin + left).max(axis=0))
            for p in tiles.args[number]:
                latest = np.maximum(latest, done[p] + end)
            done[number] = latest
        return [*map(float, np.maximum(total / workers, done.max(axis=0)))]


@lru_cache(maxsize=1024)
def _groups(cuts: tuple[Cut, ...], length: int, finishes: bool) -> tuple[Floats, Floats, Floats]:
    """Return how each cut divides a sum.

    Returns
    -------
    pieces : (cuts,)
        Number of groups.
    terms, groups : (length, cuts)
        For each term how many terms and groups run from its own group on.
    """
    pieces = np.empty(len(cuts))
    terms, groups = np.empty((length, len(cuts))), np.empty((length, len(cuts)))
    for k, cut in enumerate(cuts):
        bounds = cut.bounds(length, finishes)
        pieces[k] = len(bounds)
        for number, (a, b) in enumerate(bounds):
            terms[a:b, k] = length - a
            groups[a:b, k] = len(bounds) - 1 - number
    return pieces, terms, groups
