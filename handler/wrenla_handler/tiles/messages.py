"""Requests and answers of tile tasks, as JSON; only failures contain pickles."""

from __future__ import annotations

import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any, TypeAlias

from wrenla_handler.calls.messages import (
    VERSION,
    Streams,
    document,
    packed_of,
    plain_of,
    streams_as_json,
    streams_of,
)
from wrenla_handler.serialize.blobs import Packed
from wrenla_handler.tiles.task import ArraySpec, Task, decode, encode
from wrenla_handler.tiles.worker import Report

__all__ = ["TaskAnswer", "TaskOutcome", "TaskRequest"]

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
        """Return a request from its JSON, parsed. Raises ValueError if it is none of our version."""
        found = document(plain, "task")
        tasks = [decode(task) for task in found["tasks"]]
        arrays = {name: decode(spec) for name, spec in found["arrays"].items()}
        if not tasks or not all(isinstance(task, Task) for task in tasks):
            raise ValueError("not a list of tasks")
        if not all(isinstance(spec, ArraySpec) for spec in arrays.values()):
            raise ValueError("not a table of arrays")
        unknown = {name for task in tasks for name in task.arrays()} - arrays.keys()
        if unknown:
            raise ValueError(f"not told what {', '.join(map(repr, sorted(unknown)))} is")
        return cls(tasks, arrays, int(found["projected"]))


@dataclass(frozen=True, slots=True)
class TaskAnswer:
    """What became of some tasks.

    Attributes
    ----------
    outcomes : sequence
        As many as there were tasks.
    worker : str
    peak : int
        Bytes of memory that the worker has used at most.
    logs : bytes
        What functions of tiles have printed and logged.
    streams : tuple of (str, int)
        Which stream the bytes of it went to.
    """

    outcomes: Sequence[TaskOutcome]
    worker: str = ""
    peak: int = 0
    logs: bytes = b""
    streams: Streams = ()

    def encode(self) -> bytes:
        """Return the answer as JSON."""
        outcomes = ",".join(map(_plain_outcome, self.outcomes))
        return (
            f'{{"version":{VERSION},"kind":"done","outcomes":[{outcomes}],'
            f'"worker":{json.dumps(self.worker)},"peak":{self.peak},'
            f'"logs":"{binascii.b2a_base64(self.logs, newline=False).decode()}",'
            f'"streams":{streams_as_json(self.streams)}}}'
        ).encode()

    @classmethod
    def of(cls, plain: Any) -> TaskAnswer:
        """Return an answer from its JSON, parsed. Raises ValueError if it is none of our version."""
        found = document(plain, "done")
        return cls(
            list(map(_outcome, found["outcomes"])),
            found["worker"],
            found["peak"],
            binascii.a2b_base64(found["logs"]),
            streams_of(found["streams"]),
        )


def _plain_outcome(outcome: TaskOutcome) -> str:
    match outcome:
        case None:
            return "null"
        case Report():
            return json.dumps({"report": astuple(outcome)})
        case _:
            return f'{{"failure":{plain_of(outcome)}}}'


def _outcome(plain: Any) -> TaskOutcome:
    if plain is None:
        return None
    if "report" in plain:
        return Report(*plain["report"])
    return packed_of(plain["failure"])
