"""Saving: claim an address, write, and replace the old matrix when the new one is whole.

Nothing of a new matrix touches the old one before its description, the last object written, takes the place
of the old description in one step. Until then its tiles lie beside: on this machine in a folder of their own,
from where they are moved at the end; on S3, where nothing can be moved, under keys with the other separator,
each with the name of its owner. A process that was taken for dead meets nobody else's tiles. See ADR 9.
"""

from __future__ import annotations

import logging
import os
import re
import uuid
from collections.abc import Sequence
from dataclasses import replace

from wrenla.errors import MetadataError, NotAMatrixError, SaveConflictError, StoreError
from wrenla.evaluate.saved_tiles import clear_up, delete, flat, in_place_of, move, tiles_of, unfinished
from wrenla.evaluate.stored import is_whole, stored_leaves
from wrenla.planning.expression import Node
from wrenla.run.execute import Placed
from wrenla.workspace.lease import Lease, Standing, is_free, lease_keys, standing
from wrenla.workspace.ownership import is_matrix_folder, is_unfinished
from wrenla_handler.stores.base import LEASE, RUNS, SAVING, MovingStore, OwningStore, Store
from wrenla_handler.stores.urls import folder_of, join
from wrenla_handler.tiles.layout import (
    METADATA_KEY,
    NUMBER_KEY,
    TILE_KEYS,
    Separator,
    TileLayout,
    is_ours,
    other_separator,
    owned_folder,
)

__all__ = [
    "CLAIM",
    "AlreadySaved",
    "Claim",
    "check_address",
    "claim",
    "layout_of",
    "note_of",
    "saved_already",
]

logger = logging.getLogger("wrenla.run")

CLAIM = f"{SAVING}/{LEASE}"

_ATTEMPTS = 5
"""How often an address is looked at again that somebody else changes meanwhile."""


class AlreadySaved(Exception):
    """The result is there already, whole: nothing is left to do."""


def check_address(store: Store) -> None:
    """Refuse to save inside the places that wrenla itself clears up, also if links lead there."""
    folder = folder_of(store.url)
    path = os.path.realpath(folder) if folder else store.url
    for folder in (RUNS, SAVING):
        if f"/{folder}/" in f"{path}/":
            raise ValueError(
                f"{store.url}: {folder} is for what wrenla removes by itself; save the matrix elsewhere"
            )


def saved_already(store: Store, wanted: TileLayout) -> TileLayout | None:
    """Return the description of a stored matrix if it is the wanted result, and whole."""
    try:
        layout = TileLayout.read(store)
    except (NotAMatrixError, MetadataError):
        return None
    same = (layout.result, layout.factor) == (wanted.result, wanted.factor)
    return layout if same and is_whole(store, layout) else None


def claim(store: Store, result: str, inputs: Sequence[Node], layout: TileLayout, overwrite: bool) -> Claim:
    """Take an address, so that nobody else saves there until the claim is given back.

    Parameters
    ----------
    store : Store
    result : str
        Name of what is to be saved.
    inputs : sequence of Node
        What it is made of.
    layout : TileLayout
    overwrite : bool

    Raises
    ------
    SaveConflictError
        Another live process saves there.
    FileExistsError
        There is something else that must not, or may not, be replaced.
    ValueError
        What would be replaced is needed to compute the result.
    AlreadySaved
        It is there, since somebody else has just saved it.
    """
    for _ in range(_ATTEMPTS):
        old, found = _description(store), standing(store, CLAIM)
        if not is_free(store, CLAIM, found):
            raise SaveConflictError(
                f"{store.url}: {found} is saving a matrix there; wait until it has ended, or end it"
            )
        note = note_of(found)
        if found is not None and old is not None and note.get("owner") == old.generation:
            # it was saved, and killed before it could clear up
            if not clear_up(store, old, layout_of(note.get("old", ""))):
                raise StoreError(f"{store.url}: what the matrix there has replaced cannot be removed")
            _remove_leases(store, found.number)
            continue
        _check_free(store, result, inputs, layout, overwrite, old, found, note)
        same = note.get("result") == result
        separator = _separator(store, old, note)
        owner = note["owner"] if same else uuid.uuid4().hex
        new = replace(layout, generation=owner, separator=separator)
        mine = {"result": result, "owner": owner, "new": new.to_json()}
        if old is not None:
            mine["old"] = old.to_json()
        lease = Lease.succeed(store, CLAIM, found, mine, durable=True)
        if lease is None:
            continue
        claimed = Claim(store, lease, old, new)
        try:
            # Whoever publishes checks its lease first, and ours is the newest: this look is the last one.
            if _description(store) != old:  # somebody has ended between our two looks
                lease.remove()
                continue
            if same:
                claimed.take_back()
            else:
                claimed.clear_others(layout_of(note.get("new", "")))
            return claimed
        except BaseException:
            claimed.release()
            raise
    raise SaveConflictError(f"{store.url}: others save matrices there all the time")


