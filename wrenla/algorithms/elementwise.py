"""Elementwise functions of matrices, vectors and numbers, applied while tiles are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, TypeAlias

import numpy as np

from wrenla.algorithms.assemble import Copy, copy, rechunk
from wrenla.algorithms.procedure import SameTiles
from wrenla.algorithms.views import add, flip, masked, negative, scale, view
from wrenla.planning.expression import Description, Node, View, leaf, make, result_dtype
from wrenla.planning.strips import Strip, combined, nested
from wrenla_handler.tiles.arrays import FormulaArray
from wrenla_handler.tiles.grid import Grid, Pair
from wrenla_handler.tiles.layout import DTYPES, Structure
from wrenla_handler.tiles.task import Apply, Mask, Read, Scalar
from wrenla_kernels import UFUNCS, ufunc_dtypes

__all__ = ["Number", "broadcast_shape", "elementwise", "filled", "outer", "with_dimensions"]

Number: TypeAlias = "tuple[Scalar, str]"
"""A number and its dtype, "" for one of Python's, which does not raise that of a matrix."""

_CHEAP = frozenset(
    [
        *("negative", "positive", "conjugate", "absolute", "fabs", "square", "maximum", "minimum"),
        *("add", "subtract", "multiply", "divide"),
    ]
)
"""What takes less time than it takes to read the numbers: done again by each reader, as other views."""

_TRIANGLES: tuple[Literal["lower", "upper"], ...] = ("lower", "upper")

_FEW = 4
"""Views of views that a factor of many products is read through; more are made once."""

_REFLECTING = frozenset(
    [
        *("negative", "positive", "conjugate", "absolute", "square", "reciprocal"),
        *("add", "subtract", "multiply", "divide"),
        *("exp", "exp2", "expm1", "sin", "cos", "tan", "sinh", "cosh", "tanh"),
    ]
)
"""Functions with f(z̄) = conj(f(z)) everywhere: they make a Hermitian matrix of a complex Hermitian one."""


def elementwise(name: str, *operands: Node | Number) -> Node:
    """Return a function of matrices, vectors and numbers, with NumPy's broadcasting; the first tiles count.

    Parameters
    ----------
    name : str
        A key of `wrenla_kernels.UFUNCS`.
    *operands : Node or Number
        As many as the function takes, at least one of them a Node.

    Raises
    ------
    ValueError
        Shapes that cannot be broadcast.
    TypeError
        There is no such function for the dtypes.
    """
    if (known := _as_view(name, operands)) is not None:
        return known
    nodes = [A for A in operands if isinstance(A, Node)]
    shape = broadcast_shape(*(A.grid.shape[: A.ndim] for A in nodes))
    two: Pair = (shape[0], shape[1]) if len(shape) == 2 else (*shape, 1, 1)[:2]  # type: ignore[assignment]
    placed = [with_dimensions(A, len(shape)) for A in nodes]
    tile = _tile(placed, two)
    if name == "multiply" and any(A.grid.shape == two and A.structure in _TRIANGLES for A in placed):
        tile = (min(tile), min(tile))  # the zeros of a triangle stay in whatever tiles the other one has
    aligned = [rechunk(A, _part(tile, A.grid)) for A in placed]
    dtypes = [A.dtype if isinstance(A, Node) else A[1] for A in operands]
    if any(isinstance(A, tuple) and isinstance(A[0], complex) and not A[1] for A in operands):
        dtypes.append("complex64")
    loop, dtype = ufunc_dtypes(name, result_dtype(*(d for d in dtypes if d)))
    if dtype not in DTYPES:
        raise TypeError(f"numpy.{name} makes {dtype}, which no matrix of ours holds")
    if len(aligned) == 2 and aligned[0].key == aligned[1].key and name == "multiply":
        name, aligned, operands = "square", aligned[:1], operands[:1]
    numbers = tuple(None if isinstance(A, Node) else A[0] for A in operands)
    op = Elementwise(name, numbers, loop, Description(Grid(two, tile), dtype, "general", len(shape)))
    structure = op.structure(*aligned)
    stays = structure in _TRIANGLES and (len(aligned) == 1 or name == "multiply")
    aligned = [A if stays and A.structure in _TRIANGLES else filled(A) for A in aligned]
    return view(replace(op, result=replace(op.result, structure=structure)), *_once(aligned))


def outer(v: Node, w: Node) -> Node:
    """Return v wᵀ for two vectors; that of a real one with itself is symmetric to the last bit."""
    made = elementwise("multiply", with_dimensions(v, 2, column=True), w)
    if v.key != w.key or np.dtype(v.dtype).kind == "c" or not isinstance(made.op, Elementwise):
        return made
    return view(replace(made.op, result=replace(made.op.result, structure="hermitian")), *made.args)


