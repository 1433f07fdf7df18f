"""The command line: argument parsing and printing only."""

from __future__ import annotations

import re
from typing import Any

import click
import numpy as np
from dask.utils import format_bytes, format_time

from wrenla import cli_aws, cli_sandbox
from wrenla.cli_map import map_command
from wrenla.cli_places import why_no_folder
from wrenla.cli_text import counted, one_line
from wrenla.config import ignored_files, origins, settings
from wrenla.errors import NotAMatrixError, SettingError, StoreError, WrenlaError
from wrenla.folder import leftovers
from wrenla.stored import needed_tiles, tile_infos
from wrenla_handler.layout import TileLayout
from wrenla_handler.stores import SAVING, open_store

__all__ = ["main"]

_CHOSEN = {
    "workers": "one for each processor",
    "allowed_mem": "half of what there is",
    "tile": "chosen for each matrix",
    "progress": "on a terminal, if it lasts",
}
"""What a setting that was left open stands for."""

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class _Commands(click.Group):
    """Says what is wrong in one line, without a traceback; wrong usage ends with 2, other failures with 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except SettingError as error:
            raise click.UsageError(one_line(error)) from error
        except (WrenlaError, OSError) as error:
            raise click.ClickException(one_line(error)) from error


class _Duration(click.ParamType[float]):
    """Seconds, or a number with the unit s, m, h or d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        found = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([smhd]?)", value.strip())
        if found is None:
            self.fail(f"{value!r} is no duration: write seconds, or 90s, 30m, 2h, 1d", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


class _Address(click.ParamType[str]):
    """A folder, file:///folder, s3://bucket/prefix or memory://name."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            open_store(value).close()
        except ValueError as error:
            self.fail(one_line(error), param, ctx)
        return str(value)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="wrenla")
def main() -> None:
    """Linear algebra on matrices in tiles: look at stored ones, and clear up. And call functions in parallel.

    URL is a folder, file:///folder or s3://bucket/prefix.
    """


for _command in (map_command, *cli_aws.commands, *cli_sandbox.commands):
    main.add_command(_command)


@main.command(short_help="Remove what runs that failed or were killed have left.")
@click.option("--store", type=_Address(), help="Where temporary tiles are.  [default: the setting `store`]")
@click.option(
    "--older-than",
    type=_Duration(),
    default=0.0,
    metavar="TIME",
    help="Keep what was left less than TIME ago: 2h, 1d, 90m or seconds.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
def clean(store: str | None, older_than: float, dry_run: bool) -> None:
    """Remove what runs that failed or were killed have left.

    Such a run keeps its finished tiles, so that running the same script again goes on where it was. This
    command removes them. Only what wrenla has written is removed. Runs that are still at work, matrices that
    were saved, and whatever else lies in the store, are never touched.
    """
    root = store or settings().store
    place = open_store(root)
    place.close()
    if why := why_no_folder(place, root, may_be_missing=store is None):
        raise click.UsageError(why)
    runs = objects = nbytes = unreadable = 0
    for leftover in leftovers(root, older_than=older_than):
        why = leftover.why
        try:
            if not why and not (dry_run or leftover.remove()):
                continue  # somebody has just begun to resume it
        except StoreError as error:
            why = str(error)
        if why:
            click.echo(f"{leftover.name}  left as it is: {one_line(why)}", err=True)
            unreadable += 1
            continue
        size = f", {format_bytes(leftover.nbytes)}" if leftover.nbytes else ""
        ago = f"{format_time(leftover.age)} ago" if leftover.age >= 1 else "just now"
        others = f"; {counted(leftover.others, 'other')} in its folder kept" if leftover.others else ""
        click.echo(f"{leftover.name}  {counted(leftover.objects, 'object')}{size}, left {ago}{others}")
        runs, objects, nbytes = runs + 1, objects + leftover.objects, nbytes + leftover.nbytes
    if runs == 0:
        click.echo(f"{root}: nothing to clean")
    else:
        _echo_removed(root, runs, objects, nbytes, dry_run)
    if unreadable:
        raise click.ClickException(f"{root}: {counted(unreadable, 'run')} could not be read")


def _echo_removed(root: str, runs: int, objects: int, nbytes: int, dry_run: bool) -> None:
    size = f", {format_bytes(nbytes)}" if nbytes else ""
    verb = "would remove" if dry_run else "removed"
    click.echo(f"{root}: {verb} {counted(objects, 'object')}{size} of {counted(runs, 'run')}")


@main.command(short_help="Describe the matrix stored at URL, and look for its tiles.")
@click.argument("url", type=_Address())
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
    lines = {
        "shape": _times(grid.shape[:ndim]),
        "dtype": layout.dtype,
        "structure": layout.structure,
        "tiles": f"{_times(grid.tile[:ndim])}, {format_bytes(each)} each",
        "grid": _times(grid.counts[:ndim]),
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
        if value is None or (value == 0 and value is not False):
            text = _CHOSEN[name]
        source = f"WRENLA_{name.upper()}" if origin == "environment variable" else origin
        click.echo(f"{name:<18} {text:<36} {source}")
    for file in ignored_files():
        click.echo(f"ignored: {file.path}: {file.why}")
