"""Matrices that nobody reads, and plans for them."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from wrenla.planning.cost_model import ExecutorModel
from wrenla.planning.cut import Cut
from wrenla.planning.expression import Node, leaf
from wrenla.planning.plan import Plan, make_plan
from wrenla_handler.tiles.arrays import StoredArray
from wrenla_handler.tiles.grid import Grid
from wrenla_handler.tiles.layout import Structure

Stored = Callable[..., Node]
PlanOf = Callable[..., Plan]


@pytest.fixture(scope="session")
def model() -> ExecutorModel:
    """A machine like this one, with memory for everything."""
    return ExecutorModel(2, 60e9, 2e9, 1e-4, 60.0, 1 << 50)


@pytest.fixture(scope="session")
def stored() -> Stored:
    """Make the node of a stored matrix of `rows` × `cols` entries."""

    def make(
        rows: int,
        cols: int,
        tile: int | tuple[int, int],
        structure: Structure = "general",
        dtype: str = "float64",
        ndim: int = 2,
    ) -> Node:
        pair = (tile, tile) if isinstance(tile, int) else tile
        spec = StoredArray(Grid((rows, cols), pair), dtype, ndim, uuid.uuid4().hex, "memory://nowhere")
        return leaf(spec, structure)

    return make


@pytest.fixture(scope="session")
def plan_of(model: ExecutorModel) -> PlanOf:
    """Plan some results with a given cut."""
    return lambda *nodes, cut=None: make_plan(nodes, model, cut=cut)[0]


UNCUT = Cut()
