"""Dask worker's half: messages bring calls and tile tasks, pilot tasks carry them out.

    driver                        scheduler            worker process
    Cluster.ask ── Client.run ──────▶ ─────▶ event loop: ask() ─▶ Site.jobs ─▶ pilot (a Dask task)
          ◀──────────── answer ────── ◀───── event loop ◀───────── done() ◀──── children, tiles

A pilot is a task that does whatever has come for its executor. It tells Dask that the worker is busy, and
Dask may run it again: it is nothing by itself. Calls are no tasks of Dask's, so Dask never repeats one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import platform
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from wrenla.executors.dask.children import Children, undone
from wrenla.executors.dask.memory import MemoryGate
from wrenla_handler.calls.failure import packed_failure
from wrenla_handler.machine import memory_of_this_machine
from wrenla_handler.measure import measure_at
from wrenla_handler.tiles.messages import TaskAnswer, TaskOutcome, TaskRequest
from wrenla_handler.tiles.worker import Worker
from wrenla_handler.versions import versions
from wrenla_kernels import blas_threads, scipy_blas_info

__all__ = ["Settings", "ask", "end", "forget", "greet", "pilot", "pulse", "see", "stop", "take_back"]

logger = logging.getLogger("wrenla.worker")

_IDLE = 1.0
"""Seconds after which a pilot without work leaves the worker's thread to others."""

_TURN = 10.0
"""Seconds after which a pilot lets other tasks of Dask's have a turn."""

_LEFT = 600.0
"""Seconds after which what is kept for an executor goes, whose driver has not been heard of."""

_CHILDREN_IDLE = 60.0
"""Seconds after which a process for calls ends that has none."""

_LOOK = 5.0
"""Seconds between two looks for what nobody needs any more."""

MOST_SEEN = 1 << 14
"""Characters of a small file that are looked at."""

_READERS = 4
"""Threads of a process that read tiles ahead."""


@dataclass(slots=True)
class Job:
    """Work for a pilot: some calls, or some tile tasks.

    Attributes
    ----------
    name : str
        Of the job, to take it back.
    work : callable
        Does it, and returns the answer.
    done : callable
        Takes the answer, from any thread.
    """

    name: str
    work: Callable[[], Any]
    done: Callable[[Any], None]


class Settings(NamedTuple):
    """Share of a worker that an executor may use.

    Attributes
    ----------
    allowed : int
        Bytes of memory for all tile tasks.
    limit : int
        Bytes that the process of a call may use; 0: as many as it likes.
    threads : int
        Tile tasks at the same time.
    blas : int
        Threads of BLAS for each.
    """

    allowed: int = 1 << 30
    limit: int = 0
    threads: int = 1
    blas: int = 1


