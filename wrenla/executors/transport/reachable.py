"""Reachability: find arguments that a worker cannot reach when they are pickled, and name them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from wrenla.errors import ReachError
from wrenla.executors.transport.local_modules import NamingPickler
from wrenla.executors.transport.unpicklable import blame
from wrenla_handler.calls.objects import StoredObject
from wrenla_handler.serialize.blobs import dump
from wrenla_handler.stores import Reach, open_store

__all__ = ["ReachingPickler", "note_argument"]


class ReachingPickler(NamingPickler):
    """A `NamingPickler` that refuses readers of objects which the workers cannot see, however deep they are.

    Parameters
    ----------
    reach : {"process", "host", "anywhere"}
        Where the workers are.
    """

    def __init__(self, file: Any, *, reach: Reach, **more: Any) -> None:
        super().__init__(file, **more)
        self._reach = reach

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, StoredObject):
            _check_seen(obj, self._reach)
        return super().reducer_override(obj)


def _check_seen(reader: StoredObject, reach: Reach) -> None:
    offered = _reach_of(reader.root)
    if reach == "anywhere" and offered != "anywhere":
        raise ReachError(
            f"{reader.url}: functions on AWS cannot see it: copy the objects to S3, and take "
            'wl.objects("s3://bucket/prefix")'
        )
    if reach == "host" and offered == "process":
        raise ReachError(
            f"{reader.url}: worker processes cannot see the memory of this one: keep the objects in a folder "
            'or on S3, or take LocalExecutor(kind="thread")'
        )


@functools.lru_cache(maxsize=64)
def _reach_of(root: str) -> Reach:
    store = open_store(root)
    try:
        return store.reach
    finally:
        store.close()


def note_argument(
    error: Exception, positional: Sequence[Any], keywords: Mapping[str, Any], *, chunk: bool
) -> None:
    """Note on an error which of the arguments it was that cannot be pickled.

    Parameters
    ----------
    error : Exception
        What pickling all of them has raised.
    positional, keywords : sequence, mapping
        The arguments of a call.
    chunk : bool
        They are those of a `Chunk`: a list of inputs, each of them a tuple of arguments.
    """
    if isinstance(error, ReachError):  # which names the object
        return
    if chunk:
        named = [
            (f"argument {n} of input {k} of the chunk", value)
            for k, each in enumerate(positional[0], 1)
            for n, value in enumerate(each, 1)
        ]
    else:
        named = [(f"argument {n}", value) for n, value in enumerate(positional, 1)]
        named += [(f"argument {name!r}", value) for name, value in keywords.items()]
    for name, value in named:
        try:
            dump(value)
        except Exception:
            error.add_note(blame(name, value))
            return
