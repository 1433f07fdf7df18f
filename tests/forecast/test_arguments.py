"""What makes no sense is refused at once, and in words that say what would."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla.errors import PlanError, SettingError
from wrenla.forecast.engine import Engine
from wrenla.forecast.forecast import Forecast

A = wl.zeros((400, 400), tile=100).shift(1.0)


def plan_of(x: Any = None, **engine: Any) -> Forecast:
    known = {"flops_per_second": 1e9, "bytes_per_second": 1e9, "latency": 0.0, **engine}
    return wl.plan(A.cholesky() if x is None else x, executor=Engine(**known))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("workers", 0),
        ("workers", 1.5),
        ("workers", math.nan),
        ("workers", math.inf),
        ("workers", "4"),
        ("workers", True),
        ("initial_workers", 0),
        ("allowed_bytes", "2 GiB"),
        ("cache_bytes", -1),
        ("flops_per_second", 0),
        ("flops_per_second", "1e9"),
        ("flops_per_second", 1e-320),
        ("bytes_per_second", -1.0),
        ("total_bytes_per_second", math.nan),
        ("total_bytes_per_second", None),
        ("workers_per_second", 0.0),
        ("requests_per_second", 0.0),
        ("latency", -1.0),
        ("latency", 1e300),
        ("cold_start", math.inf),
        ("dispatch", -0.1),
        ("dispatch", None),
        ("overlap", 1.1),
        ("overlap", None),
        ("failures", -0.1),
        ("failures", 1.0),
        ("stragglers", 2.0),
        ("straggler_factor", 0.5),
        ("straggler_factor", math.inf),
        ("dollars_per_second", -1.0),
        ("seed", None),
        ("seed", [1]),
        ("seed", 0.5),
    ],
)
def test_bad_engines_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name}=.*: |failures=1: "):
        Engine(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("workers", 0, "a whole number, at least 1"),
        ("latency", -1.0, r"a number, from 0 to 1e\+15"),
        ("overlap", 1.1, "a number, from 0 to 1"),
        ("flops_per_second", 0, "a number, at least 1e-06"),
        ("straggler_factor", math.inf, r"a number, from 1 to 1e\+15"),
        ("seed", 0.5, "a whole number"),
    ],
)
def test_numbers_are_refused_in_the_words_of_arguments(name: str, value: Any, words: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name}={value}: {words}$"):
        Engine(**{name: value})


def test_whole_numbers_are_whole_numbers_whatever_their_type() -> None:
    engine = Engine(workers=20.0, initial_workers=np.int64(2), workers_per_second=2)  # type: ignore[arg-type]
    assert (type(engine.workers), type(engine.initial_workers)) == (int, int)
    assert plan_of().simulate(engine).seconds > 0
    assert plan_of().simulate(Engine(workers=10**14, initial_workers=1, workers_per_second=1e-3)).seconds > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"memory": -5}, r"memory=-5: a whole number of megabytes, from 128 to 10,240"),
        ({"memory": 50}, r"memory=50: a whole number"),
        ({"memory": 10**6}, r"memory=1000000: a whole number"),
        ({"memory": "2 GiB"}, r"memory='2 GiB': a whole number"),
        ({"timeout": 0}, r"timeout=0: a number of seconds greater than 0"),
        ({"timeout": math.nan}, r"timeout=nan: a number of seconds greater than 0"),
        ({"storage": 100}, r"storage=100: a whole number of megabytes, from 512 to 10,240"),
        ({"workers": 0}, r"workers=0: a whole number"),
    ],
)
def test_bad_functions_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Engine.aws_lambda(**arguments)


def test_prices_are_prices(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"prices='prices.toml': wl.Prices\(…\)"):
        Engine.aws_lambda(prices="prices.toml")  # type: ignore[arg-type]
    for bad in ("a", -1.0, math.nan, math.inf, True):
        with pytest.raises(ValueError, match=r"put=.*: a number of dollars"):
            wl.Prices(put=bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"region=3: a text"):
        wl.Prices(region=3)  # type: ignore[arg-type]
    (tmp_path / "latin.toml").write_bytes(b'date = "\xff"')
    with pytest.raises(SettingError, match=r"latin.toml.*decode"):
        wl.Prices.read(tmp_path / "latin.toml")
    table = (Path(wl.__file__).parent / "executors/aws_lambda/prices.toml").read_text("utf-8")
    (tmp_path / "inf.toml").write_text(table.replace("0.000005", "inf"))
    with pytest.raises(SettingError, match=r"put=inf: a number of dollars, at least 0"):
        wl.Prices.read(tmp_path / "inf.toml")


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"tile": [0]}, r"tile=0: a whole number"),
        ({"tile": [None]}, r"tile=None: a whole number"),
        ({"tile": "64"}, r"tile='64': a whole number"),
        ({"workers": [1.5]}, r"workers=1.5: a whole number"),
        ({"workers": [True]}, r"workers="),
        ({"memory": ["much"]}, r"much"),
        ({"memory": [math.nan]}, r"memory="),
        ({"cut": ["often"]}, r"cut='often': 'none', a number"),
        ({"cut": "0"}, r"cut='0': 'none', a number"),
        ({"cut": [None]}, r"cut='None': 'none', a number"),
    ],
)
def test_choices_that_make_no_sense(choice: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_of().options(**choice)


def test_one_choice_needs_no_list() -> None:
    plan = plan_of()
    assert [option.tile for option in plan.options(tile=50)] == [100, 50]
    assert [option.bytes_allowed for option in plan.options(memory="1 GiB")][1:] == [1 << 30]
    assert [option.bytes_allowed for option in plan.options(memory=1 << 30)][1:] == [1 << 30]
    assert {option.cut for option in plan.options(cut="none")} >= {"not cut"}
    assert {option.cut for option in plan.options(cut=2)} >= {"groups of 2"}


def test_what_makes_plans_anew_returns_what_was_planned() -> None:
    def made(tile: int) -> dict[str, Any]:
        return {
            "a": wl.zeros((400, 400), tile=tile).shift(1.0).cholesky(),
            "b": [wl.zeros(9, tile=tile) + 1.0],
        }

    plan = wl.plan(made(100), executor=Engine.aws_lambda())
    assert plan.options(tile=50, make=made)[1].tasks == wl.plan(made(50), executor=Engine.aws_lambda()).tasks
    with pytest.raises(TypeError, match=r"make=3: a function"):
        plan.options(tile=50, make=3)  # type: ignore[arg-type]
    for other in (None, np.ones(3), [], {"a": 3}):
        with pytest.raises(TypeError, match=r"make\(50\) returned .*: a BigMatrix"):
            plan.options(tile=50, make=lambda tile, other=other: other)
    with pytest.raises(ValueError, match=r"make\(50\) returned .* \[\(9,\)\], not \[\(400, 400\), \(9,\)\]"):
        plan.options(tile=50, make=lambda tile: wl.zeros(9, tile=tile) + 1.0)


def test_schedules_have_names() -> None:
    with pytest.raises(ValueError, match=r"schedule='foo': 'waves' or 'dataflow'"):
        plan_of().simulate(schedule="foo")  # type: ignore[arg-type]


def test_tiles_that_were_asked_for_are_planned() -> None:
    A = wl.random((2048, 2048), tile=512)
    plan = plan_of(A @ wl.random((2048, 2048), tile=512, seed=1))
    assert 16 * (512 / 16) ** 3 > 500_000  # by the number of products there might be too many tasks
    assert [option.tile for option in plan.options(tile=[16, 512])] == [512, 16]
    assert plan.options(tile=[16])[1].tasks == 128**2
    assert 16 not in {option.tile for option in plan_of(A @ A).options()}


def test_plans_of_the_same_tasks_stand_there_once() -> None:
    plan = plan_of(wl.random((1000, 1000), tile=100) * 2.0)
    options = plan.options()
    assert len(options) == len({(option.tile, option.workers, option.bytes_allowed) for option in options})
    assert len(plan.options(cut=["none", "4"])) == 2  # somebody has asked for both
    sums = plan_of(wl.random((4000, 4000), tile=100).gram()).options()
    assert len({option.cut for option in sums if option.tile == 100}) >= 3


def test_tasks_that_take_no_time() -> None:
    fast = {"flops_per_second": math.inf, "bytes_per_second": math.inf, "latency": 0.0}
    found = plan_of().simulate(Engine(**fast, cold_start=1.0, workers=1000))
    assert (found.seconds, found.work, found.workers) == (1.0, 0.0, 0)
    assert "workers     0 at most\n" in str(found)  # no share of no time


def test_numbers_of_the_slowest_engines_are_numbers() -> None:
    plan = plan_of(flops_per_second=1e-6, latency=9e14, dollars_per_second=9e14)
    for found in (plan, plan.simulate()):
        assert str(found)
        text = found.to_json()
        assert json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_plan_that_does_not_fit_says_what_to_change() -> None:
    x = wl.zeros((8000, 8000), tile=2000).shift(1.0).cholesky()
    with pytest.raises(
        PlanError, match=r"allowed\): give the function 469 MB of memory or more \(memory=, wrenla"
    ):
        wl.plan(x, executor=Engine.aws_lambda(memory=128))
    with pytest.raises(PlanError, match=r"use tile=\d+ or smaller, or give the function [\d,]+ MB"):
        wl.plan(x, executor=Engine.aws_lambda(memory=256))
    with pytest.raises(PlanError, match=r"use tile=\d+ or smaller, or allow more memory \(allowed_mem, "):
        wl.plan(x, executor=Engine(allowed_bytes=10 << 20))


@pytest.mark.parametrize("memory", [3538, "3538 MB", "3538 mb", "3538 MiB", 3538 << 20])
def test_memory_of_functions_is_in_the_megabytes_of_aws(memory: int | str) -> None:
    plan = wl.plan(A.cholesky(), executor=Engine.aws_lambda(memory=1769))
    expected = Engine.aws_lambda(memory=3538).allowed_bytes
    assert plan.options(memory=memory)[1].bytes_allowed == expected


def test_the_memory_that_a_function_has_is_no_other_plan() -> None:
    plan = wl.plan(A.cholesky(), executor=Engine.aws_lambda(memory=1769))
    assert len(plan.options(memory=1769)) == len(plan.options(memory="1769 MB")) == 1
    with pytest.raises(ValueError, match=r"memory=12: a whole number of megabytes, from 128 to 10,240"):
        plan.options(memory=12)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"timeout": 901}, ValueError, r"timeout=901: a number of seconds, from 0 to 900"),
        ({"timeout": math.inf}, ValueError, r"timeout=inf: a number of seconds"),
        ({"workers": None}, ValueError, r"workers=None: a whole number, at least 1"),
        ({"arm": "yes"}, TypeError, r"arm is True or False, not 'yes'"),
    ],
)
def test_functions_that_aws_does_not_have(
    given: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Engine.aws_lambda(**given)


def test_plan_of_nothing_says_nothing_of_kinds_and_places() -> None:
    plan = wl.plan(wl.zeros((0, 0)).shift(1.0).cholesky())
    rows = dict(plan.rows())
    assert (rows["tasks"], rows["temporary"]) == ("0", "none")
    assert "workers     0 at most\n" in str(plan.simulate())


def test_function_that_is_too_small_is_told_what_would_do() -> None:
    with pytest.raises(PlanError) as told:
        wl.plan(A.cholesky(), executor=Engine.aws_lambda(memory=128))
    least = int(re.search(r"give the function (\d+) MB of memory or more", str(told.value))[1])  # type: ignore[index]
    assert wl.plan(A.cholesky(), executor=Engine.aws_lambda(memory=least)).tasks >= 10
    with pytest.raises(PlanError):
        wl.plan(A.cholesky(), executor=Engine.aws_lambda(memory=least - 1))
    large = wl.zeros((40_000, 40_000), tile=20_000).shift(1.0).cholesky()
    with pytest.raises(PlanError, match="use tile=") as told:
        wl.plan(large, executor=Engine.aws_lambda(memory=10_240))
    assert "give the function" not in str(told.value)  # there is none


def test_engine_that_names_nothing_is_the_default_executor() -> None:
    x = wl.random((800, 800), tile=100).gram().shift(800.0).cholesky()
    plan = wl.plan(x)
    for engine in (Engine(), Engine(failures=0.1, seed=3)):
        same = wl.plan(x, executor=engine)
        assert (same.seconds, same.room, same.model) == (plan.seconds, plan.room, plan.model)
    assert wl.plan(x, executor=Engine(workers=7)).model.workers == 7


def test_factors_are_no_matrices_but_have_some() -> None:
    with pytest.raises(TypeError, match=r"CholeskyFactor: what a factor is used for.*\.solve\(b\)"):
        wl.plan(wl.linalg.cho_factor(wl.eye(4)))
