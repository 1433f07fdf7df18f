"""State of local modules, where a function reaches it and their sources do not say it: a part of its name.

A program may set `helper.CONST`, change `helper.TABLE`, or replace `helper.k`; and a file may be edited after
it was imported. What a function reaches is known by the names in its byte code and in that of all it calls.
"""

from __future__ import annotations

import dis
import functools
import os
import secrets
import sys
import time
import types
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from wrenla.executors.transport.bytecode_imports import absolute, content_of, parts_of_code
from wrenla.executors.transport.stable_pickle import steady_state
from wrenla_handler.serialize.modules import Source

__all__ = ["state_of"]

_STARTED = time.time_ns()
"""Files that have changed since may not be what was imported."""


def state_of(reached: Iterable[object], sources: Iterable[Source]) -> list[str]:
    """Return what stands for the state of modules, in a stable order: nothing if it is what the sources say.

    Parameters
    ----------
    reached : iterable of object
        The code that was pickled with a function, and the functions and classes that its pickle names.
    sources : iterable of Source
        The local modules.
    """
    walk = _Walk(sources)
    walk.go(reached)
    return sorted(walk.found)


class _Space(NamedTuple):
    """The names of a module or of a class; `body` is the code that made them, if its source is known."""

    module: str
    path: tuple[str, ...]
    values: Mapping[str, Any]
    body: types.CodeType | None

    def label(self, name: str) -> str:
        return ".".join((self.module, *self.path, name))


