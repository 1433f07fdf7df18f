"""`wrenla cp`: a matrix from one kind of storage to another."""

from __future__ import annotations

import time
from typing import Any

import click

from wrenla.cli.parts.command import Command, document, told
from wrenla.cli.parts.operands import about, kind_of, operand
from wrenla.cli.parts.params import Address, TileType
from wrenla.cli.parts.results import Output, overwrite_option
from wrenla.cli.parts.running import Running, running_options
from wrenla.cli.parts.text import warnings_in_one_line

__all__ = ["cp"]


@click.command(
    cls=Command,
    short_help="Copy a matrix: .npy, Zarr, folder, S3.",
    examples=(
        "wrenla cp A.npy copy.zarr --tile 512",
        "wrenla cp A.zarr A32.npy --dtype float32",
        "wrenla cp A.npy s3://bucket/A",
    ),
)
@click.argument("source", metavar="SRC", type=Address())
@click.argument("target", metavar="DST", type=Address())
@click.option(
    "--tile",
    type=TileType(),
    metavar="N",
    help="Edge of a tile of the copy, or its rows and columns as 512x256.  [default: chosen, or as stored]",
)
@click.option(
    "--dtype",
    type=click.Choice(["float32", "float64", "complex64", "complex128"]),
    help="Of the copy.  [default: as it is]",
)
@overwrite_option
@running_options
def cp(source: str, target: str, tile: Any, dtype: str | None, overwrite: bool, **running: Any) -> None:
    """Copy a matrix tile by tile: it may be larger than memory.

    SRC is a .npy file, a Zarr array of any layout or a stored matrix. DST is a .npy file if its name ends so,
    else a stored matrix: a Zarr array that any Zarr reader opens, in a folder or on S3. Saved factors stay
    factors. A copy that was killed goes on where it was when the same command runs again.
    """
    where = Running(**running)
    to = Output(target, overwrite, where)
    with where.executor() as executor, warnings_in_one_line() as warned:
        start = time.perf_counter()
        if _is_factor(source):
            if to.is_npy or tile is not None or dtype is not None:
                raise click.UsageError(
                    f"{source}: this is a saved factor, which is copied as it is, to a folder or S3: without "
                    "--tile and --dtype"
                )
            kept = _copied_factor(source, to, executor, where)
        else:
            A = operand(source, executor, tile)
            with about(source):
                A = A if dtype is None else A.astype(dtype)
            kept = to.write(A, executor, where)
        seconds = time.perf_counter() - start
        told(to.line(kept, seconds))
        said = {"source": source, "output": to.document(kept), "seconds": seconds}
        document({"command": "cp", **said, "executor": repr(executor), "warnings": warned})


def _is_factor(source: str) -> bool:
    from wrenla_handler.stores.urls import open_store
    from wrenla_handler.tiles.layout import TileLayout

    if kind_of(source) != "wrenla":
        return False
    store = open_store(source)
    try:
        return bool(TileLayout.read(store).factor)
    finally:
        store.close()


def _copied_factor(source: str, to: Output, executor: Any, running: Running) -> Any:
    import wrenla as wl

    wl.open_factor(source).save(to.address, executor, overwrite=to.overwrite, **running.options)
    return wl.open(to.address)
