"""Operands: turn matrices, arrays, numbers and indices into expressions."""

from __future__ import annotations

import operator
from collections.abc import Hashable, Iterable
from types import EllipsisType
from typing import Any, SupportsComplex, SupportsFloat, SupportsIndex, TypeAlias

import numpy as np
import numpy.typing as npt

from wrenla.algorithms import assemble, views
from wrenla.algorithms.elementwise import Number, elementwise, with_dimensions
from wrenla.algorithms.gram import gram
from wrenla.algorithms.matmul import matmul
from wrenla.array_like import as_array, is_block, tile_dtype
from wrenla.arrays import array_leaf
from wrenla.planning.expression import Node
from wrenla_handler.plain_arrays import cast_hint, plain_array, refuse_lossy
from wrenla_handler.tiles.grid import Pair
from wrenla_handler.tiles.layout import DTYPES, Structure

__all__ = [
    "Handle",
    "Index",
    "Operand",
    "apply",
    "as_node",
    "axis_places",
    "clipped",
    "is_answered",
    "norm_order",
    "number",
    "sliced",
    "tile_pair",
    "times",
    "vector",
]


class Handle:
    """Something with an expression behind it. `BigMatrix` is what users see of it."""

    __slots__ = ("__weakref__", "_node")

    def __init__(self, node: Node) -> None:
        self._node = node

    @property
    def _numbers(self) -> Node:
        """The expression as what is computed with takes it: integers, which indices are, become float64."""
        return self._node if self._node.dtype in DTYPES else assemble.copy(self._node, "float64")


_GRAM: tuple[Structure, ...] = ("general", "lower", "upper")
"""Of such X a product with Xᴴ is known to be positive (semi)definite, and costs half."""

_READ = (
    *("__float__", "__complex__", "__len__", "shape", "magnitude", "toarray", "todense"),
    *("__array__", "__array_interface__", "__array_struct__", "__dlpack__"),
)
"""What says that something is a number, or an array of some kind: it is taken, or refused, by us."""

Operand: TypeAlias = Handle | npt.ArrayLike
Index: TypeAlias = int | slice | EllipsisType | None


def as_node(value: Operand, rows: int | None = None, cols: int | None = None, beside: str = "") -> Node:
    """Return the expression behind a matrix or array.

    Parameters
    ----------
    value : Handle or array_like
    rows, cols : int, optional
        Of the tiles that an array is cut into.
    beside : str
        The dtype that it meets: small integers do not raise float32, as NumPy has it.
    """
    if isinstance(value, Handle):
        return value._numbers
    array, own = as_array(value)
    if array.ndim > 2:
        raise ValueError(
            f"a matrix or vector is needed, not an array of {array.ndim} dimensions, {array.shape}: take one "
            "matrix of a stack after the other, a[0], a[1], …"
        )
    if array.ndim == 0 or array.dtype.kind not in "biufc":
        hint = "" if array.ndim or array.dtype.kind not in "biufc" else "; c * A and A + c take numbers"
        what = f"{type(value).__name__} of dtype {array.dtype}" if array.ndim else type(value).__name__
        hint = hint or (cast_hint(array.dtype) if array.ndim else "")
        raise TypeError(f"a matrix or vector of numbers is needed, not {what}{hint}")
    dtype = array.dtype.name
    if dtype not in DTYPES:
        half = array.dtype == np.float16
        narrow = beside in ("float32", "complex64") and array.dtype.itemsize <= 2
        dtype = "float32" if narrow else "float64" if half else tile_dtype(array.dtype)
    shape: Pair = (array.shape[0], array.shape[1] if array.ndim == 2 else 1)
    edge = rows or cols or 1024
    tile = (max(1, min(rows or edge, shape[0])), max(1, min(cols or edge, shape[1])))
    return array_leaf(array, tile, dtype=dtype, own=own)


def is_answered(other: Any, reflected: str) -> bool:
    """Tell whether the other side of an operator answers for it, by its method of that name.

    That is so if it says that NumPy must not (``__array_ufunc__ = None``), or is nothing that NumPy reads.
    """
    kind = type(other)
    if isinstance(other, Handle) or not hasattr(kind, reflected):
        return False
    says_so = getattr(kind, "__array_ufunc__", False) is None
    return says_so or not any(hasattr(other, name) for name in _READ)


def number(c: Any, what: str) -> Number:
    """Return a real or complex number and its dtype, "" for one of Python's, or say what to use instead."""
    refuse_lossy(c)
    if not isinstance(c, Handle) and hasattr(c, "__array__"):
        c = plain_array(c)
    if isinstance(c, Handle | str) or np.ndim(c) > 0:
        raise TypeError(
            f"{what}: a number is needed, not {type(c).__name__}; A + B takes matrices and arrays"
        )
    return _number(c)


