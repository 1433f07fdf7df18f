"""Settings: argument > ``WRENLA_*`` > ``wrenla.toml`` / ``[tool.wrenla]`` > user configuration > default."""

from __future__ import annotations

import contextlib
import difflib
import logging
import os
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

from wrenla.config_files import Ignored, read_settings
from wrenla.errors import SettingError
from wrenla.units import parse_bytes

__all__ = ["Settings", "cache_folder", "ignored_files", "origins", "settings", "store_for", "store_is_chosen"]

logger = logging.getLogger("wrenla.settings")

ScheduleName = Literal["dataflow", "waves"]
LogsName = Literal["show", "quiet", "stderr"]


def _home() -> str:
    """Return this user's folder; a function on AWS Lambda has none, and may write elsewhere only."""
    home = os.path.expanduser("~")
    return tempfile.gettempdir() if home.startswith("~") else home


def cache_folder() -> str:
    """Return the folder for what can be made again: temporary tiles, what was measured."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(_home(), ".cache")
    return str(Path(base) / "wrenla")


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings and their defaults; ``WRENLA_`` and a key in capitals is its environment variable.

    Attributes
    ----------
    store : str
        URL for temporary tiles (``WRENLA_STORE``); by default the executor's own place (the bucket of a
        function on AWS), or a folder ``wrenla`` in the user's cache folder, and memory for short runs.
    shared_folders : str
        Folders that other machines have, too, at the same paths (``WRENLA_SHARED_FOLDERS``, separated as in
        ``PATH``): workers there can use what is in them.
    workers : int
        Workers of the default executor (``WRENLA_WORKERS``); 0: one for each processor.
    allowed_mem : int
        Bytes that the default executor may use (``WRENLA_ALLOWED_MEM``, e.g. "8 GiB"); 0: half of what
        this process may use of the machine.
    blas_threads : int
        Threads of each kernel (``WRENLA_BLAS_THREADS``).
    tile : int
        Tile edge where none is given (``WRENLA_TILE``); 0: chosen from shape, memory and workers.
    schedule : {"dataflow", "waves"}
        Tasks as soon as their inputs are there, or wave by wave (``WRENLA_SCHEDULE``).
    progress : bool or None
        Show progress (``WRENLA_PROGRESS``); None: of what lasts, if standard error is a terminal or the cell
        of a notebook.
    logs : {"show", "quiet", "stderr"}
        What mapped functions print is shown: where it was printed to, not at all, or all of it on standard
        error (``WRENLA_LOGS``).
    record : str
        File, or folder for files, that takes the events of each evaluation (``WRENLA_RECORD``); "": none.
    prices : str
        File with prices of AWS (``WRENLA_PRICES``), as `Prices.read` takes it; "": those of us-east-1.
    max_compute_bytes : int
        Largest result that `compute` brings into memory (``WRENLA_MAX_COMPUTE_BYTES``).
    measure : bool
        Measure this machine once, for about a second, so that plans know how long they last
        (``WRENLA_MEASURE``).
    """

    store: str = ""
    shared_folders: str = ""
    workers: int = 0
    allowed_mem: int = 0
    blas_threads: int = 1
    tile: int = 0
    schedule: ScheduleName = "dataflow"
    progress: bool | None = None
    logs: LogsName = "show"
    record: str = ""
    prices: str = ""
    max_compute_bytes: int = 4 << 30
    measure: bool = True


_OF_A_FUNCTION = frozenset({"WRENLA_BUCKET", "WRENLA_BUCKET_OWNER", "WRENLA_PREFIX"})
"""What a deployed function finds in its environment: where it is at home. No settings."""

_CHOICES: Mapping[str, Any] = {"schedule": ScheduleName, "logs": LogsName}
_ENVIRONMENT = "environment variable"

_BYTES = frozenset({"allowed_mem", "max_compute_bytes"})
_NAMES = tuple(field.name for field in fields(Settings))


def settings(**arguments: Any) -> Settings:
    """Return the settings in force. Arguments that are not None come first.

    Raises
    ------
    SettingError
        A key is unknown (the message names the nearest one) or a value is unusable; it says where it stands.

    Examples
    --------
    >>> settings(tile=512).tile
    512
    """
    found = Settings(store=cache_folder())
    for source, values in _sources():
        found = _merge(found, values, source)
    return _merge(found, {k: v for k, v in arguments.items() if v is not None}, "argument")


def origins() -> dict[str, str]:
    """Return for each setting where its value in force comes from.

    Examples
    --------
    >>> sorted(origins())[:3]
    ['allowed_mem', 'blas_threads', 'logs']
    """
    found = dict.fromkeys(_NAMES, "default")
    for source, values in _sources():
        found.update(dict.fromkeys(values, source))
    return found


def store_for(own: str) -> str:
    """Return where temporaries go: where the settings say; otherwise to an executor's `own` place."""
    return own if own and origins()["store"] == "default" else settings().store


