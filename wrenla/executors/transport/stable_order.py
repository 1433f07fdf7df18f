"""Stable order of sets and the like, so that equal values have equal pickles in every process."""

from __future__ import annotations

import inspect
from typing import Any

__all__ = ["without_order"]

_REDUCE = (set.__reduce__, frozenset.__reduce__)

_VARIES = ("{", " at 0x")
"""In the text of a value: an order that may differ, or an address."""


def without_order(obj: Any, reduced: Any) -> Any:
    """Return how to pickle an object, given how cloudpickle would: NotImplemented for the usual way.

    A set of a derived class goes as an ordinary one, whose order others see to. Of a class goes what was
    registered with it in the order of names, and no text that `dataclasses` has made of values.
    """
    if isinstance(obj, set | frozenset) and reduced is NotImplemented and type(obj).__reduce__ in _REDUCE:
        made = obj.__reduce__()
        return (made[0], (frozenset(obj),), *made[2:])
    if isinstance(obj, type) and isinstance(reduced, tuple) and len(reduced) > 2:
        space, *more = reduced[2]
        return (*reduced[:2], (_settled(obj, space), *more), *reduced[3:])
    return reduced


def _settled(cls: type, space: dict[str, Any]) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    if registered := space.get("_abc_impl"):
        changed["_abc_impl"] = sorted(registered, key=lambda other: (other.__module__, other.__qualname__))
    text = space.get("__doc__")
    if "__dataclass_fields__" in space and text and any(mark in text for mark in _VARIES):
        made = str(inspect.signature(cls)).replace(" -> None", "")
        if text == f"{cls.__name__}{made}":
            changed["__doc__"] = f"{cls.__name__}({', '.join(space['__dataclass_fields__'])})"
    return {**space, **changed}
