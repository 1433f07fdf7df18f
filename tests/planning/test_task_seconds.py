"""Expected seconds: what each part of a task counts, and that nothing is chosen by what was measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.planning.conftest import Stored
from tests.rates import RATES
from wrenla.algorithms.elementwise import elementwise
from wrenla.algorithms.factorizations.cholesky import cholesky
from wrenla.algorithms.factorizations.lu import lu
from wrenla.algorithms.gram import gram
from wrenla.algorithms.matmul import matmul
from wrenla.evaluate.storing import made
from wrenla.planning.cost_model import ExecutorModel, choose_tile
from wrenla.planning.cut import Cut
from wrenla.planning.expression import Node
from wrenla.planning.plan import Plan, make_plan
from wrenla_handler.rates import CURVES, SMALLEST, Curve, Rates

FREE = 1e30
"""So fast that it takes no time."""

FLAT = Rates((Curve(FREE),) * len(CURVES), (1.0,) * 4, *[FREE] * 9, task=1e-30, tile=1e-30, start=1e-30)


def rates(**known: float | Curve) -> Rates:
    """Return rates of which only some take time."""
    curves = tuple(known.pop(name, Curve(FREE)) for name in CURVES)
    return replace(FLAT, kernels=curves, **known)


def planned(
    node: Node, measured: Rates | None, cut: Cut | None = None, saved: bool = False, tile_bytes: int = 0
) -> Plan:
    model = ExecutorModel(2, 60e9, 2e9, 1e-4, 60.0, 1 << 50, tile_bytes=tile_bytes, rates=measured)
    return make_plan([node], model, cut=cut, whole=[node] if saved else [])[0]


def test_without_rates_all_operations_and_bytes_are_alike(stored: Stored) -> None:
    graph = planned(cholesky(stored(400, 400, 100, "pos")), None, Cut("fixed", 1)).graph
    nbytes = graph.bytes_read + graph.bytes_written
    np.testing.assert_allclose(graph.seconds, 1e-4 + graph.flops / 60e9 + nbytes / 2e9)


@pytest.mark.parametrize("cut", [Cut(), Cut("fixed", 1), Cut("doubling", 4)], ids=str)
def test_kernels_count_apart(cut: Cut, stored: Stored) -> None:
    node, n, b = cholesky(stored(800, 800, 100, "pos")), 8, 100
    flops = {
        "potrf": n * (b**3 / 3 + b**2 / 2 + b / 6),
        "trsm_right": n * (n - 1) / 2 * b**3,
        "gemm": 2 * b**3 * (n * (n - 1) * (n - 2) / 6),
    }
    flops["herk"] = planned(node, None).flops - sum(flops.values())
    for kernel, count in flops.items():
        found = planned(node, rates(**{kernel: Curve(1e9)}), cut).work
        if kernel in ("gemm", "herk"):  # which of them updates a diagonal tile is Cholesky's
            continue
        assert found == pytest.approx(count / 1e9)
    both = planned(node, rates(gemm=Curve(1e9), herk=Curve(1e9)), cut).work
    assert both == pytest.approx((flops["gemm"] + flops["herk"]) / 1e9)


def test_small_tiles_are_slower(stored: Stored) -> None:
    slow = rates(gemm=Curve(1e9, 100.0))
    small, large = (planned(matmul(stored(800, 800, b), stored(800, 800, b)), slow) for b in (100, 400))
    assert small.work == pytest.approx(2 * 2 * 800**3 / 1e9)
    assert large.work == pytest.approx(1.25 * 2 * 800**3 / 1e9)


def test_a_thin_product_is_slower_than_a_square_one(stored: Stored) -> None:
    slow = rates(gemm=Curve(1e9, 100.0))
    A = stored(400, 400, 400)
    thin, square = (planned(matmul(A, stored(400, k, (400, k))), slow) for k in (1, 400))
    assert thin.work / thin.flops > 10 * square.work / square.flops


@pytest.mark.parametrize(
    ("columns", "part"), [(1, 1 - 1 / SMALLEST), (SMALLEST // 2, 0.5), (SMALLEST, 0), (400, 0)]
)
def test_the_factors_of_a_thin_product_are_read_for_little(columns: int, part: float, stored: Stored) -> None:
    """What was measured on tiles has their memory in it, what is thinner than these comes beside it."""
    A, B = stored(400, 400, 200), stored(400, columns, (200, columns))
    found = planned(matmul(A, B), rates(gemm=Curve(1e9), streamed=1e8))
    read = 8 * (400 * 400 + 2 * 400 * columns)
    assert found.work == pytest.approx(2 * 400 * 400 * columns / 1e9 + part * read / 1e8)


@pytest.mark.parametrize("cut", [Cut(), Cut("fixed", 1)], ids=str)
def test_each_tile_that_a_task_reads_takes_time(cut: Cut, stored: Stored) -> None:
    plan = planned(matmul(stored(400, 400, 100), stored(400, 400, 100)), rates(tile=1e-3), cut)
    assert plan.work == pytest.approx(plan.reads * 1e-3)
    assert plan.reads >= 2 * 4**3


@pytest.mark.parametrize("cut", [Cut(), Cut("fixed", 1), Cut("doubling", 2)], ids=str)
def test_factors_are_made_once_however_a_sum_is_cut(cut: Cut, stored: Stored) -> None:
    made = elementwise("exp", stored(400, 400, 100))  # where it is read: each tile has one reader
    found = planned(matmul(made, stored(400, 100, 100)), rates(called=1e9), cut).work
    assert found == pytest.approx(8 * 400 * 400 / 1e9)


@pytest.mark.parametrize(("dtype", "times"), [("float32", 0.5), ("complex64", 2.0), ("complex128", 4.0)])
def test_dtypes_have_their_factors(dtype: str, times: float, stored: Stored) -> None:
    measured = replace(rates(gemm=Curve(1e9)), dtypes=(2.0, 1.0, 2.0, 1.0))
    works = [
        planned(matmul(stored(200, 200, 100, dtype=each), stored(200, 200, 100, dtype=each)), measured).work
        for each in (dtype, "float64")
    ]
    assert works[0] == pytest.approx(times * works[1])


def test_rows_are_exchanged_at_their_own_rate(stored: Stored) -> None:
    """In the tile columns right of a panel, and back in the panels left of it."""
    factor, *_ = lu(stored(400, 400, 100))
    assert "laswp" in planned(factor, None).kernels
    assert planned(factor, rates(exchanged=1e9)).work > 0
    assert planned(factor, rates(potrf=Curve(1e9))).work == pytest.approx(0, abs=1e-12)


def test_reading_ahead_hides_behind_kernels(stored: Stored) -> None:
    node = matmul(stored(200, 200, 100), stored(200, 200, 100))
    kernels = planned(node, rates(gemm=Curve(1e9))).work
    reading = planned(node, rates(read=1e9)).work
    assert planned(node, rates(gemm=Curve(1e9), read=1e9)).work == pytest.approx(max(kernels, reading))
    writing = planned(node, rates(gemm=Curve(1e9), written=1e9, direct=1e9)).work
    assert writing == pytest.approx(kernels + 200 * 200 * 8 / 1e9)


def test_tiles_in_memory_cost_fresh_memory_and_no_writing(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = gram(stored(400, 400, 100))
    known = rates(fresh=1e9, written=1e8, direct=1e8)
    written = planned(node, None).bytes_written
    kept = planned(node, known, tile_bytes=1 << 40)
    assert kept.work == pytest.approx(written / 1e9)
    assert kept.seconds == pytest.approx(kept.work / 2 + 400 * 400 * 8 / 1e9, rel=0.3)  # … and its array
    assert planned(node, known, tile_bytes=1 << 40, saved=True).work == pytest.approx(written_of(node) / 1e8)
    assert planned(node, known).work == pytest.approx(written / 1e8)
    past = replace(known, direct=2e8)  # the page cache
    assert planned(node, past, tile_bytes=1 << 40, saved=True).work == pytest.approx(written_of(node) / 1e8)
    monkeypatch.setattr("wrenla.planning.task_seconds.DIRECT_FROM", 1)  # of small tiles it is not worth it
    past = replace(known, direct=4e8)  # other rates: plans are remembered
    assert planned(node, past, tile_bytes=1 << 40, saved=True).work == pytest.approx(written_of(node) / 4e8)
    assert planned(node, past).work == pytest.approx(written / 1e8), "what a run reads itself goes there"
    half = planned(node, known, tile_bytes=written // 2).work
    assert half == pytest.approx(0.5 * written / 1e9 + 0.5 * written / 1e8)


def written_of(node: Node) -> int:
    return planned(node, None, saved=True).bytes_written


def test_memory_of_dropped_tiles_is_new_once(stored: Stored) -> None:
    """Partial sums go with their only reader; what is asked for stays."""
    node = matmul(stored(400, 400, 100), stored(400, 400, 100))
    plan = planned(node, rates(fresh=1e9), Cut("fixed", 1), tile_bytes=1 << 40)
    result = 400 * 400 * 8
    assert plan.bytes_written == 4 * result
    assert result <= plan.work * 1e9 < 1.2 * result
    L = cholesky(stored(400, 400, 100, "pos"))  # its tiles are read, and stay
    uncut = planned(L, rates(fresh=1e9), Cut(), tile_bytes=1 << 40)
    assert uncut.work == pytest.approx(uncut.bytes_written / 1e9)


def test_long_runs_keep_their_tiles_in_the_store(stored: Stored) -> None:
    """As measured, not as the nominal model says: so many seconds would be lost."""
    node = gram(stored(400, 400, 100))
    quick, slow = (planned(node, rates(herk=Curve(f), gemm=Curve(f)), tile_bytes=1 << 40) for f in (1e9, 1e5))
    assert quick.room > 0 == slow.room


def test_functions_of_entries_count_by_what_they_are(stored: Stored) -> None:
    A = stored(400, 400, 100)
    known = rates(copied=1e10, called=1e9)
    cheap, costly = (planned(made(elementwise(name, A)), known).work for name in ("square", "exp"))
    assert costly - cheap == pytest.approx(400 * 400 * 8 * (1 / 1e9 - 1 / 1e10))


def test_a_run_begins_and_its_result_is_gathered(stored: Stored) -> None:
    node = matmul(stored(200, 200, 100), stored(200, 200, 100))
    assert planned(node, replace(FLAT, start=5.0)).seconds == pytest.approx(5.0)
    assert planned(node, rates(fresh=1e6)).seconds == pytest.approx(200 * 200 * 8 / 1e6)
    assert planned(node, rates(fresh=1e6), saved=True).seconds == pytest.approx(0, abs=1e-9)


# what is chosen

SLOW = replace(RATES, kernels=tuple(Curve(1e8, 500.0) for _ in CURVES), read=1e6, written=1e6, task=1.0)


@pytest.mark.parametrize("measured", [RATES, SLOW, FLAT], ids=["as it is", "slow", "free"])
def test_nothing_is_chosen_by_what_was_measured(measured: Rates, stored: Stored) -> None:
    """Whoever resumes a run finds the same cut, whatever was measured since, and the same tiles."""
    for workers in (2, 64):
        nominal = ExecutorModel(workers, 60e9, 2e9, 1e-4, 60.0, 1 << 32)
        model = replace(nominal, rates=measured)
        for n in (100, 4000, 14336, 100_000):
            assert choose_tile(n, 8, model) == choose_tile(n, 8, nominal)
        for N in (8, 24, 40):  # simulated, and judged by bounds
            A = stored(N * 512, N * 512, 512, "pos")
            assert make_plan([cholesky(A)], model)[0].cut == make_plan([cholesky(A)], nominal)[0].cut


def test_a_model_without_rates_is_its_own_nominal_and_typical_one() -> None:
    model = ExecutorModel(2, 60e9, 2e9, 1e-4, 60.0, 1 << 32)
    assert model.nominal is model is model.typical
    measured = replace(model, rates=RATES)
    assert measured.nominal == model
    assert measured.typical == replace(
        model,
        flops_per_second=RATES.curve("gemm").flops,
        bytes_per_second=min(RATES.read, RATES.written),
        latency=RATES.task,
    )
