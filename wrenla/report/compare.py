"""Comparison of runs with their plans, in time, bytes, dollars and memory; and of tasks with each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wrenla.report.runs import Floats, Ints, Run, Runs
from wrenla.units import format_bytes, format_dollars, format_time

__all__ = [
    "STRAGGLES",
    "Kernel",
    "Row",
    "comparison",
    "kernels",
    "peak_memory",
    "stragglers",
]

STRAGGLES = 3.0
"""So many times as long as the median of its kernel, for its work, takes a task that is a straggler."""

_LEAST, _PART, _FEWEST = 0.05, 0.01, 5
"""Seconds, and part of the whole time, below which no task straggles; tasks of a kernel below which a median
says nothing."""


@dataclass(frozen=True, slots=True)
class Row:
    """One quantity as it was predicted, allowed and measured; None where there is no such number.

    `note` says what `predicted` is, if it is no expected value; `unlimited` why nothing is `allowed`.
    """

    name: str
    predicted: float | None
    allowed: float | None
    measured: float | None
    form: Callable[[float], str]
    note: str = ""
    unlimited: str = "–"

    @property
    def ratio(self) -> float | None:
        """Measured over predicted."""
        if self.measured is None or not self.predicted:
            return None
        return self.measured / self.predicted


def comparison(runs: Runs) -> list[Row]:
    """Return what the plans of all runs said, together, beside what was measured."""
    plans = [run.plan for run in runs.runs]
    tasks, made = runs.tasks, [run for run in runs.runs if run.totals]
    resumed = any(run.todo < run.tasks for run in runs.runs)
    read, asked = (_expected(plans, name) for name in ("bytes_read", "requests"))
    notes = ["at most"] if read == _sum(plans, "bytes_read") else []
    most = ", ".join([*notes, *(["for all tiles"] if resumed else [])])
    dollars = _sum([plan.get("dollars", {}) for plan in plans], "compute") or None
    paid = sum(float(run.calls.get("dollars", 0.0)) for run in runs.runs) or None
    requests = sum(run.totals["gets"] + run.totals["puts"] for run in made)
    rows = [
        Row(
            "time",
            _sum(plans, "seconds"),
            None,
            runs.seconds or None,  # with what lies between runs, which the plan has no time for
            format_time,
            "for all tiles" if resumed else "",
        ),
        Row("bytes read", read, None, int(tasks.bytes_read.sum()), format_bytes, most),
        Row(
            "bytes written", _sum(plans, "bytes_written"), None, int(tasks.bytes_written.sum()), format_bytes
        ),
        Row("requests", asked, None, requests if made else None, "{:,.0f}".format, most),
        Row(
            *("dollars", dollars, None, paid, format_dollars),
            "for workers; requests to the store come on top",
            unlimited="no limit for a run",  # max_dollars is for all that an executor does
        ),
    ]
    peak = peak_memory(runs)
    if peak is not None:
        rows.append(peak)
    return [row for row in rows if not row.predicted is row.measured is None]


def _expected(plans: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """Sum up what is expected; what earlier versions wrote is the most that can be."""
    return _sum([{name: plan.get(f"{name}_expected", plan[name])} for plan in plans if name in plan], name)


def _sum(plans: Sequence[Mapping[str, Any]], name: str) -> float | None:
    found = [plan[name] for plan in plans if name in plan]
    return sum(found) if found else None


def peak_memory(runs: Runs) -> Row | None:
    """Return the memory of the worker process that came nearest to what it was allowed.

    Measured is what the process had beyond that before its first task; where threads of the driver's
    process are the workers, beyond that when its run began. Allowed and projected are those of one worker,
    times the threads of the process, which share it; on Lambda one invocation is a worker. Tiles that the
    plan has in memory are counted as projected.
    """
    tasks, found = runs.tasks, []
    for run_number, run in enumerate(runs.runs):
        mine = (tasks.run == run_number) & (tasks.memory > 0)
        allowed, projected = run.plan.get("bytes_allowed", 0), run.plan.get("bytes_projected", 0)
        process = runs.processes[tasks.lane[mine]]
        grown = tasks.memory[mine] - (run.memory or tasks.memory_before[mine])
        peak = np.full(len(runs.processes), -1)
        np.maximum.at(peak, process, grown)
        lanes = np.bincount(runs.processes[np.unique(tasks.lane[mine])], minlength=1)
        room = run.plan.get("bytes_in_memory", 0)
        for number in np.flatnonzero(peak >= 0).tolist():
            used, threads = int(peak[number]), int(lanes[number])
            share = _threads_that_share(run, threads)
            found.append(
                Row(
                    "peak memory of a worker process",
                    projected * threads + room or None,
                    allowed * share or None,
                    used,
                    format_bytes,
                    "at least: tiles at hand come on top",
                )
            )
    return max(found, key=_part, default=None)


def _threads_that_share(run: Run, threads: int) -> int:
    if run.executor.startswith("LambdaExecutor"):
        return 1
    return max(threads, run.workers) if run.memory else threads


def _part(row: Row) -> float:
    assert row.measured is not None
    return row.measured / row.allowed if row.allowed else row.measured


@dataclass(frozen=True, slots=True)
class Kernel:
    """Tasks of one kernel: their number, seconds of the median and of all, flops by the second."""

    name: str
    tasks: int
    median: float
    longest: float
    seconds: float
    flops_per_second: float


def kernels(runs: Runs) -> list[Kernel]:
    """Return what the tasks of each kernel took, the most first."""
    tasks, found = runs.tasks, []
    for number, name in enumerate(runs.kernels):
        mine = tasks.kernel == number
        seconds, computing = tasks.seconds[mine], float(tasks.compute[mine].sum())
        flops = float(tasks.flops[mine].sum()) / computing if computing else 0.0
        median, longest = float(np.median(seconds)), float(seconds.max())
        found.append(Kernel(name, int(mine.sum()), median, longest, float(seconds.sum()), flops))
    return sorted(found, key=lambda kernel: -kernel.seconds)


def usual_seconds(runs: Runs) -> Floats:
    """Return the usual seconds of each task: the median of its kernel, more where it has more operations."""
    tasks = runs.tasks
    usual = np.zeros(len(tasks))
    for number in range(len(runs.kernels)):
        mine = tasks.kernel == number
        flops = tasks.flops[mine]
        middle = float(np.median(flops))
        more = np.maximum(1.0, flops / middle) if middle else np.ones_like(flops)
        usual[mine] = np.median(tasks.seconds[mine] / more) * more if mine.sum() >= _FEWEST else np.inf
    return usual


def stragglers(runs: Runs) -> Ints:
    """Return the tasks that took `STRAGGLES` times as long as is usual for their kernel, the worst first."""
    usual, seconds = usual_seconds(runs), runs.tasks.seconds
    found = np.flatnonzero((seconds > STRAGGLES * usual) & (seconds > max(_LEAST, _PART * runs.seconds)))
    worst: Ints = found[np.argsort(usual[found] - seconds[found], kind="stable")]
    return worst
