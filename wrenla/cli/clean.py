"""`wrenla clean`: remove what dead runs have left, and the package cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from wrenla.cli.parts.command import Command, document, told
from wrenla.cli.parts.files import why_no_folder
from wrenla.cli.parts.params import Address, Duration
from wrenla.cli.parts.text import one_line
from wrenla.units import counted, format_bytes, format_time

if TYPE_CHECKING:
    from wrenla.evaluate.cleaning import Leftover

__all__ = ["clean"]


@click.command(
    cls=Command,
    short_help="Remove what runs that failed or were killed have left.",
    examples=(
        "wrenla clean --dry-run",
        "wrenla clean --store . --older-than 1d",
        "wrenla clean --packages --json",
    ),
)
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
    from wrenla.config import settings
    from wrenla.errors import StoreError
    from wrenla.evaluate.cleaning import leftovers
    from wrenla_handler.stores.urls import open_store

    root = store or settings().store
    place = open_store(root)
    place.close()
    if why := why_no_folder(place, root, may_be_missing=store is None):
        raise click.UsageError(why)
    said: dict[str, Any] = {"store": root, "dry_run": dry_run, "runs": [], "packages": None}
    if packages or store is None:
        said["packages"] = _clean_packages(older_than, packages, dry_run)
    for leftover in leftovers(root, older_than=older_than):
        why = leftover.why
        try:
            if not why and not (dry_run or leftover.remove()):
                continue  # somebody has just begun to resume it
        except StoreError as error:
            why = str(error)
        said["runs"].append(_entry(leftover, one_line(why) if why else "", dry_run))
        if why:
            click.echo(f"{leftover.name}  left as it is: {one_line(why)}", err=True)
        else:
            told(f"{leftover.name}  {_description(leftover)}")
    gone = [run for run in said["runs"] if not run["why"]]
    objects, nbytes = (sum(run[name] for run in gone) for name in ("objects", "nbytes"))
    if gone:
        size = f", {format_bytes(nbytes)}" if nbytes else ""
        verb = "would remove" if dry_run else "removed"
        told(f"{root}: {verb} {counted(objects, 'object')}{size} of {counted(len(gone), 'run')}")
    else:
        told(f"{root}: nothing to clean")
    document({**said, "objects": objects, "nbytes": nbytes})
    if unreadable := len(said["runs"]) - len(gone):
        click.echo(f"Error: {root}: {counted(unreadable, 'run')} could not be read", err=True)
        raise click.exceptions.Exit(1)  # why stands in the document


def _entry(leftover: Leftover, why: str, dry_run: bool) -> dict[str, Any]:
    """Return what is said of a run in JSON."""
    return {
        "name": leftover.name,
        "objects": leftover.objects,
        "nbytes": leftover.nbytes,
        "age_seconds": leftover.age,
        "saves": list(leftover.saves),
        "removed": not (why or dry_run),
        "why": why,
    }


def _description(leftover: Leftover) -> str:
    if not leftover.objects:
        return "an empty folder"
    size = f", {format_bytes(leftover.nbytes)}" if leftover.nbytes else ""
    ago = f"{format_time(leftover.age)} ago" if leftover.age >= 1 else "just now"
    also = f", partly in {', '.join(leftover.saves)}" if leftover.saves else ""
    others = f"; {counted(leftover.others, 'other')} in its folder kept" if leftover.others else ""
    return f"{counted(leftover.objects, 'object')}{size}{also}, left {ago}{others}"


def _clean_packages(older_than: float, wanted: bool, dry_run: bool) -> dict[str, Any]:
    """Print the size of the cache of packages, and remove it if requested; return what is said in JSON."""
    from wrenla.aws.packaging.build_cache import built_files, default_folder

    folder = default_folder()
    files = [file for file in built_files(folder) if file.age >= older_than]
    removed = bool(files) and wanted and not dry_run
    if files:
        if removed:
            for file in files:
                file.remove()
        verb = ("would remove " if dry_run else "removed ") if wanted else ""
        hint = "" if wanted else ": a cache; --packages removes it"
        size = format_bytes(sum(file.nbytes for file in files))
        told(f"{folder}: {verb}{size} of packages for AWS Lambda in {counted(len(files), 'file')}{hint}")
    elif wanted:
        told(f"{folder}: no packages to remove")
    nbytes = sum(file.nbytes for file in files)
    return {"folder": str(folder), "files": len(files), "nbytes": nbytes, "removed": removed}
