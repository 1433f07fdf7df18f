"""Adopt finished tiles of dead runs, tile by tile.

Tiles of a run are named by their node: operation, parameters, and the content of the data below. So the
factor that one script has half made is the one that another needs, whatever else the two do not share.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from wrenla.planning.graph import Graph
from wrenla.run.scheduler import needed_tasks
from wrenla.workspace.lease import WATCH_SECONDS
from wrenla.workspace.workspace import DeadRun, Workspace, dead_runs
from wrenla_handler.errors import StoreError, ThreadLimitError
from wrenla_handler.stores.base import CopyingStore, ObjectInfo, Reach, Store
from wrenla_handler.stores.urls import join, open_store
from wrenla_handler.threads import Threads
from wrenla_handler.tiles.arrays import ArraySpec, StoredArray, TileRef, stored
from wrenla_handler.tiles.layout import owned_folder
from wrenla_handler.tiles.worker import put_tile

__all__ = ["adopt", "listed", "tile_prefixes", "whole_tiles"]

logger = logging.getLogger("wrenla.run")

_COPIERS = 16
"""Tiles at a time that a store that is far away copies."""


def adopt(
    graph: Graph,
    arrays: Mapping[str, ArraySpec],
    wanted: Sequence[int],
    present: Collection[int],
    folder: Workspace,
    workers: int,
) -> list[int]:
    """Take over what runs without a live owner have finished of the same work.

    Only whole tiles that the run reads, or that are results, and that it does not have. All others stay where
    they are, as another script may go on with them. A dead run of which nothing is left then is removed.

    Parameters
    ----------
    graph : Graph
    arrays : mapping of str to ArraySpec
        What fills each array name of the plan.
    wanted, present : collections of int
        Tasks whose tiles are results; tasks whose tiles are there.
    folder : Workspace
        Of the new run. Dead ones are looked for beside it.
    workers : int

    Returns
    -------
    list of int
        Tasks whose tiles are there now.
    """
    made = {arrays[name].identity: name for name in {task.out.array for task in graph.tiles.tasks}}
    is_wanted, have = np.zeros(len(graph), bool), np.zeros(len(graph), bool)
    is_wanted[list(wanted)] = True
    have[list(present)] = True
    adopted: list[int] = []
    if have[is_wanted].all():
        return adopted
    for dead in dead_runs(folder, made):
        try:
            # Listed without the lease, as most dead runs have nothing for us. What goes until we hold it,
            # `_bring` finds missing.
            tiles = _tiles_of(dead, graph, arrays, made)
            useful = _useful(graph, is_wanted, have, tiles.keys())
            seconds = float(graph.seconds[useful].sum()) / workers
            # to watch whether somebody on another machine is still at work takes longer than small work
            if not useful or (dead.alive is None and seconds < WATCH_SECONDS):
                continue
            with dead.held() as is_ours:
                taken = _take(dead, {p: tiles[p] for p in useful}, graph, arrays) if is_ours else []
        except (StoreError, ThreadLimitError) as error:  # another user's, say: then it is computed
            logger.info("%s: what is there is not used: %s", dead.url, error)
        else:
            have[taken] = True
            adopted += taken
    return adopted


def listed(store: Store, arrays: Container[str]) -> dict[str, list[ObjectInfo]]:
    """Return what is in the folder of a run by array, with keys as they are below the array's address.

    All arrays at once: a factorization may have hundreds, and a listing takes as long as a tile.

    Parameters
    ----------
    store : Store
    arrays : container of str
        Names of those that are asked for: what a run's earlier steps have kept there may be far more.
    """
    found: dict[str, list[ObjectInfo]] = {}
    for info in store.scan():
        name, _, key = info.key.partition("/")
        if key and name in arrays:
            found.setdefault(name, []).append(replace(info, key=key))
    return found


def tile_prefixes(spec: StoredArray) -> tuple[str, str]:
    """Return what the keys of an array's partial sums and tiles begin with, below its address."""
    folder = f"{owned_folder(spec.owner)}/" if spec.owner else ""
    return f"{folder}partial/", spec.key(TileRef("", 0, 0))[:1]


