"""Copies of arrays that others have written: of Zarr in any layout, and whatever else can be sliced."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wrenla.algorithms.claims import claimed
from wrenla.array_like import is_block, tile_dtype
from wrenla.arrays import Given
from wrenla.errors import ChangedArrayError, PlanError
from wrenla.executors.base import Executor, check_executor
from wrenla.executors.default import default_executor
from wrenla.matrices.creation import Tile, chosen_tile
from wrenla.matrices.matrix import BigMatrix
from wrenla.planning.cost_model import ExecutorModel, largest_tile
from wrenla.planning.expression import leaf
from wrenla.tracebacks import short
from wrenla.units import format_bytes
from wrenla.vocabulary import structure_of
from wrenla_handler.errors import NotAMatrixError
from wrenla_handler.plain_arrays import loaded
from wrenla_handler.stores.urls import folder_of, open_store
from wrenla_handler.tiles.arrays import HostArray
from wrenla_handler.tiles.grid import Grid, Pair

__all__ = ["aligned_tile", "from_zarr", "opened_zarr", "read_zarr"]

_NAMED = 10
"""Arrays of a group that a message names."""

_FOR_THREADS = frozenset({"dask", "h5py", "numpy", "xarray", "zarr"})
"""Packages whose arrays several threads may read at a time."""


@short
def from_zarr(
    array: Any,
    url: str | os.PathLike[str],
    tile: Tile = None,
    *,
    structure: str = "general",
    check: bool = True,
    overwrite: bool = False,
    executor: Executor | None = None,
) -> BigMatrix:
    """Copy a Zarr array of any layout (compressed, C order, other chunks) into a stored matrix.

    It is read tile by tile, so it may be larger than memory. Integers and truth values become float64.

    Parameters
    ----------
    array : zarr.Array, array_like or path, (m, n) or (n,)
        The array, or the path or URL of one, for which the extra ``wrenla[zarr]`` is needed. Other arrays
        that have shape and dtype, and can be sliced, are copied in the same way: of xarray, h5py, Dask (of
        which `from_dask` computes each block once, whatever the tiles).
    url : str or path
        Where the copy goes: as for `BigMatrix.save`.
    tile : int or (int, int), optional
        Its tiles. By default whole chunks of `array`, as many as make a tile of a size that suits the
        machine: so each chunk is read once. Chunks too large for that are divided.
    structure : {"general", "lower", "upper", "hermitian", "pos"}
        What is known of the matrix, as in `from_array`; only the part that it needs is read.
    check : bool
        Look whether it is so, in diagonal tiles and a sample of the others: for that a few chunks are read
        once more.
    overwrite : bool
        Replace what is at `url`, as in `BigMatrix.save`.
    executor : Executor, optional

    Returns
    -------
    BigMatrix
        The stored copy.

    Raises
    ------
    NotAMatrixError
        There is no Zarr array at a path; or it is a group, whose arrays the message names.
    TypeError
        It is no array, or one of a type that tiles have not.
    ValueError
        It has not one or two dimensions, or masked entries; or `url` lies where the array itself is.
    PlanError
        A single chunk takes more memory than the executor may use.
    StructureError
        It does not have the structure that is said; the message shows two entries.
    FileExistsError
        There is something at `url`.
    ChangedArrayError
        A Zarr array in a folder has been changed while it was copied.

    Notes
    -----
    A copy that was killed goes on where it was when the same script runs again, if the array is in a folder
    that has not changed meanwhile, or in S3 and given by its URL.

    Examples
    --------
    >>> import numpy as np, wrenla as wl, zarr
    >>> theirs = zarr.array(np.arange(6.0).reshape(3, 2), chunks=(2, 2))
    >>> A = wl.from_zarr(theirs, "memory://docs/copy", overwrite=True)
    >>> (A.T @ A).compute()
    array([[20., 26.],
           [26., 35.]])
    """
    if isinstance(array, BigMatrix):
        raise TypeError("from_zarr copies arrays of others; this is a matrix already: A.save(url) stores it")
    source = opened_zarr(os.fspath(array)) if isinstance(array, str | os.PathLike) else array
    _check_array(source, str(array) if source is not array else "")
    if address := _address(array, source):
        _check_apart(address, os.fspath(url))
    matrix = _in_place(source, address, tile, structure, check, executor)
    return matrix.save(os.fspath(url), executor, overwrite=overwrite)


def read_zarr(
    path: str, tile: Tile = None, *, structure: str = "general", check: bool = True, executor: Executor
) -> BigMatrix:
    """Make a matrix of a Zarr array of any layout whose chunks are read where its tiles are used.

    Nothing is copied, so a chunk is read as often as the tiles that touch it. Arguments and errors are those
    of `from_zarr`.
    """
    source = opened_zarr(path)
    _check_array(source, path)
    return _in_place(source, _address(path, source), tile, structure, check, executor)


def _in_place(
    source: Any, address: str, tile: Tile, structure: str, check: bool, executor: Executor | None
) -> BigMatrix:
    dtype = tile_dtype(np.dtype(source.dtype))
    known = structure_of(structure, dtype)
    ndim = len(source.shape)
    shape: Pair = (int(source.shape[0]), int(source.shape[1]) if ndim == 2 else 1)
    model = (check_executor(executor) or default_executor()).model
    cut = chosen_tile(tile, shape, dtype)
    chunk = _chunk(source)
    if tile is None and chunk is not None:
        most = largest_tile(np.dtype(dtype).itemsize, model)
        cut = aligned_tile(shape, chunk, max(cut), most, square=known != "general")
    state = _state(address)
    name = f"{address} {state}" if state else uuid.uuid4().hex
    identity = hashlib.sha256(f"{name} {shape} {cut} {ndim} {dtype}".encode()).hexdigest()[:32]
    # a leaf in memory is anything that can be sliced: Zarr reads the chunks that a tile touches
    claim = known if check and known != "general" and shape[0] == shape[1] else ""
    spec = HostArray(Grid(shape, cut), dtype, ndim, identity, claim)
    given = (_Source(address, state),) if state else ()
    top = type(source).__module__.partition(".")[0]
    together = _fits(chunk, np.dtype(source.dtype).itemsize, model)
    readable = source if together and top in _FOR_THREADS else _OneByOne(source)
    node = leaf(spec, known, readable, *given)
    return BigMatrix(claimed(node, known) if check else node)


@dataclass(frozen=True, slots=True, eq=False)
class _Source(Given):
    """The objects of a Zarr array, and their state when it was given."""

    address: str
    state: str

    def check(self) -> None:
        if _state(self.address) != self.state:
            raise ChangedArrayError(
                f"{self.address}: the array has been changed while it was copied: copy it again"
            )


def _fits(chunk: Pair | None, itemsize: int, model: ExecutorModel) -> bool:
    """Tell whether all workers may read a chunk at a time, which takes it twice, packed and unpacked.

    Raises
    ------
    PlanError
        Not even one of them may.
    """
    need, most = 2 * math.prod(chunk or (0, 0)) * itemsize, model.allowed_bytes * model.workers
    if need > most and chunk is not None:
        raise PlanError(
            f"from_zarr: to read a chunk of {chunk[0]} × {chunk[1]} takes {format_bytes(need)}, and "
            f"{format_bytes(most)} is allowed: allow more memory (WRENLA_ALLOWED_MEM)"
        )
    return need * model.workers <= most


class _OneByOne:
    """Array read by one thread at a time, as netCDF's package needs it, and large chunks."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._lock = threading.Lock()

    def __getitem__(self, index: tuple[slice, ...]) -> npt.NDArray[Any]:
        with self._lock:
            return loaded(self._source[index])  # masked arrays stay what they are


