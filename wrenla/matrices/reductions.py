"""Sums, means and extremes of a matrix, with NumPy's arguments."""

from __future__ import annotations

from typing import Any, Literal, Self, TypeAlias

import numpy as np

from wrenla.algorithms import reductions, statistics
from wrenla.matrices.arithmetic import Arithmetic
from wrenla.matrices.operands import axis_places
from wrenla.planning.expression import Node
from wrenla.tracebacks import short_methods
from wrenla.vocabulary import refuse_others

__all__ = ["Reductions"]

Axis: TypeAlias = Literal[0, 1] | None


@short_methods
class Reductions(Arithmetic):
    """Something whose entries are added up along an axis.

    `axis` is 0 for one number for each column, 1 for one for each row, None or (0, 1) for one of all;
    `keepdims` keeps that axis, of length one. Of NumPy's other arguments ``out`` may be None, ``dtype``
    that of the result, so that ``np.sum(A)`` and ``np.mean(A, axis=0)`` work, too.

    Examples
    --------
    >>> import wrenla as wl
    >>> A = wl.from_array([[1.0, 4.0], [9.0, 16.0]])
    >>> (A - A.mean(axis=1, keepdims=True)).max(axis=0).compute()
    array([-1.5,  3.5])
    """

    __slots__ = ()

    def sum(self, axis: int | None = None, *, keepdims: bool = False, **numpy: Any) -> Self:
        """Return the sum of all entries, or of each column (axis 0) or row (axis 1)."""
        along = self._axis("sum", axis, numpy)
        return self._reduced(reductions.sum_over(self._numbers, along), along, keepdims)

    def mean(self, axis: int | None = None, *, keepdims: bool = False, **numpy: Any) -> Self:
        """Return the mean of all entries, or of each column (axis 0) or row (axis 1)."""
        along = self._axis("mean", axis, numpy)
        return self._reduced(statistics.mean(self._numbers, along), along, keepdims)

    def var(
        self,
        axis: int | None = None,
        *,
        ddof: float = 0,
        keepdims: bool = False,
        correction: float | None = None,
        **numpy: Any,
    ) -> Self:
        """Return the variance, ``mean(abs(A - A.mean()) ** 2)``; the divisor is less by `ddof`.

        `correction` is another word for `ddof`.
        """
        along = self._axis("var", axis, numpy)
        ddof = _one_of(ddof, correction)
        return self._reduced(statistics.variance(self._numbers, along, ddof), along, keepdims)

    def std(
        self,
        axis: int | None = None,
        *,
        ddof: float = 0,
        keepdims: bool = False,
        correction: float | None = None,
        **numpy: Any,
    ) -> Self:
        """Return the standard deviation, the square root of `var`."""
        self._axis("std", axis, numpy)
        return self._apply("sqrt", self.var(axis, ddof=ddof, keepdims=keepdims, correction=correction))

    def max(self, axis: int | None = None, *, keepdims: bool = False, **numpy: Any) -> Self:
        """Return the largest entry, of all or of each column (axis 0) or row (axis 1); NaN stays NaN."""
        along = self._axis("max", axis, numpy)
        return self._reduced(statistics.extreme(self._numbers, along, "maximum"), along, keepdims)

    def min(self, axis: int | None = None, *, keepdims: bool = False, **numpy: Any) -> Self:
        """Return the smallest entry, as `max` does the largest."""
        along = self._axis("min", axis, numpy)
        return self._reduced(statistics.extreme(self._numbers, along, "minimum"), along, keepdims)

    def _axis(self, what: str, axis: Any, numpy: dict[str, Any]) -> Axis:
        dtype, ours = numpy.pop("dtype", None), np.dtype(self._numbers.dtype)
        if what in ("var", "std"):
            ours = ours.type(0).real.dtype
        if dtype is not None and np.dtype(dtype) != ours:
            raise TypeError(
                f"{what}: dtype={np.dtype(dtype).name}, but the result is {ours}: convert the matrix, "
                f"A.astype(dtype).{what}()"
            )
        known = ["axis", "keepdims", *(["ddof", "correction"] if what in ("var", "std") else [])]
        refuse_others(what, numpy, known, ["out"] if numpy.get("out") is None else [])
        ndim = self._node.ndim
        places = tuple(range(ndim)) if axis is None else axis_places(axis, ndim)
        if not places and ndim > 0:
            raise ValueError(f"{what}: axis=() names no axis, and the {what} along none is the matrix itself")
        if len(places) == ndim:
            return None
        return 0 if places == (0,) else 1

    def _reduced(self, result: Node, axis: Axis, keepdims: bool) -> Self:
        return type(self)(statistics.kept(result, axis, self._node.ndim) if keepdims else result)


def _one_of(ddof: float, correction: float | None) -> float:
    """Return what the divisor is less by, in NumPy's word or that of the Array API."""
    if correction is None:
        return ddof
    if ddof != 0:
        raise ValueError("ddof= and correction= are two words for one thing: say one of them")
    return correction
