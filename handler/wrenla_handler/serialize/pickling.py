"""Pickles of what scripts and notebooks define, where cloudpickle's own would fail or lose something."""

from __future__ import annotations

import copyreg
import dataclasses
import enum
import functools
import io
import pickle
import sys
import types
import typing
from collections.abc import Callable
from typing import Any

import cloudpickle
from cloudpickle import cloudpickle as inside

from wrenla_handler.serialize.classes import reduced_class, reduced_member, set_slots, slots_of
from wrenla_handler.serialize.lines import FILE, code_with_lines, source_of, span_of

__all__ = ["TRACKED", "Pickler", "Reductions", "reduced_exception"]

TRACKED = (type, typing.TypeVar, typing.ParamSpec, typing.TypeVarTuple, typing.NewType)
"""Of what there is one of each kind, by which a process knows it again: it has a random name."""

_HEAP_TYPE = 1 << 9
"""Flag of classes that were made by a `class` statement."""

_MOST_LINES = 128 << 10
"""Characters of source that one pickle takes along."""


class Reductions:
    """Reductions in which our pickler differs from cloudpickle's; a base class before cloudpickle's.

    Functions take their source lines along, share the variables around them, and may be cached or dispatched;
    classes have slots; exceptions come back as they were, whatever their `__init__` wants.
    """

    _spans: dict[str, list[tuple[int, int]]] | None = None  # made when needed: most pickles have no code
    _room = _MOST_LINES

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind is types.CodeType:
            return self.reduced_code(obj)
        reduce = _BY_TYPE.get(kind) or (_OF_NUMPY.get(kind.__name__) if kind.__module__ == "numpy" else None)
        if reduce is not None:
            return reduce(obj)
        reduced: Any = super().reducer_override(obj)  # type: ignore[misc]
        if kind is types.FunctionType and isinstance(reduced, tuple):
            of_function: Any = _BY_CODE.get(obj.__code__, _with_cells)
            return of_function(obj, reduced)
        if issubclass(kind, type):
            return reduced_class(obj, reduced)
        if isinstance(kind, enum.EnumMeta):
            return reduced_member(obj)
        if issubclass(kind, BaseException) and not _has_reduction(kind):
            return reduced_exception(obj)
        return reduced

    def reduced_code(self, code: types.CodeType) -> Any:
        """Reduce code as cloudpickle does, but with its lines and the name of its file."""
        text = self.lines_of(code)
        if text:
            return code_with_lines, (span_of(code)[0], text, *self.arguments_of(code, code.co_filename))
        return types.CodeType, self.arguments_of(code, code.co_filename)

    def lines_of(self, code: types.CodeType) -> str:
        """Return the source lines of some code, unless those of what is around it are on their way."""
        if self._spans is None:
            self._spans = {}
        (first, last), spans = span_of(code), self._spans.setdefault(code.co_filename, [])
        if any(first >= begin and last <= end for begin, end in spans):
            return ""
        spans.append((first, last))
        text = source_of(code)
        if len(text) > self._room:
            return ""
        self._room -= len(text)
        return text

    @staticmethod
    def arguments_of(code: types.CodeType, name: str) -> tuple[Any, ...]:
        """Return what makes some code, with a name for its file."""
        _, arguments = inside._code_reduce(code)
        name = "".join(list(name))  # a string of its own, or what is shared would differ between processes
        return (*arguments[:FILE], name, *arguments[FILE + 1 :])


class Pickler(Reductions, cloudpickle.Pickler):  # type: ignore[misc]
    """The pickler of all that travels to a worker or from it."""


# functions


def _with_cells(function: types.FunctionType, reduced: Any) -> Any:
    """Let a function have the variables around it as they are, which others may share."""
    make, arguments, (attributes, slots), *more = reduced
    return make, (*arguments[:4], function.__closure__), (attributes, slots | {"__closure__": None}), *more


def _reduced_cell(cell: Any) -> Any:
    try:
        content = (cell.cell_contents,)
    except ValueError:  # nothing in it yet
        return inside._make_empty_cell, ()
    return inside._make_empty_cell, (), content, None, None, _fill_cell