def opened_zarr(path: str) -> Any:
    """Open what is at a path or URL, to read it."""
    try:
        import zarr
    except ImportError:
        raise ImportError("wl.from_zarr needs zarr for paths: pip install 'wrenla[zarr]'") from None
    path = folder_of(path) or path
    if os.path.isfile(path):
        raise NotAMatrixError(_FILE.format(path=path))
    try:
        return zarr.open(path, mode="r")
    except FileNotFoundError as error:
        raise NotAMatrixError(f"{path}: there is no Zarr array here") from error


_FILE = (
    "{path}: this is a file, and Zarr arrays are folders: open it by the package that reads it, and give "
    'wl.from_zarr the array, as h5py.File(path)["name"]; of NumPy\'s files take wl.from_npy(path)'
)


def _check_array(source: Any, place: str) -> None:
    kind = f"{type(source).__module__.partition('.')[0]}.{type(source).__name__}"
    place = place or f"a {kind}"
    if not is_block(source):
        names = list(itertools.islice(_arrays_in(source), _NAMED + 1))
        if not names:
            raise TypeError(
                f"{place}: an array with shape and dtype, or a group with arrays in it, is needed; "
                "wl.from_array(a, store=url) stores lists"
            )
        more = ", …" if len(names) > _NAMED else ""
        raise NotAMatrixError(
            f"{place}: this is a group of arrays: take one of them, as "
            f"wl.from_zarr(group[{names[0]!r}], url); there is: {', '.join(names[:_NAMED])}{more}"
        )
    if len(source.shape) not in (1, 2):
        raise ValueError(f"a matrix or a vector is needed, not an array of {len(source.shape)} dimensions")


