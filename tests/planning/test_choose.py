"""How sums are cut, and how large tiles are, for a given executor."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wrenla.algorithms.factorizations.cholesky import cholesky
from wrenla.algorithms.gram import gram
from wrenla.algorithms.matmul import matmul
from wrenla.algorithms.triangular import solve_triangular
from wrenla.planning.canonical import topological
from wrenla.planning.choose_cut import _TileCosts, choose_cut, simulate
from wrenla.planning.cost_model import ExecutorModel, choose_tile
from wrenla.planning.cut import Cut
from wrenla.planning.expression import Node, leaf
from wrenla.planning.graph import Graph, TileGraph
from wrenla_handler.tiles.arrays import StoredArray
from wrenla_handler.tiles.grid import Grid
from wrenla_handler.tiles.layout import Structure

LOCAL = ExecutorModel(2, 60e9, 2e9, 1e-4, 60.0, 4 << 30)
CUTS = st.sampled_from([Cut(), Cut("fixed", 1), Cut("fixed", 4), Cut("doubling", 2), Cut("doubling", 16)])


def lambdas(workers: int, longest: float = 600.0) -> ExecutorModel:
    """What numpywren had: cores of 20 GFLOP/s that see S3 at 75 MB/s, and start slowly."""
    return ExecutorModel(workers, 20e9, 75e6, 0.5, longest, 3 << 30)


def stored(rows: int, cols: int, tile: int, structure: Structure = "general") -> Node:
    spec = StoredArray(Grid((rows, cols), (tile, tile)), "float64", 2, f"{structure} {rows} {tile}")
    return leaf(spec, structure)


@cache
def factored(N: int, tile: int) -> TileGraph:
    return TileGraph(topological([cholesky(stored(N * tile, N * tile, tile, "pos"))]))


def tiles_of(node: Node) -> TileGraph:
    return TileGraph(topological([node]))


@pytest.mark.parametrize("N", [8, 14, 24, 64])
@pytest.mark.parametrize("workers", [1, 2])
def test_few_workers_get_few_cuts(N: int, workers: int) -> None:
    for model in (lambdas(workers), ExecutorModel(workers, 60e9, 2e9, 1e-4, 60.0, 4 << 30)):
        cut = choose_cut(factored(N, 2048), model)
        assert cut == Cut() or (cut.kind == "fixed" and cut.size >= N // 4)


@pytest.mark.parametrize("workers", [300, 512])
def test_hundreds_of_workers_on_slow_storage_get_doubling(workers: int) -> None:
    assert choose_cut(factored(64, 4096), lambdas(workers)) == Cut("doubling", 16)


def test_more_workers_never_get_fewer_tasks() -> None:
    counts = [
        len(Graph(factored(24, 2048), choose_cut(factored(24, 2048), lambdas(w)), LOCAL))
        for w in (1, 4, 16, 64, 256)
    ]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


@pytest.mark.every_day(9)
@pytest.mark.parametrize("longest", [30.0, 60.0, 300.0])
@pytest.mark.parametrize("workers", [2, 100, 300])
@pytest.mark.parametrize("make", [cholesky, gram, lambda A: matmul(A, A)], ids=["cholesky", "gram", "matmul"])
def test_no_task_lasts_longer_than_it_may(longest: float, workers: int, make: Callable[[Node], Node]) -> None:
    tiles = tiles_of(make(stored(20 * 4096, 20 * 4096, 4096, "pos" if make is cholesky else "general")))
    model = lambdas(workers, longest)
    graph = Graph(tiles, choose_cut(tiles, model), model)
    assert graph.seconds.max() <= longest


def test_a_term_that_lasts_too_long_is_a_task_of_its_own() -> None:
    tiles = factored(8, 4096)
    assert choose_cut(tiles, lambdas(100, longest=1.0)) == Cut("fixed", 1)


def test_cut_of_sums_without_terms_is_none() -> None:
    assert choose_cut(tiles_of(cholesky(stored(10, 10, 10, "pos"))), LOCAL) == Cut()
    assert choose_cut(TileGraph([]), LOCAL) == Cut()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), CUTS, st.integers(1, 400), st.sampled_from(["cholesky", "solve", "gram"]))
def test_a_simulated_run_keeps_the_bounds(N: int, cut: Cut, workers: int, what: str) -> None:
    A = stored(N * 64, N * 64, 64, "lower" if what == "solve" else "general")
    node = {
        "cholesky": lambda: cholesky(A),
        "solve": lambda: solve_triangular(A, stored(N * 64, 192, 64), "lower"),
        "gram": lambda: gram(A),
    }[what]()
    graph = Graph(tiles_of(node), cut, LOCAL)
    seconds, _ = simulate(graph, workers)
    work, path = float(graph.seconds.sum()), float(graph.longest_paths(graph.seconds).max())
    assert seconds >= max(work / workers, path) * (1 - 1e-9)
    assert seconds <= (work / workers + path) * (1 + 1e-9)  # Graham
    if workers == 1:
        assert seconds == pytest.approx(work)
    # what judges large graphs must not promise more than a run can keep
    (bound,) = _TileCosts(graph.tiles, LOCAL).bounds([cut], workers)
    assert bound <= seconds * (1 + 1e-9)


@pytest.mark.parametrize("cut", [Cut(), Cut("fixed", 3), Cut("doubling", 8)], ids=str)
def test_the_bound_knows_all_the_work_of_a_cut(cut: Cut) -> None:
    tiles = factored(12, 512)
    graph = Graph(tiles, cut, LOCAL)
    (bound,) = _TileCosts(tiles, LOCAL).bounds([cut], 1)
    assert bound == pytest.approx(graph.seconds.sum(), rel=1e-6)


@given(
    st.integers(1, 300_000),
    st.sampled_from([4, 8, 16]),
    st.integers(1, 1000),
    st.integers(1 << 20, 16 << 30),
)
def test_a_task_on_chosen_tiles_fits(length: int, itemsize: int, workers: int, allowed: int) -> None:
    model = ExecutorModel(workers, 60e9, 2e9, 1e-4, 60.0, allowed)
    edge = choose_tile(length, itemsize, model)
    assert 1 <= edge < max(length, 256) + 32
    assert 10 * itemsize * edge**2 <= allowed


def test_enough_tiles_for_two_workers_and_for_hundreds() -> None:
    for length in (4_000, 20_000, 65_536):
        assert 7 <= length / choose_tile(length, 8, LOCAL) < 40
    assert 60 <= 65_536 / choose_tile(65_536, 8, lambdas(300)) < 100
    assert choose_tile(100, 8, LOCAL) == 100
    assert choose_tile(0, 8, LOCAL) == 1
