"""Dask arrays as matrices: their blocks are computed once, and stored as tiles."""

from __future__ import annotations

import hashlib
import math
import os
from typing import Any

import numpy as np

from wrenla.algorithms.assemble import copy
from wrenla.algorithms.claims import claimed
from wrenla.array_like import tile_dtype
from wrenla.config import store_for
from wrenla.errors import PlanError
from wrenla.executors.base import Executor, check_executor
from wrenla.executors.default import default_executor
from wrenla.interchange.dask_blocks import DaskBlocks
from wrenla.matrices.creation import Tile, chosen_tile
from wrenla.matrices.matrix import BigMatrix
from wrenla.matrices.zarr_copies import aligned_tile
from wrenla.planning.cost_model import largest_tile
from wrenla.planning.expression import leaf
from wrenla.tracebacks import short
from wrenla.units import format_bytes
from wrenla.vocabulary import structure_of
from wrenla_handler.plain_arrays import refuse_lossy
from wrenla_handler.stores.urls import folder_of, open_store
from wrenla_handler.tiles.arrays import HostArray
from wrenla_handler.tiles.grid import Grid, Pair

__all__ = ["from_dask"]


@short
def from_dask(
    array: Any,
    url: str | os.PathLike[str] | None = None,
    tile: Tile = None,
    *,
    structure: str = "general",
    check: bool = True,
    overwrite: bool = False,
    executor: Executor | None = None,
) -> BigMatrix:
    """Compute a Dask array and store its blocks as the tiles of a matrix.

    The array may be larger than memory: its blocks go into tiles as they are computed, a few at a time, by
    the scheduler that Dask is set to (threads, processes, or the default `Client` of a cluster). Where the
    executor is a `DaskExecutor` its workers compute the blocks and write the tiles; none comes here.

    Parameters
    ----------
    array : dask.array.Array, (m, n) or (n,)
        Integers and truth values become float64.
    url : str or path, optional
        Where the matrix is stored, as for `BigMatrix.save`. Without one it is computed now all the same, and
        is kept among the temporaries as long as it is in use, as by `BigMatrix.persist`.
    tile : int or (int, int), optional
        Its tiles. By default whole blocks, as many as make a tile of a size that suits the machine. Each
        block is computed once, whatever the tiles: what several tiles need is in a file until they have it.
    structure : {"general", "lower", "upper", "hermitian", "pos"}
        What is known of the matrix, as in `from_array`; blocks that it does not need are not computed.
    check : bool
        Look whether it is so, in diagonal tiles and a sample of the others: for that a few blocks are
        computed once more.
    overwrite : bool
        Replace what is at `url`, as in `BigMatrix.save`.
    executor : Executor, optional

    Returns
    -------
    BigMatrix
        The stored matrix.

    Raises
    ------
    ImportError
        Dask is not there.
    TypeError
        It is no Dask array, or one of a type that tiles have not.
    ValueError
        It has not one or two dimensions, or chunks of unknown length, or masked entries; a block has not the
        shape that the array says.
    PlanError
        A single block takes more memory than the executor may use.
    StructureError
        It does not have the structure that is said; the message shows two entries.
    FileExistsError
        There is something at `url`.

    Notes
    -----
    Dask promises that arrays of the same ``array.name`` hold the same numbers. So a copy that was killed goes
    on where it was when the same script runs again, and an array of that name that is stored at `url` already
    is not computed again. Where the promise does not hold, as for files that have changed since, pass
    ``overwrite=True``, or make the array with another ``name=``. What several blocks have in common is
    computed anew every few blocks: `persist` it in Dask if it takes long.

    Examples
    --------
    >>> import dask.array as da, wrenla as wl
    >>> theirs = da.arange(6, chunks=4).reshape(3, 2)
    >>> A = wl.from_dask(theirs)
    >>> (A.T @ A).compute()
    array([[20., 26.],
           [26., 35.]])
    """
    _check_array(array)
    if overwrite and url is None:
        raise ValueError("overwrite=True is about what is at url, which is not given")
    executor = check_executor(executor) or default_executor()
    dtype = tile_dtype(array.dtype)
    known = structure_of(structure, dtype)
    shape: Pair = (array.shape[0], array.shape[1] if array.ndim == 2 else 1)
    cut, model = chosen_tile(tile, shape, dtype), executor.model
    most = model.allowed_bytes * model.workers
    longest: list[int] = [max(lengths, default=1) for lengths in array.chunks]
    if 2 * (nbytes := math.prod(longest) * array.dtype.itemsize) > most:
        raise PlanError(
            f"a block of the Dask array, {' × '.join(map(str, longest))} of {array.dtype}, takes "
            f"{format_bytes(nbytes)}, and {format_bytes(most)} is allowed for all that is at work: make it "
            f"in smaller ones, a.rechunk(block_size_limit={most // 8}), or allow more memory "
            "(WRENLA_ALLOWED_MEM)"
        )
    if tile is None:
        chunk = (max(1, longest[0]), max(1, longest[1]) if array.ndim == 2 else 1)
        largest = largest_tile(np.dtype(dtype).itemsize, model)
        cut = aligned_tile(shape, chunk, max(cut), largest, square=known != "general")
    identity = hashlib.sha256(f"dask {array.name} {shape} {cut} {array.ndim} {dtype}".encode()).hexdigest()
    grid = Grid(shape, cut)
    places = ([] if url is None else [os.fspath(url)]) + [store_for(executor.own_store)]
    folder = next(filter(None, (folder_of(open_store(place).url) for place in places)), None)
    with DaskBlocks(array, grid, known, most // 4, folder) as blocks:
        node = leaf(HostArray(grid, dtype, array.ndim, identity[:32]), known, blocks)
        matrix = BigMatrix(copy(claimed(node, known) if check else node))
        if url is None:
            return matrix.persist(executor)
        return matrix.save(os.fspath(url), executor, overwrite=overwrite)


def _check_array(array: Any) -> None:
    """Refuse what is no Dask array of numbers, with the way to one."""
    try:
        import dask.array
    except ImportError:
        raise ImportError("wl.from_dask needs Dask: pip install 'wrenla[distributed]'") from None
    kind = f"{type(array).__module__.partition('.')[0]}.{type(array).__name__}"
    if isinstance(array, BigMatrix):
        raise TypeError("this is a matrix already: A.persist() or A.save(url) computes it")
    if not isinstance(array, dask.array.Array):
        raise TypeError(f"from_dask: a Dask array is needed, not {kind}{_way_to_array(array)}")
    if array.ndim not in (1, 2):
        raise ValueError(
            f"a matrix or a vector is needed, not a Dask array of {array.ndim} dimensions, {array.shape}: "
            "take one matrix of a stack after the other, a[0], a[1], …"
        )
    if any(math.isnan(n) for lengths in array.chunks for n in lengths):
        raise ValueError(
            f"from_dask: the lengths of the chunks of the Dask array of shape {array.shape} are not known: "
            "a.compute_chunk_sizes() finds them, of a data frame frame.to_dask_array(lengths=True)"
        )
    refuse_lossy(array)
    refuse_lossy(array._meta)
    if not isinstance(array._meta, np.ndarray):
        kind = f"{type(array._meta).__module__.partition('.')[0]}.{type(array._meta).__name__}"
        raise TypeError(
            f"from_dask: the blocks of the Dask array are of {kind}, and NumPy's are needed: convert them "
            "first, a.map_blocks(f) where f returns a numpy.ndarray"
        )


def _way_to_array(value: Any) -> str:
    from dask.delayed import Delayed

    if isinstance(value, Delayed):  # which has every attribute
        return ": dask.array.from_delayed(value, shape, dtype) makes one"
    if hasattr(value, "to_dask_array"):
        return ": frame.to_dask_array(lengths=True) is one"
    if hasattr(value, "variable") or hasattr(value, "dims"):
        return (
            ": x.data is one if x is chunked, as x.chunk() makes it; of a data set take a variable, ds['x']"
        )
    return ": wl.from_array takes arrays in memory, wl.from_zarr whatever else can be sliced"
