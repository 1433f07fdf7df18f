"""`wrenla clean`: remove what dead runs have left, and the package cache."""

from __future__ import annotations

import click

from wrenla.aws.packaging.build_cache import built_files, default_folder
from wrenla.cli.address_check import why_no_folder
from wrenla.cli.params import Address, Duration
from wrenla.cli.text import counted, one_line
from wrenla.config import settings
from wrenla.errors import StoreError
from wrenla.evaluate.cleaning import leftovers
from wrenla.units import format_bytes, format_time
from wrenla_handler.stores.urls import open_store

__all__ = ["clean"]


@click.command(short_help="Remove what runs that failed or were killed have left.")
@click.option("--store", type=Address(), help="Where temporary tiles are.  [default: the setting `store`]")
@click.option(
    "--older-than",
    type=Duration(),
    default=0.0,
    metavar="TIME",
    help="Keep what was left less than TIME ago: 2h, 1d, 90m or seconds.",
)
@click.option("--packages", is_flag=True, help="Also the cache of packages for AWS Lambda.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
def clean(store: str | None, older_than: float, packages: bool, dry_run: bool) -> None:
    """Remove what runs that failed or were killed have left.

    Such a run keeps its finished tiles, so that running the same script again goes on where it was. This
    command removes them, also those of a save that was cut short, wherever that was. Only what wrenla has
    written is removed. Runs that are still at work, matrices that were saved, and whatever else lies in the
    store, are never touched.

    Packages for AWS Lambda that were built here stay in your cache folder, so that the next deployment is
    quick. --packages removes them as well; they are built again when they are needed.
    """
    root = store or settings().store
    place = open_store(root)
    place.close()
    if why := why_no_folder(place, root, may_be_missing=store is None):
        raise click.UsageError(why)
    if packages or store is None:
        _clean_packages(older_than, packages, dry_run)
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
        also = f", partly in {', '.join(leftover.saves)}" if leftover.saves else ""
        others = f"; {counted(leftover.others, 'other')} in its folder kept" if leftover.others else ""
        what = f"{counted(leftover.objects, 'object')}{size}{also}, left {ago}{others}"
        click.echo(f"{leftover.name}  {what if leftover.objects else 'an empty folder'}")
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


def _clean_packages(older_than: float, wanted: bool, dry_run: bool) -> None:
    """Print the size of the cache of packages, and remove it if requested."""
    folder = default_folder()
    files = [file for file in built_files(folder) if file.age >= older_than]
    if not files:
        if wanted:
            click.echo(f"{folder}: no packages to remove")
        return
    if wanted and not dry_run:
        for file in files:
            file.remove()
    verb = ("would remove " if dry_run else "removed ") if wanted else ""
    hint = "" if wanted else ": a cache; --packages removes it"
    size = format_bytes(sum(file.nbytes for file in files))
    click.echo(f"{folder}: {verb}{size} of packages for AWS Lambda in {counted(len(files), 'file')}{hint}")
