"""Matrices as Zarr arrays in any layout: written by whole chunks, and described when they are whole."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Mapping
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
from wrenla_handler.tiles.grid import Grid, Pair

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
    _check_apart(node, store)
    ndim = node.ndim
    layout: dict[str, Any] = {
        "shape": node.grid.shape[:ndim],
        "dtype": node.dtype,
        "chunks": node.grid.tile[:ndim] if chunks is None else chunks,
        # a chunk of the fill value would be left out, and −0 would come back as 0
        "config": {"write_empty_chunks": True},
    }
    layout |= create
    unit = _unit(zarr, layout)
    model = executor.model
    region, workers = _region(node, unit, model)
    try:
        array = zarr.create_array(store, overwrite=overwrite, **layout)
    except (ContainsArrayError, ContainsGroupError, FileExistsError) as error:
        raise FileExistsError(f"{error} overwrite=True replaces what is at {store}") from None
    hidden = _hide(array)
    try:
        _write(node, array, Grid(node.grid.shape, region), workers, executor)
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


def _check_apart(node: Node, store: Any) -> None:
    """Refuse to write over the tiles that are read."""
    if isinstance(store, os.PathLike):
        store = os.fspath(store)
    path = store if isinstance(store, str) else str(getattr(store, "root", ""))
    if not path or "://" in path.replace("file://", ""):
        places = [(path, spec.url) for spec in stored_leaves([node])] if path else []
    else:
        theirs = os.path.realpath(path.removeprefix("file://"))
        ours = [folder_of(spec.url) for spec in stored_leaves([node])]
        places = [(theirs, os.path.realpath(folder)) for folder in ours if folder]
    for target, source in places:
        if f"{source}/".startswith(f"{target.rstrip('/')}/") or f"{target}/".startswith(f"{source}/"):
            raise ValueError(f"{store}: the matrix that is written lies at {source}: name another folder")


def _unit(zarr: Any, layout: Mapping[str, Any]) -> tuple[int, ...]:
    """Return what is written at a time, a shard or a chunk. Zarr says so of an array in memory."""
    asked = {name: value for name, value in layout.items() if name not in ("name", "storage_options")}
    trial = zarr.create_array(zarr.storage.MemoryStore(), **asked)
    return tuple(trial.shards or trial.chunks)


def _region(node: Node, unit: tuple[int, ...], model: ExecutorModel) -> tuple[Pair, int]:
    """Return the rows and columns to write at a time, whole units of about a tile, and by how many threads.

    A unit has one writer only: two would each read it, change a part, and write it whole.

    Raises
    ------
    PlanError
        One unit takes more than the memory that is allowed.
    """
    (m, n), itemsize = node.grid.shape, np.dtype(node.dtype).itemsize
    rows, cols = (*unit, 1, 1)[:2] if unit else (1, 1)
    rows, cols = min(rows, max(1, m)), min(cols, max(1, n))
    most = model.allowed_bytes * model.workers
    need = _COPIES * rows * cols * itemsize
    if need > most:
        raise PlanError(
            f"to_zarr: a chunk or shard of {rows} × {cols} of {node.dtype} takes {format_bytes(need)} while "
            f"it is written, and {format_bytes(most)} is allowed: choose smaller ones, as the tiles are, "
            f"chunks={node.grid.tile}, or allow more memory (WRENLA_ALLOWED_MEM)"
        )
    fits = max(1, model.allowed_bytes // need)
    times = [max(1, round(tile / length)) for tile, length in zip(node.grid.tile, (rows, cols), strict=True)]
    while math.prod(times) > fits:
        longer = int(times[1] > times[0])
        times[longer] = -(-times[longer] // 2)
    workers = max(1, min(model.workers, most // (need * math.prod(times))))
    return (rows * times[0], cols * times[1]), workers


def _hide(array: Any) -> bool:
    """Remove the description of a new array until it is whole; return whether its store can."""
    from zarr.core.sync import sync

    if not array.store.supports_deletes:
        return False
    for key in ("zarr.json", ".zarray", ".zattrs"):
        sync((array.store_path / key).delete())
    return True


def _write(node: Node, array: Any, grid: Grid, workers: int, executor: Executor) -> None:
    nbytes = math.prod(grid.tile) * np.dtype(node.dtype).itemsize
    write = partial(_write_region, node, specs_of(node), array, grid, executor)
    regions: Iterator[Pair] = itertools.product(*map(range, grid.counts))  # type: ignore[assignment]
    with executor.session({}, _COPIES * nbytes), Threads(workers, "wrenla-zarr") as pool:
        waiting: set[Future[None]] = {
            pool.submit(write, *place) for place in itertools.islice(regions, 2 * workers)
        }
        while waiting:
            done, waiting = wait(waiting, _WAIT, FIRST_COMPLETED)
            for future in done:
                future.result()
            waiting |= {pool.submit(write, *place) for place in itertools.islice(regions, len(done))}


def _write_region(
    node: Node, specs: Mapping[str, ArraySpec], array: Any, grid: Grid, executor: Executor, i: int, j: int
) -> None:
    (r, c), extent = grid.origin(i, j), grid.extent(i, j)
    block = np.empty(extent, node.dtype)
    region = (r, r + extent[0]), (c, c + extent[1])
    fill_region(node, lambda read: executor.home.value(read, specs, node.dtype), region, block)
    place = tuple(slice(start, stop) for start, stop in region)[: node.ndim]
    array[place] = block.reshape(extent[: node.ndim])
