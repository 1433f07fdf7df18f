"""Command line: argument parsing and printing only."""

from __future__ import annotations

from typing import Any

import click
import numpy as np

from wrenla.cli import aws as cli_aws
from wrenla.cli import emulator as cli_emulator
from wrenla.cli.clean import clean
from wrenla.cli.map import map_command
from wrenla.cli.params import Address
from wrenla.cli.text import counted, one_line
from wrenla.config import ignored_files, origins, settings
from wrenla.errors import NotAMatrixError, SettingError, WrenlaError
from wrenla.evaluate.stored import needed_tiles, tile_infos
from wrenla.units import format_bytes
from wrenla_handler.stores.base import SAVING
from wrenla_handler.stores.urls import open_store
from wrenla_handler.tiles.grid import absent_tiles
from wrenla_handler.tiles.layout import TileLayout

__all__ = ["main"]

_CHOSEN = {
    "shared_folders": "none",
    "workers": "one for each processor",
    "allowed_mem": "half of what there is",
    "tile": "chosen for each matrix",
    "progress": "on a terminal, if it lasts",
    "record": "none",
    "prices": "those of us-east-1",
}
"""What a setting that was left open stands for."""


class _Commands(click.Group):
    """Command group with one-line errors; exit status 2 for wrong usage, 1 for other failures."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        # Before OSError, which it is one of: click ends quietly when whoever reads our output has gone (`|
        # head`).
        except BrokenPipeError:
            raise
        except SettingError as error:
            raise click.UsageError(one_line(error)) from error
        except (WrenlaError, OSError) as error:
            raise click.ClickException(one_line(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="wrenla")
def main() -> None:
    """Linear algebra on matrices in tiles: look at stored ones, and clear up. And call functions in parallel.

    URL is a folder, file:///folder or s3://bucket/prefix.
    """


for _command in (clean, map_command, *cli_aws.commands, *cli_emulator.commands):
    main.add_command(_command)


@main.command(short_help="Describe the matrix stored at URL, and look for its tiles.")
@click.argument("url", type=Address())
def info(url: str) -> None:
    """Describe the matrix stored at URL, and check that its tiles are there.

    Ends with 1 if there is none, or if tiles are missing or are not of their full size.
    """
    store = open_store(url)
    try:
        try:
            layout = TileLayout.read(store)
        except NotAMatrixError as error:
            tiles = sum("/c/" in key for key in store.list(f"{SAVING}/")) or sum(1 for _ in store.list("c/"))
            also = f" ({counted(tiles, 'tile')} of an unfinished one are there)" if tiles else ""
            raise NotAMatrixError(f"{error}{also}") from None
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
        "shape": _times(grid.shape[:ndim]),
        "dtype": layout.dtype,
        "structure": layout.structure,
        "tiles": f"{_times(grid.tile[:ndim])}, {format_bytes(each)} each",
        "grid": _times(grid.counts[:ndim]),
        **({"absent": f"{counted(absent, 'tile')} without entries"} if absent else {}),
        "there": f"{counted(len(sizes), 'tile')}, {format_bytes(sum(sizes.values()))}",
        "as array": format_bytes(grid.shape[0] * grid.shape[1] * itemsize),
    }
    click.echo(address)
    for name, text in lines.items():
        click.echo(f"  {name:<11}{text}")
    _refuse_bad_tiles(needed, {key: nbytes == each for key, nbytes in sizes.items()})


def _refuse_bad_tiles(needed: set[str], whole: dict[str, bool]) -> None:
    for what, bad in (
        ("missing", sorted(needed - whole.keys())),
        ("of a wrong size", sorted(key for key in needed & whole.keys() if not whole[key])),
    ):
        if bad:
            raise click.ClickException(
                f"{len(bad)} of {len(needed)} tiles are {what}, e.g. {bad[0]}: "
                "copy them again from where they came from, or save the matrix again with overwrite=True"
            )


def _times(lengths: tuple[int, ...]) -> str:
    return " × ".join(map(str, lengths)) or "a number"


@main.command(name="settings", short_help="Show the settings in force and where each comes from.")
def show_settings() -> None:
    """Show the settings in force and where each comes from.

    An environment variable comes before wrenla.toml or [tool.wrenla] in pyproject.toml (of this folder or the
    nearest one above it), and these before wrenla/config.toml in the user's configuration folder. Files that
    others own or may write do not count; they are named at the end.
    """
    now = settings()
    for name, origin in origins().items():
        value = getattr(now, name)
        text = format_bytes(value) if name in ("allowed_mem", "max_compute_bytes") else str(value)
        if value is None or value == "" or (value == 0 and value is not False):
            text = _CHOSEN[name]
        source = f"WRENLA_{name.upper()}" if origin == "environment variable" else origin
        click.echo(f"{name:<18} {text:<36} {source}")
    for file in ignored_files():
        click.echo(f"ignored: {file.path}: {file.why}")
