"""Norms of a system in one pass over its tiles: their values, and what the tasks take."""

from __future__ import annotations

import numpy as np
import pytest

import wrenla as wl
from wrenla.algorithms.factorizations.checks import sizes
from wrenla.planning.cost_model import ExecutorModel
from wrenla.planning.cut import Cut
from wrenla.planning.expression import Node, leaf
from wrenla.planning.plan import make_plan
from wrenla_handler.tiles.arrays import StoredArray
from wrenla_handler.tiles.grid import Grid
from wrenla_handler.tiles.layout import Structure

from . import gallery
from .gallery import Array

MODEL = ExecutorModel(2, 60e9, 2e9, 1e-4, 60.0, 1 << 50)
TILINGS = [((5, 5), 8), ((24, 24), 8), ((21, 21), 5), ((67, 67), 1), ((9, 140), 2), ((140, 9), 2)]


def found(A: wl.BigMatrix) -> Array:
    return np.asarray(wl.BigMatrix(sizes(A._node)).compute())


def of_order(n: int, tile: int, structure: Structure) -> Node:
    spec = StoredArray(Grid((n, n), (tile, tile)), "float64", 2, f"{n}", "memory://nowhere")
    return leaf(spec, structure)


@pytest.mark.every_day(4)
@pytest.mark.parametrize("dtype", gallery.DTYPES)
@pytest.mark.parametrize(("shape", "tile"), TILINGS)
def test_sizes_are_norms(shape: tuple[int, int], tile: int, dtype: str) -> None:
    a = gallery.normal(shape, dtype, 1)
    known = [gallery.norm_inf(a), gallery.norm1(a), np.abs(a).max()]
    np.testing.assert_allclose(found(wl.from_array(a, tile=tile)), known, rtol=1e-5)
    if shape[0] == shape[1]:
        h = a + a.conj().T
        of_lower = found(wl.from_array(h, tile=tile, structure="hermitian"))
        np.testing.assert_allclose(of_lower, [gallery.norm1(h), gallery.norm1(h), np.abs(h).max()], rtol=1e-5)


def test_sums_overflow_where_entries_do_not_and_nan_stays() -> None:
    a = np.zeros((67, 67))
    a[:2, 3] = 1.5e308
    rows, columns, largest = found(wl.from_array(a + a.T, tile=1, structure="hermitian"))
    assert (rows, columns, largest) == (np.inf, np.inf, 1.5e308)
    tall = a[:, :5]
    rows, columns, largest = found(wl.from_array(tall.T, tile=1))
    assert (rows, columns, largest) == (np.inf, 1.5e308, 1.5e308)
    rows, columns, largest = found(wl.from_array(tall, tile=1))
    assert (rows, columns, largest) == (1.5e308, np.inf, 1.5e308)
    tall[66, 0] = np.nan
    assert np.isnan(found(wl.from_array(tall, tile=1))).all()


@pytest.mark.parametrize("N", [1, 2, 5, 64, 65, 130])
@pytest.mark.parametrize("structure", ["general", "hermitian"])
def test_counts_of_sizes(N: int, structure: Structure) -> None:
    tiles = N * N if structure == "general" else N * (N + 1) // 2
    groups = 0 if N <= 64 else -(-N // 64)
    plan, _ = make_plan([sizes(of_order(4 * N, 4, structure))], MODEL, cut=Cut())
    assert plan.tasks == tiles + N + groups + 1
    assert plan.reads == 2 * tiles + N + groups
    assert plan.waves == 3 + (groups > 0)


@pytest.mark.parametrize("structure", ["general", "hermitian"])
def test_no_task_holds_the_sums_of_all_rows_of_tiles(structure: Structure) -> None:
    """They are n N numbers: more than a gigabyte for n = 400,000 in tiles of 1,000."""
    N, edge = 40, 50
    plan, _ = make_plan([sizes(of_order(N * edge, edge, structure))], MODEL)
    assert plan.projected <= 8 * 8 * edge * edge
