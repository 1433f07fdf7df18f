"""Cluster as the driver sees it: workers that fit, what each of them has to do, and who has left."""

from __future__ import annotations

import functools
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from wrenla.errors import Lost, NeverStarted, ServiceError, VersionError, WorkerDied
from wrenla.executors.calls.timer import run_apart
from wrenla.executors.dask import worker as theirs
from wrenla.executors.dask.admission import Admission
from wrenla.executors.dask.connection import PATIENCE, Connection
from wrenla.executors.dask.folders import SharedFolders
from wrenla.executors.dask.pilots import Pilots
from wrenla.executors.dask.remote import Remote

__all__ = ["Cluster"]

_LOOK, _LOOK_IDLE = 0.5, 5.0
"""Seconds between two looks at the workers, while some have work and while none has."""

_PULSE, _UNRESPONSIVE = 5.0, 60.0
"""Seconds between two questions to a worker that has work, and after which it is not waited for any more."""

_NO_WORKER = 60.0
"""Seconds for which a call waits for a worker where there is none."""

_TOLD = 0.2
"""Seconds after which a call that waits for a worker looks whether it is told to stop."""


class Cluster:
    """Workers of a Dask cluster, for one executor. Ended by `release`, once for each `hold`.

    Parameters
    ----------
    connection : Connection
    name : str
        Of the executor.
    most : int, optional
        Threads of workers that are used at most; as many are asked for, where a cluster grows.
    allowed : int
        Bytes of memory that tile tasks may use on each worker; 0: half of Dask's limit.
    blas : int
        Threads of BLAS for each tile task.
    """

    def __init__(
        self, connection: Connection, name: str, *, most: int | None, allowed: int, blas: int
    ) -> None:
        self._connection = connection
        self.name = name
        self.changed: Callable[[int], None] = lambda slots: None
        self._most = most
        self._blas = blas
        self._remotes: dict[str, Remote] = {}
        self.folders = SharedFolders(connection, lambda: [remote.address for remote in self.remotes])
        self._admission = Admission(connection, name, self.folders, allowed)
        self._pilots = Pilots(connection, name)
        self._broken: deque[tuple[float, Remote, str, BaseException]] = deque()
        self._number = itertools.count()
        self._holders = 0
        self._there = threading.Condition()
        self._looking = threading.Lock()
        self._answers = self._looked = time.monotonic()
        self._wake, self._ended = threading.Event(), threading.Event()
        self._monitor = threading.Thread(None, self._watch, f"{name}-monitor", daemon=True)
        try:
            self.look()
            if not self._remotes and not (self._admission.has_refused or most):
                self._wait_for_one()
            if not self._remotes and (self._admission.has_refused or not most):
                raise self._none()
        except BaseException:
            self._connection.close()
            raise
        self._monitor.start()

    # what is there

    @property
    def address(self) -> str:
        """Address of the scheduler."""
        return self._connection.address

    @property
    def remotes(self) -> list[Remote]:
        """The workers that are there."""
        with self._there:
            return list(self._remotes.values())

    @property
    def slots(self) -> int:
        """Jobs that run at the same time."""
        return self._threads or self._most or 1

    @property
    def _threads(self) -> int:
        return sum(remote.threads for remote in self.remotes)

    def look(self) -> None:
        """Find out which workers are there.

        Raises
        ------
        ServiceError
            The scheduler does not answer.
        """
        with self._looking:
            self._look()

    def _look_again(self) -> None:
        """Find out who has left since the last look, which may be seconds ago."""
        with self._looking, suppress(ServiceError):  # whoever sends something finds out that it is gone
            if time.monotonic() - self._answers > _LOOK and not self._connection.broken:
                self._look()

    def _look(self) -> None:
        threads = self._connection.threads()
        self._answers = time.monotonic()
        new = self._admission.admitted(threads, [remote.address for remote in self.remotes])
        before = self.slots
        with self._there:
            gone = [self._remotes.pop(address) for address in self._remotes.keys() - threads.keys()]
            self._remotes |= new
            self._share(threads)
            self._there.notify_all()
        for remote in gone:
            self._admission.give_up(remote.address)
            self._lost(remote)
        if self.slots != before:
            self.changed(self.slots)

    def take(self, told: threading.Event, until: float | None) -> Remote:
        """Return the worker that has the least to do, which has one job more from now on.

        Raises
        ------
        NeverStarted
            There is none, or whoever waits for one is told to stop.
        VersionError
            There are only such as do not fit.
        """
        give_up = time.monotonic() + _NO_WORKER
        if until is not None:
            give_up = min(give_up, until)
        while True:
            self._look_again()
            self._pilots.want(0 if self._most is None else self._most - self._threads)
            with self._there:
                usable = [remote for remote in self._remotes.values() if remote.threads]
                if usable:
                    remote = min(usable, key=lambda remote: (remote.load / remote.threads, remote.load))
                    remote.load += 1
                    return remote
                if self._admission.has_refused and not self._remotes:
                    raise self._none()
                if told.is_set() or self._ended.is_set() or time.monotonic() > give_up:
                    raise NeverStarted(str(self._none()))
                self._there.wait(_TOLD)

    def give_back(self, remote: Remote) -> None:
        """Note that a worker has a job less."""
        with self._there:
            remote.load -= 1

    # messages

    def ask(self, remote: Remote, kind: str, payload: Sequence[Any]) -> tuple[str, Future[Any]]:
        """Have a worker do a job. Returns its name, and a future of the answer.

        The future always ends: with the answer, or with a `CallError` that says what is known.
        """
        job = f"{self.name}-{next(self._number)}"
        answer = remote.expect(job)
        gone = f"Dask's scheduler {self.address} is gone, or the client is closed"
        if self._connection.broken:
            remote.settle(job, NeverStarted(gone))
        elif self._remotes.get(remote.address) is not remote:  # looked at after `expect`: `_lost` finds it
            remote.settle(job, NeverStarted(f"the Dask worker {remote.address} has left"))
        else:
            try:
                self._pilots.keep(remote)  # first: without pilots nobody would do what is sent
            except Exception as error:
                remote.settle(job, NeverStarted(f"Dask takes no task for {remote.address}: {error}"))
                return job, answer
            settings = theirs.Settings(remote.allowed, remote.limit, remote.threads, self._blas)
            asked = (self.name, remote.facts["process"], job, kind, payload, settings)
            sent = self._connection.run(remote.address, theirs.ask, *asked)
            sent.add_done_callback(lambda sent: self._answered(remote, job, sent))
        return job, answer

    def tell(self, remote: Remote, function: Callable[..., Any], *args: Any) -> None:
        """Send a message that nobody waits for."""
        self._connection.run(remote.address, function, self.name, *args)

    def drop(self, key: tuple[str, int, int, int]) -> None:
        """Have workers drop a tile that nobody will read again."""
        for remote in self.remotes:
            remote.drop(key)

    def drop_array(self, name: str) -> None:
        """Have workers drop all tiles of an array."""
        for remote in self.remotes:
            self.tell(remote, theirs.forget, [name])

    # the end

    def hold(self) -> Cluster:
        """Count one more user."""
        self._holders += 1
        return self

    def release(self) -> None:
        """Count a user less; with the last one all ends that we have on the workers."""
        with self._there:
            self._holders -= 1
            if self._holders or self._ended.is_set():
                return
            self._ended.set()
            self._wake.set()
            remotes = list(self._remotes.values())
            self._there.notify_all()
        if self._connection.is_here:  # a finalizer runs in any thread
            run_apart(self._end, remotes)
        else:
            self._end(remotes)

    def _end(self, remotes: Sequence[Remote]) -> None:
        ends = [self._connection.run(remote.address, theirs.end, self.name) for remote in remotes]
        until = time.monotonic() + PATIENCE
        for ended in ends:
            with suppress(Exception):  # it has left: then nothing of ours is there
                ended.result(max(0.0, until - time.monotonic()))
        self._pilots.close()
        if self._monitor is not threading.current_thread() and self._monitor.ident is not None:
            self._monitor.join(PATIENCE)
        self._connection.close()

    # workers that come and go

    def _watch(self) -> None:
        while not self._ended.is_set():
            self._wake.wait(_LOOK if self._is_busy else _LOOK_IDLE)
            self._wake.clear()
            try:
                self.look()
                self._ask_silent_ones()
                self._settle_broken()
            except Exception as error:
                if not self._ended.is_set():
                    self._without_scheduler(error)

    @property
    def _is_busy(self) -> bool:
        return not self._remotes or bool(self._broken) or any(remote.waiting for remote in self.remotes)

    def _share(self, threads: Mapping[str, int]) -> None:
        """Deal out the threads that may be used, one of each worker at a time."""
        left = self._most if self._most is not None else sum(threads.values())
        for remote in self._remotes.values():
            remote.threads = 0
        while left > 0:
            more = [r for r in self._remotes.values() if r.threads < threads.get(r.address, 0)]
            if not more:
                break
            for remote in more[:left]:
                remote.threads += 1
            left -= len(more[:left])

    def _wait_for_one(self) -> None:
        """Wait a little for the first worker: clusters start them one by one."""
        until = time.monotonic() + PATIENCE
        while not (self._remotes or self._admission.has_refused) and time.monotonic() < until:
            time.sleep(_LOOK)
            self.look()

    def _none(self) -> VersionError | ServiceError:
        """Return the error where there is no worker."""
        return self._admission.none(self.address)

    def _ask_silent_ones(self) -> None:
        """Give up workers that have work and do not answer."""
        # looked at, not by the clock: if this process was stopped (Ctrl-Z), they may have answered meanwhile
        now = time.monotonic()
        passed, self._looked = min(now - self._looked, _LOOK_IDLE), now
        for remote in self.remotes:
            remote.silent = remote.silent + passed if remote.waiting else 0.0
            if remote.asked and remote.silent > _UNRESPONSIVE:
                why = WorkerDied(
                    f"the Dask worker {remote.address} has not answered for {_UNRESPONSIVE:g} s while it had "
                    "the call: its machine may be overloaded, or the process stopped"
                )
                with self._there:  # it is greeted again, and comes back if it answers
                    self._remotes.pop(remote.address, None)
                self._admission.give_up(remote.address)
                remote.fail(why)
                self._pilots.drop(remote)
                self.changed(self.slots)
            elif not remote.asked and remote.silent > _PULSE:
                remote.asked = True
                pulse = self._connection.run(remote.address, theirs.pulse, self.name)
                pulse.add_done_callback(functools.partial(self._heard, remote))

    def _heard(self, remote: Remote, pulse: Future[Any]) -> None:
        remote.asked = False
        if pulse.exception() is None:
            remote.silent = 0.0

    def _lost(self, remote: Remote) -> None:
        """End what a worker had that has left."""
        if remote.waiting:
            why = "its own log says why"
            if self._connection.ran_out_of_memory(remote.address):
                why = (
                    "Dask has ended it as it used more than its memory limit: let tile tasks use less of it "
                    "(allowed_mem=), or give workers more (memory_limit=)"
                )
            # not OutOfMemory: no task needs more than its plan says, and the process of a call counts alone
            remote.fail(WorkerDied(f"the Dask worker {remote.address} ended while it had the call: {why}"))
        self._pilots.drop(remote)

    def _without_scheduler(self, error: Exception) -> None:
        """End all if the scheduler is gone; one that is busy may take a while."""
        if not self._connection.broken and time.monotonic() - self._answers < _UNRESPONSIVE:
            return
        why = "the client has been closed" if self._connection.closed else str(error)
        for remote in self.remotes:
            remote.fail(
                Lost(f"the connection to Dask's scheduler broke: {why}; whether the call ran is not known")
            )

    # answers

    def _answered(self, remote: Remote, job: str, sent: Future[Any]) -> None:
        error = sent.exception()
        if error is None:
            remote.silent = 0.0
            remote.settle(job, sent.result())
        elif isinstance(error, OSError | TimeoutError) and not self._ended.is_set():
            # the next look finds out who is gone, the worker or the scheduler
            self._broken.append((time.monotonic(), remote, job, error))
            self._wake.set()
        else:
            remote.settle(job, _broke(remote, error))

    def _settle_broken(self) -> None:
        """End what was sent over connections that broke, but that of workers that are there all the same."""
        for _ in range(len(self._broken)):  # others come meanwhile
            when, remote, job, error = self._broken.popleft()
            if time.monotonic() - when > _LOOK:
                remote.settle(job, _broke(remote, error))
            elif job in remote.waiting:
                self._broken.append((when, remote, job, error))


def _broke(remote: Remote, error: BaseException) -> Lost:
    return Lost(
        f"the connection to the Dask worker {remote.address} broke: {error!r}; whether it ran is not known"
    )
