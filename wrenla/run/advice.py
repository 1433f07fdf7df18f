"""Advice for a failed run: where finished tiles are, how to resume and to clean."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from wrenla.planning.expression import Node
from wrenla.planning.plan import Plan
from wrenla.run.persisted import folders_of
from wrenla.workspace.workspace import Workspace
from wrenla_handler.stores.base import Reach
from wrenla_handler.stores.urls import reach_of

__all__ = ["advice"]


def advice(plan: Plan, nodes: Iterable[Node], saved: Sequence[str], folder: Workspace) -> str:
    """Return the advice for a failed run, and keep the persisted tiles that it has read.

    Parameters
    ----------
    plan : Plan
    nodes : iterable of Node
        What it reads.
    saved : sequence of str
        Addresses of its results.
    folder : Workspace
    """
    in_process = reach_of(folder.root) == Reach.PROCESS
    persisted = [] if in_process else [other for other in folders_of(nodes) if other is not folder]
    for other in persisted:
        other.resumable = True
    urls = list(saved)
    if folder.is_useful and len({task.out.array for task in plan.graph.tiles.tasks}) > len(urls):
        urls.append(folder.url)  # as some are on the way to the results
    urls += sorted({other.url for other in persisted if other.is_useful})
    where = f"finished tiles are kept in {' and '.join(urls)}"
    if in_process:
        return f"{where} until this process ends\n  to resume: compute the same again"
    in_memory = "in memory, as the run is short: set WRENLA_STORE to a folder to keep them"
    if not urls:
        return f"no tiles are kept; they were {in_memory}\n  to begin again: run the same script again"
    return "\n".join(
        [
            where,
            *([] if folder.room is None else [f"  except those {in_memory}"]),
            "  to resume: run the same script again",
            f"  to clean:  wrenla clean --store {shlex.quote(folder.root)}",
        ]
    )
