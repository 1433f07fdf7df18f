"""Records made up for tests: each line says what it needs, everything else is plain."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wrenla.report.record import VERSION
from wrenla.report.runs import Runs

NOON = 1_700_000_000.0

Event = dict[str, Any]


@dataclass
class MadeUp:
    """A record that grows event by event, in seconds from its beginning."""

    events: list[Event] = field(default_factory=list)

    def begin(
        self,
        at: float = 0.0,
        *,
        workers: int = 2,
        tasks: int = 100,
        todo: int | None = None,
        memory: int = 50 << 20,
        executor: str = "LocalExecutor(workers=2)",
        plan: Mapping[str, Any] | None = None,
    ) -> MadeUp:
        """Begin a run."""
        usual = {
            "title": "plan for 100 × 100, float64",
            "seconds": 10.0,
            "bytes_read": 1000,
            "bytes_written": 500,
            "requests": 20,
            "dollars": {"compute": 0.0, "total": 0.1},
            "bytes_allowed": 100 << 20,
            "bytes_projected": 10 << 20,
            "bytes_in_memory": 0,
            "waves": 3,
        }
        return self._add(
            "RunStarted",
            at,
            run="r",
            tasks=tasks,
            todo=tasks if todo is None else todo,
            waves=3,
            flops=1e9,
            workers=workers,
            executor=executor,
            memory=memory,
            plan=usual | dict(plan or {}),
        )

    def task(
        self,
        number: int,
        start: float,
        *,
        read: float = 0.0,
        make: float = 0.0,
        compute: float = 1.0,
        write: float = 0.0,
        submitted: float | None = None,
        finished: float | None = None,
        kernel: str = "gemm",
        worker: str = "thread 1",
        after: int = -1,
        attempt: int = 1,
        clock: float = 0.0,
        flops: float = 1e9,
        memory: int = 60 << 20,
        before: int = 50 << 20,
        wave: int = 0,
        tile: Sequence[int] = (0, 0, 0),
    ) -> MadeUp:
        """Have a task submitted, run and finished; by a worker whose clock is wrong by some seconds."""
        submitted = start if submitted is None else submitted
        self._add(
            "TaskStarted",
            submitted,
            task=number,
            kernel=kernel,
            attempt=attempt,
            wave=wave,
            after=after,
            tile=list(tile),
        )
        report = {
            "read_seconds": read,
            "compute_seconds": make + compute,
            "make_seconds": make,
            "write_seconds": write,
            "bytes_read": 100,
            "bytes_written": 50,
            "gets": 2,
            "cache_hits": 0,
            "committed": True,
            "pivots": [0.0, 0.0],
            "worker": worker,
            "began": NOON + start + clock,
            "memory": memory,
            "memory_before": before,
        }
        end = start + read + make + compute + write if finished is None else finished
        return self._add(
            "TaskFinished", end, task=number, kernel=kernel, flops=flops, report=report, kind="Report"
        )

    def fault(self, number: int, start: float, end: float, error: str, *, attempt: int = 1) -> MadeUp:
        """Have an attempt submitted, and fail."""
        self._add(
            "TaskStarted",
            start,
            task=number,
            kernel="gemm",
            attempt=attempt,
            wave=0,
            after=-1,
            tile=[0, 0, 0],
        )
        return self._add("TaskRetried", end, task=number, attempt=attempt, error=error, delay=0.1)

    def wave(self, number: int, at: float) -> MadeUp:
        """Begin a wave."""
        return self._add("WaveStarted", at, wave=number, tasks=1)

    def end(
        self, at: float, *, error: str = "", task: int = -1, seconds: float | None = None, **calls: float
    ) -> MadeUp:
        """End the run."""
        begun = [event["time"] for event in self.events if event["event"] == "RunStarted"][-1]
        took = NOON + at - begun if seconds is None else seconds
        totals = {"tasks": 1, "gets": 10, "puts": 5, "bytes_read": 100, "bytes_written": 50}
        return self._add(
            "RunFinished", at, run="r", seconds=took, error=error, totals=totals, calls=calls, task=task
        )

    def over(self, at: float, error: str = "") -> MadeUp:
        """End the record."""
        return self._add("RecordFinished", at, error=error)

    def handed_out(self, number: int, at: float) -> MadeUp:
        """Have a task submitted, that does not end."""
        tile = {"tile": [number, 0, 0], "after": -1, "wave": 0}
        return self._add("TaskStarted", at, task=number, kernel="gemm", attempt=1, **tile)

    def solved(self, at: float, **report: Any) -> MadeUp:
        """Tell how a system was solved."""
        usual = {
            "method": "LU with partial pivoting",
            "why": "no structure is known",
            "shape": [100, 100],
            "columns": 1,
            "dtype": "float64",
            "backward_error": 1e-16,
            "hpl": 0.004,
            "lapack": 9.3,
            "growth": 23.4,
            "rcond": 2.5e-7,
            "refinements": 0,
            "fallbacks": [],
        }
        return self._add("Solved", at, report=usual | report, kind="SolveReport")

    def _add(self, name: str, at: float, **fields: Any) -> MadeUp:
        self.events.append({"event": name, "time": NOON + at, **fields})
        return self

    def runs(self) -> Runs:
        """Return what a report is made of."""
        return Runs.of(sorted(self.events, key=lambda event: event["time"]))

    def write(self, path: Path) -> Path:
        """Write it as a file."""
        head = {"event": "wrenla record", "version": VERSION, "time": NOON}
        events = sorted(self.events, key=lambda event: event["time"])
        path.write_text("".join(json.dumps(line) + "\n" for line in [head, *events]))
        return path
