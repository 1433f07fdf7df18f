"""Runs of a record as columns: one entry a task, on one time axis, by the clock of the driver."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from wrenla.errors import RecordError
from wrenla.report.record import events_of

__all__ = ["Fault", "Floats", "Ints", "Run", "Runs", "Tasks", "labels", "runs_of"]

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]

_THREAD = re.compile(r"(?:, |^)thread (\d+)$")


@dataclass(frozen=True, slots=True)
class Run:
    """One run: when it began and ended in seconds of the axis, its plan, its end, and its counts.

    `error` is empty if it succeeded, and None if the record ends before the run; `failed` is the task that
    has failed, in words. `memory` is what the driver's process had at its beginning if its threads are the
    workers, else 0.
    """

    start: float
    end: float
    name: str = ""
    executor: str = ""
    tasks: int = 0
    todo: int = 0
    workers: int = 1
    memory: int = 0
    waves: bool = False
    plan: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    error: str | None = None
    failed: str = ""
    totals: Mapping[str, float] = field(default_factory=dict)
    calls: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fault:
    """An attempt that failed: from when to when, of which task, why, and the seconds until the next one."""

    run: int
    task: int
    kernel: str
    attempt: int
    start: float
    time: float
    error: str
    delay: float


@dataclass(frozen=True, slots=True)
class Tasks:
    """Finished tasks of all runs, in the order of their ends. One entry each; seconds count from the start.

    Attributes
    ----------
    run, task, kernel, lane, wave, attempts : arrays of int
        `kernel` and `lane` are numbers of names; a lane is a thread of a worker.
    row, col, part : arrays of int
        Place of the tile, and of a part of a sum how many products are in it.
    after : array of int
        The entry whose end has let it begin; −1: it waited for none.
    first, ready, start, end, finished : arrays of float
        Its first attempt was handed out; its inputs were there; the worker's beginning and end; the driver
        knew. `first` ≤ `start` ≤ `end` ≤ `finished`.
    read, make, compute, write : arrays of float
        Seconds of the worker; together `end` − `start`. `make` is what went to tiles of no store.
    flops : array of float
    bytes_read, bytes_written, gets, memory, memory_before : arrays of int
    """

    run: Ints
    task: Ints
    kernel: Ints
    lane: Ints
    wave: Ints
    attempts: Ints
    row: Ints
    col: Ints
    part: Ints
    after: Ints
    first: Floats
    ready: Floats
    start: Floats
    end: Floats
    finished: Floats
    read: Floats
    make: Floats
    compute: Floats
    write: Floats
    flops: Floats
    bytes_read: Ints
    bytes_written: Ints
    gets: Ints
    memory: Ints
    memory_before: Ints

    def __len__(self) -> int:
        return len(self.run)

    @property
    def seconds(self) -> Floats:
        """Seconds from beginning to end."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Runs:
    """All runs of a record.

    Attributes
    ----------
    began : float
        Time of day at which the axis begins, in seconds since 1970.
    seconds : float
        Length of the axis: to the end of the last run.
    runs : tuple of Run
    tasks : Tasks
    kernels, lanes : tuples of str
        What the numbers in `tasks` stand for. A lane is named as its worker names it.
    processes : array of int
        The process of each lane, by a number.
    faults : tuple of Fault
    solutions : tuple of mapping
        Numerical reports.
    unfinished : tuple of (run, task, start)
        Tasks that were handed out and did not end before their run did.
    error : str or None
        What has ended the evaluation, "" if it succeeded, None if the record has no end.
    shifted : float
        Seconds by which a worker's clock was off, at most.
    """

    began: float
    seconds: float
    runs: tuple[Run, ...]
    tasks: Tasks
    kernels: tuple[str, ...]
    lanes: tuple[str, ...]
    processes: Ints
    faults: tuple[Fault, ...]
    solutions: tuple[Mapping[str, Any], ...]
    unfinished: tuple[tuple[int, int, float], ...]
    error: str | None
    shifted: float

    @property
    def failure(self) -> str:
        """The error that ended it, "" if none did: attempts that a procedure gave up have errors, too."""
        last = self.runs[-1].error if self.runs else ""
        return (last or "") if self.error is None else self.error

    @property
    def complete(self) -> bool:
        """Whether all runs have ended, and no error has ended them."""
        return not self.failure and all(run.error is not None for run in self.runs)

    @classmethod
    def of(cls, events: Iterable[Mapping[str, Any]]) -> Runs:
        """Return the runs of a record's events, as `read_record` has them."""
        reading = _Reading()
        for event in events:
            reading.take(event)
        return reading.runs_found()


