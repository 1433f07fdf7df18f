"""`wrenla info` and `wrenla ls`: matrices that are stored, in files, folders and on S3."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from wrenla.cli.parts.aws_options import function_options, place_options, session
from wrenla.cli.parts.command import Command, document, told
from wrenla.cli.parts.files import why_no_folder
from wrenla.cli.parts.operands import about, kind_of, local_path
from wrenla.cli.parts.params import Address
from wrenla.cli.parts.text import in_words_of_options, one_line, times
from wrenla.units import counted, format_bytes

if TYPE_CHECKING:
    from wrenla.aws.inventory import StoredMatrix
    from wrenla_handler.stores.base import Store

__all__ = ["commands"]

_NAMED = 10
"""Arrays of a group that are named."""


@click.command(
    cls=Command,
    short_help="Describe the matrix at an address, and look for its tiles.",
    examples=("wrenla info A.npy", "wrenla info K.zarr --json", "wrenla info s3://bucket/A"),
)
@click.argument("url", type=Address())
def info(url: str) -> None:
    """Describe the matrix at an address: a .npy file, a Zarr array, or a matrix stored by wrenla.

    Of a stored matrix it checks that its tiles are there. Ends with 1 if what is there is no matrix, or if
    tiles are missing or are not of their full size.
    """
    try:
        kind = kind_of(url)
    except FileNotFoundError as error:
        raise type(error)(f"{error}{_unfinished(url)}") from None
    match kind:
        case "npy":
            _show(_of_npy(url))
        case "zarr":
            _show(_of_zarr(url))
        case _:
            _show_stored(url)


def _show(found: Mapping[str, Any]) -> None:
    """Print what is known of a matrix."""
    lines = {
        "kind": found["kind"],
        "shape": times(found["shape"]),
        "dtype": found["dtype"],
        **{name: found[name] for name in ("structure", "factor", "order", "chunks") if found.get(name)},
        "as array": format_bytes(found["nbytes"]),
    }
    told(found["url"])
    for name, text in lines.items():
        told(f"  {name:<11}{times(text) if isinstance(text, list) else text}")
    document(found)


def _of_npy(url: str) -> dict[str, Any]:
    import wrenla as wl
    from wrenla.interchange.from_npy import mapped

    array = mapped(local_path(url))
    order = "Fortran" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    if array.ndim not in (1, 2):
        raise wl.errors.NotAMatrixError(
            f"{url}: an array of {array.ndim} dimensions is no matrix: {array.shape}"
        )
    if array.dtype.kind not in "biufc":
        raise wl.errors.NotAMatrixError(f"{url}: an array of {array.dtype} is no matrix of numbers")
    facts = {"shape": list(array.shape), "dtype": str(array.dtype), "nbytes": array.nbytes}
    return {"url": url, "kind": "npy", **facts, "order": order}


def _of_zarr(url: str) -> dict[str, Any]:
    import wrenla as wl
    from wrenla.matrices.zarr_copies import opened_zarr

    with about(url):
        array = opened_zarr(url)
    if not hasattr(array, "shape"):
        found = array.members(max_depth=None)
        names = sorted(str(name) for name, each in found if hasattr(each, "shape"))
        if not names:
            raise wl.errors.NotAMatrixError(f"{url}: this is a group, and there are no arrays in it")
        raise wl.errors.NotAMatrixError(
            f"{url}: this is a group of arrays: take one of them, as {url}/{names[0]}; there is: "
            f"{', '.join(names[:_NAMED])}{', …' if len(names) > _NAMED else ''}"
        )
    facts = {"shape": list(array.shape), "dtype": str(array.dtype), "nbytes": array.nbytes}
    chunks = list(array.chunks)
    return {"url": url, "kind": "zarr", **facts, "chunks": chunks, "format": array.metadata.zarr_format}


def _unfinished(url: str) -> str:
    """Return how many tiles there are of a matrix that was not finished, in words."""
    from wrenla_handler.stores.base import SAVING
    from wrenla_handler.stores.urls import open_store

    store = open_store(url)
    try:
        tiles = sum("/c/" in key for key in store.list(f"{SAVING}/")) or sum(1 for _ in store.list("c/"))
    finally:
        store.close()
    return f" ({counted(tiles, 'tile')} of an unfinished one are there)" if tiles else ""


def _show_stored(url: str) -> None:
    """Print the description of a stored matrix, and refuse it if tiles are missing."""
    import numpy as np

    from wrenla.evaluate.stored import needed_tiles, tile_infos
    from wrenla_handler.stores.urls import open_store
    from wrenla_handler.tiles.grid import absent_tiles
    from wrenla_handler.tiles.layout import TileLayout

    store = open_store(url)
    try:
        layout = TileLayout.read(store)
        needed = needed_tiles(layout)
        sizes = {info.key: info.nbytes for info in tile_infos(store, layout)}
        address = store.url
    finally:
        store.close()
    grid, ndim = layout.grid, layout.ndim
    itemsize = np.dtype(layout.dtype).itemsize
    each = grid.tile[0] * grid.tile[1] * itemsize
    absent = int(absent_tiles(layout.absent, grid.counts).sum())
    lines = {
        "shape": times(grid.shape[:ndim]),
        "dtype": layout.dtype,
        "structure": layout.structure,
        **({"factor": layout.factor} if layout.factor else {}),
        "tiles": f"{times(grid.tile[:ndim])}, {format_bytes(each)} each",
        "grid": times(grid.counts[:ndim]),
        **({"absent": f"{counted(absent, 'tile')} without entries"} if absent else {}),
        "there": f"{counted(len(sizes), 'tile')}, {format_bytes(sum(sizes.values()))}",
        "as array": format_bytes(grid.shape[0] * grid.shape[1] * itemsize),
    }
    told(address)
    for name, text in lines.items():
        told(f"  {name:<11}{text}")
    missing = sorted(needed - sizes.keys())
    wrong = sorted(key for key in needed & sizes.keys() if sizes[key] != each)
    document(
        {
            "url": address,
            "kind": "wrenla",
            "shape": list(grid.shape[:ndim]),
            "dtype": layout.dtype,
            "nbytes": grid.shape[0] * grid.shape[1] * itemsize,
            "structure": layout.structure,
            "factor": layout.factor or None,
            "tile": list(grid.tile[:ndim]),
            "grid": list(grid.counts[:ndim]),
            "tiles": len(sizes),
            "stored_bytes": sum(sizes.values()),
            "absent_tiles": absent,
            "missing_tiles": missing,
            "wrong_tiles": wrong,
        }
    )
    _refuse_bad_tiles(len(needed), {"missing": missing, "of a wrong size": wrong})


def _refuse_bad_tiles(needed: int, found: Mapping[str, list[str]]) -> None:
    for what, bad in found.items():
        if bad:
            click.echo(
                f"Error: {len(bad)} of {needed} tiles are {what}, e.g. {bad[0]}: "
                "copy them again from where they came from, or save the matrix again with overwrite=True",
                err=True,
            )
            raise click.exceptions.Exit(1)  # what is wrong stands in the document


@click.command(
    name="ls",
    cls=Command,
    short_help="List the matrices in the bucket, or below URL.",
    examples=("wrenla ls .", "wrenla ls s3://bucket/prefix --json", "wrenla ls"),
)
@function_options
@place_options
@click.argument("url", required=False, type=Address())
def ls(url: str | None, profile: str | None, region: str | None, **options: Any) -> None:
    """List the matrices in the deployment's bucket, or below URL, which may be a folder too.

    In a folder .npy files are listed as well.
    """
    from wrenla.aws.inventory import stored_matrices

    store = _store(url, profile, region, options)
    try:
        found = [_entry(matrix, store) for matrix in stored_matrices(store)]
    finally:
        store.close()
    if url is not None and (folder := local_path(url)):
        found = sorted([*found, *_npy_files(folder)], key=lambda entry: str(entry["name"]))
    if not found:
        told(f"{store.url}: no matrices")
    width = max((len(entry["name"]) for entry in found), default=0)
    for entry in found:
        told(f"{entry['name'] or '.':<{width}}  {_description(entry)}")
    document({"url": store.url, "matrices": found})


def _store(url: str | None, profile: str | None, region: str | None, options: dict[str, Any]) -> Store:
    """Open what to list, with the credentials that the options name."""
    from wrenla.aws.connect import connect
    from wrenla.aws.error_messages import DeployError, translating
    from wrenla.aws.spec import DeploySpec
    from wrenla_handler.stores.s3.store import S3Store
    from wrenla_handler.stores.urls import open_store

    if url is not None and not url.startswith("s3://"):
        store = open_store(url)
        if why := why_no_folder(store, url):
            raise click.UsageError(why)
        return store
    user = session(profile, region)
    if url is None:
        try:
            with translating():
                clients, resolved = connect(user, DeploySpec(**options))
        except DeployError as error:
            hint = "matrices that are elsewhere are listed by `wrenla ls FOLDER` or `wrenla ls s3://bucket/prefix`"
            raise DeployError(f"{error}; {hint}") from error.__cause__
        return S3Store(resolved.bucket, resolved.prefix, client=clients.s3)
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    return S3Store(bucket, prefix.rstrip("/"), client=user.client("s3"))


def _entry(matrix: StoredMatrix, store: Store) -> dict[str, Any]:
    """Return what is listed of a stored matrix."""
    layout = matrix.layout
    if layout is None:
        why = in_words_of_options(matrix.why)
        return {"name": matrix.name, "kind": "zarr", "why": why, **_of_others(matrix, store)}
    return {
        "name": matrix.name,
        "kind": "wrenla",
        "shape": list(layout.grid.shape[: layout.ndim]),
        "dtype": layout.dtype,
        "structure": layout.structure,
        "tiles": matrix.tiles,
        "stored_bytes": matrix.nbytes,
    }


def _of_others(matrix: StoredMatrix, store: Store) -> dict[str, Any]:
    """Return what is listed of a Zarr array of another layout, which commands read, too, or of a group."""
    try:
        meta = json.loads(bytes(store.get(f"{matrix.name}/zarr.json".lstrip("/"))))
        if meta["node_type"] == "group":
            return {"kind": "group"}
        return {"shape": [int(length) for length in meta["shape"]], "dtype": str(meta["data_type"])}
    except (ValueError, KeyError, TypeError):
        return {}  # why stands there already


def _npy_files(folder: str) -> Iterator[dict[str, Any]]:
    """Yield what is listed of the .npy files in a folder and those below it."""
    from wrenla.interchange.from_npy import mapped

    for place, _, names in os.walk(folder):
        for file in names:
            path = os.path.join(place, file)
            name = os.path.relpath(path, folder)
            if not file.endswith(".npy"):
                continue
            try:
                array = mapped(path)
            except (OSError, TypeError) as error:
                yield {"name": name, "kind": "npy", "why": one_line(error)}
                continue
            facts = {"shape": list(array.shape), "dtype": str(array.dtype), "stored_bytes": array.nbytes}
            yield {"name": name, "kind": "npy", **facts}


def _description(entry: dict[str, Any]) -> str:
    if entry["kind"] == "group":
        return "a group of arrays"
    if "shape" not in entry:
        return f"not readable: {entry['why']}"
    kind = {"npy": ".npy", "zarr": "Zarr array of another layout"}.get(entry["kind"])
    parts = [times(entry["shape"]), entry["dtype"], entry.get("structure") or kind]
    if "tiles" in entry:
        parts.append(counted(entry["tiles"], "tile"))
    if "stored_bytes" in entry:
        parts.append(format_bytes(entry["stored_bytes"]))
    return "  ".join(parts)


commands: Mapping[str, click.Command] = {"info": info, "ls": ls}
