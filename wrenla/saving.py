"""The place of a saved matrix: what may be replaced there, and whether what was opened is still there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

from wrenla.errors import StaleMatrixError
from wrenla.plan.canonical import topological
from wrenla.plan.expression import Leaf, Node
from wrenla_handler.layout import METADATA_KEY, UNFINISHED, TileLayout
from wrenla_handler.stores import Store, open_store
from wrenla_handler.task import ArraySpec

__all__ = ["check_current", "clear", "make_room"]

_OURS = re.compile(rf"{re.escape(METADATA_KEY)}|{re.escape(UNFINISHED)}|c(/\d+)*|partial/.+")
"""What belongs to a matrix. Whatever else lies at its address, other matrices say, is left alone."""


def make_room(store: Store, result: Node, overwrite: bool) -> None:
    """See that nothing but a half-done copy of the same result is at an address.

    Raises
    ------
    FileExistsError
        There is something else that must not, or may not, be replaced.
    ValueError
        It is needed to compute the result.
    """
    mark = json.dumps({"result": result.key}).encode()
    there = next(store.list(), None)
    if there is not None:
        is_matrix, is_unfinished = store.exists(METADATA_KEY), store.exists(UNFINISHED)
        if is_unfinished and not is_matrix and bytes(store.get(UNFINISHED)) == mark:
            return
        if not overwrite:
            what = "a matrix" if is_matrix else f"something ({there})"
            raise FileExistsError(f"{store.url}: there is {what} already; overwrite=True replaces it")
        if not (_is_array(store) if is_matrix else is_unfinished):
            raise FileExistsError(
                f"{store.url}: what is there ({there}) is not a matrix; overwrite=True replaces matrices only"
            )
        if any(_same_place(spec.url, store.url) for spec in _stored([result])):
            raise ValueError(
                f"{store.url}: the matrix to be replaced is needed to compute the new one; save it elsewhere"
            )
        clear(store)
    store.put(UNFINISHED, mark)


def clear(store: Store) -> None:
    """Remove a matrix, finished or not, and nothing else."""
    store.delete(METADATA_KEY)  # from here on there is no matrix
    for key in [key for key in store.list() if _OURS.fullmatch(key)]:
        store.delete(key)


def check_current(nodes: Iterable[Node]) -> None:
    """Refuse matrices that were overwritten since they were opened: some of their tiles may be in a cache.

    Raises
    ------
    StaleMatrixError
    NotAMatrixError
        One was removed.
    """
    for spec in _stored(nodes):
        store = open_store(spec.url)
        try:
            found = TileLayout.read(store)
        finally:
            store.close()
        if found.generation != spec.identity and not found.foreign:
            raise StaleMatrixError(
                f"{spec.url}: the matrix was overwritten since it was opened: open it again"
            )


def _stored(nodes: Iterable[Node]) -> Iterable[ArraySpec]:
    """Yield what is saved under an address; persisted results, which nobody can overwrite, have owners."""
    for node in topological(nodes):
        if isinstance(node.op, Leaf) and node.op.spec.kind == "tiles" and not node.op.keepers:
            yield node.op.spec


def _is_array(store: Store) -> bool:
    try:
        meta = json.loads(bytes(store.get(METADATA_KEY)))
    except ValueError:
        return False
    return isinstance(meta, dict) and meta.get("node_type") == "array"


def _same_place(url: str, other: str) -> bool:
    """Tell whether two addresses are one, also if one of them goes through a symbolic link."""
    parts, others = urlsplit(url), urlsplit(other)
    if parts.scheme == others.scheme == "file":
        return os.path.realpath(unquote(parts.path)) == os.path.realpath(unquote(others.path))
    return url == other
