"""Arithmetic of matrices entry by entry: operators, NumPy's functions, and what is refused."""

from __future__ import annotations

from typing import Any, NoReturn, Self

import numpy as np

from wrenla.late import find
from wrenla.matrices.operands import Handle, apply, is_answered
from wrenla.tracebacks import short_methods
from wrenla.vocabulary import refuse_others
from wrenla_kernels import UFUNCS

__all__ = ["Arithmetic"]

_POWERS = {-1: "reciprocal", 0.5: "sqrt", 1: "positive", 2: "square"}
"""What NumPy's operator ** does instead of a power."""

_COMPARISONS = {
    np.equal: "==",
    np.not_equal: "!=",
    np.less: "<",
    np.less_equal: "<=",
    np.greater: ">",
    np.greater_equal: ">=",
}


_METHODS = {
    "reduce": "there are A.sum(axis), A.max(axis), A.min(axis), A.mean(axis), …",
    "accumulate": "running sums and products need an array, A.compute()",
    "reduceat": "sums of slices do the same, A[:k].sum(axis=0)",
    "outer": "there are wrenla.linalg.outer(v, w), and v[:, None] + w for other functions",
    "at": "it cannot be changed in place: make an array of it, A.compute()",
}
"""What to do instead of the methods of NumPy's functions."""

_DEFAULTS = {"where": True, "casting": "same_kind", "order": "K", "subok": True, "dtype": None}


def _is_default(word: str, value: Any) -> bool:
    """Tell whether an argument of one of NumPy's functions asks for nothing."""
    return word in _DEFAULTS and type(value) is type(_DEFAULTS[word]) and bool(value == _DEFAULTS[word])


def _refuse_options(name: str, options: dict[str, Any]) -> NoReturn:
    if "out" in options:
        raise TypeError(
            f"{name}: there is no out=: a BigMatrix is lazy, it is neither written into an array nor changed "
            "in place: write a = a + A instead of a += A, or a += A.compute()"
        )
    raise TypeError(
        f"{name}: there is no {', '.join(options)}= of a BigMatrix: A.astype(dtype) is one of another dtype, "
        "and A * mask is zero where the mask is"
    )


