"""Local modules that a function needs: found by names in its pickle and imports in their sources."""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
import logging
import os
import pickle
import site
import sys
import sysconfig
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np

from wrenla.executors.transport.bytecode_imports import imported_by, imported_by_function
from wrenla_handler.serialize.modules import Source, hash_of
from wrenla_handler.serialize.pickling import Reductions

__all__ = [
    "OURS",
    "Naming",
    "NamingPickler",
    "by_value_if_run",
    "find",
    "is_local",
    "local_sources",
    "read_source",
]

logger = logging.getLogger("wrenla.calls")

OURS = frozenset({"wrenla", "wrenla_handler", "wrenla_kernels"})


_SPAWNED = "__mp_main__"
"""What multiprocessing calls the script of a process that it has spawned."""


class Naming(Reductions):
    """Mixin of a pickler: note the modules that its pickle needs to load and run.

    Parameters
    ----------
    modules : set of str
        Takes their names.
    """

    def __init__(self, file: Any, *, modules: set[str], **more: Any) -> None:
        super().__init__(file, **more)  # type: ignore[call-arg]
        self._modules = modules

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, types.ModuleType):
            self._modules.add(obj.__name__)
            by_value_if_run(obj.__name__)
        elif callable(obj):  # also what stands for a function, as that of functools.cache does
            module = getattr(obj, "__module__", None)
            if isinstance(module, str):
                self._modules.add(module)
                by_value_if_run(module)
            elif isinstance(obj, np.ufunc):  # which do not say where they are from
                self._modules.add(pickle.whichmodule(obj, obj.__name__))  # type: ignore[attr-defined]
            if isinstance(obj, types.FunctionType):
                self._modules.update(imported_by_function(obj))
        return super().reducer_override(obj)


class NamingPickler(Naming, cloudpickle.Pickler):  # type: ignore[misc]
    """cloudpickle's pickler, which notes modules."""


def by_value_if_run(name: str = _SPAWNED) -> None:
    """Pickle a module's contents by value, as from ``__main__``, if it was run and not imported.

    So it is with the script of a process that multiprocessing has spawned, and with what `runpy` runs under
    some name: no worker could import it.
    """
    module = sys.modules.get(name)
    if isinstance(module, types.ModuleType) and module.__name__ == name != "__main__":
        file, spec = getattr(module, "__file__", None) or "", getattr(module, "__spec__", None)
        if name == _SPAWNED or (spec is None and file.endswith(".py") and find(name) is None):
            cloudpickle.register_pickle_by_value(module)


def local_sources(
    modules: Iterable[str], include: Iterable[str] = (), exclude: Iterable[str] = ()
) -> list[Source]:
    """Return the sources of local modules, of what they import, and of the packages around them.

    Local is what is neither in the standard library nor installed: a script's own modules, a repository that
    is on the path or installed as editable. Where that guess is wrong there are `include` and `exclude`.

    Parameters
    ----------
    modules : iterable of str
    include : iterable of str
        Modules to take along, packages with all that is in them, installed or not.
    exclude : iterable of str
        Modules and packages to leave out.

    Raises
    ------
    ModuleNotFoundError
        If there is no source of a module that is to be included.
    """
    left_out, found = tuple(exclude), dict[str, Source]()
    todo = [(name, False) for name in modules]
    for name in include:
        spec = find(name)
        if spec is None or not _is_source(spec):
            raise ModuleNotFoundError(f"include_modules: {name}: there is no such module, or no source of it")
        todo += [(inner, True) for inner in _with_all_inside(name, spec)]
    while todo:
        name, wanted = todo.pop()
        if name in found or any(name == other or name.startswith(f"{other}.") for other in left_out):
            continue
        spec = find(name)
        if spec is None or not _is_source(spec) or not (wanted or is_local(name, spec.origin or "")):
            continue
        path = str(spec.origin)
        status = os.stat(path)
        text, sha256, imports = read_source(
            path, status.st_mtime_ns, status.st_size, name, spec.submodule_search_locations is not None
        )
        found[name] = Source(name, path, spec.submodule_search_locations is not None, sha256, text)
        parent = name.rpartition(".")[0]
        todo += [(inner, False) for inner in imports]
        todo += [(parent, wanted)] if parent else []
    if found and logger.isEnabledFor(logging.DEBUG):
        logger.debug("modules that travel with the call: %s", ", ".join(sorted(found)))
    return list(found.values())


@functools.lru_cache(maxsize=1024)
def read_source(
    path: str, changed: int, size: int, name: str, package: bool
) -> tuple[str, str, frozenset[str]]:
    """Return the text of a module, its hash, and the modules that it imports; kept until the file changes."""
    try:
        text = importlib.util.decode_source(Path(path).read_bytes())
        code = compile(text, path, "exec", dont_inherit=True)
        imports = imported_by(code, name if package else name.rpartition(".")[0])
    except (SyntaxError, UnicodeDecodeError):  # importing it will say so
        text, imports = Path(path).read_bytes().decode("utf-8", "replace"), frozenset()
    return text, hash_of(text), imports


def find(name: str) -> importlib.machinery.ModuleSpec | None:
    """Find a module without importing anything."""
    if not name or name in ("__main__", _SPAWNED):
        return None
    loaded = getattr(sys.modules.get(name), "__spec__", None)
    if loaded is not None:
        return loaded  # type: ignore[no-any-return]
    parent = name.rpartition(".")[0]
    places = None
    if parent:
        around = find(parent)
        if around is None or around.submodule_search_locations is None:
            return None
        places = list(around.submodule_search_locations)
    try:
        return importlib.machinery.PathFinder.find_spec(name, places)
    except (ImportError, ValueError, AttributeError):
        return None


def _is_source(spec: importlib.machinery.ModuleSpec) -> bool:
    return bool(
        spec.has_location and spec.origin and spec.origin.endswith(".py") and os.path.isfile(spec.origin)
    )


def is_local(name: str, path: str) -> bool:
    top = name.partition(".")[0]
    if top in OURS or top in sys.stdlib_module_names:
        return False
    real = os.path.realpath(path)
    return not any(real.startswith(place) for place in _installed())


@functools.cache
def _installed() -> tuple[str, ...]:
    """Return the folders of the standard library and of installed packages."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    places = {sysconfig.get_path(name) for name in names} | {
        *site.getsitepackages(),
        site.getusersitepackages(),
    }
    return tuple(os.path.join(os.path.realpath(place), "") for place in places)


def _with_all_inside(name: str, spec: importlib.machinery.ModuleSpec) -> Iterator[str]:
    yield name
    for place in spec.submodule_search_locations or ():
        for path in sorted(Path(place).rglob("*.py")):
            parts = path.relative_to(place).with_suffix("").parts
            yield ".".join((name, *(part for part in parts if part != "__init__")))
