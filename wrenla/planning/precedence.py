"""Precedence of tasks: levels, followers and longest paths in a graph that is given by arrays.

Task `p` waits for ``needs[first[p]:first[p + 1]]``, all of which have smaller numbers. Each function works on
whole levels at a time: graphs have up to millions of edges.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "Ints", "Longs", "by_level", "followers_of", "gather", "levels_of", "longest_paths"]

Ints: TypeAlias = npt.NDArray[np.int32]
Longs: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]


def followers_of(first: Longs, needs: Ints) -> tuple[Longs, Ints]:
    """Return the reverse of `needs`: who waits for a task, as (first, tasks).

    Examples
    --------
    >>> first, tasks = followers_of(np.array([0, 0, 1, 3]), np.array([0, 0, 1], np.int32))
    >>> first.tolist(), tasks.tolist()
    ([0, 2, 3, 3], [1, 2, 2])
    """
    tasks = len(first) - 1
    waiting = np.repeat(np.arange(tasks, dtype=np.int32), np.diff(first))
    followers = waiting[np.argsort(needs, kind="stable")]
    counts = np.bincount(needs, minlength=tasks)
    return np.concatenate(([0], np.cumsum(counts))).astype(np.int64), followers


def gather(first: Longs, values: Ints, tasks: npt.NDArray[np.integer]) -> tuple[Ints, Longs]:
    """Return the values of some tasks, one after the other, and how many each has."""
    begin = first[tasks]
    counts = first[np.asarray(tasks) + 1] - begin
    ends = np.cumsum(counts)
    index = np.arange(ends[-1] if len(ends) else 0) + np.repeat(begin - (ends - counts), counts)
    return values[index], counts


def levels_of(first: Longs, needs: Ints, followers: tuple[Longs, Ints]) -> Ints:
    """Return the wave in which each task can run: one after the last of those that it waits for."""
    missing = np.diff(first)
    level = np.zeros(len(missing), np.int32)
    ready, wave = np.flatnonzero(missing == 0), 0
    while len(ready):
        level[ready] = wave
        freed, _ = gather(*followers, ready)
        np.subtract.at(missing, freed, 1)
        ready = np.unique(freed[missing[freed] == 0])
        wave += 1
    return level


def by_level(level: Ints) -> list[Longs]:
    """Return the tasks of each wave."""
    order = np.argsort(level, kind="stable")
    return np.split(order, np.searchsorted(level[order], np.arange(1, int(level.max(initial=0)) + 1)))


def longest_paths(first: Longs, needs: Ints, level: Ints, weights: Floats) -> Floats:
    """Return, for each task, the weight of the heaviest path from its start to the end of the run."""
    after = np.zeros(len(weights))  # the heaviest path from the end of each task
    for tasks in by_level(level)[::-1]:
        before, counts = gather(first, needs, tasks)
        np.maximum.at(after, before, np.repeat(after[tasks] + weights[tasks], counts))
    return after + weights
