"""Results of commands: where they go, and what is said of them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wrenla.cli.parts.files import check_folder, check_output
from wrenla.cli.parts.operands import local_path
from wrenla.cli.parts.params import Address
from wrenla.cli.parts.running import Running
from wrenla.cli.parts.text import times
from wrenla.units import format_bytes

if TYPE_CHECKING:
    from wrenla.executors.base import Executor
    from wrenla.matrices.matrix import BigMatrix

__all__ = ["Output", "described_matrix", "output_option", "overwrite_option"]

_OTHERS = (".npz", ".csv", ".txt", ".tsv", ".mat", ".h5", ".hdf5", ".nc", ".parquet", ".mtx", ".json", ".zip")
"""Suffixes of files that nobody means as the name of a folder."""

output_option = click.option(
    "-o",
    "--output",
    type=Address(),
    required=True,
    metavar="URL",
    help="Where the result goes: x.npy, or a folder, x.zarr or s3://bucket/x, which any Zarr reader opens.",
)

overwrite_option = click.option("--overwrite", is_flag=True, help="Replace what is there.")


class Output:
    """Place of a result: a ``.npy`` file, or a stored matrix, which is a Zarr array.

    Parameters
    ----------
    address : str
    overwrite : bool
        Replace what is there.
    running : Running
        Has other files that are written.

    Attributes
    ----------
    was_there : bool
        The result that was to be written is there already, as it was.

    Raises
    ------
    click.UsageError
        Nothing can be written there; nothing was computed yet.
    PermissionError
        This user may not.
    """

    def __init__(self, address: str, overwrite: bool, running: Running) -> None:
        self.address, self.overwrite, self.was_there = address, overwrite, False
        self.path = local_path(address)
        if address.startswith("memory:"):
            raise click.UsageError(f"{address}: it would be gone at the command's end: name a file or folder")
        suffix = os.path.splitext(address.rstrip("/"))[1].lower()
        self.is_npy = suffix == ".npy"
        if suffix in _OTHERS:
            raise click.UsageError(
                f"{address}: {suffix} is not written: name it .npy, or .zarr or a folder for a Zarr array"
            )
        if self.is_npy and not self.path:
            raise click.UsageError(
                f"{address}: .npy files are written to disks only: leave the suffix out for a Zarr array"
            )
        if self.path:
            self._check_folder(Path(self.path))
            self._check_others(running)

    def _check_folder(self, path: Path) -> None:
        if self.is_npy:
            check_output(self.path, self.address)
            if path.exists() and not self.overwrite:
                raise click.UsageError(f"{self.address}: there is something already; --overwrite replaces it")
            return
        if path.is_file():
            raise click.UsageError(f"{self.address}: this is a file: name a folder, or a file *.npy")
        check_folder(path, self.address)

    def _check_others(self, running: Running) -> None:
        """Refuse a record or a report in the place of the result, or inside of it."""
        place = os.path.realpath(self.path)
        for option, other in (("--record", running.record), ("--report", running.report)):
            found = os.path.realpath(os.path.expanduser(other)) if other else ""
            if found == place or found.startswith(f"{place}{os.sep}"):
                raise click.UsageError(f"{option} {other}: the result goes there: name another place")

    def write(self, A: BigMatrix, executor: Executor, running: Running) -> BigMatrix:
        """Compute a matrix, write it, and return it as it is kept. A ``.npy`` file appears whole."""
        if not self.is_npy:
            return self._saved(A, executor, running)
        kept = A.persist(executor, **running.options)
        kept.to_npy(self.path, overwrite=self.overwrite, executor=executor)
        return kept

    def _saved(self, A: BigMatrix, executor: Executor, running: Running) -> BigMatrix:
        is_new = bool(self.path) and not os.path.lexists(self.path)
        before = None if is_new else self._generation()
        try:
            kept = A.save(self.address, executor, overwrite=self.overwrite, **running.options)
            self.was_there = before is not None and before == self._generation()
            return kept
        except BaseException:
            if is_new:  # an empty folder is no help to those who resume, and in the way of others
                with contextlib.suppress(OSError):
                    os.rmdir(self.path)
            raise

    def _generation(self) -> str | None:
        """Return which matrix is there, None if there is none."""
        from wrenla.errors import MetadataError, NotAMatrixError
        from wrenla_handler.stores.urls import open_store
        from wrenla_handler.tiles.layout import TileLayout

        with contextlib.closing(open_store(self.address)) as store:
            try:
                return TileLayout.read(store).generation
            except (MetadataError, NotAMatrixError):
                return None

    def document(self, A: BigMatrix) -> dict[str, Any]:
        """Return what is said of the result in JSON."""
        kind = "npy" if self.is_npy else "wrenla"
        return {"url": self.address, "kind": kind, **described_matrix(A), "was_there": self.was_there}

    def line(self, A: BigMatrix, seconds: float) -> str:
        """Return what is said of the result in text."""
        what = f"{times(A.shape)}, {A.dtype}, {format_bytes(A.nbytes)}"
        if self.was_there:
            return f"{self.address}: {what}: this very result is there already; nothing was computed"
        return f"{self.address}: {what}, in {seconds:.3g} s"


def described_matrix(A: BigMatrix) -> dict[str, Any]:
    """Return shape, type and tiles of a matrix, for JSON."""
    return {
        "shape": list(A.shape),
        "dtype": A.dtype.name,
        "structure": A.structure,
        "tile": list(A.tile),
        "nbytes": A.nbytes,
    }
