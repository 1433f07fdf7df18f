"""Matrices as Zarr arrays in any layout: written by whole chunks, and described when they are whole."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from typing import Any

import numpy as np

from wrenla.errors import PlanError
from wrenla.evaluate.stored import check_current, stored_leaves
from wrenla.executors.base import Executor, check_executor
from wrenla.executors.default import default_executor
from wrenla.interchange.tile_blocks import fill_region, readable, specs_of
from wrenla.planning.cost_model import ExecutorModel
from wrenla.planning.expression import Node
from wrenla.units import format_bytes
from wrenla_handler.stores.urls import folder_of
from wrenla_handler.threads import Threads
from wrenla_handler.tiles.arrays import ArraySpec
from wrenla_handler.tiles.grid import Pair

__all__ = ["to_zarr"]

_COPIES = 4
"""Memory that writing a region takes, in regions: the entries, and Zarr's copies of chunks on their way."""

_WAIT = 60.0
"""Seconds after which the thread that hands out regions looks around, for Ctrl-C."""


def to_zarr(
    node: Node,
    store: Any,
    executor: Executor | None,
    *,
    chunks: Any,
    overwrite: bool,
    create: Mapping[str, Any],
) -> Any:
    """Write a node as a Zarr array: see `BigMatrix.to_zarr`."""
    try:
        import zarr
        from zarr.errors import ContainsArrayError, ContainsGroupError
    except ImportError:
        raise ImportError("to_zarr needs zarr: pip install 'wrenla[zarr]'") from None
    for name in create.keys() & {"shape", "dtype", "data"}:
        raise TypeError(f"to_zarr: {name} is that of the matrix: A.astype(dtype), A[:m, :n] change it before")
    executor = check_executor(executor) or default_executor()
    node = readable(node, executor)
    check_current([node])
    _check_apart(node, store, create.get("name") or "")
    ndim = node.ndim
    layout: dict[str, Any] = {
        "shape": node.grid.shape[:ndim],
        "dtype": node.dtype,
        "chunks": node.grid.tile[:ndim] if chunks is None else _each(chunks, ndim),
        # a chunk of the fill value would be left out, and −0 would come back as 0
        "config": {"write_empty_chunks": True},
    }
    layout |= create
    if layout.get("shards") is not None:
        layout["shards"] = _each(layout["shards"], ndim)
    spans, workers = _regions(node, _units(zarr, layout), executor.model)
    try:
        array = zarr.create_array(store, overwrite=overwrite, **layout)
    except (ContainsArrayError, ContainsGroupError, FileExistsError):
        raise FileExistsError(
            f"{store}: there is an array or a group already; overwrite=True replaces it"
        ) from None
    hidden = _hide(array)
    try:
        _write(node, array, spans, workers, executor)
        check_current([node])
        if hidden:
            array.update_attributes({})  # which writes the description
    except BaseException as error:
        what = "no array for any reader" if hidden else "an array that only looks whole"
        error.add_note(
            f"{array.store_path}: not all of the matrix was written: this is {what}; write it again"
        )
        raise
    return array


def _check_apart(node: Node, store: Any, name: str) -> None:
    """Refuse to write over the tiles that are read."""
    given = store if isinstance(store, str | os.PathLike) else getattr(store, "root", None)
    if given is None:  # a store of Zarr in memory, or far away by an object of its own
        return
    target = _place(os.path.join(os.fspath(given), name.strip("/")))
    for spec in stored_leaves([node]):
        source = _place(spec.url)
        if f"{source}/".startswith(f"{target}/") or f"{target}/".startswith(f"{source}/"):
            raise ValueError(f"{store}: the matrix that is written lies at {source}: name another folder")


def _place(address: str) -> str:
    """Return the path of a folder without links, any other address as it is."""
    path = folder_of(address) if "://" in address else address
    return os.path.realpath(path) if path else address.rstrip("/")


def _each(length: Any, ndim: int) -> Any:
    """Return lengths along each axis: one number is for all of them, which not every zarr takes."""
    return (length,) * ndim if isinstance(length, int) else length


