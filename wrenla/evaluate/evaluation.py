"""Evaluation: compute, persist, save and plan expressions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wrenla.algorithms.assemble import copy
from wrenla.algorithms.memo import resolve, with_args
from wrenla.arrays import check_arrays
from wrenla.config import Settings, settings, store_for
from wrenla.errors import SettingError, TooLargeError
from wrenla.evaluate.saving import AlreadySaved, Claim, check_address, claim, saved_already
from wrenla.evaluate.stored import check_current, stored_spec
from wrenla.executors.base import Executor, check_executor
from wrenla.executors.default import default_executor
from wrenla.planning.expression import Leaf, Node, View, leaf
from wrenla.planning.plan import Plan, make_plan
from wrenla.report.progress import progress_listener
from wrenla.run.events import Listener
from wrenla.run.execute import Placed, Target, execute
from wrenla.run.persisted import Owner
from wrenla.units import format_bytes
from wrenla_handler.errors import StaleMatrixError
from wrenla_handler.linalg_errors import LinAlgError
from wrenla_handler.out_of_memory import memory_for
from wrenla_handler.stores.base import Store
from wrenla_handler.stores.mmap import refuse_truncated
from wrenla_handler.stores.urls import open_store
from wrenla_handler.tiles.arrays import ArraySpec, FunctionArray, HostArray, StoredArray
from wrenla_handler.tiles.layout import DTYPES, TileLayout

_ELSEWHERE = {
    "workers": "an executor has it: wrenla.LocalExecutor(workers=…), or WRENLA_WORKERS",
    "allowed_mem": "an executor has it: wrenla.LocalExecutor(allowed_mem=…), or WRENLA_ALLOWED_MEM",
    "blas_threads": "an executor has it: wrenla.LocalExecutor(blas_threads=…), or WRENLA_BLAS_THREADS",
    "store": "WRENLA_STORE says where temporaries go",
    "tile": "whatever makes a matrix has it, such as wrenla.random(shape, tile=…)",
}
"""Settings that an evaluation cannot have for itself, and where they are made."""

_AHEAD = 4
"""Tiles that are read ahead while a result is gathered."""

__all__ = ["Options", "compute_nodes", "made", "persist_node", "plan_of", "save_node"]


@dataclass(frozen=True, slots=True)
class Options:
    """Options of one evaluation: settings, and listeners of its events."""

    settings: Settings
    on_event: Listener | None = None

    @classmethod
    def of(cls, *, on_event: Listener | None = None, **arguments: Any) -> Options:
        """Return the settings in force, some replaced by arguments.

        Raises
        ------
        SettingError
            A setting is unknown, or is not one of an evaluation: others belong to executors and matrices.
        """
        for name in arguments.keys() & _ELSEWHERE.keys():
            raise SettingError(f"argument: {name} is not a setting of one evaluation; {_ELSEWHERE[name]}")
        return cls(settings(**arguments), on_event)

    @contextmanager
    def listeners(self) -> Iterator[list[Listener]]:
        """Hand out the listeners of events."""
        own = [] if self.on_event is None else [self.on_event]
        with progress_listener(self.settings.progress) as bar:
            yield own if bar is None else [*own, bar]


def plan_of(nodes: Sequence[Node], executor: Executor | None) -> Plan:
    """Return the plan for some results."""
    model = (check_executor(executor) or default_executor()).model
    plan, _ = make_plan([made(node) for node in nodes], model)
    plan.check()
    return plan


def compute_nodes(nodes: Sequence[Node], executor: Executor | None, options: Options) -> list[Any]:
    """Compute some results and return them as NumPy arrays."""
    for node in nodes:
        _refuse_too_large(node, options.settings.max_compute_bytes)
    executor = check_executor(executor) or default_executor()
    nodes = resolve(nodes, lambda inner: persist_nodes(inner, executor, options))
    _check_same(nodes)
    # functions are evaluated by the workers, everything else can be read here
    nodes = [made(node) if any(_calls(owner) for owner in _owners(node)) else node for node in nodes]
    owners = {owner.key: owner for node in nodes for owner in _owners(node)}
    targets = [Target(owner) for owner in owners.values() if not owner.is_leaf]
    leaves = {key: owner.op for key, owner in owners.items() if isinstance(owner.op, Leaf)}
    specs = {key: op.spec for key, op in leaves.items()}
    hosts = {op.spec.identity: op.payload for op in leaves.values() if isinstance(op.spec, HostArray)}
    if not targets:
        with executor.session(hosts, 0):
            gathered = [_gather(node, specs, executor) for node in nodes]
        _check_same(nodes)
        return gathered
    with (
        options.listeners() as listeners,
        execute(
            targets,
            executor,
            root=store_for(executor.own_store),
            shared=options.settings.shared_folders,
            schedule=options.settings.schedule,
            listeners=listeners,
            unchanged=lambda: _check_same(nodes),
        ) as (finished, _),
    ):
        specs |= {result.node.key: result.spec for result in finished}
        with executor.home.holding(hosts):
            gathered = [_gather(node, specs, executor) for node in nodes]
        _check_same(nodes)  # views of stored matrices were read just now
        return gathered


def persist_node(node: Node, executor: Executor | None, options: Options) -> Node:
    """Compute a result and return it as data, kept as long as the returned node."""
    return persist_nodes([node], executor, options)[0]


def persist_nodes(nodes: Sequence[Node], executor: Executor | None, options: Options) -> list[Node]:
    """Compute some results in one run and return them as data, kept as long as one of the returned nodes.

    Of what only says where tiles lie, the tiles stay where they are made, and it is one of those.
    """
    if all(map(_is_stored, nodes)):
        return list(nodes)
    executor = check_executor(executor) or default_executor()
    nodes = resolve(nodes, lambda inner: persist_nodes(inner, executor, options))
    _check_same(nodes)
    order = {part.key: part for node in nodes for part in _parts(node)}
    kept = {key: node for key, node in order.items() if _is_stored(node)}
    targets = {
        key: Target(node if node.bundle else made(node))
        for key, node in order.items()
        if not (_moves(node) or key in kept)
    }
    with (
        options.listeners() as listeners,
        execute(
            list(targets.values()),
            executor,
            root=store_for(executor.own_store),
            shared=options.settings.shared_folders,
            schedule=options.settings.schedule,
            listeners=listeners,
            unchanged=lambda: _check_same(nodes),
        ) as (finished, folder),
    ):
        folder.keep()
    owner = Owner(folder, executor, [result.spec for result in finished])
    for key, result in zip(targets, finished, strict=True):
        kept[key] = leaf(result.spec, result.node.structure, None, owner)
    for key, node in order.items():
        if _moves(node):
            kept[key] = with_args(node, tuple(kept[arg.key] for arg in node.args))
    return [kept[node.key] for node in nodes]


def _is_stored(node: Node) -> bool:
    return isinstance(node.op, Leaf) and isinstance(node.op.spec, StoredArray)


def _moves(node: Node) -> bool:
    """Tell whether a node is a view that only says where tiles lie."""
    return isinstance(node.op, View) and node.op.moves


def _parts(node: Node) -> Iterator[Node]:
    """Yield a node after what it looks at, if it only says where tiles lie."""
    if _moves(node):
        for arg in node.args:
            yield from _parts(arg)
    yield node


def save_node(
    node: Node, url: str, executor: Executor | None, overwrite: bool, options: Options, factor: str = ""
) -> Node:
    """Compute a result, store it at an address, maybe as a factor, and return it as data."""
    executor = check_executor(executor) or default_executor()
    (node,) = resolve([node], lambda inner: persist_nodes(inner, executor, options))
    _check_same([node])
    result = made(node)
    if result.dtype not in DTYPES:
        raise TypeError(f"a matrix of {result.dtype} cannot be saved: there are {', '.join(DTYPES)}")
    with closing(open_store(url)) as store:
        check_address(store)
        wanted = TileLayout(
            result.grid, result.dtype, result.ndim, result.structure, result=result.key, factor=factor
        )
        layout = None if overwrite else saved_already(store, wanted)
        if layout is None:
            try:
                layout = _save(result, node, wanted, store, executor, overwrite, options)
            except AlreadySaved:
                layout = TileLayout.read(store)
        return leaf(stored_spec(store, layout), layout.structure)


def _save(
    result: Node,
    node: Node,
    layout: TileLayout,
    store: Store,
    executor: Executor,
    overwrite: bool,
    options: Options,
) -> TileLayout:
    claimed: list[Claim] = []

    def take() -> dict[str, Placed]:
        claimed.append(claim(store, result, layout, overwrite))
        return {result.key: claimed[0].placed}

    try:
        with (
            options.listeners() as listeners,
            execute(
                [Target(result, store.url)],
                executor,
                root=store_for(executor.own_store),
                shared=options.settings.shared_folders,
                schedule=options.settings.schedule,
                listeners=listeners,
                claimed=take,
                unchanged=lambda: _check_same([node]),
            ),
        ):
            # Inside of the run: if it fails, the run has its tiles yet, and keeps them for the next attempt.
            return claimed[0].publish()
    except (LinAlgError, np.linalg.LinAlgError, StaleMatrixError):
        for place in claimed:
            place.abandon()
        raise
    except BaseException:
        for place in claimed:
            place.release()
        raise


def _check_same(nodes: Sequence[Node]) -> None:
    """Raise StaleMatrixError unless stored matrices and arrays are what they were when they were given."""
    check_current(nodes)
    check_arrays(nodes)


def _refuse_too_large(node: Node, limit: int) -> None:
    nbytes = int(np.prod(node.grid.shape, dtype=object)) * np.dtype(node.dtype).itemsize
    if nbytes > limit:
        raise TooLargeError(
            f"the result would take {format_bytes(nbytes)} of memory, more than max_compute_bytes="
            f"{format_bytes(limit)}: store it with .save(url), take a part of it by slicing, "
            "or raise the limit (WRENLA_MAX_COMPUTE_BYTES)"
        )


def made(node: Node) -> Node:
    """Return a node that has an object for each of its tiles: data, views and bundles are copied."""
    return copy(node) if node.is_leaf or node.is_view or node.bundle is not None else node


def _owners(node: Node) -> Iterator[Node]:
    """Yield the nodes whose own tiles are read when `node` is: itself, or what its views look at."""
    if node.is_view:
        for arg in node.args:
            yield from _owners(arg)
    else:
        yield node


def _calls(node: Node) -> bool:
    return isinstance(node.op, Leaf) and isinstance(node.op.spec, FunctionArray)


def _gather(node: Node, specs: Mapping[str, ArraySpec], executor: Executor) -> npt.NDArray[Any] | np.generic:
    """Bring a result together from its tiles."""
    with memory_for(f"the result, {node.grid.shape} of {node.dtype}"):
        out = np.zeros(node.grid.shape, node.dtype, order="F")
    rows, cols = node.grid.counts
    reads = [(i, j, read) for j in range(cols) for i in range(rows) for read in node.reads(i, j)]
    coming = iter([ref for _, _, read in reads for ref in read.refs()])
    with refuse_truncated():
        for number, (i, j, read) in enumerate(reads):
            # what follows is on its way meanwhile, if it comes from far away
            for ref in itertools.islice(coming, _AHEAD if number == 0 else 1):
                executor.home.prefetch(specs[ref.array], ref)
            (r, c), (m, n) = node.grid.origin(i, j), node.grid.extent(i, j)
            value = executor.home.value(read, specs, node.dtype)
            with np.errstate(all="ignore"):
                if read.accumulate:
                    out[r : r + m, c : c + n] += value
                else:
                    out[r : r + m, c : c + n] = value
    if node.ndim == 2:
        return out
    flat: npt.NDArray[Any] = out.reshape(-1, order="F")
    return flat if node.ndim == 1 else flat[0]
