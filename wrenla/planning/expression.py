"""Expressions: what a matrix is made of, before anything is computed.

A `Node` is an operation, its arguments and the grid of its result. There are three kinds of operation:

- a leaf (`Leaf`, `Slot`) is data that is there;
- a view (`View`) rides on the reads of whoever uses it: transpose, scale, shift, a sum of two matrices;
- an `Operation` makes tiles: it yields one task per tile of its result, in an order in which they can run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

import numpy as np

from wrenla_handler.tiles.grid import Grid, Pair
from wrenla_handler.tiles.layout import Structure
from wrenla_handler.tiles.task import Apply, ArraySpec, Mask, Op, Read, Scalar, Step, Task, Term, TileRef

__all__ = [
    "Description",
    "Leaf",
    "Node",
    "Operation",
    "Slot",
    "Strip",
    "View",
    "combined",
    "leaf",
    "make",
    "nested",
    "products",
    "result_dtype",
    "reverse",
]

Nodes: TypeAlias = "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Description:
    """Description of a result before it is computed."""

    grid: Grid
    dtype: str
    structure: Structure = "general"
    ndim: int = 2


@dataclass(frozen=True, slots=True)
class Strip:
    """A run of `n` tiles along a row or column of tiles, from index `start`, read alike."""

    start: int
    n: int
    read: Read
    step: Step

    def part(self, start: int, stop: int) -> Strip:
        """Return the tiles from index `start` to index `stop`."""
        return Strip(start, stop - start, self.read.moved(start - self.start, self.step), self.step)


def nested(function: str, loop: str, dtype: str, args: Sequence[Strip | Scalar]) -> Strip:
    """Return a function of runs of the same tiles, which is computed in `loop`, as one run in `dtype`."""
    strips = [arg for arg in args if isinstance(arg, Strip)]
    apply = Apply(
        function,
        tuple(arg.read if isinstance(arg, Strip) else arg for arg in args),
        loop,
        tuple(arg.step if isinstance(arg, Strip) else (0, 0, 0, 0) for arg in args),
    )
    return Strip(strips[0].start, strips[0].n, Read(apply, dtype=dtype), (0, 0, 0, 0))


def combined(
    sides: Sequence[Sequence[Strip]], start: int, stop: int, cuts: Iterable[int] = ()
) -> Iterator[tuple[int, int, list[Strip | None]]]:
    """Yield ranges of tiles in which each of some rows (or columns) of tiles is one run, or zero: None.

    At `cuts` that lie inside, a range ends in any case.
    """
    ends = {end for side in sides for strip in side for end in (strip.start, strip.start + strip.n)}
    marks = sorted({start, stop, *ends, *(cut for cut in cuts if start < cut < stop)})
    for first, last in pairwise(marks):
        found = [
            next((strip for strip in side if strip.start <= first < strip.start + strip.n), None)
            for side in sides
        ]
        yield first, last, [None if strip is None else strip.part(first, last) for strip in found]


@dataclass(frozen=True)
class Leaf:
    """Data that is there, or can be made from nothing: stored tiles, an array, a function, a formula.

    `payload` is what the executor needs beside `spec`: the array in memory, or the function's pickle.
    """

    spec: ArraySpec
    structure: Structure = "general"
    payload: Any = field(default=None, compare=False, repr=False)
    keepers: tuple[Any, ...] = field(default=(), compare=False, repr=False)
    """What must not be garbage-collected while this leaf is in use, e.g. the owner of persisted tiles."""
    factor: str = field(default="", compare=False)
    """Of which factorization it was saved as the factor: whoever opens it may take it for the matrix."""


@dataclass(frozen=True)
class Slot:
    """The place of a leaf in a plan that serves many leaves of the same grid."""

    number: int
    kind: str
    description: Description


@runtime_checkable
class Operation(Protocol):
    """Makes tiles. Implementations are frozen dataclasses: their fields are the parameters."""

    version: ClassVar[int]

    def describe(self, *args: Node) -> Description:
        """Check the arguments and say what the result looks like."""

    def tasks(self, out: Node) -> Iterator[Task]:
        """Yield one task per tile of the result, inputs first."""


@runtime_checkable
class View(Protocol):
    """Changes how tiles are read. Implementations are frozen dataclasses."""

    def describe(self, *args: Node) -> Description:
        """Check the arguments and say what the result looks like."""

    def carries(self, *args: Node) -> frozenset[str]:
        """Name what the reads of this view already do: it decides what can still be put on top."""

    def reads(self, view: Node, i: int, j: int) -> tuple[Read, ...]:
        """Return the reads whose sum is tile `(i, j)`; none where the tile is zero."""

    def strips(self, view: Node, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        """Yield the non-zero runs of a row (axis 1) or column (axis 0) of tiles."""


@dataclass(frozen=True, eq=False)
class Node:
    """An expression: an operation, its arguments, and what is known of the result."""

    op: Any
    args: Nodes
    description: Description

    @property
    def grid(self) -> Grid:
        return self.description.grid

    @property
    def dtype(self) -> str:
        return self.description.dtype

    @property
    def structure(self) -> Structure:
        return self.description.structure

    @property
    def ndim(self) -> int:
        return self.description.ndim

    @cached_property
    def is_leaf(self) -> bool:
        return isinstance(self.op, Leaf | Slot)

    @cached_property
    def is_view(self) -> bool:
        return isinstance(self.op, View)

    def __post_init__(self) -> None:
        _ = self.key  # made of those of the arguments now: later, it would be a recursion through all of them

    @cached_property
    def views(self) -> int:
        """Number of views that whoever reads this node goes through, as often as they are gone through."""
        return 1 + sum(arg.views for arg in self.args) if self.is_view else 0

    @cached_property
    def holes(self) -> bool:
        """Whether some tiles may be known to be zero, so that reading them is reading nothing."""
        if self.is_view:
            fills = getattr(self.op, "fills", False)
            holes = self.structure in ("lower", "upper") or any(arg.holes for arg in self.args)
            return holes and not fills
        return self.structure in ("lower", "upper") or hasattr(self.op, "absent")

    @cached_property
    def key(self) -> str:
        """Structural identity: operation, version, parameters, arguments; of a leaf, its content's name."""
        if isinstance(self.op, Leaf):
            text = f"leaf {self.op.spec.identity} {self.description}"
        else:
            version = getattr(self.op, "version", 0)
            text = f"{self.op!r} {version} {self.description} {[arg.key for arg in self.args]}"
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    @cached_property
    def carries(self) -> frozenset[str]:
        """What reading this node already does: shift, rows, cols, mask, sum."""
        if self.is_view:
            words: frozenset[str] = self.op.carries(*self.args)
            return words
        # the other triangle of a leaf is masked when it is read
        return frozenset({"mask"} if self.is_leaf and self.structure in ("lower", "upper") else ())

    def ref(self, i: int, j: int) -> TileRef:
        """Name tile `(i, j)` of this node's own array."""
        return TileRef(self.key, i, j)

    def reads(self, i: int, j: int) -> tuple[Read, ...]:
        """Return the reads whose sum is tile `(i, j)`; none where the tile is zero."""
        if self.is_view:
            reads: tuple[Read, ...] = self.op.reads(self, i, j)
            return reads
        return tuple(strip.read for strip in self._own_strips(1, i, j, j + 1))

    def __getitem__(self, ij: Pair) -> Read:
        """Return one read for a tile that is not zero; a sum is made as it is read."""
        i, j = ij
        (strip,) = self.row(i, j, j + 1)
        return strip.read

    def row(self, i: int, start: int, stop: int) -> Iterator[Strip]:
        """Yield the non-zero runs of tiles `(i, start)` to `(i, stop - 1)`."""
        return self.strips(1, i, start, stop)

    def column(self, j: int, start: int, stop: int) -> Iterator[Strip]:
        """Yield the non-zero runs of tiles `(start, j)` to `(stop - 1, j)`."""
        return self.strips(0, j, start, stop)

    def strips(self, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        """Yield the non-zero runs of a row (axis 1) or column (axis 0) of tiles."""
        if start >= stop:
            return iter(())
        if self.is_view:
            strips: Iterator[Strip] = self.op.strips(self, axis, fixed, start, stop)
            return strips
        return self._own_strips(axis, fixed, start, stop)

    def zero(self, i: int, j: int) -> bool:
        """Tell whether a tile is known to be zero and so is not there."""
        return self.holes and not self.reads(i, j)

    def task(
        self,
        i: int,
        j: int,
        *,
        base: tuple[Read, ...] = (),
        terms: tuple[Term, ...] = (),
        finish: str = "",
        args: tuple[Read, ...] = (),
        shape: Pair | None = None,
        dtype: str | None = None,
    ) -> Task:
        """Return the task that makes tile `(i, j)` of this node."""
        return Task(
            self.ref(i, j),
            shape or self.grid.extent(i, j),
            dtype or self.dtype,
            base,
            terms,
            finish,
            args,
            self.grid.origin(i, j),
        )

    def own_tiles(self) -> Iterator[Pair]:
        """Yield the tiles that this node's own array holds: of a symmetric matrix the lower ones."""
        rows, cols = self.grid.counts
        lower = self.structure in ("lower", "hermitian", "pos")
        for i in range(rows):
            for j in range(i if self.structure == "upper" else 0, min(i + 1, cols) if lower else cols):
                if not self.zero(i, j):
                    yield i, j

    def _own_strips(self, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        """Runs of the node's own array. Its structure says what is zero and what is mirrored."""

        def run(first: int, last: int, op: Op = "N", mask: Mask = "") -> Iterator[Strip]:
            first, last = max(first, start), min(last, stop)
            if first < last:
                along_columns = (axis == 1) == (op == "N")
                i, j = (fixed, first) if along_columns else (first, fixed)
                step = (0, 1, 0, 0) if along_columns else (1, 0, 0, 0)
                yield Strip(first, last - first, Read(self.ref(i, j), op, mask), step)

        far = stop
        match self.structure:
            case "general":
                absent = getattr(self.op, "absent", None)
                if absent is None:
                    yield from run(0, far)
                else:
                    for t in range(start, stop):
                        if not absent(self, *((fixed, t) if axis == 1 else (t, fixed))):
                            yield from run(t, t + 1)
            case "lower" | "upper" as triangle:
                # data of unknown origin may hold anything in the other triangle of a diagonal tile
                mask: Mask = triangle if self.is_leaf else ""
                before = (triangle == "lower") == (axis == 1)
                if before:
                    yield from run(0, fixed)
                yield from run(fixed, fixed + 1, "N", mask)
                if not before:
                    yield from run(fixed + 1, far)
            case _ if axis == 1:  # Hermitian: the lower tiles stand for the upper ones
                yield from run(0, fixed + 1)
                yield from run(fixed + 1, far, "C")
            case _:
                yield from run(0, fixed, "C")
                yield from run(fixed, far)


def make(op: Any, *args: Node) -> Node:
    """Return the node of an operation or view on its arguments, checked."""
    return Node(op, args, op.describe(*args))


def leaf(spec: ArraySpec, structure: Structure = "general", payload: Any = None, *keepers: Any) -> Node:
    """Return the node of data that is there."""
    if structure != "general" and (
        spec.grid.shape[0] != spec.grid.shape[1] or spec.grid.tile[0] != spec.grid.tile[1]
    ):
        raise ValueError(
            f"a {structure} matrix is square and has square tiles; "
            f"this one is {spec.grid.shape} in tiles of {spec.grid.tile}"
        )
    description = Description(spec.grid, spec.dtype, structure, spec.ndim)
    return Node(Leaf(spec, structure, payload, keepers), (), description)


def products(
    a: Iterable[Strip], b: Iterable[Strip], alpha: Scalar = 1, *, lower: bool = False
) -> tuple[Term, ...]:
    """Return Σ_t a[t] b[t] over the indices that both have: runs of products, first index first.

    The strips of each side are in the order of their (ascending or descending) indices.
    """
    terms = []
    right = list(b)
    for x in a:
        for y in right:
            start, stop = max(x.start, y.start), min(x.start + x.n, y.start + y.n)
            if start < stop:
                p, q = x.part(start, stop), y.part(start, stop)
                terms.append(Term(p.read, q.read, alpha, stop - start, p.step, q.step, lower))
    return tuple(terms)


def reverse(terms: Iterable[Term]) -> tuple[Term, ...]:
    """Return the same products, last one first."""

    def back(step: Step) -> Step:
        di, dj, dr, dc = step
        return -di, -dj, -dr, -dc

    def turned(read: Read) -> Read:
        """Nested reads have steps of their own."""
        apply = read.tile
        if not isinstance(apply, Apply):
            return read
        args = tuple(turned(arg) if isinstance(arg, Read) else arg for arg in apply.args)
        return replace(read, tile=replace(apply, args=args, steps=tuple(map(back, apply.steps))))

    return tuple(
        replace(
            term,
            a=turned(term.a.moved(term.n - 1, term.a_step)),
            b=turned(term.b.moved(term.n - 1, term.b_step)),
            a_step=back(term.a_step),
            b_step=back(term.b_step),
        )
        for term in reversed(list(terms))
    )


def result_dtype(*dtypes: str | np.dtype[Any] | type) -> str:
    """Return NumPy's promotion of some dtypes, as a name."""
    return np.result_type(*dtypes).name
