"""Products of one matrix with many vectors: tiles are read where they lie, without plan, folder and lease."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import wrenla_kernels as kernels
from wrenla.algorithms.flips import flip
from wrenla.algorithms.matmul import matmul
from wrenla.arrays import array_leaf, check_arrays
from wrenla.errors import PlanError
from wrenla.evaluate.evaluation import compute_nodes, persist_node
from wrenla.evaluate.options import Options
from wrenla.evaluate.stored import check_current
from wrenla.evaluate.storing import owners_of
from wrenla.executors.base import Executor
from wrenla.planning.expression import Leaf, Node
from wrenla.planning.fits import LOOKAHEAD
from wrenla.units import format_bytes
from wrenla_handler.errors import TransientStoreError, TruncatedTileError
from wrenla_handler.out_of_memory import memory_for
from wrenla_handler.stores.base import Reach
from wrenla_handler.stores.mmap import refuse_truncated
from wrenla_handler.tiles.arrays import ArraySpec, FormulaArray, HostArray, StoredArray, TileRef
from wrenla_handler.tiles.cache import Tile
from wrenla_handler.tiles.reader import ReadAhead, Report
from wrenla_handler.tiles.task import Apply, Op, Read
from wrenla_handler.tiles.values import Values, simplest

__all__ = ["Products", "at_hand"]

logger = logging.getLogger("wrenla.run")

Array = npt.NDArray[Any]

_LANES = 32
"""Parts of a product. They do not depend on the number of workers: nor does, then, any bit of the sum."""

_UNDER_WAY = 4
"""Lanes for each worker that are under way: a slow one must not leave the others without work."""

_PANEL = 1 << 22
"""Bytes of a tile that are used twice, or converted, at a time: so few that a cache keeps them."""

_ATTEMPTS = 4
_BACKOFF = 0.2
"""Seconds before the second attempt at a lane whose store fails in passing; doubled for each further one."""

_GRACE = 5.0
"""Seconds that a product which is given up waits for its threads to look up from their tiles."""

_ADJOINT: dict[Op, Op] = {"N": "C", "T": "R", "C": "N", "R": "T"}


def at_hand(node: Node, executor: Executor) -> Node:
    """Return a matrix whose tiles can be read again and again: computed and persisted unless it is data.

    Data are stored tiles and, where the workers see this process, arrays and formulas, also as seen through
    views that need one tile for one: transposes, triangles, shifts, weights.
    """
    near = executor.reach == Reach.PROCESS
    kinds = (StoredArray, HostArray, FormulaArray) if near else (StoredArray,)
    leaves = list(owners_of(node))
    if all(isinstance(each.op, Leaf) and isinstance(each.op.spec, kinds) for each in leaves):
        reads = (read for i, j in node.own_tiles() for read in node.reads(i, j))
        if not any(isinstance(read.tile, Apply) for read in reads):
            check_current([node])
            check_arrays([node])
            return node
    return persist_node(node, executor, Options.of())


class _Step(NamedTuple):
    """One read of a tile: where its columns meet x, where its rows go in y; maybe the same mirrored."""

    read: Read
    rows: slice
    cols: slice
    mirrored: bool


@dataclass(frozen=True, slots=True)
class _Lane:
    """Some reads, one after the other, and the rows of the product that they add to.

    `upto` is the number of bytes of all tiles up to its last.
    """

    steps: Sequence[_Step]
    start: int
    stop: int
    upto: int


class _GivenUp(Exception):
    """The product that a lane belongs to has failed, or was interrupted."""


class Products:
    """Products of a matrix, and of its adjoint, with vectors that are in memory.

    Where tile tasks run in threads of this process, each product goes once through the tiles: a tile of a
    Hermitian matrix serves for both places where it stands. The tiles are divided into lanes, whose sums are
    added in order, so neither the number of threads nor their timing changes a bit. Elsewhere a product is
    a run: the tiles would have to travel to this process for each.

    Parameters
    ----------
    node : Node, (m, n)
        As `at_hand` returns it.
    executor : Executor
    """

    def __init__(self, node: Node, executor: Executor) -> None:
        self.node, self._executor = node, executor
        leaves = {leaf.key: leaf.op for leaf in owners_of(node) if isinstance(leaf.op, Leaf)}
        self._arrays: dict[str, ArraySpec] = {key: op.spec for key, op in leaves.items()}
        self._hosts: dict[str, Tile] = {
            op.spec.identity: op.payload for op in leaves.values() if isinstance(op.spec, HostArray)
        }

    @cached_property
    def adjoint(self) -> Products:
        """Products with Aᴴ, from the same tiles."""
        return self._turned("C")

    @cached_property
    def transpose(self) -> Products:
        """Products with Aᵀ, from the same tiles."""
        return self._turned("T")

    def _turned(self, op: Op) -> Products:
        turned = flip(self.node, op)
        return self if turned is self.node else Products(turned, self._executor)

    def times(self, X: Array) -> Array:
        """Return A X in NumPy's promotion of their dtypes, for X of shape (n, k).

        Raises
        ------
        TypeError
            That is none of float32, float64, complex64, complex128.
        PlanError
            The tiles are too large for the memory allowed.
        RuntimeError
            The executor has been shut down.
        """
        dtype = np.result_type(self.node.dtype, X.dtype)
        if dtype not in kernels.DTYPES:
            raise TypeError(
                f"a product of {self.node.dtype} and {X.dtype} is {dtype}, for which there is no BLAS: "
                f"convert the vector, x.astype({'complex' if dtype.kind == 'c' else 'float'})"
            )
        if not (X.size and self.node.grid.shape[0]):
            return np.zeros((self.node.grid.shape[0], X.shape[1]), dtype)
        try:
            self._executor.calls.check_open()
        except RuntimeError as error:
            raise RuntimeError(
                f"{error}: the executor of this operator has ended; its matrix is .A: make an operator of "
                "that on another one, wrenla.linalg.aslinearoperator(operator.A, executor=…)"
            ) from None
        if self._executor.reach != Reach.PROCESS:
            return self._run(X.astype(dtype if X.dtype not in kernels.DTYPES else X.dtype))
        if dtype.kind == "c" and np.dtype(self.node.dtype).kind != "c":
            # a real matrix need not become a complex one: real and imaginary parts are columns
            real = dtype.type().real.dtype
            halves = self._product(np.asfortranarray(np.hstack([X.real, X.imag]), dtype=real))
            k = X.shape[1]
            return np.asarray(halves[:, :k] + 1j * halves[:, k:], dtype)
        return self._product(np.asfortranarray(X, dtype=dtype))

    def _run(self, X: Array) -> Array:
        tile = self.node.grid.tile[1], X.shape[1]
        product = matmul(self.node, array_leaf(X, tile, own=True))
        return np.asarray(compute_nodes([product], self._executor, Options.of())[0])

    def _product(self, X: Array) -> Array:
        """Return A X, for X in Fortran order and the dtype of the product."""
        m, (n, k) = self.node.grid.shape[0], X.shape
        tiles = self._tile_bytes(X.dtype)
        column = X.itemsize * ((_UNDER_WAY * self._executor.workers + 1) * m + n)
        allowed = self._executor.model.allowed_bytes
        width = (allowed - tiles) * self._executor.workers // column
        if width < 1:
            raise PlanError(
                f"a product with tiles of {' × '.join(map(str, self.node.grid.tile))} needs "
                f"{format_bytes(tiles + column // self._executor.workers)} (projected), a worker may use "
                f"{format_bytes(allowed)} (allowed): use smaller tiles, A.rechunk(…), or allow more memory "
                "(allowed_mem, WRENLA_ALLOWED_MEM)"
            )
        Y = np.zeros((m, k), X.dtype, order="F")
        for c in range(0, k, width):  # one pass, unless so many columns do not fit
            part = X[:, c : c + width]
            projected = tiles + column * part.shape[1] // self._executor.workers
            with self._executor.session(self._hosts, projected), memory_for("a product"):
                try:
                    with refuse_truncated():
                        self._sum(part, Y[:, c : c + width])
                except TruncatedTileError:
                    self._executor.home.forget()  # pages of zeros may be among what is at hand
                    raise
        return Y

    def _tile_bytes(self, dtype: np.dtype[Any]) -> int:
        """Return the bytes of tiles that a worker holds: read ahead, and changed copies of one."""
        entries = self.node.grid.tile[0] * self.node.grid.tile[1]
        stored = max((np.dtype(spec.dtype).itemsize for spec in self._arrays.values()), default=0)
        copies = 2 * np.dtype(self.node.dtype).itemsize if self._changed else 0
        converted = 0 if dtype == self.node.dtype else min(entries * dtype.itemsize, _PANEL)
        return entries * (stored * (1 + LOOKAHEAD) + copies) + converted

    @cached_property
    def _changed(self) -> bool:
        """Whether some tiles are not what BLAS takes."""
        return any(not step.read.plain for lane in self._lanes for step in lane.steps)

    @cached_property
    def _lanes(self) -> list[_Lane]:
        node, steps, weights = self.node, list[_Step](), list[int]()
        hermitian = node.structure in ("hermitian", "pos")
        for i, j in node.own_tiles():
            (r, c), (m, n) = node.grid.origin(i, j), node.grid.extent(i, j)
            for read in node.reads(i, j):
                if (
                    isinstance(ref := read.tile, TileRef)
                    and read.plain
                    and self._arrays[ref.array].is_absent(ref)
                ):
                    continue
                steps.append(_Step(read, slice(r, r + m), slice(c, c + n), hermitian and i != j))
                weights.append(m * n)
        sums = np.cumsum(weights)
        total = int(sums[-1]) if steps else 0
        ends = np.searchsorted(sums, [total * (t + 1) / _LANES for t in range(_LANES)]) + 1
        cuts = sorted({0, *(min(int(end), len(steps)) for end in ends)})
        itemsize = np.dtype(node.dtype).itemsize
        return [
            _lane(steps[start:stop], int(sums[stop - 1]) * itemsize)
            for start, stop in itertools.pairwise(cuts)
        ]

    def _sum(self, X: Array, Y: Array) -> None:
        """Add the products of all lanes to Y, the first lane first."""
        given_up = threading.Event()
        coming: deque[tuple[_Lane, Future[Array]]] = deque()
        lanes = iter(self._lanes)
        try:
            while True:
                # not all at once: each holds rows of its own until its turn comes
                for lane in itertools.islice(lanes, _UNDER_WAY * self._executor.workers - len(coming)):
                    coming.append((lane, self._submit(lane, X, given_up)))
                if not coming:
                    return
                lane, future = coming[0]
                with np.errstate(all="ignore"):
                    Y[lane.start : lane.stop] += self._outcome(lane, future, X, given_up)
                coming.popleft()
        finally:
            # Whatever has happened, Ctrl-C too: nobody reads on for a product that nobody waits for.
            given_up.set()
            for _, future in coming:
                future.cancel()
            deadline = time.monotonic() + _GRACE
            for _, future in coming:
                try:
                    future.exception(timeout=max(0.0, deadline - time.monotonic()))
                except (CancelledError, TimeoutError) as late:
                    logger.debug("while giving a product up: %r", late)

    def _submit(self, lane: _Lane, X: Array, given_up: threading.Event) -> Future[Array]:
        return self._executor.submit_here(lambda: self._of_lane(lane, X, given_up))

    def _outcome(self, lane: _Lane, future: Future[Array], X: Array, given_up: threading.Event) -> Array:
        """Wait for the rows of a lane; where its store has failed in passing, try again."""
        for attempt in range(1, _ATTEMPTS):
            try:
                return future.result()
            except (TransientStoreError, ConnectionError, TimeoutError) as error:
                delay = _BACKOFF * 2 ** (attempt - 1)
                logger.info("a part of a product failed (%s), again in %.1f s", error, delay)
                time.sleep(delay)
            future = self._submit(lane, X, given_up)
        return future.result()

    def _of_lane(self, lane: _Lane, X: Array, given_up: threading.Event) -> Array:
        rows = np.zeros((lane.stop - lane.start, X.shape[1]), X.dtype, order="F")
        refs = (ref for step in lane.steps for ref in step.read.refs())
        home = self._executor.home
        # In a cache that is too small for all tiles, the last ones would push out the first before these are
        # read again.
        ahead = ReadAhead(home, refs, self._arrays, Report(), keep=lane.upto <= home.cache.limit)
        dtype = np.dtype(self.node.dtype)
        values = Values(ahead.take, dtype)
        try:
            for read, into, of, mirrored in lane.steps:
                if given_up.is_set():
                    raise _GivenUp
                tile, op, alpha = _factor(read, values, dtype)
                op = simplest(op, X.dtype)
                target = rows[into.start - lane.start : into.stop - lane.start]
                if not mirrored:
                    _accumulate(alpha, tile, [(op, X[of], target)])
                    continue
                mirror = rows[of.start - lane.start : of.stop - lane.start]
                across = simplest(_ADJOINT[op], X.dtype)
                _accumulate(alpha, tile, [(op, X[of], target), (across, X[into], mirror)])
        finally:
            ahead.abandon()
        return rows


def _lane(steps: Sequence[_Step], upto: int) -> _Lane:
    ends = [step.rows for step in steps] + [step.cols for step in steps if step.mirrored]
    return _Lane(steps, min(end.start for end in ends), max(end.stop for end in ends), upto)


def _factor(read: Read, values: Values, dtype: np.dtype[Any]) -> tuple[Tile, Op, float]:
    """Return a tile, what is to be taken of it, and its sign."""
    source = values.source(read)
    if read.plain:
        return source.array, read.op, float(np.real(read.scale))
    return np.asfortranarray(values.modified(read, source, dtype).array), "N", 1.0


def _accumulate(alpha: float, tile: Tile, uses: Sequence[tuple[Op, Array, Array]]) -> None:
    """Add y += alpha · op(tile) x for some (op, x, y); what is used twice is read once from memory."""
    dtype, (rows, columns) = uses[0][1].dtype, tile.shape
    same = tile.dtype == dtype
    width = columns if same and len(uses) == 1 else max(1, _PANEL // max(1, rows * dtype.itemsize))
    for start in range(0, columns, max(1, width)):
        panel = slice(start, start + width)
        part = tile[:, panel] if same else np.asfortranarray(tile[:, panel], dtype=dtype)
        for op, x, y in uses:
            x, y = (x[panel], y) if op in "NR" else (x, y[panel])
            if x.shape[1] == 1:
                kernels.gemv(alpha, part, op, x[:, 0], y[:, 0])
            else:
                kernels.gemm(alpha, part, op, x, "N", y)
