"""Expressions: what a matrix is made of, before anything is computed.

A `Node` is an operation, its arguments and the grid of its result. There are three kinds of operation:

- a leaf (`Leaf`, `Slot`) is data that is there;
- a view (`View`) rides on the reads of whoever uses it: transpose, scale, shift, a sum of two matrices;
- an `Operation` makes tiles: it yields one task per tile of its result, in an order in which they can run.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, TypeAlias

import numpy as np

from wrenla.planning.strips import Strip
from wrenla_handler.tiles.arrays import ArraySpec, Bundle, FormulaArray, StoredArray, TileRef
from wrenla_handler.tiles.grid import Grid, Pair
from wrenla_handler.tiles.layout import Structure
from wrenla_handler.tiles.task import Finish, Mask, Op, Read, Task, Term

__all__ = [
    "Description",
    "Leaf",
    "Node",
    "Operation",
    "Slot",
    "View",
    "formula",
    "leaf",
    "make",
    "result_dtype",
    "with_report",
]

Nodes: TypeAlias = "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Description:
    """Description of a result before it is computed."""

    grid: Grid
    dtype: str
    structure: Structure = "general"
    ndim: int = 2


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
    name: str = field(default="", compare=False, repr=False)
    """Key of the expression that it is the result of: what is made of either has the same names."""
    report: Any = field(default=None, compare=False, repr=False)
    """What the procedure that it comes from says of it."""

    @property
    def kind(self) -> type[ArraySpec]:
        """Source of its tiles."""
        return type(self.spec)

    @property
    def bundle(self) -> Bundle | None:
        """Storage of its tiles, if a column of them is one object."""
        return self.spec.bundle if isinstance(self.spec, StoredArray) else None


@dataclass(frozen=True)
class Slot:
    """The place of a leaf in a plan that serves many leaves of the same grid."""

    number: int
    kind: type[ArraySpec]
    description: Description
    bundle: Bundle | None = None
    version: ClassVar[int] = 0


class Operation(ABC):
    """Makes tiles. Implementations are frozen dataclasses: their fields are the parameters."""

    version: ClassVar[int] = 1
    """Part of a result's name: to be raised whenever the numbers change."""
    holes: ClassVar[bool] = False
    """Whether some tiles may be zero and not there, whatever the structure says: see `absent`."""
    factor_name: ClassVar[str] = ""
    """Factor that it solves with, if the matrix need not have the condition number of it."""

    @abstractmethod
    def describe(self, *args: Node) -> Description:
        """Check the arguments and say what the result looks like."""

    @abstractmethod
    def tasks(self, out: Node) -> Iterator[Task]:
        """Yield one task per tile of the result, inputs first; of a bundle one per tile column."""

    def bundle(self, out: Node) -> Bundle | None:
        """Return the parts that are made with each tile column, in one object; None: a tile is an object."""
        return None

    def absent(self, out: Node, i: int, j: int) -> bool:
        """Tell whether tile `(i, j)` is zero and not there. Nobody asks unless there are `holes`."""
        return False

    def kept_zero(self) -> str:
        """Return which tiles are zero and not stored, for readers to know: as `StoredArray.absent`."""
        return ""

    def factor_power(self, out: Node) -> int:
        """Return p if this solves with a triangle T of A, where cond(A) is cond(T)ᵖ; 0 if it does not."""
        return 0