def _units(zarr: Any, layout: Mapping[str, Any]) -> list[list[int]]:
    """Return the lengths, along each axis, of what is written at a time: of shards, or else of chunks.

    Zarr says so of an array in memory, which has no entries yet.
    """
    asked = {name: value for name, value in layout.items() if name not in ("name", "storage_options")}
    trial = zarr.create_array(zarr.storage.MemoryStore(), **asked)
    try:
        unit = trial.shards or trial.chunks
    except NotImplementedError:  # their lengths differ
        return [list(lengths) for lengths in trial.write_chunk_sizes]
    return [
        [min(length, n - start) for start in range(0, n, length)]
        for n, length in zip(trial.shape, unit, strict=True)
    ]


def _regions(
    node: Node, units: Sequence[Sequence[int]], model: ExecutorModel
) -> tuple[list[list[Pair]], int]:
    """Return the rows and columns to write at a time, whole units of about a tile, and by how many threads.

    A unit has one writer only: two would each read it, change a part, and write it whole.

    Raises
    ------
    PlanError
        One unit takes more than the memory that is allowed.
    """
    axes = [*units, *([[1]] * (2 - len(units)))]
    itemsize, most = np.dtype(node.dtype).itemsize, model.allowed_bytes * model.workers
    longest = [max(lengths, default=1) for lengths in axes]
    if (need := _COPIES * math.prod(longest) * itemsize) > most:
        raise PlanError(
            f"to_zarr: a chunk or shard of {longest[0]} × {longest[1]} of {node.dtype} takes "
            f"{format_bytes(need)} while it is written, and {format_bytes(most)} is allowed: choose smaller "
            f"ones, as the tiles are, chunks={node.grid.tile}, or allow more memory (WRENLA_ALLOWED_MEM)"
        )
    wanted = [max(pair) for pair in zip(longest, node.grid.tile, strict=True)]
    while True:
        spans = [_spans(lengths, length) for lengths, length in zip(axes, wanted, strict=True)]
        entries = math.prod(max((b - a for a, b in along), default=1) for along in spans)
        if _COPIES * entries * itemsize <= model.allowed_bytes or wanted == longest:
            return spans, max(1, min(model.workers, most // (_COPIES * entries * itemsize)))
        shrinks = max((0, 1), key=lambda axis: wanted[axis] / longest[axis])
        wanted[shrinks] = max(longest[shrinks], wanted[shrinks] // 2)


def _spans(lengths: Sequence[int], wanted: int) -> list[Pair]:
    """Return runs of neighbours, none longer than what is wanted unless it is alone.

    Examples
    --------
    >>> _spans([2, 2, 2, 1], 5), _spans([9], 5)
    ([(0, 4), (4, 7)], [(0, 9)])
    """
    spans: list[Pair] = []
    for length in lengths:
        start, stop = spans[-1] if spans else (0, 0)
        if spans and stop + length - start <= wanted:
            spans[-1] = (start, stop + length)
        else:
            spans.append((stop, stop + length))
    return spans


def _hide(array: Any) -> bool:
    """Remove the description of a new array until it is whole; return whether its store can."""
    from zarr.core.sync import sync

    if not array.store.supports_deletes:
        return False
    for key in ("zarr.json", ".zarray", ".zattrs"):
        sync((array.store_path / key).delete())
    return True


def _write(node: Node, array: Any, spans: Sequence[Sequence[Pair]], workers: int, executor: Executor) -> None:
    entries = math.prod(max((b - a for a, b in along), default=1) for along in spans)
    write = partial(_write_region, node, specs_of(node), array, executor)
    regions = itertools.product(*spans)
    projected = _COPIES * entries * np.dtype(node.dtype).itemsize
    with executor.session({}, projected), Threads(workers, "wrenla-zarr") as pool:
        waiting: set[Future[None]] = {
            pool.submit(write, *region) for region in itertools.islice(regions, 2 * workers)
        }
        while waiting:
            done, waiting = wait(waiting, _WAIT, FIRST_COMPLETED)
            for future in done:
                future.result()
            waiting |= {pool.submit(write, *region) for region in itertools.islice(regions, len(done))}


def _write_region(
    node: Node, specs: Mapping[str, ArraySpec], array: Any, executor: Executor, rows: Pair, cols: Pair
) -> None:
    block = np.empty((rows[1] - rows[0], cols[1] - cols[0]), node.dtype)
    fill_region(node, lambda read: executor.home.value(read, specs, node.dtype), (rows, cols), block)
    array[(slice(*rows), slice(*cols))[: node.ndim]] = block.reshape(block.shape[: node.ndim])
