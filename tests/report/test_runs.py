"""Records become columns on one time axis, by the clock of the driver."""

from __future__ import annotations

import numpy as np
import pytest

from tests.report.records import MadeUp
from wrenla.report.compare import comparison, kernels, peak_memory, stragglers
from wrenla.report.runs import Runs
from wrenla.report.shares import SHARES, chains, rates, shares, slots

MiB = 1 << 20


def test_tasks_are_columns_in_seconds_from_the_first_run() -> None:
    made = MadeUp().begin(at=5.0)
    made.task(7, 6.0, read=0.25, compute=1.0, write=0.5, submitted=5.5, finished=8.0, tile=(3, 4, 2), wave=1)
    runs = made.end(9.0).runs()
    tasks = runs.tasks
    assert (runs.seconds, len(tasks), runs.kernels, runs.lanes) == (4.0, 1, ("gemm",), ("thread 1",))
    found = [column.item() for column in (tasks.first, tasks.start, tasks.end, tasks.finished)]
    assert found == pytest.approx([0.5, 1.0, 2.75, 3.0])
    assert [column.item() for column in (tasks.read, tasks.compute, tasks.write)] == pytest.approx(
        [0.25, 1.0, 0.5]
    )
    place = [column.item() for column in (tasks.task, tasks.row, tasks.col, tasks.part, tasks.wave)]
    assert place == [7, 3, 4, 2, 1]


@pytest.mark.parametrize("off", [-3600.0, -1.0, 0.0, 2.5, 3600.0])
def test_tasks_lie_between_submission_and_end_whatever_the_workers_clock_says(off: float) -> None:
    made = MadeUp().begin()
    for n in range(5):
        start = 1.0 + 2.0 * n
        made.task(n, start, submitted=start - 0.1, finished=start + 1.1, clock=off, worker="far, thread 1")
        made.task(10 + n, start, submitted=start - 0.1, finished=start + 1.1)  # its clock is right
    runs = made.end(12.0).runs()
    tasks = runs.tasks
    assert (tasks.first <= tasks.start + 1e-6).all()
    assert (tasks.end <= tasks.finished + 1e-6).all()
    assert tasks.seconds == pytest.approx(np.ones(10), abs=1e-6)
    assert runs.shifted == pytest.approx(max(0.0, abs(off) - 0.1), abs=1e-6)
    right = [tasks.start[n] for n in range(10) if tasks.task[n] >= 10]
    assert right == pytest.approx([1.0, 3.0, 5.0, 7.0, 9.0], abs=1e-6)


def test_a_report_that_is_longer_than_its_task_is_shortened() -> None:
    made = MadeUp().begin().task(0, 1.0, read=1.0, compute=2.0, write=1.0, submitted=1.0, finished=3.0)
    tasks = made.end(3.0).runs().tasks
    assert (tasks.start.item(), tasks.end.item()) == pytest.approx((1.0, 3.0))
    assert tasks.compute.item() == pytest.approx(1.0)


def test_lanes_of_a_process_stand_together() -> None:
    made = MadeUp().begin()
    for n, worker in enumerate(["b, thread 10", "a, thread 1", "b, thread 2", "a, thread 2"]):
        made.task(n, float(n), worker=worker)
    runs = made.end(5.0).runs()
    assert runs.lanes == ("b, thread 2", "b, thread 10", "a, thread 1", "a, thread 2")
    assert runs.processes.tolist() == [0, 0, 1, 1]
    assert [runs.lanes[lane] for lane in runs.tasks.lane] == [
        "b, thread 10",
        "a, thread 1",
        "b, thread 2",
        "a, thread 2",
    ]


def test_a_record_that_ends_early_is_read() -> None:
    made = MadeUp().begin().task(0, 0.0)
    made.events.append({**made.events[1], "task": 5, "time": made.events[1]["time"] + 2})
    runs = made.runs()
    assert (runs.runs[0].error, runs.unfinished, runs.seconds) == (None, ((0, 5, 2.0),), 2.0)
    assert Runs.of([]).seconds == 0.0


def test_several_runs_share_the_axis() -> None:
    made = MadeUp().begin().task(0, 0.0).end(1.0).begin(3.0).task(0, 3.0, after=0).end(4.0)
    runs = made.runs()
    assert [(run.start, run.end) for run in runs.runs] == [(0.0, 1.0), (3.0, 4.0)]
    assert runs.tasks.run.tolist() == [0, 1]
    assert runs.tasks.after.tolist() == [-1, -1]  # task 0 of another run is another task
    assert runs.tasks.start.tolist() == pytest.approx([0.0, 3.0])


# shares


