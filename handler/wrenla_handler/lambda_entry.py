"""Entry point on AWS Lambda: `handle` answers calls, tile tasks and pings.

An execution environment answers one event at a time. What it keeps for the next one (clients, functions,
tiles) only saves time.
"""

from __future__ import annotations

import gc
import json
import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from typing import Any

import msgspec

from wrenla_handler.calls.broadcast import forget_values, keep_at_most
from wrenla_handler.calls.capture import CopiedOutput, Printed
from wrenla_handler.calls.failure import packed_failure
from wrenla_handler.calls.memory import PeakMemory
from wrenla_handler.calls.messages import VERSION, Request, Response
from wrenla_handler.calls.runner import Runner
from wrenla_handler.errors import EventError
from wrenla_handler.machine import resident_bytes
from wrenla_handler.measure import measure
from wrenla_handler.probe import probe
from wrenla_handler.serialize.blobs import Packed, size
from wrenla_handler.serialize.lines import here_first
from wrenla_handler.serialize.modules import Finder
from wrenla_handler.threads import Threads
from wrenla_handler.tiles.messages import TaskAnswer, TaskOutcome, TaskRequest
from wrenla_handler.tiles.spill import SpillFiles
from wrenla_handler.tiles.worker import Worker
from wrenla_handler.versions import versions
from wrenla_kernels import blas_threads, scipy_blas_info

__all__ = ["handle", "threads_of"]

_MB = 1 << 20
_PER_CPU, _MOST_CPUS = 1769, 6
"""Megabytes of memory for which Lambda gives one processor, and how many there are at most."""

_MARGIN, _SHARE = 1.0, 0.1
"""Seconds, or part of the time limit if that is less, that are kept for sending an answer in time."""

_RESERVE = 48 << 20
"""Bytes for BLAS's packing buffers, stacks, and what a request takes by itself."""

_CACHE_UNKNOWN = 256 << 20
"""Bytes of tiles that are kept where nobody says how much memory there is."""

_ANSWER = 4 << 20
"""Bytes of a failure that travel: what Lambda takes as an answer, in base 64, is 6 MB."""

_TOLD = 64 << 10
"""Bytes of what functions of tiles print that are told: the end of it."""

_MEASURABLE = 1024
"""Megabytes of memory from which a function measures itself when `wrenla doctor` asks."""


def handle(event: Any, context: Any) -> Any:
    """Answer one event.

    Parameters
    ----------
    event : dict
        A `Request`, a `TaskRequest`, or ``{"version": 2, "kind": "ping"}``, with the address of a store
        under ``store`` if it shall be tried.
    context : object
        Lambda's.

    Returns
    -------
    dict
        A `Response`, a `TaskAnswer`, or what `ping` says.

    Raises
    ------
    EventError
        For what is none of these.
    """
    return _environment().answer(event, context)


@cache
def _environment() -> _Environment:
    here_first(received=True)
    return _Environment(os.environ)


def threads_of(memory: int) -> int:
    """Return the BLAS threads of a function by its megabytes: one for each processor that it gets.

    Examples
    --------
    >>> threads_of(512), threads_of(1769), threads_of(1770), threads_of(10240)
    (1, 1, 2, 6)
    """
    return min(_MOST_CPUS, max(1, math.ceil(memory / _PER_CPU)))


