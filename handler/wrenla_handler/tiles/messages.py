"""Requests and answers of tile tasks, as JSON; only failures contain pickles."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, get_args

from wrenla_handler.calls.messages import VERSION, Message, Streams
from wrenla_handler.serialize.blobs import Packed
from wrenla_handler.tiles.arrays import ArraySpec, Bundle, Part, TileRef
from wrenla_handler.tiles.grid import Grid
from wrenla_handler.tiles.task import Apply, Finish, Read, Task, Term
from wrenla_handler.tiles.worker import Report

__all__ = ["TaskAnswer", "TaskOutcome", "TaskRequest", "decode", "encode"]

TaskOutcome: TypeAlias = Report | Packed | None
"""What became of a task: done, failed (a pickled `Failure`), or not begun for want of time."""


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """Some tasks for one worker, none of which waits for another.

    Attributes
    ----------
    tasks : sequence of Task
    arrays : mapping of str to ArraySpec
        What fills the array names of these tasks.
    projected : int
        Bytes of memory that the largest of them needs.
    """

    tasks: Sequence[Task]
    arrays: Mapping[str, ArraySpec]
    projected: int = 0

    def encode(self) -> bytes:
        """Return the request as JSON."""
        plain = {
            "version": VERSION,
            "kind": "task",
            "tasks": [encode(task) for task in self.tasks],
            "arrays": {name: encode(spec) for name, spec in self.arrays.items()},
            "projected": self.projected,
        }
        return json.dumps(plain, separators=(",", ":")).encode()

    @classmethod
    def of(cls, plain: Any) -> TaskRequest:
        """Return a request from its JSON, parsed. Raises ValueError or the like if it makes no sense."""
        tasks = [decode(task) for task in plain["tasks"]]
        arrays = {name: decode(spec) for name, spec in plain["arrays"].items()}
        if not tasks or not all(isinstance(task, Task) for task in tasks):
            raise ValueError("not a list of tasks")
        if not all(isinstance(spec, ArraySpec) for spec in arrays.values()):
            raise ValueError("not a table of arrays")
        unknown = {name for task in tasks for name in task.arrays()} - arrays.keys()
        if unknown:
            raise ValueError(f"not told what {', '.join(map(repr, sorted(unknown)))} is")
        return cls(tasks, arrays, int(plain["projected"]))


class TaskAnswer(Message, tag="done"):
    """Outcomes of some tasks.

    Attributes
    ----------
    outcomes : list
        As many as there were tasks.
    worker : str
    peak : int
        Bytes of memory that the worker has used at most.
    logs : bytes
        What functions of tiles have printed and logged.
    streams : tuple of (str, int)
        Which stream the bytes of it went to.
    """

    outcomes: list[TaskOutcome]
    worker: str = ""
    peak: int = 0
    logs: bytes = b""
    streams: Streams = ()


_TYPES: dict[str, type] = {
    cls.__name__: cls
    for cls in (TileRef, Apply, Read, Term, Finish, Task, Grid, Bundle, Part, *get_args(ArraySpec))
}


def encode(value: Any) -> Any:
    """Turn a task, or a part of one, into lists, strings and numbers that JSON can carry.

    Examples
    --------
    >>> encode(TileRef("L", 2, 1))
    ['TileRef', 'L', 2, 1, 0]
    """
    kind = type(value)
    if kind.__name__ in _TYPES:
        return [kind.__name__, *[encode(getattr(value, name)) for name in kind.__dataclass_fields__]]
    if isinstance(value, tuple):
        return ["", *map(encode, value)]
    if isinstance(value, complex):
        return ["complex", value.real, value.imag]
    return value


def decode(value: Any) -> Any:
    """Undo `encode`. Only values of the types above can come out.

    Raises
    ------
    ValueError
        The list does not begin with the name of one of them, or does not have its fields.
    """
    if not isinstance(value, list):
        return value
    name, *rest = value or [None]
    if name == "":
        return tuple(map(decode, rest))
    made = complex if name == "complex" else _TYPES.get(name) if isinstance(name, str) else None
    if made is None:
        raise ValueError(f"not part of a task: {name!r}")
    try:
        return made(*map(decode, rest))
    except TypeError as error:
        raise ValueError(f"not a {name}: {error}") from None
