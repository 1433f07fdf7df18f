"""Graphs: what a task reads is data or was made before; waits, levels and costs are those of its reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import wrenla as wl
from wrenla.evaluate.rehearse import rehearse
from wrenla.evaluate.storing import made
from wrenla.planning.canonical import topological
from wrenla.planning.cost_model import ExecutorModel
from wrenla.planning.cut import Cut
from wrenla.planning.expression import Node
from wrenla.planning.graph import Graph, TileGraph
from wrenla_handler.tiles.arrays import TileRef
from wrenla_handler.tiles.task import Apply

MODEL = ExecutorModel(2, 60e9, 2e9, 1e-4, 60.0, 1 << 40)

BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""This machine may have other things to do."""

CUTS = st.sampled_from([Cut(), Cut("fixed", 1), Cut("fixed", 3), Cut("doubling", 2), Cut("doubling", 16)])


@st.composite
def matrices(draw: st.DrawFn) -> wl.BigMatrix:
    """A matrix made of others in one of many ways, a vector or a number."""
    n, tile = draw(st.integers(1, 12)), draw(st.integers(1, 6))
    dtype = draw(st.sampled_from(["float64", "complex64"]))
    A = wl.random((n, draw(st.integers(1, 12))), tile=(tile, draw(st.integers(1, 6))), dtype=dtype)
    w = wl.random(A.shape[1], tile=draw(st.integers(1, 6)))
    S: Any = draw(st.sampled_from([A.gram(), A.gram(weights=w)])).shift(float(n))
    b = wl.random((n, draw(st.integers(1, 3))), tile=(draw(st.integers(1, 6)), 2), dtype=dtype)
    ways = {
        "gram": lambda: S,
        "cholesky": lambda: S.cholesky(),
        "upper": lambda: S.cholesky(upper=True),
        "solve": lambda: S.solve(b),
        "vector": lambda: S.solve(wl.random(n, tile=tile)),
        "backwards": lambda: S.cholesky(upper=True).solve(b),
        "product": lambda: A.H @ b,
        "triangles": lambda: S.cholesky() @ S.tril(),
        "weighed": lambda: (A.scale_columns(w) @ A.T).scale_rows(wl.random(n, tile=3)),
        "sum": lambda: (2.0 * S + S.T) @ b,
        "sliced": lambda: S[n // 3 :, ::-2],
        "rechunked": lambda: S.cholesky().rechunk((3, 2)),
        "block": lambda: wl.block([[S, b], [b.H, wl.eye(b.shape[1], tile=2)]]),
        "mapped": lambda: wl.map_tiles(np.exp, S.tril(), S),
        "norm": lambda: (A - A).norm(1),
        "determinant": lambda: S.slogdet().logabsdet,
        "sums": lambda: S.sum(axis=0),
    }
    return ways[draw(st.sampled_from(sorted(ways)))]()


def graph_of(node: Node, cut: Cut, whole: bool = False) -> Graph:
    (node,) = rehearse([node]).nodes
    node = made(node)
    tiles = TileGraph(topological([node]), frozenset({node.key} if whole else ()))
    return Graph(tiles, cut, MODEL)


@settings(BUSY, max_examples=300)
@given(matrices(), CUTS, st.booleans())
def test_every_graph_is_valid(A: wl.BigMatrix, cut: Cut, whole: bool) -> None:
    graph = graph_of(A._node, cut, whole)
    data = {name for name in graph.tiles.arrays if name not in {t.out.array for t in graph.tiles.tasks}}
    makers: dict[TileRef, int] = {}
    for p in range(len(graph)):
        task = graph.task(p)
        assert task.out == graph.out(p)
        assert task.out not in makers, "single assignment"
        refs = list(task.refs())
        waits = {makers[ref] for ref in refs if ref.array not in data}  # KeyError: not made before
        assert waits == set(graph.needs_of(p).tolist())
        assert graph.level[p] == max((graph.level[q] + 1 for q in waits), default=0)
        assert graph.reads[p] == len(refs)
        assert graph.gets[p] == sum(graph.tiles.arrays[ref.array].stored for ref in refs)
        for ref in refs:
            rows, cols = graph.tiles.arrays[ref.array].grid.counts
            assert 0 <= ref.i < rows
            assert 0 <= ref.j < cols
        makers[task.out] = p
    for number, task in enumerate(graph.tiles.tasks):
        assert makers[task.out] == graph.final[number]


@settings(BUSY, max_examples=40)
@given(matrices(), CUTS)
def test_followers_are_the_reverse_of_needs(A: wl.BigMatrix, cut: Cut) -> None:
    graph = graph_of(A._node, cut)
    first, followers = graph.followers
    forward = {(q, p) for p in range(len(graph)) for q in graph.needs_of(p).tolist()}
    backward = {(q, p) for q in range(len(graph)) for p in followers[first[q] : first[q + 1]].tolist()}
    assert forward == backward
    assert len(followers) == len(graph.needs)


@settings(BUSY, max_examples=40)
@given(matrices(), CUTS)
def test_costs_are_those_of_the_kernels_and_tiles(A: wl.BigMatrix, cut: Cut) -> None:
    graph = graph_of(A._node, cut)
    arrays = graph.tiles.arrays
    for p in range(len(graph)):
        task = graph.task(p)
        rows, cols = task.shape
        factor = 4 if np.dtype(task.dtype).kind == "c" else 1
        flops = 0.0
        # the arguments of a function may be rows, columns and numbers
        plain = not any(isinstance(a.tile, Apply) for term in task.terms for a, _ in term.products())
        for term in task.terms if plain else ():
            for a, _ in term.products():
                extent = arrays[a.tile.array].grid.extent(a.tile.i, a.tile.j)
                inner = extent[1] if a.op in "NR" else extent[0]
                flops += factor * inner * (rows * (rows + 1) if term.lower else 2 * rows * cols)
        if task.finish.kernel in ("potrf", "trsm_left", "trsm_right"):
            order = rows if task.finish.kernel == "trsm_left" else cols
            potrf = cols**3 / 3 + cols**2 / 2 + cols / 6
            flops += factor * (potrf if task.finish.kernel == "potrf" else rows * cols * order)
            assert not plain or graph.flops[p] == pytest.approx(flops)
        elif not task.finish.kernel and plain:
            assert graph.flops[p] == pytest.approx(flops)
        refs = list(task.refs())
        assert graph.bytes_read[p] == sum(arrays[r.array].nbytes for r in refs if arrays[r.array].stored)
        assert graph.bytes_written[p] == arrays[task.out.array].nbytes


@settings(BUSY, max_examples=40)
@given(matrices(), CUTS, st.integers(0, 2**32))
def test_longest_paths_add_up_task_seconds(A: wl.BigMatrix, cut: Cut, seed: int) -> None:
    graph = graph_of(A._node, cut)
    weights = np.random.default_rng(seed).random(len(graph))
    expected = weights.copy()
    for p in reversed(range(len(graph))):
        after = [q for q in range(p + 1, len(graph)) if p in graph.needs_of(q)]
        expected[p] += max((expected[q] for q in after), default=0.0)
    np.testing.assert_allclose(graph.longest_paths(weights), expected)


@settings(BUSY, max_examples=40)
@given(matrices())
def test_cutting_changes_neither_flops_nor_results(A: wl.BigMatrix) -> None:
    uncut = graph_of(A._node, Cut())
    for cut in (Cut("fixed", 1), Cut("fixed", 2), Cut("doubling", 4)):
        graph = graph_of(A._node, cut)
        assert graph.flops.sum() == pytest.approx(uncut.flops.sum())
        assert {graph.out(int(p)) for p in graph.final} == {uncut.out(int(p)) for p in uncut.final}
        # one more tile read and written for each cut
        assert graph.reads.sum() - uncut.reads.sum() == len(graph) - len(uncut)


def test_a_symmetric_result_can_be_stored_whole() -> None:
    G = wl.random((20, 8), tile=4).gram()
    lower, whole = graph_of(G._node, Cut()), graph_of(G._node, Cut(), whole=True)
    assert len(lower) == 15
    assert len(whole) == 25
    mirrored = [whole.task(p) for p in range(15, 25)]
    assert all(task.out.i < task.out.j and task.base[0].op == "C" for task in mirrored)


def test_graph_of_empty_matrix_has_no_tasks() -> None:
    graph = graph_of((wl.zeros((0, 5), tile=2) @ wl.zeros((5, 3), tile=2))._node, Cut())
    assert len(graph) == 0
    assert graph.followers[0].tolist() == [0]