def _once(nodes: list[Node]) -> list[Node]:
    """Return the arguments of a function, with what all are made of copied, so that it is made only once."""
    found = [{A.key for A in _views(node) if "sum" in A.carries} for node in nodes]
    common = set.intersection(*found) if len(found) > 1 else set()

    def replaced(A: Node) -> Node:
        if A.key in common:
            return copy(A)
        return Node(A.op, tuple(map(replaced, A.args)), A.description) if A.is_view else A

    return [replaced(A) for A in nodes] if common else nodes


def _views(A: Node) -> Iterator[Node]:
    """Yield the views that a node is read through, and those that have been copied."""
    if A.is_view:
        yield A
        for arg in A.args:
            yield from _views(arg)
    elif isinstance(A.op, Copy):
        yield A.args[0]


def _as_view(name: str, operands: tuple[Node | Number, ...]) -> Node | None:
    """Return what the reads of tiles have words for: changes of sign, one scale, sums of equal shapes."""
    match name, operands:
        case "add" | "subtract", (Node() as A, Node() as B) if _alike(A, B):
            return add(*_once([A, rechunk(B if name == "add" else negative(B), A.grid.tile)]))
        case "negative", (Node() as A,):
            return negative(A)
        case "positive", (Node() as A,):
            return A
        case "multiply", (Node() as A, (c, dtype)) | ((c, dtype), Node() as A) if np.isfinite(c):
            return scale(A, c, dtype)
    return None


def _alike(A: Node, B: Node) -> bool:
    return A.ndim == B.ndim and A.grid.shape == B.grid.shape


