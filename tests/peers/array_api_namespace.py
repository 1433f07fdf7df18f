"""Array namespace whose linear algebra is wrenla's, and all else NumPy's, for the Array API's own tests.

Matrices of a stack go through wrenla one by one, axes of more than two dimensions as two. What wrenla does
not have is handed to NumPy, and counted: the summary of a run says who has answered.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import wrenla as wl

from .stand_in import TILE, NotThere, StandIn

Array = npt.NDArray[Any]

__array_api_version__ = "2024.12"

answers: dict[str, StandIn] = {}
"""Who has answered, by the name of the function."""


def __getattr__(name: str) -> Any:
    if name.startswith("__"):  # __path__ would make this a package
        raise AttributeError(name)
    return getattr(np, name)


def _operand(array: Array) -> Any:
    return wl.from_array(array, tile=TILE) if array.ndim else array


def _each(function: Callable[..., Any], arrays: Sequence[Array], dims: Sequence[int]) -> Any:
    """Return what a lazy function of matrices, vectors and numbers gives for stacks of them, broadcast.

    Parameters
    ----------
    dims : sequence of int
        Of what each of the arrays is a stack of.
    """
    inner = [x.shape[x.ndim - n :] for x, n in zip(arrays, dims, strict=True)]
    stack = np.broadcast_shapes(*(x.shape[: x.ndim - n] for x, n in zip(arrays, dims, strict=True)))
    spread = [np.broadcast_to(x, stack + shape) for x, shape in zip(arrays, inner, strict=True)]
    if 0 in stack:  # of nothing there are a shape and a dtype, known before anything is computed
        ones = (np.ones(shape, x.dtype) for x, shape in zip(arrays, inner, strict=True))
        lazy = function(*map(_operand, ones))
        if isinstance(lazy, tuple):
            return type(lazy)(*(_stack([part], stack) for part in lazy))
        return _stack([lazy], stack)
    one_by_one = (tuple(x[place] for x in spread) for place in np.ndindex(*stack))
    results = wl.compute(*(function(*map(_operand, one)) for one in one_by_one))
    if isinstance(results[0], tuple):
        return type(results[0])(*(_stack(part, stack) for part in zip(*results, strict=True)))
    return _stack(results, stack)


def _stack(parts: Sequence[Any], stack: tuple[int, ...]) -> Array:
    shape = stack + parts[0].shape
    return np.stack(parts).reshape(shape) if math.prod(stack) else np.empty(shape, parts[0].dtype)


def _of_matrices(function: Callable[..., Any]) -> Callable[..., Any]:
    def ours(x: Array, /, *args: Any, **options: Any) -> Any:
        return _each(lambda A: function(A, *args, **options), [x], [min(x.ndim, 2)])

    return ours


def _matmul(x1: Array, x2: Array, /) -> Any:
    return _each(wl.linalg.matmul, [x1, x2], [min(x1.ndim, 2), min(x2.ndim, 2)])


def _solve(x1: Array, x2: Array, /) -> Any:
    return _each(wl.linalg.solve, [x1, x2], [2, 1 if x2.ndim == 1 else 2])


def _outer(x1: Array, x2: Array, /) -> Any:
    return wl.linalg.outer(_operand(x1), _operand(x2)).compute()


def _along(function: Callable[..., Any], keeps: bool) -> Callable[..., Any]:
    """Return a function of the vectors along an axis; one before the last two comes last, and goes back."""

    def ours(x1: Array, x2: Array, /, *, axis: int = -1) -> Any:
        moved = axis if axis >= -2 else -1
        pair = [np.moveaxis(x, axis, moved) if moved != axis else x for x in (x1, x2)]
        result = _each(lambda A, B: function(A, B, axis=moved), pair, [min(x.ndim, 2) for x in pair])
        return np.moveaxis(result, moved, axis) if keeps and moved != axis else result

    return ours


def _tensordot(x1: Array, x2: Array, /, *, axes: Any = 2) -> Any:
    count = len(axes[0]) if isinstance(axes, Sequence) else axes
    if max(x1.ndim, x2.ndim, x1.ndim + x2.ndim - 2 * count) <= 2:
        return wl.linalg.tensordot(_operand(x1), _operand(x2), axes=axes).compute()
    if not isinstance(axes, Sequence):
        axes = tuple(range(x1.ndim - axes, x1.ndim)), tuple(range(axes))
    first, second = ([axis % x.ndim for axis in part] for x, part in zip((x1, x2), axes, strict=True))
    rows = [axis for axis in range(x1.ndim) if axis not in first]
    columns = [axis for axis in range(x2.ndim) if axis not in second]
    shape = tuple(x1.shape[axis] for axis in rows) + tuple(x2.shape[axis] for axis in columns)
    length = math.prod(x1.shape[axis] for axis in first)
    A = x1.transpose(*rows, *first).reshape(math.prod(shape[: len(rows)]), length)
    B = x2.transpose(*second, *columns).reshape(length, math.prod(shape[len(rows) :]))
    return wl.linalg.tensordot(_operand(A), _operand(B), axes=1).compute().reshape(shape)


def _vector_norm(x: Array, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    if x.ndim <= 2:
        return wl.linalg.vector_norm(_operand(x), axis=axis, keepdims=keepdims, ord=ord).compute()
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    along = [one % x.ndim for one in axes]
    rest = [one for one in range(x.ndim) if one not in along]
    length = math.prod(x.shape[one] for one in along)
    rows = x.transpose(*rest, *along).reshape(math.prod(x.shape[one] for one in rest), length)
    norms = wl.linalg.vector_norm(_operand(rows), axis=1, ord=ord).compute()
    return norms.reshape(
        [1 if one in along else n for one, n in enumerate(x.shape) if keepdims or one in rest]
    )


def _standing_in(ours: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Return a function with the signature of wrenla's that takes and returns arrays."""
    theirs = getattr(np.linalg, name)

    def converted(*args: Any, **options: Any) -> Any:
        arrays = [np.asarray(x) for x in args if isinstance(x, np.ndarray | np.generic)]
        result = ours(*arrays, *args[len(arrays) :], **options)
        if not all(x.dtype.kind in "biu" for x in arrays):
            return result
        # integers are float64 in wrenla: what they are in the standard is NumPy's word
        dtype = theirs(*args, **options).dtype
        if not _holds(dtype, arrays):
            raise NotThere("integers whose products overflow, or which float64 does not hold")
        return result.astype(dtype)

    answers[name] = StandIn()
    return functools.wraps(getattr(wl.linalg, name))(answers[name].of(converted, theirs))


