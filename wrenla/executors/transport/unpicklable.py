"""Unpicklable parts of a function or an argument: find them, and name the remedy."""

from __future__ import annotations

import functools
import io
import types
import weakref
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from cloudpickle import cloudpickle as inside

from wrenla.executors.map_api.failed_inputs import short
from wrenla_handler.serialize.blobs import dump

__all__ = ["blame"]

_DEEPEST, _MOST = 12, 500
"""How far is looked into an object, and how many objects are tried."""

_REMEDIES: tuple[tuple[tuple[type, ...] | str, str], ...] = (
    ((io.IOBase,), "open it inside the function, by its name"),
    ((types.GeneratorType,), "pass list(…) of it"),
    ((types.AsyncGeneratorType, types.CoroutineType), "let the function run it: asyncio.run(…)"),
    ((weakref.ReferenceType,), "pass the object itself, or let __getstate__ of what holds it leave it out"),
    ((weakref.WeakKeyDictionary, weakref.WeakValueDictionary), "pass dict(…) of it"),
    ((ContextVar,), "pass its value"),
    ((types.FrameType, types.TracebackType), "pass its text, as of traceback.format_exc()"),
    ("socket ssl sqlite3 psycopg pymongo redis botocore sqlalchemy requests", "connect inside the function"),
)


def blame(what: str, value: Any) -> str:
    """Return a line that names the unpicklable part of a value, and the remedy.

    Parameters
    ----------
    what : str
        What the value is: an argument, a function.
    value : object
        It cannot be pickled.
    """
    search = _Search()
    path, found = search.down(value)
    place = " of ".join([*reversed(path), what])
    return (
        f"it is {place}, {short(found)}, that cannot travel to another process: {_remedy(found)}, "
        'or use threads (kind="thread"), to which nothing travels'
    )


def _remedy(found: Any) -> str:
    kind = type(found)
    for kinds, text in _REMEDIES:
        if isinstance(kinds, str):
            if kind.__module__.lstrip("_").partition(".")[0] in kinds.split():
                return text
        elif isinstance(found, kinds):
            return text
    return "make it inside the function"


class _Search:
    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._left = _MOST

    def down(self, value: Any) -> tuple[list[str], Any]:
        """Return the way to the innermost part that cannot be pickled, and that part."""
        path: list[str] = []
        while len(path) < _DEEPEST:
            self._seen.add(id(value))
            for name, part in _parts(value):
                if self._fails(part):
                    path.append(name)
                    value = part
                    break
            else:
                break
        return [name for name in path if name], value

    def _fails(self, part: Any) -> bool:
        if id(part) in self._seen or self._left <= 0:
            return False
        self._left -= 1
        try:
            dump(part)
        except Exception:
            return True
        return False


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a value is made of, with words for it."""
    if isinstance(value, types.FunctionType):
        names = inside._extract_code_globals(value.__code__)
        known = value.__globals__
        yield from ((f"the global name {name!r}", known[name]) for name in names if name in known)
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=False):
            try:
                yield f"the variable {name!r}", cell.cell_contents
            except ValueError:  # nothing in it yet
                continue
        yield from (("a default value", each) for each in value.__defaults__ or ())
        yield from ((f"the default of {name!r}", each) for name, each in (value.__kwdefaults__ or {}).items())
    elif isinstance(value, types.MethodType):
        yield "its object", value.__self__
        yield "", value.__func__
    elif isinstance(value, functools.partial):
        yield "", value.func
        yield from ((f"argument {n} of the partial", each) for n, each in enumerate(value.args, 1))
        yield from ((f"argument {name!r} of the partial", each) for name, each in value.keywords.items())
    elif isinstance(value, Mapping):
        yield from ((f"item {short(key)}", each) for key, each in list(value.items()))
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"item {n}", each) for n, each in enumerate(value))
    if isinstance(value, type):
        yield from ((f"the attribute {name!r}", each) for name, each in list(vars(value).items()))
    elif not isinstance(value, types.FunctionType | types.ModuleType | Mapping):
        yield from _attributes(value)
    if hasattr(value, "__wrapped__"):
        yield "", value.__wrapped__


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    names = [*getattr(value, "__dict__", ())]
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        names += [slots] if isinstance(slots, str) else list(slots)
    for name in names:
        if hasattr(value, name):
            yield f"the attribute {name!r}", getattr(value, name)
    yield "the class", type(value)
