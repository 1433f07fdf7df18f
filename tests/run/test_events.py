"""What a run tells its listeners, and that it adds up to the plan."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla.run.events import (
    Event,
    RunFinished,
    RunStarted,
    Solved,
    TaskFinished,
    TaskStarted,
    Totals,
    WaveFinished,
    WaveStarted,
)
from wrenla_handler.stores.memory import MemoryStore


@pytest.fixture(params=["memory", "folder"])
def stored(request: pytest.FixtureRequest, executor: wl.LocalExecutor, tmp_path: Path) -> Any:
    """A stored positive definite matrix of 6 × 6 ragged tiles."""
    rng = np.random.default_rng(0)
    G = rng.standard_normal((170, 170))
    url = f"memory://{tmp_path.name}/A" if request.param == "memory" else str(tmp_path / "A")
    yield wl.from_array(G @ G.T + 170 * np.eye(170), tile=30, structure="pos").save(url, executor)
    if request.param == "memory":
        MemoryStore.drop(tmp_path.name)


A_SIDE = 6

EXPRESSIONS = {
    "cholesky": lambda A: A.cholesky(),
    "solve": lambda A: A.solve(A[:, :40].rechunk(30)),
    "general solve": lambda A: A[:, ::-1].solve(A[:, :40].rechunk(30)),
    "product": lambda A: A @ A,
    "shifted": lambda A: A.shift(2.0).cholesky(),
}


@pytest.mark.parametrize(
    ("stored", "schedule"), [("memory", "dataflow"), ("folder", "waves")], indirect=["stored"]
)
@pytest.mark.parametrize("what", sorted(EXPRESSIONS))
def test_events_come_in_order_and_add_up_to_the_plan(
    what: str, schedule: str, stored: wl.BigMatrix, executor: wl.LocalExecutor, left: Any
) -> None:
    events: list[Event] = []
    expression = EXPRESSIONS[what](stored)
    expression.compute(executor, schedule=schedule, callbacks=[events.append])
    plan = wl.plan(expression, executor=executor)
    first, *between, last = (event for event in events if not isinstance(event, Solved))
    assert isinstance(first, RunStarted)
    assert (first.tasks, first.todo, first.waves) == (plan.tasks, plan.tasks, plan.waves)
    assert (first.workers, first.flops) == (2, plan.flops)
    assert isinstance(last, RunFinished)
    assert (last.run, last.error) == (first.run, "")

    state: dict[int, str] = {}
    for event in between:
        match event:
            case TaskStarted(p, kernel, attempt):
                assert attempt == 1
                assert event.wave == plan.graph.level[p]
                needs = plan.graph.needs_of(p).tolist()
                assert event.after in needs if needs else event.after == -1
                assert state.setdefault(p, kernel) == kernel
                assert all(state.get(q) == "done" for q in plan.graph.needs_of(p).tolist())
            case TaskFinished(p, kernel, flops, report):
                assert state[p] == kernel
                assert report.worker in ("thread 1", "thread 2")
                assert first.time <= report.began <= event.time
                assert report.memory > 1 << 20
                assert flops == plan.graph.flops[p]
                state[p] = "done"
    assert state == dict.fromkeys(range(plan.tasks), "done")
    kernels = Counter(event.kernel for event in between if isinstance(event, TaskFinished))
    assert kernels == Counter(plan.kernels)
    assert [e.time for e in events] == sorted(e.time for e in events)

    totals = last.totals
    assert (totals.tasks, totals.retries) == (plan.tasks, 0)
    assert totals.puts == plan.tasks  # exactly one object for each task
    # the vectors with which the condition is estimated lie in the memory of this process
    in_memory = A_SIDE if "solve" in what else 0
    assert totals.gets + totals.cache_hits + in_memory == plan.reads
    assert totals.bytes_written == plan.bytes_written
    assert totals.bytes_read <= plan.bytes_read
    if not {"getrf", "tile_sizes"} & kernels.keys():  # of parts, and of sums, there are smaller ones
        assert totals.bytes_read == totals.gets * 30 * 30 * 8
    assert totals.flops == pytest.approx(plan.flops)
    assert left() == []


def test_totals_are_the_sums_of_the_reports(stored: wl.BigMatrix, executor: wl.LocalExecutor) -> None:
    events: list[Event] = []
    stored.cholesky().compute(executor, callbacks=[events.append])
    sums = Totals()
    for event in events:
        if isinstance(event, TaskFinished):
            report = event.report
            assert min(report.read_seconds, report.compute_seconds, report.write_seconds) >= 0
            sums.add(report, event.flops)
    last = next(event for event in reversed(events) if isinstance(event, RunFinished))
    assert isinstance(last, RunFinished)
    sums.seconds = last.seconds
    assert last.totals == sums
    spent = sums.read_seconds + sums.compute_seconds + sums.write_seconds
    assert 0 < spent <= 2 * last.seconds  # two workers


def test_wave_events_come_one_wave_after_the_other(stored: wl.BigMatrix, executor: wl.LocalExecutor) -> None:
    events: list[Event] = []
    stored.cholesky().compute(executor, schedule="waves", callbacks=[events.append])
    plan = wl.plan(stored.cholesky(), executor=executor)
    wave, left = -1, 0
    for event in events:
        match event:
            case WaveStarted(number, tasks):
                assert (number, left) == (wave + 1, 0)
                assert tasks == len(plan.wave(number))
                wave, left = number, tasks
            case TaskStarted(p):
                assert plan.graph.level[p] == wave
            case TaskFinished(p):
                assert plan.graph.level[p] == wave
                left -= 1
            case WaveFinished(number):
                assert (number, left) == (wave, 0)
    assert wave == plan.waves - 1
    assert isinstance(events[-2], WaveFinished)


def test_dataflow_run_sends_no_wave_events(stored: wl.BigMatrix, executor: wl.LocalExecutor) -> None:
    events: list[Event] = []
    stored.cholesky().compute(executor, callbacks=[events.append])
    assert not any(isinstance(event, WaveStarted | WaveFinished) for event in events)


def test_save_sends_the_events_of_a_run(
    stored: wl.BigMatrix, executor: wl.LocalExecutor, tmp_path: Path
) -> None:
    events: list[Event] = []
    stored.cholesky().save(str(tmp_path / "L"), executor, callbacks=[events.append])
    last = next(event for event in reversed(events) if isinstance(event, RunFinished))
    assert isinstance(last, RunFinished)
    assert last.totals.puts == wl.plan(stored.cholesky(), executor=executor).tasks


def test_a_matrix_that_is_there_needs_no_run(stored: wl.BigMatrix, executor: wl.LocalExecutor) -> None:
    events: list[Event] = []
    array = stored.compute(executor, callbacks=[events.append])
    np.testing.assert_array_equal(array, stored.T.compute(executor, callbacks=[events.append]).T)
    assert events == []
