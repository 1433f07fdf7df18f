"""Sparse matrices of SciPy as matrices in tiles, which become dense where they are used."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy
import xxhash

from wrenla.array_like import tile_dtype
from wrenla.matrices.creation import Tile, chosen_tile
from wrenla.matrices.matrix import BigMatrix
from wrenla.planning.expression import leaf
from wrenla.tracebacks import short
from wrenla.vocabulary import structure_of
from wrenla_handler.linalg_errors import StructureError
from wrenla_handler.tiles.arrays import HostArray
from wrenla_handler.tiles.grid import Grid, Pair, absent_in_text
from wrenla_handler.tiles.layout import DTYPES

__all__ = ["from_sparse"]

Array = npt.NDArray[Any]

_LARGEST = 2**31 - 1


@short
def from_sparse(
    S: Any,
    *,
    tile: Tile = None,
    structure: str = "general",
    check: bool = True,
    dtype: npt.DTypeLike | None = None,
) -> BigMatrix:
    """Make a matrix from a sparse matrix or array of SciPy.

    Its tiles are made dense where they are used: it takes memory for its entries, and for the tiles that are
    at work. Tiles without entries are neither stored nor brought to distant workers, and `aslinearoperator`
    leaves them out. All else that is computed with it, and its results, are dense.

    Parameters
    ----------
    S : scipy.sparse matrix or array, (m, n) or (n,)
        Of any format. It is copied; entries at the same place are summed. Integers and truth values become
        float64.
    tile, structure
        As in `from_array`.
    check : bool
        Look at all entries whether the structure is as you say, with the tolerance of `from_array`. Say False
        if the other triangle holds something else.
    dtype : dtype, optional
        Of the tiles: float32, float64, complex64 or complex128; by default that of `S`.

    Returns
    -------
    BigMatrix
        The same content has the same name in every process: a run with it resumes.

    Raises
    ------
    TypeError
        It is no sparse matrix of SciPy, its entries are no numbers, or complex ones would become real.
    ValueError
        It has not one or two dimensions; or the structure does not fit its shape or tiles.
    StructureError
        The matrix does not have this structure; the message shows two entries.

    Notes
    -----
    To save it, or what is lazily made of it, is as ever: a Zarr array. Of this matrix itself tiles without
    entries are left out there, and its description says which. Where most tiles have entries, as after a
    random ordering, nothing is saved: order the rows first (`scipy.sparse.csgraph.reverse_cuthill_mckee`).

    Examples
    --------
    >>> import numpy as np, scipy.sparse, wrenla as wl
    >>> S = scipy.sparse.diags_array([2.0, 3.0, 4.0])
    >>> A = wl.from_sparse(S, structure="pos")
    >>> A.solve(np.ones(3)).compute()
    array([0.5       , 0.33333333, 0.25      ])
    """
    if not scipy.sparse.issparse(S):
        if isinstance(S, BigMatrix):
            raise TypeError("this is a matrix already: use it as it is")
        way = "S.to_scipy_sparse()" if hasattr(S, "to_scipy_sparse") else "wl.from_array(a) takes dense ones"
        raise TypeError(
            f"from_sparse: a matrix or array of scipy.sparse is needed, not {type(S).__name__}: {way}"
        )
    if S.ndim not in (1, 2):
        raise ValueError(f"a matrix or a vector is needed, not a sparse array of {S.ndim} dimensions")
    kind = _tile_dtype(S.dtype, dtype)
    known = structure_of(structure, kind)
    shape: Pair = (int(S.shape[0]), int(S.shape[1]) if S.ndim == 2 else 1)
    grid = Grid(shape, chosen_tile(tile, shape, kind))
    entries = _canonical(S, shape, kind)
    name = _name_of_content(entries)
    if check and known != "general" and shape[0] == shape[1]:
        _check(entries, known)
    text = f"sparse {name} {shape} {grid.tile} {S.ndim} {kind}"
    identity = xxhash.xxh3_128_hexdigest(text.encode())
    tiles = _SparseTiles(entries, grid, S.ndim)
    absent = tiles.absent()
    if known in ("hermitian", "pos") and grid.counts[0] == grid.counts[1]:  # the lower tiles count
        absent = np.tril(absent) | np.tril(absent).T
    spec = HostArray(grid, kind, S.ndim, identity, absent=absent_in_text(absent))
    return BigMatrix(leaf(spec, known, tiles))


def _tile_dtype(given: np.dtype[Any], wanted: npt.DTypeLike | None) -> str:
    found = tile_dtype(given)
    if wanted is None:
        return found
    name = np.dtype(wanted).name
    if name not in DTYPES:
        raise TypeError(f"dtype {name} is not one of {', '.join(DTYPES)}")
    if np.dtype(found).kind == "c" and np.dtype(name).kind != "c":
        raise TypeError(f"{found} to {name} would drop the imaginary part")
    return name


def _canonical(S: Any, shape: Pair, dtype: str) -> Any:
    """Return a copy in CSR: entries in order, each place once, no zeros, indices of one type."""
    if S.ndim == 1:
        S = S.tocoo()
        S = scipy.sparse.coo_array((S.data, (S.coords[0], np.zeros_like(S.coords[0]))), shape=shape)
    rows = scipy.sparse.csr_array(S, copy=True)
    rows.sum_duplicates()
    rows = rows.astype(dtype, copy=False)  # sums first: of small integers they are those of SciPy
    rows.eliminate_zeros()
    rows.sort_indices()
    index = np.int32 if max(*shape, rows.nnz) <= _LARGEST else np.int64
    rows.indices, rows.indptr = rows.indices.astype(index, copy=False), rows.indptr.astype(index, copy=False)
    return rows


def _name_of_content(rows: Any) -> str:
    digest = xxhash.xxh3_128()
    for array in (rows.indptr, rows.indices, rows.data):
        digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()


class _SparseTiles:
    """Entries in the order of their tiles; sliced as an array is, it gives dense blocks.

    Parameters
    ----------
    rows : csr_array, (m, n)
        Canonical.
    grid : Grid
    ndim : int
        1 for a vector, which is one column here.
    """

    def __init__(self, rows: Any, grid: Grid, ndim: int) -> None:
        self._grid, self._ndim, self.dtype = grid, ndim, rows.dtype
        (a, b), N = grid.tile, grid.counts[1]
        i = np.repeat(np.arange(grid.shape[0], dtype=rows.indices.dtype), np.diff(rows.indptr))
        j = rows.indices
        numbers = (i // a).astype(np.int64) * N + j // b
        order = np.argsort(numbers, kind="stable")
        # the tiles that have entries, and where the entries of each begin
        self._tiles, starts = np.unique(numbers[order], return_index=True)
        self._starts = np.append(starts, len(order))
        self._i, self._j, self._data = i[order], j[order], rows.data[order]
        self.shape = grid.shape[:ndim]

    def absent(self) -> npt.NDArray[np.bool_]:
        """Return which tiles have no entries."""
        absent = np.ones(self._grid.counts, bool)
        absent.flat[self._tiles] = False
        return absent

    def __getitem__(self, index: tuple[slice, ...]) -> Array:
        """Return a dense block, for slices with a start and a stop."""
        rows, cols = (*index, slice(0, 1))[:2]
        block = np.zeros((rows.stop - rows.start, cols.stop - cols.start), self.dtype, order="F")
        (a, b), N = self._grid.tile, self._grid.counts[1]
        for i in range(rows.start // a, -(-rows.stop // a)):
            # the tiles of a row are next to each other
            first, last = np.searchsorted(
                self._tiles, (i * N + cols.start // b, i * N + -(-cols.stop // b)), side="left"
            )
            part = slice(self._starts[first], self._starts[last])
            r, c = self._i[part], self._j[part]
            inside = (rows.start <= r) & (r < rows.stop) & (cols.start <= c) & (c < cols.stop)
            block[r[inside] - rows.start, c[inside] - cols.start] = self._data[part][inside]
        return block if self._ndim == 2 else block[:, 0]


def _check(rows: Any, claim: str) -> None:
    """Raise StructureError unless a matrix has its structure; of two entries rounding may be different.

    As in `wrenla_handler.tiles.claims`: by √u, relative to the largest entries of their row and column.
    """
    entries = rows.tocoo()
    i, j, a = entries.row, entries.col, entries.data
    sizes = np.abs(a)
    scale = np.zeros(rows.shape[0], sizes.dtype)
    for at in (i, j):
        np.fmax.at(scale, at, sizes)
    roots = np.sqrt(scale)
    tolerance = np.sqrt(np.finfo(a.dtype).eps)
    if claim in ("lower", "upper"):
        outside = j > i if claim == "lower" else j < i
        i, j, a = i[outside], j[outside], a[outside]
        expected = np.zeros_like(a)
    else:
        differs = (rows != rows.conj().T.tocsr()).tocoo()  # NaN from itself, too
        below = differs.row >= differs.col
        i, j = differs.row[below], differs.col[below]
        a, expected = _at(rows, i, j), _at(rows, j, i).conj()
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.abs(a - expected)
        same = (difference <= tolerance * roots[i] * roots[j]) & (difference < np.inf) | (a == expected)
    same |= np.isnan(a) & np.isnan(expected)
    if not same.all():
        k = int(np.argmin(same))
        mate = expected[k].conj() if claim not in ("lower", "upper") else expected[k]
        raise StructureError(claim, int(i[k]), int(j[k]), a[k].item(), mate.item())


def _at(rows: Any, i: Array, j: Array) -> Array:
    return np.asarray(rows[i, j]).reshape(-1) if len(i) else np.zeros(0, rows.dtype)
