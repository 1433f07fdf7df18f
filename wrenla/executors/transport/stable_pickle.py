"""Stable pickles of functions: the same bytes in every process, as names of results depend on them."""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import hashlib
import io
import os
import pickle
import sys
import threading
import types
import weakref
from collections.abc import Collection
from typing import Any, ClassVar, NamedTuple

import cloudpickle
import numpy as np
from cloudpickle import cloudpickle as inside

from wrenla.executors.transport.bytecode_imports import imports_relatively
from wrenla.executors.transport.local_modules import Naming, NamingPickler
from wrenla.executors.transport.stable_order import without_order
from wrenla_handler.serialize.lines import MARK, code_at, lines_as_source, mark_of, source_of, span_of
from wrenla_handler.serialize.modules import Source
from wrenla_handler.serialize.pickling import TRACKED

__all__ = ["SteadyPickle", "steady_pickle", "steady_state"]

_SETS = (pickle.EMPTY_SET, pickle.FROZENSET)
"""How sets begin or end in a pickle. (The bytes may stand for something else: then we are only slower.)"""


_NO_CONTENT = (
    *(type(threading.Lock()), type(threading.RLock()), threading.Condition, threading.Semaphore),
    *(threading.Event, threading.local, threading.Thread, io.IOBase, weakref.ref),
    *(weakref.WeakKeyDictionary, weakref.WeakValueDictionary, weakref.WeakSet, concurrent.futures.Executor),
)
"""What is another one in each process, and nothing that is computed depends on."""


class SteadyPickle(NamedTuple):
    """A pickle, and what goes with it.

    Attributes
    ----------
    pickled : bytes
    modules : set of str
        Modules that it names.
    lines : list of Source
        Source lines of the code in it.
    sha256 : str
        Hash of the pickle without the names of its files and what is in its lines.
    reached : list of object
        The code that is in it, and what it names that can be called.
    """

    pickled: bytes
    modules: set[str]
    lines: list[Source]
    sha256: str
    reached: list[object]


def steady_pickle(value: object) -> SteadyPickle:
    """Return a pickle that depends on nothing but the value.

    cloudpickle draws a random name for each class of a script, by which a process knows it again. Here it is
    made of the whole pickle's hash: other content, other class. The order of sets depends on the hashes of
    strings, which differ in each process: here they are sorted.
    """
    return _in_order(_QuickPickler, _SortingPickler, value)


def steady_state(value: object) -> SteadyPickle:
    """Return what stands for a value that need not travel: locks, files and the like only say their kind."""
    return _in_order(_QuickState, _SortingState, value)


def _in_order(quick: type[Any], sorting: type[Any], value: object) -> SteadyPickle:
    found = _dump(quick, value)
    if any(code in found.pickled for code in _SETS):
        with contextlib.suppress(RecursionError):  # what contains itself has no order
            found = _dump(sorting, value)
    return found


class _Steady(Naming):
    """Puts marks where random names of classes would be, and names of files that processes do not share."""

    def __init__(self, file: Any, **more: Any) -> None:
        super().__init__(file, **more)
        self.marks: dict[str, str] = {}
        self.classes: dict[str, object] = {}
        self.files: dict[str, str] = {}
        self.lines: list[Source] = []
        self.reached: list[object] = []

    def reducer_override(self, obj: Any) -> Any:
        reduced = without_order(obj, super().reducer_override(obj))
        if not isinstance(reduced, tuple) and callable(obj):
            self.reached.append(obj)
        if type(obj) is types.ModuleType:
            return _shared_name(inside._module_reduce(obj))
        if not isinstance(obj, TRACKED):
            return reduced
        if reduced is NotImplemented and type(obj) in inside.Pickler.dispatch_table:  # TypeVar
            reduced = inside.Pickler.dispatch_table[type(obj)](obj)
        if not isinstance(reduced, tuple):
            return reduced
        name = inside._DYNAMIC_CLASS_TRACKER_BY_CLASS.get(obj)
        if name is None or name not in reduced[1]:
            return reduced
        mark = self.marks.setdefault(name, f"wrenla-{len(self.marks):0{len(name) - 7}d}")
        self.classes[mark] = obj
        args = tuple(mark if arg is name else arg for arg in reduced[1])
        return (reduced[0], args, *reduced[2:])

    def reduced_code(self, code: types.CodeType) -> Any:
        self.reached.append(code)
        text, file = self.lines_of(code), code.co_filename
        if text or file not in self.files:
            if file not in self.files:
                self.files[file] = mark_of(len(self.files), text or source_of(code) or file)
            self.lines.append(lines_as_source(self.files[file], file, span_of(code)[0], text))
        return code_at, self.arguments_of(code, self.files[file])

    def _function_getnewargs(self, func: Any) -> Any:
        """Leave out where a script is; a function that uses ``__file__`` has it anyway."""
        found = super()._function_getnewargs(func)  # type: ignore[misc]
        found[1].pop("__file__", None)
        if not imports_relatively(func.__code__):
            found[1].pop("__package__", None)
        return found


