"""How a run is carried out never changes a bit: cuts, schedules, numbers of workers, kinds of stores."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import wrenla as wl
from wrenla import LocalExecutor
from wrenla.planning.cut import Cut

from . import gallery
from .conftest import ForceCut, Workers
from .gallery import DTYPES, ONE_REAL_ONE_COMPLEX, Array

CUTS = (Cut(), Cut("fixed", 1), Cut("fixed", 3), Cut("doubling", 1), Cut("doubling", 4), Cut("doubling", 16))

WAYS = ((2, "waves"), (3, "dataflow"), (1, "dataflow"), (3, "waves"))
"""Workers and schedules."""

ALL_WAYS = tuple(itertools.product((1, 2, 3), ("waves", "dataflow")))

Expressions = Callable[[str], list[wl.BigMatrix]]


def expressions(dtype: str) -> list[wl.BigMatrix]:
    """Return what has sums of several products: 6 × 6 tiles, ragged."""
    n, tile = 44, 8
    a, b = gallery.normal((n, n), dtype, 1), gallery.normal((n, 11), dtype, 2)
    spd = gallery.ill_conditioned(n, dtype)
    w = np.abs(gallery.normal(n, spd.real.dtype.name, 3))
    A, B, S = wl.from_array(a, tile=tile), wl.from_array(b, tile=(tile, 4)), wl.from_array(spd, tile=tile)
    T = wl.from_array(a + 9 * np.eye(n, dtype=dtype), tile=tile)
    factor = S.cholesky()
    tall = wl.from_array(gallery.normal((201, 7), dtype, 4), tile=(4, 5))
    return [
        factor,
        factor.H.solve(factor.solve(B)),
        A @ B,
        (2 * A.H.shift(1)) @ (A + T),
        A.gram(),
        A.T.gram(w),
        wl.linalg.solve_triangular(T, B, lower=True),
        wl.linalg.solve_triangular(T, B, trans="C", lower=True),
        A.norm(),
        A.norm(1),
        A.sum(),
        factor.slogdet().logabsdet,
        A[:30, :30].solve(B[:30], "gen", check=False),
        tall.H @ tall,  # long sums, which are trees
        tall.T @ np.ones(201, dtype),
    ]


def run(dtype: str, executor: LocalExecutor, schedule: str = "dataflow") -> list[Array]:
    return [np.asarray(x) for x in wl.compute(*expressions(dtype), executor=executor, schedule=schedule)]


def same_bits(xs: list[Array], ys: list[Array]) -> bool:
    return len(xs) == len(ys) and all(
        x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
        for x, y in zip(xs, ys, strict=True)
    )


@pytest.fixture(scope="module")
def expected(workers: Workers) -> Callable[[str], list[Array]]:
    """What the plan's own choice gives on one worker."""
    known: dict[str, list[Array]] = {}

    def of(dtype: str) -> list[Array]:
        if dtype not in known:
            known[dtype] = run(dtype, workers(1))
        return known[dtype]

    return of


@pytest.mark.every_day(6)
@pytest.mark.parametrize("dtype", ONE_REAL_ONE_COMPLEX)
@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_bits_are_equal_for_cuts_schedules_and_workers(
    cut: Cut, dtype: str, workers: Workers, force_cut: ForceCut, expected: Callable[[str], list[Array]]
) -> None:
    """Each cut with some of the ways, each way with some of the cuts."""
    reference = expected(dtype)
    force_cut(cut)
    k = CUTS.index(cut)
    for number, schedule in {"float64": WAYS[k % 2 :: 2], "complex64": WAYS[k % 4 :][:1]}.get(
        dtype, WAYS[:2]
    ):
        assert same_bits(run(dtype, workers(number), schedule), reference)


def test_the_cut_is_what_was_forced(force_cut: ForceCut, workers: Workers) -> None:
    """The test above would be none if every plan were the same."""
    tasks = set()
    for cut in CUTS:
        force_cut(cut)
        plan = wl.plan(*expressions("float64"), executor=workers(2))
        assert plan.cut == cut
        tasks.add(plan.tasks)
    assert len(tasks) >= 4


@pytest.mark.parametrize("dtype", ["float64", "complex64"])
def test_bits_are_equal_for_all_stores(
    dtype: str,
    workers: Workers,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    expected: Callable[[str], list[Array]],
) -> None:
    """Tiles from a folder are memory maps, those from memory are not."""
    reference = expected(dtype)
    monkeypatch.setenv("WRENLA_STORE", str(tmp_path))
    assert same_bits(run(dtype, workers(2)), reference)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_bits_are_equal_computed_together_and_alone(
    workers: Workers, expected: Callable[[str], list[Array]]
) -> None:
    """Sharing common subexpressions changes nothing either."""
    alone = [np.asarray(x.compute(workers(2))) for x in expressions("float32")]
    assert same_bits(alone, expected("float32"))


def test_tiles_above_the_leaves_of_the_kernels(workers: Workers, force_cut: ForceCut) -> None:
    n = 700
    a = gallery.normal((n, n))
    A = wl.from_array(a, tile=270).gram().shift(1).cholesky()
    reference = A.compute(workers(1))
    for cut in CUTS[:4]:
        force_cut(cut)
        assert A.compute(workers(2)).tobytes() == reference.tobytes()


def test_random_numbers_depend_on_seed_and_tiles_only(workers: Workers) -> None:
    def numbers(executor: LocalExecutor, seed: int = 3) -> bytes:
        return bytes(wl.random((30, 20), tile=7, seed=seed).persist(executor).compute().tobytes())

    assert numbers(workers(1)) == numbers(workers(3))
    assert numbers(workers(1)) != numbers(workers(1), seed=4)
    # any part of it is the same part
    R = wl.random((30, 20), tile=7, seed=3)
    assert np.array_equal(R[7:14, 14:].compute(), R.compute()[7:14, 14:])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", range(1, 9))
def test_every_size_of_groups(
    size: int, dtype: str, workers: Workers, force_cut: ForceCut, expected: Callable[[str], list[Array]]
) -> None:
    """Each size of both kinds in two ways for each dtype: over the dtypes, in all six."""
    reference = expected(dtype)
    for k, kind in enumerate(("fixed", "doubling")):
        force_cut(Cut(kind, size))
        way = size + k + DTYPES.index(dtype)
        for number, schedule in (ALL_WAYS[way % 6], ALL_WAYS[(way + 3) % 6]):
            assert same_bits(run(dtype, workers(number), schedule), reference)
