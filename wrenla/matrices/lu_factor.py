"""LU factorization as an object: factor once, solve many times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, Literal, NoReturn

import numpy as np
import numpy.typing as npt

from wrenla.algorithms import solve as systems
from wrenla.algorithms.assemble import full, take
from wrenla.algorithms.factorizations.checks import sizes
from wrenla.algorithms.factorizations.lu import LU, exchange, identity, lu, lu_solve, permutation, trapezoid
from wrenla.algorithms.flips import flip
from wrenla.algorithms.procedure import Cell, Memo, memoized, results_of
from wrenla.arrays import array_leaf
from wrenla.evaluate.evaluation import compute_nodes, save_node
from wrenla.evaluate.options import Options
from wrenla.evaluate.settle import is_data
from wrenla.evaluate.stored import stored_spec
from wrenla.executors.base import Executor
from wrenla.matrices.linear_algebra import SlogdetResult
from wrenla.matrices.matrix import BigMatrix
from wrenla.matrices.one_norm import rcond_of
from wrenla.matrices.operands import Operand, as_node
from wrenla.planning.expression import Node, View, leaf
from wrenla.procedures.inverse import Determinant
from wrenla.procedures.solve import SolveFactored
from wrenla.procedures.ways import largest_of_u
from wrenla.tracebacks import short_methods
from wrenla_handler.errors import StaleMatrixError
from wrenla_handler.stores.urls import open_store
from wrenla_handler.tiles.layout import TileLayout, rows_of_pivots
from wrenla_handler.tiles.task import Op

__all__ = ["LUFactor", "given_factors", "lu_pair", "trans_of"]

_TRANS: dict[str | int, Op] = {"N": "N", "T": "T", "C": "C", 0: "N", 1: "T", 2: "C"}


def trans_of(trans: Any) -> Op:
    """Return BLAS's letter for SciPy's `trans`."""
    word = int(trans) if isinstance(trans, np.integer) else trans
    op: Op | None = _TRANS.get(word) if isinstance(word, str | int) else None
    if op is None:
        raise ValueError(f"trans is 'N', 'T' or 'C', not {trans!r}")
    return op


@short_methods
class LUFactor:
    """LU factorization P A = L U, made by `wrenla.linalg.lu_factor`.

    The factors are computed by the first run that needs them and kept as long as this object, or anything
    made of it, is in use. As SciPy's it can be unpacked: ``lu, piv = wl.linalg.lu_factor(A)``.

    Attributes
    ----------
    lu : BigMatrix, (m, n)
        L below the diagonal, without the ones on it, and U on and above it.

    Examples
    --------
    >>> import numpy as np, wrenla as wl
    >>> factor = wl.linalg.lu_factor(np.array([[0.0, 2.0], [1.0, 4.0]]))
    >>> factor.solve(np.array([2.0, 5.0])).compute()
    array([1., 1.])
    >>> factor.piv()
    array([1, 1], dtype=int32)
    >>> float(factor.det())
    -2.0
    """

    __array_ufunc__ = None  # array @ factor is an error, not an array of objects

    def __init__(self, factors: LU, cell: Cell, A: Node | None = None) -> None:
        self._factors, self._cell, self._matrix = factors, cell, A
        # what tells how much entries have grown, and norms of A: computed once, too
        self._sizes: tuple[Node, ...] = ()
        if A is not None and min(A.grid.shape):
            self._sizes = memoized([largest_of_u(factors), sizes(A)], Cell())

    @classmethod
    def of_matrix(cls, A: Node) -> LUFactor:
        """Return the factorization of A."""
        cell = Cell()
        return cls(LU(*memoized(lu(A), cell)), cell, A)

    @property
    def lu(self) -> BigMatrix:
        """Both factors in one matrix: U on and above the diagonal, L without its ones below it."""
        return BigMatrix(self._factors.factors)

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns of A."""
        return self.lu.shape

    def piv(self, executor: Executor | None = None, **options: Any) -> npt.NDArray[np.int32]:
        """Compute and return the pivots: row k was exchanged with row ``piv[k]``, from 0, k = 0 first."""
        (pivots,) = compute_nodes([self._factors.pivots], executor, Options.of(**options))
        return np.asarray(pivots[:, 0], np.int32)  # as LAPACK has them

    def __iter__(self) -> Iterator[Any]:
        """Yield the factors in one matrix, and the pivots, as SciPy's `lu_factor` returns them."""
        yield self.lu
        yield self.piv()

    def solve(self, b: Operand, trans: Literal["N", "T", "C", 0, 1, 2] = "N") -> BigMatrix:
        """Return x with op(A) x = b.

        Parameters
        ----------
        b : BigMatrix or array_like, (n,) or (n, k)
        trans : {"N", "T", "C"} or {0, 1, 2}
            A, its transpose, or its conjugate transpose.

        Raises
        ------
        SingularMatrixError
            When computed, if there is a zero on the diagonal of U.
        LinAlgError
            When computed, if entries have grown so much in the elimination that no way gives a residual that
            HPL's criterion accepts. If factors were given and not A, nobody can look.

        Notes
        -----
        The growth is looked at once. Where it is large, each solution is refined, or found another way, as by
        `wrenla.linalg.solve`, and has a `report`.
        """
        op, (m, n) = trans_of(trans), self.lu._node.grid.shape
        if m != n:
            raise ValueError(f"solve: the matrix must be square, not {m} × {n}")
        B = as_node(b, rows=self.lu._node.grid.tile[0])
        systems.check_sides(n, B)
        if self._matrix is None or not self._sizes or not min(B.grid.shape):
            return BigMatrix(lu_solve(self._factors, B, op))
        args = (*self._factors, *self._sizes, flip(self._matrix, op), B)
        return BigMatrix(results_of(SolveFactored(op), *args)[0])

    def save(
        self, url: str, executor: Executor | None = None, *, overwrite: bool = False, **options: Any
    ) -> LUFactor:
        """Store the factors at an address, and return the stored factorization; see `BigMatrix.save`.

        `wrenla.open_factor` opens it again, in another process too. Any Zarr v3 reader sees L and U in one
        matrix there; the pivots stand in its description.
        """
        evaluation = Options.of(**options)
        F, pivots = self._factors
        save_node(F, url, executor, overwrite, evaluation, "lu", pivots)
        # of what is there, which another processor may have made: F and pivots belong together
        with closing(open_store(url)) as store:
            layout = TileLayout.read(store)
            saved = leaf(stored_spec(store, layout))
        rows = rows_of_pivots(layout.pivots, layout.grid.shape)
        if rows is None:
            raise StaleMatrixError(f"{store.url}: the factors were overwritten since they were saved")
        return given_factors(saved, rows, self._matrix)

    def diagonal_of_inverse(self) -> BigMatrix:
        """Return the diagonal of the inverse, a vector, without storing the inverse.

        All of its columns are solved for.
        """
        self._needs_square("diagonal_of_inverse")
        return self.inv().diagonal()

    def slogdet(self) -> SlogdetResult:
        """Return sign and logarithm of `|det A|`, of a square A."""
        self._needs_square("slogdet")
        if self._matrix is None or not self._sizes:
            sign, logabs = systems.slogdet_lu(self._factors)
        else:
            sign, logabs = results_of(Determinant(True), *self._factors, *self._sizes, self._matrix)
        return SlogdetResult(BigMatrix(sign), BigMatrix(logabs))

    def det(self) -> BigMatrix:
        """Return the determinant of a square A."""
        self._needs_square("det")
        if self._matrix is None or not self._sizes:
            return BigMatrix(systems.det_lu(self._factors))
        return BigMatrix(*results_of(Determinant(False), *self._factors, *self._sizes, self._matrix))

    def inv(self) -> BigMatrix:
        """Return the inverse of a square A."""
        self._needs_square("inv")
        return self.solve(BigMatrix(identity(self.lu._node)))

    def rcond(self, executor: Executor | None = None, *, norm: float | None = None, **options: Any) -> float:
        """Compute and return an estimate of 1 / (‖A‖₁ ‖A⁻¹‖₁), rarely more than three times too large.

        Parameters
        ----------
        executor : Executor, optional
        norm : float, optional
            ‖A‖₁; needed if the factors were given and not A. By default it is computed.
        **options
            As of `BigMatrix.compute`.

        Returns
        -------
        float
            0 if A is singular. Below the precision of the dtype, no digit of a solution need be right.

        Notes
        -----
        LAPACK: gecon. At most ten solves with two right-hand sides.
        """
        self._needs_square("rcond")
        return rcond_of(
            self._factors.factors,
            self._norms() if norm is None else norm,
            lambda B: lu_solve(self._factors, B),
            lambda B: lu_solve(self._factors, B, "C"),
            executor,
            Options.of(**options),
        )

    def unpacked(self, *, permuted: bool = False, indices: bool = False) -> tuple[BigMatrix, ...]:
        """Return P, L and U; P L and U if L is `permuted`; p instead of P for `indices`: A = L[p] U."""
        F, pivots = self._factors
        (m, n), k = F.grid.shape, min(F.grid.shape)
        L, U = trapezoid(F, "unit"), trapezoid(F, "upper")
        L = L if k == n else take(L, slice(m), slice(k), F.grid.tile)
        U = U if k == m else take(U, slice(k), slice(n), F.grid.tile)
        if permuted:
            return BigMatrix(exchange(L, pivots, back=True)), BigMatrix(U)
        if indices:
            return BigMatrix(permutation(pivots, m)), BigMatrix(L), BigMatrix(U)
        P = exchange(identity(F, np.empty(0, F.dtype).real.dtype.name), pivots, back=True)
        return BigMatrix(P), BigMatrix(L), BigMatrix(U)

    def _norms(self) -> list[Node] | float:
        if self._sizes:  # of three numbers the second one, and the largest entry
            return [take(self._sizes[1], slice(k, k + 1), slice(0, 1), (1, 1), 0) for k in (1, 2)]
        if not self.shape[0]:
            return 0.0
        raise ValueError("rcond: say norm=‖A‖₁: of these factors the matrix is not known")

    def _needs_square(self, what: str) -> None:
        m, n = self.lu._node.grid.shape
        if m != n:
            raise ValueError(f"{what}: the matrix must be square, not {m} × {n}")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise TypeError(
            "a matrix is needed, not an LUFactor: factor.solve(b), factor.det() and factor.inv() are those "
            "of A; factor.lu holds L and U"
        )

    def __repr__(self) -> str:
        there = bool(self._cell.stored) or is_data(self.lu._node)
        return f"LUFactor({self.shape}, {self.lu.dtype}, {'computed' if there else 'not computed yet'})"