def _arrays_in(group: Any) -> Iterator[str]:
    """Yield the names of the arrays in a group of Zarr, with those in groups below it; or of a mapping."""
    if hasattr(group, "members"):
        yield from sorted(str(name) for name, member in group.members(max_depth=None) if is_block(member))
    else:
        # of xarray, h5py and dictionaries, or of netCDF
        found = group if hasattr(group, "items") else getattr(group, "variables", {})
        yield from (str(name) for name, member in found.items() if is_block(member))


def _chunk(source: Any) -> Pair | None:
    """Return what is read of an array at a time, None if it does not say."""
    try:
        chunks: Any = getattr(source, "chunks", None)
    except NotImplementedError:  # of Zarr, where their lengths differ
        chunks = getattr(source, "read_chunk_sizes", None)
    if not chunks and hasattr(source, "encoding") and hasattr(source, "dims"):  # xarray, of a file
        sizes = source.encoding.get("preferred_chunks") or {}
        if not source.encoding.get("contiguous"):
            chunks = [sizes[name] for name in source.dims if name in sizes]
    elif chunks is None and hasattr(source, "chunking"):  # netCDF
        chunks = source.chunking()
    try:
        # Dask has the lengths of all chunks along each axis
        lengths = [max(1, int(max(n) if isinstance(n, tuple | list) else n)) for n in chunks or ()]
    except (TypeError, ValueError):
        return None
    if len(lengths) != len(source.shape):
        return None
    return lengths[0], lengths[1] if len(lengths) == 2 else 1


def aligned_tile(shape: Pair, chunk: Pair, edge: int, most: int, *, square: bool = False) -> Pair:
    """Return a tile of about `edge` × `edge` that is made of whole chunks, if so much fits into memory.

    Parameters
    ----------
    shape, chunk : (int, int)
    edge : int
        What a tile of this matrix would have at each side without chunks.
    most : int
        The edge of the largest square tile that fits.
    square : bool
        The tile has to be square.

    Examples
    --------
    >>> shape = 8000, 8000
    >>> aligned_tile(shape, (1000, 1000), 1008, 4000), aligned_tile(shape, (300, 300), 1008, 4000)
    ((1000, 1000), (900, 900))
    >>> aligned_tile(shape, (1, 8000), 1008, 4000), aligned_tile((10**5, 10**5), (8192, 8192), 2000, 4080)
    ((127, 8000), (2048, 4096))
    """
    chunk = min(chunk[0], max(1, shape[0])), min(chunk[1], max(1, shape[1]))
    if square:
        both = math.lcm(*chunk)
        side = both if both <= most else max(chunk)
        while side > most:
            side = -(-side // 2)
        times = max(1, min(round(edge / side), most // side))
        return (min(side * times, max(1, shape[0])),) * 2
    tile = [
        max(1, min(c * max(1, min(round(edge / c), most // c)), n)) for c, n in zip(chunk, shape, strict=True)
    ]
    for axis, other in ((0, 1), (1, 0)):
        if chunk[axis] > edge:  # it leaves less for the other side
            tile[other] = min(tile[other], chunk[other] * max(1, edge**2 // (tile[axis] * chunk[other])))
    while tile[0] * tile[1] > most**2:
        longer = int(tile[1] > tile[0])
        tile[longer] = -(-tile[longer] // 2)
    return tile[0], tile[1]


def _address(given: Any, source: Any) -> str:
    """Return the folder or the URL of a Zarr array, "" if it has none that is known."""
    if isinstance(given, str) and given.startswith("s3://"):
        return given
    place = str(getattr(source, "store_path", ""))
    return os.path.realpath(place.removeprefix("file://")) if place.startswith("file://") else ""


def _state(address: str) -> str:
    """Return what is another one when an object of an array is, "" if that is not known."""
    if not address:
        return ""
    with closing(open_store(address)) as store:
        found = [f"{info.key} {info.nbytes} {info.etag}" for info in store.scan()]
    return hashlib.sha256("\n".join(found).encode()).hexdigest() if found else ""


def _check_apart(address: str, url: str) -> None:
    """Refuse to write into the array that is read."""
    ours, theirs = (f"{_whole(open_store(place).url)}/" for place in (url, address))
    if ours.startswith(theirs) or theirs.startswith(ours):
        raise ValueError(f"{url}: the array that is copied lies at {address}: name another folder")


def _whole(url: str) -> str:
    """Return an address without the links that it goes through."""
    path = folder_of(url)
    return os.path.realpath(path) if path else url
