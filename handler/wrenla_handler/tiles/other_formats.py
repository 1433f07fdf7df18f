"""Foreign formats found where a matrix was expected: name them, and the function that reads them."""

from __future__ import annotations

import os
from contextlib import closing, suppress

from wrenla_handler.errors import StoreError
from wrenla_handler.stores.base import Store
from wrenla_handler.stores.urls import folder_of, open_store

__all__ = ["in_place_of_a_matrix"]

_READERS = {
    ".npy": "wl.from_npy({path!r})",
    ".npz": 'wl.from_array(np.load({path!r})["name"])',
    **dict.fromkeys((".h5", ".hdf5", ".nc", ".nc4"), 'wl.from_zarr(h5py.File({path!r})["name"], url)'),
    **dict.fromkeys((".csv", ".txt", ".tsv"), "wl.from_array(np.loadtxt({path!r}))"),
}
"""What makes a matrix of a file, by the end of its name."""


def in_place_of_a_matrix(store: Store) -> str:
    """Return what is at an address, and the function that reads it; "" if unknown.

    Examples
    --------
    >>> theirs = open_store("memory://others/v2")
    >>> theirs.put(".zarray", b"{}")
    True
    >>> in_place_of_a_matrix(theirs)
    "this is a Zarr v2 array: wl.from_zarr('memory://others/v2', url) copies it into a stored matrix"
    """
    with suppress(StoreError):
        path = folder_of(store.url) or store.url
        if _is_object(store.url):
            reader = _READERS.get(os.path.splitext(path)[1].lower())
            how = f"take {reader.format(path=path)}" if reader else "read it, and take wl.from_array"
            return f"this is a file, not a folder of tiles: {how}"
        if store.exists(".zarray"):
            return f"this is a Zarr v2 array: wl.from_zarr({path!r}, url) copies it into a stored matrix"
        if store.exists(".zgroup"):
            name = f"{path}/NAME"
            return f"this is a Zarr v2 group: wl.from_zarr({name!r}, url) copies one of the arrays in it"
    return ""


def _is_object(url: str) -> bool:
    folder = folder_of(url)
    if folder:
        return os.path.isfile(folder)
    above, _, name = url.rpartition("/")
    if above.count("/") < 2 or above.endswith("//"):
        return False
    with closing(open_store(above)) as store:
        return store.exists(name)
