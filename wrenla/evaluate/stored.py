"""Stored matrices as data: the name of their content, and whether it is still the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing

from wrenla.errors import StaleMatrixError
from wrenla.planning.canonical import topological
from wrenla.planning.expression import Leaf, Node
from wrenla_handler.stores.base import ObjectInfo, Store
from wrenla_handler.stores.urls import open_store
from wrenla_handler.tiles.arrays import StoredArray
from wrenla_handler.tiles.grid import absent_tiles
from wrenla_handler.tiles.layout import METADATA_KEY, TileLayout

__all__ = ["check_current", "is_whole", "needed_tiles", "stored_leaves", "stored_spec", "tile_infos"]


def stored_spec(store: Store, layout: TileLayout) -> StoredArray:
    """Describe a stored matrix.

    Its content is named by its generation, which each `save` makes anew, and by the state of every object
    that is there: other software can change tiles without another generation, and a copy has the same one.
    """
    state = hashlib.sha256()
    infos = [*store.scan(METADATA_KEY), *tile_infos(store, layout)]
    for info in infos:
        state.update(f"{info.key} {info.nbytes} {info.etag}\n".encode())
    identity = f"{layout.generation} {state.hexdigest()[:32]}"
    return StoredArray(
        layout.grid,
        layout.dtype,
        layout.ndim,
        identity,
        store.url,
        separator=layout.separator,
        absent=layout.absent,
    )


def tile_infos(store: Store, layout: TileLayout) -> Iterator[ObjectInfo]:
    """Yield what a listing tells of the tiles of a stored matrix."""
    first = layout.key(0, 0)
    prefix = first[:2] if layout.ndim else first
    yield from (info for info in store.scan(prefix) if layout.ndim or info.key == first)


def needed_tiles(layout: TileLayout) -> set[str]:
    """Return the keys of the tiles that reading a matrix needs."""
    rows, cols = layout.grid.counts
    absent = absent_tiles(layout.absent, layout.grid.counts)
    pairs = ((i, j) for i in range(rows) for j in range(cols) if not absent[i, j])
    match layout.structure:
        case "general":
            return {layout.key(i, j) for i, j in pairs}
        case "upper":
            return {layout.key(i, j) for i, j in pairs if i <= j}
        case _:  # of a Hermitian matrix only the lower tiles are read
            return {layout.key(i, j) for i, j in pairs if i >= j}


def is_whole(store: Store, layout: TileLayout) -> bool:
    """Tell whether every tile of a stored matrix is there, in its full size."""
    spec = StoredArray(layout.grid, layout.dtype)
    whole = {info.key for info in tile_infos(store, layout) if info.nbytes == spec.object_bytes}
    return needed_tiles(layout) <= whole


def check_current(nodes: Sequence[Node]) -> None:
    """Refuse stored matrices that are not as they were opened. Asked before a run and at its end.

    Raises
    ------
    StaleMatrixError
    NotAMatrixError
        One was removed.
    """
    opened: dict[str, set[str]] = {}
    for spec in stored_leaves(nodes):  # of one address there may be an old handle and a new one
        opened.setdefault(spec.url, set()).add(spec.identity)
    for url, identities in opened.items():
        with closing(open_store(url)) as store:
            layout = TileLayout.read(store)
            now = stored_spec(store, layout).identity
        for identity in identities - {now}:
            what = "changed" if layout.generation == identity.partition(" ")[0] else "overwritten"
            raise StaleMatrixError(f"{url}: the matrix was {what} since it was opened: open it again")


def stored_leaves(nodes: Iterable[Node]) -> Iterator[StoredArray]:
    """Yield what is saved under an address; persisted results, which nobody can overwrite, have owners."""
    for node in topological(nodes):
        if isinstance(node.op, Leaf) and isinstance(node.op.spec, StoredArray) and not node.op.keepers:
            yield node.op.spec