class _Walk:
    """Follows names from code to values, and from values to code, until nothing new is found."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self.sources = {source.name: source for source in sources}
        self.found = set[str]()
        self._names = set[str]()
        self._seen: dict[int, object] = {}
        self._looked = set[str]()
        self._todo: list[object] = []
        self._spaces: list[_Space] = []

    def go(self, reached: Iterable[object]) -> None:
        for name, source in self.sources.items():
            module = sys.modules.get(name)
            if isinstance(module, types.ModuleType):
                self._spaces.append(_Space(name, (), dict(vars(module)), _codes_of(source)[0]))
        self._todo, before = list(reached), -1
        while self._todo or len(self._names) > before:
            before = len(self._names)
            while self._todo:
                self._reach(self._todo.pop())
            for space in self._spaces:
                for name in sorted(self._names & space.values.keys()):
                    if not (name.startswith("__") and name.endswith("__")):
                        self._look(space, name)

    def _reach(self, obj: Any) -> None:
        """Follow some code, a function or a class."""
        if id(obj) in self._seen:
            return
        self._seen[id(obj)] = obj
        if isinstance(obj, types.CodeType):
            self._names |= _names_in(obj)
            return
        obj = _function_in(obj)
        if obj is None or obj.__module__ not in self.sources:
            return
        source = self.sources[obj.__module__]
        if isinstance(obj, types.FunctionType):
            self._reach_function(obj, source)
        else:
            bodies = _codes_of(source)[1].get(obj.__qualname__, ())
            body = bodies[0] if len(bodies) == 1 else None
            space = _Space(obj.__module__, tuple(obj.__qualname__.split(".")), dict(vars(obj)), body)
            self._spaces.append(space)
            self._todo += (type(obj), *obj.__mro__[1:])
            for name, value in space.values.items():
                if any(_function_in(part) is not None for part in _parts_of(value)):
                    self._look(space, name)  # methods are called without being named

    def _reach_function(self, function: types.FunctionType, source: Source) -> None:
        code = function.__code__
        self._names |= _names_in(code)
        cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
        if "__class__" in cells:
            self._todo.append(content_of(cells.pop("__class__")))
        more = {name: value for name, value in vars(function).items() if name != "__wrapped__"}
        known = _codes_of(source)[1].get(code.co_qualname) == (code,)  # not one of several of this name
        inside = [*map(content_of, cells.values())]
        state = (function.__defaults__, function.__kwdefaults__, inside, more)
        if not known or any(state):
            label = f"{function.__module__}.{function.__qualname__}"
            self._note(source.name, label, (None if known else code, *state))

    def _look(self, space: _Space, name: str) -> None:
        """Follow what a name stands for, and note it unless it is what the source says."""
        label, value = space.label(name), space.values[name]
        if label in self._looked:
            return
        self._looked.add(label)
        literals = _literals(space.body) if space.body else {}
        if name in literals and _alike(literals[name], value):
            return
        imported = self._imported(space, name, value)
        if isinstance(value, types.ModuleType):
            if not imported:
                self.found.add(f"{label} is {value.__name__}")
            return
        for part in _parts_of(value):
            function = _function_in(part)
            if function is None or function.__module__ not in self.sources:
                if part is not None and not imported:
                    self._note(space.module, label, part)
                continue
            self._todo.append(part)
            own = f"{function.__module__}.{function.__qualname__}"
            if (own != label or function is not part) and not imported:
                self.found.add(f"{label} is {own} {type(part).__qualname__}")

    def _imported(self, space: _Space, name: str, value: object) -> bool:
        """Tell whether a value is what an import statement of the source says, and follow that."""
        source = self.sources[space.module]
        package = space.module if source.package else space.module.rpartition(".")[0]
        origin, inner = _imports(space.body, package).get(name, ("", "")) if space.body else ("", "")
        module = sys.modules.get(origin)
        if module is None:
            return False
        if not inner:
            return module is value
        self._names |= {inner}
        return getattr(module, inner, self) is value

    def _note(self, module: str, label: str, value: object) -> None:
        try:
            state = steady_state(value)
        except Exception:  # whatever it is: it may be another one in each process
            self._add(module, f"{label} {secrets.token_hex()}")
            return
        self._todo += state.reached
        self._add(module, f"{label} {state.sha256}")

    def _add(self, module: str, text: str) -> None:
        self.found.add(text)
        if _changed_since_start(self.sources[module].path):
            self.found.add(secrets.token_hex())  # workers would import what is not loaded here


def _function_in(obj: Any) -> Any:
    """Return a function or a class itself, and what functools.cache or Numba has made faster, or None."""
    if isinstance(obj, types.FunctionType | type):
        return obj
    inside = obj.__wrapped__ if isinstance(obj, functools._lru_cache_wrapper) else None
    if type(obj).__module__.startswith("numba."):
        inside = getattr(obj, "py_func", None)
    return inside if isinstance(inside, types.FunctionType) else None


def _parts_of(value: Any) -> tuple[Any, ...]:
    """Return the functions of a descriptor, or the value itself."""
    if isinstance(value, staticmethod | classmethod):
        return (value.__func__,)
    if isinstance(value, property):
        return (value.fget, value.fset, value.fdel)
    if isinstance(value, functools.cached_property):
        return (value.func,)
    return (value,)


def _alike(literal: Any, value: Any) -> bool:
    return type(literal) is type(value) and repr(literal) == repr(value)


def _changed_since_start(path: str) -> bool:
    try:
        return os.stat(path).st_mtime_ns > _STARTED
    except OSError:
        return True


def _codes_of(source: Source) -> tuple[types.CodeType | None, Mapping[str, tuple[types.CodeType, ...]]]:
    return _codes(source.text, source.path)


@functools.lru_cache(maxsize=256)
def _codes(text: str, path: str) -> tuple[types.CodeType | None, Mapping[str, tuple[types.CodeType, ...]]]:
    """Return the code of a module, and by their full names that of all functions and classes in it."""
    try:
        body = compile(text, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return None, {}
    found: dict[str, tuple[types.CodeType, ...]] = {}
    for code in parts_of_code(body):
        found[code.co_qualname] = (*found.get(code.co_qualname, ()), code)
    return body, found


@functools.lru_cache(maxsize=2048)
def _names_in(code: types.CodeType) -> frozenset[str]:
    """Return the names that code uses, and its strings: they may be those of `getattr`."""
    names = {name for part in parts_of_code(code) for name in part.co_names}
    texts = (text for part in parts_of_code(code) for text in part.co_consts if isinstance(text, str))
    return frozenset(names.union(text for text in texts if text.isidentifier()))


@functools.lru_cache(maxsize=1024)
def _literals(body: types.CodeType) -> Mapping[str, Any]:
    """Return the names that are given a constant, and nothing else, by the code of a module or a class."""
    found, before, stored = dict[str, Any](), None, set[str]()
    for instruction in dis.get_instructions(body):
        if instruction.opname == "STORE_NAME":
            name = instruction.argval
            if name in stored:
                found.pop(name, None)
            elif before is not None and before.opname in ("LOAD_CONST", "LOAD_SMALL_INT"):
                found[name] = before.argval
            stored.add(name)
        before = instruction
    return found


@functools.lru_cache(maxsize=1024)
def _imports(body: types.CodeType, package: str) -> Mapping[str, tuple[str, str]]:
    """Return the names that import statements bind: to a module, or to a name in one."""
    found, constants = dict[str, tuple[str, str]](), list[Any]()
    module, inner = "", ""
    for instruction in dis.get_instructions(body):
        if instruction.opname == "IMPORT_NAME":
            module, inner = absolute("." * constants[-2] + instruction.argval, package), ""
        elif instruction.opname == "IMPORT_FROM":
            inner = instruction.argval
        elif instruction.opname == "STORE_NAME":
            name = instruction.argval
            found.pop(name, None)
            if module:
                top = module.partition(".")[0]
                found[name] = (module, inner) if inner else (top if name == top else module, "")
            inner = ""
        elif instruction.opname.startswith("LOAD_"):
            constants.append(instruction.argval)
            module = ""
    return found
