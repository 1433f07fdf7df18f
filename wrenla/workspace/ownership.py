"""Ownership: which objects of a store wrenla has written. Only these are ever deleted.

An object is ours if its key has one of the forms below, and its folder says so: a run's folder by its lease,
a matrix by its description. The name of a run's folder is too odd to be anybody else's; in it a lease that is
damaged, as after a power cut, still counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Literal

from wrenla.workspace.lease import Holder
from wrenla_handler.stores.base import LEASE, RUNS, SAVING
from wrenla_handler.tiles.layout import METADATA_KEY, NUMBER_KEY, TILE_KEYS, is_ours

__all__ = [
    "MANIFEST",
    "Kind",
    "Kinds",
    "has_tiles",
    "in_run",
    "is_matrix_folder",
    "is_run",
    "is_run_folder",
    "lease_is_of",
    "run_of",
]

Kind = Literal["matrix", "temporary", "other"]

MANIFEST = "run.json"
"""What a run is about. Where it is not there, nobody needs the tiles any more."""

_NAME = r"(?:[0-9a-f]{24}|calls-[0-9a-f]{12})(?:-[0-9a-f]{8})?"
_HEX = r"[0-9a-f]"
_TILES = rf"(?:{_HEX}{{24}}|array-[^/]+)/(?:c(?:/\d+){{0,2}}|partial(?:/\d+){{3}})"
_LEASES = rf"{LEASE}\d{{8}}(?:-count)?"
_CALLS = (
    rf"(?:functions|modules|broadcasts)/{_HEX}{{64}}|arguments/{_HEX}{{8,}}-\d+"
    r"|(?:results|outcomes)/[^/]+|data/.+"
)
_WITH_TILES = re.compile(rf"{_HEX}{{24}}(?:-{_HEX}{{8}})?", re.A)
_IN_RUN = re.compile(rf"{MANIFEST}|{_LEASES}|{_TILES}|functions/{_HEX}{{64}}", re.S | re.A)
_IN_CALLS = re.compile(rf"{_LEASES}|{_CALLS}", re.S | re.A)
_PROBE = rf"doctor-{_HEX}{{32}}"

_RUN_FOLDER = re.compile(
    rf"(?:{_HEX}{{24}}|array-[^/]+)(?:/c(?:/\d+)?|/partial(?:/\d+){{0,2}})?"
    rf"|functions|modules|broadcasts|arguments|results|outcomes|data(?:/.+)?|{LEASE.rstrip('/')}",
    re.S | re.A,
)
_UNFINISHED = re.compile(rf"{SAVING}/tiles-{_HEX}{{32}}/(?:c(?:/\d+){{0,2}}|partial(?:/\d+){{3}})", re.A)
_MATRIX_FOLDER = re.compile(
    rf"c(?:/\d+)?|{SAVING}(?:/{LEASE.rstrip('/')}|/tiles-{_HEX}{{32}}(?:/c(?:/\d+)?|/partial(?:/\d+){{0,2}})?)?"
)

_OF_A_RUN = re.compile(rf"((?:.*/)?{RUNS}/{_NAME})/(.+)", re.S | re.A)
_OF_A_PROBE = re.compile(rf"(?:.*/)?{RUNS}/{_PROBE}", re.S)
_OF_A_SAVE = re.compile(rf"(?:(.*?)/)?{SAVING}/.+", re.S)
_OF_A_NUMBER = re.compile(rf"(?:(.*)/)?{NUMBER_KEY}", re.S)
_OF_A_MATRIX = re.compile(rf"(?:(.*)/)?(?:{re.escape(METADATA_KEY)}|{TILE_KEYS})", re.S | re.A)


def is_run(name: str) -> bool:
    """Tell whether a folder below `RUNS` has the name of a run's.

    Examples
    --------
    >>> is_run("0123456789abcdef01234567"), is_run("exp1")
    (True, False)
    """
    return re.fullmatch(_NAME, name) is not None


def has_tiles(folder: str) -> bool:
    """Tell whether a folder has the name of one with tiles that tasks have made: a run, or an array of it.

    Examples
    --------
    >>> has_tiles("0123456789abcdef01234567"), has_tiles("functions"), has_tiles("calls-0123456789ab")
    (True, False, False)
    """
    return _WITH_TILES.fullmatch(folder) is not None


def in_run(key: str, run: str) -> bool:
    """Tell whether an object has a key of the forms known in the folder of a run, or in that of calls.

    Examples
    --------
    >>> run = "0123456789abcdef01234567"
    >>> in_run("wrenla-lease/00000000", run), in_run(f"{run}/c/0/1", run), in_run("data/model.pt", run)
    (True, True, False)
    """
    return (_IN_CALLS if run.startswith("calls-") else _IN_RUN).fullmatch(key) is not None


def is_run_folder(path: str) -> bool:
    """Tell whether a folder inside a run's has a path of the known forms."""
    return _RUN_FOLDER.fullmatch(path) is not None