def _number(c: Any) -> Number:
    value = complex(c)
    is_complex = np.iscomplexobj(c) or value.imag != 0
    dtype = ""
    if isinstance(c, np.generic | np.ndarray) and c.dtype.kind in "biufc":
        double = np.complex128 if is_complex else np.float64
        dtype = c.dtype.name if c.dtype.itemsize <= np.dtype(double).itemsize else np.dtype(double).name
    return value if is_complex else value.real, dtype


def apply(name: str, *values: Any) -> Node:
    """Return a function of `wrenla_kernels.UFUNCS`, entry by entry, of matrices, arrays and numbers.

    Raises
    ------
    TypeError
        One of them is none of these.
    """
    # arrays are cut into the tiles of the first matrix
    first = next((value._numbers for value in values if isinstance(value, Handle)), None)
    return elementwise(name, *(_entries(value, first) for value in values))


def _entries(value: Any, first: Node | None) -> Node | Number:
    if isinstance(value, Handle):
        return value._numbers
    refuse_lossy(value)
    if isinstance(value, np.matrix):
        raise TypeError(
            "a numpy.matrix is no operand of what works entry by entry, as its * is the matrix product: say "
            "A @ m for that, or np.asarray(m) for its entries"
        )
    ndim = len(value.shape) if is_block(value) else np.ndim(value)  # which would load what is read on demand
    if ndim == 0:
        if (
            not isinstance(value, SupportsComplex | SupportsFloat | np.ndarray)
            or np.asarray(value).dtype.kind not in "biufcO"
        ):
            raise TypeError(f"a matrix, an array or a number is needed, not {type(value).__name__}")
        return _number(plain_array(value) if hasattr(value, "__array__") else value)
    rows, cols = first.grid.tile if first else (None, None)
    if ndim == 1:  # beside a matrix it is a row
        rows = cols
    return as_node(value, rows, cols, first.dtype if first else "")


def vector(w: Operand, A: Node, axis: int) -> Node:
    """Return a vector in tiles as long as those of A along an axis, which its reads can be weighed with."""
    tile = A.grid.tile[axis]
    node = as_node(w, rows=tile, beside=A.dtype)
    if node.ndim != 1:
        raise ValueError("weights are a vector")
    if node.is_view or node.structure != "general":
        node = assemble.copy(node)
    return node if node.grid.tile[0] == tile else assemble.rechunk(node, (tile, 1))


def tile_pair(tile: int | tuple[int, int]) -> Pair:
    """Return rows and columns of a tile, given as a user does."""
    try:
        pair = tuple(map(operator.index, tile if np.iterable(tile) else (tile, tile)))
    except TypeError:
        raise TypeError(
            f"tile={tile!r}: whole numbers are needed: tile=(512, 256), rows and columns of a tile, or "
            "tile=512 for both"
        ) from None
    if len(pair) != 2 or min(pair) < 1:
        raise ValueError(f"tile={tile!r}: a positive number, or rows and columns of a tile, are needed")
    return pair[0], pair[1]


def clipped(tile: Pair, shape: Pair) -> Pair:
    """Return a tile that is no larger than the matrix: the rest would be padding."""
    return max(1, min(tile[0], shape[0])), max(1, min(tile[1], shape[1]))


def times(A: Node, B: Node) -> Node:
    """Return A @ B with NumPy's meaning of vectors."""
    if 0 in (A.ndim, B.ndim):
        raise ValueError("matmul: a number is no operand; use *")
    inner = A.grid.shape[A.ndim - 1], B.grid.shape[0]
    if inner[0] != inner[1]:
        shapes = " @ ".join(str(X.grid.shape[: X.ndim]) for X in (A, B))
        raise ValueError(f"matmul: {shapes}: the inner lengths {inner[0]} and {inner[1]} differ")
    ndim = A.ndim + B.ndim - 2
    if A.ndim == 1:
        A = views.flip(A, "T") if B.ndim == 1 else A
        if B.ndim == 2:  # x @ B is Bᵀ x
            A, B = views.flip(B, "T"), A
    elif B.ndim == 2 and B.key == views.flip(A, "C").key and A.structure in _GRAM:
        return gram(A)
    return matmul(A, B, ndim)


def norm_order(ord: Any, A: Node, axis: Any = None) -> str:
    """Return which of `reductions.NORMS` NumPy's `ord` and `axis` mean for a matrix, vector or number."""
    swapped = _norm_axes(axis, A.ndim)
    what = ("number", "vector", "matrix")[A.ndim]
    known: dict[Any, str] = {1: "1", np.inf: "inf", -np.inf: "-inf", "max": "max"}
    known |= {-1: "-1", "fro": "fro", "f": "fro"} if A.ndim == 2 else {2: "fro"}
    if ord is None:
        return "fro"
    name = known.get(ord) if isinstance(ord, Hashable) else None
    if swapped:  # rows are taken for columns
        name = {"1": "inf", "-1": "-inf", "inf": "1", "-inf": "-1"}.get(str(name), name)
    of_singular_values = name is None and A.ndim == 2 and (ord == "nuc" or ord == 2 or ord == -2)
    if name is None and not of_singular_values:
        raise ValueError(f"norm: {ord!r} is no order of a norm of a {what}; {_orders(known)}")
    if 0 in A.grid.shape:
        m, n = A.grid.shape
        if {"-1": n == 0, "-inf": m == 0}.get(str(name), of_singular_values and ord == -2):
            raise ValueError(
                f"norm: the smallest of no entries is asked for (order {ord!r} of an empty {what})"
            )
        return "fro"  # all others are 0 too
    if of_singular_values:
        raise NotImplementedError(
            f"norm of order {ord!r} of a matrix needs its singular values, which are not there yet: "
            f"numpy.linalg.norm(A.compute(), {ord!r}), if it fits into memory"
        )
    return str(name)


