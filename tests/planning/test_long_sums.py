"""Long sums are trees, whose shape the grids alone decide; what is square keeps its shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wrenla.algorithms.assemble import copy
from wrenla.algorithms.gram import Gram, gram
from wrenla.algorithms.long_sums import FAN_IN, Parts, Total, _cube_edge, _parts
from wrenla.algorithms.matmul import Matmul, matmul
from wrenla.algorithms.reductions import norm, sum_over
from wrenla.algorithms.solve import cho_solve
from wrenla.algorithms.views import add, flip
from wrenla.planning.canonical import topological
from wrenla.planning.cost_model import ExecutorModel
from wrenla.planning.cut import Cut
from wrenla.planning.expression import Node, make
from wrenla.planning.plan import Plan, make_plan
from wrenla_handler.tiles.grid import Grid

Stored = Callable[..., Node]
PlanOf = Callable[..., Plan]

UNCUT = Cut()
B = 64


def levels(parts: int) -> list[int]:
    """Tasks that add up the parts of one tile, level by level."""
    found = []
    while parts > 1:
        parts = ceil(parts / FAN_IN)
        found.append(parts)
    return found


@pytest.mark.parametrize(
    ("M", "N", "K", "parts"),
    [
        (1, 1, 15, 1),
        (1, 1, 16, 2),
        (1, 1, 65, 8),
        (1, 1, 72, 9),
        (1, 1, 4096, 256),  # 16 = ∛4096 products each
        (2, 3, 100, 11),
        (27, 1, 27, 3),
        (64, 1, 64, 4),
    ],
)
def test_long_sum_has_the_tasks_and_waves_of_its_tree(
    M: int, N: int, K: int, parts: int, stored: Stored, plan_of: PlanOf
) -> None:
    adding = levels(parts)
    more, waves = sum(adding), 1 + len(adding)
    uncut = parts + more if parts > 1 else 1
    plan = plan_of(matmul(stored(M * B, K * B, B), stored(K * B, N * B, B)), cut=UNCUT)
    again = parts + more - 1 if parts > 1 else 0
    assert (plan.tasks, plan.waves) == (M * N * uncut, waves)
    assert plan.reads == M * N * (2 * K + again)
    assert plan.kernels.get("add", 0) == M * N * more
    assert plan.flops == 2 * M * N * K * B**3
    A = stored(M * B, K * B, B)
    parts_of_gram = _parts(Grid((M * B, M * B), (B, B)), A.grid)
    own = M * (M + 1) // 2
    adding = levels(parts_of_gram)
    plan = plan_of(gram(A), cut=UNCUT)
    assert plan.tasks == own * (parts_of_gram + sum(adding))
    assert plan.reads == M * M * K + own * (parts_of_gram + sum(adding) - 1)
    weighted = plan_of(gram(A, stored(K * B, 1, (B, 1), ndim=1)), cut=UNCUT)
    assert weighted.reads == 3 * K * own + own * (parts_of_gram + sum(adding) - 1)


def test_square_product_is_not_cut_into_parts(stored: Stored) -> None:
    for N in (1, 2, 7, 8, 12, 16, 20, 64, 200):
        A, T = stored(N * B, N * B, B), stored(N * B, N * B, B, "lower")
        for node in (matmul(A, A), matmul(A, T), gram(A)):
            assert isinstance(node.op, Matmul | Gram)
        assert not any(isinstance(node.op, Total) for node in topological([cho_solve(T, A)]))
    # nor are products that are nearly so, or whose parts would cost more than they bring
    assert isinstance(matmul(stored(20 * B, 50 * B, B), stored(50 * B, 20 * B, B)).op, Matmul)
    assert isinstance(gram(stored(4096, 1600, (4096, 4))).op, Gram)
    assert isinstance(matmul(stored(0, 100, 1), stored(100, 5, 1)).op, Matmul)


@given(*[st.integers(1, 300)] * 5, st.integers(1, 10**6))
def test_parts_of_long_sum_have_least_length(m: int, n: int, a: int, b: int, c: int, length: int) -> None:
    whole, factor = Grid((m, n), (a, b)), Grid((m, length), (a, c))
    (M, N), K = whole.counts, factor.counts[1]
    parts = _parts(whole, factor)
    assert parts == 1 or K // parts >= max(8, _cube_edge(M * N * K))
    edge = _cube_edge(length)
    assert (edge - 1) ** 3 < length <= edge**3


@pytest.mark.parametrize(("K", "parts"), [(16, 2), (75, 9), (100, 12)])
def test_every_product_is_in_one_part(K: int, parts: int, stored: Stored) -> None:
    """In their order, and in parts of nearly equal length."""
    product = matmul(stored(3, K * 4, (3, 4)), stored(K * 4, 5, (4, 5)))
    (node,) = [node for node in topological([product]) if isinstance(node.op, Parts)]
    tasks = list(node.op.tasks(node))
    inner = [a.tile.j for task in tasks for term in task.terms for a, _ in term.products()]
    assert inner == list(range(K))
    lengths = {task.length for task in tasks}
    assert len(tasks) == parts
    assert max(lengths) - min(lengths) <= 1


def test_the_shape_depends_on_the_grids_alone(stored: Stored, model: ExecutorModel) -> None:
    """Not on workers, memory or the cut. And the result has another name than that of a chain."""
    product = gram(stored(300, 9000, (300, 30)))
    shapes = set()
    for workers, allowed in ((1, 1 << 40), (2, 1 << 50), (300, 1 << 28)):
        for cut in (None, Cut(), Cut("fixed", 3)):
            m = replace(model, workers=workers, allowed_bytes=allowed)
            plan, originals = make_plan([product], m, cut=cut)
            tiles = plan.graph.tiles.tasks
            shapes.add(tuple((originals[t.out.array].key, t.out.i, t.length, len(t.base)) for t in tiles))
    assert len(shapes) == 1
    assert product.key != make(Gram(), product.args[0]).key


def test_all_kinds_of_long_sums_keep_many_workers_busy(stored: Stored, plan_of: PlanOf) -> None:
    """Tall matrices, with weights, times others and times vectors, complex and ragged ones."""
    A, C = stored(80_000, 90, (200, 64), dtype="complex128"), stored(80_000, 90, (200, 64))
    v = stored(80_000, 1, (200, 1), ndim=1)
    for node in (
        gram(flip(A, "C")),
        gram(flip(C, "T"), v),
        matmul(flip(A, "T"), C),
        matmul(flip(C, "T"), v, 1),
    ):
        plan = plan_of(node)
        assert plan.parallelism > 20, node.op
        assert plan.work <= 1.3 * plan_of(_chain(node)).work


def test_inner_products_and_sums_of_products_are_trees_too(stored: Stored, plan_of: PlanOf) -> None:
    C, D = stored(80_000, 90, (200, 64)), stored(80_000, 90, (200, 64))
    v = stored(80_000, 1, (200, 1), ndim=1)
    assert plan_of(matmul(flip(v, "T"), v, 0)).parallelism > 10
    both = copy(add(gram(flip(C, "T")), gram(flip(D, "T"))))
    assert plan_of(both).parallelism > 40


def _chain(node: Node) -> Node:
    """Return the same product without a tree."""
    while not isinstance(node.op, Parts):
        (node,) = node.args
    left, right = node.args
    return make(Matmul(), left, right)


def test_long_reductions(stored: Stored, plan_of: PlanOf) -> None:
    """More than 64 parts are put together 64 at a time, in groups of nearly equal size."""
    N = 200
    A = stored(B, N * B, B)
    groups = ceil(N / 64)
    plan = plan_of(sum_over(A, 1))
    assert (plan.tasks, plan.reads, plan.waves) == (N + groups + 1, 2 * N + groups, 3)
    plan = plan_of(norm(A, "fro"))
    assert (plan.tasks, plan.reads, plan.waves) == (N + groups + 2, 2 * N + groups + 1, 4)
    plan = plan_of(norm(flip(A, "T"), "max"))
    assert (plan.tasks, plan.waves) == (2 * N + groups + 1, 4)
    assert max(len(task.base) for task in plan.graph.tiles.tasks) == 64 - 14  # of 200: 4 × 50
    # where a triangle has no tiles there are no parts
    N, groups = 70, 2
    plan = plan_of(norm(stored(N * B, N * B, B, "lower"), "fro"))
    present = sum(1 for i in range(N) for g in range(groups) if g * N // groups <= i)
    assert plan.tasks == N * (N + 1) // 2 + present + N + 2 + 1