def store_is_chosen(own: str) -> bool:
    """Tell whether the settings, or an executor by its `own` place, say where temporaries go."""
    return bool(own) or origins()["store"] != "default"


def ignored_files() -> list[Ignored]:
    """Return the files where settings were looked for that do not count, since others may write them."""
    found: list[Ignored] = []
    for _ in _sources(found):
        pass
    return found


def _sources(ignored: list[Ignored] | None = None) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield settings from the weakest to the strongest source; what does not count goes into a list."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(_home(), ".config")
    user = os.path.join(base, "wrenla", "config.toml")
    if (text := _read(user, ignored)) is not None:
        yield str(Path(user)), _toml(user, text)
    for folder in _folders():
        own, project = os.path.join(folder, "wrenla.toml"), os.path.join(folder, "pyproject.toml")
        if (text := _read(own, ignored)) is not None:
            yield own, _toml(own, text)
            break
        if (text := _read(project, ignored)) is not None:
            tools = _table(_toml(project, text).get("tool", {}), f"{project} [tool]")
            if "wrenla" in tools:
                source = f"{project} [tool.wrenla]"
                yield source, _table(tools["wrenla"], source)
            break
    prefix = "WRENLA_"
    names = [name for name in os.environ if name.startswith(prefix) and name not in _OF_A_FUNCTION]
    # an empty variable is how a shell unsets one for a single command
    found = {name: value for name in names if (value := os.environ.get(name))}
    yield _ENVIRONMENT, {name.removeprefix(prefix).lower(): value for name, value in found.items()}


def _folders() -> Iterator[str]:
    """Yield the working directory and those above it; none if it has been removed."""
    with contextlib.suppress(OSError):
        here = os.getcwd()
        yield here
        while (above := os.path.dirname(here)) != here:
            yield (here := above)


def _table(value: Any, source: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SettingError(f"{source} = {value!r} is not a table of settings")
    return value


_told: set[Ignored] = set()


def _read(path: str, ignored: list[Ignored] | None) -> str | None:
    """Return what is in a file that is there and counts; say once of each other one that it does not.

    At every evaluation settings are asked for several times, and mostly there is none: `path` is text.
    """
    if not os.path.lexists(path):
        return None
    found = read_settings(Path(path))
    if not isinstance(found, Ignored):
        return found
    if found.mentions_us:
        if ignored is not None:
            ignored.append(found)
        if found not in _told:
            _told.add(found)
            logger.warning("settings in %s are ignored: %s", found.path, found.why)
    return None


def _toml(path: str, text: str) -> dict[str, Any]:
    try:
        return _parsed(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingError(f"{path}: {error}") from None


_parsed = lru_cache(maxsize=16)(tomllib.loads)
"""Settings are asked for at every evaluation: of a short one, parsing was half the time."""


_OF_RUNS = ("callbacks", "report")
"""What may stand beside settings where something is computed."""


def _merge(found: Settings, values: Mapping[str, Any], source: str) -> Settings:
    changes = {}
    for key, value in values.items():
        if key not in _NAMES:
            names = [*_NAMES, *_OF_RUNS] if source == "argument" else _NAMES
            near = difflib.get_close_matches(key, names, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names)}"
            raise SettingError(f"{source}: unknown setting {key!r}; {hint}")
        changes[key] = _value(key, value, source)
    return replace(found, **changes) if changes else found


def _value(key: str, value: Any, source: str) -> Any:
    try:
        if key in ("progress", "measure"):
            return _truth(value)
        if key in _CHOICES:
            if value not in get_args(_CHOICES[key]):
                raise ValueError(f"one of {', '.join(get_args(_CHOICES[key]))}")
            return value
        if key in ("record", "prices", "store", "shared_folders"):
            if not isinstance(value, str | os.PathLike):
                raise ValueError("a path")
            path = os.fspath(value)
            folders = path.split(os.pathsep) if key == "shared_folders" else []
            if not all(map(os.path.isabs, filter(None, folders))):
                raise ValueError(f"whole paths of folders, separated by {os.pathsep!r}")
            return path
        return _number(key, value)
    except (ValueError, TypeError, OverflowError) as error:
        name = f"WRENLA_{key.upper()}" if source == _ENVIRONMENT else key
        raise SettingError(f"{source}: {name} = {value!r} is not usable: {error}") from None


def _number(key: str, value: Any) -> int:
    least = 1 if key == "blas_threads" else 0
    if key in _BYTES and isinstance(value, str):
        number = parse_bytes(value)
    else:
        try:
            number = -1 if isinstance(value, bool) else int(value)
        except (ValueError, TypeError, OverflowError):
            number = -1
        if isinstance(value, float) and number != value:
            number = -1
    if number < least:
        raise ValueError(f"a whole number, at least {least}")
    return number


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    if str(value).lower() not in words:
        raise ValueError("true or false")
    return words[str(value).lower()]