def _fill_cell(cell: Any, content: tuple[Any]) -> None:
    (cell.cell_contents,) = content


def _by_name(obj: Any) -> bool:
    """Tell whether a worker can import it."""
    try:
        found = inside._lookup_module_and_qualname(obj, name=getattr(obj, "__qualname__", obj.__name__))
    except AttributeError:
        return False
    return found is not None and not inside._is_registered_pickle_by_value(found[0])


def _reduced_cached(function: Any) -> Any:
    if _by_name(function):
        return NotImplemented
    options = function.cache_parameters()
    attributes = {name: value for name, value in vars(function).items() if name != "__wrapped__"}
    return _cached, (function.__wrapped__, options["maxsize"], options["typed"]), attributes


def _cached(function: Callable[..., Any], maxsize: int | None, typed: bool) -> Any:
    return functools.lru_cache(maxsize, typed)(function)


def _reduced_cached_property(made: Any) -> Any:
    attributes = {name: value for name, value in vars(made).items() if name not in ("func", "lock")}
    return type(made), (made.func,), attributes


def _reduced_dispatching_method(method: Any) -> Any:
    return functools.singledispatchmethod, (method.func,), {"dispatcher": method.dispatcher}


def _reduced_dispatcher(function: Any, reduced: Any) -> Any:
    implementations = {kind: each for kind, each in function.registry.items() if kind is not object}
    attributes = {
        name: value
        for name, value in vars(function).items()
        if name not in ("register", "dispatch", "registry", "_clear_cache", "__wrapped__")
    }
    state = implementations, attributes
    return functools.singledispatch, (function.registry[object],), state, None, None, _set_dispatcher


def _set_dispatcher(function: Any, state: Any) -> None:
    implementations, attributes = state
    vars(function).update(attributes)
    for kind, implementation in implementations.items():
        function.register(kind, implementation)


def _reduced_dispatch(function: Any, reduced: Any) -> Any:
    registry = dict(zip(function.__code__.co_freevars, function.__closure__, strict=True))[
        "registry"
    ].cell_contents
    return _dispatch_of, (registry[object],), registry, None, None, _set_dispatch


def _dispatch_of(function: Any) -> Any:
    return functools.singledispatch(function).dispatch


def _set_dispatch(dispatch: Any, registry: dict[Any, Any]) -> None:
    names = dispatch.__code__.co_freevars
    dispatch.__closure__[names.index("registry")].cell_contents.update(registry)


@functools.singledispatch
def _dispatched(value: object) -> None:
    """Any function of this kind: all of them share their code."""


_BY_CODE: dict[types.CodeType, Callable[[Any, Any], Any]] = {
    _dispatched.__code__: _reduced_dispatcher,  # type: ignore[attr-defined]
    _dispatched.dispatch.__code__: _reduced_dispatch,
}


def _reduced_vectorized(function: Any) -> Any:
    make, arguments, state, *more = function.__reduce_ex__(5)
    if isinstance(state, dict) and isinstance(state.get("_ufunc"), dict):
        state = state | {"_ufunc": {}}  # what has been called once is kept there, and cannot be pickled
    return make, arguments, state, *more


def _reduced_ufunc(function: Any) -> Any:
    name = function.__name__
    module = sys.modules.get(pickle.whichmodule(function, name))  # type: ignore[attr-defined]
    if getattr(module, name, None) is not function:  # it does not say of which function it is made
        raise TypeError(f"cannot pickle 'numpy.ufunc' object {name!r}: take np.vectorize, not np.frompyfunc")
    return NotImplemented


# variables of types


def _reduced_parameter(variable: Any) -> Any:
    if _by_name(variable):
        return NotImplemented
    bound = getattr(variable, "__bound__", None)
    identity = inside._get_or_create_tracker_id(variable)
    return _parameter, (type(variable).__name__, variable.__name__, bound, variable.__module__, identity)


def _parameter(kind: str, name: str, bound: Any, module: str, identity: str) -> Any:
    variable = getattr(typing, kind)(name, **({} if bound is None else {"bound": bound}))
    variable.__module__ = module
    return inside._lookup_class_or_track(identity, variable)