def runs_of(record: str | os.PathLike[str]) -> Runs:
    """Return the runs of a record; RecordError if it is none, or if an event in it lacks something."""
    try:
        return Runs.of(events_of(record))
    except RecordError:
        raise
    except (LookupError, AttributeError, ArithmeticError, TypeError, ValueError) as error:
        raise RecordError(
            f"{os.fspath(record)}: damaged: an event in it is not whole ({type(error).__name__}: {error}); "
            "record the run again"
        ) from error


def labels(runs: Runs) -> list[str]:
    """Return short names of lanes: worker 1, 2, …; of processes with several threads 1.1, 1.2, …"""
    found: list[str] = []
    counts = np.bincount(runs.processes, minlength=1)
    if len(counts) == 1:
        return [f"worker {number}" for number in range(1, len(runs.lanes) + 1)]
    seen: dict[int, int] = {}
    for process in runs.processes.tolist():
        seen[process] = seen.get(process, 0) + 1
        found.append(f"worker {process + 1}" + (f".{seen[process]}" if counts[process] > 1 else ""))
    return found


@dataclass(slots=True)
class _Started:
    time: float
    first: float
    attempts: int
    event: Mapping[str, Any]


class _Reading:
    """A record being read, event by event."""

    def __init__(self) -> None:
        self.began = self.now = 0.0
        self.runs: list[dict[str, Any]] = []
        self.waves: dict[tuple[int, int], float] = {}
        self.open: dict[int, _Started] = {}
        self.done: list[tuple[Any, ...]] = []
        self.place: dict[tuple[int, int], int] = {}
        self.faults: list[Fault] = []
        self.solutions: list[Mapping[str, Any]] = []
        self.kernels: dict[str, int] = {}
        self.workers: dict[str, int] = {}
        self.unfinished: list[tuple[int, int, float]] = []
        self.error: str | None = None

    def take(self, event: Mapping[str, Any]) -> None:
        """Take in one event."""
        if event["event"] != "RecordFinished":  # which is no work
            self.now = max(self.now, float(event["time"]))  # clocks are set back at times
        now = self.now
        run = len(self.runs) - 1
        match event["event"]:
            case "RunStarted":
                self._begin(event, now - self.began)
            case "WaveStarted" if run >= 0:
                self.waves[run, event["wave"]] = now - self.began
                self.runs[run]["waves"] = True
            case "TaskStarted" if run >= 0:
                before = self.open.get(event["task"])
                first = now - self.began if before is None else before.first
                self.open[event["task"]] = _Started(now - self.began, first, event["attempt"], event)
            case "TaskFinished" if run >= 0 and event["task"] in self.open:
                self._finish(run, event, self.open.pop(event["task"]), now - self.began)
            case "TaskRetried" if run >= 0 and event["task"] in self.open:
                start = self.open[event["task"]]
                self.faults.append(
                    Fault(
                        run,
                        event["task"],
                        start.event["kernel"],
                        event["attempt"],
                        start.time,
                        now - self.began,
                        event["error"],
                        event["delay"],
                    )
                )
            case "RunFinished" if run >= 0:
                self.runs[run] |= {name: event[name] for name in ("seconds", "error", "totals", "calls")}
                if failed := self.open.get(event.get("task", -1)):
                    self.runs[run]["failed"] = _in_words(failed.event)
                self._end(now - self.began)
            case "Solved":
                self.solutions.append(event["report"])
            case "RecordFinished":
                self.error = event["error"]
                if run >= 0 and (known := self.runs[run].get("error")) and self.error.startswith(known):
                    self.runs[run]["error"] = self.error  # with what was noted since: how to resume

    def _begin(self, event: Mapping[str, Any], now: float) -> None:
        self._end(now)
        if not self.runs:  # what came before, as the plan, is no time of workers
            self.began, now = self.now, 0.0
        names = ("executor", "tasks", "todo", "workers", "memory")
        run = {name: event[name] for name in names if name in event}
        self.runs.append(run | {"name": event["run"], "plan": event.get("plan") or {}, "start": now})

    def _end(self, now: float) -> None:
        if self.runs and "end" not in self.runs[-1]:
            self.runs[-1]["end"] = now
            if self.runs[-1].get("error") != "":  # what had begun when a run fails is nobody's any more
                number = len(self.runs) - 1
                self.unfinished += [(number, task, begun.time) for task, begun in self.open.items()]
            self.open.clear()

    def _finish(self, run: int, event: Mapping[str, Any], start: _Started, now: float) -> None:
        report, begun = event["report"], start.event
        kernel = self.kernels.setdefault(event["kernel"], len(self.kernels))
        worker = self.workers.setdefault(report.get("worker") or "worker", len(self.workers))
        after = self.place.get((run, begun.get("after", -1)), -1)
        began = report.get("began") or 0.0
        row, col, part = begun.get("tile", (0, 0, 0))
        self.place[run, event["task"]] = len(self.done)
        making = report.get("make_seconds", 0.0)
        spent = (
            *(report["read_seconds"], making),
            *(report["compute_seconds"] - making, report["write_seconds"]),
        )
        self.done.append(
            (
                *(run, event["task"], kernel, worker, begun.get("wave", 0), start.attempts),
                *(row, col, part, after, start.first, start.time),
                *(began - self.began if began else now - sum(spent), now, *spent, event["flops"]),
                *(report["bytes_read"], report["bytes_written"], report["gets"]),
                *(report.get("memory", 0), report.get("memory_before", 0)),
            )
        )

    def runs_found(self) -> Runs:
        """Return all that was read."""
        end = self.now - self.began
        self._end(end)
        runs = tuple(Run(**run) for run in self.runs)
        table = np.array(self.done, float).reshape(len(self.done), 24).T
        ints = table[[*range(10)]].astype(np.int64)
        first, submitted, began, finished = table[10:14]
        parts, flops = np.maximum(0.0, table[14:18]), table[18]
        names = list(self.workers)
        order, processes = _sorted_lanes(names)
        ints[3] = order[ints[3]] if len(names) else ints[3]
        spent = parts.sum(axis=0)
        start, shifted = _by_the_drivers_clock(processes[ints[3]], submitted, began, spent, finished)
        scale = np.divide(finished - start, spent, out=np.ones_like(spent), where=spent > finished - start)
        parts = parts * scale
        after = ints[9]
        begun = np.array([run.start for run in runs] or [0.0])[ints[0]]
        ready = np.where(after >= 0, finished[after] if len(after) else 0.0, begun)
        waves = [self.waves.get(key, 0.0) for key in zip(ints[0].tolist(), ints[4].tolist(), strict=True)]
        ready = np.minimum(np.maximum(ready, waves), first)
        columns: list[Any] = [
            *ints,
            *(first, ready, start, start + parts.sum(axis=0), finished, *parts, flops),
            *table[19:].astype(np.int64),
        ]
        tasks = Tasks(**dict(zip(Tasks.__slots__, columns, strict=True)))
        lanes = [""] * len(names)
        for name, place in zip(names, order.tolist(), strict=True):
            lanes[place] = name
        ends = [run.end for run in runs]
        return Runs(
            self.began,
            max(ends, default=0.0),
            runs,
            tasks,
            tuple(self.kernels),
            tuple(lanes),
            processes,
            tuple(self.faults),
            tuple(self.solutions),
            tuple(self.unfinished),
            self.error,
            shifted,
        )


