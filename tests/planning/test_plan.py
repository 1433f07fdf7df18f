"""Plans: what they print, what they refuse, and that one plan serves many runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wrenla as wl
from wrenla.errors import PlanError
from wrenla.evaluate.rehearse import rehearse
from wrenla.evaluate.storing import made
from wrenla.forecast.engine import Engine
from wrenla.forecast.simulate import simulate
from wrenla.planning import plan as plan_module
from wrenla.planning.cost_model import ExecutorModel
from wrenla.planning.cut import Cut
from wrenla.planning.expression import Node
from wrenla.planning.plan import Plan, make_plan
from wrenla.units import format_time

MODEL = ExecutorModel(2, 60e9, 2e9, 1e-4, 60.0, 1 << 50)


def plan_of(A: wl.BigMatrix, allowed: int = 1 << 50, cut: Cut | None = None) -> Plan:
    return make_plan([settled(A)], replace(MODEL, allowed_bytes=allowed), cut=cut)[0]


def settled(A: wl.BigMatrix) -> Node:
    """Return what an evaluation makes a plan for."""
    (node,) = rehearse([A._node]).nodes
    return made(node)


Tile = int | tuple[int, int]


def R(rows: int, cols: int, tile: Tile, dtype: str = "float64") -> wl.BigMatrix:
    return wl.random((rows, cols), tile=tile, dtype=dtype)


N = 600
WAYS: dict[str, Callable[[Tile], wl.BigMatrix]] = {
    "cholesky": lambda t: R(N, N, t).gram().cholesky(),
    "complex": lambda t: R(N, N, t, "complex128").gram().cholesky(),
    "product": lambda t: R(N, 80, t) @ R(80, N, t),
    "gram": lambda t: R(N, 80, t).gram(),
    "weights": lambda t: R(N, N, t).gram(wl.random(N, tile=t if isinstance(t, int) else t[1])),
    "solve": lambda t: R(N, N, t).gram().solve(wl.random(N, tile=100)),
    "sum": lambda t: R(N, N, t) + R(N, N, t).T if isinstance(t, int) else R(N, N, t) + R(N, N, t),
    "mixed": lambda t: R(N, N, t, "float32") @ R(N, N, t),
    "block": lambda t: wl.block([[R(N, N, t), R(N, N, t)]]),
    "lu": lambda t: wl.linalg.lu_factor(R(N // 3, N // 3, t)).lu,
    "norm": lambda t: R(N, N, t).norm(1),
    "function": lambda t: wl.from_function(lambda i, j: i[:, None] - j, (N, N), tile=t) @ R(N, N, t),
    "long": lambda t: R(60 * N, 80, t).T.gram(),
    "vector": lambda t: R(80, 60 * N, t) @ wl.random(60 * N, tile=100),
    "mapped": lambda t: wl.map_tiles(np.hypot, R(N, N, t), R(N, N, t), R(N, N, t)),
}

LIKE_OTHERS = {"complex", "gram", "mixed", "vector", "mapped", "block"}
"""What is planned as another one is, but for its dtype or the number of its operands."""


EVERY_WAY = pytest.mark.parametrize(
    "way",
    [pytest.param(way, marks=[pytest.mark.slow] if way in LIKE_OTHERS else []) for way in sorted(WAYS)],
)


@EVERY_WAY
@settings(max_examples=3, deadline=None)
@given(
    tile=st.one_of(st.integers(150, N), st.tuples(*[st.sampled_from([60, 200, N])] * 2)),
    allowed=st.integers(1 << 18, 1 << 22),
)
def test_a_plan_that_does_not_fit_names_a_tile_that_does(way: str, tile: Tile, allowed: int) -> None:
    plan = plan_of(WAYS[way](tile), allowed)
    if plan.projected <= allowed:
        plan.check()
        return
    with pytest.raises(PlanError, match=r"allowed_mem, WRENLA_ALLOWED_MEM") as error:
        plan.check()
    found = re.search(r"use tile=(\d+) or smaller", str(error.value))
    assert found is not None
    fitting = int(found[1])
    assert fitting >= 32
    for edge in (fitting, fitting - 7):
        plan_of(WAYS[way](edge), allowed).check()


def test_the_refusal_names_all_numbers() -> None:
    plan = plan_of(R(4096, 4096, 2048).gram().cholesky(), 64 << 20)
    with pytest.raises(PlanError) as error:
        plan.check()
    needed = f"{plan.projected / 2**20:.2f} MiB"
    expected = f"2048 × 2048 needs {needed} (projected), a worker may use 64.00 MiB (allowed)"
    assert expected in str(error.value)


def test_compute_refuses_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRENLA_STORE", str(tmp_path / "runs"))
    events: list[Any] = []
    with (
        wl.LocalExecutor(1, allowed_mem="40 MiB") as executor,
        pytest.raises(PlanError, match="use tile="),
    ):
        (R(2000, 2000, 2000) @ R(2000, 2000, 2000)).compute(executor, callbacks=[events.append])
    assert events == []
    assert not (tmp_path / "runs").exists()


def test_one_of_anything_is_in_the_singular() -> None:
    text = str(plan_of(wl.eye(4).shift(1.0).gram(), 1 << 30, Cut()))
    assert "in 1 tile\n" in text
    assert "up to 1 product for each tile" in text


def test_a_plan_prints_what_it_will_take() -> None:
    plan = plan_of(R(4096, 4096, 512).gram().shift(1.0).cholesky(), 1 << 30, Cut("fixed", 4))
    lines = str(plan).splitlines()
    assert lines[0] == "plan for 4096 × 4096, float64, from 4096 × 4096 in tiles of 512 × 512"
    assert repr(plan) == str(plan)
    solution = R(96, 96, 32).gram().shift(1.0).solve(wl.random(96, tile=32))
    for x, header in (
        (solution, "a vector of 96, float64, from 96 × 96 in tiles of 32 × 32"),
        (solution.norm(), "a number, float64, from 96 × 96 in tiles of 32 × 32"),
    ):
        assert str(plan_of(x, 1 << 30, Cut())).startswith(f"plan for {header}\n")
    table = {line[2:13].strip(): line[13:] for line in lines[1:]}
    names = ["tasks", "waves", "sums", "arithmetic", "read", "written", "requests", "memory"]
    assert list(table) == [*names, "temporary", "time"]
    assert table["tasks"].startswith(f"{plan.tasks:,}  (")
    kernels = {name: int(n) for n, name in re.findall(r"(\d+) (\w+)", table["tasks"].partition("(")[2])}
    assert kernels == plan.kernels
    assert sum(kernels.values()) == plan.tasks
    assert table["waves"].startswith(f"{plan.waves}, mean parallelism {plan.parallelism:.1f}")
    assert table["sums"] == "up to 8 products for each tile, in tasks of up to 4"
    assert table["requests"] == f"{plan.requests:,} at most"
    assert "(projected) of 1.00 GiB (allowed)" in table["memory"]
    seconds, path = format_time(plan.seconds), format_time(plan.critical_path)
    expected = f"about {seconds} on 2 workers, at least {path} on any number (the longest chain of tasks)"
    assert table["time"] == expected


def test_a_plan_says_what_its_sums_are() -> None:
    A = R(160, 160, 20)
    for cut, expected in (
        (Cut(), "up to 8 products for each tile, all in one task"),
        (Cut("fixed", 1), "up to 8 products for each tile, in a task each"),
        (Cut("doubling", 4), "up to 8 products for each tile, in tasks of up to 4, fewer towards the end"),
    ):
        assert f"  sums       {expected}\n" in str(plan_of(A @ A, cut=cut))
    assert "  sums       none of products\n" in str(plan_of(A.T))
    assert "  sums       up to 1 product for each tile, " in str(plan_of(R(9, 9, 9) @ R(9, 9, 9)))


@EVERY_WAY
def test_the_seconds_are_those_of_a_run(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for workers, cuts in ((1, [Cut()]), (2, [None, Cut("fixed", 1)]), (20, [None]), (200, [None, Cut()])):
        model = replace(MODEL, workers=workers)
        for cut in cuts:
            plan, _ = make_plan([settled(WAYS[way](60))], model, cut=cut)
            seconds = plan.seconds
            assert seconds == pytest.approx(simulate(plan, Engine().filled(model)).seconds, rel=0.01)
            assert seconds >= max(plan.work / workers, plan.critical_path) * (1 - 1e-9)
            # large graphs are not played through
            monkeypatch.setattr(plan_module, "_SIMULATE_TASKS", 0)
            bound = Plan(plan.results, plan.graph, plan.cut, model).seconds
            assert 0.5 * seconds <= bound <= seconds * (1 + 1e-9)
            monkeypatch.undo()


def test_idle_workers_cost_nothing() -> None:
    """A function is paid while it works, not while the longest chain of the plan keeps it waiting."""
    model = replace(MODEL, workers=1000, dollars_per_second=1e-3)
    plan, _ = make_plan([made(R(400, 400, 100).gram().cholesky()._node)], model)
    assert plan.dollars == pytest.approx(1e-3 * plan.work)


def test_kernels_are_counted_by_what_a_task_ends_with() -> None:
    n, b = 8, 100
    plan = plan_of(R(n * b, n * b, b).gram().shift(1.0).cholesky(), cut=Cut("fixed", 1))
    assert plan.kernels == {
        "gemm": n * n * (n + 1) // 2 + n * (n**2 - 1) // 6,
        "trsm_right": n * (n - 1) // 2,
        "potrf": n,
        "syrk": n,
    }
    assert plan_of(R(200, 200, 100).T).kernels == {"copy": 4}
    assert plan_of(R(200, 200, 100) + R(200, 200, 100)).kernels == {"add": 4}
    assert plan_of(R(160, 10, 10).T.gram()).kernels == {"gemm": 2, "add": 1}
    assert plan_of(R(200, 200, 100).sum(1)).kernels == {"row_sums": 4, "add": 2}
    assert plan_of(wl.map_tiles(np.exp, R(200, 200, 100))).kernels == {"call": 4}


def test_waves_partition_the_tasks() -> None:
    plan = plan_of(R(800, 800, 100).gram().shift(1.0).cholesky())
    waves = [plan.wave(k) for k in range(plan.waves)]
    assert sorted(p for wave in waves for p in wave) == list(range(plan.tasks))
    assert all(waves)
    assert plan.wave(plan.waves) == []


def test_plan_of_empty_matrix_has_no_tasks() -> None:
    plan = plan_of(wl.zeros((0, 0), tile=4) @ wl.zeros((0, 0), tile=4))
    assert (plan.tasks, plan.waves, plan.flops, plan.parallelism, plan.projected) == (0, 0, 0, 0, 0)
    plan.check()
    assert "0 × 0" in str(plan)


def test_a_plan_cannot_be_changed() -> None:
    plan = plan_of(R(10, 10, 5).T)
    with pytest.raises(FrozenInstanceError):
        plan.cut = Cut("fixed", 1)  # type: ignore[misc]


# one plan for many runs


def test_a_loop_over_data_plans_once() -> None:
    plans = {id(plan_of(R(60, 60, 20).gram(wl.from_array(w, tile=20)).cholesky())) for w in np.ones((5, 60))}
    assert len(plans) == 1


def test_changed_functions_and_seeds_are_data() -> None:
    def mapped(c: float) -> Plan:
        return plan_of(wl.map_tiles(lambda tile: c * tile, wl.random((60, 60), tile=20, seed=int(c))))

    assert mapped(1) is mapped(2)


@pytest.mark.parametrize(
    "other",
    [
        lambda: R(60, 60, 20).gram().shift(2.0).cholesky(),
        lambda: R(60, 60, 20).gram().shift(1.0 + 1e-16 + 2.3e-16).cholesky(),
        lambda: R(60, 40, 20).gram().shift(1.0).cholesky(),
        lambda: R(60, 60, 30).gram().shift(1.0).cholesky(),
        lambda: R(60, 60, 20, "float32").gram().shift(1.0).cholesky(),
        lambda: R(60, 60, 20, "complex128").gram().shift(1.0).cholesky(upper=True),
        lambda: wl.from_array(np.ones((60, 60)), tile=20).gram().shift(1.0).cholesky(),
        lambda: R(60, 60, 20).T.gram().shift(1.0).cholesky(),
    ],
)
def test_plan_cache_tells_apart_what_changes_tasks(other: Callable[[], wl.BigMatrix]) -> None:
    first = plan_of(R(60, 60, 20).gram().shift(1.0).cholesky())
    assert plan_of(other()) is not first
    assert plan_of(R(60, 60, 20).gram().shift(1.0).cholesky()) is first


def test_a_matrix_times_itself_is_not_a_product_of_two() -> None:
    A, B = R(40, 40, 20), wl.random((40, 40), tile=20, seed=1)
    assert plan_of(A @ A) is plan_of(B @ B)
    assert plan_of(A @ B) is not plan_of(A @ A)
    assert plan_of(A @ B) is plan_of(B @ A)


def test_another_executor_or_cut_is_another_plan() -> None:
    A = R(60, 60, 20).gram().cholesky()
    assert plan_of(A, 1 << 40) is not plan_of(A, 1 << 41)
    assert plan_of(A, cut=Cut("fixed", 1)) is not plan_of(A)
    node = made(A._node)
    assert make_plan([node], MODEL, whole=[node])[0] is not make_plan([node], MODEL)[0]


def test_only_the_last_few_plans_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "_KNOWN", type(plan_module._KNOWN)())
    first = plan_of(R(3, 3, 3).T)
    for n in range(4, 40):
        plan_of(R(n, n, n).T)
        assert plan_of(R(3, 3, 3).T) is first  # the one that is in use stays
    assert len(plan_module._KNOWN) <= 16


class Meddling:
    """Key that lets another thread make a plan where it is looked at."""

    meddle = False

    def __hash__(self) -> int:
        if self.meddle:
            plan_module._KNOWN[object(),] = plan_of(R(3, 3, 3).T)
        return 1


def test_plans_are_counted_while_others_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """By other threads, which come where keys are looked at."""
    plan = plan_of(R(3, 3, 3).T)
    monkeypatch.setattr(plan_module, "_KNOWN", type(plan_module._KNOWN)())
    for _ in range(3):
        plan_module._KNOWN[Meddling(),] = plan
    monkeypatch.setattr(Meddling, "meddle", True)
    assert plan_module.plans_bytes() >= 3 * plan.graph.tiles.nbytes


def test_originals_name_the_data_behind_each_array() -> None:
    A, B = R(40, 40, 20), wl.random((40, 40), tile=20, seed=1)
    for left, right in ((A, B), (B, A)):
        plan, originals = make_plan([made((left @ right)._node)], MODEL)
        (task, *_) = plan.graph.tiles.tasks
        term = task.terms[0]
        assert originals[term.a.tile.array] is left._node
        assert originals[term.b.tile.array] is right._node