def note_of(found: Standing | None) -> dict[str, str]:
    """Return a lease's note on its save; empty if it is damaged or not ours."""
    note = dict(found.holder.note) if found is not None and found.holder is not None else {}
    new = layout_of(note.get("new", ""))
    known = re.fullmatch("[0-9a-f]{32}", note.get("owner", "")) and new is not None
    return note if known else {}


def layout_of(text: str) -> TileLayout | None:
    """Return the description that a lease has noted, None if it has none."""
    try:
        return TileLayout.of(text)
    except MetadataError:
        return None


class Claim:
    """An address at which this process saves a result.

    Parameters
    ----------
    store : Store
        At the address.
    lease : Lease
    old : TileLayout or None
        What is to be replaced.
    new : TileLayout
        What takes its place; its generation is the owner of the tiles.
    """

    def __init__(self, store: Store, lease: Lease, old: TileLayout | None, new: TileLayout) -> None:
        self.store, self.lease, self._old, self._new = store, lease, old, new
        self._process = os.getpid()
        self._folder = owned_folder(new.generation)
        self._in_place = isinstance(store, OwningStore)

    @property
    def placed(self) -> Placed:
        """Place where tiles are written now."""
        if self._in_place:
            return Placed(self.store.url, self._new.separator, self._new.generation)
        return Placed(join(self.store.url, self._folder))

    def publish(self, **known: str) -> TileLayout:
        """Put the new matrix in the place of the old one, and return its description.

        What is `known` of it now, and was not when it was claimed, goes into its description.

        Raises
        ------
        SaveConflictError
            Somebody has taken this process for dead, and the address over. Nothing was changed.
        """
        layout = replace(self._new, **known)  # type: ignore[arg-type]  # fields of text
        # Before the first tile is moved to its final place: that place may be somebody else's by now.
        self._check_held()
        self._bring_home(layout.separator)
        # A matrix exists as soon as its description does, so every tile must be there before.
        if not is_whole(self.store, layout):
            raise StoreError(
                f"{self.store.url}: tiles that were written are not there any more; nothing was saved. "
                "Run the script again"
            )
        # Again, as moving takes long enough to be taken for dead. Who publishes between this look and the
        # write cannot be seen; where there was no matrix, `create` still lets exactly one win.
        self._check_held()
        if not layout.write(self.store, create=self._old is None):
            raise self._conflict()
        self.clear_up()
        return layout

    def clear_up(self) -> None:
        """Remove what the matrix that is there now does not need, and end the claim."""
        if clear_up(self.store, self._new, self._old):
            self._remove_lease()
        else:
            self.lease.release()  # which says to the next one what to clear up

    def _bring_home(self, separator: Separator) -> None:
        """Move the new tiles to where they are looked for, which is no place of the old ones."""
        if self._in_place:
            return
        folder = f"{self._folder}/c"
        if separator == "/" and isinstance(self.store, MovingStore) and self.store.move_folder(folder, "c"):
            return
        for key in list(self.store.list(folder)):
            tile = key.removeprefix(f"{self._folder}/")
            move(self.store, key, tile if separator == "/" else flat(tile))

    def abandon(self) -> None:
        """Remove the new tiles. The old matrix is as it was."""
        if os.getpid() != self._process:
            return  # a forked child, and its parent goes on
        # What is there now belongs to whoever has taken the place: to remove it would destroy their tiles.
        if not self.lease.still_held():
            self.lease.stop()
            return
        self.clear_others(self._new)
        self._remove_lease()

    def release(self) -> None:
        """Keep the new tiles, so that the same save can continue with them."""
        self.lease.release()

    def take_back(self) -> None:
        """Bring back what a killed save of the same result had moved to its final place."""
        if not self._in_place:
            for key in tiles_of(self.store, self._new):
                tile = key if self._new.separator == "/" else key.replace(".", "/")
                move(self.store, key, f"{self._folder}/{'c' if tile == NUMBER_KEY else tile}")

    def clear_others(self, theirs: TileLayout | None) -> None:
        """Remove what saves of other results have left that were never finished."""
        moved = (
            [] if theirs is None or theirs.separator != self._new.separator else tiles_of(self.store, theirs)
        )
        delete(self.store, [*unfinished(self.store), *moved])

    def _check_held(self) -> None:
        if not self.lease.still_held() or _description(self.store) != self._old:
            raise self._conflict()

    def _conflict(self) -> SaveConflictError:
        return SaveConflictError(
            f"{self.store.url}: another process has taken this one for dead and saves there now; nothing "
            "was saved. Run the script again when that has ended"
        )

    def _remove_lease(self) -> None:
        """Give the place free. Until the objects are gone this process counts as the holder."""
        _remove_leases(self.store, self.lease.number - 1)
        self.lease.remove()
        self.store.remove_empty_folders(is_matrix_folder)


