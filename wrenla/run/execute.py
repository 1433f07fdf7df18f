"""From expressions to finished tiles: plan, bind to data, find what an earlier run left, run, clear up."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wrenla.arrays import unchanged
from wrenla.errors import ChangedArrayError, ReachError
from wrenla.executors.base import Executor
from wrenla.folder import MANIFEST, RunFolder
from wrenla.plan.expression import Leaf, Node
from wrenla.plan.graph import Graph
from wrenla.plan.plan import Plan, make_plan
from wrenla.run.events import Listener
from wrenla.run.loop import Job, run_job
from wrenla.run.scheduler import Policy, Schedule
from wrenla.run.upload import upload
from wrenla_handler.cache import Tile
from wrenla_handler.errors import LinAlgError
from wrenla_handler.layout import tile_key
from wrenla_handler.sources import function_key, padded_bytes
from wrenla_handler.stores import Reach, Store, open_store
from wrenla_handler.task import ArraySpec

__all__ = ["Finished", "Target", "execute"]

logger = logging.getLogger("wrenla.run")

_ORDER: tuple[Reach, ...] = ("process", "host", "anywhere")


@dataclass(frozen=True, slots=True)
class Target:
    """A result and where it goes.

    Attributes
    ----------
    node : Node
    url : str
        Address of the matrix; "" for the run's own folder.
    """

    node: Node
    url: str = ""


@dataclass(frozen=True, slots=True)
class Finished:
    """A result whose tiles are there.

    Attributes
    ----------
    node : Node
        The result as it was asked for.
    spec : ArraySpec
        Its tiles.
    """

    node: Node
    spec: ArraySpec


@contextmanager
def execute(
    targets: Sequence[Target],
    executor: Executor,
    *,
    root: str,
    schedule: Schedule = "dataflow",
    listeners: Sequence[Listener] = (),
    checked: Callable[[], None] = lambda: None,
) -> Iterator[tuple[list[Finished], RunFolder]]:
    """Run what is needed for some results and hand out their tiles.

    When the block ends well the run's folder is removed, unless the block has closed it to keep it. A
    numerical failure removes it as well; any other keeps what is done, so that the same run can go on from
    there.

    Parameters
    ----------
    targets : sequence of Target
        Their nodes are operations: they have tiles of their own.
    executor : Executor
    root : str
        URL of the store for temporaries.
    schedule : {"dataflow", "waves"}
    listeners : sequence of callables
        Are told every event.
    checked : callable
        Called when nothing speaks against the run, and before anything is written.
    """
    plan, originals = make_plan(
        [target.node for target in targets],
        executor.model,
        whole=[target.node for target in targets if target.url],
    )
    plan.check()
    _check_reach(plan, originals, targets, root, executor.reach)
    checked()
    folder = RunFolder(root, _run_key(targets))
    try:
        # from now on what is there is in use: late copies of an earlier run's tasks do not clear up after it
        folder.store.put(MANIFEST, b"{}")
        arrays, hosts = _bind(plan, originals, targets, folder)
        if executor.reach == "anywhere":
            arrays, hosts = _guarded(upload(arrays, hosts, folder), targets), {}
        results = [Finished(t.node, arrays[twin.key]) for t, twin in zip(targets, plan.results, strict=True)]
        present = list(_present(plan.graph, arrays))
        if present:
            logger.info("%s: %d of %d tiles are there already", folder.key, len(present), len(plan.graph))
        folder.store.put(MANIFEST, json.dumps(_manifest(plan, executor), indent=1).encode())
        job = Job(folder.key, plan.graph, arrays, _wanted(plan), present, plan.batch)
        with executor.session(hosts, plan.projected), unchanged(originals.values()):
            run_job(job, executor, Policy(schedule, _slots(plan, executor)), listeners)
            yield results, folder
    except (LinAlgError, np.linalg.LinAlgError, ChangedArrayError):
        folder.remove()
        raise
    except BaseException as error:
        folder.close()
        error.add_note(
            f"finished tiles are kept in {folder.url}\n"
            "  to resume: run the same script again "
            "(results of from_array have no lasting name: they start anew)\n"
            f"  to clean:  wrenla clean --store {root}"
        )
        raise
    if folder.kept:
        return
    for spec in arrays.values():
        if spec.kind in ("tiles", "function") and spec.url.startswith(folder.url):
            executor.forget_array(spec)
    folder.remove()


def _run_key(targets: Sequence[Target]) -> str:
    text = json.dumps([(target.node.key, target.url) for target in targets])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _slots(plan: Plan, executor: Executor) -> int:
    """How many tasks to hand out at a time.

    As many as there are workers, so that the most urgent one is always next; more where tasks are so short
    that a worker would wait for the next one.
    """
    mean = float(plan.graph.seconds.mean()) if plan.tasks else 0.0
    return executor.workers * plan.batch + (64 if mean < 2e-3 else 1)


def _wanted(plan: Plan) -> list[int]:
    """Return the tasks whose tiles belong to a result."""
    keys = {node.key for node in plan.results}
    tiles = plan.graph.tiles.tasks
    return [int(plan.graph.final[number]) for number, task in enumerate(tiles) if task.out.array in keys]


def _bind(
    plan: Plan, originals: Mapping[str, Node], targets: Sequence[Target], folder: RunFolder
) -> tuple[dict[str, ArraySpec], dict[str, Tile]]:
    """Say what fills each array name of the plan, and which arrays of this process it needs."""
    places = {target.node.key: target.url for target in targets if target.url}
    arrays: dict[str, ArraySpec] = {}
    hosts: dict[str, Tile] = {}
    for name in plan.graph.tiles.arrays:
        node = originals[name]
        if isinstance(node.op, Leaf):
            spec = node.op.spec
            if spec.kind == "function":
                spec = replace(spec, url=folder.url, run=folder.owner)
                folder.store.put(function_key(spec.detail), node.op.payload, create=True)
            elif spec.kind == "host":
                hosts[spec.identity] = node.op.payload
        else:
            url = places.get(node.key) or folder.place(node.key)
            spec = ArraySpec("tiles", node.grid, node.dtype, node.ndim, node.key, url, run=folder.owner)
        arrays[name] = spec
    return arrays, hosts


def _guarded(arrays: Mapping[str, ArraySpec], targets: Sequence[Target]) -> dict[str, ArraySpec]:
    """Let workers that may outlive this process write to a place only while it is meant for this result."""
    saved = {target.node.key for target in targets if target.url}
    return {
        name: replace(spec, detail=spec.identity) if spec.kind == "tiles" and spec.identity in saved else spec
        for name, spec in arrays.items()
    }


def _check_reach(
    plan: Plan, originals: Mapping[str, Node], targets: Sequence[Target], root: str, reach: Reach
) -> None:
    """Refuse data and places that the workers cannot see, before anything has begun."""
    for target in targets:
        if target.url and _ORDER.index(_reach_of(target.url)) < _ORDER.index(reach):
            raise ReachError(
                f"{target.url}: the executor's workers are further away ({reach}) and cannot write there: "
                'save the matrix where they can, e.g. matrix.save("s3://bucket/name"), or compute it here: '
                "executor=wrenla.LocalExecutor()"
            )
    urls: set[str] = set()
    for name in plan.graph.tiles.arrays:
        node = originals[name]
        if not isinstance(node.op, Leaf):
            continue
        if node.op.spec.kind == "tiles":
            urls.add(node.op.spec.url)
        elif node.op.spec.kind == "host" and reach != "anywhere":  # there it is brought to them
            _require(reach, "process", "an array in the memory of this process")
    for url in sorted(urls):
        _require(reach, _reach_of(url), url)
    if _ORDER.index(_reach_of(root)) < _ORDER.index(reach):
        raise ReachError(
            f"{root}: the executor's workers are further away ({reach}) and cannot see the store for "
            "temporaries: set it (WRENLA_STORE) to s3://bucket/prefix"
        )


def _reach_of(url: str) -> Reach:
    store = open_store(url)
    try:
        return store.reach
    finally:
        store.close()


def _require(needed: Reach, offered: Reach, what: str) -> None:
    """Refuse data that the workers cannot see."""
    if _ORDER.index(offered) < _ORDER.index(needed):
        raise ReachError(
            f"{what} can be seen by this {offered} only, but the executor's workers are further away "
            f'({needed}): save the matrix where they can read it, e.g. matrix.save("s3://bucket/name")'
        )


def _present(graph: Graph, arrays: Mapping[str, ArraySpec]) -> Iterator[int]:
    """Yield the tasks whose tiles are in the store already."""
    known: dict[str, set[str]] = {}
    stores: dict[str, Store] = {}
    try:
        for name in {task.out.array for task in graph.tiles.tasks}:
            spec = arrays[name]
            store = stores[name] = open_store(spec.url)
            known[name] = {*store.list("c"), *store.list("partial/")}
        for p in range(len(graph)):
            ref = graph.out(p)
            spec = arrays[ref.array]
            key = tile_key(ref.i, ref.j, spec.ndim, ref.partial)
            if key not in known[ref.array]:
                continue
            store = stores[ref.array]
            # after a power cut a local file may be shorter than what was written to it
            if store.reach != "host" or (size := _size(store, key)) == padded_bytes(spec):
                yield p
            elif size is not None:
                store.delete(key)
    finally:
        for store in stores.values():
            store.close()


def _size(store: Store, key: str) -> int | None:
    try:
        return store.size(key)
    except KeyError:  # another run that writes to the same place has dropped it since it was listed
        return None


def _manifest(plan: Plan, executor: Executor) -> dict[str, Any]:
    """What the bits of the results depend on, and what the run is about."""
    return {"plan": str(plan), "cut": str(plan.cut), **executor.numerics()}
