"""Linear algebra of a matrix: products with itself, factors, systems, norms and determinants."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np
import numpy.typing as npt

from wrenla.algorithms import reductions, statistics, views
from wrenla.algorithms.factorizations.cholesky import cholesky
from wrenla.algorithms.gram import gram
from wrenla.algorithms.solve import refuse_factor
from wrenla.array_like import flag
from wrenla.matrices.operands import Operand, as_node, axis_places, norm_order, vector
from wrenla.matrices.reductions import Reductions
from wrenla.planning.expression import Node
from wrenla.procedures.inverse import slogdet
from wrenla.procedures.report import SolveReport, report_of
from wrenla.procedures.solve import Precision, solve
from wrenla.tracebacks import short_methods
from wrenla.vocabulary import did_you_mean, refuse_others, solver_of
from wrenla_handler.tiles.layout import DTYPES

__all__ = ["LinearAlgebra", "SlogdetResult", "vector_norm"]


class SlogdetResult(NamedTuple):
    """Sign of a determinant and logarithm of its absolute value, not computed yet."""

    sign: Any
    logabsdet: Any


@short_methods
class LinearAlgebra(Reductions):
    """Something that is multiplied, factored, solved with."""

    __slots__ = ()

    def gram(self, weights: Operand | None = None) -> Self:
        """Return A Aᴴ, or A diag(weights) Aᴴ without forming A diag(weights).

        Parameters
        ----------
        weights : vector, optional
            One real number for each column.

        Returns
        -------
        BigMatrix, (m, m)
            Marked positive definite, as it is if `A` has full row rank and the weights are positive;
            otherwise `shift` it.

        Examples
        --------
        >>> import numpy as np, wrenla as wl
        >>> wl.from_array(np.array([[1.0, 2.0], [0.0, 1.0]])).gram([1.0, 10.0]).compute()
        array([[41., 20.],
               [20., 10.]])
        """
        w = None if weights is None else vector(weights, self._numbers, 1)
        if w is not None and np.dtype(w.dtype).kind == "c":
            raise TypeError("gram: weights are real")
        return type(self)(gram(self._numbers, w))

    def cholesky(self, upper: bool = False, *, lower: bool | None = None, **others: Any) -> Self:
        """Return the Cholesky factor of a Hermitian positive definite matrix.

        Parameters
        ----------
        upper : bool
            Return U with Uᴴ U = A instead of L with L Lᴴ = A.
        lower : bool, optional
            The contrary of `upper`, as SciPy has it; but the default is the lower factor.
        **others
            SciPy's ``overwrite_a`` and ``check_finite`` may be given and change nothing: inputs are never
            overwritten, and NaN is a `NotPositiveDefiniteError`, or travels into the result.

        Returns
        -------
        BigMatrix, (n, n), lower or upper
            `L.solve(b)` solves with the triangle; `cho_factor` gives an object that solves with A.

        Raises
        ------
        NotPositiveDefiniteError
            When computed, if A is not positive definite; `minor` is the order of the failing leading minor.

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
        refuse_others("cholesky", others, ["upper", "lower"], ["overwrite_a", "check_finite"])
        if upper and lower:
            raise TypeError("cholesky: lower=True and upper=True: one factor is needed, not both")
        upper = flag(upper, "cholesky: upper")
        upper = upper if lower is None else not flag(lower, "cholesky: lower")
        refuse_factor("cholesky", self._numbers)
        L = cholesky(self._numbers)
        return type(self)(views.flip(L, "C") if upper else L)

    def solve(
        self,
        b: Operand,
        assume_a: str | None = None,
        *,
        check: bool = True,
        precision: Literal["full", "mixed"] = "full",
        method: Literal["lu", "rbt"] | None = None,
        **others: Any,
    ) -> Self:
        """Return x with A x = b, looked at: it is right, or there is an error when it is computed.

        Parameters
        ----------
        b : BigMatrix or array_like, (n,) or (n, k)
        assume_a : {None, "pos", "gen", "sym", "her", "lower", "upper", …}
            What A is; by default what its `structure` says.
        check, precision, method, **others
            As of `wrenla.linalg.solve`, with its errors, warnings and notes.

        Returns
        -------
        BigMatrix, of the shape of `b`
            When it is computed, its `report` says how it was found, and how far it can be trusted.

        Examples
        --------
        >>> import numpy as np, wrenla as wl
        >>> A = wl.from_array(np.array([[4.0, 2.0], [2.0, 5.0]]), structure="pos")
        >>> A.solve(np.array([8.0, 12.0])).compute()
        array([1., 2.])
        """
        known = ["assume_a", "check", "precision", "method"]
        refuse_others("solve", others, known, ["overwrite_a", "overwrite_b", "check_finite"])
        if precision not in get_args(Precision):
            hint = did_you_mean(precision, get_args(Precision))
            raise ValueError(f"solve: precision is 'full' or 'mixed', not {precision!r}; {hint}")
        if method not in (None, "lu", "rbt"):
            raise ValueError(
                f"solve: method is 'lu' (with partial pivoting), 'rbt' (random butterflies) or None, not "
                f"{method!r}; the structure of the matrix is said by assume_a"
            )
        B = as_node(b, rows=self._numbers.grid.tile[0])
        return type(self)(solve(self._numbers, B, solver_of(assume_a), check, precision, method or ""))

    @property
    def report(self) -> SolveReport | None:
        """Report of a solution: how it was found, and how far it can be trusted.

        None before it is computed, and of what is no solution of a system that was factored.
        """
        return report_of(self._node)

    def norm(
        self,
        ord: Literal["fro", "max", 1, -1, 2] | float | None = None,
        axis: int | tuple[int, int] | None = None,
        keepdims: bool = False,
    ) -> Self:
        """Return a norm, a number that is not computed yet.

        Parameters
        ----------
        ord : {None, "fro", 1, -1, inf, -inf, "max"} or float
            As in `numpy.linalg.norm`: by default the Frobenius norm of a matrix, the Euclidean one (2) of a
            vector, which takes any number. "max" is the largest absolute value. Norms of what is empty are
            NumPy's, of all orders.
        axis : int or tuple of int, optional
            All axes, as ``(0, 1)``, or one: 0 for the norm of each column, 1 for that of each row.
        keepdims : bool
            Keep axes of length 1.

        Raises
        ------
        ValueError
            There is no such norm, or no such axis (`numpy.exceptions.AxisError`).
        NotImplementedError
            It is not there yet, as those that need singular values.
        """
        A, keep = self._numbers, flag(keepdims, "norm: keepdims")
        of_vector = A.ndim == 1 and isinstance(ord, int | float | np.number)
        if _is_one_axis(axis) if A.ndim == 2 else of_vector and (axis is None or _is_one_axis(axis)):
            return type(self)(vector_norm(A, 2 if ord is None else ord, axis, keep))
        order = norm_order(ord, A, axis)
        return type(self)(reductions.norm(A, order, A.ndim if keep else 0))

    def trace(self, offset: int = 0, *, dtype: npt.DTypeLike | None = None) -> Self:
        """Return the sum of a diagonal, added up in `dtype`; see `wrenla.linalg.trace`."""
        A, offset = self._matrix("trace"), _offset("trace", offset)
        name = A.dtype if dtype is None else np.dtype(dtype).name
        if name not in DTYPES or (A.dtype[0] == "c" and name[0] != "c"):
            raise TypeError(
                f"trace: dtype={name}, but the sum of {A.dtype} is one of {', '.join(DTYPES)}, and complex "
                "numbers keep their imaginary part"
            )
        return type(self)(reductions.trace(A, offset, name))

    def diagonal(self, offset: int = 0) -> Self:
        """Return a diagonal, a vector; see `wrenla.linalg.diagonal`."""
        A, offset = self._matrix("diagonal"), _offset("diagonal", offset)
        return type(self)(reductions.diagonal(A, offset))

    def slogdet(self) -> SlogdetResult:
        """Return sign and logarithm of `|det A|`; see `wrenla.linalg.det` for what is warned of.

        Returns
        -------
        SlogdetResult
            A named tuple of two numbers that are not computed yet: `sign`, 0 of a singular matrix and complex
            of a complex one, and `logabsdet`, -inf of a singular one. `wl.compute(*A.slogdet())` factors
            once for both.
        """
        sign, logabs = slogdet(self._numbers)
        return SlogdetResult(type(self)(sign), type(self)(logabs))

    def _matrix(self, what: str) -> Node:
        if self._node.ndim != 2:
            raise ValueError(f"{what}: a matrix is needed, not {self._node.ndim} dimensions")
        return self._numbers


