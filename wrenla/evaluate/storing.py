"""Storing: results as data, kept as long as somebody uses them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from wrenla.algorithms.assemble import sparse_copy
from wrenla.algorithms.procedure import with_args
from wrenla.evaluate.settle import is_data, moves, parts
from wrenla.executors.base import Executor
from wrenla.planning.expression import Node, leaf
from wrenla.run.persisted import Owner
from wrenla.workspace.workspace import Workspace
from wrenla_handler.out_of_memory import memory_for
from wrenla_handler.stores.mmap import refuse_truncated
from wrenla_handler.tiles.arrays import ArraySpec, StoredArray

__all__ = ["Storing", "gather", "made", "owners_of"]

_AHEAD = 4
"""Tiles that are read ahead while a result is gathered."""


def made(node: Node) -> Node:
    """Return a node that has an object for each of its tiles: data, views and bundles are copied."""
    return sparse_copy(node) if node.is_leaf or node.is_view or node.bundle is not None else node


def owners_of(node: Node) -> Iterator[Node]:
    """Yield the nodes whose own tiles are read when `node` is: itself, or what its views look at."""
    if node.is_view:
        for arg in node.args:
            yield from owners_of(arg)
    else:
        yield node


class Storing:
    """Targets of a run that make some results data.

    Of what only says where tiles lie, the tiles stay where they are made, and it is one of those.

    Attributes
    ----------
    targets : dict of str to Node
        Operations, by the keys of what they stand for.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = nodes
        self._order = {part.key: part for node in nodes for part in parts(node)}
        self.targets = {
            key: node if node.bundle else made(node)
            for key, node in self._order.items()
            if not (moves(node) or is_data(node))
        }

    def stored(
        self, specs: Mapping[str, StoredArray], folder: Workspace | None, executor: Executor
    ) -> tuple[dict[str, Node], list[Owner]]:
        """Return all that is data now, by key, and the owners of what is new.

        Parameters
        ----------
        specs : mapping of str to StoredArray
            What the targets have come to, by their own keys.
        folder : Workspace
            Where they are.
        executor : Executor
        """
        kept = {key: node for key, node in self._order.items() if is_data(node)}
        owners: list[Owner] = []
        for group in self._groups():
            assert folder is not None
            here = {key: specs[self.targets[key].key] for key in group}
            owner = Owner(folder, executor, list(here.values()))
            owners.append(owner)
            for key, spec in here.items():
                kept[key] = leaf(spec, self.targets[key].structure, None, owner, name=key)
        for key, node in self._order.items():
            if moves(node):
                kept[key] = with_args(node, tuple(kept[arg.key] for arg in node.args))
        return kept, owners

    def _groups(self) -> list[set[str]]:
        """Return the targets that go together, as one result is made of them."""
        groups: list[set[str]] = []
        for node in self._nodes:
            own = {part.key for part in parts(node)} & self.targets.keys()
            shared = [group for group in groups if group & own]
            groups = [group for group in groups if not group & own]
            if own:
                groups.append(own.union(*shared))
        return groups


def gather(node: Node, specs: Mapping[str, ArraySpec], executor: Executor) -> npt.NDArray[Any] | np.generic:
    """Bring a result together from its tiles."""
    with memory_for(f"the result, {node.grid.shape} of {node.dtype}"):
        out = np.zeros(node.grid.shape, node.dtype, order="F")
    rows, cols = node.grid.counts
    reads = [(i, j, read) for j in range(cols) for i in range(rows) for read in node.reads(i, j)]
    coming = iter([ref for _, _, read in reads for ref in read.refs()])
    with refuse_truncated():
        for number, (i, j, read) in enumerate(reads):
            # what follows is on its way meanwhile, if it comes from far away
            for ref in itertools.islice(coming, _AHEAD if number == 0 else 1):
                executor.home.prefetch(specs[ref.array], ref)
            (r, c), (m, n) = node.grid.origin(i, j), node.grid.extent(i, j)
            value = executor.home.value(read, specs, node.dtype)
            with np.errstate(all="ignore"):
                if read.accumulate:
                    out[r : r + m, c : c + n] += value
                else:
                    out[r : r + m, c : c + n] = value
    if node.ndim == 2:
        return out
    flat: npt.NDArray[Any] = out.reshape(-1, order="F")
    return flat if node.ndim == 1 else flat[0]
