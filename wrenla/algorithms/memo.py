"""Memoized matrix: a factor is computed once and used for many right-hand sides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from wrenla.planning.canonical import topological
from wrenla.planning.expression import Description, Node, View, make
from wrenla.planning.strips import Strip
from wrenla_handler.tiles.task import Read

__all__ = ["Cell", "Memo", "SameTiles", "memoized", "resolve"]


@dataclass(slots=True, eq=False)
class Cell:
    """Remembers the stored tiles of a matrix after the first run that needed it."""

    stored: Node | None = None


class SameTiles(View):
    """View with the tiles of its argument, unchanged."""

    def reads(self, view: Node, i: int, j: int) -> tuple[Read, ...]:
        return view.args[0].reads(i, j)

    def strips(self, view: Node, axis: int, fixed: int, start: int, stop: int) -> Iterator[Strip]:
        return view.args[0].strips(axis, fixed, start, stop)


@dataclass(frozen=True)
class Memo(SameTiles):
    """Reads as its argument, until a run has put stored tiles in its place."""

    cell: Cell = field(compare=False, repr=False)

    def describe(self, *args: Node) -> Description:
        return args[0].description


def memoized(A: Node, cell: Cell) -> Node:
    """Return `A`, to be computed once for all runs that use `cell`."""
    return make(Memo(cell), A)


def resolve(nodes: Sequence[Node], persist: Callable[[Node], Node]) -> list[Node]:
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
            if node.op.cell.stored is None:
                node.op.cell.stored = persist(args[0])
            replaced[node.key] = node.op.cell.stored
        elif all(new is old for new, old in zip(args, node.args, strict=True)):
            replaced[node.key] = node
        else:
            replaced[node.key] = Node(node.op, args, node.description)
    return [replaced[node.key] for node in nodes]