def _in_words(begun: Mapping[str, Any]) -> str:
    row, col, *_ = begun.get("tile", (0, 0))
    return f"{begun['kernel']} {begun['task']}, tile ({row}, {col})"


def _sorted_lanes(names: Sequence[str]) -> tuple[Ints, Ints]:
    """Return the place of each lane, those of a process together, and the process at each place."""
    parts = []
    for name in names:
        found = _THREAD.search(name)
        parts.append((name[: found.start()], int(found[1])) if found else (name, 0))
    by_process = {process: number for number, process in enumerate(dict.fromkeys(p for p, _ in parts))}
    ranked = sorted(range(len(names)), key=lambda n: (by_process[parts[n][0]], parts[n][1]))
    place = np.zeros(len(names), np.int64)
    place[ranked] = np.arange(len(names))
    return place, np.array([by_process[parts[n][0]] for n in ranked], np.int64)


def _by_the_drivers_clock(
    processes: Ints, submitted: Floats, began: Floats, spent: Floats, finished: Floats
) -> tuple[Floats, float]:
    """Return when tasks began by the clock of the driver, and how far another clock was off.

    A task cannot begin before it was handed out, nor end after the driver knew: from all tasks of a process
    follows by how much its clock may be off. The least correction is taken, and what does not fit then, as a
    clock was set meanwhile, is shifted alone.
    """
    count = int(processes.max(initial=-1)) + 1
    least, most = np.full(count, -np.inf), np.full(count, np.inf)
    np.maximum.at(least, processes, submitted - began)
    np.minimum.at(most, processes, finished - began - spent)
    shift = np.where(least > most, (least + most) / 2, np.minimum(np.maximum(0.0, least), most))
    start = began + shift[processes]
    off = float(np.abs(shift).max(initial=0.0))
    return np.clip(start, submitted, np.maximum(submitted, finished - spent)), off
