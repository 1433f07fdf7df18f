"""Reach of a run: whether its workers see data and places, before anything has begun."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wrenla.errors import ReachError
from wrenla.executors.base import Executor
from wrenla.planning.expression import Leaf, Node
from wrenla.planning.plan import Plan
from wrenla_handler.stores.base import Reach
from wrenla_handler.tiles.arrays import HostArray, StoredArray

__all__ = ["check_place", "check_reach"]

_SEEN_BY = {
    Reach.PROCESS: "this process",
    Reach.HOST: "this host",
    Reach.SHARED: "the machines that share it",
}


def check_reach(
    plan: Plan,
    originals: Mapping[str, Node],
    places: Sequence[str],
    root: str,
    shared: str,
    executor: Executor,
) -> None:
    """Refuse data and places that the workers cannot see, before anything has begun."""
    reach, reach_of = executor.reach, executor.reach_of
    away, also = _in_words(reach)
    for url in places:
        check_place(url, shared, executor)
    seen: dict[str, Reach] = {}
    for name in plan.graph.tiles.arrays:
        op = originals[name].op
        if not isinstance(op, Leaf):
            continue
        if isinstance(op.spec, StoredArray):
            seen[op.spec.url] = reach_of(op.spec.url, shared)
        elif isinstance(op.spec, HostArray) and reach == Reach.HOST:  # further away it is brought to them
            seen["an array in the memory of this process"] = Reach.PROCESS
    for what, offered in sorted(seen.items()):
        if offered < reach:
            raise ReachError(
                f"{what} can be seen by {_SEEN_BY[offered]} only, but {away}: save the matrix where they can "
                f'read it, e.g. matrix.save("s3://bucket/name"){also}'
            )
    if reach_of(root, shared) < reach:
        raise ReachError(
            f"{root}: {away} and cannot see the store for temporaries: set it (WRENLA_STORE) to "
            f"s3://bucket/prefix{also}"
        )


def _in_words(reach: Reach) -> tuple[str, str]:
    also = ", or say by WRENLA_SHARED_FOLDERS which folders they share" if reach == Reach.SHARED else ""
    return f"the executor's workers are further away ({reach!s})", also


def check_place(url: str, shared: str, executor: Executor) -> None:
    """Refuse to save where the workers cannot write."""
    away, also = _in_words(executor.reach)
    if executor.reach_of(url, shared) < executor.reach:
        raise ReachError(
            f"{url}: {away} and cannot write there: save the matrix where they can, e.g. "
            f'matrix.save("s3://bucket/name"){also}, or compute it here: executor=wrenla.LocalExecutor()'
        )
