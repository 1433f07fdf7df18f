"""Shares of the workers' time, the chain of tasks that waited for each other, and rates over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from wrenla.report.runs import Floats, Ints, Runs

__all__ = [
    "BUSY",
    "SHARES",
    "Chain",
    "Rates",
    "chains",
    "idle_with_nothing_ready",
    "rates",
    "shares",
    "slots",
]

BUSY = ("computing", "making", "reading", "writing")
"""What the time of tasks goes to, by their reports."""

SHARES = (
    *BUSY,
    *("unfinished", "failures", "starting", "handing over", "waiting", "driver"),
)
"""Everything that the time of workers goes to. The first are `BUSY`, the others
that of workers without a task: see `shares`."""


def shares(runs: Runs) -> dict[str, float]:
    """Return the part of all workers' time that each of `SHARES` has; together 1, or all 0 without runs.

    A worker without a task is counted, at each moment, as:

    unfinished
        As many workers as there are tasks handed out that do not end before their run does.
    failures
        Of the others, while some task is to be tried again, as many as there are such tasks. What calls have
        waited because the service refused them, and what attempts took that came to nothing, is taken from
        the next two: no event tells when that was.
    starting
        Of the others, as many as there are tasks handed out that are the first of their thread, if the
        executor has counted cold starts.
    handing over
        Of the others, as many as there are tasks whose inputs are there and that have not begun, or that
        have ended and the driver does not know yet.
    driver
        All others, if there is no task at all: after the last one, and between two runs.
    waiting
        All others: for tasks that others compute.
    """
    tasks, seconds = runs.tasks, dict.fromkeys(SHARES, 0.0)
    seconds["computing"] = float(tasks.compute.sum())
    seconds["making"] = float(tasks.make.sum())
    seconds["reading"] = float(tasks.read.sum())
    seconds["writing"] = float(tasks.write.sum())
    again, firsts = tasks.attempts > 1, _firsts_of_lanes(runs)
    before, latest = 0.0, 1
    for number, run in enumerate(runs.runs):
        seconds["driver"] += max(0.0, run.start - before) * latest
        mine = tasks.run == number
        failed = [fault for fault in runs.faults if fault.run == number]
        finished = set(tasks.task[mine].tolist())
        lost = [fault for fault in failed if fault.attempt == 1 and fault.task not in finished]
        out = [
            start
            for its, task, start in runs.unfinished
            if its == number and task not in {fault.task for fault in lost}
        ]
        failing = (
            np.concatenate([tasks.first[mine & again], [fault.start for fault in lost]]),
            np.concatenate([tasks.start[mine & again], [run.end] * len(lost)]),
        )
        cold = mine & firsts if run.calls.get("cold_starts") else np.zeros_like(mine)
        once = mine & ~again
        times, (busy, open_, tried, starting, queued, landing) = _counts(
            [
                (tasks.start[mine], tasks.end[mine]),
                (np.array(out, float), np.full(len(out), run.end)),
                failing,
                (tasks.first[cold & once], tasks.start[cold & once]),
                (tasks.ready[once], tasks.start[once]),
                (tasks.end[mine], tasks.finished[mine]),
            ],
            run.start,
            run.end,
        )
        workers = latest = max(run.workers, _most_at_once(busy, tasks.lane[mine]))
        length, free = np.diff(times), workers - busy
        nothing = (busy + open_ + tried + queued + landing) == 0
        spent: dict[str, float] = {}
        for name, wanted in (
            ("driver", np.where(nothing, workers, 0)),
            ("unfinished", open_),
            ("failures", tried),
            ("starting", starting),
            ("handing over", np.maximum(queued - starting, 0) + landing),
            ("waiting", np.full_like(free, workers)),
        ):
            taken = np.minimum(free, wanted)
            free = free - taken
            spent[name] = float((taken * length).sum())
        backoff = float(run.calls.get("backoff", 0.0)) + float(run.calls.get("lost", 0.0))
        for name in ("handing over", "starting"):
            refused = min(backoff, spent[name])
            backoff -= refused
            spent[name] -= refused
            spent["failures"] += refused
        for name, part in spent.items():
            seconds[name] += part
        before = run.end
    total = sum(seconds.values())
    return {name: each / total if total else 0.0 for name, each in seconds.items()}


def slots(runs: Runs) -> int:
    """Return how many tasks could run at the same time: workers, or more where one runs several at a time."""
    _, (busy,) = _counts([(runs.tasks.start, runs.tasks.end)], 0.0, runs.seconds)
    return max(1, *(run.workers for run in runs.runs), _most_at_once(busy, runs.tasks.lane))


def _most_at_once(busy: Ints, lanes: Ints) -> int:
    """Return how many tasks ran at once: one a thread, though clocks let them overlap a little."""
    return min(int(busy.max(initial=0)), len(np.unique(lanes)))


def _firsts_of_lanes(runs: Runs) -> npt.NDArray[np.bool_]:
    tasks = runs.tasks
    first = np.zeros(len(tasks), bool)
    order = np.argsort(tasks.start, kind="stable")
    _, places = np.unique(tasks.lane[order], return_index=True)
    first[order[places]] = True
    return first


def _counts(spans: Sequence[tuple[Floats, Floats]], start: float, end: float) -> tuple[Floats, list[Ints]]:
    """Return moments, and between each two of them how many of each kind of spans there are."""
    times = np.unique(
        np.clip(np.concatenate([[start, end], *(each for both in spans for each in both)]), start, end)
    )
    found = []
    for begins, ends in spans:
        change = np.zeros(len(times), np.int64)
        np.add.at(change, np.searchsorted(times, np.clip(begins, start, end)), 1)
        np.add.at(change, np.searchsorted(times, np.clip(ends, start, end)), -1)
        found.append(np.cumsum(change)[:-1])
    return times, found


@dataclass(frozen=True, slots=True)
class Chain:
    """Tasks of a run of which each let the next one begin: the measured critical path.

    `tasks` are entries of `Runs.tasks`, the first first. `seconds` is from the beginning of the first to the
    end of the last, `busy` that of the tasks themselves; the rest is between them.
    """

    tasks: tuple[int, ...]
    seconds: float
    busy: float


def chains(runs: Runs) -> list[Chain]:
    """Return the critical path of each run: of all chains the one with most work, which bounds any run.

    It need not end with the last task: that may be a short one for which no worker was free before.
    """
    tasks, found = runs.tasks, []
    after, own = tasks.after.tolist(), tasks.seconds.tolist()
    work = own.copy()
    for entry, before in enumerate(after):  # in the order of their ends: the one before has its sum
        work[entry] += work[before] if before >= 0 else 0.0
    together = np.array(work)
    for number in range(len(runs.runs)):
        mine = np.flatnonzero(tasks.run == number)
        entry = int(mine[np.argmax(together[mine])]) if len(mine) else -1
        path = []
        while entry >= 0:
            path.append(entry)
            entry = after[entry]
        path.reverse()
        busy = float(tasks.seconds[path].sum())
        length = float(tasks.end[path[-1]] - tasks.start[path[0]]) if path else 0.0
        found.append(Chain(tuple(path), max(length, busy), busy))
    return found


@dataclass(frozen=True, slots=True)
class Rates:
    """Means over equal parts of the time axis, whose edges are `edges`.

    Those of `BUSY` are numbers of workers; `flops`, `bytes_read` and `bytes_written` are by the second.
    """

    edges: Floats
    computing: Floats
    making: Floats
    reading: Floats
    writing: Floats
    flops: Floats
    bytes_read: Floats
    bytes_written: Floats


def rates(runs: Runs, parts: int = 240) -> Rates:
    """Return means over so many parts of the time axis."""
    tasks = runs.tasks
    edges = np.linspace(0.0, max(runs.seconds, 1e-9), parts + 1)
    read = tasks.start + tasks.read
    made = read + tasks.make
    computed = made + tasks.compute
    return Rates(
        edges,
        _mean(edges, made, computed, None),
        _mean(edges, read, made, None),
        _mean(edges, tasks.start, read, None),
        _mean(edges, computed, tasks.end, None),
        _mean(edges, made, computed, tasks.flops),
        _mean(edges, tasks.start, read, tasks.bytes_read.astype(float)),
        _mean(edges, computed, tasks.end, tasks.bytes_written.astype(float)),
    )


def _mean(edges: Floats, begins: Floats, ends: Floats, amounts: Floats | None) -> Floats:
    """Return the mean, over each part, of what spans amount to; of their number if that is None."""
    length = np.maximum(ends - begins, 1e-9)
    rate = np.ones_like(length) if amounts is None else amounts / length
    total = _until(edges, begins, rate) - _until(edges, begins + length, rate)
    means: Floats = np.maximum(0.0, np.diff(total) / np.diff(edges))
    means[means < 1e-9 * means.max(initial=0.0)] = 0.0  # what rounding has left of differences
    return means


def _until(edges: Floats, begins: Floats, rate: Floats) -> Floats:
    """Return, for each edge e, the sum of rate · (e − begin) over all that begin before it."""
    order = np.argsort(begins)
    begins, rate = begins[order], rate[order]
    sums = np.concatenate([[0.0], np.cumsum(rate)])
    moments = np.concatenate([[0.0], np.cumsum(rate * begins)])
    count = np.searchsorted(begins, edges)
    found: Floats = edges * sums[count] - moments[count]
    return found


def idle_with_nothing_ready(runs: Runs, begins: Floats, ends: Floats) -> Floats:
    """Return for how long, in each span, no task was ready that had not begun: whoever idles then waits."""
    tasks = runs.tasks
    if not len(tasks):
        return np.zeros(len(begins))
    times, (queued,) = _counts([(tasks.ready, tasks.start)], 0.0, max(runs.seconds, 1e-9))
    quiet = np.concatenate([[0.0], np.cumsum(np.diff(times) * (queued == 0))])
    found: Floats = np.interp(ends, times, quiet) - np.interp(begins, times, quiet)
    return found