@short_methods
class Arithmetic(Handle):
    """Something that is added, multiplied, … entry by entry with NumPy's broadcasting and dtypes.

    Examples
    --------
    >>> import numpy as np, wrenla as wl
    >>> A = wl.from_array([[1.0, 4.0], [9.0, 16.0]])
    >>> (np.sqrt(A) * [1, 10] + 1).compute()
    array([[ 2., 21.],
           [ 4., 41.]])
    """

    __slots__ = ()

    def _apply(self, name: str, *values: Any) -> Self:
        return type(self)(apply(name, *values))

    def _operate(self, name: str, other: Any, reflected: str) -> Self:
        if is_answered(other, reflected):
            return NotImplemented  # type: ignore[no-any-return]
        return self._apply(name, self, other)

    @property
    def _data(self) -> NoReturn:
        """Trap for `numpy.ma`, which takes this of its operands, and would compute all of a matrix."""
        raise ValueError(
            "masked arrays are not supported: numpy.ma would compute all of the matrix. Say what the masked "
            "entries are, e.g. a.filled(0.0) or a.filled(numpy.nan); if none is, a.data"
        )

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name != "_data"]  # as who looks at all asks for it

    def __add__(self, other: Any) -> Self:
        return self._operate("add", other, "__radd__")

    def __radd__(self, other: Any) -> Self:
        return self._apply("add", other, self)

    def __sub__(self, other: Any) -> Self:
        return self._operate("subtract", other, "__rsub__")

    def __rsub__(self, other: Any) -> Self:
        return self._apply("subtract", other, self)

    def __mul__(self, other: Any) -> Self:
        return self._operate("multiply", other, "__rmul__")

    def __rmul__(self, other: Any) -> Self:
        return self._apply("multiply", other, self)

    def __truediv__(self, other: Any) -> Self:
        return self._operate("divide", other, "__rtruediv__")

    def __rtruediv__(self, other: Any) -> Self:
        return self._apply("divide", other, self)

    def __floordiv__(self, other: Any) -> Self:
        return self._operate("floor_divide", other, "__rfloordiv__")

    def __rfloordiv__(self, other: Any) -> Self:
        return self._apply("floor_divide", other, self)

    def __mod__(self, other: Any) -> Self:
        return self._operate("remainder", other, "__rmod__")

    def __rmod__(self, other: Any) -> Self:
        return self._apply("remainder", other, self)

    def __pow__(self, other: Any) -> Self:
        # not for numbers of NumPy's, one of which is a float: they have a precision of their own
        name = _POWERS.get(other) if type(other) in (int, float, bool) else None
        return self._operate("power", other, "__rpow__") if name is None else self._apply(name, self)

    def __rpow__(self, other: Any) -> Self:
        return self._apply("power", other, self)

    def __neg__(self) -> Self:
        return self._apply("negative", self)

    def __pos__(self) -> Self:
        return self

    def __abs__(self) -> Self:
        return self._apply("absolute", self)

    def clip(self, min: Any = None, max: Any = None, *, out: None = None, **others: Any) -> Self:
        """Return the entries, none less than `min`, none greater than `max` (numbers, vectors, matrices)."""
        if out is not None:
            raise TypeError("clip: a BigMatrix cannot be changed in place, so there is no out=")
        refuse_others("clip", others, ["min", "max"])
        lower = self if min is None else self._apply("maximum", self, min)
        return lower if max is None else self._apply("minimum", lower, max)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """Apply one of NumPy's functions lazily: ``np.exp(A)``, ``np.maximum(A, 0)``, ``array * A``."""
        known = (np.ndarray, np.generic, Handle)
        if any(hasattr(type(x), "__array_ufunc__") and not isinstance(x, known) for x in inputs):
            return NotImplemented
        name = f"numpy.{ufunc.__name__}"
        if method != "__call__":
            raise TypeError(f"{name}.{method} takes no BigMatrix; {_METHODS[method]}")
        options = {word: value for word, value in options.items() if not _is_default(word, value)}
        vectors = ufunc.signature is not None and ufunc is not np.matmul  # vecdot, matvec, …
        if options.keys() - ({"axis"} if vectors else ()):
            _refuse_options(name, options)
        if vectors:
            return find("array_function")(ufunc, (), inputs, options)
        if ufunc is np.matmul:
            a, b = inputs
            return a @ b if isinstance(a, Handle) else b.__rmatmul__(a)
        if ufunc in _COMPARISONS:
            return _refuse(_COMPARISONS[ufunc])
        if UFUNCS.get(ufunc.__name__) is not ufunc:
            raise TypeError(
                f"{name} of a BigMatrix is not there; wl.map_tiles(f, A, dtype=float) applies any function f "
                "of arrays that works entry by entry"
            )
        return self._apply(ufunc.__name__, *inputs)

    def __eq__(self, other: object) -> NoReturn:
        _refuse("==")

    def __ne__(self, other: object) -> NoReturn:
        _refuse("!=")

    def __lt__(self, other: object) -> NoReturn:
        _refuse("<")

    def __le__(self, other: object) -> NoReturn:
        _refuse("<=")

    def __gt__(self, other: object) -> NoReturn:
        _refuse(">")

    def __ge__(self, other: object) -> NoReturn:
        _refuse(">=")

    __hash__ = object.__hash__  # a matrix is a key by identity, as functools.cache and sets need it


def _refuse(sign: str) -> NoReturn:
    raise TypeError(
        f"{sign}: a BigMatrix holds no truth values; compare what is computed, float(x) {sign} c for a "
        f"number, A.compute() {sign} c for a matrix, or make ones and zeros: wl.map_tiles(lambda a: a {sign} "
        "c, A). Whether two names stand for one object, A is B tells"
    )