def share(made: MadeUp) -> dict[str, float]:
    found = shares(made.runs())
    assert tuple(found) == SHARES
    assert sum(found.values()) == pytest.approx(1.0)
    return {name: round(part, 3) for name, part in found.items() if part > 5e-4}


def test_time_of_workers_goes_to_the_parts_of_tasks() -> None:
    made = MadeUp().begin(workers=1).task(0, 0.0, read=1.0, compute=2.0, write=1.0)
    assert share(made.end(4.0)) == {"computing": 0.5, "reading": 0.25, "writing": 0.25}


def test_who_waits_for_inputs_and_who_for_the_task_that_is_ready() -> None:
    made = MadeUp().begin(workers=2).task(0, 0.0)  # the other worker has nothing to do
    made.task(1, 2.0, after=0, submitted=1.0)  # ready at 1, begun at 2: one is handed over, one waits
    assert share(made.end(3.0)) == {"computing": 0.333, "handing over": 0.167, "waiting": 0.5}


def test_what_the_driver_takes_is_nobodys_waiting() -> None:
    made = MadeUp().begin(workers=2).task(0, 0.0).task(1, 0.0, worker="thread 2").end(1.0)
    made.begin(2.0).task(0, 2.0).task(1, 2.0, worker="thread 2").end(4.0)
    assert share(made) == {"computing": 0.5, "driver": 0.5}


def test_failed_attempts_take_time_until_the_next_one() -> None:
    made = MadeUp().begin(workers=1).fault(0, 0.0, 2.0, "TimeoutError: slow")
    made.task(0, 3.0, submitted=2.9, attempt=2)
    assert share(made.end(4.0)) == {"computing": 0.25, "failures": 0.75}


def test_a_task_that_never_came_to_an_end_after_a_fault_counts_until_the_runs() -> None:
    made = MadeUp().begin(workers=1).fault(0, 0.0, 1.0, "TimeoutError: slow")
    assert share(made.end(4.0, error="TimeoutError: slow")) == {"failures": 1.0}


def test_tasks_that_do_not_end_take_the_time_until_the_end() -> None:
    made = MadeUp().begin(workers=2)
    for n in range(64):
        made.handed_out(n, 0.0)
    parts = share(made.end(1.0, error="RuntimeError: no data", task=0))
    assert parts == {"unfinished": pytest.approx(1.0)}


def test_backoff_is_no_handing_over() -> None:
    made = MadeUp().begin(workers=1).task(0, 4.0, submitted=0.0)
    assert share(made.end(5.0, throttles=3, backoff=3.0)) == {
        "computing": 0.2,
        "failures": 0.6,
        "handing over": 0.2,
    }


def test_cold_starts_are_the_first_tasks_of_threads() -> None:
    made = MadeUp().begin(workers=2, memory=0)
    for n in (1, 2):
        made.task(n, 3.0, submitted=0.0, worker=f"p{n}, thread 1")
        made.task(10 + n, 4.0, submitted=0.0, worker=f"p{n}, thread 1")
    assert share(made.end(5.0, cold_starts=2)) == {"computing": 0.4, "starting": 0.6}
    made.events[-1]["calls"] = {}
    assert share(made) == {"computing": 0.4, "handing over": 0.6}


def test_waves_are_waited_for() -> None:
    made = MadeUp().begin(workers=2).wave(0, 0.0).task(0, 0.0).task(1, 0.0, compute=3.0, worker="thread 2")
    made.wave(1, 3.0).task(2, 3.0, after=0, wave=1)
    assert share(made.end(4.0)) == {"computing": 0.625, "waiting": 0.375}


