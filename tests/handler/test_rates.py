"""Rates, and their measurement on tiles so small that it takes no time."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rates import RATES
from wrenla_handler import measure as module
from wrenla_handler.errors import StoreError
from wrenla_handler.measure import measure, measure_at
from wrenla_handler.rates import CURVES, DTYPES, Curve, Rates, fitted
from wrenla_handler.stores.base import Store
from wrenla_handler.stores.urls import open_store
from wrenla_handler.threads import Threads
from wrenla_kernels import scipy_blas_info

speeds = st.floats(1e6, 1e13)


@given(st.floats(1, 1e4), st.floats(1.1, 100), speeds, speeds)
def test_a_curve_keeps_to_what_was_measured(small: float, times: float, slow: float, fast: float) -> None:
    curve = fitted((small, small * times), (slow, fast))
    assert 0 < curve.flops <= 2 * fast * (1 + 1e-9)
    assert curve.half >= 0
    if slow >= fast:  # small tiles are never expected to be faster
        assert curve == Curve(fast)
    elif curve.flops < 2 * fast * (1 - 1e-9):
        assert curve.rate(small) == pytest.approx(slow)
        assert curve.rate(small * times) == pytest.approx(fast)


def test_rates_survive_as_plain_numbers() -> None:
    assert Rates.from_plain(RATES.plain()) == RATES
    assert hash(Rates.from_plain(RATES.plain())) == hash(RATES)


@pytest.mark.parametrize(
    "damage",
    [
        lambda found: found.pop("read"),
        lambda found: found.update(read=0.0),
        lambda found: found.update(task=-1.0),
        lambda found: found.update(mine=1.5),
        lambda found: found.update(mine=math.nan),
        lambda found: found.update(virtual=0.5),
        lambda found: found.update(handing=1.0),  # more than all of `task`
        lambda found: found.update(request=-1.0),
        lambda found: found.update(gathered=math.inf),
        lambda found: found.update(fresh=math.nan),
        lambda found: found.update(fresh=math.inf),
        lambda found: found.update(copied="fast"),
        lambda found: found.update(kernels={}),
        lambda found: found["kernels"].update(gemm=[]),
        lambda found: found["kernels"].update(gemm=[1e9, -1.0]),
        lambda found: found["dtypes"].update(float32=0),
    ],
)
def test_damaged_rates_are_refused(damage: Callable[[dict[str, Any]], object]) -> None:
    found = RATES.plain()
    damage(found)
    with pytest.raises((ValueError, TypeError, KeyError)):
        Rates.from_plain(found)


def test_what_a_run_takes_beside_its_tasks() -> None:
    near = RATES.beside(3, 2, 1e9)
    assert near == pytest.approx(3 * RATES.start + 1e9 / RATES.fresh)
    far = replace(RATES, request=0.01, gathered=1e6, sent=1e5)
    begun, saving, brought = (
        far.beside(*of) - RATES.beside(*of) for of in ((1, 0, 0.0), (0, 1, 0.0), (0, 0, 1e9))
    )
    assert 0 < begun < saving < 1
    assert brought == pytest.approx(1e3 - 1e9 / RATES.fresh)
    assert far.beside(0, 0, 0.0, 1e6) == 10
    assert RATES.beside(0, 0, 0.0, 1e6) == 0  # nobody knows how fast


def test_way_to_a_worker_is_a_part_of_a_task() -> None:
    far = RATES.behind(0.5)
    assert (far.task, far.handing) == (pytest.approx(RATES.task + 0.5), 0.5)
    assert far.behind(0.1).task == pytest.approx(RATES.task + 0.1)
    assert far.shared(2).handing == 1.0


def test_more_workers_than_processors_take_turns() -> None:
    shared = RATES.shared(4)
    assert RATES.shared(1) is RATES
    assert shared.curve("gemm") == replace(RATES.curve("gemm"), flops=RATES.curve("gemm").flops / 4)
    assert (shared.copied, shared.task) == (RATES.copied / 4, RATES.task * 4)
    assert shared.dtypes == RATES.dtypes


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure tiles that take no time."""
    for name, value in {
        "SMALLEST": 8,
        "_LARGE": 24,
        "_MIDDLE": 16,
        "_ROWS": 64,
        "_ENTRIES": 2048,
        "_COLUMNS": 8,
        "_PIECE": 4,
        "_NEW": 2,
        "_NEW_SECONDS": 1e-4,
        "_TASKS": 2,
        "_SECONDS": 1e-4,
    }.items():
        monkeypatch.setattr(module, name, value)


@pytest.mark.parametrize(("workers", "threads", "by_clock"), [(1, 1, False), (3, 1, False), (1, 2, True)])
def test_measurement_leaves_nothing(
    little: None, tmp_path: Path, workers: int, threads: int, by_clock: bool
) -> None:
    before = scipy_blas_info().threads
    found = measure(str(tmp_path), workers, threads, by_clock=by_clock)
    assert Rates.from_plain(found.plain()) == found
    assert found.factor("float64") == 1.0
    assert list(tmp_path.rglob("*")) == []
    assert scipy_blas_info().threads == before


@pytest.mark.parametrize("here", [True, False])
def test_measurement_keeps_to_its_memory(tmp_path: Path, here: bool) -> None:
    """Large temporaries of malloc would stay in its arenas, beside what the run is allowed."""
    tracemalloc.start()
    try:
        measure_at(str(tmp_path) if here else "s3://no-such-bucket/prefix", 1, 1, 24 << 20)
        peak = tracemalloc.get_traced_memory()[1]  # maps aside
    finally:
        tracemalloc.stop()
    assert peak < (8 << 20) + (0 if here else 24 << 20)


def test_with_fewer_threads_than_workers_they_take_turns(
    little: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "Threads", lambda workers, name: Threads(1, name))
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    assert measure(str(tmp_path), 2, 1).task > 0


def test_a_store_that_cannot_be_written_to_is_not_measured(little: None, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StoreError):
        measure(str(tmp_path / "file"))
    assert measure_at(str(tmp_path / "file"), 1, 1).written > 0


def test_a_far_store_is_not_asked(little: None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, real = list[str](), open_store

    def opened(url: str) -> Store:
        asked.append(url)
        return real(url)

    monkeypatch.setattr(module, "open_store", opened)
    found = measure_at("s3://no-such-bucket/prefix", 1, 1)
    assert (found.read, found.written) == (75e6, 75e6)
    assert {url.partition("://")[0] for url in asked} == {"memory"}


def test_each_dtype_and_kernel_has_its_rate() -> None:
    assert [RATES.curve(name).flops for name in CURVES] == [curve.flops for curve in RATES.kernels]
    assert [RATES.factor(dtype) for dtype in DTYPES] == [2.0, 1.0, 2.0, 1.0]
    assert RATES.factor("int64") == 1.0


@pytest.mark.parametrize(
    ("virtual", "written", "direct", "past"),
    [
        (0, 4e9, 2e9, False),
        (0, 1e9, 1.2e9, False),
        (0, 1e9, 1.3e9, True),
        (1, 4e9, 1.1e9, True),
        (1, 4e9, 0.9e9, False),
        (1, 0.4e9, 1.5e9, True),
    ],
)
def test_a_virtual_machine_does_not_trust_the_memory_that_it_just_had(
    virtual: float, written: float, direct: float, past: bool
) -> None:
    found = replace(RATES, virtual=virtual, written=written, direct=direct)
    assert found.past_cache == past
    assert found.saved == (direct if past else written)
