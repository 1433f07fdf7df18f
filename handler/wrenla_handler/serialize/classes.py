"""Pickling of a script's classes: add what cloudpickle leaves out, without touching the class itself."""

from __future__ import annotations

import copyreg
import enum
import operator
import threading
import types
import typing
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from cloudpickle import cloudpickle as inside

__all__ = ["reduced_class", "reduced_member", "set_slots", "slots_of"]

_received: weakref.WeakSet[type] = weakref.WeakSet()
"""Classes that were made here from pickles. Others are this process's own, and pickles do not change them."""

_making = threading.RLock()

_REMADE = ("__slotnames__", "__dict__", "__weakref__")
"""What Python keeps in a class, perhaps only once it was used: it depends on that, and is made anew."""

_OF_ENUMS = (
    *("_generate_next_value_", "_member_names_", "_member_map_", "_member_type_", "_value2member_map_"),
    *("_hashable_values_", "_unhashable_values_", "_unhashable_values_map_"),
)
_OF_MEMBERS = frozenset({"_value_", "_name_", "__objclass__", "_sort_order_", "_inverted_"})

_PLAIN: Mapping[type, Callable[[Any], Any]] = {
    int: int.__int__,
    float: float.__float__,
    str: str.__str__,
    bytes: lambda member: bytes.__getitem__(member, slice(None)),
    tuple: lambda member: tuple.__getitem__(member, slice(None)),
}
"""The value without its name, where members of an enum are values themselves."""


def reduced_class(cls: type, reduced: Any) -> Any:
    """Return how a class is pickled, from what cloudpickle says of it.

    Those that travel by value have their slots, their full name, and if they are enums the attributes and
    aliases of their members. Whoever loads them twice, or has sent them, gets the same class; in the process
    that has defined it it is left as it is.
    """
    if not isinstance(reduced, tuple):
        return reduced
    if reduced[0] is inside._make_skeleton_class:
        constructor, name, bases, space, identity, _ = reduced[1]
        space = {**space, "__qualname__": "".join(cls.__qualname__)}
        # a NamedTuple has slots of its own
        if "__slots__" in cls.__dict__ and typing.NamedTuple not in cls.__dict__.get("__orig_bases__", ()):
            space["__slots__"] = _slots(cls)
        return _make_class, (constructor, name, bases, space, identity), _state(cls, reduced[2]), *_SETTING
    if reduced[0] is inside._make_skeleton_enum:
        bases, name, qualname, _, module, identity, _ = reduced[1]
        members = tuple((each, *_parts(cls, member)) for each, member in cls.__members__.items())  # type: ignore[attr-defined]
        head = (type(cls), bases, name, qualname, module, members, identity)
        return _make_enum, head, _state_of_enum(cls, reduced[2]), *_SETTING
    return reduced


def reduced_member(member: enum.Enum) -> Any:
    """Return how a member of an enum is pickled: by its name, since its value may be equal only to itself.

    Combinations of flags have none, and what a class says of its own pickles counts.
    """
    kind, name = type(member), member._name_
    if kind.__reduce_ex__ is not enum.Enum.__reduce_ex__ or kind.__members__.get(name) is not member:
        return NotImplemented
    return operator.getitem, (kind, "".join(name))


def _make_class(
    constructor: Any, name: str, bases: tuple[Any, ...], space: dict[str, Any], identity: str
) -> type:
    with _making:
        known = inside._DYNAMIC_CLASS_TRACKER_BY_ID.get(identity)
        if known is not None:
            return known  # type: ignore[no-any-return]
        with _hooks_off(bases):
            made = types.new_class(name, bases, {"metaclass": constructor}, lambda body: body.update(space))
        _received.add(made)
        return inside._lookup_class_or_track(identity, made)  # type: ignore[no-any-return]


@contextmanager
def _hooks_off(bases: tuple[Any, ...]) -> Iterator[None]:
    """Let `__init_subclass__` of classes that came here rest: what it did elsewhere has come, too."""
    around = {each for base in types.resolve_bases(bases) if isinstance(base, type) for each in base.__mro__}
    hooked = [each for each in around if each in _received and "__init_subclass__" in each.__dict__]
    kept = [each.__dict__["__init_subclass__"] for each in hooked]
    for each in hooked:
        each.__init_subclass__ = classmethod(lambda cls, **_: None)  # type: ignore[assignment]
    try:
        yield
    finally:
        for each, hook in zip(hooked, kept, strict=True):
            each.__init_subclass__ = hook  # type: ignore[method-assign]


