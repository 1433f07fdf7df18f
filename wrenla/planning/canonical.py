"""Canonical expressions: those that differ only in their data share a plan, with slots for leaves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from wrenla.planning.expression import Leaf, Node, Slot, View
from wrenla_handler.tiles.arrays import FunctionArray, HostArray

__all__ = ["canonical", "of_functions", "of_process", "topological"]


def topological(results: Iterable[Node]) -> list[Node]:
    """Return all nodes that some results depend on, arguments first, equal expressions once."""
    order: dict[str, Node] = {}
    stack = [(node, False) for node in results][::-1]
    while stack:
        node, expanded = stack.pop()
        if node.key in order:
            continue
        if expanded:
            order[node.key] = node
        else:
            stack.append((node, True))
            stack.extend((arg, False) for arg in reversed(node.args))
    return list(order.values())


def canonical(results: Iterable[Node]) -> tuple[list[Node], dict[str, Node]]:
    """Return the same expressions over slots, and for each key in the plan the original node.

    Slots are numbered in the order in which a leaf is first met.
    """
    results = list(results)
    replaced: dict[str, Node] = {}
    originals: dict[str, Node] = {}
    slots = 0
    for node in topological(results):
        if isinstance(node.op, Leaf):
            twin = Node(Slot(slots, node.op.kind, node.description, node.op.bundle), (), node.description)
            slots += 1
        else:
            op = node.op.twin() if isinstance(node.op, View) else node.op
            twin = Node(op, tuple(replaced[arg.key] for arg in node.args), node.description)
        replaced[node.key] = twin
        originals[twin.key] = node
    return [replaced[node.key] for node in results], originals


def of_functions(originals: Mapping[str, Node], known: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    """Return what is known of users' functions, by digest, for the slots that stand for them, by key."""
    functions = (
        (key, node.op.spec.digest)
        for key, node in originals.items()
        if isinstance(node.op, Leaf) and isinstance(node.op.spec, FunctionArray)
    )
    return tuple((key, known[digest]) for key, digest in functions if digest in known)


def of_process(results: Iterable[Node]) -> list[Node]:
    """Return the arrays of this process that some results depend on."""
    return [
        node
        for node in topological(results)
        if isinstance(node.op, Leaf | Slot) and node.op.kind is HostArray
    ]
