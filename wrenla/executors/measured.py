"""Measured rates of this machine, kept in the cache folder."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import scipy

from wrenla.config import cache_folder
from wrenla.whole_file import whole_file
from wrenla_handler.errors import ThreadLimitError
from wrenla_handler.machine import processors
from wrenla_handler.measure import measure_at
from wrenla_handler.rates import Rates
from wrenla_handler.stores.urls import folder_of
from wrenla_kernels import scipy_blas_info

__all__ = ["device_of", "function_rates", "keep_function_rates", "measured_rates"]

logger = logging.getLogger("wrenla.executors")

_FORMAT = 4
"""Of the file, and of what is measured: higher when a rate gets another meaning."""

Measure = Callable[[str, int, int, int], Rates]

_SMALL, _LARGE = 64 << 20, 1 << 30
"""Bytes of memory that a measurement may take, if little is allowed, and if much is."""

_QUIET, _BUSY_SECONDS = 0.8, 600
"""Part of the time in which a processor is its worker's own, on a machine whose rates are kept for good; and
how long others are: the store was measured by the clock, and a task, too."""

_PATIENCE = 10.0
"""Seconds in which to wait for another process that measures: several at once find a slow machine."""

_known: dict[Path, Rates] = {}
_measuring = threading.Lock()


def _forked() -> None:
    global _measuring
    _measuring = threading.Lock()  # another thread may have held it


os.register_at_fork(after_in_child=_forked)


def measured_rates(
    store: str, workers: int, threads: int, allowed: int, measure: Measure = measure_at
) -> Rates | None:
    """Return the rates of a worker: of this process, from a file in the cache folder, or as measured now.

    Parameters
    ----------
    store : str
        URL of the store for temporaries.
    workers : int
        How many of them there are.
    threads : int
        Threads of BLAS for each of them.
    allowed : int
        Bytes of memory that they may use.
    measure : callable
        As `wrenla_handler.measure.measure_at`.

    Returns
    -------
    Rates or None
        None if the system starts no threads to measure with, or has no memory for it.
    """
    key = _key(store, workers, threads, _LARGE if allowed >= 4 * _LARGE else _SMALL)
    file, side_by_side = _file(key), key["workers"]
    with _measuring:
        if file not in _known:
            found = _read(file, key)
            if found is None:
                with _alone(file.parent):
                    found = _read(file, key)  # by another process, meanwhile
                    if found is None:
                        try:
                            found = measure(store, side_by_side, threads, key["memory"])
                        except (ThreadLimitError, MemoryError) as error:
                            logger.warning("this machine was not measured: %s", error or "no memory for it")
                            return None
                        _write(file, key, found)
            _known[file] = found
        found = _known[file]
    # more workers than processors take turns
    return found.shared(workers / side_by_side)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait for other processes of this machine that measure it, but not for long."""
    with ExitStack() as held:
        with contextlib.suppress(OSError):  # where nothing can be written, nobody waits
            folder.mkdir(parents=True, exist_ok=True)
            file = held.enter_context(open(folder / "rates.lock", "wb"))
            ends = time.monotonic() + _PATIENCE
            while time.monotonic() < ends:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    time.sleep(0.05)
                else:
                    # by hand, as a forked child may have the file, too
                    held.callback(fcntl.flock, file, fcntl.LOCK_UN)
                    break
        yield


@lru_cache(maxsize=16)  # every evaluation asks
def _key(store: str, workers: int, threads: int, memory: int) -> Mapping[str, Any]:
    """Return what rates depend on."""
    count = processors()
    side_by_side = min(workers, max(1, count // threads))
    found = {**_software(), "processors": count, "threads": threads, "workers": side_by_side}
    found["memory"] = memory
    return MappingProxyType({**found, "store": device_of(store)})


def function_rates(arn: str, memory: int) -> Rates | None:
    """Return the rates of a function on AWS, if `wrenla doctor` has measured them there."""
    key = _function(arn, memory)
    return _read(_file(key), key)


def keep_function_rates(arn: str, memory: int, rates: Rates) -> None:
    """Keep what a function on AWS has measured.

    Parameters
    ----------
    arn : str
        Its name.
    memory : int
        Its megabytes, and so its processors.
    rates : Rates
    """
    key = _function(arn, memory)
    _write(_file(key), key, rates)


def _function(arn: str, memory: int) -> dict[str, Any]:
    return {"format": _FORMAT, "function": arn, "memory": memory}


def _file(key: Mapping[str, Any]) -> Path:
    name = hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()[:16]
    return Path(cache_folder()) / f"rates-{name}.json"


@cache
def _software() -> dict[str, Any]:
    """Return what rates depend on, as far as it stays the same in a process."""
    blas = scipy_blas_info()
    return {
        "format": _FORMAT,
        "processor": _processor(),
        "blas": [blas.internal_api, blas.version, blas.architecture, os.path.basename(blas.filepath)],
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def device_of(store: str) -> int | str:
    """Return the device that a folder is on, or will be; of another store its kind."""
    scheme, separator, _ = store.partition("://")
    if separator and scheme != "file":
        return scheme
    folder = Path(folder_of(store) or store).expanduser().absolute()
    for place in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            return place.stat().st_dev
    return ""


def _read(file: Path, key: Mapping[str, Any]) -> Rates | None:
    """Return what was measured with the same key; None if nothing was, or the file is damaged.

    None, too, if the machine was busy with other work then, and that is some minutes ago.
    """
    try:
        age = abs(time.time() - file.stat().st_mtime)
        found = json.loads(file.read_bytes())
        rates = Rates.from_plain(found["rates"])
        return rates if found["key"] == dict(key) and (rates.mine >= _QUIET or age < _BUSY_SECONDS) else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        logger.debug("%s does not count: %r", file, error)
        return None


def _write(file: Path, key: Mapping[str, Any], rates: Rates) -> None:
    """Keep what was measured. Where that is not possible, the next process measures again."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as opened:
            opened.write(f"{json.dumps({'key': dict(key), 'rates': rates.plain()}, indent=1)}\n".encode())
    except OSError as error:
        logger.debug("what was measured is not kept: %s", error)
