"""Execute a plan: bind it to data, find what an earlier run left, run, clear up."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from wrenla.arrays import watched
from wrenla.executors.base import Executor
from wrenla.executors.measured import device_of
from wrenla.planning.cost_model import ExecutorModel
from wrenla.planning.expression import Leaf, Node, Operation
from wrenla.planning.graph import Graph
from wrenla.planning.plan import Plan, make_plan
from wrenla.run.adopt import adopt, listed, tile_prefixes, whole_tiles
from wrenla.run.advice import advice
from wrenla.run.conditioning import Conditioning
from wrenla.run.events import Listener
from wrenla.run.loop import Job, run_job
from wrenla.run.persisted import folders_of
from wrenla.run.reach import check_reach
from wrenla.run.scheduler import Policy, Schedule
from wrenla.run.upload import upload
from wrenla.workspace.ownership import MANIFEST
from wrenla.workspace.workspace import Workspace
from wrenla_handler.errors import StaleMatrixError
from wrenla_handler.linalg_errors import LinAlgError
from wrenla_handler.stores.base import ObjectInfo, OwningStore, Reach, Store
from wrenla_handler.stores.room import rooms_bytes
from wrenla_handler.stores.urls import join, open_store
from wrenla_handler.threads import Threads
from wrenla_handler.tiles.arrays import ArraySpec, FunctionArray, HostArray, StoredArray, stored
from wrenla_handler.tiles.cache import Tile
from wrenla_handler.tiles.layout import NUMBER_KEY, TILE_KEYS, Separator
from wrenla_handler.tiles.sources import function_key

__all__ = ["Finished", "Placed", "Target", "execute"]

logger = logging.getLogger("wrenla.run")

_OF_A_TILE = re.compile(rf"{TILE_KEYS}|{NUMBER_KEY}|partial(?:/[0-9]+){{3}}", re.A)
"""Whatever else is in a folder of tiles somebody else has put there."""

_LOOKERS = 16
"""Requests at a time that ask for the owners of tiles."""


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
class Placed:
    """Place of a result's tiles.

    Attributes
    ----------
    url : str
    separator : {"/", "."}
        Of their keys.
    owner : str
        Written into each object, so that those of other results are not taken for ours; "" where no other
        result can have the same address.
    """

    url: str
    separator: Separator = "/"
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Finished:
    """A result whose tiles are there.

    Attributes
    ----------
    node : Node
        The result as it was asked for.
    spec : StoredArray
        Its tiles.
    """

    node: Node
    spec: StoredArray


@contextmanager
def execute(
    targets: Sequence[Target],
    executor: Executor,
    opened: Callable[[str], Workspace],
    *,
    root: str,
    model: ExecutorModel,
    shared: str = "",
    schedule: Schedule = "dataflow",
    listeners: Sequence[Listener] = (),
    claimed: Callable[[], Mapping[str, Placed]] = dict,
    unchanged: Callable[[], None] = lambda: None,
    quiet: Container[str] = (),
    saves: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[list[Finished]]:
    """Run what is needed for some results and hand out their tiles.

    Whoever has opened the folder ends it. A failure that is not numerical marks it as resumable, so that the
    same run can go on from there.

    Parameters
    ----------
    targets : sequence of Target
        Their nodes are operations: they have tiles of their own.
    executor : Executor
    opened : callable
        Called with the key of the run when nothing speaks against it; returns its folder.
    root : str
        URL of the store for temporaries, where the folder is.
    model : ExecutorModel
        What the plan is made for.
    shared : str
        Folders that several machines have, as `reach_of` takes them.
    schedule : {"dataflow", "waves"}
    listeners : sequence of callables
        Are told every event.
    claimed : callable
        Called when nothing speaks against the run, and before anything is written. Returns where the tiles
        of targets with an address go, by the keys of their nodes.
    unchanged : callable
        Called when all tasks are done. Raises StaleMatrixError if what they have read has changed meanwhile.
    quiet : container of str
        Keys of nodes whose solutions nobody need be warned of: somebody looks at them.
    saves : mapping of str to str
        Addresses where the results of this run, or of one that follows it, are saved, and their names.
    """
    plan, originals = make_plan(
        [target.node for target in targets],
        model,
        whole=[target.node for target in targets if target.url],
    )
    plan.check()
    urls = [target.url for target in targets if target.url]
    check_reach(plan, originals, urls, root, shared, executor)
    places = claimed()
    folder = opened(_run_key(targets))
    arrays: dict[str, ArraySpec] = {}
    room = plan.room_beside(rooms_bytes())
    try:
        if room:
            folder.make_room(room)
        # from now on what is there is in use: late copies of an earlier run's tasks do not clear up after it
        folder.store.put(MANIFEST, b"{}", create=True)
        arrays, hosts = _bind(plan, originals, places, folder)
        if executor.reach > Reach.HOST:
            arrays, hosts = upload(arrays, hosts, folder, executor.dask_client), {}
        made = (stored(arrays, twin.key) for twin in plan.results)
        results = [Finished(target.node, spec) for target, spec in zip(targets, made, strict=True)]
        wanted = plan.wanted
        present = list(_present(plan.graph, arrays, folder))
        present += adopt(plan.graph, _in_folder(arrays, folder), wanted, present, folder, executor.workers)
        if present:
            logger.info("%s: %d of %d tiles are there already", folder.key, len(present), len(plan.graph))
        folder.store.put(MANIFEST, json.dumps(_manifest(plan, saves, executor), indent=1).encode())
        conditioning = Conditioning(plan.graph, originals, quiet)
        told: Sequence[Listener] = [*listeners, conditioning] if conditioning else listeners
        job = Job(folder.key, plan.graph, arrays, wanted, present, plan.batch, model.worthwhile, plan)
        with executor.session(hosts, plan.projected), watched(originals.values()):
            slots = functools.partial(_slots, plan, executor)
            run_job(job, executor, Policy(schedule, slots()), told, slots)
            unchanged()
            yield results
    except (LinAlgError, np.linalg.LinAlgError):
        try:
            unchanged()  # or else that may be why
        except StaleMatrixError:
            _forget(executor, arrays)
            raise
        raise
    except StaleMatrixError:  # tiles of old and new numbers may stand under one name, in the cache as well
        _forget(executor, arrays)
        raise
    except BaseException as error:
        folder.resumable = True
        if folder.lease.lost:
            error.add_note(f"another process has taken this one for dead and its place over: {folder.url}")
        error.add_note(advice(plan, originals.values(), urls, folder))
        raise
    finally:
        if folder.room is not None:
            folder.room.limit = 0  # until the next run
            _forget_own(executor, arrays, folder)
    for other in folders_of(originals.values()):
        other.resumable = False
    if folder.room is None:
        _forget_own(executor, arrays, folder)
    conditioning.warn()


def _in_folder(arrays: Mapping[str, ArraySpec], folder: Workspace) -> dict[str, ArraySpec]:
    """Return the arrays as they are in the folder, where those in the room find them."""
    return {
        name: replace(spec, url=join(folder.url, spec.identity))
        if isinstance(spec, StoredArray) and spec.url == folder.place(spec.identity)
        else spec
        for name, spec in arrays.items()
    }


def _forget_own(executor: Executor, arrays: Mapping[str, ArraySpec], folder: Workspace) -> None:
    """Let workers forget what nobody needs beyond the run: mapped files and tiles in memory take space."""
    urls = (folder.url,) if folder.room is None else (folder.url, folder.room.url)
    for spec in arrays.values():
        ours = isinstance(spec, StoredArray | FunctionArray) and spec.url.startswith(urls)
        if ours and not folder.keeps(spec.identity):
            executor.forget_array(spec)


def _forget(executor: Executor, arrays: Mapping[str, ArraySpec]) -> None:
    for spec in arrays.values():
        executor.forget_array(spec)


def _run_key(targets: Sequence[Target]) -> str:
    text = json.dumps([(target.node.key, target.url) for target in targets])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _slots(plan: Plan, executor: Executor) -> int:
    """Return the number of tasks to hand out at a time.

    As many as there are workers, so that the most urgent one is always next; more where tasks are so short
    that a worker would wait for the next one, or where it would wait for a message.
    """
    mean = float(plan.graph.seconds.mean()) if plan.tasks else 0.0
    return executor.workers * (1 + executor.ahead) * plan.batch + (64 if mean < 2e-3 else 1)


def _bind(
    plan: Plan,
    originals: Mapping[str, Node],
    places: Mapping[str, Placed],
    folder: Workspace,
) -> tuple[dict[str, ArraySpec], dict[str, Tile]]:
    """Bind each array name of the plan to data, and list the arrays of this process among them."""
    arrays: dict[str, ArraySpec] = {}
    hosts: dict[str, Tile] = {}
    for name in plan.graph.tiles.arrays:
        node = originals[name]
        if isinstance(node.op, Leaf):
            spec: ArraySpec = node.op.spec
            if isinstance(spec, FunctionArray):
                spec = replace(spec, url=folder.url, run=folder.lease.holder.owner)
                _put_function(folder.store, function_key(spec.digest), node.op.payload)
            elif isinstance(spec, HostArray):
                hosts[spec.identity] = node.op.payload
        else:
            to = places.get(node.key) or Placed(folder.place(node.key))
            spec = StoredArray(
                node.grid,
                node.dtype,
                node.ndim,
                node.key,
                to.url,
                to.owner,
                to.separator,
                run=folder.lease.holder.owner,
                bundle=node.bundle,
                absent=node.op.kept_zero() if isinstance(node.op, Operation) else "",
                direct=node.key in places and _goes_past_cache(to.url, folder.url, plan.model),
            )
        arrays[name] = spec
    return arrays, hosts


def _goes_past_cache(url: str, temporary: str, model: ExecutorModel) -> bool:
    """Tell whether saved tiles are faster past the page cache: where temporaries are it was measured.

    Who saves a matrix does not read it soon. A page of a file costs new memory, which a virtual machine has
    to ask its host for, and pushes out another one.
    """
    return model.rates is not None and model.rates.past_cache and device_of(url) == device_of(temporary)


def _put_function(store: Store, key: str, blob: bytes) -> None:
    """Store a function, also in place of one that is damaged, as after a power cut."""
    if not store.put(key, blob, create=True) and bytes(store.get(key)) != blob:
        store.put(key, blob)


def _present(graph: Graph, arrays: Mapping[str, ArraySpec], folder: Workspace) -> Iterator[int]:
    """Yield the tasks whose tiles are in the store already."""
    there: dict[str, set[str]] = {}
    names = {task.out.array for task in graph.tiles.tasks}
    temporary = listed(folder.store, {stored(arrays, name).identity for name in names})
    for name in names:
        spec = stored(arrays, name)
        with closing(open_store(spec.url)) as store:
            found: Iterable[ObjectInfo] = temporary.get(spec.identity, ())
            if spec.url != folder.place(spec.identity):
                found = (info for prefix in tile_prefixes(spec) for info in store.scan(prefix))
            there[name] = _whole_tiles(store, spec, found)
    for p in range(len(graph)):
        ref = graph.out(p)
        if stored(arrays, ref.array).key(ref) in there[ref.array]:
            yield p


def _whole_tiles(store: Store, spec: StoredArray, found: Iterable[ObjectInfo]) -> set[str]:
    """Return the keys of an array's tiles, and remove what is found instead of one."""
    whole, other = whole_tiles(found, spec)
    if not spec.owner:
        for key in other:
            if _OF_A_TILE.fullmatch(key):
                store.delete(key)
        return whole
    assert isinstance(store, OwningStore), "only there tiles of two results can meet"
    final = sorted(key for key in whole if not key.startswith(tile_prefixes(spec)[0]))
    with Threads(_LOOKERS, "wrenla-look") as pool:
        owners = pool.map(lambda key: _owner(store, key), final)
        return whole - {key for key, owner in zip(final, owners, strict=True) if owner != spec.owner}


def _owner(store: OwningStore, key: str) -> str:
    try:
        return store.owner(key)
    except KeyError:  # removed since it was listed
        return ""


def _manifest(plan: Plan, saves: Mapping[str, str], executor: Executor) -> dict[str, Any]:
    """Return the manifest: what the bits depend on, the plan, and addresses of saves."""
    return {"plan": str(plan), "cut": str(plan.cut), "saves": dict(saves), **executor.numerics()}