def whole_tiles(found: Iterable[ObjectInfo], spec: StoredArray) -> tuple[set[str], set[str]]:
    """Return the keys of an array's tiles, and of what is there instead of one.

    After a power cut a local file may be shorter than what was written to it.

    Parameters
    ----------
    found : iterable of ObjectInfo
        What is below the array's address.
    spec : StoredArray
    """
    prefixes, nbytes = tile_prefixes(spec), spec.object_bytes
    tiles = {info.key: info.nbytes for info in found if info.key.startswith(prefixes)}
    whole = {key for key, held in tiles.items() if held == nbytes}
    return whole, tiles.keys() - whole


def _tiles_of(
    dead: DeadRun, graph: Graph, arrays: Mapping[str, ArraySpec], made: Mapping[str, str]
) -> dict[int, str]:
    """Return the tasks whose tiles a dead run has, each with the tile's key in its array's folder."""
    keys: dict[str, set[str]] = {}
    plain = {made[node]: _plain(stored(arrays, made[node])) for node in dead.arrays}
    with closing(open_store(dead.url)) as store:
        found = listed(store, dead.arrays)
    for node in dead.arrays:
        keys[made[node]], _ = whole_tiles(found.get(node, ()), plain[made[node]])
    refs = ((p, graph.out(p)) for p in range(len(graph)))
    named = ((p, ref.array, plain[ref.array].key(ref)) for p, ref in refs if ref.array in keys)
    return {p: key for p, array, key in named if key in keys[array]}


def _plain(spec: StoredArray) -> StoredArray:
    """Return an array as it lies in the folder of a run: saved matrices have other keys."""
    return replace(spec, owner="", separator="/")


def _useful(
    graph: Graph, wanted: npt.NDArray[np.bool_], have: npt.NDArray[np.bool_], offered: Iterable[int]
) -> list[int]:
    """Return the tasks among those offered whose tiles would be read, or are results."""
    both = have.copy()
    both[list(offered)] = True
    read = wanted.copy()
    for p in np.flatnonzero(needed_tasks(graph, wanted, both)):
        read[graph.needs_of(int(p))] = True
    return [int(p) for p in np.flatnonzero(read & both & ~have)]


def _take(
    dead: DeadRun, tiles: Mapping[int, str], graph: Graph, arrays: Mapping[str, ArraySpec]
) -> list[int]:
    """Bring tiles to where the run has its own, and return those that are there now."""
    by_array: dict[str, list[int]] = {}
    for p in tiles:
        by_array.setdefault(graph.out(p).array, []).append(p)
    taken: list[int] = []
    for name, tasks in by_array.items():
        spec = stored(arrays, name)
        with (
            closing(open_store(spec.url)) as target,
            closing(open_store(join(dead.url, spec.identity))) as source,
        ):
            bring = partial(_bring, source, target, spec)
            pairs = [(tiles[p], graph.out(p)) for p in tasks]
            if target.reach == Reach.ANYWHERE:
                with Threads(_COPIERS, "wrenla-adopt") as pool:
                    done = list(pool.map(bring, pairs))
            else:
                done = list(map(bring, pairs))
            taken += (p for p, is_there in zip(tasks, done, strict=True) if is_there)
    return taken


def _bring(source: Store, target: Store, spec: StoredArray, tile: tuple[str, TileRef]) -> bool:
    """Move one tile, and return whether it is there."""
    key, ref = tile
    try:
        if isinstance(target, CopyingStore) and type(target) is type(source):
            owner = "" if ref.partial else spec.owner
            if not target.copy_from(source, key, spec.key(ref), owner) and owner:
                return False  # it may be another result's: who makes ours looks at that
        else:
            put_tile(target, spec, ref, source.get(key))
    except KeyError:  # removed since it was listed
        return False
    # Last: a process that dies before this line leaves the tile in two places, after it never in none.
    source.delete(key)
    return True
