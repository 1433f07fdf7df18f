"""Distributions of this machine: what their metadata say of the packages that are installed."""

from __future__ import annotations

import functools
import importlib.metadata
import re
from collections.abc import Iterable

from wrenla.executors.transport.local_modules import find

__all__ = ["distributions", "required", "version_of_wrenla"]

_REQUIRED = re.compile(r"[\w.-]+")


def version_of_wrenla() -> str:
    """Return the version of wrenla that is installed."""
    return importlib.metadata.version("wrenla")


@functools.lru_cache
def required(top: str) -> frozenset[str]:
    """Return what the metadata of an installed package say that it needs, by the names of modules."""
    needed = set[str]()
    for distribution in _owners(top):
        for line in importlib.metadata.requires(distribution) or ():
            name = _REQUIRED.match(line)
            if name is not None and "extra" not in line.partition(";")[2]:
                needed |= _modules_of(name[0])
    return frozenset(needed)


def _owners(top: str) -> Iterable[str]:
    """Return the distributions that a module belongs to: most have its name, and others take longer."""
    try:
        importlib.metadata.distribution(top)
    except importlib.metadata.PackageNotFoundError:
        return distributions().get(top, ())
    return (top,)


def _modules_of(distribution: str) -> set[str]:
    name = _plain(distribution)
    likely = name.replace("-", "_")
    if find(likely) is not None:
        return {likely}
    return {module for module, owners in distributions().items() if name in map(_plain, owners)}


def _plain(name: str) -> str:
    """Return a distribution's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@functools.cache
def distributions() -> dict[str, list[str]]:
    """Return the distributions that each top module belongs to; as long as a process lives, they stay."""
    return {top: sorted({*names}) for top, names in importlib.metadata.packages_distributions().items()}
