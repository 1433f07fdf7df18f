"""Evaluation: compute, persist, save and plan expressions."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from wrenla.algorithms.assemble import sparse_copy
from wrenla.algorithms.procedure import Pending
from wrenla.arrays import check_arrays
from wrenla.config import store_for, store_is_chosen
from wrenla.errors import TooLargeError
from wrenla.evaluate.function_rates import function_rates
from wrenla.evaluate.options import Options
from wrenla.evaluate.rehearse import rehearse
from wrenla.evaluate.saving import AlreadySaved, Claim, check_address, claim, saved_already
from wrenla.evaluate.settle import Run, has_steps, is_data, settle
from wrenla.evaluate.stored import check_current, stored_spec
from wrenla.evaluate.storing import Storing, gather, made, owners_of
from wrenla.executors.base import Executor, check_executor
from wrenla.executors.default import default_executor
from wrenla.planning.canonical import topological
from wrenla.planning.cost_model import ExecutorModel
from wrenla.planning.cut import Cut
from wrenla.planning.expression import Leaf, Node, Operation, leaf, with_report
from wrenla.planning.plan import Plan, make_plan
from wrenla.run.events import Event, Listener, RunFinished, Solved, Totals
from wrenla.run.execute import Placed, Target, execute
from wrenla.run.persisted import Owner, let_last
from wrenla.run.reach import check_place
from wrenla.units import format_bytes
from wrenla.workspace.workspace import Workspace
from wrenla_handler.errors import StaleMatrixError
from wrenla_handler.linalg_errors import LinAlgError
from wrenla_handler.stores.base import Reach, Store
from wrenla_handler.stores.urls import open_store
from wrenla_handler.tiles.arrays import ArraySpec, FunctionArray, HostArray
from wrenla_handler.tiles.layout import DTYPES, TileLayout, pivots_in_text

__all__ = ["compute_nodes", "model_of", "persist_node", "plan_of", "refuse_too_large", "save_node"]


def plan_of(nodes: Sequence[Node], model: ExecutorModel, cut: Cut | None = None, saved: bool = False) -> Plan:
    """Return the plan for some results, which may be `saved`; of procedures, for their first attempt."""
    rehearsed = rehearse(nodes, model)
    results = [made(node) for node in rehearsed.nodes]
    # in the order in which a run has them
    targets = {node.key: node for node in _made_for(rehearsed.fetch, rehearsed.keep)}
    places = {key: number for number, key in enumerate(targets | {node.key: node for node in results})}
    wanted = [*(targets | {node.key: node for node in results}).values()]
    plan, _ = make_plan(wanted, model, cut=cut, whole=results if saved else ())
    shown = tuple(plan.results[places[node.key]] for node in results)
    follows = tuple(rehearsed.follows)
    return replace(plan, results=shown, targets=plan.results, follows=follows, runs=rehearsed.runs)


def _made_for(fetch: Sequence[Node], keep: Sequence[Node]) -> list[Node]:
    """Return the operations that are the targets of a run: what is fetched is read from them."""
    read = (owner for node in fetch for owner in owners_of(node) if not owner.is_leaf)
    return [*read, *Storing(keep).targets.values()]


def compute_nodes(nodes: Sequence[Node], executor: Executor | None, options: Options) -> list[Any]:
    """Compute some results and return them as NumPy arrays."""
    for node in nodes:
        refuse_too_large(node, options)
    with _evaluating(nodes, executor, options) as evaluation:
        asked, settled = nodes, settle(nodes, evaluation.advance, evaluation.model)
        _check_same(settled.nodes)
        # functions are evaluated by the workers, everything else can be read here
        nodes = [
            made(node) if any(_calls(owner) for owner in owners_of(node)) else node for node in settled.nodes
        ]
        with evaluation.run(nodes, settled.keep) as (arrays, data):
            settled.remember(data)
            evaluation.tell_reports(asked)
            return arrays


def persist_node(node: Node, executor: Executor | None, options: Options) -> Node:
    """Compute a result and return it as data, kept as long as the returned node."""
    if is_data(node):
        with options.listeners():  # whoever wants a record or a report of it gets one that is empty
            return node
    with _evaluating([node], executor, options, in_store=True) as evaluation:
        settled = settle([node], evaluation.advance, evaluation.model)
        _check_same(settled.nodes)
        with evaluation.run([], [*settled.nodes, *settled.keep]) as (_, data):
            settled.remember(data)
        evaluation.tell_reports([node])
        let_last([data[settled.nodes[0].key]])
        return data[settled.nodes[0].key]


@contextmanager
def _evaluating(
    nodes: Sequence[Node], executor: Executor | None, options: Options, in_store: bool = False
) -> Iterator[_Evaluation]:
    """Hand out an evaluation, and end it: what is done stays if it is cut short by what may not last.

    `in_store`: all tiles go there, however short it is.
    """
    with options.listeners() as listeners:
        found = check_executor(executor) or default_executor()
        evaluation = _Evaluation(found, options, listeners, model_of(found, nodes, in_store))
        try:
            yield evaluation
        except BaseException as error:
            evaluation.end(not isinstance(error, LinAlgError | np.linalg.LinAlgError | StaleMatrixError))
            raise
        evaluation.end(False)


class _Evaluation:
    """Runs of one evaluation, which follow each other in one folder, under one lease."""

    def __init__(
        self, executor: Executor, options: Options, listeners: list[Listener], model: ExecutorModel
    ) -> None:
        self.executor, self._options, self.model = executor, options, model
        self.totals = Totals()
        self._listeners = [*listeners, self._count]
        self._root = store_for(executor.own_store)
        self._folder: Workspace | None = None
        self._owners: weakref.WeakSet[Owner] = weakref.WeakSet()
        self.saves: dict[str, str] = {}
        """Where a result is being saved, and its name: for whoever cleans up after a killed process."""

    @property
    def begun(self) -> bool:
        """Whether there has been a run, so that something may be there to go on with."""
        return self._folder is not None

    def check_place(self, url: str) -> None:
        """Refuse to save where the workers cannot write."""
        check_place(url, self._options.settings.shared_folders, self.executor)

    def _count(self, event: Event) -> None:
        if isinstance(event, RunFinished):
            self.totals = event.totals

    def tell_reports(self, nodes: Sequence[Node]) -> None:
        """Tell listeners how the systems among some results, and in what they are made of, were solved."""
        pending = (node.op for node in topological(nodes) if isinstance(node.op, Pending))
        for cell in {id(op.cell): op.cell for op in pending}.values():
            if cell.report is not None:
                solved = Solved(cell.report, time.time())
                for listener in self._listeners:
                    listener(solved)

    def _opened(self, key: str) -> Workspace:
        if self._folder is None:
            self._folder = Workspace(self._root, key)
        return self._folder

    def end(self, cut_short: bool) -> None:
        """End the folder: what is kept stays, and all if it is `cut_short`."""
        if self._folder is not None:
            self._folder.resumable |= cut_short
            # Not by the garbage collector: a traceback that somebody keeps would keep the tiles, too.
            self._folder.end(owner.token for owner in self._owners if not owner.lasts)

    @contextmanager
    def run(
        self,
        fetch: Sequence[Node],
        keep: Sequence[Node],
        quiet: Container[str] = (),
        saved: Target | None = None,
        claimed: Callable[[], Mapping[str, Placed]] = dict,
    ) -> Iterator[tuple[list[Any], dict[str, Node]]]:
        """Compute some results in one run.

        Parameters
        ----------
        fetch, keep : sequences of Node
        quiet : container of str
        saved : Target, optional
            What is to be saved.
        claimed : callable
            As in `wrenla.run.execute.execute`, which `quiet` is for, too.

        Yields
        ------
        list of ndarray
            What was to be fetched.
        dict of str to Node
            What was to be kept, and what it looks at, as data, by its key.
        """
        storing = Storing(keep)
        read = {owner.key: owner for node in fetch for owner in owners_of(node)}
        leaves = {key: owner.op for key, owner in read.items() if isinstance(owner.op, Leaf)}
        specs: dict[str, ArraySpec] = {key: op.spec for key, op in leaves.items()}
        hosts = {op.spec.identity: op.payload for op in leaves.values() if isinstance(op.spec, HostArray)}
        targets = {node.key: Target(node) for node in _made_for(fetch, keep)}
        if saved is not None:
            targets[saved.node.key] = saved
        if not targets:
            with self.executor.session(hosts, 0):
                gathered = [gather(node, specs, self.executor) for node in fetch]
            _check_same(fetch)
            yield gathered, storing.stored({}, self._folder, self.executor)[0]
            return
        nodes = [*fetch, *keep, *([] if saved is None else [saved.node])]
        settings = self._options.settings
        with execute(
            list(targets.values()),
            self.executor,
            self._opened,
            root=self._root,
            model=self.model,
            shared=settings.shared_folders,
            schedule=settings.schedule,
            listeners=self._listeners,
            claimed=claimed,
            unchanged=lambda: _check_same(nodes),
            quiet=quiet,
            saves=self.saves,
        ) as finished:
            specs |= {result.node.key: result.spec for result in finished}
            with self.executor.home.holding(hosts):
                gathered = [gather(node, specs, self.executor) for node in fetch]
            _check_same(nodes)  # views of stored matrices were read just now
            done = {result.node.key: result.spec for result in finished}
            data, made_now = storing.stored(done, self._folder, self.executor)
            self._owners.update(made_now)
            yield gathered, data

    def advance(self, request: Run) -> tuple[dict[str, Node], dict[str, Any], Totals]:
        """Run a step of procedures: see `wrenla.evaluate.settle.Runner`."""
        self.totals = Totals()
        try:
            with self.run(request.fetch, request.keep, request.quiet) as (arrays, data):
                pass
        except (LinAlgError, np.linalg.LinAlgError):
            if self._folder is not None:
                self._folder.sweep()
            raise
        fetched = dict(zip((node.key for node in request.fetch), arrays, strict=True))
        return data, fetched, self.totals


def save_node(
    node: Node,
    url: str,
    executor: Executor | None,
    overwrite: bool,
    options: Options,
    factor: str = "",
    pivots: Node | None = None,
) -> Node:
    """Compute a result, store it at an address, maybe as a factor, and return it as data.

    `pivots` are those of LU factors.
    """
    with _evaluating([node], executor, options) as evaluation:
        # what is there already does not need what it was made of any more
        needed = rehearse([node] if pivots is None else [node, pivots])
        inputs = [*needed.nodes, *needed.fetch, *needed.keep]
        _check_same(inputs)
        # the name of the result: the same before and after its procedures have run
        named = made(node)
        if named.dtype not in DTYPES:
            raise TypeError(f"a matrix of {named.dtype} cannot be saved: there are {', '.join(DTYPES)}")
        with closing(open_store(url)) as store:
            check_address(store)
            wanted = TileLayout(
                named.grid,
                named.dtype,
                named.ndim,
                named.structure,
                result=named.key,
                factor=factor,
                absent=named.op.kept_zero() if isinstance(named.op, Operation) else "",
            )
            layout, report = None if overwrite else saved_already(store, wanted), None
            if layout is None:
                try:
                    layout, report = _save(node, named, inputs, wanted, store, evaluation, overwrite, pivots)
                except AlreadySaved:
                    layout = TileLayout.read(store)
            return with_report(leaf(stored_spec(store, layout), layout.structure), report)


def _save(
    node: Node,
    named: Node,
    inputs: Sequence[Node],
    layout: TileLayout,
    store: Store,
    evaluation: _Evaluation,
    overwrite: bool,
    pivots: Node | None,
) -> tuple[TileLayout, Any]:
    claimed: list[Claim] = []
    # pivots are known at the end, and a description of LU factors is none without them
    first = layout if pivots is None else replace(layout, factor="")

    def take() -> Claim:
        if not claimed:
            claimed.append(claim(store, named.key, inputs, first, overwrite))
        return claimed[0]

    evaluation.saves = {store.url: named.key}
    try:
        if has_steps(node):  # before hours of work, not after them
            evaluation.check_place(store.url)
            take()
        asked = [node] if pivots is None else [node, pivots]
        settled = settle(asked, evaluation.advance, evaluation.model)
        found, *pivots_found = settled.nodes
        _check_same([found])
        # what is kept has tiles of its own beside the saved ones, which somebody may replace
        result = sparse_copy(found) if found.key in {kept.key for kept in settled.keep} else made(found)
        with evaluation.run(
            pivots_found,
            settled.keep,
            saved=Target(result, store.url),
            claimed=lambda: {result.key: take().placed},
        ) as (arrays, data):
            settled.remember(data)
            known = {"factor": layout.factor, "pivots": pivots_in_text(arrays[0][:, 0])} if arrays else {}
            report = found.op.report if isinstance(found.op, Leaf) else None
            evaluation.tell_reports([node])
            # Inside of the run: if it fails, the run has its tiles yet, and keeps them for the next attempt.
            return claimed[0].publish(**known), report
    except (LinAlgError, np.linalg.LinAlgError, StaleMatrixError):
        for place in claimed:
            place.abandon()
        raise
    except BaseException:
        for place in claimed:
            if evaluation.begun:
                place.release()
            else:
                place.abandon()
        raise


def model_of(
    executor: Executor, nodes: Sequence[Node], in_store: bool = False, ask: bool = False
) -> ExecutorModel:
    """Return the model that plans for some results are made for.

    Where a store is chosen, all temporaries go there. Functions that run in this process are timed if it may
    `ask` them.
    """
    in_store = in_store or store_is_chosen(executor.own_store)
    model = replace(executor.measured(), uploads=executor.reach != Reach.PROCESS)
    if model.rates is not None and executor.reach == Reach.PROCESS:
        model = replace(model, functions=function_rates(nodes, ask))
    return replace(model, tile_bytes=0) if in_store else model


def _check_same(nodes: Sequence[Node]) -> None:
    """Raise StaleMatrixError unless stored matrices and arrays are what they were when they were given."""
    check_current(nodes)
    check_arrays(nodes)


def refuse_too_large(node: Node, options: Options, itemsize: int = 0) -> None:
    """Raise TooLargeError if an array of a result, of entries of `itemsize` bytes, is beyond the limit."""
    limit = options.settings.max_compute_bytes
    nbytes = math.prod(node.grid.shape) * max(itemsize, np.dtype(node.dtype).itemsize)
    if nbytes > limit:
        raise TooLargeError(
            f"the result would take {format_bytes(nbytes)} of memory, more than max_compute_bytes="
            f"{format_bytes(limit)}: store it with .save(url), take a part of it by slicing, "
            "or raise the limit: A.compute(max_compute_bytes=…), or WRENLA_MAX_COMPUTE_BYTES"
        )


def _calls(node: Node) -> bool:
    return isinstance(node.op, Leaf) and isinstance(node.op.spec, FunctionArray)