class _Environment:
    """State that lives from one event to the next."""

    def __init__(self, variables: os._Environ[str]) -> None:
        self._memory = int(variables.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 0))
        self._timeout = 0.0
        name = variables.get("AWS_LAMBDA_LOG_STREAM_NAME", f"process {os.getpid()}")
        finder = Finder()
        output = CopiedOutput()
        output.log(logging.getLogger())
        self._callee = Runner(name.rpartition("]")[2], output.take, finder)
        files = _files(variables.get("TMPDIR", "/tmp"))
        self._worker = Worker(0, readers=4, files=files, finder=finder, name=self._callee.name)
        self._peak = PeakMemory()
        self._threads = blas_threads(threads_of(self._memory))
        self._threads.__enter__()  # as long as the process lives
        if self._memory:
            keep_at_most(self._memory * _MB // 4)
        logging.getLogger().setLevel(logging.INFO)
        for chatty in ("boto3", "botocore", "urllib3"):
            logging.getLogger(chatty).setLevel(logging.WARNING)

    def answer(self, event: Any, context: Any) -> Any:
        found = event if isinstance(event, dict) else {}
        read = _READ.get(str(found.get("kind")))
        if found.get("version") != VERSION or read is None:
            raise EventError(
                f"this function answers events of version {VERSION} and kind {', '.join(_READ)}, not "
                f"{json.dumps(event, default=str)[:80]}: are driver and function of the same version? "
                "Run: wrenla deploy"
            )
        self._timeout = max(self._timeout, left := context.get_remaining_time_in_millis() / 1000)
        until = time.monotonic() + left - min(_MARGIN, _SHARE * self._timeout)
        try:
            request = read(found)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            reason = repr(error)[:160]
            raise EventError(
                f"a {found['kind']} that cannot be read: {reason}. Run: wrenla deploy"
            ) from error
        match request:
            case Request():
                return msgspec.to_builtins(self._call(request, until))
            case TaskRequest():
                return msgspec.to_builtins(self._tasks(request, until))
            case str() as store:
                return {**self._pong(), "store": probe(store), "rates": self._rates()}
            case _:
                return self._pong()

    def _call(self, request: Request, until: float) -> Response:
        self._worker.forget()  # what tiles take of memory and disk is the function's now
        limit = max(0.001, until - time.monotonic())
        request.limit = min(request.limit, limit) if request.limit else limit
        nbytes = sum(size(packed) for packed in (request.arguments, *request.values))
        lacking = self._lacking(2 * nbytes, "the arguments of the call, read and unpacked,")
        if lacking is not None:
            return Response(request.id, request.attempt, "refused", lacking, worker=self._callee.name)
        return self._callee.answer(request)

    def _tasks(self, request: TaskRequest, until: float) -> TaskAnswer:
        """Carry tasks out, two at a time if there is room: while one is written, the next one is read."""
        worker, projected = self._worker, request.projected
        if self._lacking(projected, "") is not None:  # what calls have left behind only saves time
            forget_values()
            self._callee.forget_functions()
            gc.collect()
        lacking = self._lacking(projected, "the largest task")
        if lacking is not None:
            return TaskAnswer([lacking] * len(request.tasks), self._callee.name, self._peak.after(1.0))
        room = self._room()
        channels = min(len(request.tasks), 2 if room is None or 2 * projected <= room else 1)
        worker.cache.resize(_CACHE_UNKNOWN if room is None else room - channels * projected)

        longest = 0.0

        def run(number: int) -> TaskOutcome:
            nonlocal longest
            begun = time.monotonic()
            if number >= channels and begun + longest > until:
                return None
            try:
                return worker.run(request.tasks[number], request.arrays)
            except Exception as error:
                return packed_failure(error, _ANSWER // len(request.tasks))
            finally:
                longest = max(longest, time.monotonic() - begun)

        if channels == 1:
            outcomes = [run(number) for number in range(len(request.tasks))]
        else:
            with Threads(channels, "wrenla-task") as pool:
                outcomes = list(pool.map(run, range(len(request.tasks))))
        printed = self._callee.take_output()  # by functions of tiles; all of it is in the log
        if len(printed) > _TOLD:
            printed = Printed([("o", printed[-_TOLD:])])
        return TaskAnswer(outcomes, self._callee.name, self._peak.after(1.0), bytes(printed), printed.streams)

    def _room(self) -> int | None:
        """Return the bytes that are left beside what the process has, None if unlimited."""
        if not self._memory:
            return None
        held = max(0, resident_bytes() - self._worker.cache.used)
        return self._memory * _MB - _RESERVE - held

    def _lacking(self, nbytes: int, what: str) -> Packed | None:
        """Return the failure of what needs more memory than there is: to begin would end the environment."""
        room = self._room()
        if room is None or nbytes <= room:
            return None
        return packed_failure(
            MemoryError(
                f"{what} needs {nbytes >> 20} MiB, but of the function's {self._memory} MB there are "
                f"{max(0, room) >> 20} MiB left: use smaller pieces, or more memory (wrenla deploy --memory)"
            )
        )

    def _rates(self) -> dict[str, Any]:
        """Return what this function does in a second; nothing if it has too little memory to measure that."""
        if self._memory < _MEASURABLE:
            return {}
        return measure("memory://measured", 1, threads_of(self._memory), by_clock=True).plain()

    def _pong(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "kind": "pong",
            **versions(),
            "blas": {key: value for key, value in asdict(scipy_blas_info()).items() if key != "filepath"},
            "memory": self._memory,
            "worker": self._callee.name,
        }


def _files(folder: str) -> SpillFiles | None:
    """Return files for spilled tiles, or None: they only save time."""
    try:
        return SpillFiles(folder)
    except OSError as error:
        logging.getLogger("wrenla.worker").warning("no tiles are kept in files: %s", error)
        return None


def _call_of(plain: dict[str, Any]) -> Request:
    """Read a call. Raises ValueError or the like if some of it makes no sense."""
    request = Request.of(plain)
    if not request.function or not (request.arguments or request.values) or len(request.modules) > 1:
        raise ValueError("not a function, its arguments, and one set of modules")
    if request.record and not request.store:
        raise ValueError("nowhere to store the answer")
    return request


def _ping_of(plain: dict[str, Any]) -> str | None:
    """Return the address to try, or None."""
    store = plain.get("store")
    if store is not None and not isinstance(store, str):
        raise TypeError(f"store={store!r}")
    return store


_READ: dict[str, Callable[[Any], Request | TaskRequest | str | None]] = {
    "call": _call_of,
    "task": TaskRequest.of,
    "ping": _ping_of,
}