def _orders(known: Iterable[Any]) -> str:
    return f"there are: None, {', '.join(map(repr, known))}"


def _norm_axes(axis: Any, ndim: int) -> bool:
    """Tell whether NumPy's `axis` names both axes of a matrix in the other order; refuse none at all."""
    if axis is None:
        return False
    places = axis_places(tuple(axis) if isinstance(axis, Iterable) else axis, ndim)
    if len(places) < ndim:
        raise ValueError(f"norm: axis={axis!r} names no axis; 0, 1 or (0, 1) are needed, or None for all")
    return places == (1, 0)


def axis_places(axis: Any, ndim: int) -> tuple[int, ...]:
    """Return the axes that NumPy's `axis`, an integer or a tuple of some, names, counted from 0.

    Raises
    ------
    numpy.exceptions.AxisError
        One of them is not there; a ValueError.
    ValueError
        One is named twice.
    TypeError
        One is no integer.
    """
    axes = axis if isinstance(axis, tuple) else (axis,)
    for one in axes:
        if isinstance(one, bool):
            raise TypeError(f"axis={axis!r}: an integer is needed, not a truth value")
        if not isinstance(one, SupportsIndex):
            raise TypeError(f"axis={axis!r}: an integer is needed, not {type(one).__name__}")
        if not -ndim <= operator.index(one) < ndim:
            raise np.exceptions.AxisError(operator.index(one), ndim)
    places = tuple(operator.index(one) % ndim for one in axes)
    if len(set(places)) < len(places):
        raise ValueError(f"axis={axis!r}: one axis, or two different ones, are needed")
    return places


def sliced(A: Node, index: tuple[Index, ...]) -> Node:
    """Return A[index] with NumPy's meaning of integers, slices, one ellipsis and None."""
    if any(part is None for part in index):
        return _with_new_axes(A, index)
    if sum(part is Ellipsis for part in index) > 1 or len([p for p in index if p is not Ellipsis]) > A.ndim:
        raise IndexError(f"too many indices for {A.ndim} dimensions")
    missing = (slice(None),) * (A.ndim - len([p for p in index if p is not Ellipsis]))
    parts: list[Any] = []
    for part in index if any(part is Ellipsis for part in index) else (*index, Ellipsis):
        parts += missing if part is Ellipsis else [part]
    lengths = A.grid.shape
    slices: list[slice] = []
    for axis, part in enumerate(parts):
        if isinstance(part, slice):
            slices.append(part)
        elif (at := _whole(part)) is not None:
            at += lengths[axis] if at < 0 else 0
            if not 0 <= at < lengths[axis]:
                raise IndexError(f"index {part} is out of bounds for axis {axis} of length {lengths[axis]}")
            slices.append(slice(at, at + 1))
        else:
            raise TypeError(
                f"an index is an integer, a slice or ... (or None), not {str(part)[:60]}: take such rows of "
                "what is computed, A.compute()[rows], or put slices together, wl.block([[A[1:2]], [A[5:6]]])"
            )
    kept = [axis for axis, part in enumerate(parts) if isinstance(part, slice)]
    slices += [slice(0, 1)] * (2 - len(slices))  # what vectors and numbers have for columns and rows
    if kept == [1]:  # one row, as a vector
        A, slices = views.flip(A, "T"), slices[::-1]
    shape = tuple(len(range(*s.indices(n))) for s, n in zip(slices, A.grid.shape, strict=True))
    tile = tuple(max(1, min(n, t)) for n, t in zip(shape, A.grid.tile, strict=True))
    return assemble.take(A, slices[0], slices[1], (tile[0], tile[1]), len(kept))


def _whole(part: Any) -> int | None:
    """Return an index that is a number, in whatever type; None if it is none."""
    try:
        return None if isinstance(part, bool) else operator.index(part)
    except TypeError:
        return None


def _with_new_axes(A: Node, index: tuple[Index, ...]) -> Node:
    rest = tuple(part for part in index if part is not None)
    inner = sliced(A, rest)
    ndim = inner.ndim + len(index) - len(rest)
    if ndim > 2:
        raise IndexError(f"a matrix has two dimensions: None in an index would make it {ndim}")
    longer = [isinstance(part, slice | EllipsisType) for part in index]
    # what is not named comes last
    column = True in longer and index[longer.index(True) + 1 :].count(None) > 0
    return with_dimensions(inner, ndim, column=column)