def is_unfinished(key: str) -> bool:
    """Tell whether an object below a matrix is a tile of a save that was not finished."""
    return _UNFINISHED.fullmatch(key) is not None


def is_matrix_folder(path: str) -> bool:
    """Tell whether a folder below a matrix has a path of the known forms."""
    return _MATRIX_FOLDER.fullmatch(path) is not None


def run_of(url: str) -> str:
    """Return the address of the run's folder that an address is in, "" if it is in none.

    Examples
    --------
    >>> run_of("s3://bucket/wrenla-runs/0123456789abcdef01234567/array"), run_of("s3://bucket/matrix")
    ('s3://bucket/wrenla-runs/0123456789abcdef01234567', '')
    """
    found = _OF_A_RUN.match(url)
    return found[1] if found else ""


def lease_is_of(data: bytes, name: str) -> bool:
    """Tell whether the content of a lease is one of this run, or damaged so that it says nothing."""
    holder = Holder.decode(data)
    if holder is not None:
        return holder.note.get("run") == name
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        return True
    return not said  # what is whole, and says something else, is somebody else's


class Kinds:
    """Tells what wrenla has written from what others have.

    Parameters
    ----------
    read : callable
        Returns the content of a key, None if there is no such object. It is called a few times for each
        folder, so what has been told stays so while its objects are removed.
    first : callable
        Returns the first key that begins with a string, None if there is none.
    """

    def __init__(self, read: Callable[[str], bytes | None], first: Callable[[str], str | None]) -> None:
        self._read = read
        self._first = first
        self._ours: dict[str, bool] = {}

    def of(self, key: str) -> Kind:
        """Tell what an object is part of; "other" is what wrenla does not know."""
        if _OF_A_PROBE.fullmatch(key):
            return "temporary"
        found = _OF_A_RUN.fullmatch(key)
        if found is not None:
            ours = in_run(found[2], found[1].rpartition("/")[2]) and self._known(found[1], self._is_run)
            return "temporary" if ours else "other"
        found = _OF_A_SAVE.fullmatch(key) or _OF_A_MATRIX.fullmatch(key) or _OF_A_NUMBER.fullmatch(key)
        if found is None:
            return "other"
        return "matrix" if self._known(found[1] or "", self._is_matrix) else "other"

    def _known(self, folder: str, tell: Callable[[str], bool]) -> bool:
        if folder not in self._ours:
            self._ours[folder] = tell(folder)
        return self._ours[folder]

    def _is_run(self, folder: str) -> bool:
        key = self._first(f"{folder}/{LEASE}")
        data = None if key is None else self._read(key)
        return data is not None and lease_is_of(data, folder.rpartition("/")[2])

    def _is_matrix(self, folder: str) -> bool:
        below = f"{folder}/" if folder else ""
        text = self._read(f"{below}{METADATA_KEY}")
        if text is not None and is_ours(text):
            return True
        key = self._first(f"{below}{SAVING}/{LEASE}")
        data = None if key is None else self._read(key)
        return text is None and data is not None and Holder.decode(data) is not None
