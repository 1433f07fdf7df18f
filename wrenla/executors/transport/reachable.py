"""Reachability: find arguments that a worker cannot reach when they are pickled, and name them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from wrenla.config import settings
from wrenla.errors import ReachError
from wrenla.executors.transport.local_modules import NamingPickler
from wrenla.executors.transport.unpicklable import blame
from wrenla_handler.calls.objects import StoredObject
from wrenla_handler.serialize.blobs import dump
from wrenla_handler.stores.base import Reach
from wrenla_handler.stores.urls import reach_of

__all__ = ["ReachingPickler", "note_argument"]


_reach_of = functools.lru_cache(maxsize=64)(reach_of)

_UNSEEN = {
    Reach.HOST: "worker processes cannot see the memory of this one: keep the objects in a folder or on S3, "
    'or take LocalExecutor(kind="thread")',
    Reach.SHARED: "workers on other machines cannot see it: keep the objects in a folder that they share "
    "(and say so by WRENLA_SHARED_FOLDERS) or on S3",
    Reach.ANYWHERE: "functions on AWS cannot see it: copy the objects to S3, and take "
    'wl.objects("s3://bucket/prefix")',
}


class ReachingPickler(NamingPickler):
    """A `NamingPickler` that refuses readers of objects which the workers cannot see, however deep they are.

    Parameters
    ----------
    reach : Reach
        How far away the workers are.
    reach_of : callable
        Returns how far away an address is seen, as that of the executor.
    """

    def __init__(
        self, file: Any, *, reach: Reach, reach_of: Callable[[str, str], Reach], **more: Any
    ) -> None:
        super().__init__(file, **more)
        self._reach = reach
        self._reach_of = reach_of

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, StoredObject):
            offered = _reach_of(obj.root)
            if offered < self._reach:
                # only now, as reading the settings for each of many inputs takes long
                offered = self._reach_of(obj.root, settings().shared_folders)
            if offered < self._reach:
                raise ReachError(f"{obj.url}: {_UNSEEN[self._reach]}")
        return super().reducer_override(obj)


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
