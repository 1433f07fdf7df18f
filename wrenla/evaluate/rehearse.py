"""Rehearsal: go through the procedures in some expressions without data, for plans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from wrenla.algorithms.procedure import Fetch
from wrenla.evaluate.settle import Settling
from wrenla.planning.cost_model import ExecutorModel
from wrenla.planning.expression import Node

__all__ = ["Rehearsed", "rehearse"]


class Rehearsed(NamedTuple):
    """Parts of a plan: the results, what is fetched and kept for procedures, what may follow, and runs."""

    nodes: list[Node]
    fetch: list[Node]
    keep: list[Node]
    follows: list[str]
    runs: int


def rehearse(nodes: Sequence[Node], model: ExecutorModel | None = None) -> Rehearsed:
    """Go through procedures without data: as if every number were as expected, mostly 0.

    So each first attempt is good enough.
    """
    settling = Settling(nodes, model, dry=True)
    fetched: dict[str, Node] = {}
    kept: dict[str, Node] = {}
    runs = 0
    try:
        while any(settling.replace()):
            runs += 1
            for running in settling.ready():
                request = list(running.request or ())
                fetched |= {each.node.key: each.node for each in request if isinstance(each, Fetch)}
                kept |= {each.key: each for each in request if not isinstance(each, Fetch)}
                settling.send(running, [_expected(each) for each in request])
        runs += any(node.key not in kept and not node.is_leaf for node in settling.roots)
        kept |= {node.key: node for node in settling.keep()}
        follows = list(settling.follows)
        return Rehearsed(settling.roots, [*fetched.values()], [*kept.values()], follows, runs)
    finally:
        settling.close()


def _expected(request: Node | Fetch) -> Any:
    if isinstance(request, Node):
        return request
    node, number = request
    return np.full(node.grid.shape[: node.ndim], number, node.dtype)[()]