@dataclass(slots=True, eq=False)
class Site:
    """Things of one executor in this worker process, and its share of the memory."""

    settings: Settings = field(default_factory=Settings)
    jobs: deque[Job] = field(default_factory=deque)
    came: threading.Condition = field(default_factory=threading.Condition)
    pilots: int = 0
    children: Children = field(default_factory=Children)
    heard: float = field(default_factory=time.monotonic)
    closed: bool = False
    _tiles: Worker | None = None
    _limit: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def put(self, job: Job) -> None:
        """Hand a job to the next pilot that is free."""
        with self.came:
            if not self.closed:
                self.heard = time.monotonic()
                self.jobs.append(job)
                self.came.notify()
                return
        job.done(("gone", "the executor has been shut down"))

    def take_back(self, name: str) -> Job | None:
        """Return a job that has not begun, and forget it."""
        with self.came:
            for job in self.jobs:
                if job.name == name:
                    self.jobs.remove(job)
                    return job
        return None

    def serve(self, idle: float, turn: float) -> None:
        """Do jobs until there is none for some seconds, or others have waited for long enough."""
        until = time.monotonic() + turn
        with self.came:
            self.pilots += 1
        try:
            while (job := self._next(idle, until)) is not None:
                try:
                    answer = job.work()
                except BaseException as error:  # whoever waits must be told all the same
                    logger.exception("a job of a driver")
                    answer = ("lost", f"{type(error).__name__}: {error}")
                job.done(answer)
                del job
        finally:
            with self.came:
                self.pilots -= 1
                self.heard = time.monotonic()

    def _next(self, idle: float, until: float) -> Job | None:
        with self.came:
            there = self.came.wait_for(lambda: self.jobs or self.closed, idle)
            if not there or self.closed or time.monotonic() > until:
                return None
            return self.jobs.popleft()

    def tasks(self, text: bytes, dropped: Sequence[tuple[str, int, int, int]]) -> bytes:
        """Carry tile tasks out, and return their `TaskAnswer`."""
        worker = self._worker()
        for name, i, j, partial in dropped:
            worker.cache.drop((name, i, j, partial))
        request = TaskRequest.of(json.loads(text))
        allowed, _, threads, _ = self.settings
        with _gate.hold(request.projected, allowed):
            _share(max(0, allowed - threads * request.projected), worker)
            outcomes: list[TaskOutcome] = []
            for task in request.tasks:
                if self.closed:  # nobody waits for the rest
                    outcomes.append(None)
                    continue
                try:
                    outcomes.append(worker.run(task, request.arrays))
                except BaseException as error:  # SystemExit must not end a pilot that other tasks need
                    outcomes.append(packed_failure(error))
        return TaskAnswer(outcomes, f"Dask worker, process {os.getpid()}").encode()

    def forget(self, arrays: Sequence[str]) -> None:
        """Drop what is kept of some arrays."""
        if self._tiles is not None:
            for name in arrays:
                self._tiles.cache.drop_array(name)
            self._tiles.buffers.clear()

    def close(self) -> None:
        """End the pilots and the processes, and free the tiles."""
        with self.came:
            self.closed = True
            left, self.jobs = list(self.jobs), deque()
            self.came.notify_all()
        for job in left:
            job.done(("gone", "the executor has been shut down"))
        self.children.close()
        if self._tiles is not None:
            self._tiles.close()
        self._limit.close()

    def _worker(self) -> Worker:
        with self.came:
            if self._tiles is None:
                self._tiles = Worker(0, readers=_READERS, name=f"{platform.node()}, process {os.getpid()}")
                self._limit.enter_context(blas_threads(self.settings.blas))
            return self._tiles


_sites: dict[str, Site] = {}
_over: deque[str] = deque(maxlen=1000)  # executors that have ended: of some a pilot is still on its way
_lock = threading.Lock()
_gate = MemoryGate()
_process = f"{os.getpid()}-{uuid.uuid4().hex}"
_reaper: threading.Thread | None = None


def _site(executor: str) -> Site | None:
    """Return what an executor has here, None if that has ended."""
    global _reaper
    with _lock:
        if executor in _over:
            return None
        if executor not in _sites:
            _sites[executor] = Site()
            if _reaper is None or not _reaper.is_alive():
                _reaper = threading.Thread(None, _reap, "wrenla-reaper", daemon=True)
                _reaper.start()
        return _sites[executor]


def _known(executor: str) -> Site | None:
    with _lock:
        return _sites.get(executor)


def _share(nbytes: int, worker: Worker) -> None:
    """Let the tiles that executors keep here take some memory, each an equal part of it."""
    with _lock:
        all_of_them = {site._tiles for site in _sites.values() if site._tiles is not None} | {worker}
    part = nbytes // len(all_of_them)
    for each in all_of_them:
        if each is worker or each.cache.limit > part:
            each.cache.resize(part)


def _reap() -> None:
    """End what nobody uses: idle processes, and what drivers have left behind that were killed."""
    global _reaper
    while True:
        time.sleep(_LOOK)
        now = time.monotonic()
        with _lock:
            # whatever they have to do: a driver that waits for something says so (`pulse`)
            left = [name for name, site in _sites.items() if now - site.heard > _LEFT]
            gone = [_sites.pop(name) for name in left]
            sites = list(_sites.values())
            if not sites:
                _reaper = None
        for site in gone:
            site.close()
        for site in sites:
            site.children.end_idle(_CHILDREN_IDLE)
        if not sites:
            return


