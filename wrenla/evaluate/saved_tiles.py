"""Tiles of a saved matrix: where they are, how they get there, and which of them go."""

from __future__ import annotations

import logging

from wrenla.errors import StoreError
from wrenla.evaluate.stored import needed_tiles
from wrenla.workspace.ownership import is_matrix_folder, is_unfinished
from wrenla.workspace.workspace import delete_all
from wrenla_handler.stores.base import SAVING, MovingStore, OwningStore, Store
from wrenla_handler.tiles.layout import NUMBER_KEY, Separator, TileLayout

__all__ = ["clear_up", "delete", "flat", "in_place_of", "move", "tiles_of", "unfinished"]

logger = logging.getLogger("wrenla.run")


def unfinished(store: Store) -> list[str]:
    """Return the keys of tiles of saves that were not finished."""
    return [key for key in store.list(f"{SAVING}/") if is_unfinished(key)]


def flat(tile: str) -> str:
    """Return the key of a tile with the other separator."""
    return NUMBER_KEY if tile == "c" else tile.replace("/", ".")


def in_place_of(store: Store, separator: Separator) -> list[str]:
    """Return the keys of what lies where tiles with this separator go."""
    number = "c" if separator == "/" else NUMBER_KEY
    return [*store.list(f"c{separator}"), *([number] if store.exists(number) else [])]


def tiles_of(store: Store, layout: TileLayout) -> list[str]:
    """Return the keys of the tiles of a matrix that are there."""
    return sorted(set(in_place_of(store, layout.separator)) & set(layout.keys()))


def move(store: Store, key: str, new: str) -> None:
    """Give an object another key."""
    if isinstance(store, MovingStore):
        store.move(key, new)
    else:
        # The copy first: a process that dies in between leaves the tile twice, and not nowhere.
        store.put(new, store.get(key))
        store.delete(key)


def delete(store: Store, keys: list[str]) -> None:
    """Remove objects below a matrix, and the folders in which they were."""
    if keys:
        delete_all(store, keys)
        store.remove_empty_folders(is_matrix_folder)


def clear_up(store: Store, now: TileLayout, old: TileLayout | None) -> bool:
    """Remove what the matrix there now does not need: the tiles before it, and intermediates.

    A failure is no reason to fail: the matrix is saved, and the next one that is saved here clears up.
    Returns whether all of it is gone.
    """
    try:
        gone = [] if old is None or old.separator == now.separator else tiles_of(store, old)
        delete(store, [*unfinished(store), *gone, *_late_tiles(store, now)])
    except StoreError as error:
        logger.warning("%s: saved, but not all of the old matrix is removed: %s", store.url, error)
        return False
    return True


def _late_tiles(store: Store, now: TileLayout) -> list[str]:
    """Return tiles of other results in places that the matrix leaves empty, as those above a triangle.

    Readers of ours do not look there, those of other software do.
    """
    if not isinstance(store, OwningStore) or not (now.absent or now.structure in ("lower", "upper")):
        return []
    empty = set(tiles_of(store, now)) - needed_tiles(now)
    return [key for key in empty if store.owner(key) not in ("", now.generation)]