def _is_bare(A: Node) -> bool:
    """Tell whether tiles are read as they are stored: nothing is transposed, scaled or added on the way."""
    if isinstance(A.op, View):
        return (A.op.moves or isinstance(A.op, Memo)) and all(map(_is_bare, A.args))
    return True


def lu_pair(pair: Any) -> LUFactor:
    """Return the factorization that SciPy's ``(lu, piv)`` is."""
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        hint = (
            "; if this is the matrix itself, lu_factor(A) makes them" if isinstance(pair, BigMatrix) else ""
        )
        raise TypeError(
            f"lu_solve: what lu_factor returns, or (lu, piv) as SciPy's, is needed, not "
            f"{type(pair).__name__}{hint}"
        )
    F, piv = as_node(pair[0]), np.asarray(pair[1])
    if F.structure != "general" or not _is_bare(F):  # its two triangles are read as they are stored
        F = full(F)
    m, n = F.grid.shape
    if piv.ndim != 1 or piv.size != min(m, n) or (piv.size and piv.dtype.kind not in "iu"):
        raise ValueError(
            f"lu_solve: {min(m, n)} integers are needed as pivots, not {piv.dtype} of {piv.shape}"
        )
    if piv.size and not 0 <= piv.min() <= piv.max() < m:
        raise ValueError(f"lu_solve: a pivot is no row of {m}: {piv.min()} to {piv.max()}")
    return given_factors(F, piv)


def given_factors(F: Node, piv: npt.NDArray[Any], A: Node | None = None) -> LUFactor:
    """Return the factorization with these factors and pivots, of A if that is known."""
    column = piv.astype(np.int64)[:, np.newaxis]
    return LUFactor(LU(F, array_leaf(column, (max(1, piv.size), 1), own=True)), Cell(), A)