def _set_class(cls: type, state: Any) -> type:
    if cls in _received:
        attributes, members = state
        inside._class_setstate(cls, (attributes, {}))
        for name, (values, slots) in members.items():
            member = cls.__members__[name]  # type: ignore[attr-defined]
            member.__dict__.update(values)
            set_slots(member, slots)
    return cls


_SETTING = (None, None, _set_class)


def slots_of(obj: object) -> dict[str, Any]:
    """Return what stands in the slots of an object."""
    names = copyreg._slotnames(type(obj))  # type: ignore[attr-defined]
    return {name: getattr(obj, name) for name in names if hasattr(obj, name)}


def set_slots(obj: object, slots: Mapping[str, Any]) -> None:
    """Fill slots, of frozen dataclasses, too."""
    for name, value in slots.items():
        object.__setattr__(obj, name, value)


def _slots(cls: type) -> tuple[str, ...]:
    """Return the slots of a class, under their full names."""
    names = [
        name
        for name, value in cls.__dict__.items()
        if isinstance(value, types.MemberDescriptorType) and value.__objclass__ is cls
    ]
    return (*names, *(name for name in ("__dict__", "__weakref__") if name in cls.__dict__))


def _state(cls: type, state: Any) -> Any:
    attributes = {
        name: value
        for name, value in state[0].items()
        if name not in _REMADE and not isinstance(value, types.MemberDescriptorType)
    }
    if not isinstance(attributes.get("__slots__", ()), str | tuple | list | dict):  # an iterator, at its end
        attributes["__slots__"] = _slots(cls)
    if isinstance(attributes.get("__static_attributes__"), tuple):  # made from a set, in some releases
        attributes["__static_attributes__"] = tuple(sorted(attributes["__static_attributes__"]))
    if "_abc_impl" in attributes:
        registered = [each for each in attributes["_abc_impl"] if each is not None]
        attributes["_abc_impl"] = sorted(registered, key=lambda each: (each.__module__, each.__qualname__))
    return attributes, {}


def _state_of_enum(cls: type, state: Any) -> Any:
    attributes, _ = _state(cls, state)
    members: Mapping[str, Any] = cls.__members__  # type: ignore[attr-defined]
    for name in (*_OF_ENUMS, *members):
        attributes.pop(name, None)
    own = {name: member for name, member in members.items() if member.name == name}
    return attributes, {name: _attributes_of(member) for name, member in own.items()}


def _attributes_of(member: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    attributes = {name: value for name, value in vars(member).items() if name not in _OF_MEMBERS}
    return attributes, slots_of(member)


def _parts(cls: Any, member: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return the value of an enum's member, and what its mixed-in type makes it of."""
    kind = cls._member_type_
    if kind is object:
        return member._value_, ()
    if kind in _PLAIN:
        return member._value_, (_PLAIN[kind](member),)
    return member._value_, member._value_ if isinstance(member._value_, tuple) else (member._value_,)


def _make_enum(
    kind: Any,
    bases: tuple[type, ...],
    name: str,
    qualname: str,
    module: str,
    members: Sequence[tuple[str, Any, tuple[Any, ...]]],
    identity: str,
) -> type:
    with _making:
        known = inside._DYNAMIC_CLASS_TRACKER_BY_ID.get(identity)
        if known is not None:
            return known  # type: ignore[no-any-return]

        def new(cls: Any, number: Any) -> Any:
            """Make a member as it was, whatever the class's own `__new__` and `__init__` make of it."""
            _, value, made_of = members[number[0] if cls._member_type_ is tuple else number]
            make = _base_of(cls._member_type_).__new__
            member = make(cls) if make is object.__new__ else make(cls, *made_of)  # its attributes come later
            member._value_ = value
            return member

        body = kind.__prepare__(name, bases)
        body["__new__"], body["__init__"] = new, lambda self, number: None
        for number, (each, _, _) in enumerate(members):
            body[each] = number
        with _hooks_off(bases):
            made: type = kind.__new__(kind, name, bases, body)
        for hook in ("__init__", "__new_member__"):
            if hook in made.__dict__:
                type.__delattr__(made, hook)
        made.__module__, made.__qualname__ = module, qualname
        _received.add(made)
        return inside._lookup_class_or_track(identity, made)  # type: ignore[no-any-return]


def _base_of(kind: Any) -> Any:
    return kind if isinstance(kind, type) and not issubclass(kind, enum.Enum) else object
