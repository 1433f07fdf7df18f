"""Memoized matrices: a factor is computed once and used for many right-hand sides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from wrenla.planning.canonical import topological
from wrenla.planning.expression import Description, Node, View, make
from wrenla.planning.strips import Strip
from wrenla_handler.tiles.task import Read

__all__ = ["Cell", "Memo", "SameTiles", "memoized", "resolve", "with_args"]


@dataclass(slots=True, eq=False)
class Cell:
    """Remembers the stored tiles of some matrices after the first run that needed one of them."""

    stored: tuple[Node, ...] = ()


class SameTiles(View):
    """View with the tiles of its (first) argument, unchanged."""

    def reads(self, view: Node, i: int, j: int) -> tuple[Read, ...]:
        return view.args[0].reads(i, j)

    def strips(self, view: Node, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        return view.args[0].strips(axis, fixed, start, stop)


@dataclass(frozen=True, repr=False)
class Memo(View):
    """Reads as one of its arguments, until a run has put stored tiles in the place of all of them."""

    cell: Cell = field(compare=False)
    number: int = 0

    def __repr__(self) -> str:  # part of the node's name
        return f"Memo({self.number or ''})"

    def twin(self) -> Memo:
        return Memo(Cell(), self.number)

    def describe(self, *args: Node) -> Description:
        return args[self.number].description

    def carries(self, *args: Node) -> frozenset[str]:
        return args[self.number].carries

    def reads(self, view: Node, i: int, j: int) -> tuple[Read, ...]:
        return view.args[self.number].reads(i, j)

    def strips(self, view: Node, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        return view.args[self.number].strips(axis, fixed, start, stop)


def memoized(nodes: Sequence[Node], cell: Cell) -> tuple[Node, ...]:
    """Return some matrices, to be computed once, and together, for all runs that use `cell`."""
    return tuple(make(Memo(cell, number), *nodes) for number in range(len(nodes)))


def resolve(nodes: Sequence[Node], persist: Callable[[Sequence[Node]], Sequence[Node]]) -> list[Node]:
    """Return the expressions with stored tiles in place of memos; what is not stored yet is persisted."""
    order = topological(nodes)
    if not any(isinstance(node.op, Memo) for node in order):
        return list(nodes)
    replaced: dict[str, Node] = {}
    for node in order:
        args = tuple(replaced[arg.key] for arg in node.args)
        if isinstance(node.op, Memo):
            # Without a lock, which would be held for a whole run: of two threads that need it at once both
            # compute it, to the same bits, and the copy that is not remembered goes with its last user.
            if not node.op.cell.stored:
                node.op.cell.stored = tuple(persist(args))
            replaced[node.key] = node.op.cell.stored[node.op.number]
        else:
            replaced[node.key] = with_args(node, args)
    return [replaced[node.key] for node in nodes]


def with_args(node: Node, args: tuple[Node, ...]) -> Node:
    """Return an operation on other arguments that look the same."""
    if all(new is old for new, old in zip(args, node.args, strict=True)):
        return node
    return Node(node.op, args, node.description)