def vector_norm(A: Node, order: Any, axis: Any, keepdims: bool) -> Node:
    """Return the norm of the vectors along an axis, of the one that all entries are, or of each entry."""
    if not isinstance(order, int | float | np.integer | np.floating):
        raise ValueError(f"norm: {order!r} is no order of a norm of a vector; there are: real numbers, ±inf")
    axes = tuple(axis) if isinstance(axis, Iterable) else axis
    places = tuple(range(A.ndim)) if axis is None else axis_places(axes, A.ndim)
    if not places and A.ndim:
        return statistics.entry_norms(A, float(order))
    if order == -np.inf and 0 in [A.grid.shape[place] for place in places]:
        raise ValueError(f"norm: the smallest of no entries is asked for: {A.grid.shape[: A.ndim]}, {axis=}")
    along: Literal[0, 1] | None = None
    if len(places) < A.ndim:
        along = 0 if places == (0,) else 1
    result = statistics.vector_norm(A, along, float(order))
    return statistics.kept(result, along, A.ndim) if keepdims else result


def _is_one_axis(axis: Any) -> bool:
    return axis is not None and (not isinstance(axis, Iterable) or len(tuple(axis)) == 1)


def _offset(what: str, offset: Any) -> int:
    try:
        return operator.index(offset)
    except TypeError:
        raise TypeError(f"{what}: offset={offset!r}: a whole number is needed") from None
