"""Factorizations as objects: factor once, solve many times."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NoReturn

from wrenla.algorithms import solve as systems
from wrenla.algorithms.assemble import copy
from wrenla.algorithms.elementwise import elementwise
from wrenla.algorithms.factorizations.cholesky import cholesky
from wrenla.algorithms.factorizations.lu import identity
from wrenla.algorithms.matmul import matmul
from wrenla.algorithms.procedure import Cell, Memo, memoized
from wrenla.algorithms.reductions import norm as matrix_norm
from wrenla.algorithms.reductions import slogdet_triangular, sum_over
from wrenla.algorithms.tile_views import from_lower
from wrenla.algorithms.triangular import solve_triangular
from wrenla.algorithms.views import flip, triangle
from wrenla.array_like import flag, is_flag
from wrenla.evaluate.evaluation import save_node
from wrenla.evaluate.options import Options
from wrenla.executors.base import Executor
from wrenla.matrices.linear_algebra import SlogdetResult
from wrenla.matrices.lu_factor import trans_of
from wrenla.matrices.matrix import BigMatrix
from wrenla.matrices.one_norm import applied, one_norm, rcond_of
from wrenla.matrices.operands import Operand, as_node
from wrenla.planning.expression import Node
from wrenla.tracebacks import short_methods

__all__ = ["CholeskyFactor", "pair_solve"]

_OTHER: dict[str, Literal["lower", "upper"]] = {"lower": "upper", "upper": "lower"}


@short_methods
class CholeskyFactor:
    """Cholesky factorization A = L Lᴴ, made by `wrenla.linalg.cho_factor` or from a factor L.

    The factor is computed by the first run that needs it and kept as long as this object, or anything made of
    it, is in use. As SciPy's it can be unpacked: ``c, lower = wl.linalg.cho_factor(A)``.

    Parameters
    ----------
    c : BigMatrix or array_like, (n, n)
        L, as `save` or `BigMatrix.cholesky` made it, or SciPy's `cho_factor`.
    lower : bool, optional
        Whether `c` is the lower factor L, or the upper one U with Uᴴ U = A. By default what its `structure`
        says. The other triangle is not read.

    Attributes
    ----------
    L : BigMatrix, (n, n)
        The lower triangular factor.

    Examples
    --------
    >>> import numpy as np, wrenla as wl
    >>> factor = wl.linalg.cho_factor(np.array([[4.0, 2.0], [2.0, 5.0]]))
    >>> factor.solve(np.array([8.0, 12.0])).compute()
    array([1., 2.])
    >>> round(float(factor.slogdet().logabsdet), 6)
    2.772589

    A saved factor is one again:

    >>> _ = factor.save("memory://docs/factor")
    >>> again = wl.open_factor("memory://docs/factor")
    >>> again.solve(np.array([8.0, 12.0])).compute()
    array([1., 2.])
    """

    __array_ufunc__ = None  # array @ factor is an error, not an array of objects

    def __init__(self, c: Operand, lower: bool | None = None) -> None:
        self._keep(_lower_factor(as_node(c), lower, "CholeskyFactor"), given=True)

    @classmethod
    def of_matrix(cls, A: Node, lower: bool = True) -> CholeskyFactor:
        """Return the factor of A, from the named triangle of A."""
        systems.refuse_factor("cholesky", A)
        factor = cls.__new__(cls)
        A = A if flag(lower, "cho_factor: lower") else flip(A, "C")
        factor._keep(cholesky(A))
        factor._lower, factor._matrix = bool(lower), from_lower(A, "hermitian")
        return factor

    def _keep(self, L: Node, given: bool = False) -> None:
        self._lower, self._given, self._cell = True, given, Cell()
        self._matrix: Node | None = None
        (self._node,) = (L,) if _is_there(L) else memoized([L], self._cell)

    @property
    def L(self) -> BigMatrix:
        """Lower triangular matrix with L Lᴴ = A."""
        return BigMatrix(self._node)

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns of A."""
        return self.L.shape

    def __iter__(self) -> Iterator[Any]:
        """Yield the factor and whether it is the lower one, as SciPy's `cho_factor` returns them."""
        return iter((self.L if self._lower else self.L.H, self._lower))

    def solve(self, b: Operand, trans: Literal["N", "T", "C", 0, 1, 2] = "N") -> BigMatrix:
        """Return x with op(A) x = b.

        Parameters
        ----------
        b : BigMatrix or array_like, (n,) or (n, k)
        trans : {"N", "T", "C"} or {0, 1, 2}
            A, its transpose, which is its conjugate, or its conjugate transpose, which is A.
        """
        op, B = trans_of(trans), as_node(b, rows=self._node.grid.tile[0])
        if op != "T":
            return BigMatrix(systems.cho_solve(self._node, B))
        return BigMatrix(flip(systems.cho_solve(self._node, flip(B, "R")), "R"))

    def det(self) -> BigMatrix:
        """Return det A, a real number in the dtype of A."""
        return BigMatrix(systems.det_cholesky(self._node))

    def inv(self) -> BigMatrix:
        """Return the inverse of A."""
        return BigMatrix(systems.cho_solve(self._node, identity(self._node)))

    def diagonal_of_inverse(self) -> BigMatrix:
        """Return the diagonal of the inverse, a vector, without storing the inverse.

        For A = L Lᴴ these are the sums of squares down the columns of L⁻¹.
        """
        inverse = solve_triangular(self._node, identity(self._node), "lower")
        squares = elementwise("square", elementwise("absolute", inverse))
        return BigMatrix(copy(sum_over(squares, 0), self.L.dtype.name))

    def slogdet(self) -> SlogdetResult:
        """Return sign (1) and logarithm of det A."""
        sign, logabs = slogdet_triangular(self._node, power=2)
        if self._given:  # the diagonal may be anything: det L Lᴴ = |det L|²
            sign = copy(matrix_norm(sign, "max"), sign.dtype)
        return SlogdetResult(BigMatrix(sign), BigMatrix(logabs))

    def rcond(self, executor: Executor | None = None, *, norm: float | None = None, **options: Any) -> float:
        """Compute and return an estimate of 1 / (‖A‖₁ ‖A⁻¹‖₁), rarely more than three times too large.

        Parameters
        ----------
        executor : Executor, optional
        norm : float, optional
            ‖A‖₁. By default it is computed, or estimated in turn if L was given and not A.
        **options
            As of `BigMatrix.compute`.

        Returns
        -------
        float
            Below the precision of the dtype, no digit of a solution need be right.

        Notes
        -----
        LAPACK: pocon. At most ten solves with two right-hand sides.
        """
        L, evaluation = self._node, Options.of(**options)
        of_A: list[Node] | float
        if norm is not None:
            of_A = norm
        elif self._matrix is not None:
            of_A = [matrix_norm(self._matrix, order) for order in ("1", "max")]
        else:
            product = applied(lambda X: matmul(L, matmul(flip(L, "C"), X)), L, executor, evaluation)
            of_A = one_norm(product, product, self.shape[0], self.L.dtype)

        def solved(B: Node) -> Node:
            return systems.cho_solve(L, B)

        return rcond_of(L, of_A, solved, solved, executor, evaluation)

    def save(
        self, url: str, executor: Executor | None = None, *, overwrite: bool = False, **options: Any
    ) -> CholeskyFactor:
        """Store L at an address, and return the stored factor; see `BigMatrix.save`.

        `wrenla.open_factor` opens it again, in another process too. That it is a factor is stored with it:
        ``wl.open(url).solve(b)`` is an error, as it would solve with L.
        """
        return CholeskyFactor(
            BigMatrix(save_node(self._node, url, executor, overwrite, Options.of(**options), "cholesky"))
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise TypeError(
            "a matrix is needed, not a CholeskyFactor: factor.solve(b) and factor.slogdet() are those of "
            "A = L Lᴴ; factor.L is the triangle"
        )

    def __repr__(self) -> str:
        there = bool(self._cell.stored) or _is_there(self._node)
        return f"CholeskyFactor({self.shape}, {self.L.dtype}, {'computed' if there else 'not computed yet'})"


def _is_there(A: Node) -> bool:
    """Tell whether a matrix is data, or seen through views on data: nothing is computed to read it."""
    if isinstance(A.op, Memo):
        return False
    return A.is_leaf or (A.is_view and all(map(_is_there, A.args)))


def pair_solve(pair: Any, b: Operand) -> BigMatrix:
    """Return x with A x = b, given SciPy's ``(c, lower)``."""
    if not isinstance(pair, tuple | list) or len(pair) != 2 or not is_flag(pair[1]):
        hint = ""
        if isinstance(pair, BigMatrix):
            hint = (
                "; if this matrix is the factor L, cho_solve((L, True), b) or CholeskyFactor(L).solve(b); if "
                "it is A itself, cho_solve(cho_factor(A), b) or A.solve(b)"
            )
        raise TypeError(
            f"cho_solve: what cho_factor returns, or (c, lower) as SciPy's, is needed, "
            f"not {type(pair).__name__}{hint}"
        )
    L = _lower_factor(as_node(pair[0]), bool(pair[1]), "cho_solve")
    return BigMatrix(systems.cho_solve(L, as_node(b, rows=L.grid.tile[0])))


def _lower_factor(c: Node, lower: bool | None, what: str) -> Node:
    """Return the lower triangle L of a factor that is given as L or as U = Lᴴ."""
    if c.ndim != 2 or c.grid.shape[0] != c.grid.shape[1]:
        raise ValueError(f"{what}: the factor must be square, not {c.grid.shape[: c.ndim]}")
    if c.structure in ("pos", "hermitian"):
        raise ValueError(
            f"{what}: c is known to be {c.structure}, so it is no triangular factor; cho_factor(A) makes one"
        )
    if lower is None:
        if c.structure == "general":
            raise ValueError(f"{what}: say lower=True or lower=False: nothing says which triangle counts")
        lower = c.structure == "lower"
    lower = flag(lower, f"{what}: lower")
    part: Literal["lower", "upper"] = "lower" if lower else "upper"
    if c.structure == _OTHER[part]:
        raise ValueError(
            f"{what}: lower={lower}, but c is known to be {c.structure} triangular: its {part} triangle is "
            f"only the diagonal; use lower={not lower}"
        )
    T = triangle(systems.bare_factor(c), part)  # that it is a factor has been said now
    return T if lower else flip(T, "C")
