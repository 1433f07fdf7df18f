"""Operands of commands: matrices in .npy files, in Zarr arrays, and stored by wrenla."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from wrenla.cli.parts.text import one_line

if TYPE_CHECKING:
    from wrenla.executors.base import Executor
    from wrenla.matrices.creation import Tile
    from wrenla.matrices.matrix import BigMatrix

__all__ = ["Kind", "about", "kind_of", "local_path", "nearest", "operand"]

Kind = Literal["npy", "wrenla", "zarr"]

_OF_ZARR = ("zarr.json", ".zarray", ".zgroup")
"""Objects that say that there is a Zarr array or group."""


def local_path(address: str) -> str:
    """Return the path that an address names, "" if it is on S3 or in memory."""
    from wrenla_handler.stores.urls import folder_of

    return folder_of(address) or ("" if "://" in address else os.path.expanduser(address))


def kind_of(address: str) -> Kind:
    """Return the kind of matrix at an address.

    Raises
    ------
    click.UsageError
        There is nothing.
    NotAMatrixError
        There is no matrix; the message says what else there is, if it is known.
    """
    from wrenla.errors import MetadataError, NotAMatrixError
    from wrenla_handler.stores.urls import open_store
    from wrenla_handler.tiles.layout import TileLayout

    if path := local_path(address):
        try:
            mode = os.stat(path).st_mode
        except FileNotFoundError:
            raise click.UsageError(f"{address}: there is no such file or folder{nearest(path)}") from None
        if not stat.S_ISDIR(mode):
            return "npy"  # or else opening it says what it is instead
    elif address.lower().endswith(".npy"):
        raise click.UsageError(
            f"{address}: .npy files are read from disks only: fetch it by `aws s3 cp {address} .`"
        )
    store = open_store(address)
    try:
        TileLayout.read(store)
        return "wrenla"
    except (MetadataError, NotAMatrixError):
        if any(store.exists(name) for name in _OF_ZARR):
            return "zarr"
        raise
    finally:
        store.close()


def operand(address: str, executor: Executor, tile: Tile = None) -> BigMatrix:
    """Return the matrix at an address; tiles of another size are made where they are used.

    Raises
    ------
    click.UsageError, NotAMatrixError
        As from `kind_of`.
    ValueError, TypeError
        It is an array that cannot be a matrix.
    """
    with about(address):
        return _operand(address, executor, tile)


@contextmanager
def about(address: str) -> Iterator[None]:
    """Say in errors of the block which matrix they are about."""
    from wrenla.errors import MetadataError

    try:
        yield
    except json.JSONDecodeError as error:
        raise MetadataError(
            f"{address}: its description is damaged, it is not JSON ({one_line(error)}): copy it again from "
            "where it came from"
        ) from error
    except (TypeError, ValueError) as error:
        text = one_line(error)
        if type(error) not in (TypeError, ValueError) or address in text:
            raise
        raise type(error)(f"{address}: {text}") from error


def _operand(address: str, executor: Executor, tile: Tile) -> BigMatrix:
    import wrenla as wl
    from wrenla.matrices.zarr_copies import read_zarr

    match kind_of(address):
        case "npy":
            return wl.from_npy(local_path(address), tile)
        case "zarr":
            try:
                return read_zarr(address, tile, executor=executor)
            except wl.errors.NotAMatrixError as error:
                text = one_line(error).replace("wl.from_zarr(group['", f"{address}/").replace("'], url)", "")
                raise wl.errors.NotAMatrixError(text) from error
        case _:
            A = wl.open(address)
            return A if tile is None else A.rechunk(tile)


def nearest(path: str) -> str:
    """Return a hint: what in the same folder has a similar name."""
    import difflib

    folder, name = os.path.split(path)
    try:
        near = difflib.get_close_matches(name, os.listdir(folder or "."), 1)
    except OSError:
        return ""
    return f"; did you mean {str(Path(folder) / near[0])!r}?" if near else ""
