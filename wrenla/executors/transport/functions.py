"""Functions passed by users, with their bound arguments."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from wrenla.executors.calls.options import OPTIONS
from wrenla_handler.calls.chunk import Chunk

__all__ = ["check_function", "label_of", "refuse_keywords"]


def check_function(fn: Any) -> None:
    """Refuse what cannot be called."""
    if not callable(fn):
        raise TypeError(f"{fn!r} cannot be called")


def label_of(fn: Callable[..., Any]) -> str:
    """Return what messages call a function."""
    if isinstance(fn, functools.partial):
        return label_of(fn.func)
    if isinstance(fn, Chunk):
        return label_of(fn.function)
    return getattr(fn, "__qualname__", None) or getattr(fn, "__name__", None) or type(fn).__name__


def refuse_keywords(method: str, fn: Any, unknown: Iterable[str], names: Sequence[str]) -> None:
    """Refuse keywords that a method does not have: they are meant for the function, or for the calls.

    Examples
    --------
    >>> refuse_keywords("map()", pow, ["mod"], ["timeout"])
    Traceback (most recent call last):
      ...
    TypeError: map() has no argument 'mod': for the function, functools.partial(pow, mod=…); ...
    >>> refuse_keywords("map()", pow, ["chunk_size"], ["chunksize"])
    Traceback (most recent call last):
      ...
    TypeError: map() has no argument 'chunk_size'; did you mean 'chunksize'? ...
    """
    for name in unknown:
        own = f"for the function, functools.partial({label_of(fn)}, {name}=…)"
        near = difflib.get_close_matches(name, (*names, *OPTIONS), 1)
        if not near:
            there = f"; there are: {', '.join(names)}" if names else ""
            raise TypeError(f"{method} has no argument {name!r}: {own}{there}")
        option = near[0] not in names
        meant = f"executor.options({near[0]}=…).{method}" if option else near[0]
        raise TypeError(f"{method} has no argument {name!r}; did you mean {meant!r}? Otherwise, {own}")