def _reduced_new_type(made: Any) -> Any:
    if _by_name(made):
        return NotImplemented
    identity = inside._get_or_create_tracker_id(made)
    return _new_type, (made.__qualname__, made.__supertype__, made.__module__, identity)


def _new_type(name: str, supertype: Any, module: str, identity: str) -> Any:
    made: Any = typing.NewType(name, supertype)  # type: ignore[misc]
    made.__module__ = module
    return inside._lookup_class_or_track(identity, made)


def _reduced_alias(alias: Any) -> Any:  # `type X = …`, from 3.12 on
    if _by_name(alias):
        return NotImplemented
    return _alias, (alias.__name__, alias.__value__, alias.__type_params__)


def _alias(name: str, value: Any, parameters: tuple[Any, ...]) -> Any:
    make: Any = vars(typing)["TypeAliasType"]  # which mypy does not know on 3.11
    return make(name, value, type_params=parameters)


# exceptions


def _has_reduction(kind: type[BaseException]) -> bool:
    """Tell whether somebody has said how exceptions of a class are pickled.

    tblib, which Dask installs, says so of all classes, and fails for frozen ones.
    """
    known = copyreg.dispatch_table.get(kind)
    return known is not None and not getattr(known, "__module__", "").startswith("tblib.")


def reduced_exception(error: BaseException) -> Any:
    """Return how an exception is pickled: with its arguments and attributes, without calling its `__init__`.

    Python calls it with what the exception has as `args`, which often is something else than it wants. What
    a class says of its own pickles counts.
    """
    kind = type(error)
    reduced = error.__reduce_ex__(5)
    own = any(isinstance(getattr(kind, name, None), types.FunctionType) for name in _OF_PICKLES)
    if own or not isinstance(reduced, tuple) or reduced[0] is not kind or not kind.__flags__ & _HEAP_TYPE:
        return reduced
    builtin = next(base for base in kind.__mro__ if not base.__flags__ & _HEAP_TYPE)
    slots = slots_of(error)
    attributes = reduced[2] if len(reduced) > 2 else None
    if not slots and kind.__init__ is builtin.__init__ and kind.__new__ is builtin.__new__:
        return reduced
    return _exception, (kind, builtin, reduced[1]), (attributes, slots), None, None, _set_exception


_OF_PICKLES = (
    *("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__"),
    *("__getnewargs__", "__getnewargs_ex__"),
)


def _exception(kind: Any, builtin: Any, arguments: tuple[Any, ...]) -> BaseException:
    error: BaseException = builtin.__new__(kind, *arguments)
    builtin.__init__(error, *arguments)
    return error


def _set_exception(error: BaseException, state: Any) -> None:
    attributes, slots = state
    if attributes:
        error.__dict__.update(attributes)
    set_slots(error, slots)


# files


def _reduced_file(file: Any) -> Any:
    if file is sys.stdout or file is sys.stderr:
        return NotImplemented  # that of the worker
    raise TypeError("cannot pickle '_io.TextIOWrapper' object")


def _reduced_mark(name: str, mark: Any) -> Any:
    return getattr, (dataclasses, name)


_BY_TYPE: dict[type, Callable[[Any], Any]] = {
    types.CellType: _reduced_cell,
    type(functools.lru_cache(_dispatched)): _reduced_cached,
    functools.cached_property: _reduced_cached_property,
    functools.singledispatchmethod: _reduced_dispatching_method,
    typing.ParamSpec: _reduced_parameter,
    typing.TypeVarTuple: _reduced_parameter,
    typing.NewType: _reduced_new_type,
    io.TextIOWrapper: _reduced_file,
}
for _name in ("MISSING", "KW_ONLY", "_HAS_DEFAULT_FACTORY"):  # dataclasses know them by their identity
    _BY_TYPE[type(getattr(dataclasses, _name))] = functools.partial(_reduced_mark, _name)

_OF_NUMPY = {"ufunc": _reduced_ufunc, "vectorize": _reduced_vectorized}
"""By name, since a worker starts in half the time without NumPy."""

if sys.version_info >= (3, 12):
    _BY_TYPE[typing.TypeAliasType] = _reduced_alias