def test_the_chain_is_the_one_with_most_work_whichever_task_is_last() -> None:
    made = MadeUp().begin()
    for n in range(4):  # 2 workers, 4 tasks that wait for nobody: the last one is short
        made.task(n, 1.0 * (n // 2), compute=1.0 if n < 3 else 1.1, worker=f"thread {n % 2}")
    made.task(4, 2.0, compute=0.2)
    (path,) = chains(made.end(2.5).runs())
    assert (path.tasks, path.busy) == ((3,), pytest.approx(1.1))


def test_the_chain_leads_back_through_the_tasks_that_let_others_begin() -> None:
    made = MadeUp().begin().task(0, 0.0).task(1, 0.0, compute=3.9, worker="thread 2")
    made.task(2, 1.5, after=0).task(3, 2.5, after=2, compute=2.0)
    (path,) = chains(made.end(5.0).runs())
    tasks = made.runs().tasks
    assert [int(tasks.task[n]) for n in path.tasks] == [0, 2, 3]
    assert (path.seconds, path.busy) == pytest.approx((4.5, 4.0))
    (nothing,) = chains(MadeUp().begin().end(1.0).runs())
    assert (nothing.tasks, nothing.seconds) == ((), 0.0)


def test_rates_are_means_whose_sums_are_exact() -> None:
    rng = np.random.default_rng(0)
    made = MadeUp().begin()
    for n in range(50):
        made.task(n, float(rng.random() * 8), read=rng.random(), compute=rng.random(), worker=f"thread {n}")
    runs = made.end(12.0).runs()
    found = rates(runs, 37)
    width = np.diff(found.edges)
    assert (found.computing * width).sum() == pytest.approx(runs.tasks.compute.sum())
    assert (found.flops * width).sum() == pytest.approx(50e9)
    assert (found.bytes_read * width).sum() == pytest.approx(5000)
    idle = found.edges[:-1] > runs.tasks.end.max()
    assert idle.any()
    assert not found.flops[idle].any(), "rounding is no rate"
    assert slots(runs) >= 2


def test_more_tasks_at_a_time_than_workers() -> None:
    made = MadeUp().begin(workers=1)
    for n in range(3):
        made.task(n, 0.0, worker=f"p, thread {n}")
    assert slots(made.end(1.0).runs()) == 3
    assert share(made) == {"computing": 1.0}


# plans and tasks


def test_plans_stand_beside_what_was_measured() -> None:
    made = (
        MadeUp().begin(plan={"dollars": {"compute": 0.5, "total": 0.7}}).task(0, 0.0).end(20.0, dollars=0.25)
    )
    rows = {row.name: row for row in comparison(made.runs())}
    assert (rows["time"].predicted, rows["time"].measured, rows["time"].ratio) == (10.0, 20.0, 2.0)
    assert (rows["bytes read"].predicted, rows["bytes read"].measured) == (1000, 100)
    assert (rows["requests"].predicted, rows["requests"].measured) == (20, 15)
    assert (rows["dollars"].predicted, rows["dollars"].measured) == (0.5, 0.25)
    assert rows["requests"].note == rows["bytes read"].note == "at most"
    assert "dollars" not in {row.name for row in comparison(MadeUp().begin().end(1.0).runs())}
    less = {"bytes_read_expected": 250, "requests_expected": 16}  # workers keep tiles
    made = MadeUp().begin(plan=less).task(0, 0.0).end(20.0).begin(25.0).task(0, 26.0).end(30.0)
    rows = {row.name: row for row in comparison(made.runs())}
    assert (rows["requests"].predicted, rows["requests"].note) == (36, "")
    assert (rows["bytes read"].predicted, rows["bytes read"].note) == (1250, "")


@pytest.mark.parametrize(
    ("executor", "memory", "used", "allowed"),
    [
        ("LocalExecutor(workers=2)", 50 * MiB, 40, 200),  # threads of the driver's process share its memory
        ("DaskExecutor(2 workers)", 0, 60, 200),  # as those of a worker process do
        ("LambdaExecutor('wrenla')", 0, 60, 100),  # one invocation is a worker, whatever its threads
    ],
)
def test_peak_memory_of_a_process_beside_its_part_of_what_is_allowed(
    executor: str, memory: int, used: int, allowed: int
) -> None:
    made = MadeUp().begin(executor=executor, memory=memory)
    made.task(0, 0.0, worker="p, thread 1", memory=90 * MiB, before=30 * MiB)
    made.task(1, 0.0, worker="p, thread 2", memory=80 * MiB, before=30 * MiB)
    row = peak_memory(made.end(1.0).runs())
    assert row is not None
    assert (row.measured, row.allowed, row.predicted) == (used * MiB, allowed * MiB, 20 * MiB)
    assert peak_memory(MadeUp().begin().end(1.0).runs()) is None


def test_stragglers_are_slow_for_their_kernel_and_their_work() -> None:
    made = MadeUp().begin()
    for n in range(10):
        made.task(n, float(n))
    made.task(20, 10.0, compute=3.5)
    made.task(21, 11.0, compute=5.0, flops=4e9)  # four times the work
    made.task(22, 12.0, compute=50.0, kernel="potrf")  # alone: nobody knows what is usual
    made.task(23, 13.0, compute=9.0)
    runs = made.end(70.0).runs()
    assert [int(runs.tasks.task[n]) for n in stragglers(runs)] == [23, 20]
    first, second = kernels(runs)
    assert (first.name, first.tasks, second.name, second.tasks) == ("potrf", 1, "gemm", 13)
    assert (second.median, second.longest) == pytest.approx((1.0, 9.0))