# what the driver asks for; each runs in the worker's event loop, and must not take long there


async def greet(executor: str, dask_worker: Any = None) -> dict[str, Any]:
    """Say what this worker is: versions, BLAS, and the memory that it may use, by Dask and by the machine.

    What the executor has here is ended, if it is named: it had given this worker up.
    """
    await _ended(executor)
    blas = {key: value for key, value in asdict(scipy_blas_info()).items() if key != "filepath"}
    manager = getattr(dask_worker, "memory_manager", None)
    limit = int(getattr(manager, "memory_limit", 0) or 0)
    memory = memory_of_this_machine()
    return {**versions(), "process": _process, "blas": blas, "limit": limit, "memory": memory}


async def pulse(executor: str) -> str:
    """Say which process this is, and keep what an executor has here: its driver is there."""
    if (site := _known(executor)) is not None:
        site.heard = time.monotonic()
    return _process


async def rates(store: str, workers: int, threads: int) -> dict[str, Any]:
    """Measure a worker while so many work, in a thread: it takes a second or two."""
    found = await asyncio.get_running_loop().run_in_executor(None, measure_at, store, workers, threads)
    return found.plain()


async def see(path: str) -> str:
    """Return what is in a small file, "" if it is not there."""
    with contextlib.suppress(OSError), open(path) as file:
        return file.read(MOST_SEEN)
    return ""


async def ask(
    executor: str, process: str, name: str, kind: str, payload: Sequence[Any], settings: Settings
) -> Any:
    """Have a pilot do a job, and return its answer.

    Parameters
    ----------
    executor, process : str
        Whose job it is, and which process it is for: another one at the same address does not take it.
    name : str
        Of the job.
    kind : {"calls", "tasks"}
    payload : object
        Arguments of `Children.answer`, or of `Site.tasks`.
    settings : Settings
        What the executor may use here now.
    """
    if process != _process:
        return ("gone", "another process has this address by now")
    site = _site(executor)
    if site is None:
        return ("gone", "the executor has been shut down")
    site.settings = Settings(*settings)
    loop = asyncio.get_running_loop()
    answer = loop.create_future()

    def set_result(result: Any) -> None:
        if not answer.done():
            answer.set_result(result)

    def done(result: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the worker has closed its loop, and the driver sees that
            loop.call_soon_threadsafe(set_result, result)

    came = time.monotonic()

    def work() -> Any:
        if kind == "tasks":
            return site.tasks(*payload)
        requests, timeout, left = payload
        return site.children.answer(requests, timeout, left, came, site.settings.limit)

    site.put(Job(name, work, done))
    return await answer


async def stop(executor: str, name: str, calls: Sequence[tuple[str, int]], gently: bool) -> None:
    """Take a job back, or end the process that has it; tile tasks that have begun end by themselves."""
    began = not await take_back(executor, name, calls)
    if began and calls and (site := _known(executor)) is not None:
        site.children.stop(calls, gently=gently)


async def take_back(executor: str, name: str, calls: Sequence[tuple[str, int]]) -> bool:
    """Take a job back that has not begun; tell whether it had not."""
    if (site := _known(executor)) is None or (job := site.take_back(name)) is None:
        return False
    job.done([undone(told=True) for _ in calls] if calls else ("gone", "taken back"))
    return True


async def forget(executor: str, arrays: Sequence[str]) -> None:
    """Drop tiles of some arrays."""
    if (site := _known(executor)) is not None:
        site.forget(arrays)


async def end(executor: str) -> None:
    """End all that an executor has here."""
    with _lock:
        _over.append(executor)
    await _ended(executor)


async def _ended(executor: str) -> None:
    with _lock:
        site = _sites.pop(executor, None)
    if site is not None:
        await asyncio.to_thread(site.close)  # processes take a while to end, and messages go on


def pilot(executor: str, process: str) -> None:
    """Serve an executor for a while: the one task that Dask sees of it.

    Parameters
    ----------
    executor : str
    process : str
        The process that it was meant for; "" for any. Another one need not serve.
    """
    if process in ("", _process) and (site := _site(executor)) is not None:
        site.serve(_IDLE, _TURN)
