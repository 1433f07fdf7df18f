"""Processes of a Dask worker, in which calls run: one can be ended without ending the worker."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from wrenla.errors import CallError, NeverStarted, OutOfMemory
from wrenla.executors.local.processes import THREADS_OF_BLAS, Child, Leaving
from wrenla_handler.calls.capture import Printed
from wrenla_handler.calls.messages import Request
from wrenla_handler.machine import resident_bytes

__all__ = ["Answer", "Children", "undone"]

_GRACE = 1.0
"""Seconds that a function has to clear up when its time is over."""

_BLAS = dict.fromkeys(THREADS_OF_BLAS, "1")


_CallName: TypeAlias = tuple[str, int]
"""Id of a call, and number of the attempt."""


class Answer(NamedTuple):
    """Outcome of one call, as its worker saw it.

    Attributes
    ----------
    kind : str
        ``answered``: `text` is the `Response`. ``late``: it was ended at its limit. ``died``: its process
        ended, or cannot be used any more; `cause` names the error. ``undone``: it has not begun.
        ``unstarted``: there is no process for it. ``told``: it was told to stop before it began.
    text : bytes
        A response, or the error's words.
    cause : str
        Name of a class in `wrenla.errors`.
    printed : bytes
        By a function that has not answered.
    streams : sequence of (str, int)
        As in `Printed`.
    pid : int
        Of the process.
    """

    kind: Literal["answered", "late", "died", "undone", "unstarted", "told"]
    text: bytes = b""
    cause: str = ""
    printed: bytes = b""
    streams: Sequence[tuple[str, int]] = ()
    pid: int = 0


def undone(*, told: bool = False) -> Answer:
    """Return the answer for a call that has not begun."""
    return Answer("told" if told else "undone")


class _Batch:
    """Calls that one process has, and whether somebody has told it to end."""

    def __init__(self, calls: Sequence[_CallName]) -> None:
        self.calls = frozenset(calls)
        self.child: Child | None = None
        self.told = False


class Children:
    """Processes for the calls of one executor: begun when they are needed, kept for the next call."""

    def __init__(self) -> None:
        self._idle: deque[tuple[Child, float]] = deque()
        self._batches: set[_Batch] = set()
        self._closed = False
        self._lock = threading.Lock()

    def answer(
        self, requests: Sequence[bytes], timeout: float | None, left: float | None, came: float, most: int
    ) -> list[Answer]:
        """Carry calls out, one after the other, in one process.

        Parameters
        ----------
        requests : sequence of bytes
            Encoded `Request`.
        timeout : float, optional
            Seconds that each call may take.
        left : float, optional
            Seconds until the deadline of the call, when it came here: then it is alone.
        came : float
            When that was, on the clock of `time.monotonic` here.
        most : int
            Bytes of memory that the process may use; 0: as many as it likes.
        """
        work = [Request.decode(text) for text in requests]
        batch = _Batch([(request.id, request.attempt) for request in work])
        with self._lock:
            self._batches.add(batch)
        answers: list[Answer] = []
        child: Child | None = None
        try:
            child = self._taken(batch)
            if child is None:
                return [undone(told=True) for _ in work]
            child.send(work)
            for _ in work:
                limits = [n for n in (timeout, left and left - (time.monotonic() - came)) if n is not None]
                watch = functools.partial(_watch, child, most) if most else None
                response = child.receive(max(0.0, min(limits)) if limits else None, watch)
                if response is None:
                    answers.append(self._ended(batch, child, "late", ""))
                    child = None
                    break
                answers.append(Answer("answered", response.encode(), pid=child.pid))
        except Leaving:
            pass
        except NeverStarted as error:
            if child is not None:
                child.kill()
                child = None
            return [Answer("unstarted", str(error).encode())] * len(work)
        except CallError as error:
            assert child is not None
            answers.append(self._ended(batch, child, "died", type(error).__name__, str(error)))
            child = None
        finally:
            self._give_back(batch, child, whole=len(answers) == len(work))
        return [*answers, *[undone()] * (len(work) - len(answers))]

    def stop(self, calls: Sequence[_CallName], *, gently: bool) -> None:
        """End the process that has one of some calls; gently: let the function clear up."""
        with self._lock:
            for batch in self._batches:
                if not batch.calls.isdisjoint(map(tuple, calls)):
                    batch.told = True
                    if batch.child is not None:
                        batch.child.interrupt() if gently else batch.child.kill_soon()

    def end_idle(self, seconds: float) -> None:
        """End processes that have had nothing to do for so long."""
        ended: list[Child] = []
        with self._lock:
            while self._idle and time.monotonic() - self._idle[0][1] > seconds:
                ended.append(self._idle.popleft()[0])
        for child in ended:  # it takes a while, and `stop` must not wait for that in the event loop
            child.close()

    def close(self) -> None:
        """End all processes."""
        with self._lock:
            self._closed = True
            for batch in self._batches:
                batch.told = True
                if batch.child is not None:
                    batch.child.kill_soon()
            idle, self._idle = list(self._idle), deque()
        for child, _ in idle:
            child.close()

    def _taken(self, batch: _Batch) -> Child | None:
        """Return a process for a batch, None if that was told to stop meanwhile."""
        child: Child | None = None
        while child is None:
            with self._lock:
                if not self._idle:
                    break
                child, _ = self._idle.pop()
            if not child.alive():
                child.kill()
                child = None
        if child is None:
            child = Child({**os.environ, **_BLAS})
        with self._lock:
            # in one step: `stop` either finds the process or has told the batch
            if not (batch.told or self._closed):
                batch.child = child
                return child
        child.close()
        return None

    def _ended(
        self, batch: _Batch, child: Child, kind: Literal["late", "died"], cause: str, words: str = ""
    ) -> Answer:
        """End a process that cannot be used any more, and say what it had printed."""
        with self._lock:  # from now on nobody stops it
            batch.child = None
        pid, printed = child.pid, child.kill(grace=_GRACE if kind == "late" else 0.0)
        text = printed if isinstance(printed, Printed) else Printed([("o", printed)])
        return Answer(kind, words.encode(), cause, bytes(text), text.streams, pid)

    def _give_back(self, batch: _Batch, child: Child | None, *, whole: bool) -> None:
        with self._lock:
            self._batches.discard(batch)
            batch.child = None
            if child is not None and whole and not (batch.told or self._closed):
                self._idle.append((child, time.monotonic()))
                return
        if child is not None:
            # a signal may be on its way to it that must not end another call
            child.kill()


def _watch(child: Child, most: int) -> None:
    """Refuse a process more memory than Dask allows the worker: Dask itself does not see it."""
    try:
        resident = resident_bytes(child.pid)
    except OSError:  # it has just ended
        return
    if resident > most:
        raise OutOfMemory(
            f"the call used {resident >> 20} MiB of memory, more than the {most >> 20} MiB that Dask allows "
            "its worker (memory_limit)"
        )