def _shared_name(reduced: Any) -> Any:
    """Let the name of a module be the one string that code has for it, which it is not under ``-W error``."""
    make, (name, *state) = reduced
    return make, (name if name == "__main__" else sys.intern(name), *state)


class _QuickPickler(_Steady, NamingPickler):
    """The usual one, written in C."""


class _Plain(pickle._Pickler):
    """cloudpickle's pickler on top of the one that is written in Python: it asks how to reduce sets, too."""

    dispatch: ClassVar[dict[Any, Any]] = dict(pickle._Pickler.dispatch)
    dispatch_table = cloudpickle.Pickler.dispatch_table
    _function_reduce = cloudpickle.Pickler._function_reduce
    _dynamic_function_reduce = cloudpickle.Pickler._dynamic_function_reduce
    _function_getnewargs = cloudpickle.Pickler._function_getnewargs

    def __init__(self, file: Any, **more: Any) -> None:
        super().__init__(file, **more)
        self.globals_ref: dict[int, Any] = {}

    def reducer_override(self, obj: Any) -> Any:
        return cloudpickle.Pickler.reducer_override(self, obj)

    def save_picklebuffer(self, buffer: pickle.PickleBuffer) -> None:
        """Write the memory of an array as any other bytes.

        Python's own method memoizes what it writes, even if it has done so: there is one object for all empty
        ones, and one for each single byte.
        """
        with buffer.raw() as raw:
            self.save(raw.tobytes() if raw.readonly else bytearray(raw))  # type: ignore[attr-defined]

    dispatch[pickle.PickleBuffer] = save_picklebuffer


class _SortingPickler(_Steady, _Plain):
    """Writes sets in an order of their content."""

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) in (set, frozenset):
            return type(obj), (_sorted(obj),)
        return super().reducer_override(obj)


class _State:
    """Lets values say what they are where they have no content that a result could depend on."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, np.memmap) and obj.filename is not None:
            status = os.stat(obj.filename)
            file = f"{obj.filename} {status.st_ino} {status.st_size} {status.st_mtime_ns}"
            return str, (f"{file} {obj.offset} {obj.shape} {obj.strides} {obj.dtype}",)
        if isinstance(obj, types.MappingProxyType):
            return dict, (dict(obj),)
        if isinstance(obj, ctypes.CDLL):
            return str, (f"library {obj._name}",)
        if isinstance(obj, _NO_CONTENT):
            return str, (type(obj).__qualname__,)
        return super().reducer_override(obj)  # type: ignore[misc]


class _QuickState(_State, _QuickPickler):
    pass


class _SortingState(_State, _SortingPickler):
    pass


def _sorted(items: Collection[Any]) -> list[Any]:
    if len({*map(type, items)}) == 1 and isinstance(next(iter(items)), str | bytes | int):
        return sorted(items)
    return sorted(items, key=lambda item: _dump(_SortingPickler, item).sha256)


def _dump(kind: type[Any], value: object) -> SteadyPickle:
    file, modules = io.BytesIO(), set[str]()
    pickler = kind(file, protocol=5, modules=modules)
    pickler.dump(value)
    pickled = file.getvalue()
    whole = _hash_without(pickled, pickler.files.values())
    for mark, known in pickler.classes.items():
        name = hashlib.sha256(f"{whole} {mark}".encode()).hexdigest()[: len(mark)]
        pickled = pickled.replace(mark.encode(), name.encode())
        # who loads it in this process gets the class itself: what it raises can be caught by its name
        with inside._DYNAMIC_CLASS_TRACKER_LOCK:
            inside._DYNAMIC_CLASS_TRACKER_BY_ID[name] = known
    return SteadyPickle(pickled, modules, pickler.lines, whole, pickler.reached)


def _hash_without(pickled: bytes, files: Collection[str]) -> str:
    """Return the hash of a pickle without the marks of files."""
    whole, done, view = hashlib.sha256(), 0, memoryview(pickled)
    for found in MARK.finditer(pickled):
        if found[0].decode() in files:
            whole.update(view[done : found.start()])
            done = found.end()
    whole.update(view[done:])
    return whole.hexdigest()
