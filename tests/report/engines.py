"""A report of a real run, for the tests of each executor."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import wrenla as wl
from tests.report.test_html import Parsed, columns
from wrenla.executors.base import Executor
from wrenla.report.compare import peak_memory
from wrenla.report.record import read_record
from wrenla.report.runs import Runs

N, TILE = 1536, 768

MiB = 1 << 20


def check_report(executor: Executor, folder: Path, most: int = 200 * MiB) -> None:
    """Compute a product, and look at what its report says; a task of it holds three tiles of 4.5 MiB."""
    A = wl.from_function(lambda i, j: np.cos(np.add.outer(i, 2.0 * j)), (N, N), tile=TILE)
    (A @ A).norm().compute(executor, report=folder / "report.html", record=folder / "run.jsonl")
    events = read_record(folder / "run.jsonl")
    runs = Runs.of(events)
    finished = [event for event in events if event["event"] == "TaskFinished"]
    bars = columns(Parsed((folder / "report.html").read_text()).data)
    assert sorted(bars["task"]) == sorted(event["task"] for event in finished)
    assert len(runs.tasks) == len(finished) > 4
    assert (runs.tasks.first <= runs.tasks.start).all()
    assert (runs.tasks.end <= runs.tasks.finished + 1e-6).all()
    assert runs.shifted < 0.05  # the clock is the same
    assert "" not in runs.lanes
    peak = peak_memory(runs)
    assert peak is not None
    assert peak.measured is not None
    assert peak.allowed is not None
    assert 3 * TILE * TILE * 8 <= peak.measured <= most, "a task's tiles, and not much more"
    assert peak.measured < peak.allowed
