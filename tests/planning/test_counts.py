"""Tasks, reads, waves, flops: what the literature, and the docstrings of the algorithms, say they are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from math import ceil
from typing import Any

import pytest

from wrenla.algorithms.assemble import block, copy, full, rechunk, take
from wrenla.algorithms.factorizations.block_lu import between_butterflies, block_lu, block_solve
from wrenla.algorithms.factorizations.cholesky import cholesky
from wrenla.algorithms.factorizations.lu import lu
from wrenla.algorithms.gram import gram
from wrenla.algorithms.map_tiles import map_tiles
from wrenla.algorithms.matmul import matmul
from wrenla.algorithms.reductions import diagonal, norm, slogdet_triangular, sum_over, trace
from wrenla.algorithms.solve import cho_solve
from wrenla.algorithms.triangular import solve_triangular
from wrenla.algorithms.views import flip
from wrenla.planning.cost_model import ExecutorModel
from wrenla.planning.cut import Cut
from wrenla.planning.expression import Node, leaf
from wrenla.planning.plan import Plan, make_plan
from wrenla_handler.tiles.arrays import FunctionArray
from wrenla_handler.tiles.grid import Grid

Stored = Callable[..., Node]
PlanOf = Callable[..., Plan]

UNCUT, RIGHT_LOOKING, DOUBLING = Cut(), Cut("fixed", 1), Cut("doubling", 16)
SIDES = range(1, 13)
B = 4096  # so large that lower-order terms do not show in b³


def counts(plan: Plan) -> tuple[int, int, int]:
    """Tasks, tiles read, waves; every task writes one tile."""
    if all(array.stored for array in plan.graph.tiles.arrays.values()):
        assert plan.requests == plan.reads + plan.tasks
    return plan.tasks, plan.reads, plan.waves


def critical_path(plan: Plan, edge: int) -> float:
    return float(plan.graph.longest_paths(plan.graph.flops).max()) / edge**3


@pytest.mark.parametrize("N", SIDES)
def test_cholesky_with_one_task_per_tile(N: int, stored: Stored, plan_of: PlanOf) -> None:
    plan = plan_of(cholesky(stored(N * B, N * B, B, "pos")), cut=UNCUT)
    assert counts(plan) == (N * (N + 1) // 2, N * (N + 1) * (2 * N + 1) // 6, 2 * N - 1)
    # in the table 1 stands for potrf in the first tile and 1/3 is what it is
    expected = 1.5 * N**2 - 13 * N / 6 + 1
    assert critical_path(plan, B) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("N", SIDES)
def test_cholesky_right_looking(N: int, stored: Stored, plan_of: PlanOf) -> None:
    plan = plan_of(cholesky(stored(N * B, N * B, B, "pos")), cut=RIGHT_LOOKING)
    assert counts(plan) == (N * (N + 1) * (N + 2) // 6, N**2 * (N + 1) // 2, 3 * N - 2)
    if N > 1:
        assert critical_path(plan, B) == pytest.approx(3 * N - 10 / 3, rel=1e-3)


@pytest.mark.parametrize("N", SIDES)
@pytest.mark.parametrize("g", [2, 3, 4, 5, 8, 16])
def test_cholesky_in_groups(N: int, g: int, stored: Stored, plan_of: PlanOf) -> None:
    plan = plan_of(cholesky(stored(N * B, N * B, B, "pos")), cut=Cut("fixed", g))
    tasks = sum((N - k) * (k // g + 1) for k in range(N))
    # each piece of a sum but the first reads what the one before has written
    reads = N * (N + 1) * (2 * N + 1) // 6 + tasks - N * (N + 1) // 2
    assert counts(plan) == (tasks, reads, 2 * N - 1 + (N - 1) // g)


@pytest.mark.parametrize("N", SIDES)
def test_cholesky_doubling_waits_no_longer_than_uncut(N: int, stored: Stored, plan_of: PlanOf) -> None:
    plan = plan_of(cholesky(stored(N * B, N * B, B, "pos")), cut=DOUBLING)
    # k terms: 1, 2, 4, 8, 16, 16, … from the last one backwards
    pieces = [1 if k == 0 else sum(start < k for start in (0, 1, 3, 7, 15, 31)) for k in range(N)]
    tasks = sum((N - k) * pieces[k] for k in range(N))
    reads = N * (N + 1) * (2 * N + 1) // 6 + tasks - N * (N + 1) // 2
    assert counts(plan) == (tasks, reads, 2 * N - 1)


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        (DOUBLING, (9_299, 96_659, 127, 322)),
        (Cut("fixed", 1), (45_760, 133_120, 190, 463)),
        (Cut("fixed", 2), (23_408, 110_768, 158, 299)),
        (Cut("fixed", 4), (12_240, 99_600, 142, 181)),
        (Cut("fixed", 8), (6_672, 94_032, 134, 103)),
        (UNCUT, (2_080, 89_440, 127, 14.5)),
    ],
    ids=str,
)
def test_cholesky_of_64_tiles_a_side(
    cut: Cut, expected: tuple[float, ...], stored: Stored, model: ExecutorModel
) -> None:
    only_arithmetic = replace(model, bytes_per_second=math.inf, latency=0.0)
    plan, _ = make_plan([cholesky(stored(64 * B, 64 * B, B, "pos"))], only_arithmetic, cut=cut)
    assert counts(plan) == expected[:3]
    assert plan.parallelism == pytest.approx(expected[3], rel=5e-3)


def of_lu(M: int, N: int) -> tuple[int, int]:
    """Tasks of an LU of M × N tiles, and tiles that they write: a column of them is one object."""
    if N == 1:
        return 1, M
    h = min(N // 2, M)
    tasks, tiles = of_lu(M, h)
    tasks, tiles = tasks + (N - h) + h * (N - h), tiles + (N - h) * M + h * (N - h)
    if h < M:
        below = of_lu(M - h, N - h)
        tasks += (M - h) * (N - h) + below[0] + h
        tiles += (M - h) * (N - h) + below[1] + h * (M - h)
    return tasks, tiles


@pytest.mark.parametrize(("M", "N"), [(1, 1), (2, 2), (5, 5), (8, 8), (7, 3), (3, 7), (1, 4), (4, 1)])
def test_lu(M: int, N: int, stored: Stored, plan_of: PlanOf) -> None:
    plan = plan_of(*lu(stored(M * B, N * B, B)), cut=UNCUT)
    tasks, tiles = of_lu(M, N)
    assert plan.tasks == tasks
    assert int(plan.bytes_written) // (8 * B * B) == tiles  # pivots are a few bytes
    n, m = N * B, M * B
    flops = 2 * m * n * min(m, n) - (m + n) * min(m, n) ** 2 + 2 / 3 * min(m, n) ** 3
    assert plan.flops == pytest.approx(flops, rel=1e-3)


@pytest.mark.parametrize(
    ("N", "expected"),
    [
        (16, (456, 1144, 79)),
        (32, (1968, 5360, 175)),
        pytest.param(64, (8608, 24_544, 383), marks=pytest.mark.slow),
    ],
)
def test_lu_of_many_tiles(
    N: int, expected: tuple[int, int, int], stored: Stored, model: ExecutorModel
) -> None:
    plan, _ = make_plan(list(lu(stored(N * B, N * B, B))), model, cut=UNCUT)
    tiles = int(plan.bytes_written) // (8 * B * B)
    assert (plan.tasks, tiles, plan.waves) == expected
    assert plan.waves == N // 2 * int(math.log2(N)) + 3 * N - 1
    assert plan.reads <= 1.0 * N**3


@pytest.mark.parametrize(("M", "N", "K"), [(1, 1, 1), (2, 3, 4), (5, 1, 2), (12, 12, 12)])
def test_matrix_product(M: int, N: int, K: int, stored: Stored, plan_of: PlanOf) -> None:
    product = matmul(stored(M * B, K * B, B), stored(K * B, N * B, B))
    plan = plan_of(product, cut=UNCUT)
    assert counts(plan) == (M * N, 2 * M * N * K, 1)
    assert critical_path(plan, B) == 2 * K
    assert plan.flops == 2 * M * N * K * B**3
    split = plan_of(product, cut=Cut("fixed", 1))
    assert counts(split) == (M * N * K, 2 * M * N * K + M * N * (K - 1), K)


def test_zero_tiles_are_not_multiplied(stored: Stored, plan_of: PlanOf) -> None:
    N = 6
    lower, dense = stored(N * B, N * B, B, "lower"), stored(N * B, N * B, B)
    assert plan_of(matmul(lower, dense), cut=UNCUT).reads == 2 * N * N * (N + 1) // 2
    both = plan_of(matmul(lower, lower), cut=UNCUT)
    assert counts(both) == (N * (N + 1) // 2, 2 * N * (N + 1) * (N + 2) // 6, 1)


@pytest.mark.parametrize("N", SIDES)
@pytest.mark.parametrize("K", [1, 2, 7])
def test_gram(N: int, K: int, stored: Stored, plan_of: PlanOf) -> None:
    A = stored(N * B, K * B, B)
    plan = plan_of(gram(A), cut=UNCUT)
    assert counts(plan) == (N * (N + 1) // 2, N**2 * K, 1)
    assert critical_path(plan, B) == pytest.approx(2 * K if N > 1 else K, rel=1e-3)
    # with weights no term reads one tile twice, and each reads a vector as well
    weights = stored(K * B, 1, (B, 1), ndim=1)
    weighted = plan_of(gram(A, weights), cut=UNCUT)
    assert counts(weighted) == (N * (N + 1) // 2, 3 * K * N * (N + 1) // 2, 1)


@pytest.mark.parametrize("N", SIDES)
@pytest.mark.parametrize("R", [1, 3])
@pytest.mark.parametrize("uplo", ["lower", "upper"])
def test_triangular_solve(N: int, R: int, uplo: str, stored: Stored, plan_of: PlanOf) -> None:
    T, rhs = stored(N * B, N * B, B, uplo), stored(N * B, R * B, B)
    plan = plan_of(solve_triangular(T, rhs, uplo), cut=UNCUT)
    # a base, a triangle and N − 1 pairs of factors on average
    assert counts(plan) == (R * N, R * N * (N + 1), N)
    assert plan.kernels == {"trsm_left": R * N}


@pytest.mark.parametrize("N", SIDES)
@pytest.mark.parametrize("kind", ["general", "hermitian", "symmetric"])
def test_lu_by_blocks(N: int, kind: Any, stored: Stored, plan_of: PlanOf) -> None:
    plan = plan_of(block_lu(stored(N * B, N * B, B), kind), cut=UNCUT)
    pairs, below = N * (N - 1) * (2 * N - 1) // 6, N * (N - 1) // 2
    if kind == "general":
        assert counts(plan) == (N * N, N * N + 2 * pairs + below, 2 * N - 1)
        assert plan.kernels.get("times_right", 0) == below
    else:  # a tile below the diagonal is one product
        half = N * (N - 1) * (N + 1) // 6
        assert counts(plan) == (N * N, N * (N + 1) // 2 + 2 * half + 2 * below, 2 * N - 1)
    assert plan.kernels["inverse"] == N


@pytest.mark.parametrize("N", SIDES)
@pytest.mark.parametrize("R", [1, 3])
@pytest.mark.parametrize("adjoint", [False, True])
def test_substitution_by_blocks(N: int, R: int, adjoint: bool, stored: Stored, plan_of: PlanOf) -> None:
    F, rhs = stored(N * B, N * B, B), stored(N * B, R * B, B)
    plan = plan_of(block_solve(F, rhs, adjoint), cut=UNCUT)
    assert counts(plan) == (2 * R * N, R * N * N + R * N * (N + 1), 2 * N)
    assert plan.kernels["times_left"] == R * N


@pytest.mark.parametrize("N", [1, 3])
def test_butterflies(N: int, stored: Stored, plan_of: PlanOf) -> None:
    plan = plan_of(between_butterflies(stored(N * B, N * B, B), 1, 2), cut=UNCUT)
    assert plan.kernels["butterfly"] == 2 * N


@pytest.mark.parametrize("N", [1, 2, 5])
def test_solving_with_a_factor_is_two_triangular_solves(N: int, stored: Stored, plan_of: PlanOf) -> None:
    L, rhs = stored(N * B, N * B, B, "lower"), stored(N * B, 1, (B, 1), ndim=1)
    assert counts(plan_of(cho_solve(L, rhs), cut=UNCUT)) == (2 * N, 2 * N * (N + 1), 2 * N)


@pytest.mark.parametrize("N", [1, 3])
def test_copies_and_other_tilings(N: int, stored: Stored, plan_of: PlanOf) -> None:
    square, lower = stored(N * 6, N * 6, 6), stored(N * 6, N * 6, 6, "lower")
    assert counts(plan_of(copy(square))) == (N * N, N * N, 1)
    assert counts(plan_of(copy(lower))) == (N * (N + 1) // 2, N * (N + 1) // 2, 1)
    assert counts(plan_of(copy(flip(square, "T")))) == (N * N, N * N, 1)
    assert counts(plan_of(full(lower))) == (N * N, N * (N + 1) // 2, 1)
    # tiles of 4 in tiles of 6: of three, one lies in two of them
    overlaps = sum((4 * t + 3) // 6 - 4 * t // 6 + 1 for t in range(ceil(N * 6 / 4)))
    if N * 6 % 4:
        overlaps -= (4 * (ceil(N * 6 / 4) - 1) + 3) // 6 - (N * 6 - 1) // 6
    assert counts(plan_of(rechunk(square, (4, 4)))) == (ceil(N * 6 / 4) ** 2, overlaps**2, 1)
    part = take(square, slice(0, 6), slice(N * 6 - 6, N * 6), (6, 6))
    assert counts(plan_of(part)) == (1, 1, 1)
    quarter = block([[square, square], [square, square]], (6, 6))
    assert counts(plan_of(quarter)) == (4 * N * N, 4 * N * N, 1)


@pytest.mark.parametrize(("M", "N"), [(1, 1), (3, 2), (4, 5)])
def test_reductions(M: int, N: int, stored: Stored, plan_of: PlanOf) -> None:
    A = stored(M * 6, N * 6, 6)
    # a part of each tile, the parts of a row put together, then those of the column
    by_rows = (M * N + M + 1, M * N + M * N + M, 3)
    assert counts(plan_of(norm(A, "fro"))) == by_rows
    assert counts(plan_of(norm(A, "max"))) == by_rows
    assert counts(plan_of(sum_over(A, 1))) == (M * N + M, 2 * M * N, 2)
    assert counts(plan_of(sum_over(A, 0))) == (M * N + N, 2 * M * N, 2)
    assert counts(plan_of(sum_over(A, None))) == (M * N + 2 * M + 1, 2 * M * N + 2 * M, 4)
    assert counts(plan_of(norm(A, "inf"))) == (M * N + 2 * M + 1, 2 * M * N + 2 * M, 4)
    assert counts(plan_of(norm(A, "1"))) == (M * N + 2 * N + 1, 2 * M * N + 2 * N, 4)
    D = min(M, N)
    assert counts(plan_of(diagonal(A))) == (D, D, 1)
    assert counts(plan_of(trace(A))) == (4 * D + 1, 5 * D, 5)


def test_parts_of_a_triangle_are_those_of_its_tiles(stored: Stored, plan_of: PlanOf) -> None:
    N = 4
    T = stored(N * 6, N * 6, 6, "lower")
    half = N * (N + 1) // 2
    assert counts(plan_of(norm(T, "fro"))) == (half + N + 1, 2 * half + N, 3)
    sign, logabs = slogdet_triangular(T)
    assert counts(plan_of(sign)) == (N + 1, 2 * N, 2)
    assert counts(plan_of(logabs if not logabs.is_view else logabs.args[0])) == (N + 1, 2 * N, 2)


def test_map_tiles(stored: Stored, plan_of: PlanOf) -> None:
    function = leaf(FunctionArray(Grid((1, 1), (1, 1)), "float64", 2, "f", "", "0" * 64))
    A, L = stored(18, 12, 6), stored(18, 18, 6, "lower")
    assert counts(plan_of(map_tiles(function, (A, A), "float64"))) == (6, 12, 1)
    # of a triangle the function sees the zeros, which are made where they are read
    assert counts(plan_of(map_tiles(function, (L,), "float64"))) == (9, 9, 1)


@pytest.mark.parametrize("n", [1, 7, 96, 100])
@pytest.mark.parametrize("cut", [UNCUT, RIGHT_LOOKING, DOUBLING], ids=str)
@pytest.mark.parametrize(("dtype", "factor"), [("float64", 1), ("complex64", 4)])
def test_flops_are_those_of_the_untiled_algorithm(
    n: int, cut: Cut, dtype: str, factor: int, stored: Stored, plan_of: PlanOf
) -> None:
    tile = min(n, 16)
    A = stored(n, n, tile, "pos", dtype)
    assert plan_of(cholesky(A), cut=cut).flops == pytest.approx(
        factor * (n**3 / 3 + n**2 / 2 + n / 6), rel=1e-12
    )
    rhs = stored(n, 5, (tile, 3), dtype=dtype)
    T = stored(n, n, tile, "lower", dtype)
    assert plan_of(solve_triangular(T, rhs, "lower"), cut=cut).flops == factor * n * n * 5
    assert plan_of(matmul(A, rhs), cut=cut).flops == factor * 2 * n * n * 5
    assert plan_of(gram(rhs), cut=cut).flops >= factor * n * (n + 1) * 5
