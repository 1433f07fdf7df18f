"""A simulated run takes what its engine makes it take, by the scheduler of real runs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wrenla as wl
from tests.rates import RATES
from wrenla.algorithms.factorizations.cholesky import cholesky
from wrenla.algorithms.matmul import matmul
from wrenla.errors import PlanError
from wrenla.executors.aws_lambda.function_model import FunctionSpec
from wrenla.forecast.engine import Engine
from wrenla.forecast.forecast import Forecast
from wrenla.forecast.simulate import simulate
from wrenla.forecast.simulation import Simulation
from wrenla.planning.cost_model import ExecutorModel
from wrenla.planning.cut import Cut
from wrenla.planning.plan import Plan, make_plan
from wrenla.units import format_bytes

MODEL = ExecutorModel(
    4,
    20e9,
    75e6,
    0.05,
    600.0,
    8 << 30,
    dollars_per_second=1e-4,
    dollars_per_invocation=2e-7,
    dollars_per_put=5e-6,
    dollars_per_get=4e-7,
    dollars_per_gb_month=0.023,
)


def a_plan(N: int = 6, cut: Cut | None = None, workers: int = 4, what: str = "cholesky") -> Plan:
    A = wl.zeros((1024 * N, 1024 * N), tile=1024).shift(1.0)._node
    node = cholesky(A) if what == "cholesky" else matmul(A, A)
    model = ExecutorModel(workers, *(getattr(MODEL, name) for name in MODEL.__slots__[1:]))
    return make_plan([node], model, cut=cut or Cut())[0]


def simulated(plan: Plan, schedule: Any = "dataflow", **engine: Any) -> Simulation:
    return simulate(plan, Engine(**engine), schedule)


@pytest.mark.parametrize("workers", [1, 3, 50])
@pytest.mark.parametrize("cut", [Cut(), Cut("fixed", 1), Cut("doubling", 4)], ids=str)
def test_engine_of_the_plan_takes_the_plans_time(workers: int, cut: Cut) -> None:
    plan = a_plan(workers=workers, cut=cut)
    found = simulated(plan)
    assert found.seconds == pytest.approx(plan.seconds, rel=0.01)
    assert found.work == pytest.approx(plan.work)
    assert found.workers <= workers
    assert (found.bytes_read, found.bytes_written) == (plan.bytes_read, plan.bytes_written)
    assert found.cost["compute"] == pytest.approx(plan.cost["compute"])
    assert found.cost["requests"] == pytest.approx(plan.cost["requests"])


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 6),
    st.sampled_from([Cut(), Cut("fixed", 2), Cut("doubling", 4)]),
    st.integers(1, 9),
    st.sampled_from(["dataflow", "waves"]),
    st.sampled_from([0.0, 0.02]),
)
def test_no_task_begins_before_its_inputs_are_there(
    N: int, cut: Cut, workers: int, schedule: str, failures: float
) -> None:
    plan = a_plan(N, cut, workers)
    found = simulated(plan, schedule, failures=failures, stragglers=0.1, cold_start=3.0)
    last = np.zeros(plan.tasks)
    np.maximum.at(last, found.task, found.end)
    first = np.full(plan.tasks, math.inf)
    np.minimum.at(first, found.task, found.begin)
    for p in range(plan.tasks):
        needs = plan.graph.needs_of(p)
        assert not len(needs) or last[needs].max() <= first[p]
    assert sorted(set(found.task.tolist())) == list(range(plan.tasks))
    assert len(found.task) == plan.tasks + found.retries
    assert found.workers <= workers
    assert found.cold_starts <= workers
    assert found.seconds >= max(plan.work / workers, plan.critical_path) * (1 - 1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rates_that_were_measured_hold_in_a_simulation_that_names_none(dtype: str) -> None:
    A = wl.random((2000, 2000), tile=250, dtype=dtype).gram().shift(1.0).cholesky()
    with wl.LocalExecutor(workers=2) as executor, pytest.MonkeyPatch.context() as patch:
        patch.setattr(executor, "measured", lambda: replace(executor.model, rates=RATES))
        plan = wl.plan(A, executor=executor)
        alone = wl.plan(A, executor=wl.Engine(workers=1))
        for found in (plan.simulate(), plan.simulate(executor), alone.simulate(executor)):
            assert found.work == pytest.approx(found.plan.work)
    assert plan.simulate(Engine(cold_start=9.0)).work == pytest.approx(plan.work)
    named = plan.simulate(Engine(flops_per_second=1e9))
    assert named.work == pytest.approx(
        plan.flops / 1e9
        + (plan.bytes_read + plan.bytes_written) / min(RATES.read, RATES.written)
        + plan.tasks * RATES.task
    )


def test_faster_workers_save_their_share() -> None:
    plan = a_plan(workers=1)
    slow, fast = simulated(plan), simulated(plan, flops_per_second=2 * MODEL.flops_per_second)
    assert slow.seconds - fast.seconds == pytest.approx(plan.flops / MODEL.flops_per_second / 2)
    near = simulated(plan, bytes_per_second=2 * MODEL.bytes_per_second)
    moved = (plan.bytes_read + plan.bytes_written) / MODEL.bytes_per_second
    assert slow.seconds - near.seconds == pytest.approx(moved / 2)
    late = simulated(plan, latency=MODEL.latency + 1.0)
    assert late.seconds - slow.seconds == pytest.approx(plan.tasks)


def test_all_workers_share_what_the_store_can_move() -> None:
    plan = a_plan(what="matmul", workers=36)
    free = simulated(plan)
    tight = simulated(plan, total_bytes_per_second=36 * MODEL.bytes_per_second / 100)
    moved = plan.bytes_read + plan.bytes_written
    assert tight.seconds >= moved / (36 * MODEL.bytes_per_second / 100)
    assert tight.seconds <= moved / (36 * MODEL.bytes_per_second / 100) + free.seconds
    asked = simulated(plan, requests_per_second=10)
    assert asked.seconds >= plan.requests / 10


def independent(count: int, **engine: Any) -> Forecast:
    """Return a plan of tasks that read 160 kB, do 2e6 operations and write 80 kB; none waits."""
    tall, small = wl.zeros((100 * count, 100), tile=100).persist(), wl.zeros((100, 100), tile=100).persist()
    known = {"latency": 0.0, "bytes_per_second": 1e12, "allowed_bytes": 1 << 30, **engine}
    plan = wl.plan(tall @ small, executor=Engine(**known))
    assert (plan.tasks, plan.critical_path) == (count, pytest.approx(plan.graph.seconds.max()))
    return plan


def test_nothing_is_computed_before_what_it_needs_has_passed_the_common_limit() -> None:
    # 2/3 s to read, 10 s to compute, 1/3 s to write: the last task reads from 6 to 6 2/3
    together = independent(10, workers=10, flops_per_second=2e5).simulate(
        Engine(total_bytes_per_second=240e3)
    )
    assert together.seconds == pytest.approx(20 / 3 + 10 + 1 / 3)
    alone = independent(10, workers=1, flops_per_second=2e5).simulate(Engine(total_bytes_per_second=24e3))
    assert alone.seconds == pytest.approx(10 * (10 + 10))
    hidden = independent(1, workers=1, flops_per_second=2e5, overlap=1.0)
    slow = hidden.simulate(Engine(flops_per_second=2e5, total_bytes_per_second=24e3, overlap=1.0))
    assert slow.seconds == pytest.approx(20 / 3 / 2 + 10 + 10 / 3)  # one of two tiles while it computes


@pytest.mark.parametrize(
    ("made", "requested", "uploaded"),
    [
        (lambda: wl.random((1000, 1000), tile=100), 0, 0),
        (lambda: wl.from_function(np.add, (1000, 1000), tile=100), 0, 0),
        (lambda: wl.random((1000, 1000), tile=100).persist(), 2000, 0),
        # they are brought to the store of workers elsewhere
        (lambda: wl.from_array(np.ones((1000, 1000)), tile=100), 2000, 100),
    ],
    ids=["formula", "function", "stored", "of this process"],
)
def test_only_what_is_in_a_store_is_requested(
    made: Callable[[], wl.BigMatrix], requested: int, uploaded: int
) -> None:
    limit = {"flops_per_second": 1e12, "bytes_per_second": 1e12, "latency": 0.0, "requests_per_second": 100}
    prices = {"dollars_per_put": 1.0, "dollars_per_get": 0.01}
    A = made()
    plan = wl.plan(A @ A, executor=Engine(workers=100, **limit, **prices))
    found = plan.simulate()
    assert (plan.tasks, plan.reads, plan.requests) == (100, 2000, 100 + requested + uploaded)
    assert plan.cost["requests"] == found.cost["requests"] == pytest.approx(100 + uploaded + 0.01 * requested)
    assert found.seconds == pytest.approx((100 + requested) / 100, rel=0.02)
    assert plan.uploaded == (uploaded, uploaded * 8 * 100**2)
    assert plan.summary()["bytes_uploaded"] == plan.uploaded[1]
    assert (f"upload     {format_bytes(plan.uploaded[1])}" in str(plan)) == bool(uploaded)
    assert found.peak_bytes_stored == plan.uploaded[1] + plan.bytes_written


def test_arrays_of_this_process_are_asked_for_where_their_bytes_count() -> None:
    """The workers of this machine ask no store for them, and read no bytes: they paid for 2,000 requests."""
    A = wl.from_array(np.ones((1000, 1000)), tile=100)
    here = wl.plan(A @ A)
    assert (here.bytes_read, here.requests) == (0, here.tasks)
    away = wl.plan(A @ A, executor=Engine(workers=2, bytes_per_second=1e9))
    assert (away.bytes_read, away.gets) == (2000 * 80_000, 2000)


def test_limits_that_never_bind_change_nothing() -> None:
    plan = independent(200, workers=2, flops_per_second=2e6)
    cold = {"workers": 2, "initial_workers": 1, "workers_per_second": 0.1, "cold_start": 100.0}
    free = plan.simulate(Engine(**cold))
    for limit in ({"total_bytes_per_second": 1e18}, {"requests_per_second": 1e15}):
        assert plan.simulate(Engine(**cold, **limit)).end == pytest.approx(free.end)


def test_short_tasks_share_what_it_takes_to_hand_them_out() -> None:
    # 0.1 s each, eight go together, one second to hand them out: each of two workers takes four times eight
    prices = {"dollars_per_second": 1.0, "dollars_per_invocation": 10.0}
    plan = independent(64, workers=2, flops_per_second=2e7, latency=1.0, worthwhile=0.85, **prices)
    assert plan.batch == 8
    for found in (plan, plan.simulate()):
        assert found.seconds == pytest.approx(4 * 1.8, rel=1e-4)
        assert found.invocations == 8
        assert found.work == pytest.approx(8 * 1.8, rel=1e-4)
        assert found.cost["compute"] == pytest.approx(8 * 1.8 + 80, rel=1e-4)
    few = independent(4, workers=4, flops_per_second=2e7, latency=1.0, worthwhile=0.85)
    assert (few.simulate().invocations, few.seconds) == (4, pytest.approx(1.1, rel=1e-4))  # none waits


def test_chains_of_short_tasks_go_one_by_one() -> None:
    plan = wl.plan(wl.zeros((2000, 2000), tile=100).shift(1.0).cholesky(), executor=Engine.aws_lambda(4))
    found = plan.simulate(Engine(cold_start=0.0))
    assert plan.batch > 8
    assert plan.tasks / plan.batch < plan.invocations < plan.tasks / 2
    assert found.invocations == pytest.approx(plan.invocations, rel=0.2)
    assert found.seconds == pytest.approx(plan.seconds, rel=0.05)
    assert found.cost["compute"] == pytest.approx(plan.cost["compute"], rel=0.05)


def test_cold_starts_and_growth_delay_the_first_tasks() -> None:
    plan = a_plan(what="matmul", workers=36)  # 36 tasks, all ready at once
    warm = simulated(plan)
    cold = simulated(plan, cold_start=5.0)
    assert cold.seconds == pytest.approx(warm.seconds + 5.0)
    assert cold.cold_starts == 36
    assert cold.work == pytest.approx(warm.work)  # who starts does not work yet
    grown = simulated(plan, initial_workers=1, workers_per_second=1.0)
    assert grown.busy([0.5, 1.5, 2.5]).tolist() == [1, 2, 3]
    sent = simulated(plan, dispatch=1.0)
    assert np.sort(sent.begin).tolist() == pytest.approx(range(1, 37))


def test_cold_starts_cost_what_work_does() -> None:
    plan = a_plan(what="matmul", workers=36)
    warm, cold = simulated(plan), simulated(plan, cold_start=5.0)
    more = cold.cost["compute"] - warm.cost["compute"]
    assert more == pytest.approx(36 * 5.0 * MODEL.dollars_per_second)
    unbilled = simulated(plan, cold_start=5.0, dollars_per_second=0.0)
    assert unbilled.cost["compute"] == pytest.approx(36 * MODEL.dollars_per_invocation)


def test_tasks_that_do_not_fit_are_not_simulated() -> None:
    plan = wl.plan(wl.zeros((8000, 8000), tile=2000).shift(1.0).cholesky(), executor=Engine.aws_lambda())
    assert plan.projected > 128 << 20
    with pytest.raises(PlanError, match=r"needs .* \(projected\), a worker may use"):
        plan.simulate(Engine.aws_lambda(memory=128))
    refused = pytest.raises(PlanError, match=r"needs .* \(projected\), a worker may use")
    with wl.LocalExecutor(workers=1, allowed_mem="100 MiB") as executor, refused:
        plan.simulate(executor)


def test_overlap_hides_reading_behind_kernels() -> None:
    plan = a_plan(what="matmul", workers=1)
    apart, together = simulated(plan), simulated(plan, overlap=1.0)
    read, compute = plan.bytes_read / MODEL.bytes_per_second, plan.flops / MODEL.flops_per_second
    first = read / plan.reads * plan.tasks
    assert apart.seconds - together.seconds == pytest.approx(min(read - first, compute))
    assert simulated(plan, overlap=0.5).seconds == pytest.approx((apart.seconds + together.seconds) / 2)


def test_failures_and_stragglers_are_those_of_the_seed() -> None:
    plan = a_plan(8, Cut("fixed", 1), workers=8)
    one, same, other = (simulated(plan, failures=0.1, stragglers=0.1, seed=seed) for seed in (0, 0, 1))
    assert (one.seconds, one.retries) == (same.seconds, same.retries)
    assert one.seconds != other.seconds
    assert 0.05 < one.retries / len(one.task) < 0.15
    assert one.seconds > simulated(plan).seconds
    slow = simulated(plan, stragglers=1.0, straggler_factor=3.0, latency=0.0)
    assert slow.seconds == pytest.approx(3 * simulated(plan, latency=0.0).seconds)


def test_run_that_fails_too_often_fails() -> None:
    with pytest.raises(PlanError, match=r"the simulated run fails: task \d+ failed 4 times; failures=0.9 is"):
        simulated(a_plan(), failures=0.9)


def test_tiles_that_nobody_reads_any_more_take_no_room() -> None:
    plan = a_plan(cut=Cut("fixed", 1))
    found = simulated(plan)
    result = 21 * 1024 * 1024 * 8
    assert result <= found.peak_bytes_stored < plan.bytes_written
    assert 0 < found.cost["storage"] < plan.cost["storage"]


def test_plans_of_procedures_are_simulated_whole() -> None:
    A = wl.random((400, 400), tile=100)
    plan = wl.plan(A.solve(np.ones(400)))
    assert len(plan.simulate().task) == plan.tasks


def test_plan_takes_an_executor_as_engine() -> None:
    plan = wl.plan(wl.random((2000, 2000), tile=100).gram())
    with wl.LocalExecutor(workers=1) as executor:
        assert plan.simulate(executor).workers == 1
    with pytest.raises(TypeError, match=r"engine=3: a wl.Engine"):
        plan.simulate(3)  # type: ignore[arg-type]


def test_functions_that_are_there_start_and_grow_as_described_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    A = wl.zeros((4000, 4000), tile=500).shift(1.0).cholesky()
    with wl.LocalExecutor(workers=1) as executor:  # stands for a LambdaExecutor, whose model this is
        model = FunctionSpec(1769, wl.Prices()).model(3000)
        monkeypatch.setattr(executor, "measured", lambda: model)
        plan = wl.plan(A, executor=executor)
        described = wl.plan(A, executor=Engine.aws_lambda(workers=3000)).simulate()
        for found in (plan.simulate(), plan.simulate(executor), plan.simulate(Engine())):
            assert (found.engine.cold_start, found.engine.initial_workers) == (2.0, 1000)
            assert (found.seconds, found.cold_starts) == (described.seconds, described.cold_starts)
            assert found.cost == described.cost
        assert plan.simulate(Engine(cold_start=0.0)).seconds < described.seconds


def test_simulation_in_words_and_as_json() -> None:
    found = simulated(a_plan(), cold_start=2.0, failures=0.05)
    text = str(found)
    assert "simulated run of 21 tasks on 4 workers" in text
    assert re_lines(text) == ["time", "workers", "cold starts", "attempts", "moved", "stored", "cost"]
    known = json.loads(found.to_json())
    assert known["seconds"] == found.seconds
    assert known["dollars"]["total"] == pytest.approx(found.dollars)
    assert sum(known["seconds_by_kernel"].values()) == pytest.approx(found.work)


def re_lines(text: str) -> list[str]:
    return [line[2:14].strip() for line in text.splitlines()[1:]]


def test_simulation_of_nothing() -> None:
    plan = make_plan([wl.zeros((0, 0)).gram()._node], MODEL)[0]
    found = simulated(plan)
    assert (found.seconds, found.workers, found.dollars) == (0.0, 0, 0.0)
    assert str(found)
