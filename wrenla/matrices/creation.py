"""Making matrices: from arrays, stored tiles, functions and formulas."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable
from typing import Any, Never, TypeAlias

import numpy as np
import numpy.typing as npt

from wrenla.algorithms.claims import claimed
from wrenla.algorithms.map_tiles import map_tiles as map_tiles_node
from wrenla.array_like import as_array, tile_dtype
from wrenla.arrays import array_leaf
from wrenla.config import settings
from wrenla.evaluate.stored import stored_spec
from wrenla.executors.default import default_executor
from wrenla.executors.transport.dependencies import packed_function
from wrenla.matrices.matrix import BigMatrix
from wrenla.matrices.operands import as_node, clipped, tile_pair
from wrenla.planning import expression
from wrenla.planning.cost_model import choose_tile
from wrenla.planning.expression import Node, leaf
from wrenla.tracebacks import short
from wrenla.vocabulary import refuse_others, structure_of
from wrenla_handler.plain_arrays import cast_hint
from wrenla_handler.stores.urls import open_store
from wrenla_handler.tiles.arrays import FunctionArray
from wrenla_handler.tiles.grid import Grid, Pair
from wrenla_handler.tiles.layout import DTYPES, Structure, TileLayout

__all__ = [
    "Tile",
    "chosen_tile",
    "eye",
    "from_array",
    "from_function",
    "map_tiles",
    "open",
    "random",
    "zeros",
]

Tile: TypeAlias = int | tuple[int, int] | None


@short
def from_array(
    a: npt.ArrayLike,
    tile: Tile = None,
    store: str | os.PathLike[str] | None = None,
    *,
    structure: str = "general",
    check: bool = True,
    overwrite: bool = False,
    dtype: npt.DTypeLike | None = None,
    **others: Any,
) -> BigMatrix:
    """Make a matrix from an array.

    Parameters
    ----------
    a : array_like, (m, n) or (n,)
        An array of numbers. Up to 16 MiB it is copied. What is larger is not copied: do not change it while
        the matrix is in use; a run that finds it changed, when it begins or ends, raises `ChangedArrayError`.
        A `numpy.memmap` may be larger than memory: it is read, and converted, tile by tile. Integers, rounded
        beyond 2**53, and truth values become float64. NumPy makes arrays of lists, and of data frames whose
        columns lie apart, which takes memory for all of it. Arrays that are read when they are indexed (of
        Dask, Zarr, h5py, …) are loaded up to 16 MiB; `from_zarr` copies larger ones tile by tile.
    tile : int or (int, int), optional
        Rows and columns of a tile; chosen from shape and memory if None.
    store : str, optional
        URL to write the tiles to at once; by default they are cut from `a` when they are used.
    structure : {"general", "lower", "upper", "hermitian", "pos"}
        What is known of the matrix. "pos" is Hermitian positive definite. Of Hermitian ones only the lower
        tiles are read, of triangular ones only their triangle. SciPy's words, as "spd" and "sym", are
        understood.
    check : bool
        Look whether it is so, as far as that costs nothing: an array up to 16 MiB now and whole; of a larger
        one the diagonal tiles when they are read, and a sample of the others. Differences by rounding (√u, u
        the precision, relative to the largest entries of a row and a column) are accepted. Say False if the
        other triangle holds something else.
    overwrite : bool
        Replace what is at `store`, as in `BigMatrix.save`.
    dtype : dtype, optional
        That of `a`, float64 for integers; nothing is converted.

    Returns
    -------
    BigMatrix

    Raises
    ------
    TypeError
        The entries are of a type that tiles have not, as float16, or there is no array; or it is larger than
        16 MiB and not in memory; or it is more than its numbers, as a sparse one or one with a unit.
    ValueError
        It has not one or two dimensions; or the structure does not fit its shape or tiles; or it is masked.
    StructureError
        The matrix does not have this structure; the message shows two entries. Of a large one when computed.
    FileExistsError
        There is something at `store`.

    Examples
    --------
    >>> import numpy as np, wrenla as wl
    >>> A = wl.from_array(np.arange(6.0).reshape(2, 3))
    >>> (A @ A.T).compute()
    array([[ 5., 14.],
           [14., 50.]])
    """
    refuse_others("from_array", others, ["tile", "store", "structure", "check", "overwrite", "dtype"])
    if isinstance(a, BigMatrix):
        raise TypeError("this is a matrix already: use it as it is; A.persist() or A.save(url) computes it")
    if overwrite and store is None:
        raise ValueError("overwrite=True is about what is at store=…, which is not given")
    array, own = as_array(a)
    if array.ndim not in (1, 2):
        raise ValueError(f"a matrix or a vector is needed, not an array of {array.ndim} dimensions")
    kind = tile_dtype(array.dtype)
    if dtype is not None and np.dtype(dtype) != kind:
        raise TypeError(
            f"from_array: dtype={np.dtype(dtype).name}, but the matrix is {kind}: convert it tile by tile, "
            "wl.from_array(a).astype(dtype)"
        )
    known = structure_of(structure, kind)
    shape = array.shape if array.ndim == 2 else (array.shape[0], 1)
    node = array_leaf(array, chosen_tile(tile, shape, kind), known, dtype=kind, own=own)
    matrix = BigMatrix(claimed(node, known) if check else node)
    return matrix if store is None else matrix.save(os.fspath(store), overwrite=overwrite)


@short
def open(url: str | os.PathLike[str]) -> BigMatrix:
    """Open a stored matrix.

    Of a factor that `CholeskyFactor.save` has stored this is the triangle L, of LU factors L and U in one
    matrix. `solve` and `slogdet` refuse it, as A may be meant: `open_factor` opens the factor.

    Parameters
    ----------
    url : str or path
        A folder, ``file:///…``, ``s3://bucket/prefix`` or ``memory://name/…``.

    Raises
    ------
    NotAMatrixError
        There is none (or one that is not finished).
    MetadataError
        It is not in wrenla's layout; `from_zarr` copies arrays of other layouts.

    Examples
    --------
    >>> import wrenla as wl
    >>> saved = wl.eye(4).save("memory://docs/eye")
    >>> float(wl.open("memory://docs/eye").trace())
    4.0
    """
    return BigMatrix(opened(url)[0])


def opened(url: str | os.PathLike[str]) -> tuple[Node, TileLayout]:
    """Return a stored matrix as data, and its description."""
    store = open_store(url)
    try:
        layout = TileLayout.read(store)
        spec = stored_spec(store, layout)
    finally:
        store.close()
    return leaf(spec, layout.structure, factor=layout.factor), layout


@short
def from_function(
    f: Callable[..., npt.ArrayLike],
    shape: int | tuple[int, ...],
    tile: Tile = None,
    dtype: npt.DTypeLike = np.float64,
    structure: str = "general",
    *,
    version: str | int | None = None,
    check: bool = True,
) -> BigMatrix:
    """Make a matrix from a function that computes its tiles where they are used.

    They are stored only if it is persisted or saved.

    Parameters
    ----------
    f : callable
        ``f(rows, cols)`` gets two one-dimensional integer arrays of global indices and returns that block, of
        shape ``(len(rows), len(cols))``; for a vector, ``f(rows)``. It must depend on
        its arguments only. It travels by cloudpickle, with the local modules that it needs.
    shape : int or tuple of int
        Of the matrix or vector.
    tile, structure
        As in `from_array`.
    dtype : data type
        float32, float64, complex64 or complex128.
    version : str or int, optional
        Stands for what the function reads beside its arguments: data files, environment variables, a
        database. A killed run goes on with the tiles that are there only if the function is the same, and so
        are the modules that it uses, directly or not, and this. Give another one when what is read changes.
    check : bool
        Look whether the structure is as you say, in diagonal tiles and a sample of others when they are made:
        for that `f` is asked for a few small blocks more.

    Examples
    --------
    >>> import numpy as np, wrenla as wl
    >>> K = wl.from_function(lambda i, j: 1.0 / (1 + i[:, None] + j), (3, 3), structure="pos")
    >>> K.compute()[2]
    array([0.33333333, 0.25      , 0.2       ])
    """
    _check_callable(f, "from_function(f, shape)", "wl.from_array(a) makes a matrix of an array")
    two, ndim = _shape(shape)
    name = _dtype(np.dtype(dtype))
    known = structure_of(structure, name)
    packed = packed_function(f, version)
    grid = Grid(two, chosen_tile(tile, two, name))
    identity = f"function {packed.name} {ndim} {grid.shape} {grid.tile} {name}"
    spec = FunctionArray(grid, name, ndim, identity, digest=packed.digest)
    node = leaf(spec, known, packed.blob)
    return BigMatrix(claimed(node, known) if check else node)


@short
def zeros(
    shape: int | tuple[int, int], *misplaced: Never, tile: Tile = None, dtype: npt.DTypeLike = np.float64
) -> BigMatrix:
    """Return a matrix (or vector) of zeros, which takes no space. `tile` and `dtype` go by name.

    Examples
    --------
    >>> import wrenla as wl
    >>> wl.zeros((300, 200), tile=100, dtype="float32")
    BigMatrix((300, 200), float32, tiles of (100, 100), grid (3, 2), general)
    """
    _check_alone("zeros", misplaced)
    return _filled("zeros", shape, tile, dtype, "general")


@short
def eye(n: int, *misplaced: Never, tile: Tile = None, dtype: npt.DTypeLike = np.float64) -> BigMatrix:
    """Return the identity of order `n`, which takes no space. `tile` and `dtype` go by name.

    Examples
    --------
    >>> import wrenla as wl
    >>> wl.eye(300, tile=100)
    BigMatrix((300, 300), float64, tiles of (100, 100), grid (3, 3), pos)
    """
    _check_alone("eye", misplaced)
    return _filled("eye", (n, n), tile, dtype, "pos")


@short
def random(
    shape: int | tuple[int, int],
    *misplaced: Never,
    tile: Tile = None,
    dtype: npt.DTypeLike = np.float64,
    seed: int = 0,
    distribution: str = "normal",
) -> BigMatrix:
    """Return a matrix or vector of independent random numbers, which takes no space.

    Parameters
    ----------
    shape : int or (int, int)
    tile, dtype
        As in `from_function`.
    seed : int
        The numbers depend on seed and tiles only, never on the worker or the order (one
        `numpy.random.SeedSequence` for each tile).
    distribution : {"normal", "uniform"}
        Standard normal, or uniform on [0, 1).

    Examples
    --------
    >>> import wrenla as wl
    >>> wl.random(3, seed=1).compute()
    array([-0.05422898,  0.17917802,  1.26566028])
    """
    _check_alone("random", misplaced)
    try:
        seed = operator.index(seed)
    except TypeError:
        raise TypeError(
            f"seed={seed!r}: a whole number is needed; for other numbers each time secrets.randbits(64)"
        ) from None
    if seed < 0:
        raise ValueError(f"a seed is not negative: {seed}")
    if distribution not in ("normal", "uniform"):
        raise ValueError(f"distribution is 'normal' or 'uniform', not {distribution!r}")
    return _filled(f"random {distribution} {seed}", shape, tile, dtype, "general")


@short
def map_tiles(
    f: Callable[..., npt.ArrayLike],
    *matrices: Any,
    dtype: npt.DTypeLike | None = None,
    version: str | int | None = None,
) -> BigMatrix:
    """Apply a function to the tiles of matrices of equal shape.

    Parameters
    ----------
    f : callable
        ``f(a, b, …)`` gets one tile of each matrix as a two-dimensional array (of a vector, one column) and
        returns an array of the same shape. It must not depend on where the tile is, nor change its arguments.
    *matrices : BigMatrix or array_like
        The others are brought to the tiles of the first one.
    dtype : data type, optional
        Of the result; that of the first matrix by default.
    version : str or int, optional
        Stands for what the function reads beside its arguments, as in `from_function`.

    Examples
    --------
    >>> import numpy as np, wrenla as wl
    >>> wl.map_tiles(np.exp, wl.zeros((2, 2))).compute()
    array([[1., 1.],
           [1., 1.]])
    """
    _check_callable(f, "map_tiles(f, A, …)", "the function comes first")
    if not matrices:
        raise ValueError("map_tiles: at least one matrix is needed")
    nodes = tuple(A._node if isinstance(A, BigMatrix) else as_node(A) for A in matrices)
    packed = packed_function(f, version)
    identity = f"function {packed.name}"
    spec = FunctionArray(Grid((1, 1), (1, 1)), "float64", 2, identity, digest=packed.digest)
    name = _dtype(np.dtype(dtype)) if dtype is not None else nodes[0].dtype
    return BigMatrix(map_tiles_node(leaf(spec, "general", packed.blob), nodes, name))


def _check_alone(name: str, misplaced: tuple[Any, ...]) -> None:
    """Refuse what stands behind a shape: it may be meant as a length, a dtype or tiles."""
    if misplaced:
        order = "an identity is square, wl.eye(3)" if name == "eye" else f"a matrix is wl.{name}((3, 3))"
        raise TypeError(
            f"{name}() takes one argument by position, not {1 + len(misplaced)}: {order}; "
            f"tile=… and dtype=… go by name"
        )


def _check_callable(f: Any, what: str, hint: str) -> None:
    if not callable(f):
        raise TypeError(f"{what} needs a function, not {type(f).__name__}; {hint}")


def _filled(
    formula: str, shape: int | tuple[int, int], tile: Tile, dtype: npt.DTypeLike, structure: Structure
) -> BigMatrix:
    two, ndim = _shape(shape)
    name = _dtype(np.dtype(dtype))
    grid = Grid(two, chosen_tile(tile, two, name))
    # streams of random numbers may change from one NumPy to another
    version = np.__version__ if "random" in formula else ""
    return BigMatrix(expression.formula(formula, grid, name, structure, ndim, version))


def _shape(shape: int | tuple[int, ...]) -> tuple[Pair, int]:
    """Return rows and columns, and the number of dimensions."""
    lengths = [operator.index(n) for n in (shape if isinstance(shape, Iterable) else (shape,))]
    if len(lengths) not in (1, 2):
        raise ValueError(f"a matrix or a vector is needed, not a shape of {len(lengths)} lengths")
    return (lengths[0], lengths[1] if len(lengths) == 2 else 1), len(lengths)


def _dtype(dtype: np.dtype[Any]) -> str:
    if dtype.name not in DTYPES:
        raise TypeError(f"dtype {dtype} is not one of {', '.join(DTYPES)}{cast_hint(dtype)}")
    return str(dtype.name)


def chosen_tile(tile: Tile, shape: Pair, dtype: str) -> Pair:
    """Return the tiles of a new matrix: the requested ones, or a choice for this machine."""
    if tile is None:
        tile = settings().tile or choose_tile(max(shape), np.dtype(dtype).itemsize, default_executor().model)
    return clipped(tile_pair(tile), shape)
