"""Settling: run the procedures in some expressions, step by step, until only expressions are left.

The steps of several procedures go together: what they share is computed once, as in one run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np

from wrenla.algorithms.procedure import Cell, Engine, Fetch, Outcome, Pending, Steps, with_args
from wrenla.planning.canonical import topological
from wrenla.planning.cost_model import ExecutorModel
from wrenla.planning.expression import Leaf, Node, View, with_report
from wrenla.run.events import Totals
from wrenla.run.persisted import let_last
from wrenla_handler.linalg_errors import LinAlgError
from wrenla_handler.tiles.arrays import StoredArray

__all__ = ["Run", "Settled", "Settling", "has_steps", "is_data", "moves", "parts", "settle"]


_FEW = 64
"""Numbers that are remembered for procedures that ask for the same, as for norms of one matrix."""


class Run(NamedTuple):
    """One run of an evaluation.

    Attributes
    ----------
    keep : sequence of Node
        What is computed and comes back as data.
    fetch : sequence of Node
        What comes back as arrays.
    quiet : frozenset of str
        Keys of nodes whose solutions nobody need be warned of.
    """

    keep: Sequence[Node]
    fetch: Sequence[Node]
    quiet: frozenset[str]


Runner = Callable[[Run], tuple[dict[str, Node], dict[str, Any], Totals]]
"""Runs, and returns by key what is data now, also parts of what was asked for; arrays; sums over tasks."""


class Settled(NamedTuple):
    """Expressions without procedures.

    Attributes
    ----------
    nodes : list of Node
    keep : list of Node
        What they read that is to be kept when they are computed.
    remember : callable
        To be told, by key, what is data then.
    """

    nodes: list[Node]
    keep: list[Node]
    remember: Callable[[dict[str, Node]], None]


@dataclass(slots=True, eq=False)
class _Running:
    """A procedure at work."""

    cells: set[Cell]
    steps: Steps
    lasts: bool
    args: tuple[Node, ...]
    model: ExecutorModel | None
    request: list[Node | Fetch] | None = None
    outcome: Outcome | None = None
    totals: Totals = field(default_factory=Totals)

    def go_on(self, move: Callable[[], Sequence[Node | Fetch | Engine]]) -> None:
        try:
            request = list(move())
            while any(isinstance(each, Engine) for each in request):
                assert len(request) == 1, "the engine is asked for alone"
                request = list(self.steps.send([self.model]))
            self.request = [each for each in request if not isinstance(each, Engine)]
        except StopIteration as end:
            self.request, self.outcome = None, end.value

    def expressions(self) -> list[Node]:
        return [each.node if isinstance(each, Fetch) else each for each in self.request or ()]


class Settling:
    """Procedures in some expressions, and what they have come to."""

    def __init__(self, nodes: Sequence[Node], model: ExecutorModel | None, dry: bool = False) -> None:
        self.roots, self.dry, self._model = list(nodes), dry, model
        self.running: dict[int, _Running] = {}
        self.follows: dict[str, None] = {}
        self._kept: list[_Running] = []
        self._known: dict[str, Node] = {}
        self._shared: dict[str, Node] = {}
        self.numbers: dict[str, Any] = {}
        """Few numbers each, by key, which procedures have asked for."""
        self._cells = _cells_of(self.roots)

    def close(self) -> None:
        for running in self.running.values():
            running.steps.close()

    def replace(self) -> list[bool]:
        """Put what is known in the place of procedures, begin new ones, and tell which roots have to wait."""
        if not self._cells:  # most expressions have no procedures
            return [False] * len(self.roots)
        self.roots, waits = self._replaced(self.roots)
        return waits

    def ready(self) -> list[_Running]:
        """Return the procedures whose requests wait for no other one."""
        ready: list[_Running] = []
        while True:
            begun = len(self.running)
            ready.clear()
            for running in list(self.running.values()):
                if running.request is None:
                    continue
                nodes, waits = self._replaced(running.expressions())
                running.request = [
                    each._replace(node=node) if isinstance(each, Fetch) else node
                    for each, node in zip(running.request, nodes, strict=True)
                ]
                if not any(waits):
                    ready.append(running)
            if len(self.running) == begun:
                return ready

    def keep(self) -> list[Node]:
        """Return results that are expressions: to be kept by the next run."""
        return [node for running in self._kept for node in self._nodes(running)]

    def remember(self, data: dict[str, Node]) -> None:
        """Take note of what is data now."""
        kept = {node.key for node in self.keep()}
        self._known.update(data)
        if kept <= self._known.keys():
            for running in self._kept:
                self._finish(running, self._nodes(running))
            self._kept.clear()

    def share(self, data: dict[str, Node], ready: Sequence[_Running]) -> None:
        """Take note of data that is needed again, after the step that has made it.

        Until the next step only: what needs it has it then. To keep it longer would keep its tiles.
        """
        needed = set[str]()
        stack = [node for each in self.running.values() if each not in ready for node in each.expressions()]
        stack += self.roots
        while stack:
            node = stack.pop()
            if node.key in needed:
                continue
            needed.add(node.key)
            # one at work has been given what it needs
            if not (isinstance(node.op, Pending) and id(node.op.cell) in self.running):
                stack.extend(node.args)
        self._shared = {key: node for key, node in data.items() if key in needed}

    def send(self, running: _Running, items: Sequence[Any]) -> None:
        running.go_on(lambda: running.steps.send(items))
        self._ended(running)

    def throw(self, running: _Running, error: Exception) -> None:
        running.go_on(lambda: running.steps.throw(error))
        self._ended(running)

    def _replaced(self, nodes: Sequence[Node]) -> tuple[list[Node], list[bool]]:
        done: dict[str, tuple[Node, bool]] = {}
        for node in topological(nodes):
            if (data := self._known.get(node.key, self._shared.get(node.key))) is not None:
                done[node.key] = data, False
                continue
            args = [done[arg.key] for arg in node.args]
            new, waits = with_args(node, tuple(arg for arg, _ in args)), any(waiting for _, waiting in args)
            if isinstance(new.op, Pending) and not waits:
                found = self._result(new, new.op, node.key)
                if found is None:
                    waits = True
                else:
                    (new,), (waits,) = self._replaced([found])
            done[node.key] = new, waits
        pairs = [done[node.key] for node in nodes]
        return [node for node, _ in pairs], [waiting for _, waiting in pairs]

    def _result(self, node: Node, op: Pending, name: str) -> Node | None:
        """Return what a procedure has come to, None while it is at work; `name` was its key at first."""
        if op.cell.stored:
            return op.cell.stored[op.number]
        running = self.running.get(id(op.cell))
        if running is None:
            if op.follows:
                self.follows[op.follows] = None
            cells = {op.cell, *self._cells.get(name, ())}
            running = self.running[id(op.cell)] = _Running(
                cells, op.steps(*node.args), op.lasts, node.args, self._model
            )
            running.go_on(lambda: next(running.steps))
            self._ended(running)
        return None if running.outcome is None else running.outcome.nodes[op.number]

    def _ended(self, running: _Running) -> None:
        if running.outcome is None:
            return
        nodes = self._nodes(running)
        if all(map(is_data, nodes)) and not self.dry:
            self._finish(running, nodes)
        else:
            self._kept.append(running)

    def _nodes(self, running: _Running) -> list[Node]:
        assert running.outcome is not None
        return self._replaced(list(running.outcome.nodes))[0]

    def _finish(self, running: _Running, nodes: Sequence[Node]) -> None:
        assert running.outcome is not None
        report = None if running.outcome.report is None else running.outcome.report(running.totals)
        if report is not None:
            nodes = [with_report(node, report) for node in nodes]
        for cell in running.cells:
            cell.report = report
            if running.lasts:
                # Without a lock, which would be held for a whole run: of two threads that need it at once
                # both compute it, to the same bits, and the copy that is not remembered goes with its last
                # user.
                cell.stored = tuple(nodes)
        if running.lasts:
            let_last(nodes)
        running.outcome = Outcome(nodes)  # what the report was made of need not be kept


def _cells_of(nodes: Sequence[Node]) -> dict[str, list[Cell]]:
    """Return the cells of equal procedures, by their names: of equal nodes all but one are not looked at."""
    cells: dict[str, list[Cell]] = {}
    seen: set[int] = set()
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if id(node) not in seen:
            seen.add(id(node))
            stack.extend(node.args)
            if isinstance(node.op, Pending):
                cells.setdefault(node.key, []).append(node.op.cell)
    return cells


def has_steps(node: Node) -> bool:
    """Tell whether procedures have to run before a result can be: of what is only kept, none."""
    return any(isinstance(each.op, Pending) and not each.op.lasts for each in topological([node]))


def moves(node: Node) -> bool:
    """Tell whether a node is a view that only says where tiles lie."""
    return isinstance(node.op, View) and node.op.moves


def parts(node: Node) -> Iterator[Node]:
    """Yield a node after what it looks at, if it only says where tiles lie."""
    if moves(node):
        for arg in node.args:
            yield from parts(arg)
    yield node


def is_data(node: Node) -> bool:
    """Tell whether all tiles of a node are stored, maybe elsewhere than it says itself."""
    if moves(node):
        return all(map(is_data, node.args))
    return isinstance(node.op, Leaf) and isinstance(node.op.spec, StoredArray)


def settle(nodes: Sequence[Node], run: Runner, model: ExecutorModel) -> Settled:
    """Run the procedures in some expressions.

    Parameters
    ----------
    nodes : sequence of Node
    run : callable
        See `Runner`.
    model : ExecutorModel
        Of the executor that runs them, for procedures that ask.
    """
    settling = Settling(nodes, model)
    try:
        while True:
            waits = settling.replace()
            if not any(waits):
                return Settled(settling.roots, settling.keep(), settling.remember)
            ready = settling.ready()
            # what does not wait may share parts with what procedures ask for
            beside = [
                node
                for node, waiting in zip(settling.roots, waits, strict=True)
                if not (waiting or is_data(node) or node.is_leaf)
            ]
            assert ready, "a procedure waits for itself"
            if len(ready) == 1 and not beside:
                _together(settling, ready, [], run)
            elif not _together(settling, ready, beside, run, alone=False):
                for running in ready:  # each alone, so that it learns of its own failure
                    _together(settling, [running], [], run)
    finally:
        settling.close()


def _together(
    settling: Settling, ready: Sequence[_Running], beside: Sequence[Node], run: Runner, alone: bool = True
) -> bool:
    """Run the requests of some procedures and hand out what they come to.

    A failure is thrown into the only procedure, if it is `alone`; else nothing was done: return False.
    """
    keep, fetch = settling.keep(), []
    for running in ready:
        for each in running.request or ():
            if not isinstance(each, Fetch):
                keep.append(each)
            elif each.node.key not in settling.numbers:
                fetch.append(each.node)
    # a procedure looks at what it makes, not at what it is given
    given = [arg for running in ready for arg in running.args]
    heard = {node.key for node in topological([*beside, *given])}
    quiet = frozenset(node.key for node in topological([*keep, *fetch])) - heard
    lasting = {part.key for node in (*settling.keep(), *beside) for part in parts(node)}
    try:
        data, arrays, totals = run(Run([*keep, *beside], fetch, quiet))
    except (LinAlgError, np.linalg.LinAlgError) as error:
        if alone:
            settling.throw(ready[0], error)
        error.__traceback__ = None  # it is in a circle with the frames of the run, which hold tiles
        return alone
    settling.remember({key: node for key, node in data.items() if key in lasting})
    settling.share(data, ready)
    settling.numbers |= {key: array for key, array in arrays.items() if np.size(array) <= _FEW}
    found = arrays | settling.numbers
    for running in ready:
        _add(running.totals, totals)
        settling.send(
            running,
            [
                found[each.node.key] if isinstance(each, Fetch) else data[each.key]
                for each in running.request or ()
            ],
        )
    return True


def _add(totals: Totals, more: Totals) -> None:
    for each in fields(Totals):
        setattr(totals, each.name, getattr(totals, each.name) + getattr(more, each.name))
