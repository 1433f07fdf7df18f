"""LDLᴴ factorization as an object: factor an indefinite matrix once, solve many times."""

from __future__ import annotations

from typing import Any, Literal, NoReturn

from wrenla.algorithms import solve as systems
from wrenla.algorithms.assemble import copy
from wrenla.algorithms.factorizations.block_lu import Mirrored, slogdet_by_blocks
from wrenla.algorithms.factorizations.lu import identity
from wrenla.algorithms.flips import flip
from wrenla.algorithms.procedure import Cell, memoized, results_of
from wrenla.algorithms.reductions import norm as matrix_norm
from wrenla.evaluate.evaluation import save_node
from wrenla.evaluate.options import Options
from wrenla.evaluate.settle import is_data
from wrenla.executors.base import Executor
from wrenla.matrices.linear_algebra import SlogdetResult
from wrenla.matrices.lu_factor import trans_of
from wrenla.matrices.matrix import BigMatrix
from wrenla.matrices.one_norm import rcond_of
from wrenla.matrices.operands import Operand, as_node
from wrenla.planning.expression import Node, result_dtype
from wrenla.procedures.inverse import DeterminantByBlocks
from wrenla.procedures.solve import solved_by_butterflies
from wrenla.procedures.ways import SEEDS, butterfly_factor, by_butterflies
from wrenla.tracebacks import short_methods

__all__ = ["LDLFactor"]

_WORDS: dict[Mirrored, str] = {"hermitian": "ldlh", "symmetric": "ldlt"}


@short_methods
class LDLFactor:
    """Factorization Wᵀ A W = L D Lᴴ of a Hermitian or symmetric matrix, made by `wrenla.linalg.ldl_factor`.

    W is a random butterfly, which makes exchanges of rows between tiles unnecessary; diagonal blocks of D are
    as large as a tile. It is half the work of LU. It is computed by the first run that needs it and kept as
    long as this object, or anything made of it, is in use. Each solution is looked at and refined with A
    itself, so A stays in use, too.

    Attributes
    ----------
    shape : (n, n)

    Examples
    --------
    >>> import numpy as np, wrenla as wl
    >>> factor = wl.linalg.ldl_factor(np.array([[0.0, 2.0], [2.0, 3.0]]))
    >>> np.round(factor.solve(np.array([2.0, 5.0])).compute(), 12)
    array([1., 1.])
    >>> round(float(factor.det()), 12)
    -4.0
    """

    __array_ufunc__ = None  # array @ factor is an error, not an array of objects

    def __init__(self, kind: Mirrored, claimed: Node, A: Node, factor: Node | None = None) -> None:
        self._kind, self._claimed, self._matrix, self._cell = kind, claimed, A, Cell()
        if factor is not None:
            self._factor = systems.bare_factor(factor)
        else:
            (self._factor,) = memoized([butterfly_factor(claimed, kind)], self._cell)

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns of A."""
        return self._matrix.grid.shape

    def solve(self, b: Operand, trans: Literal["N", "T", "C", 0, 1, 2] = "N") -> BigMatrix:
        """Return x with op(A) x = b, looked at as by `wrenla.linalg.solve`.

        Parameters
        ----------
        b : BigMatrix or array_like, (n,) or (n, k)
        trans : {"N", "T", "C"} or {0, 1, 2}
            A, its transpose, or its conjugate transpose.

        Raises
        ------
        SingularMatrixError
            When computed, if A is singular: LU with partial pivoting has the last word.
        LinAlgError
            When computed, if no way gives a residual that HPL's criterion accepts.
        """
        op, n = trans_of(trans), self.shape[0]
        B = as_node(b, rows=self._factor.grid.tile[0])
        systems.check_sides(n, B)
        if op == ("T" if self._kind == "hermitian" else "C"):  # this one is the conjugate of A
            return BigMatrix(flip(self._solved(flip(B, "R")), "R"))
        return BigMatrix(self._solved(B))

    def _solved(self, B: Node) -> Node:
        if not min(*self.shape, *B.grid.shape):
            return copy(B, result_dtype(self._factor.dtype, B.dtype))
        return solved_by_butterflies(self._kind, self._factor, self._claimed, self._matrix, B)

    def slogdet(self) -> SlogdetResult:
        """Return sign and logarithm of `|det A|`.

        The determinant is that of a matrix nearby: its relative error is about the condition number times
        the `backward_error` of a solution before refinement, mostly 1e-14 to 1e-11. Both are looked at. Where
        less than half of the digits would be right (√u), as at a condition of 1e7, or a tile is singular, A
        is factored anew by LU with partial pivoting.
        """
        sign, logabs = self._slogdet()
        return SlogdetResult(BigMatrix(sign), BigMatrix(logabs))

    def det(self) -> BigMatrix:
        """Return the determinant of A, as precise as `slogdet`."""
        sign, logabs = self._slogdet()
        return BigMatrix(systems.det_of_logarithm(sign, logabs))

    def _slogdet(self) -> tuple[Node, ...]:
        found = slogdet_by_blocks(self._factor, SEEDS[self._kind][0])
        if not min(self.shape):
            return found
        what = self._factor, self._claimed, self._matrix
        return results_of(DeterminantByBlocks(self._kind), *found, *what)

    def inv(self) -> BigMatrix:
        """Return the inverse of A: each column is a solution, looked at."""
        return BigMatrix(self._solved(identity(self._matrix)))

    def diagonal_of_inverse(self) -> BigMatrix:
        """Return the diagonal of the inverse, a vector. All of its columns are solved for."""
        return self.inv().diagonal()

    def rcond(self, executor: Executor | None = None, *, norm: float | None = None, **options: Any) -> float:
        """Compute and return an estimate of 1 / (‖A‖₁ ‖A⁻¹‖₁), rarely more than three times too large.

        Parameters
        ----------
        executor : Executor, optional
        norm : float, optional
            ‖A‖₁. By default it is computed.
        **options
            As of `BigMatrix.compute`.

        Returns
        -------
        float
            Of the factor: below 1e-11 or so it says only that A is nearly singular.

        Notes
        -----
        LAPACK: hecon, sycon. At most ten solves with two right-hand sides.
        """
        way = by_butterflies(self._factor, self._kind)
        return rcond_of(
            self._factor,
            [matrix_norm(self._matrix, "1"), matrix_norm(self._matrix, "max")] if norm is None else norm,
            lambda B: way.solve(way.factor, B),
            lambda B: way.adjoint(way.factor, B),
            executor,
            Options.of(**options),
        )

    def save(
        self, url: str, executor: Executor | None = None, *, overwrite: bool = False, **options: Any
    ) -> LDLFactor:
        """Store the factor at an address, and return the stored factorization; see `BigMatrix.save`.

        `wrenla.open_factor(url, A)` opens it again, in another process too: with A, which each solution is
        refined by, and which is not stored with it.
        """
        word = _WORDS[self._kind]
        saved = save_node(self._factor, url, executor, overwrite, Options.of(**options), word)
        return LDLFactor(self._kind, self._claimed, self._matrix, saved)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise TypeError(
            "a matrix is needed, not an LDLFactor: factor.solve(b), factor.det() and factor.inv() are those "
            "of A"
        )

    def __repr__(self) -> str:
        there = bool(self._cell.stored) or is_data(self._factor)
        return f"LDLFactor({self.shape}, {self._factor.dtype}, {'computed' if there else 'not computed yet'})"
