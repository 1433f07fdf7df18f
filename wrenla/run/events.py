"""Events of a run, as values: progress bars, reports and tests read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from wrenla.planning.plan import Plan
from wrenla_handler.tiles.worker import Report

__all__ = [
    "Event",
    "Listener",
    "RunFinished",
    "RunStarted",
    "Solved",
    "TaskFinished",
    "TaskRetried",
    "TaskStarted",
    "Totals",
    "WaveFinished",
    "WaveStarted",
    "described",
]


@dataclass(slots=True)
class Totals:
    """Sums over the tasks of a run; seconds are those of all workers together, see `Report`."""

    tasks: int = 0
    retries: int = 0
    flops: float = 0.0
    seconds: float = 0.0
    read_seconds: float = 0.0
    compute_seconds: float = 0.0
    make_seconds: float = 0.0
    write_seconds: float = 0.0
    bytes_read: int = 0
    bytes_written: int = 0
    gets: int = 0
    puts: int = 0
    cache_hits: int = 0

    def add(self, report: Report, flops: float) -> None:
        """Count one finished task."""
        self.tasks += 1
        self.flops += flops
        self.read_seconds += report.read_seconds
        self.compute_seconds += report.compute_seconds
        self.make_seconds += report.make_seconds
        self.write_seconds += report.write_seconds
        self.bytes_read += report.bytes_read
        self.bytes_written += report.bytes_written
        self.gets += report.gets
        self.puts += report.committed
        self.cache_hits += report.cache_hits


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run begins: `todo` of `tasks` tasks are left to do, since tiles of others are there already.

    `tasks` are those that the results need: the plan may have more. `executor` is its repr. `memory` is that
    of this process in bytes, if its threads are the workers.
    """

    run: str
    tasks: int
    todo: int
    waves: int
    flops: float
    workers: int
    time: float
    plan: Plan | None = None
    executor: str = ""
    memory: int = 0


@dataclass(frozen=True, slots=True)
class WaveStarted:
    """The first task of a wave was submitted (`schedule="waves"` only)."""

    wave: int
    tasks: int
    time: float


@dataclass(frozen=True, slots=True)
class WaveFinished:
    """The last task of a wave is done (`schedule="waves"` only)."""

    wave: int
    time: float


@dataclass(frozen=True, slots=True)
class TaskStarted:
    """A task was handed to the executor.

    `after` is the task whose end has let it begin, −1 if it waited for none; `tile` is the row and the column
    of its tile, and, of a part of a sum, how many products are in it (else 0).
    """

    task: int
    kernel: str
    attempt: int
    time: float
    wave: int = 0
    after: int = -1
    tile: tuple[int, int, int] = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class TaskFinished:
    """A task's tile is there."""

    task: int
    kernel: str
    flops: float
    report: Report
    time: float


@dataclass(frozen=True, slots=True)
class TaskRetried:
    """A task failed in a way that may not last; it is tried again after `delay` seconds."""

    task: int
    attempt: int
    error: str
    delay: float
    time: float


@dataclass(frozen=True, slots=True)
class RunFinished:
    """A run ended: `error` is empty if it succeeded, else as `described`; `task` is the one that failed.

    `calls` counts what the executor's calls have come to meanwhile, by the names of `Stats`; only what is not
    zero.
    """

    run: str
    seconds: float
    error: str
    totals: Totals = field(default_factory=Totals)
    time: float = 0.0
    calls: Mapping[str, float] = field(default_factory=dict)
    task: int = -1


@dataclass(frozen=True, slots=True)
class Solved:
    """A system has been solved: the numerical report of its solution."""

    report: Any
    time: float


Event: TypeAlias = (
    RunStarted | WaveStarted | WaveFinished | TaskStarted | TaskFinished | TaskRetried | RunFinished | Solved
)
Listener: TypeAlias = Callable[[Event], None]


def described(error: BaseException) -> str:
    """Return type, message and notes of an error, as they stand at the end of a traceback.

    Examples
    --------
    >>> error = OSError("no data")
    >>> error.add_note("while making rows 0:10")
    >>> described(error)
    'OSError: no data\\nwhile making rows 0:10'
    """
    name, message = type(error).__name__, str(error)
    first = f"{name}: {message}" if message else name
    return "\n".join([first, *map(str, getattr(error, "__notes__", ()))])