def broadcast_shape(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Return NumPy's common shape, or say which shapes do not fit.

    Examples
    --------
    >>> broadcast_shape((5, 1), (3,))
    (5, 3)
    """
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        hint = ""
        if sorted(map(len, shapes)) == [1, 2]:
            hint = "; a vector stands for a row: v[:, None] is a column"
        raise ValueError(
            f"these shapes cannot be broadcast together: {', '.join(map(str, shapes))}{hint}"
        ) from None


def with_dimensions(A: Node, ndim: int, *, column: bool = False) -> Node:
    """Return A with more dimensions: of a vector a row, as NumPy broadcasts it, or a column."""
    if A.ndim >= ndim:
        return A
    if A.ndim == 1 and not column:
        return flip(A, "T")
    return make(Reshape(ndim), A)


def filled(A: Node) -> Node:
    """Return A with zeros to be read where a triangular matrix has no tiles."""
    if not A.holes:
        return A
    identity = f"zeros {A.grid.shape} {A.grid.tile} {A.dtype} "
    spec = FormulaArray(A.grid, A.dtype, 2, identity, "zeros")
    return make(Filled(), A, leaf(spec))


def _tile(nodes: list[Node], shape: Pair) -> Pair:
    """Return, along each axis, the tiles of the first one that is not repeated along it."""
    rows, cols = (
        next((A.grid.tile[axis] for A in nodes if A.grid.shape[axis] == shape[axis]), 1) for axis in (0, 1)
    )
    return rows, cols


def _part(tile: Pair, grid: Grid) -> Pair:
    rows, cols = (t if n > 1 else own for t, n, own in zip(tile, grid.shape, grid.tile, strict=True))
    return rows, cols


@dataclass(frozen=True)
class Elementwise(View):
    """F[i, j] = function(A[i, j], B[i, j]), in one pass; None among `numbers` stands for the next matrix.

    Of what has one row or column, tile 0 stands for all. Tasks: none of its own.
    """

    function: str
    numbers: tuple[Scalar | None, ...]
    loop: str
    result: Description
    version: ClassVar[int] = 2

    def describe(self, *args: Node) -> Description:
        return self.result

    def structure(self, *args: Node) -> Structure:
        """Return what is known of the result: zeros that stay, and symmetry that no entry breaks."""
        (m, n), (a, b) = self.result.grid.shape, self.result.grid.tile
        if m != n or a != b or self.result.ndim != 2:
            return "general"
        whole = [A for A in args if A.grid.shape == (m, n)]
        known = {A.structure for A in whole}
        triangles = [A.structure for A in whole if A.structure in ("lower", "upper")]
        if triangles and self.function == "multiply" and None in self.numbers and len(args) == 2:
            return triangles[0]
        if triangles and len(known) == 1 and len(whole) == len(args) and self._keeps_zeros():
            return triangles[0]
        # what is the same for all entries breaks no symmetry, if it is real
        others = [A.dtype[0] == "c" or A.grid.shape != (1, 1) for A in args if A not in whole]
        others += [isinstance(c, complex) for c in self.numbers]
        mirrored = self.loop[0] != "c" or self.function in _REFLECTING
        if whole and known <= {"hermitian", "pos"} and mirrored and not any(others):
            definite = known == {"pos"} and len(whole) == len(args) and self._keeps_definite()
            return "pos" if definite else "hermitian"
        return "general"

    def _keeps_definite(self) -> bool:
        if self.function == "divide" and self.numbers[0] is None and self.numbers[1] is not None:
            return bool(0 < np.real(self.numbers[1]) < np.inf)
        # Schur: products entry by entry of positive definite matrices are positive definite
        return self.function in ("multiply", "square") and set(self.numbers) == {None}

    def _keeps_zeros(self) -> bool:
        zeros = [0.0 if c is None else c for c in self.numbers]
        with np.errstate(all="ignore"):
            return bool(UFUNCS[self.function](*(np.dtype(self.loop).type(c) for c in zeros)) == 0)

    def carries(self, *args: Node) -> frozenset[str]:
        cheap = len(args) == 1 and self.function in _CHEAP and args[0].views < _FEW
        mask = {"mask"} if self._masks(args) else set()
        return frozenset(mask | ({"sum"} if not cheap else {"sum"} & args[0].carries))

    def _masks(self, args: tuple[Node, ...]) -> tuple[Mask, ...]:
        """Return the triangles that are zero whatever the other factor has there, NaN too."""
        if self.result.structure not in _TRIANGLES:
            return ()
        known = [A.structure if A.grid == self.result.grid else "general" for A in args]
        return tuple(part for part in _TRIANGLES if part in known) if len(set(known)) > 1 else ()

    def strips(self, view: Node, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        start, stop = _inside(view.structure, axis, fixed, start, stop)
        if start >= stop:
            return
        sides = [list(_repeated(A, view.grid, axis, fixed, start, stop)) for A in view.args]
        masks = self._masks(view.args)
        cuts = [fixed, fixed + 1] if masks else []  # the diagonal tile is a run of its own
        for first, last, found in combined(sides, start, stop, cuts):
            known = [strip for strip in found if strip is not None]
            if len(known) < len(found):  # a product with zero
                continue
            following = iter(known)
            args = [next(following) if c is None else c for c in self.numbers]
            made = replace(nested(self.function, self.loop, view.dtype, args), start=first, n=last - first)
            for mask in masks if first == fixed else ():
                made = masked(made, mask, view.dtype)
            yield made


def _inside(structure: Structure, axis: int, fixed: int, start: int, stop: int) -> Pair:
    """Return the range of a row (axis 1) or column (axis 0) of tiles that lies in a triangle."""
    if structure not in _TRIANGLES:
        return start, stop
    before = (structure == "lower") == (axis == 1)
    return (start, min(stop, fixed + 1)) if before else (max(start, fixed), stop)


def _repeated(A: Node, grid: Grid, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
    """Yield the runs of a matrix; one row or column stands for all."""
    if A.grid.counts[1 - axis] == 1:
        fixed = 0
    if A.grid.counts[axis] > 1 or grid.counts[axis] == 1:
        yield from A.strips(axis, fixed, start, stop)
        return
    for strip in A.strips(axis, fixed, 0, 1):
        # the run has no steps, nor have the reads within it: one tile is read again and again
        yield Strip(start, stop - start, _still(strip.read), (0, 0, 0, 0))


def _still(read: Read) -> Read:
    if not isinstance(read.tile, Apply):
        return read
    args = tuple(_still(arg) if isinstance(arg, Read) else arg for arg in read.tile.args)
    return replace(read, tile=replace(read.tile, args=args, steps=((0, 0, 0, 0),) * len(args)))


@dataclass(frozen=True)
class Reshape(SameTiles):
    """A vector as a column, a number as a vector or matrix of one entry: the same tiles."""

    ndim: int

    def describe(self, *args: Node) -> Description:
        return replace(args[0].description, ndim=self.ndim)


@dataclass(frozen=True)
class Filled(View):
    """A triangular matrix as one that has all its tiles; zeros are read from the second argument."""

    fills: ClassVar[bool] = True

    def describe(self, *args: Node) -> Description:
        return replace(args[0].description, structure="general")

    def reads(self, view: Node, i: int, j: int) -> tuple[Read, ...]:
        return view.args[0].reads(i, j) or view.args[1].reads(i, j)

    def strips(self, view: Node, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        sides = [list(arg.strips(axis, fixed, start, stop)) for arg in view.args]
        for _, _, (there, zeros) in combined(sides, start, stop):
            strip = there or zeros
            assert strip is not None, "zeros are everywhere"
            yield strip