def _holds(dtype: Any, arrays: Sequence[Array]) -> bool:
    """Tell whether sums of products of the entries are exact in float64, and held by an integer dtype."""
    largest = math.prod(max(abs(int(x.max(initial=0))), abs(int(x.min(initial=0)))) for x in arrays if x.size)
    largest *= max(x.size for x in arrays)
    return largest < 2**53 and (dtype.kind == "b" or largest <= np.iinfo(dtype).max)


_OURS = {
    **{
        name: _of_matrices(getattr(wl.linalg, name))
        for name in (
            *("cholesky", "det", "diagonal", "inv", "matrix_norm", "matrix_power", "matrix_transpose"),
            *("slogdet", "trace"),
        )
    },
    "cross": _along(wl.linalg.cross, True),
    "matmul": _matmul,
    "outer": _outer,
    "solve": _solve,
    "tensordot": _tensordot,
    "vecdot": _along(wl.linalg.vecdot, False),
    "vector_norm": _vector_norm,
}

linalg = SimpleNamespace(**{name: _standing_in(ours, name) for name, ours in _OURS.items()})
matmul, matrix_transpose = linalg.matmul, linalg.matrix_transpose
tensordot, vecdot = linalg.tensordot, linalg.vecdot


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say for each function who has answered, if this module is a plugin of the run."""
    for name, stand_in in sorted(answers.items()):
        reasons = ", ".join(sorted(set(stand_in.missing)))
        terminalreporter.write_line(
            f"{name}: wrenla {stand_in.ours}, NumPy {len(stand_in.missing)}{reasons and f' ({reasons})'}"
        )
