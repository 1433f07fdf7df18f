"""Dispatch of NumPy's functions: a table of those that take a `BigMatrix`, and an error for all others."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import numpy as np

from wrenla.instead import remedy_of

__all__ = ["FUNCTIONS", "NO_VALUE", "implements", "name_of", "remedy"]

F = TypeVar("F", bound=Callable[..., Any])
Implementation = Callable[..., Any]

NO_VALUE: Any = getattr(np, "_NoValue", None)
"""NumPy's default for an argument that is not given: functions of NumPy's hand it on as a value."""

FUNCTIONS: dict[Any, Implementation] = {}
"""Implementations, by NumPy's function."""

_INSTEAD = {
    "numpy.allclose": "compare arrays, numpy.allclose(A.compute(), b), or the norm of a difference, "
    "float((A - b).norm('max'))",
    "numpy.array_equal": "compare arrays, numpy.array_equal(A.compute(), b), or the norm of a difference, "
    "float((A - b).norm('max'))",
    "numpy.copy": "a BigMatrix never changes, so it needs no copy; A.compute() is an array",
    "numpy.einsum": "write it with @, A.T, wrenla.linalg.tensordot and sums",
    "numpy.load": "wrenla.open(url) opens a stored matrix",
    "numpy.isclose": "wrenla.map_tiles(numpy.isclose, A, B) is one where they are close, and zero elsewhere",
    "numpy.where": "wrenla.map_tiles(numpy.where, mask, A, B) chooses tile by tile",
    "numpy.save": "A.save(url) stores the tiles as a Zarr array, A.compute() is an array",
}
"""What to do instead of some functions; of others see `wrenla.instead`."""

_ENTRY_BY_ENTRY = frozenset(
    f"numpy.{name}"
    for name in ("angle", "around", "fix", "i0", "iscomplex", "isreal", "nan_to_num", "round", "sinc")
)
"""Functions that work on tiles one by one."""


def implements(*names: str, refused: str = "") -> Callable[[F], F]:
    """Register a function as that of some of NumPy's names, without a leading ``numpy.``.

    It has NumPy's parameters, by name and order, and NumPy's defaults. Those that are `refused` are there to
    be named in an error if they are given another value. A name that this NumPy has not is left out.
    """

    def register(function: F) -> F:
        parameters = inspect.signature(function).parameters
        for name in names:
            found = functools.reduce(lambda place, part: getattr(place, part, None), name.split("."), np)  # type: ignore[arg-type, return-value]
            if found is not None:
                FUNCTIONS[found] = _checked(name_of(found), function, parameters, refused.split())
        return function

    return register


def _checked(
    name: str,
    function: Implementation,
    parameters: Mapping[str, inspect.Parameter],
    refused: Iterable[str],
) -> Implementation:
    """Return a function that says which argument it has not, and leaves out what has no value."""
    defaults = {word: parameters[word].default for word in refused}

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for word, value in (*zip(parameters, args, strict=False), *kwargs.items()):
            if word in defaults and not _is_default(value, defaults[word]):
                raise TypeError(f"{name}: there is no {word}= for a BigMatrix; {remedy(name)}")
        # what has no value by position can be left out only by its default
        filled = (
            parameters[w].default if v is NO_VALUE else v for w, v in zip(parameters, args, strict=False)
        )
        named = {word: value for word, value in kwargs.items() if value is not NO_VALUE}
        return function(*filled, *args[len(parameters) :], **named)

    return checked


def _is_default(value: Any, default: Any) -> bool:
    if value is NO_VALUE or value is default:
        return True
    return isinstance(default, str | int) and isinstance(value, str | int | np.integer) and value == default


def name_of(function: Any) -> str:
    """Return the name of one of NumPy's functions, with its module."""
    return f"{getattr(function, '__module__', None) or 'numpy'}.{function.__name__}"


def remedy(name: str) -> str:
    """Return what to do instead of calling one of NumPy's functions with a matrix."""
    if name in _ENTRY_BY_ENTRY:
        return f"wrenla.map_tiles({name}, A) applies it tile by tile"
    return _INSTEAD.get(name) or remedy_of(name)
