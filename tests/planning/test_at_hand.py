"""Tiles at hand: what a worker has read or made it need not ask a far store for, as far as there is room."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

import wrenla as wl
from tests.planning.conftest import Stored
from tests.rates import RATES
from wrenla.algorithms.factorizations.cholesky import cholesky
from wrenla.algorithms.matmul import matmul
from wrenla.forecast.engine import Engine
from wrenla.forecast.simulate import simulate
from wrenla.planning.cost_model import TILES_IN_USE, ExecutorModel
from wrenla.planning.cut import Cut
from wrenla.planning.graph import Graph
from wrenla.planning.plan import Plan, make_plan
from wrenla_handler.rates import Rates

FAR = ExecutorModel(*(3, 20e9, 75e6, 0.03, 600.0, 1 << 40), dollars_per_get=1.0, cache_bytes=1 << 40)
TILE = 8 * 64 * 64


def planned(stored: Stored, what: str, model: ExecutorModel = FAR, cut: Cut | None = None) -> Plan:
    node = cholesky(stored(384, 384, 64, "pos"))
    if what != "cholesky":
        A = stored(384, 384, 64, "hermitian" if what == "symmetric" else "general")
        node = matmul(A, stored(384, 384, 64))
    return make_plan([node], model, cut=cut or Cut())[0]


def played(graph: Graph, workers: int, seed: int) -> float:
    """Return the part of the reads that workers with room for all ask for, if chance hands out the tasks."""
    chance = random.Random(seed)
    at_hand: list[set[object]] = [set() for _ in range(workers)]
    asked = 0
    for p in range(len(graph)):
        mine = at_hand[chance.randrange(workers)]
        refs = set(graph.task(p).refs())
        asked += len(refs - mine)
        mine |= refs | {graph.out(p)}
    return asked / int(graph.gets.sum())


@pytest.mark.parametrize("workers", [1, 3, 1000])
@pytest.mark.parametrize("cut", [Cut(), Cut("fixed", 2), Cut("doubling", 4)], ids=str)
@pytest.mark.parametrize("what", ["cholesky", "matmul", "symmetric"])
def test_part_that_is_asked_for_is_that_of_chance(what: str, cut: Cut, workers: int, stored: Stored) -> None:
    graph = planned(stored, what, cut=cut).graph
    workers = min(workers, len(graph))
    expected = sum(played(graph, workers, seed) for seed in range(5)) / 5
    assert graph.part_fetched(workers, 1 << 40) == pytest.approx(expected, abs=0.04)


@pytest.mark.parametrize(("room", "part"), [(-1.0, 0.0), (0.0, 0.0), (0.25, 0.25), (1.0, 1.0), (9.0, 1.0)])
def test_tiles_for_which_there_is_no_room_are_asked_for_again(
    room: float, part: float, stored: Stored
) -> None:
    graph = planned(stored, "matmul").graph
    nbytes = TILE * (36 + 36 + 36)  # the factors and the product
    least = graph.part_fetched(3, 1 << 40)
    found = graph.part_fetched(3, max(0, round(TILES_IN_USE * TILE + room * nbytes)))
    assert found == pytest.approx(1 - part * (1 - least))


@pytest.mark.parametrize("rates", [None, RATES], ids=["nominal", "measured"])
def test_plans_and_simulations_count_with_what_is_at_hand(rates: Rates | None, stored: Stored) -> None:
    model = replace(FAR, rates=rates and rates.at_store(75e6, 75e6))
    plan, anew = (planned(stored, "matmul", replace(model, cache_bytes=room)) for room in (1 << 40, 0))
    assert anew.bytes_read_expected == anew.bytes_read == plan.bytes_read
    assert plan.bytes_read_expected == pytest.approx(plan.graph.fetched * plan.bytes_read, abs=1)
    assert plan.bytes_read_expected < 0.5 * plan.bytes_read
    assert plan.requests_expected - plan.tasks == plan.cost["requests"] < anew.cost["requests"]
    assert plan.work < anew.work
    texts = [dict(each.rows()) for each in (plan, anew)]
    assert f"at most, {plan.requests_expected:,} expected" in texts[0]["requests"]
    assert "expected" in texts[0]["read"]
    assert "expected" not in texts[1]["read"] + texts[1]["requests"]
    document = plan.summary()
    assert (document["bytes_read"], document["requests"]) == (plan.bytes_read, plan.requests)
    assert document["requests_expected"] == plan.requests_expected
    for each, room in ((plan, None), (anew, None), (anew, 1 << 40), (plan, 0)):
        found = simulate(each, Engine(cache_bytes=room))
        same = plan if room or (room is None and each is plan) else anew
        assert found.bytes_read == pytest.approx(same.bytes_read_expected, abs=1)
        assert found.cost["requests"] == pytest.approx(same.cost["requests"])
        if room is None:
            assert found.work == pytest.approx(each.work)
    more = simulate(plan, Engine(workers=30))
    assert more.bytes_read > plan.bytes_read_expected  # each of them has to ask


@pytest.mark.parametrize("sent", [0.0, 1e6], ids=["nobody knows how fast", "measured"])
def test_time_of_an_upload_counts_if_it_is_known(sent: float) -> None:
    A = wl.from_array(np.ones((256, 256)), tile=64)
    model = replace(FAR, rates=replace(RATES, sent=sent), uploads=True)
    node = matmul(A._node, A._node)
    plan, near = (make_plan([node], each)[0] for each in (model, replace(model, uploads=False)))
    assert plan.uploaded == (16, 8 * 256**2)
    assert plan.beside - near.beside == pytest.approx(8 * 256**2 / sent if sent else 0.0)
    assert ("not in that below" in dict(plan.rows())["upload"]) != bool(sent)
    found = simulate(plan, Engine())
    assert found.seconds == pytest.approx(plan.seconds, rel=0.01)


def test_nothing_is_chosen_by_what_is_at_hand(stored: Stored) -> None:
    """Whoever resumes a run finds the same cut, wherever tiles are kept."""
    A = stored(24 * 512, 24 * 512, 512, "pos")
    cuts = {make_plan([cholesky(A)], replace(FAR, cache_bytes=room))[0].cut for room in (0, 1 << 40)}
    assert len(cuts) == 1


def test_threads_of_one_process_keep_tiles_together(stored: Stored) -> None:
    plan = planned(stored, "matmul", replace(FAR, processors=2))
    assert plan.requests_expected == plan.tasks + 36 + 36  # each tile of the factors, once
    assert simulate(plan, Engine(workers=30)).gets == 72


@pytest.mark.parametrize(("store", "keeps"), [("s3://bucket/there", True), ("", False)])
def test_a_store_that_is_near_is_asked_for_each_tile(
    store: str, keeps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if store:
        monkeypatch.setenv("WRENLA_STORE", store)
    monkeypatch.setenv("WRENLA_MEASURE", "true")
    monkeypatch.setattr("wrenla.executors.local.executor.measured_rates", lambda *of: RATES)
    with wl.LocalExecutor(workers=2) as executor:
        assert bool(executor.measured().cache_bytes) == keeps
