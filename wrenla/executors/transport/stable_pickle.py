"""Stable pickles of functions: the same bytes in every process, as names of results depend on them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import pickle
import sys
import types
from collections.abc import Collection
from typing import Any, ClassVar

import cloudpickle
from cloudpickle import cloudpickle as inside

from wrenla.executors.transport.local_modules import Naming, NamingPickler
from wrenla.executors.transport.stable_order import without_order
from wrenla_handler.serialize.lines import code_at, lines_as_source, mark_of, source_of, span_of
from wrenla_handler.serialize.modules import Source
from wrenla_handler.serialize.pickling import TRACKED

__all__ = ["steady_pickle"]

_SETS = (pickle.EMPTY_SET, pickle.FROZENSET)
"""How sets begin or end in a pickle. (The bytes may stand for something else: then we are only slower.)"""


def steady_pickle(value: object) -> tuple[bytes, set[str], list[Source]]:
    """Return a pickle that depends on nothing but the value, the modules that it names, and its source lines.

    cloudpickle draws a random name for each class of a script, by which a process knows it again. Here it is
    made of the whole pickle's hash: other content, other class. The order of sets depends on the hashes of
    strings, which differ in each process: here they are sorted.
    """
    found = _dump(_QuickPickler, value)
    if any(code in found[0] for code in _SETS):
        with contextlib.suppress(RecursionError):  # what contains itself has no order
            found = _dump(_SortingPickler, value)
    return found


class _Steady(Naming):
    """Puts marks where random names of classes would be, and names of files that processes do not share."""

    def __init__(self, file: Any, **more: Any) -> None:
        super().__init__(file, **more)
        self.marks: dict[str, str] = {}
        self.classes: dict[str, object] = {}
        self.lines: list[Source] = []

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is types.ModuleType:
            return _shared_name(inside._module_reduce(obj))
        reduced = without_order(obj, super().reducer_override(obj))
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
        text = self.lines_of(code)
        mark = mark_of(code, text or source_of(code))
        if text:
            self.lines.append(lines_as_source(mark, code.co_filename, span_of(code)[0], text))
        return code_at, self.arguments_of(code, mark)

    def _function_getnewargs(self, func: Any) -> Any:
        """Let equal texts be one object, since a pickle shows which are: of a module its file and its code's.

        They are one when it is imported first, and from Python 3.13 on not when it is imported again.
        """
        found = super()._function_getnewargs(func)  # type: ignore[misc]
        about = found[1]
        about |= {key: sys.intern(text) for key, text in about.items() if type(text) is str}
        return found


def _shared_name(reduced: Any) -> Any:
    """Let the name of a module be the one string that code has for it, which it is not under ``-W error``."""
    make, (name, *state) = reduced
    return make, (sys.intern(name), *state)


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
            self.save(raw.tobytes() if raw.readonly else bytearray(raw))

    dispatch[pickle.PickleBuffer] = save_picklebuffer


class _SortingPickler(_Steady, _Plain):
    """Writes sets in an order of their content."""

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) in (set, frozenset):
            return type(obj), (_sorted(obj),)
        return super().reducer_override(obj)


def _sorted(items: Collection[Any]) -> list[Any]:
    if len({*map(type, items)}) == 1 and isinstance(next(iter(items)), str | bytes | int):
        return sorted(items)
    return sorted(items, key=lambda item: _dump(_SortingPickler, item)[0])


def _dump(kind: type[Any], value: object) -> tuple[bytes, set[str], list[Source]]:
    file, modules = io.BytesIO(), set[str]()
    pickler = kind(file, protocol=5, modules=modules)
    pickler.dump(value)
    pickled = file.getvalue()
    if pickler.marks:
        whole = hashlib.sha256(pickled).hexdigest()
        for mark in pickler.marks.values():
            name = hashlib.sha256(f"{whole} {mark}".encode()).hexdigest()[: len(mark)]
            pickled = pickled.replace(mark.encode(), name.encode())
            if mark in pickler.classes:
                # who loads it in this process gets the class itself: what it raises can be caught by its name
                with inside._DYNAMIC_CLASS_TRACKER_LOCK:
                    inside._DYNAMIC_CLASS_TRACKER_BY_ID[name] = pickler.classes[mark]
    return pickled, modules, pickler.lines
