"""`BigMatrix`: a lazy handle on a matrix in tiles."""

from __future__ import annotations

import math
from typing import Any, Literal, NoReturn

import numpy as np
import numpy.typing as npt

from wrenla.algorithms import assemble, views
from wrenla.algorithms.elementwise import with_dimensions
from wrenla.display.notebook import html_of
from wrenla.evaluate.evaluation import compute_nodes, persist_node, refuse_too_large, save_node
from wrenla.evaluate.options import Options
from wrenla.executors.base import Executor
from wrenla.interchange.exports import Exports
from wrenla.late import find
from wrenla.matrices.linear_algebra import LinearAlgebra
from wrenla.matrices.operands import (
    Index,
    Operand,
    as_node,
    clipped,
    is_answered,
    number,
    sliced,
    tile_pair,
    times,
    vector,
)
from wrenla.tracebacks import short_methods
from wrenla_handler.tiles.layout import DTYPES, Structure

__all__ = ["BigMatrix"]


@short_methods
class BigMatrix(LinearAlgebra, Exports):
    """Lazy matrix (or vector, or number) in tiles: computed on request.

    Not made directly: see `from_array`, `open`, `from_function`, `eye`, `zeros`, `random`. Methods return new
    matrices at once and compute nothing; `compute`, `persist` and `save` do.

    Attributes
    ----------
    shape : tuple of int
    dtype : numpy.dtype
    ndim : int
        2, 1 for vectors, 0 for numbers.
    size, nbytes : int
        Entries; bytes if it were a NumPy array.
    tile, grid : tuple of int
        Rows and columns of a tile; number of tile rows and tile columns.
    structure : {"general", "lower", "upper", "hermitian", "pos"}
        What is known of it: triangular, Hermitian (symmetric), Hermitian positive definite.
    T, H : BigMatrix
        Transpose and conjugate transpose, which cost nothing.

    Examples
    --------
    >>> import wrenla as wl
    >>> A = wl.random((100, 40), tile=32)
    >>> A
    BigMatrix((100, 40), float64, tiles of (32, 32), grid (4, 2), general)
    >>> S = A.gram().shift(1.0)
    >>> x = S.solve(wl.random(100, tile=32))
    >>> x.shape, S.structure
    ((100,), 'pos')
    """

    __slots__ = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns; a vector has one length, a number none."""
        return self._node.grid.shape[: self.ndim]

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy dtype of the entries."""
        return np.dtype(self._node.dtype)

    @property
    def ndim(self) -> int:
        """Number of dimensions: 2, of a vector 1, of a number 0."""
        return self._node.ndim

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the whole matrix as an array."""
        return self.size * self.dtype.itemsize

    @property
    def tile(self) -> tuple[int, ...]:
        """Rows and columns of a tile."""
        return self._node.grid.tile[: self.ndim]

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of tile rows and tile columns."""
        return self._node.grid.counts[: self.ndim]

    @property
    def structure(self) -> Structure:
        """Structure that the matrix is known to have: "general", "lower", "upper", "hermitian" or "pos"."""
        return self._node.structure

    @property
    def T(self) -> BigMatrix:
        """Transpose; of a vector the vector itself."""
        return self if self.ndim < 2 else self._turned("T")

    @property
    def H(self) -> BigMatrix:
        """Conjugate transpose; of a vector its conjugate."""
        return self.conj() if self.ndim < 2 else self._turned("C")

    def conj(self) -> BigMatrix:
        """Return the complex conjugate."""
        return BigMatrix(views.flip(self._node, "R"))

    def __repr__(self) -> str:
        return (
            f"BigMatrix({self.shape}, {self.dtype}, tiles of {self.tile}, grid {self.grid}, {self.structure})"
        )

    def _repr_html_(self) -> str:
        """Return a table and a picture of the grid, for notebooks."""
        return html_of(self._node)

    # arithmetic

    def __matmul__(self, other: Operand) -> BigMatrix:
        if is_answered(other, "__rmatmul__"):
            return NotImplemented
        A = self._numbers
        return BigMatrix(times(A, as_node(other, rows=A.grid.tile[1], beside=A.dtype)))

    def __rmatmul__(self, other: Operand) -> BigMatrix:
        A = self._numbers
        return BigMatrix(times(as_node(other, cols=A.grid.tile[0], beside=A.dtype), A))

    def dot(self, other: Any) -> BigMatrix:
        """Return A @ other, or for a number A * other."""
        return self @ other if np.ndim(other) else self._apply("multiply", self, other)

    def shift(self, c: complex) -> BigMatrix:
        """Return A + c I of a square A, which is not rewritten: c is added as tiles are read.

        Parameters
        ----------
        c : number
            A complex one makes a real matrix complex. With c ≥ 0 a positive definite matrix stays one.

        Raises
        ------
        ValueError
            A is not square.

        Examples
        --------
        >>> import numpy as np, wrenla as wl
        >>> wl.from_array(np.array([[0.0, 2.0], [1.0, 4.0]])).shift(10).compute()
        array([[10.,  2.],
               [ 1., 14.]])
        """
        return BigMatrix(views.shift(self._numbers, *number(c, "shift")))

    def scale_rows(self, w: Operand) -> BigMatrix:
        """Return diag(w) A, for a vector `w` with one entry for each row: each row is multiplied by its own.

        Examples
        --------
        >>> import numpy as np, wrenla as wl
        >>> wl.from_array(np.ones((2, 3))).scale_rows([1.0, 5.0]).compute()
        array([[1., 1., 1.],
               [5., 5., 5.]])
        """
        return BigMatrix(views.scale_rows(self._numbers, vector(w, self._numbers, 0)))

    def scale_columns(self, w: Operand) -> BigMatrix:
        """Return A diag(w), for a vector `w` with one entry for each column."""
        return BigMatrix(views.scale_columns(self._numbers, vector(w, self._numbers, 1)))

    def tril(self) -> BigMatrix:
        """Return the lower triangle, diagonal included."""
        return BigMatrix(views.triangle(self._numbers, "lower"))

    def triu(self) -> BigMatrix:
        """Return the upper triangle, diagonal included."""
        return BigMatrix(views.triangle(self._numbers, "upper"))

    def astype(self, dtype: npt.DTypeLike) -> BigMatrix:
        """Return the matrix in another dtype: float32, float64, complex64 or complex128.

        Raises
        ------
        TypeError
            It is another one; or it is real and the matrix complex, as information would be lost.
        """
        name = np.dtype(dtype).name
        if name not in (*DTYPES, self.dtype.name):
            raise TypeError(f"dtype {name} is not one of {', '.join(DTYPES)}")
        self._refuse_real(np.dtype(name))
        return self if name == self.dtype.name else BigMatrix(assemble.copy(self._node, name))

    def rechunk(self, tile: int | tuple[int, int]) -> BigMatrix:
        """Return the same matrix in other tiles.

        Parameters
        ----------
        tile : int or (int, int)
            Edge of a tile, or its rows and columns.

        Examples
        --------
        >>> import wrenla as wl
        >>> wl.random((300, 200), tile=100).rechunk((150, 100)).grid
        (2, 2)
        """
        return BigMatrix(assemble.rechunk(self._node, clipped(tile_pair(tile), self._node.grid.shape)))

    def __getitem__(self, index: Index | tuple[Index, ...]) -> BigMatrix:
        return BigMatrix(sliced(self._node, index if isinstance(index, tuple) else (index,)))

    # evaluation

    def compute(self, executor: Executor | None = None, **options: Any) -> Any:
        """Compute and return a NumPy array (for a number, a NumPy scalar).

        Parameters
        ----------
        executor : Executor, optional
            Where to run; `default_executor()` if None.
        **options
            ``schedule="dataflow"|"waves"``, ``progress=True|False``, ``callbacks=[…]`` (functions that are
            told each event), ``record="run.jsonl"`` (a file that keeps them), ``report="report.html"`` (a
            page that says how it went: `write_report`), and ``max_compute_bytes``, above which the result is
            refused.

        Returns
        -------
        ndarray, in Fortran order
        """
        return compute_nodes([self._node], executor, Options.of(**options))[0]

    def persist(self, executor: Executor | None = None, **options: Any) -> BigMatrix:
        """Compute and return the same matrix with its tiles in the store for temporaries.

        They are kept as long as the returned matrix, or anything made of it, is in use; `save` keeps them for
        good. Arguments and errors are those of `compute`, without a limit of its size.

        Examples
        --------
        >>> import wrenla as wl
        >>> L = wl.eye(300, tile=100).shift(3.0).cholesky().persist()
        >>> float(L.trace()), float(L.norm("max"))  # factored once
        (600.0, 2.0)
        """
        return BigMatrix(persist_node(self._node, executor, Options.of(**options)))

    def save(
        self, url: str, executor: Executor | None = None, *, overwrite: bool = False, **options: Any
    ) -> BigMatrix:
        """Compute, store the tiles at an address, and return the stored matrix.

        Parameters
        ----------
        url : str
            A folder, ``file:///…``, ``s3://bucket/prefix`` or ``memory://name/…``. Any Zarr v3 reader opens
            what is saved there.
        executor : Executor, optional
        overwrite : bool
            Replace what is there. Without it that is an error, except that a killed `save` of the same matrix
            goes on where it was.
        **options
            As in `compute`.
        """
        return BigMatrix(save_node(self._node, url, executor, overwrite, Options.of(**options)))

    # NumPy's and Dask's protocols

    def __array__(self, dtype: npt.DTypeLike | None = None, *, copy: bool | None = None) -> npt.NDArray[Any]:
        """Compute for ``numpy.asarray(A)`` and its like, as `compute` does and with its limit.

        `copy` is as in NumPy 2: an array is made in any case, so False is a ValueError.
        """
        if copy is False:
            raise ValueError(
                "copy=False: a BigMatrix becomes an array only by being computed, which makes a copy: "
                "numpy.asarray(A) or A.compute()"
            )
        wanted = self.dtype if dtype is None else np.dtype(dtype)
        self._refuse_real(wanted)
        options = Options.of()
        refuse_too_large(self._node, options, wanted.itemsize)
        A = self.astype(wanted.name) if wanted.name in DTYPES else self
        return np.asarray(compute_nodes([A._node], None, options)[0], wanted)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """Call one of NumPy's functions with matrices, lazily; see the guide for which there are."""
        return find("array_function")(func, types, args, kwargs)

    def __dask_tokenize__(self) -> tuple[str, str]:
        """Return what names content and expression, in any process: it is no Dask collection (ADR 18)."""
        return "wrenla.BigMatrix", self._node.key

    def __format__(self, spec: str) -> str:
        return format(self._scalar("format"), spec) if spec else str(self)

    def __round__(self, ndigits: int | None = None) -> Any:
        return round(self._scalar("round"), ndigits)

    def __int__(self) -> int:
        return int(self._scalar("int").item())

    def __float__(self) -> float:
        return float(self._number())

    def __complex__(self) -> complex:
        return complex(self._number())

    def __bool__(self) -> bool:
        if self.size == 1:
            return bool(self.compute())
        raise ValueError("the truth value of a matrix is ambiguous; A.compute().any() or .all() has one")

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("a number has no length")
        return self.shape[0]

    def __iter__(self) -> NoReturn:
        raise TypeError(
            "a BigMatrix is not iterable, as each row would be computed from scratch: loop over A.compute(), "
            "or over slices, A[:1000], A[1000:2000], …, computed one by one"
        )

    def __contains__(self, value: object) -> NoReturn:
        raise TypeError("a BigMatrix is not iterable, nor searched with `in`: look into A.compute()")

    def _turned(self, op: Literal["T", "C"]) -> BigMatrix:
        # the row that a vector was made, v[None], turned back is a column
        return BigMatrix(with_dimensions(views.flip(self._node, op), 2, column=True))

    def _refuse_real(self, dtype: np.dtype[Any]) -> None:
        if self.dtype.kind == "c" and dtype.kind in "biuf":
            raise TypeError(f"{self.dtype} to {dtype.name} would drop the imaginary part")

    def _number(self) -> Any:
        if self.size != 1:
            raise TypeError(f"only one number can become a number, not a matrix of shape {self.shape}")
        return self.compute().item()

    def _scalar(self, what: str) -> Any:
        """Return NumPy's scalar; a matrix of one entry is none."""
        if self.ndim:
            raise TypeError(
                f"{what}: only one number can become a number, not a matrix of shape {self.shape}; "
                "A.compute() is an array"
            )
        return self.compute()