class View(ABC):
    """Changes how tiles are read. Implementations are frozen dataclasses."""

    version: ClassVar[int] = 0
    fills: ClassVar[bool] = False
    """Whether there is a read for every tile, also where an argument has none."""
    holes: ClassVar[bool] = False
    """Whether some tiles may be zero where an argument has reads for them."""
    moves: ClassVar[bool] = False
    """Whether it only says where tiles lie: what is kept of it is what it looks at."""

    @abstractmethod
    def describe(self, *args: Node) -> Description:
        """Check the arguments and say what the result looks like."""

    def twin(self) -> View:
        """Return the same for a plan that is kept, and must not keep what this one holds."""
        return self

    def carries(self, *args: Node) -> frozenset[str]:
        """Name what the reads of this view already do: it decides what can still be put on top."""
        return args[0].carries

    def reads(self, view: Node, i: int, j: int) -> tuple[Read, ...]:
        """Return the reads whose sum is tile `(i, j)`; none where the tile is zero."""
        return tuple(strip.read for strip in self.strips(view, 1, i, j, j + 1))

    @abstractmethod
    def strips(self, view: Node, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        """Yield the non-zero runs of a row (axis 1) or column (axis 0) of tiles."""


@dataclass(frozen=True, eq=False)
class Node:
    """An expression: an operation, its arguments, and what is known of the result."""

    op: Leaf | Slot | View | Operation
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

    @property
    def is_view(self) -> bool:
        return self._view is not None

    @cached_property
    def _view(self) -> View | None:
        return self.op if isinstance(self.op, View) else None

    @cached_property
    def bundle(self) -> Bundle | None:
        """Storage of its own array, if a column of tiles is one object."""
        if isinstance(self.op, Operation):
            return self.op.bundle(self)
        return None if isinstance(self.op, View) else self.op.bundle

    @cached_property
    def _with_holes(self) -> Operation | None:
        return self.op if isinstance(self.op, Operation) and self.op.holes else None

    def __post_init__(self) -> None:
        _ = self.key  # made of those of the arguments now: later, it would be a recursion through all of them

    @cached_property
    def views(self) -> int:
        """Number of views that whoever reads this node goes through, as often as they are gone through."""
        return 1 + sum(arg.views for arg in self.args) if self.is_view else 0

    @cached_property
    def holes(self) -> bool:
        """Whether some tiles may be known to be zero, so that reading them is reading nothing."""
        holes = self.structure in ("lower", "upper")
        if self._view is not None:
            holes = holes or self._view.holes
            return not self._view.fills and (holes or any(arg.holes for arg in self.args))
        return holes or self._with_holes is not None

    @cached_property
    def key(self) -> str:
        """Structural identity: operation, version, parameters, arguments; of a leaf, its content's name."""
        if isinstance(self.op, Leaf):
            if self.op.name:
                return self.op.name
            text = f"leaf {self.op.spec.identity} {self.description}"
        else:
            text = f"{self.op!r} {self.op.version} {self.description} {[arg.key for arg in self.args]}"
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    @cached_property
    def carries(self) -> frozenset[str]:
        """Operations that reading this node already does: shift, rows, cols, mask, sum."""
        if self._view is not None:
            return self._view.carries(*self.args)
        # the other triangle of a leaf is masked when it is read
        return frozenset({"mask"} if self.is_leaf and self.structure in ("lower", "upper") else ())

    def ref(self, i: int, j: int) -> TileRef:
        """Name tile `(i, j)` of this node's own array."""
        return TileRef(self.key, i, j)

    def reads(self, i: int, j: int) -> tuple[Read, ...]:
        """Return the reads whose sum is tile `(i, j)`; none where the tile is zero."""
        if self._view is not None:
            return self._view.reads(self, i, j)
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
        if self._view is not None:
            return self._view.strips(self, axis, fixed, start, stop)
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
        function: str = "",
        numbers: tuple[int, ...] = (),
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
            Finish(finish, function, numbers),
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
            case "general" if (op := self._with_holes) is not None:
                for t in range(start, stop):
                    if not op.absent(self, *((fixed, t) if axis == 1 else (t, fixed))):
                        yield from run(t, t + 1)
            case "general":
                yield from run(0, far)
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


def make(op: View | Operation, *args: Node) -> Node:
    """Return the node of an operation or view on its arguments, checked."""
    return Node(op, args, op.describe(*args))


def leaf(
    spec: ArraySpec,
    structure: Structure = "general",
    payload: Any = None,
    *keepers: Any,
    factor: str = "",
    name: str = "",
) -> Node:
    """Return the node of data that is there."""
    if structure != "general" and (
        spec.grid.shape[0] != spec.grid.shape[1] or spec.grid.tile[0] != spec.grid.tile[1]
    ):
        raise ValueError(
            f"a {structure} matrix is square and has square tiles; "
            f"this one is {spec.grid.shape} in tiles of {spec.grid.tile}"
        )
    description = Description(spec.grid, spec.dtype, structure, spec.ndim)
    return Node(Leaf(spec, structure, payload, keepers, factor, name), (), description)


def with_report(node: Node, report: Any) -> Node:
    """Return the node of data with the report of its procedure; all else as it is."""
    return replace(node, op=replace(node.op, report=report)) if isinstance(node.op, Leaf) else node


def formula(
    name: str, grid: Grid, dtype: str, structure: Structure = "general", ndim: int = 2, version: str = ""
) -> Node:
    """Return the node of a matrix given by a formula, as `sources.fill` takes it."""
    identity = f"{name} {grid.shape} {grid.tile} {dtype} {version}"
    return leaf(FormulaArray(grid, dtype, ndim, identity, name), structure)


def result_dtype(*dtypes: str | np.dtype[Any] | type) -> str:
    """Return NumPy's promotion of some dtypes, as a name."""
    return np.result_type(*dtypes).name
