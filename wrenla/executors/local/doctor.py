"""Doctor of this machine: check that what computations need is there and works."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from wrenla.config import ignored_files, settings
from wrenla.errors import WrenlaError
from wrenla.executors.local.executor import LocalExecutor
from wrenla.units import format_bytes
from wrenla_handler.machine import memory_of_this_machine, processors
from wrenla_handler.stores.base import RUNS
from wrenla_handler.stores.urls import folder_of, open_store
from wrenla_kernels import core_type_warning, gemm, scipy_blas_info

__all__ = ["Check", "examine_machine"]

_TILE = 8 << 20
_ORDER = 1024
_LEAST_FREE = 1 << 30

_EXTRAS = {"zarr": "zarr", "distributed": "distributed", "moto": "emulator", "matplotlib": "demo"}
"""Packages, and the extras that bring them."""


@dataclass(frozen=True, slots=True)
class Check:
    """Result of one check.

    Attributes
    ----------
    name : str
    state : {"ok", "failed", "skipped"}
        Skipped is what something that failed before stands in the way of, or what these credentials need
        not be allowed to do, or what need not be there.
    text : str
        What was seen.
    remedy : str
        What to do if it failed; "" if the text says so.
    """

    name: str
    state: Literal["ok", "failed", "skipped"]
    text: str
    remedy: str = ""


def examine_machine() -> Iterator[Check]:
    """Check this machine, one thing after the other, and yield what comes out.

    Writes, reads and removes a tile of 8 MiB where temporary tiles go, multiplies two matrices, and starts a
    worker process.

    Examples
    --------
    >>> [check.name for check in examine_machine()][:3]
    ['versions', 'processors', 'settings']
    """
    for name, run in _CHECKS.items():
        try:
            yield run(name)
        except (WrenlaError, OSError, ValueError) as error:
            yield Check(name, "failed", " ".join(str(error).split()))


def _versions(name: str) -> Check:
    packages = ", ".join(f"{each} {importlib.metadata.version(each)}" for each in ("numpy", "scipy"))
    return Check(name, "ok", f"Python {platform.python_version()}, {packages}")


def _processors(name: str) -> Check:
    return Check(name, "ok", f"{processors()} that this process may use, of {os.cpu_count()}")


def _settings(name: str) -> Check:
    settings()
    if ignored := ignored_files():
        return Check(name, "failed", f"{ignored[0].path} does not count: {ignored[0].why}")
    return Check(name, "ok", "wrenla settings shows them")


def _memory(name: str) -> Check:
    there, allowed = memory_of_this_machine(), settings().allowed_mem
    if allowed > there:
        text = f"{format_bytes(allowed)} are allowed by the settings, but there are {format_bytes(there)}"
        return Check(name, "failed", text, "allow less: WRENLA_ALLOWED_MEM, or wrenla settings says where")
    return Check(
        name,
        "ok",
        f"{format_bytes(there)} that this process may use, {format_bytes(allowed or there // 2)} allowed",
    )


def _blas(name: str) -> Check:
    blas = scipy_blas_info()
    text = f"{blas.internal_api} {blas.version}, {blas.architecture} kernels"
    warning = core_type_warning()
    return Check(name, "ok", text) if warning is None else Check(name, "failed", text, warning)


def _speed(name: str) -> Check:
    A = np.ones((_ORDER, _ORDER), order="F")
    C = np.zeros_like(A)
    gemm(1.0, A, "N", A, "N", C)  # the first one sets up BLAS
    start = time.perf_counter()
    gemm(1.0, A, "N", A, "N", C)
    rate = 2 * _ORDER**3 / (time.perf_counter() - start) / 1e9
    return Check(name, "ok", f"{rate:.0f} GFLOP/s in products of order {_ORDER}, on one processor")


def _store(name: str) -> Check:
    url, key = settings().store, f"{RUNS}/doctor-{uuid.uuid4().hex}"
    try:
        with closing(open_store(url)) as store:
            start = time.perf_counter()
            store.put(key, bytes(_TILE))
            try:
                put = time.perf_counter() - start
                got = len(store.get(key))
                seconds = time.perf_counter() - start - put
            finally:
                store.delete(key)
    except (WrenlaError, OSError) as error:
        text = " ".join(str(error).split())
        return Check(name, "failed", text, "set WRENLA_STORE to a folder or bucket that you may write")
    if got != _TILE:
        return Check(name, "failed", f"{url}: of {_TILE} bytes {got} came back", "use another disk")
    return Check(name, "ok", f"{url}: put {_TILE / 1e6 / put:.0f} MB/s, get {_TILE / 1e6 / seconds:.0f} MB/s")


def _disk(name: str) -> Check:
    url = settings().store
    path = Path(folder_of(url) or url)
    if "://" in str(url) and not folder_of(url):
        return Check(name, "skipped", f"{url} is no folder")
    folder = next(each for each in (path, *path.absolute().parents) if each.is_dir())
    free = shutil.disk_usage(folder).free
    text = f"{format_bytes(free)} free at {folder}"
    if free < _LEAST_FREE:
        return Check(name, "failed", text, "temporary tiles go there: set WRENLA_STORE, or run wrenla clean")
    return Check(name, "ok", text)


def _worker(name: str) -> Check:
    start = time.perf_counter()
    with LocalExecutor(1) as executor:
        found = executor.submit(os.getpid).result(timeout=60)
    return Check(name, "ok", f"process {found} started and answered in {time.perf_counter() - start:.1f} s")


def _extras(name: str) -> Check:
    lacking = []
    for package, extra in _EXTRAS.items():
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            lacking.append(extra)
    if lacking:
        return Check(name, "skipped", f"pip install 'wrenla[{','.join(lacking)}]' adds {', '.join(lacking)}")
    return Check(name, "ok", f"all are there: {', '.join(_EXTRAS.values())}")


_CHECKS: dict[str, Callable[[str], Check]] = {
    "versions": _versions,
    "processors": _processors,
    "settings": _settings,
    "memory": _memory,
    "BLAS": _blas,
    "speed": _speed,
    "store": _store,
    "disk": _disk,
    "worker process": _worker,
    "extras": _extras,
}
