"""Exports of a matrix: Dask arrays, Zarr arrays in any layout, NumPy's files."""

from __future__ import annotations

import os
from typing import Any

from wrenla.executors.base import Executor
from wrenla.interchange.to_dask import to_dask
from wrenla.interchange.to_npy import to_npy
from wrenla.interchange.to_zarr import to_zarr
from wrenla.matrices.operands import Handle
from wrenla.tracebacks import short_methods

__all__ = ["Exports"]


@short_methods
class Exports(Handle):
    """Something that goes to other libraries piece by piece."""

    __slots__ = ()

    def to_dask(self, chunks: Any = None, executor: Executor | None = None) -> Any:
        """Return a Dask array whose blocks are read from the stored tiles.

        A saved or persisted matrix, and what rides on reads of one (`T`, `H`, `shift`, entry by entry
        functions), costs nothing now. Anything else is persisted now, and kept in this process as long as
        the Dask array's graph is.

        Parameters
        ----------
        chunks : int, tuple, "auto", …, optional
            As `dask.array.Array.rechunk` takes them; by default the blocks are the tiles.
        executor : Executor, optional
            Where the matrix is computed, if it is to be persisted.

        Returns
        -------
        dask.array.Array
            Of the same shape and dtype; triangles have their zeros, Hermitian matrices both halves. The name
            follows from the matrix, so the same one has the same name in every process.

        Raises
        ------
        ImportError
            Dask is not there.
        ReachError
            When computed: Dask's worker does not see the store; save the matrix where it does.
        StaleMatrixError
            When computed: the stored matrix has been overwritten.

        Notes
        -----
        Dask's workers need wrenla, and the store's address within their reach: a folder that they share, or
        S3. Tiles of a persisted matrix are removed with the last graph in *this* process: `save` it before
        you leave work on a cluster alone, as ``x.persist()`` does.

        Examples
        --------
        >>> import dask.array as da, wrenla as wl
        >>> A = wl.from_array([[4.0, 1.0], [1.0, 3.0]], tile=1)
        >>> x = A.cholesky().to_dask()
        >>> x
        dask.array<wrenla, shape=(2, 2), dtype=float64, chunksize=(1, 1), chunktype=numpy.ndarray>
        >>> da.linalg.norm(x @ x.T).compute().round(12)
        np.float64(5.196152422707)
        """
        return to_dask(self._node, chunks, executor)

    def to_zarr(
        self,
        store: Any,
        *,
        chunks: Any = None,
        overwrite: bool = False,
        executor: Executor | None = None,
        **create: Any,
    ) -> Any:
        """Write a Zarr array in any layout: chunks, shards, compression, order, Zarr v2.

        It is written by whole chunks (or shards), some at a time, and its description last: an array that was
        not finished is none for any reader. `save` is for what wrenla reads again: it goes on after a kill.

        Parameters
        ----------
        store : path, URL or zarr store
            As `zarr.create_array` takes it.
        chunks : int or tuple, optional
            Shape of a chunk; by default the tiles.
        overwrite : bool
            Replace what is there. It is removed first: what was there is lost if the new one fails.
        executor : Executor, optional
            Computes the matrix, if that is to be done, and says how much memory to use.
        **create
            All else that `zarr.create_array` takes: ``name``, ``shards``, ``compressors`` (None: none),
            ``filters``, ``serializer``, ``fill_value``, ``order``, ``zarr_format``, ``attributes``,
            ``dimension_names``, ``storage_options``, …

        Returns
        -------
        zarr.Array

        Raises
        ------
        ImportError
            zarr is not there.
        FileExistsError
            There is something at `store`.
        PlanError
            One chunk or shard takes more memory than the executor may use.
        StaleMatrixError
            The matrix has been overwritten meanwhile.
        ValueError
            The matrix itself lies at `store`.

        Examples
        --------
        >>> import wrenla as wl, zarr
        >>> A = wl.from_array([[4.0, 1.0], [1.0, 3.0]])
        >>> array = A.to_zarr(zarr.storage.MemoryStore(), chunks=(1, 2), compressors=None)
        >>> array.chunks, array[1]
        ((1, 2), array([1., 3.]))
        """
        return to_zarr(self._node, store, executor, chunks=chunks, overwrite=overwrite, create=create)

    def to_npy(
        self, path: str | os.PathLike[str], *, overwrite: bool = False, executor: Executor | None = None
    ) -> None:
        """Write a ``.npy`` file, tile by tile: it may be larger than memory.

        The file takes the name `path` when it is whole. Its order is Fortran's.

        Parameters
        ----------
        path : str or path
        overwrite : bool
            Replace what is there.
        executor : Executor, optional

        Raises
        ------
        FileExistsError
            There is something at `path`.

        Examples
        --------
        >>> import tempfile, numpy as np, wrenla as wl
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     wl.eye(2).to_npy(f"{folder}/a.npy")
        ...     np.load(f"{folder}/a.npy", mmap_mode="r").shape
        (2, 2)
        """
        to_npy(self._node, path, executor, overwrite)
