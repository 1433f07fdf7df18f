"""Dependencies of a function: the files of all modules that it uses, directly or not."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from typing import Any

from wrenla.executors.transport.local_modules import OURS, find, is_local, local_sources, read_source
from wrenla.executors.transport.module_state import state_of
from wrenla.executors.transport.stable_pickle import steady_pickle
from wrenla_handler.serialize.modules import join_function

__all__ = ["PackedFunction", "packed_function"]

_WHOLE = 64 << 20
"""Bytes of a file from which on its size and its times stand for its content."""

_READ = 32
"""Modules of an installed package up to which its sources say what it imports; beyond, its metadata do."""

_NOT_USED = frozenset({"__pycache__", "tests"})

_PICKLING = frozenset(
    {"cloudpickle", *(f"wrenla_handler.serialize.{each}" for each in ("classes", "lines", "pickling"))}
)
"""What pickles name that need it to be loaded, not to be called."""

_SCRIPTS = frozenset({"__main__", "__mp_main__"})
"""What a script is called where it runs: all of it that a function needs is in its pickle."""


@dataclass(frozen=True, slots=True)
class PackedFunction:
    """A function as it travels with a run.

    Attributes
    ----------
    blob : bytes
        Its pickle together with the sources of the local modules that it needs.
    digest : str
        SHA-256 of the blob.
    name : str
        Stands for what the function computes: another one if its code, the values in it, or the modules
        behind it are other ones.
    """

    blob: bytes
    digest: str
    name: str


def packed_function(fn: Callable[..., Any], version: str | int | None = None) -> PackedFunction:
    """Pickle a function, and name it by what is known of it.

    Parameters
    ----------
    fn : callable
    version : str or int, optional
        Stands for what cannot be known: data files that it reads, environment variables, what the time is.

    Raises
    ------
    TypeError
        `version` is something else.
    """
    if isinstance(version, bool) or not isinstance(version, str | int | None):
        raise TypeError(
            f"version={version!r}: a string or an integer, another one whenever something has changed "
            "that the function reads: a file, an environment variable"
        )
    pickled, modules, lines, computed, reached = steady_pickle(fn)
    sources = local_sources(modules)
    blob = join_function([*sources, *lines], pickled)
    digest = hashlib.sha256(blob).hexdigest()
    known = [computed, platform.python_version(), str(sys.implementation.cache_tag), repr(version)]
    known += sorted(f"{each.name} {os.path.realpath(each.path)} {each.sha256}" for each in sources)
    known += (f"state of {each}" for each in state_of(reached, sources))
    known += (f"{what} {state}" for what, state in sorted(_Behind(modules).found.items()))
    return PackedFunction(blob, digest, hashlib.sha256("\n".join(known).encode()).hexdigest())


class _Behind:
    """The states of all modules that some modules lead to, in `found`.

    Python's own are not looked at, since its version stands for them.
    """

    def __init__(self, modules: Iterable[str]) -> None:
        self.found: dict[str, str] = {}
        seen, todo = set[str](), list(modules)
        while todo:
            name = todo.pop()
            if name and name not in seen:
                seen.add(name)
                todo += self._look(name)

    def _look(self, name: str) -> Iterable[str]:
        """Note the state of a module, and return the names of what it leads to."""
        top = name.partition(".")[0]
        if (
            top in self.found
            or top in sys.stdlib_module_names
            or not _PICKLING.isdisjoint((top, name))
            or top in _SCRIPTS
        ):
            return ()
        if top in OURS:
            # Here, and below: importlib.metadata brings 28 modules, email among them, and matrices need none.
            from wrenla.executors.transport.distributions import version_of_wrenla

            self.found[top] = version_of_wrenla()
            return ()
        whole = find(top)
        if whole is None:
            self.found[top] = "not there"
            return ()
        if whole.has_location and whole.origin and not is_local(top, whole.origin):
            self.found[top] = "installed"
            return self._look_at_package(top, whole)
        parent = name.rpartition(".")[0]
        spec = whole if name == top else find(name)
        if spec is None or not spec.has_location or not spec.origin:  # an attribute of a module, mostly
            return (parent,)
        self.found[f"{name}: {os.path.basename(spec.origin)}"] = _state(spec.origin)
        return (parent, *_imports(spec.origin, name, spec.submodule_search_locations is not None))

    def _look_at_package(self, top: str, spec: ModuleSpec) -> Iterable[str]:
        """Note the state of all files of an installed package, and return the names of what it leads to."""
        from wrenla.executors.transport.distributions import required

        places = list(spec.submodule_search_locations or ())
        files = [(path[len(place) + 1 :], path) for place in places for path in _files(place)]
        if not places and spec.origin:
            files = [("", spec.origin)]
        self.found |= {f"{top}/{inner}": _state(path) for inner, path in files}
        needed = set(required(top))
        sources = [(inner, path) for inner, path in files if path.endswith(".py")]
        if len(sources) <= _READ:
            for inner, path in sources:
                parts = [top, *inner.removesuffix(".py").split("/")]
                name = ".".join(part for part in parts if part and part != "__init__")
                needed |= _packages(path, _state(path), name, inner.endswith("__init__.py"))
        return needed


def _imports(path: str, name: str, package: bool) -> Iterable[str]:
    """Return the modules that a source file imports, none if it has gone."""
    if not path.endswith(".py"):
        return ()
    try:
        status = os.stat(path)
        return read_source(path, status.st_mtime_ns, status.st_size, name, package)[2]
    except OSError:
        return ()


@functools.lru_cache(maxsize=1024)
def _packages(path: str, state: str, name: str, package: bool) -> frozenset[str]:
    """Return the top modules that a source of an installed package imports, as far as they are there."""
    tops = {each.partition(".")[0] for each in _imports(path, name, package)}
    return frozenset(top for top in tops - sys.stdlib_module_names if find(top) is not None)


def _files(folder: str) -> Iterator[str]:
    """Yield what is in a package, but for what Python makes itself, and its tests."""
    folders = [folder]
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in _NOT_USED:
                    folders.append(entry.path)
            elif not entry.name.endswith((".pyc", ".pyo")):
                yield entry.path


def _state(path: str) -> str:
    """Return what stands for the content of a file; it is read again when its times have changed."""
    try:
        status = os.stat(path)
    except OSError:  # in an archive, say
        return "no file"
    return _hash(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


@functools.lru_cache(maxsize=1 << 15)
def _hash(path: str, size: int, changed: int, touched: int, inode: int) -> str:
    if size > _WHOLE:
        return f"{size} {changed}"
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "not readable"
