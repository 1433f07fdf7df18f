"""A block of a user's function is timed when a plan is shown, once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from tests.rates import RATES
from wrenla.evaluate import function_rates

_calls: list[tuple[int, ...]] = []


def counted(rows: Any, cols: Any) -> Any:
    _calls.append((len(rows), len(cols)))
    return np.exp(-abs(rows[:, None] - cols) / 9.0)


@pytest.fixture(autouse=True)
def executor(monkeypatch: pytest.MonkeyPatch) -> Iterator[wl.LocalExecutor]:
    """Rates are known, functions are not."""
    monkeypatch.setattr("wrenla.executors.local.executor.measured_rates", lambda *_: RATES)
    monkeypatch.setenv("WRENLA_MEASURE", "true")
    function_rates._known.clear()
    _calls.clear()
    with wl.LocalExecutor(workers=2) as made:
        yield made


def test_a_plan_asks_a_function_for_one_block_once(executor: wl.LocalExecutor) -> None:
    K = wl.from_function(counted, (300, 400), tile=200)
    first = wl.plan(K @ np.ones(400), executor=executor)
    assert set(_calls) == {(256, 256)}
    assert len(_calls) <= 3
    _calls.clear()
    assert wl.plan(K @ np.ones(400), executor=executor).graph is first.graph
    (K @ np.ones(400)).compute(executor)
    assert (256, 256) not in _calls
    assert first.model.rates == RATES
    assert first.model.functions == function_rates.function_rates([K._node], False) != ()


def test_a_run_asks_for_no_block_more_than_it_needs(executor: wl.LocalExecutor) -> None:
    wl.from_function(counted, (300, 400), tile=200).compute(executor)
    assert (256, 256) not in _calls


def test_small_matrices_and_vectors(executor: wl.LocalExecutor) -> None:
    wl.plan(wl.from_function(counted, (30, 40), tile=20).norm(), executor=executor)
    assert set(_calls) == {(30, 40)}
    v = wl.from_function(lambda rows: rows * 1.0, 500, tile=100)
    assert wl.plan(v.norm(), executor=executor).model.functions


def test_a_slow_function_is_asked_once(executor: wl.LocalExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 100, 7))
    monkeypatch.setattr(function_rates.time, "perf_counter", lambda: float(next(clock)))
    plan = wl.plan(wl.from_function(counted, (256, 256), tile=128).norm(), executor=executor)
    assert len(_calls) == 1
    assert [rate for _, rate in plan.model.functions] == [pytest.approx(8 * 256**2 / 7)]


def test_a_function_that_fails_is_no_error_of_the_plan(executor: wl.LocalExecutor) -> None:
    def fails(rows: Any, cols: Any) -> Any:
        raise OSError("the disk is gone")

    K = wl.from_function(fails, (30, 40), tile=20)
    assert wl.plan(K.norm(), executor=executor).model.functions == ()
    with pytest.raises(OSError, match="the disk is gone"):
        K.norm().compute(executor)


def test_functions_are_not_asked_where_nothing_is_measured(
    executor: wl.LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRENLA_MEASURE", "off")
    wl.plan(wl.from_function(counted, (300, 400), tile=200).norm(), executor=executor)
    assert _calls == []


def test_each_function_has_its_rate(executor: wl.LocalExecutor) -> None:
    """No more of them are remembered than is sensible."""

    def waits(rows: Any, cols: Any) -> Any:
        time.sleep(0.02)
        return rows[:, None] + 1.0 * cols

    K = wl.from_function(counted, (256, 256), tile=256)
    W = wl.from_function(waits, (256, 256), tile=256)
    plans = {name: wl.plan(x, executor=executor) for name, x in {"K": K, "W": W, "both": K + W}.items()}
    fast, slow = (dict(plans[name].model.functions) for name in "KW")
    assert dict(plans["both"].model.functions) == fast | slow
    (rate,) = slow.values()
    assert rate <= 8 * 256**2 / 0.02, "also while it waits"
    # what nobody calls takes as long as before
    assert plans["both"].work == pytest.approx(plans["K"].work + plans["W"].work, rel=0.1)
    for number in range(300):
        function_rates._known[str(number)] = 1.0
    wl.plan(wl.from_function(lambda i, j: 2.0 * i[:, None] + j, (30, 30), tile=20), executor=executor)
    assert len(function_rates._known) == 256


def test_functions_of_tiles_are_not_asked(executor: wl.LocalExecutor) -> None:
    seen = list[tuple[int, ...]]()

    def double(tile: Any, *more: Any) -> Any:
        seen.append(tile.shape)
        return 2 * tile

    A = wl.map_tiles(double, wl.eye(200, tile=100), wl.eye(200, tile=100))
    assert wl.plan(A.norm(), executor=executor).model.functions == ()
    assert seen == []


def test_another_function_of_the_same_shape_is_another_plan(
    executor: wl.LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = iter((1e9, 1e6))
    monkeypatch.setattr(function_rates, "_timed", lambda spec, blob: next(rates))
    first, second = (
        wl.plan(wl.from_function(function, (300, 400), tile=200).norm(), executor=executor)
        for function in (counted, lambda rows, cols: 2 * counted(rows, cols))
    )
    assert second.work - first.work == pytest.approx(8 * 300 * 400 * (1e-6 - 1e-9))
