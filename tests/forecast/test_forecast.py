"""A plan beside others, drawn, and in a notebook."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from tests.rates import RATES
from wrenla.errors import PlanError
from wrenla.evaluate.evaluation import plan_of
from wrenla.executors.aws_lambda.function_model import FunctionSpec, with_memory
from wrenla.forecast.forecast import Forecast
from wrenla.forecast.options import Option, Options
from wrenla.forecast.retile import main_tile, retiled
from wrenla.planning.cost_model import ExecutorModel
from wrenla.planning.plan import Plan
from wrenla_handler.rates import Rates

A = wl.random((1024, 1024), tile=128)
S = A.gram().shift(1.0)


def make(tile: int) -> wl.BigMatrix:
    return wl.random((1024, 1024), tile=tile).solve(np.ones(1024))


def test_plan_stands_beside_others() -> None:
    options = wl.plan(S.cholesky()).options()
    first, *others = options
    assert (first.current, first.tile) == (True, 128)
    assert {option.tile for option in others} >= {32, 64, 256, 512}
    assert len({option.cut for option in others if option.tile == 128}) >= 2
    assert sum(option.recommended for option in options) == 1
    assert options.recommended in list(options)


def test_plans_of_other_tiles_are_those_that_such_tiles_get() -> None:
    options = wl.plan(S.cholesky()).options(tile=[64, 256])
    for option in options:
        again = wl.random((1024, 1024), tile=option.tile).gram().shift(1.0).cholesky()
        plan = wl.plan(again)
        found = (option.tasks, option.seconds, option.bytes_projected, option.cut)
        assert found == (plan.tasks, plan.seconds, plan.projected, str(plan.cut))


EXPRESSIONS: dict[str, Any] = {
    "product with a vector": lambda t: wl.random((1000, 600), tile=t) @ wl.from_array(np.ones(600), tile=t),
    "elementwise": lambda t: (
        np.exp(wl.random((1000, 600), tile=t)) * 2 + wl.random((1000, 600), seed=1, tile=t)
    ),
    "solve": lambda t: (
        wl.random((900, 900), tile=t).gram().shift(1.0).solve(wl.random((900, 3), tile=t), assume_a="pos")
    ),
    "slice": lambda t: wl.random((1000, 1000), tile=t)[:, :600].gram(),
    "rechunked": lambda t: wl.random((1000, 1000), tile=100).rechunk(t) @ wl.random((1000, 1000), tile=t),
    "function": lambda t: wl.from_function(np.add, (1000, 1000), tile=t).sum(axis=0),
    "transposed": lambda t: wl.random((600, 1000), tile=t).T @ wl.random((600, 1000), tile=t),
}


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("edge", [500, 1000, 4000, 20_000])
def test_long_sums_are_cut_as_their_tiles_say(edge: int, weights: bool) -> None:
    def made(tile: int, what: str) -> wl.BigMatrix:
        B = wl.random((40_000, 30), tile=(tile, 30))
        if what == "gram":
            return B.T.gram(wl.random(40_000, tile=tile) if weights else None)
        return B.T @ wl.random(40_000, tile=tile) if weights else B.T @ B

    for what in ("gram", "product"):
        nodes = [made(2000, what)._node]
        (again,) = retiled(nodes, 2000, edge)
        for node, tile in ((again, edge), (retiled([again], edge, 2000)[0], 2000)):
            found, expected = wl.plan(wl.BigMatrix(node)), wl.plan(made(tile, what))
            assert (found.kernels, found.waves) == (expected.kernels, expected.waves)
            assert (found.seconds, found.projected) == (expected.seconds, expected.projected)


@pytest.mark.parametrize("what", sorted(EXPRESSIONS))
@pytest.mark.parametrize("tile", [150, 400])
def test_retiled_is_what_would_have_been_made(what: str, tile: int) -> None:
    nodes = [EXPRESSIONS[what](200)._node]
    if what == "rechunked":
        assert main_tile(nodes) in (100, 200)
        return
    assert main_tile(nodes) == 200
    (again,) = retiled(nodes, 200, tile)
    expected = EXPRESSIONS[what](tile)._node
    assert again.grid == expected.grid
    assert wl.plan(wl.BigMatrix(again)).kernels == wl.plan(wl.BigMatrix(expected)).kernels


def test_lu_is_made_anew_for_other_tiles() -> None:
    plan = wl.plan(make(256))
    with pytest.raises(PlanError, match=r"in tiles of 128 as it is .*: pass make=, a function"):
        plan.options(tile=[128])
    options = plan.options(tile=[128, 256], make=make)
    assert [option.tile for option in options] == [256, 128]
    assert options[1].tasks == wl.plan(make(128)).tasks
    assert {option.tile for option in plan.options()} == {256}  # nobody has asked for others


def test_choices_are_combined() -> None:
    options = wl.plan(S.cholesky()).options(
        tile=[128, 256], cut=["none", "2", "doubling 4"], workers=[1, 8], memory=["1 GiB", "1 MiB"]
    )
    assert len(options) == 1 + 2 * 3 * 2 * 2
    assert {option.cut for option in options[1:]} == {"not cut", "groups of 2", "doubling to 4"}
    small = [option for option in options if option.bytes_allowed == 1 << 20]
    assert {option.fits for option in small if option.tile == 256} == {False}
    assert "does not fit" in str(options)


def an_option(seconds: float, dollars: float = 0.0, tasks: int = 1, **more: Any) -> Option:
    return Option(
        128, "not cut", 2, 1 << 30, 1 << 20, tasks, seconds, dollars, more.pop("fits", True), **more
    )


@pytest.mark.parametrize(
    ("options", "best"),
    [
        ([an_option(2.0, current=True), an_option(1.0)], 1),
        ([an_option(1.01, current=True), an_option(1.0)], 0),
        ([an_option(2.0), an_option(1.01, tasks=5), an_option(1.0, tasks=9)], 1),
        ([an_option(1.0, fits=False), an_option(9.0)], 1),
        ([an_option(10.0, 1.0, current=True), an_option(2.0, 4.0), an_option(1.0, 9.0)], 1),
        ([an_option(1.0, fits=False)], None),
        ([], None),
    ],
)
def test_recommended_is_the_fastest_for_its_price(options: list[Option], best: int | None) -> None:
    found = Options(options)
    marked = [number for number, option in enumerate(found) if option.recommended]
    assert marked == ([] if best is None else [best])
    assert (found.recommended is None) == (best is None)


def test_options_as_table_json_and_html() -> None:
    options = wl.plan(S).options(workers=[1])
    titles = "tile sums workers allowed needed tasks time cost"
    assert str(options).splitlines()[0].split() == titles.split()
    assert [each["tile"] for each in json.loads(options.to_json())] == [option.tile for option in options]
    assert options._repr_html_().count("<tr") == 1 + len(options)


def test_plan_as_json() -> None:
    plan = wl.plan(S.cholesky())
    known = json.loads(plan.to_json())
    assert (known["tasks"], known["waves"], sum(known["tasks_by_wave"])) == (
        plan.tasks,
        plan.waves,
        plan.tasks,
    )
    assert known["results"] == [
        {"shape": [1024, 1024], "tile": [128, 128], "dtype": "float64", "structure": "lower"}
    ]
    assert known["dollars"] == {"compute": 0.0, "requests": 0.0, "storage": 0.0, "total": 0.0}
    assert json.loads(plan.to_json(indent=2)) == known


def test_plan_in_a_notebook() -> None:
    plan = wl.plan(S.cholesky())
    page = ET.fromstring(plan._repr_html_())
    texts = [cell.text for cell in page.iter("th")]
    assert texts == [name for name, _ in plan.rows()]
    assert len(list(page.iter("rect"))) == plan.waves
    empty = wl.plan(wl.zeros((0, 0)).gram())
    assert "<table>" in empty._repr_html_()


SVG = "{http://www.w3.org/2000/svg}"


def test_drawing_has_every_task_in_its_wave(tmp_path: Path) -> None:
    plan = wl.plan(S.cholesky())
    text = plan.draw(tmp_path / "dag.svg")
    assert (tmp_path / "dag.svg").read_text(encoding="utf-8") == text
    root = ET.fromstring(text)
    titles = [each.text or "" for each in root.iter(f"{SVG}title")]
    assert sum(title.startswith("task ") for title in titles) == plan.tasks
    paths = list(root.iter(f"{SVG}path"))
    assert len(paths) == sum(len(set(plan.graph.needs_of(p).tolist())) for p in range(plan.tasks))
    columns: dict[str, set[int]] = {}
    for group in root.iter(f"{SVG}g"):
        title, circle = group.find(f"{SVG}title"), group.find(f"{SVG}circle")
        if title is not None and circle is not None and title.text:
            number = int(title.text.split()[1].rstrip(":"))
            columns.setdefault(circle.get("cx", ""), set()).add(int(plan.graph.level[number]))
    assert all(len(waves) == 1 for waves in columns.values())
    assert len(columns) == plan.waves
    legend = {each.text for each in root.iter(f"{SVG}text")}
    assert {f"{count} {kernel}" for kernel, count in plan.kernels.items()} <= legend


def test_graphs_in_which_nothing_can_be_seen_are_not_drawn() -> None:
    with pytest.raises(PlanError, match=r"a picture of 2,\d+ tasks shows nothing, so up to 1,000 are drawn"):
        wl.plan(wl.random((4096, 4096), tile=64).gram()).draw()
    assert wl.plan(wl.zeros((0, 0)).gram()).draw().endswith("</svg>")


def test_drawing_replaces_pictures_only(tmp_path: Path) -> None:
    plan = wl.plan(wl.eye(60, tile=20))
    (tmp_path / "A.npy").write_bytes(b"numbers")
    with pytest.raises(ValueError, match=r"A.npy': the picture is SVG; name the file \*.svg"):
        plan.draw(tmp_path / "A.npy")
    assert (tmp_path / "A.npy").read_bytes() == b"numbers"
    (tmp_path / "dag.svg").write_text("old")
    plan.draw(tmp_path / "dag.svg")
    assert (tmp_path / "dag.svg").read_text() == plan.draw()


def test_functions_are_as_fast_and_dear_as_their_memory() -> None:
    engine = wl.Engine.aws_lambda(workers=16, memory=1769)
    options = wl.plan(S.cholesky(), executor=engine).options(memory=["3538 MiB"])
    now, twice = options
    plan = wl.plan(S.cholesky(), executor=wl.Engine.aws_lambda(workers=16, memory=3538))
    assert (twice.seconds, twice.bytes_allowed) == (pytest.approx(plan.seconds), plan.model.allowed_bytes)
    assert twice.dollars == pytest.approx(plan.dollars)
    assert twice.seconds < now.seconds
    around = wl.plan(S.cholesky(), executor=engine).options()
    assert {option.workers for option in around} == {4, 8, 16, 32, 64}
    assert len({option.bytes_allowed for option in around}) == 3
    with pytest.raises(ValueError, match=r"memory=102400: a whole number of megabytes, from 128 to 10,240"):
        wl.plan(S.cholesky(), executor=engine).options(memory=["100 GiB"])


def on_lambda(memory: int, storage: int = 512, rates: Rates | None = None) -> Forecast:
    """Return a plan for functions that have been measured."""
    model = FunctionSpec(memory, wl.Prices(), storage=storage).model(16)
    known = {each.name: getattr(model, each.name) for each in fields(ExecutorModel)}
    nodes = [S.cholesky()._node]
    plan = plan_of(nodes, replace(model, rates=rates) if rates else ExecutorModel(**known))
    return Forecast(**{each.name: getattr(plan, each.name) for each in fields(Plan)}, asked=tuple(nodes))


def test_rates_that_were_measured_follow_the_memory() -> None:
    rates = replace(RATES, read=75e6, written=75e6)
    now, half, twice = on_lambda(1769, rates=rates).options(memory=["884 MiB", "3538 MiB"])
    assert half.seconds > 1.1 * now.seconds
    assert now.seconds > 1.05 * twice.seconds
    share = 884 / 1769
    expected = replace(rates.shared(1 / share).at_store(75e6, 75e6), task=rates.task, tile=rates.tile)
    found = with_memory(on_lambda(1769, rates=rates).model, 884)
    assert (found.rates, found.function.memory) == (expected, 884)
    again = with_memory(found, 1769)
    assert (again.flops_per_second, again.function) == (pytest.approx(30e9), on_lambda(1769).model.function)


def test_storage_of_functions_does_not_cost_more_with_memory() -> None:
    (_, twice), exact = on_lambda(1769, 10_240).options(memory=["3538 MiB"]), on_lambda(3538, 10_240)
    assert twice.dollars == pytest.approx(exact.dollars, rel=1e-12)


def test_an_engine_with_a_price_of_invocations_need_not_be_a_function() -> None:
    engine = wl.Engine(
        workers=4, allowed_bytes=64 << 30, dollars_per_invocation=1e-6, dollars_per_second=1e-4
    )
    options = wl.plan(S.cholesky(), executor=engine).options()
    assert {option.bytes_allowed for option in options} == {64 << 30}
    assert {option.workers for option in options} == {1, 2, 4, 8, 16}
    own = wl.Engine.aws_lambda(workers=16, allowed_bytes=1 << 30)
    now, twice = wl.plan(S.cholesky(), executor=own).options(memory=["3538 MiB"])
    assert (now.bytes_allowed, twice.bytes_allowed) == (1 << 30, on_lambda(3538).model.allowed_bytes)


def test_more_workers_than_processors_share_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wrenla.executors.local.executor.processors", lambda: 2)

    def measured(store: str, workers: int, threads: int, allowed: int) -> Rates:
        return RATES.shared(max(1.0, workers / 2))

    monkeypatch.setattr("wrenla.executors.local.executor.measured_rates", measured)
    monkeypatch.setenv("WRENLA_MEASURE", "on")
    found = {}
    for workers in (2, 16):
        with wl.LocalExecutor(workers, allowed_mem="4 GiB") as executor:
            plan = wl.plan(A.gram(), executor=executor)
            found[workers] = plan.seconds, plan.options(workers=[1, 2, 16])
    for _, options in found.values():
        seconds = {option.workers: option.seconds for option in options}
        assert seconds[16] == pytest.approx(found[16][0], rel=0.01)
        assert seconds[2] == pytest.approx(found[2][0], rel=0.01)
        assert seconds[2] < seconds[16]
        assert seconds[2] < seconds[1]
        allowed = {option.workers: option.bytes_allowed for option in options}
        assert 8 * allowed[16] == pytest.approx(allowed[2], rel=0.1)


def test_functions_on_arm_with_storage_and_another_time_limit() -> None:
    prices = wl.Prices()
    engine = wl.Engine.aws_lambda(arm=True, timeout=60, storage=2048)
    assert engine.dollars_per_second == prices.per_second(1769, arm=True, storage=2048)
    assert engine.longest_task == 48
    _, twice = wl.plan(S.cholesky(), executor=engine).options(memory=["3538 MiB"])
    again = wl.plan(
        S.cholesky(), executor=wl.Engine.aws_lambda(memory=3538, arm=True, timeout=60, storage=2048)
    )
    assert twice.dollars == pytest.approx(again.dollars)


def test_what_an_engine_does_not_name_is_as_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    with wl.LocalExecutor(workers=2) as executor:
        measured = replace(executor.model, rates=RATES)
        monkeypatch.setattr(executor, "measured", lambda: measured)
        model = wl.plan(S, executor=wl.Engine(workers=5)).model
        assert (model.workers, model.flops_per_second) == (5, measured.typical.flops_per_second)
        assert (model.latency, model.rates) == (RATES.task, None)
        asked = []
        monkeypatch.setattr(executor, "measured", lambda: asked.append(1) or measured)
        named = wl.Engine(flops_per_second=1e9, bytes_per_second=1e9, latency=0.0)
        assert wl.plan(S, executor=named).model.allowed_bytes == executor.model.allowed_bytes
        assert not asked


@pytest.mark.process
def test_plan_for_functions_needs_no_executor() -> None:
    def dollars(_: int) -> float:
        import wrenla as wl

        A = wl.zeros((100, 100), tile=50).shift(1.0)
        return wl.plan(A.cholesky(), executor=wl.Engine.aws_lambda()).dollars

    with wl.LocalExecutor(workers=1) as executor:
        assert list(executor.map(dollars, [0])) == [pytest.approx(dollars(0))]


def test_plan_for_an_engine_is_that_of_such_an_executor() -> None:
    engine = wl.Engine(workers=7, flops_per_second=1e9, allowed_bytes=1 << 30, latency=1.0)
    plan = wl.plan(S.cholesky(), executor=engine)
    model = plan.model
    assert (model.workers, model.flops_per_second, model.allowed_bytes, model.latency) == (
        7,
        1e9,
        1 << 30,
        1.0,
    )
    assert plan.room == 0  # no memory is shared with it
    assert plan.simulate().seconds == pytest.approx(plan.seconds, rel=0.01)
    assert wl.plan(S.cholesky(), engine).model == model
    with pytest.raises(PlanError, match=r"\(projected\), a worker may use"):
        wl.plan(S.cholesky(), executor=wl.Engine(allowed_bytes=1000))


def test_function_on_lambda_needs_no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    prices = wl.Prices(gb_second_x86=1.0, put=0.0, get=0.0, invocation=1e-9, gb_month=0.0)
    plan = wl.plan(S.cholesky(), executor=wl.Engine.aws_lambda(workers=2, memory=1024, prices=prices))
    assert plan.dollars == pytest.approx(plan.work, rel=1e-6)
    table = resources.files("wrenla.executors.aws_lambda").joinpath("prices.toml").read_text("utf-8")
    (tmp_path / "prices.toml").write_text(table.replace("0.0000166667", "2.0"))
    monkeypatch.setenv("WRENLA_PRICES", str(tmp_path / "prices.toml"))
    assert wl.plan(S, executor=wl.Engine.aws_lambda(memory=1024)).model.dollars_per_second == 2.0
    engine = wl.Engine.aws_lambda(workers=3000, cold_start=9.0)
    assert (engine.cold_start, engine.initial_workers, engine.workers) == (9.0, 1000, 3000)


def test_arrays_of_this_process_are_read_from_the_store_where_workers_are_elsewhere() -> None:
    A = wl.from_array(np.ones((400, 400)), tile=100)
    far = wl.plan(A @ A, executor=wl.Engine.aws_lambda(workers=10))
    near = wl.plan(A @ A)
    assert far.bytes_read == 2 * 4**3 * 8 * 100**2
    assert near.bytes_read == 0
    assert far.work > 4**2 * 4 * 8 * 100**2 / far.model.bytes_per_second
