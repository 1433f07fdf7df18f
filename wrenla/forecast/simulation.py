"""Simulation: the outcome of a simulated run, with its time, dollars and use of workers."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from wrenla.forecast.engine import Engine
from wrenla.planning.costs import cost_in_words, costs
from wrenla.planning.plan import Plan
from wrenla.planning.precedence import Floats, Longs
from wrenla.units import format_bytes, format_dollars, format_time

__all__ = ["Simulation"]


@dataclass(frozen=True, eq=False, repr=False)
class Simulation:
    """Simulation of a run on a described engine.

    Attributes
    ----------
    plan : Plan
    engine : Engine
    seconds : float
        From when the first worker is asked for, cold start and all, to the last task's end. By rates that
        were measured, with the beginning of a run, and with bringing its results here, as the plan's.
    begin, end : float64 arrays, (attempts,)
        Seconds at which attempts at tasks began and ended, after the first worker was asked for.
    task : int64 array, (attempts,)
        Task of each attempt.
    fetched : float
        Part of the tiles read that the store was asked for: workers had the others at hand.
    retries, cold_starts, invocations : int
        Attempts that failed; workers that had to start; how often tasks, short ones together, went to one.
    peak_bytes_stored : float
        Largest volume of tiles in the store at a time; those that nobody reads any more are removed.
    byte_seconds : float
        Their bytes, summed over time.
    """

    plan: Plan
    engine: Engine
    seconds: float
    begin: Floats
    end: Floats
    task: Longs
    fetched: float
    retries: int
    cold_starts: int
    invocations: int
    peak_bytes_stored: float
    byte_seconds: float

    @property
    def work(self) -> float:
        """Seconds that workers were busy, summed over them."""
        return float((self.end - self.begin).sum())

    @property
    def parallelism(self) -> float:
        """Workers that were busy, on average."""
        return self.work / self.seconds if self.seconds else 0.0

    @property
    def workers(self) -> int:
        """Workers that were busy at the same time, at most."""
        return int(self.busy(self.begin).max(initial=0))

    @property
    def bytes_read(self) -> int:
        """Bytes read from the store by all attempts, as expected."""
        return round(self.fetched * float(self.plan.graph.bytes_read[self.task].sum()))

    @property
    def gets(self) -> int:
        """Tiles that all attempts asked the store for, as expected."""
        return round(self.fetched * float(self.plan.graph.gets[self.task].sum()))

    @property
    def bytes_written(self) -> int:
        """Bytes written to the store by all attempts, at most."""
        return int(self.plan.graph.bytes_written[self.task].sum())

    def busy(self, times: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return how many workers are busy at some times, in seconds."""
        times = np.asarray(times, np.float64)
        begun = np.searchsorted(np.sort(self.begin), times, "right")
        found: npt.NDArray[np.int64] = begun - np.searchsorted(np.sort(self.end), times, "right")
        return found

    @cached_property
    def cost(self) -> dict[str, float]:
        """Dollars for compute, cold starts included, requests and storage, and in all."""
        return costs(
            self.engine.model(self.plan.model),
            busy=self.work + self.cold_starts * (self.engine.cold_start or 0.0),
            invocations=self.invocations,
            puts=len(self.task) + self.plan.uploaded[0],
            gets=self.gets,
            byte_seconds=self.byte_seconds,
        )

    @property
    def dollars(self) -> float:
        """Dollars in all."""
        return self.cost["total"]

    def summary(self) -> dict[str, Any]:
        """Return the numbers as a dict of what JSON knows."""
        kernels = Counter[str]()
        names = self.plan.kernel_of_tasks
        for task, seconds in zip(self.task.tolist(), (self.end - self.begin).tolist(), strict=True):
            kernels[names[task]] += seconds
        return {
            "seconds": self.seconds,
            "dollars": self.cost,
            "workers": self.workers,
            "parallelism": self.parallelism,
            "seconds_of_work": self.work,
            "seconds_by_kernel": dict(kernels.most_common()),
            "bytes_read": self.bytes_read,
            "bytes_written": self.bytes_written,
            "peak_bytes_stored": self.peak_bytes_stored,
            "attempts": len(self.task),
            "retries": self.retries,
            "invocations": self.invocations,
            "cold_starts": self.cold_starts,
        }

    def to_json(self, indent: int | None = None) -> str:
        """Return `summary` as JSON."""
        return json.dumps(self.summary(), indent=indent)

    def __str__(self) -> str:
        most = self.seconds * self.workers
        share = f", busy {self.work / most:.0%} of the time" if most else ""
        rows = [
            ("time", f"{format_time(self.seconds)}, {self.parallelism:,.1f} workers busy on average"),
            ("workers", f"{self.workers:,} at most{share}"),
            ("attempts", f"{len(self.task):,}, {self.retries:,} of them failed"),
            ("moved", f"{format_bytes(self.bytes_read)} read, {format_bytes(self.bytes_written)} written"),
            ("stored", f"{format_bytes(int(self.peak_bytes_stored))} at a time, at most"),
        ]
        if self.engine.cold_start:
            rows.insert(2, ("cold starts", f"{self.cold_starts:,} of {self.engine.cold_start:g} s"))
        if self.dollars:
            rows.append(("cost", f"about {format_dollars(self.dollars)} ({cost_in_words(self.cost)})"))
        header = f"simulated run of {self.plan.tasks:,} tasks on {self.engine.workers:,} workers"
        return "\n".join([header, *(f"  {name:<12}{text}" for name, text in rows)])

    __repr__ = __str__
