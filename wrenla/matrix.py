"""`BigMatrix`: a lazy handle on a matrix in tiles."""

from __future__ import annotations

import uuid
from types import EllipsisType
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from wrenla.algorithms import assemble, reductions, systems, views
from wrenla.algorithms.cholesky import cholesky
from wrenla.algorithms.gram import gram
from wrenla.algorithms.matmul import matmul
from wrenla.evaluate import Options, compute_nodes, persist_node, plan_of, save_node
from wrenla.executors.base import Executor
from wrenla.plan.expression import Node, leaf
from wrenla.plan.plan import Plan
from wrenla_handler.grid import Grid, Pair
from wrenla_handler.layout import DTYPES, Structure
from wrenla_handler.task import ArraySpec

__all__ = ["BigMatrix", "SlogdetResult", "as_node", "compute", "plan"]

Operand: TypeAlias = "BigMatrix | npt.ArrayLike"
Index: TypeAlias = int | slice | EllipsisType


class SlogdetResult(NamedTuple):
    """Sign and logarithm of the absolute value of a determinant, as in `numpy.linalg.slogdet`, not computed yet."""

    sign: BigMatrix
    logabsdet: BigMatrix


class BigMatrix:
    """A matrix (or vector, or number) in tiles that is computed when it is asked for.

    Not made directly: see `from_array`, `open`, `from_function`, `eye`, `zeros`, `random`. Methods return new matrices at once
    and compute nothing; `compute`, `persist` and `save` do.

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

    __slots__ = ("__weakref__", "_node")
    __array_ufunc__ = None  # NumPy hands binary operations over to us

    def __init__(self, node: Node) -> None:
        self._node = node

    @property
    def shape(self) -> tuple[int, ...]:
        return self._node.grid.shape[: self.ndim]

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self._node.dtype)

    @property
    def ndim(self) -> int:
        return self._node.ndim

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def tile(self) -> tuple[int, ...]:
        return self._node.grid.tile[: self.ndim]

    @property
    def grid(self) -> tuple[int, ...]:
        return self._node.grid.counts[: self.ndim]

    @property
    def structure(self) -> Structure:
        return self._node.structure

    @property
    def T(self) -> BigMatrix:
        return self if self.ndim < 2 else BigMatrix(views.flip(self._node, "T"))

    @property
    def H(self) -> BigMatrix:
        return BigMatrix(views.flip(self._node, "R" if self.ndim < 2 else "C"))

    def conj(self) -> BigMatrix:
        """Return the complex conjugate."""
        return BigMatrix(views.flip(self._node, "R"))

    def __repr__(self) -> str:
        return (
            f"BigMatrix({self.shape}, {self.dtype}, tiles of {self.tile}, grid {self.grid}, {self.structure})"
        )

    # arithmetic

    def __matmul__(self, other: Operand) -> BigMatrix:
        return _matmul(self._node, as_node(other, rows=self._node.grid.tile[1]))

    def __rmatmul__(self, other: Operand) -> BigMatrix:
        return _matmul(as_node(other, cols=self._node.grid.tile[0]), self._node)

    def __add__(self, other: Operand) -> BigMatrix:
        return _add(self._node, as_node(other, *self._node.grid.tile))

    def __radd__(self, other: Operand) -> BigMatrix:
        return self + other

    def __sub__(self, other: Operand) -> BigMatrix:
        return _add(self._node, views.scale(as_node(other, *self._node.grid.tile), -1))

    def __rsub__(self, other: Operand) -> BigMatrix:
        return -self + other

    def __mul__(self, c: complex) -> BigMatrix:
        return BigMatrix(views.scale(self._node, _scalar(c, "*")))

    __rmul__ = __mul__

    def __truediv__(self, c: complex) -> BigMatrix:
        c = _scalar(c, "/")
        return BigMatrix(views.scale(self._node, 1 / c))

    def __neg__(self) -> BigMatrix:
        return BigMatrix(views.scale(self._node, -1))

    def __pos__(self) -> BigMatrix:
        return self

    def shift(self, c: complex) -> BigMatrix:
        """Return A + c I; A is not rewritten."""
        return BigMatrix(views.shift(self._node, _scalar(c, "shift")))

    def scale_rows(self, w: Operand) -> BigMatrix:
        """Return diag(w) A, for a vector `w` with one entry for each row."""
        return BigMatrix(views.scale_rows(self._node, _vector(w, self._node.grid.tile[0])))

    def scale_columns(self, w: Operand) -> BigMatrix:
        """Return A diag(w), for a vector `w` with one entry for each column."""
        return BigMatrix(views.scale_columns(self._node, _vector(w, self._node.grid.tile[1])))

    def tril(self) -> BigMatrix:
        """Return the lower triangle, diagonal included."""
        return BigMatrix(views.triangle(self._node, "lower"))

    def triu(self) -> BigMatrix:
        """Return the upper triangle, diagonal included."""
        return BigMatrix(views.triangle(self._node, "upper"))

    def astype(self, dtype: npt.DTypeLike) -> BigMatrix:
        """Return the matrix in another dtype. Complex to real is an error, as information would be lost."""
        name = np.dtype(dtype).name
        if name not in DTYPES:
            raise TypeError(f"dtype {name} is not one of {', '.join(DTYPES)}")
        if self.dtype.kind == "c" and np.dtype(name).kind != "c":
            raise TypeError(f"{self.dtype} to {name} would drop the imaginary part")
        return self if name == self.dtype.name else BigMatrix(assemble.copy(self._node, name))

    def rechunk(self, tile: int | tuple[int, int]) -> BigMatrix:
        """Return the same matrix in other tiles."""
        pair: Pair = (tile, tile) if isinstance(tile, int) else (tile[0], tile[-1])
        return BigMatrix(assemble.rechunk(self._node, pair))

    def __getitem__(self, index: Index | tuple[Index, ...]) -> BigMatrix:
        return BigMatrix(_slice(self._node, index if isinstance(index, tuple) else (index,)))

    # linear algebra

    def gram(self, weights: Operand | None = None) -> BigMatrix:
        """Return A Aᴴ, or A diag(weights) Aᴴ without forming A diag(weights).

        Parameters
        ----------
        weights : vector, optional
            One real number for each column.

        Returns
        -------
        BigMatrix, (m, m)
            Marked positive definite, as it is if `A` has full row rank and the weights are positive; otherwise `shift` it.
        """
        w = None if weights is None else _vector(weights, self._node.grid.tile[1])
        if w is not None and np.dtype(w.dtype).kind == "c":
            raise TypeError("gram: weights are real")
        return BigMatrix(gram(self._node, w))

    def cholesky(self, upper: bool = False) -> BigMatrix:
        """Return the Cholesky factor of a Hermitian positive definite matrix.

        Parameters
        ----------
        upper : bool
            Return U with Uᴴ U = A instead of L with L Lᴴ = A.

        Returns
        -------
        BigMatrix, (n, n), lower or upper
            `L.solve(b)` solves with the triangle; `cho_factor` gives an object that solves with A.

        Raises
        ------
        NotPositiveDefiniteError
            When computed, if A is not positive definite; `minor` is the order of the leading minor that failed.

        Notes
        -----
        As in LAPACK's ``potrf`` only the lower triangle of A is read. Backward stable:
        ‖A − L Lᴴ‖ is a small multiple of n u ‖A‖.

        Examples
        --------
        >>> import numpy as np, wrenla as wl
        >>> wl.from_array(np.array([[4.0, 2.0], [2.0, 5.0]])).cholesky().compute()
        array([[2., 0.],
               [1., 2.]])
        """
        L = cholesky(self._node)
        return BigMatrix(views.flip(L, "C") if upper else L)

    def solve(self, b: Operand, assume_a: systems.Assume = None) -> BigMatrix:
        """Return x with A x = b; see `wrenla.linalg.solve`."""
        return BigMatrix(systems.solve(self._node, as_node(b, rows=self._node.grid.tile[0]), assume_a))

    def norm(self, ord: Literal["fro", "max", 1, -1, 2] | float | None = None) -> BigMatrix:
        """Return a norm, a number that is not computed yet.

        Parameters
        ----------
        ord : {None, "fro", 1, -1, inf, -inf, "max"}
            As in `numpy.linalg.norm`: by default the Frobenius norm of a matrix, the Euclidean one of a vector. "max" is the
            largest absolute value.
        """
        return BigMatrix(reductions.norm(self._node, _order(ord, self)))

    def trace(self) -> BigMatrix:
        """Return the sum of the diagonal."""
        self._needs_matrix("trace")
        return BigMatrix(reductions.trace(self._node))

    def diagonal(self) -> BigMatrix:
        """Return the main diagonal, a vector."""
        self._needs_matrix("diagonal")
        return BigMatrix(reductions.diagonal(self._node))

    def sum(self, axis: Literal[0, 1] | None = None) -> BigMatrix:
        """Return the sum of all entries, or of each column (axis 0) or row (axis 1)."""
        if axis is not None and not -self.ndim <= axis < self.ndim:
            raise ValueError(f"axis {axis} of something with {self.ndim} dimensions")
        if axis is None or self.ndim == 1:
            return BigMatrix(reductions.sum_over(self._node, None))
        return BigMatrix(reductions.sum_over(self._node, 0 if axis % 2 == 0 else 1))

    def slogdet(self) -> SlogdetResult:
        """Return sign and logarithm of |det A|, for positive definite and triangular matrices."""
        sign, logabs = systems.slogdet(self._node)
        return SlogdetResult(BigMatrix(sign), BigMatrix(logabs))

    # evaluation

    def compute(self, executor: Executor | None = None, **options: Any) -> Any:
        """Compute and return a NumPy array (for a number, a NumPy scalar).

        Parameters
        ----------
        executor : Executor, optional
            Where to run; `default_executor()` if None.
        **options
            ``schedule="dataflow"|"waves"``, ``progress=True|False``, ``on_event=callable``, and
            ``max_compute_bytes``, above which the result is refused.

        Returns
        -------
        ndarray, in Fortran order
        """
        return compute_nodes([self._node], executor, Options.of(**options))[0]

    def persist(self, executor: Executor | None = None, **options: Any) -> BigMatrix:
        """Compute and return the same matrix with its tiles in the store for temporaries.

        They are kept as long as the returned matrix, or anything made of it, is in use; `save` keeps them for good.
        """
        return BigMatrix(persist_node(self._node, executor, Options.of(**options)))

    def save(
        self, url: str, executor: Executor | None = None, *, overwrite: bool = False, **options: Any
    ) -> BigMatrix:
        """Compute, store the tiles at an address, and return the stored matrix.

        Parameters
        ----------
        url : str
            A folder, ``file:///…``, ``s3://bucket/prefix`` or ``memory://name/…``. Any Zarr v3 reader opens what is saved there.
        executor : Executor, optional
        overwrite : bool
            Replace what is there. Without it that is an error, except that a killed `save` of the same matrix goes on where it was.
        **options
            As in `compute`.
        """
        return BigMatrix(save_node(self._node, url, executor, overwrite, Options.of(**options)))

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is False:
            raise ValueError("a BigMatrix becomes an array only by being computed, which makes a copy")
        return np.asarray(self.compute(), dtype)

    def __float__(self) -> float:
        return float(self._number())

    def __complex__(self) -> complex:
        return complex(self._number())

    def __bool__(self) -> bool:
        if self.size == 1:
            return bool(self.compute())
        raise ValueError("the truth value of a matrix is ambiguous")

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("a number has no length")
        return self.shape[0]

    __iter__ = None  # looping over rows one by one would compute each of them from scratch

    def _number(self) -> Any:
        if self.size != 1:
            raise TypeError(f"only one number can become a number, not a matrix of shape {self.shape}")
        return self.compute().item()

    def _needs_matrix(self, what: str) -> None:
        if self.ndim != 2:
            raise ValueError(f"{what}: a matrix is needed, not {self.ndim} dimensions")


def compute(*matrices: BigMatrix, executor: Executor | None = None, **options: Any) -> tuple[Any, ...]:
    """Compute several matrices in one run; what they have in common is computed once.

    Parameters
    ----------
    *matrices : BigMatrix
    executor, **options
        As in `BigMatrix.compute`.

    Returns
    -------
    tuple of ndarray

    Examples
    --------
    >>> import wrenla as wl
    >>> L = wl.eye(2).shift(3.0).cholesky()
    >>> wl.compute(L.trace(), L.norm("max"))
    (4.0, 2.0)
    """
    return tuple(compute_nodes([A._node for A in matrices], executor, Options.of(**options)))


def plan(*matrices: BigMatrix, executor: Executor | None = None) -> Plan:
    """Return what computing some matrices would take, without computing anything.

    Examples
    --------
    >>> import wrenla as wl
    >>> wl.plan(wl.random((512, 512), tile=128).gram().cholesky()).waves
    8
    """
    return plan_of([A._node for A in matrices], executor)


def as_node(value: Operand, rows: int | None = None, cols: int | None = None) -> Node:
    """Return the expression behind a matrix or array; an array is cut into `rows` × `cols` tiles."""
    if isinstance(value, BigMatrix):
        return value._node
    array = np.asarray(value)
    if array.ndim not in (1, 2) or array.dtype.kind not in "biufc":
        raise TypeError(f"a matrix or vector of numbers is needed, not {type(value).__name__}")
    if array.dtype.kind in "biu" or array.dtype.name not in DTYPES:
        array = array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
    shape: Pair = (array.shape[0], array.shape[1] if array.ndim == 2 else 1)
    edge = rows or cols or 1024
    tile = (max(1, min(rows or edge, shape[0])), max(1, min(cols or edge, shape[1])))
    spec = ArraySpec("host", Grid(shape, tile), array.dtype.name, array.ndim, uuid.uuid4().hex)
    return leaf(spec, "general", array)


def _scalar(c: Any, what: str) -> float | complex:
    if isinstance(c, BigMatrix) or np.ndim(c) > 0:
        raise TypeError(
            f"{what}: a number is needed; to weigh rows or columns use scale_rows or scale_columns, "
            "for products entry by entry map_tiles, for products of matrices @"
        )
    value = complex(c)
    return value if isinstance(c, complex | np.complexfloating) else value.real


def _vector(w: Operand, tile: int) -> Node:
    node = as_node(w, rows=tile)
    if node.ndim != 1:
        raise ValueError("weights are a vector")
    if node.is_view or node.structure != "general":
        node = assemble.copy(node)
    return node if node.grid.tile[0] == tile else assemble.rechunk(node, (tile, 1))


def _matmul(A: Node, B: Node) -> BigMatrix:
    if 0 in (A.ndim, B.ndim):
        raise ValueError("matmul: a number is no operand; use *")
    ndim = A.ndim + B.ndim - 2
    if A.ndim == 1:
        A = views.flip(A, "T") if B.ndim == 1 else A
        if B.ndim == 2:  # x @ B is Bᵀ x
            A, B = views.flip(B, "T"), A
    elif B.ndim == 2 and B.key == views.flip(A, "C").key and A.structure == "general":
        return BigMatrix(gram(A))
    return BigMatrix(matmul(A, B, ndim))


def _add(A: Node, B: Node) -> BigMatrix:
    if A.grid.shape != B.grid.shape or A.ndim != B.ndim:
        raise ValueError(
            f"a sum needs equal shapes, not {A.grid.shape[: A.ndim]} and {B.grid.shape[: B.ndim]}; "
            "to add to the diagonal use shift"
        )
    return BigMatrix(views.add(A, assemble.rechunk(B, A.grid.tile)))


def _order(ord: Any, A: BigMatrix) -> str:
    if ord is None or ord == "fro" or (ord == 2 and A.ndim == 1):
        return "fro"
    if A.size == 0:
        raise ValueError("only the Frobenius norm of an empty matrix is defined")
    if ord == "max":
        return "max"
    name = {1: "1", -1: "-1", np.inf: "inf", -np.inf: "-inf"}.get(ord)
    if name is None:
        raise NotImplementedError(f"norm of order {ord!r}; there are 'fro', 1, -1, inf, -inf and 'max'")
    return name


def _slice(A: Node, index: tuple[Index, ...]) -> Node:
    """Return A[index] with NumPy's meaning of integers, slices and one ellipsis."""
    if sum(part is Ellipsis for part in index) > 1 or len([p for p in index if p is not Ellipsis]) > A.ndim:
        raise IndexError(f"too many indices for {A.ndim} dimensions")
    missing = (slice(None),) * (A.ndim - len([p for p in index if p is not Ellipsis]))
    parts: list[Any] = []
    for part in index if Ellipsis in index else (*index, Ellipsis):
        parts += missing if part is Ellipsis else [part]
    lengths = A.grid.shape
    slices: list[slice] = []
    for axis, part in enumerate(parts):
        if isinstance(part, slice):
            slices.append(part)
        elif isinstance(part, int | np.integer) and not isinstance(part, bool):
            at = int(part) + (lengths[axis] if part < 0 else 0)
            if not 0 <= at < lengths[axis]:
                raise IndexError(f"index {part} is out of bounds for axis {axis} of length {lengths[axis]}")
            slices.append(slice(at, at + 1))
        else:
            raise TypeError(f"an index is an integer, a slice or ..., not {part!r}")
    kept = [axis for axis, part in enumerate(parts) if isinstance(part, slice)]
    if len(slices) == 1:
        slices.append(slice(0, 1))
    if kept == [1]:  # one row, as a vector
        A, slices = views.flip(A, "T"), slices[::-1]
    shape = tuple(len(range(*s.indices(n))) for s, n in zip(slices, A.grid.shape, strict=True))
    tile = tuple(max(1, min(n, t)) for n, t in zip(shape, A.grid.tile, strict=True))
    return assemble.take(A, slices[0], slices[1], (tile[0], tile[1]), len(kept))