def _remove_leases(store: Store, last: int) -> None:
    for key in lease_keys(store, CLAIM):
        if key.removeprefix(CLAIM)[:8] <= f"{last:08d}":
            store.delete(key)


def _description(store: Store) -> TileLayout | None:
    """Return the description of the matrix at an address, None without one.

    Raises
    ------
    FileExistsError
        There is a description that is not wrenla's, or that is damaged.
    """
    try:
        text = bytes(store.get(METADATA_KEY))
    except KeyError:
        return None
    if not text:
        raise FileExistsError(
            f"{store.url}: {METADATA_KEY} is empty, as after a power cut: remove it and the tiles beside it, "
            "then save again"
        )
    if is_ours(text):
        try:
            return TileLayout.read(store)
        except (MetadataError, NotAMatrixError) as error:
            raise FileExistsError(f"{error}; remove what is there, then save again") from error
    raise FileExistsError(
        f"{store.url}: there is something already, and it is not a matrix that wrenla has written "
        f"({METADATA_KEY}); it is never replaced: remove it yourself, or save elsewhere"
    )


def _check_free(
    store: Store,
    result: str,
    inputs: Sequence[Node],
    wanted: TileLayout,
    overwrite: bool,
    old: TileLayout | None,
    found: Standing | None,
    note: dict[str, str],
) -> None:
    """Refuse what must not, or may not, be replaced."""
    if old is not None:
        if not overwrite:
            if saved_already(store, wanted):
                raise AlreadySaved
            raise FileExistsError(f"{store.url}: there is a matrix already; overwrite=True replaces it")
        if any(same_place(spec.url, store.url) for spec in stored_leaves(inputs)):
            raise ValueError(
                f"{store.url}: the matrix to be replaced is needed to compute the new one; save it elsewhere"
            )
    elif found is not None:
        if note.get("result") != result and not overwrite:
            raise FileExistsError(
                f"{store.url}: there is something already, an unfinished matrix; overwrite=True replaces it, "
                "running its script again finishes it, and `wrenla clean` removes it"
            )
    elif (there := _stranger(store)) is not None:
        if not overwrite:
            raise FileExistsError(f"{store.url}: there is something already ({there}); save it elsewhere")
        raise FileExistsError(
            f"{store.url}: what is there ({there}) is not a matrix; overwrite=True replaces matrices only"
        )


def _stranger(store: Store) -> str | None:
    """Return the key of an object that no late writer of ours can have left, or None."""
    for key in store.list():
        if is_unfinished(key):
            continue
        if (
            not isinstance(store, OwningStore)
            or not re.fullmatch(f"{TILE_KEYS}|{NUMBER_KEY}", key)
            or not store.owner(key)
        ):
            return key
    return None


def _separator(store: Store, old: TileLayout | None, note: dict[str, str]) -> Separator:
    """Choose where tiles go that do not meet those of the old matrix.

    Raises
    ------
    FileExistsError
        There is something that nobody has claimed.
    """
    theirs = layout_of(note.get("new", ""))
    separator: Separator = "/" if old is None else other_separator(old.separator)
    if old is None and theirs is not None:
        return theirs.separator  # there may be tiles of a save that was not finished
    known = set() if theirs is None else set(theirs.keys())
    for key in in_place_of(store, separator) if old is not None else ():
        if key not in known and not (isinstance(store, OwningStore) and store.owner(key)):
            raise FileExistsError(
                f"{store.url}: {key} is in the way, and no tile of the matrix there; remove it first"
            )
    return separator


def same_place(url: str, other: str) -> bool:
    """Tell whether two addresses are one, also if one of them goes through a symbolic link."""
    path, others = folder_of(url), folder_of(other)
    if path and others:
        return os.path.realpath(path) == os.path.realpath(others)
    return url == other
