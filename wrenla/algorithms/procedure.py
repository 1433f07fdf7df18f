"""Procedures: results whose computation depends on numbers, and results that are computed once.

A procedure is a generator. It yields expressions, is sent what they came to, and returns its results. So it
can look at a residual and refine, or try another way. Its results are nodes like others until an evaluation
needs them: `wrenla.evaluate.settle` then runs it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, TypeAlias

from wrenla.planning.expression import Description, Node, View, make
from wrenla.planning.strips import Strip
from wrenla_handler.tiles.task import Read

__all__ = [
    "Cell",
    "Engine",
    "Fetch",
    "Memo",
    "Outcome",
    "Pending",
    "Procedure",
    "SameTiles",
    "Steps",
    "memoized",
    "results_of",
    "with_args",
]


class Fetch(NamedTuple):
    """A request of a procedure that comes back as an array, of a number as a NumPy scalar.

    Attributes
    ----------
    node : Node
    expected : float
        What a plan takes all of its entries for.
    """

    node: Node
    expected: float = 0.0


class Engine(NamedTuple):
    """A request of a procedure, alone, that comes back as what the plan knows of the executor.

    So a procedure can choose what is faster there. It is None where nothing is going to run.
    """


class Outcome(NamedTuple):
    """End of a procedure.

    Attributes
    ----------
    nodes : sequence of Node
        Its results. Expressions among them are computed by the next run, and kept.
    report : Any
        What `BigMatrix.report` says of it.
    """

    nodes: Sequence[Node]
    report: Any = None


Steps: TypeAlias = Generator[Sequence[Node | Fetch | Engine], Sequence[Any], Outcome]
"""Steps of a procedure: each yields expressions, which are computed in one run, and is sent one item each:
an array for a `Fetch`, an `ExecutorModel` for an `Engine`, data (a node) for all else."""


@dataclass(slots=True, eq=False)
class Cell:
    """Remembers what a procedure came to: stored tiles if they are kept, and a report."""

    stored: tuple[Node, ...] = ()
    report: Any = None


class Procedure(ABC):
    """Makes results in steps. Implementations are frozen dataclasses: their fields are the parameters."""

    version: ClassVar[int] = 1
    """Part of a result's name: to be raised whenever the numbers change."""
    follows: str = ""
    """What may follow the steps that a plan shows, in words."""

    @abstractmethod
    def describe(self, *args: Node) -> Sequence[Description]:
        """Say what the results look like."""

    @abstractmethod
    def steps(self, *args: Node) -> Steps:
        """Compute the results.

        An error of linear algebra is thrown in where what failed was asked for. In a plan every number is
        what its `Fetch` says, mostly 0, and expressions come back as they are: so 0 has to mean that all is
        well.
        """


class SameTiles(View):
    """View with the tiles of its (first) argument, unchanged."""

    def reads(self, view: Node, i: int, j: int) -> tuple[Read, ...]:
        return view.args[0].reads(i, j)

    def strips(self, view: Node, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        return view.args[0].strips(axis, fixed, start, stop)


class Pending(View):
    """Result that an evaluation replaces, before it plans, by what its procedure has come to."""

    lasts: ClassVar[bool] = False
    """Whether results are kept for later evaluations, as long as the cell is."""
    cell: Cell
    number: int

    @abstractmethod
    def steps(self, *args: Node) -> Steps:
        """Return the steps of the procedure."""

    @property
    def follows(self) -> str:
        """Steps that may follow those which a plan shows, in words."""
        return ""

    def reads(self, view: Node, i: int, j: int) -> tuple[Read, ...]:
        raise AssertionError("an evaluation settles what is pending before it plans")

    def strips(self, view: Node, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        raise AssertionError("an evaluation settles what is pending before it plans")


@dataclass(frozen=True, repr=False)
class Result(Pending):
    """Result of a procedure."""

    fills: ClassVar[bool] = True
    procedure: Procedure
    description: Description = field(repr=False)
    cell: Cell = field(compare=False)
    number: int = 0

    def __repr__(self) -> str:  # part of the node's name
        return f"Result({self.procedure!r} {self.procedure.version}, {self.number})"

    def describe(self, *args: Node) -> Description:
        return self.description

    def carries(self, *args: Node) -> frozenset[str]:
        return frozenset()

    def steps(self, *args: Node) -> Steps:
        return self.procedure.steps(*args)

    @property
    def follows(self) -> str:
        return self.procedure.follows


@dataclass(frozen=True, repr=False)
class Memo(Pending):
    """One of its arguments, which are computed together by the first run that needs one, and then kept."""

    lasts: ClassVar[bool] = True
    cell: Cell = field(compare=False)
    number: int = 0

    def __repr__(self) -> str:  # part of the node's name
        return f"Memo({self.number or ''})"

    def describe(self, *args: Node) -> Description:
        return args[self.number].description

    def carries(self, *args: Node) -> frozenset[str]:
        return args[self.number].carries

    def steps(self, *args: Node) -> Steps:
        yield from ()
        return Outcome(args)


def results_of(procedure: Procedure, *args: Node) -> tuple[Node, ...]:
    """Return the results of a procedure on its arguments, which share its computation."""
    cell = Cell()
    described = enumerate(procedure.describe(*args))
    return tuple(make(Result(procedure, description, cell, n), *args) for n, description in described)


def memoized(nodes: Sequence[Node], cell: Cell) -> tuple[Node, ...]:
    """Return some matrices, to be computed once, and together, for all runs that use `cell`."""
    return tuple(make(Memo(cell, number), *nodes) for number in range(len(nodes)))


def with_args(node: Node, args: tuple[Node, ...]) -> Node:
    """Return an operation on other arguments that look the same."""
    if all(new is old for new, old in zip(args, node.args, strict=True)):
        return node
    return Node(node.op, args, node.description)
