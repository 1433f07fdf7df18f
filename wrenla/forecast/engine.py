"""Engine: the workers that a simulated run has, with what slows real ones down."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

from wrenla.executors.base import Executor
from wrenla.planning.cost_model import ExecutorModel

__all__ = ["Engine"]

_SHARES = ("overlap", "failures", "stragglers")
_RATES = ("flops_per_second", "bytes_per_second", "total_bytes_per_second")
_LIMITS = ("workers_per_second", "requests_per_second")
_SECONDS = ("latency", "cold_start", "dispatch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Engine of a simulated run: workers, speeds, limits, failures. What is not named is that of the plan.

    Parameters
    ----------
    workers : int, optional
        Tasks that run at the same time, at most.
    flops_per_second : float, optional
        Of one worker in large products, float64; the other kernels are as much faster or slower.
    bytes_per_second : float, optional
        Between one worker and the store, each way.
    total_bytes_per_second : float
        Between all workers together and the store.
    latency : float, optional
        Seconds that each task costs beside its work.
    dispatch : float
        Seconds of the driver for each task; it sends one after the other.
    overlap : float
        Share of the reading that goes on while kernels run, as far as they last long enough; 0 to 1.
    cold_start : float
        Seconds before a worker's first task.
    initial_workers : int, optional
        Workers that can start at once; all of them if None.
    workers_per_second : float
        Further workers that can start in a second, as a service lets a function grow.
    requests_per_second : float
        Requests that the store takes: more have to wait.
    failures : float
        Probability that an attempt at a task fails, at any moment of it; it is tried again, as in a real run.
    stragglers, straggler_factor : float
        Probability that a task is slow, and how many times as long it takes then.
    dollars_per_second : float, optional
        Of a worker while it works.
    seed : int
        Of what happens by chance: the same engine always gives the same simulation.

    Raises
    ------
    ValueError
        A number makes no sense.

    Examples
    --------
    A function on AWS Lambda with 10,240 MB, as many as the service starts:

    >>> Engine(workers=3000, flops_per_second=100e9, bytes_per_second=75e6, latency=0.03,
    ...        cold_start=2.0, initial_workers=1000, workers_per_second=100).workers
    3000
    """

    workers: int | None = None
    flops_per_second: float | None = None
    bytes_per_second: float | None = None
    total_bytes_per_second: float = math.inf
    latency: float | None = None
    dispatch: float = 0.0
    overlap: float = 0.0
    cold_start: float = 0.0
    initial_workers: int | None = None
    workers_per_second: float = math.inf
    requests_per_second: float = math.inf
    failures: float = 0.0
    stragglers: float = 0.0
    straggler_factor: float = 4.0
    dollars_per_second: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("workers", "initial_workers"):
            if (count := getattr(self, name)) is not None and (count != int(count) or count < 1):
                raise ValueError(f"{name}={count!r}: a whole number, at least 1")
        for name in (*_RATES, *_LIMITS):
            if (rate := getattr(self, name)) is not None and not rate > 0:
                raise ValueError(f"{name}={rate!r}: a number above 0")
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)!r}: a share, from 0 to 1")
        for name in (*_SECONDS, "dollars_per_second"):
            if (seconds := getattr(self, name)) is not None and not 0 <= seconds < math.inf:
                raise ValueError(f"{name}={seconds!r}: a number that is not negative")
        if not self.straggler_factor >= 1:
            raise ValueError(f"straggler_factor={self.straggler_factor!r}: at least 1")
        if self.failures == 1:
            raise ValueError("failures=1: no task would ever end")

    def filled(self, model: ExecutorModel) -> Engine:
        """Return the engine with the numbers of a model where it has none of its own."""
        mine = {field.name for field in fields(self) if getattr(self, field.name) is None}
        known: dict[str, Any] = {field.name: getattr(model, field.name) for field in fields(model)}
        found = replace(self, **{name: known[name] for name in mine & known.keys()})
        return found if found.initial_workers else replace(found, initial_workers=found.workers)


def engine_of(engine: Any) -> Engine:
    """Return the engine that stands for an argument: an `Engine`, an executor, None for the plan's own."""
    if engine is None:
        return Engine()
    if isinstance(engine, Engine):
        return engine
    if isinstance(engine, Executor):
        model = engine.model
        names = ("workers", "flops_per_second", "bytes_per_second", "latency", "dollars_per_second")
        return Engine(**{name: getattr(model, name) for name in names})
    raise TypeError(f"engine={engine!r}: a wl.Engine(…), an executor, or None for the plan's own")
