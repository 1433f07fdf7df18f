"""Rates of users' functions: a block of each is timed before a plan is shown, as nobody else knows them."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence

import cloudpickle
import numpy as np

from wrenla.algorithms.map_tiles import MapTiles
from wrenla.planning.canonical import topological
from wrenla.planning.expression import Leaf, Node
from wrenla_handler.serialize.modules import split_function
from wrenla_handler.tiles.arrays import FunctionArray

__all__ = ["function_rates"]

logger = logging.getLogger("wrenla.plan")

_EDGE = 256
"""Rows and columns of the block: 512 KiB, as in a run."""

_ONCE = 0.05
"""Seconds from which a block is not timed again: the first time, functions import what they need."""

_MOST = 256
"""Functions that are remembered."""

_known: dict[str, float] = {}


def function_rates(nodes: Sequence[Node], ask: bool) -> tuple[tuple[str, float], ...]:
    """Return the bytes a second that the functions in some expressions make, by their digests.

    Those of `map_tiles` are not asked: nobody knows tiles that they take.

    Parameters
    ----------
    nodes : sequence of Node
    ask : bool
        Whether functions are called that have not been timed. They run in this process.
    """
    order = topological(nodes)
    of_tiles = {node.args[0].key for node in order if isinstance(node.op, MapTiles)}
    leaves: Mapping[str, tuple[FunctionArray, bytes]] = {
        node.op.spec.digest: (node.op.spec, node.op.payload)
        for node in order
        if isinstance(node.op, Leaf) and isinstance(node.op.spec, FunctionArray) and node.key not in of_tiles
    }
    for digest, (spec, blob) in leaves.items():
        if digest not in _known and ask and (rate := _timed(spec, blob)) is not None:
            for oldest in list(_known)[: len(_known) - _MOST + 1]:
                _known.pop(oldest, None)
            _known[digest] = rate
    found = {digest: _known.get(digest) for digest in sorted(leaves)}
    return tuple((digest, rate) for digest, rate in found.items() if rate is not None)


def _timed(spec: FunctionArray, blob: bytes) -> float | None:
    """Return the bytes a second of one function; None if it fails: the run says why."""
    rows, cols = (min(_EDGE, length) for length in spec.grid.shape)
    indices = (np.arange(rows), np.arange(cols))[: max(1, spec.ndim)]
    # as in a run, where a tile is laid out by columns: to turn a block may take as long as to make it
    tile, spent = np.empty((rows, cols), spec.dtype, order="F"), list[float]()
    try:
        function = cloudpickle.loads(split_function(blob)[1])
        while len(spent) < 3 and sum(spent) < _ONCE:
            begun = time.perf_counter()  # it may wait, or have threads of its own
            tile[...] = np.reshape(function(*indices), tile.shape)
            spent.append(max(time.perf_counter() - begun, 1e-6))
    except Exception as error:
        logger.debug("a function was not timed: %r", error)
        return None
    return rows * cols * np.dtype(spec.dtype).itemsize / min(spent)
