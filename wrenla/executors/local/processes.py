"""Worker process as a child: its pipes, its output, and its end."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import json
import logging
import math
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from wrenla.errors import CallError, Lost, NeverStarted, OutOfMemory, WorkerDied
from wrenla_handler import keeper
from wrenla_handler.calls.capture import Printed, StreamName, take_file
from wrenla_handler.calls.messages import Request, Response
from wrenla_handler.machine import control_groups
from wrenla_handler.threads import limits_on_starting
from wrenla_handler.worker_process import HEAD, LEAVING, MAGIC, framed

__all__ = ["THREADS_OF_BLAS", "Child", "Leaving"]

THREADS_OF_BLAS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables that BLAS libraries read when they are loaded."""

_START = 60.0
"""Seconds that a child may take to start, or to take a request, on a machine that is busy."""

_LONGEST = 3600.0
"""Seconds that are waited at a time: the system counts milliseconds up to some weeks."""

_COUNT = 1.0
"""Seconds after which it is counted anew whom the system has killed: to ask takes as long as ten calls."""

_LAST = 10.0
"""Seconds that a worker's end may take once it is dead: all that it has started is ended, too."""

_REST = 10.0
"""Seconds that the rest of an answer may take which has begun: it is small, what is large is in the store."""


_LOOK = 0.1
"""Seconds between two looks at what a call that is running has printed."""

_PIECE = 1 << 16
"""Bytes of it that are looked at together."""

_SHOWN: tuple[StreamName, ...] = ("o", "e")
_STREAMS: tuple[StreamName, ...] = (*_SHOWN, "l")


class Leaving(Exception):
    """A worker ends, having answered all that it had begun."""


class Child:
    """One ``python -m wrenla_handler.worker_process`` below its keeper; used, and ended, by one thread.

    Parameters
    ----------
    environment : dict
        Its environment variables.

    Attributes
    ----------
    pid : int
        Number of the worker process.
    calls : int
        Requests that it was given.
    known : set of str
        Hashes of the functions that it was sent.
    modules : str
        Hash of the modules that it was sent last.
    peak : int
        Most bytes of memory that it has used, as far as is known.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self.pid = 0
        self.calls = 0
        self.known: set[str] = set()
        self.modules = ""
        self.peak = 0
        self._rest = b""
        self._looked = dict.fromkeys(_SHOWN, 0)
        self._worker = -1
        self._oom_kills = 0
        self._counted = -math.inf
        with contextlib.ExitStack() as undo:
            try:
                self._start(environment, undo)
            except OSError as error:
                limits = limits_on_starting() if error.errno in (errno.EAGAIN, errno.ENOMEM) else ""
                raise NeverStarted(f"no worker process can be started: {error}{limits}") from error
            undo.pop_all()
        try:
            self._greet()
        except (OSError, CallError) as error:
            said = self.kill().decode("utf-8", "replace").strip()
            raise NeverStarted(f"a worker process did not start: {said[-2000:] or error}") from error
        except BaseException:
            self.kill()
            raise

    def _start(self, environment: dict[str, str], undo: contextlib.ExitStack) -> None:
        self._logs: dict[StreamName, Any] = {}
        for name in _STREAMS:
            file = self._logs[name] = tempfile.TemporaryFile(prefix="wrenla-log-")  # noqa: SIM115
            undo.enter_context(file)
            # `take_file` empties it while the worker has it open: without O_APPEND the next write would go to
            # its old position, behind a hole of zeros.
            fcntl.fcntl(file, fcntl.F_SETFL, os.O_APPEND)
        quiet = self._logs["l"].fileno()
        answers, theirs = os.pipe()
        self._answers = answers
        undo.callback(os.close, answers)
        os.set_blocking(answers, False)
        try:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", keeper.__file__, str(os.getpid()), str(theirs)),
                    *(sys.executable, *_flags(), "-m", "wrenla_handler.worker_process"),
                ],
                stdin=subprocess.PIPE,
                stdout=self._logs["o"],
                stderr=self._logs["e"],
                pass_fds=[theirs, quiet],
                env=environment,
                bufsize=0,
                process_group=0,  # a Ctrl-C in the terminal is the driver's
            )
        finally:
            os.close(theirs)
        # An ExitStack goes backwards: it kills the process, and then waits for it.
        undo.enter_context(self._process)  # waits for it
        undo.callback(self._process.kill)
        assert self._process.stdin is not None
        self._requests = self._process.stdin
        os.set_blocking(self._requests.fileno(), False)
        self._ended = os.pidfd_open(self._process.pid)
        self._poll = select.poll()
        self._poll.register(answers, select.POLLIN)
        self._poll.register(self._ended, select.POLLIN)

    def _greet(self) -> None:
        here = ""
        with contextlib.suppress(OSError):  # it has been removed, and nothing is imported from it
            here = os.getcwd()
        # what is no text is none to Python either
        path = [entry or here for entry in sys.path if isinstance(entry, str) and (entry or here)]
        shown = max(logging.INFO, logging.getLogger().getEffectiveLevel())  # as in this process
        told = {"path": path, "shown": shown, "quiet": self._logs["l"].fileno()}
        self._send(json.dumps(told).encode())
        said = self._receive(_START)
        if said is None:
            raise NeverStarted(f"not ready within {_START:g} s")
        self.pid = int(json.loads(said)["pid"])
        # The keeper waits for the worker, not we, so its number may soon be another process's; a descriptor
        # stays that of the worker.
        self._worker = os.pidfd_open(self.pid)
        self._poll.register(self._worker, select.POLLIN)

    def send(self, requests: Sequence[Request]) -> None:
        """Send requests, to be answered one after the other.

        Raises
        ------
        NeverStarted
            The child is of no use any more: `kill` it.
        """
        self.calls += len(requests)
        # Before the call: if the system's count is higher after the worker's death, that was the reason.
        if (now := time.monotonic()) - self._counted > _COUNT:
            self._counted, self._oom_kills = now, _oom_kills()
        text = b",".join([request.encode() for request in requests])
        try:
            self._send(b"[" + text + b"]")
        except OSError as error:
            raise NeverStarted(f"the worker process could not be given the call: {error}") from error

    def receive(self, limit: float | None, meanwhile: Callable[[], None] | None = None) -> Response | None:
        """Return the next answer, None after `limit` seconds without one.

        Parameters
        ----------
        limit : float, optional
        meanwhile : callable, optional
            Is called now and then until there is one.

        Raises
        ------
        WorkerDied, OutOfMemory, Lost, Leaving
            The child is of no use any more: `kill` it.
        """
        text = self._receive(limit, meanwhile)
        if text is None:
            return None
        self._looked = dict.fromkeys(_SHOWN, 0)
        if text == LEAVING:
            raise Leaving
        try:
            return Response.decode(text)
        except ValueError as error:
            raise Lost(f"the worker's answer makes no sense ({error}): the function used its pipe") from error

    def printed(self) -> Iterator[tuple[StreamName, bytes]]:
        """Yield what the call that is running has printed since the last time."""
        # Read first, then look for an answer: if there is none yet, all of it is of the call that still runs.
        found = [(name, os.pread(self._logs[name].fileno(), _PIECE, self._looked[name])) for name in _SHOWN]
        # what follows an answer belongs to the next call
        if not self._poll.poll(0):
            for name, text in found:
                self._looked[name] += len(text)
                if text:
                    yield name, text

    def alive(self) -> bool:
        """Tell whether the process has not ended."""
        return not _is_over(self._worker, 0.0)

    def interrupt(self) -> None:
        """Tell the function that is running to end; it may clear up."""
        self._process.send_signal(signal.SIGTERM)

    def kill_soon(self) -> None:
        """End the process and all that it has started from any thread, without waiting."""
        # Popen sends nothing to a process that it has waited for: the number may be another's by then.
        self._process.send_signal(keeper.END)

    def kill(self, grace: float = 0.0) -> Printed:
        """End the process and all that it has started, free what it had, and return what it had printed."""
        if grace:
            self.interrupt()
            _is_over(self._ended, grace)
        self.kill_soon()
        return self._free()

    def close(self) -> None:
        """End the process: by the end of its input, or by force if it goes on."""
        with contextlib.suppress(OSError):
            self._requests.close()
        _is_over(self._ended, 2.0)
        self.kill_soon()
        self._free()

    def _free(self) -> Printed:
        if not _is_over(self._ended, _LAST):  # somebody has stopped it; then the worker goes with it
            self._process.kill()
        self._process.wait(timeout=30)
        with contextlib.suppress(OSError):
            self._requests.close()
        os.close(self._answers)
        os.close(self._ended)
        if self._worker >= 0:
            os.close(self._worker)
        with contextlib.ExitStack() as files:
            for file in self._logs.values():
                files.enter_context(file)
            return Printed((name, take_file(file.fileno())) for name, file in self._logs.items())

    def _send(self, text: bytes) -> None:
        view = memoryview(framed(text))
        while view:
            try:
                view = view[os.write(self._requests.fileno(), view) :]
            except BlockingIOError:
                room = select.poll()
                room.register(self._requests, select.POLLOUT)
                if not room.poll(_START * 1000):
                    raise TimeoutError(f"it has taken nothing for {_START:g} s") from None

    def _receive(self, limit: float | None, meanwhile: Callable[[], None] | None = None) -> bytes | None:
        """Return the next frame, None if it takes longer than `limit` seconds."""
        deadline = math.inf if limit is None else time.monotonic() + limit
        while (frame := self._frame()) is None:
            left = deadline - time.monotonic()
            patience = min(left, _REST) if self._rest else left
            most = _LONGEST if meanwhile is None else _LOOK
            ready = {descriptor for descriptor, _ in self._poll.poll(min(max(0.0, patience), most) * 1000)}
            if not ready and patience > most:
                if meanwhile is not None:
                    meanwhile()
                continue
            if not ready:
                if self._rest and patience == _REST:
                    raise Lost("the worker's answer broke off: the function has written to its pipe")
                return None
            # The pipe before the end of the process: a worker that has answered and ended has done its work.
            if self._answers in ready:
                piece = self._read()
                if piece == b"":
                    raise self._end()
            elif not ready.isdisjoint((self._ended, self._worker)):
                raise self._end()
        return frame

    def _read(self) -> bytes | None:
        try:
            piece = os.read(self._answers, 1 << 16)
        except BlockingIOError:
            return None
        self._rest += piece
        return piece

    def _frame(self) -> bytes | None:
        rest = self._rest
        if not rest.startswith(MAGIC[: len(rest)]):
            raise Lost("the worker's answer makes no sense: the function has written to its pipe")
        end = HEAD + int.from_bytes(rest[len(MAGIC) : HEAD], "big")
        if len(rest) < max(HEAD, end):
            return None
        frame, self._rest = rest[HEAD:end], rest[end:]
        return frame

    def _end(self) -> CallError:
        """Return the error for the end of the process, or of its pipe only."""
        # The pipe closes a moment before the process has ended: without a wait, a death is a lost answer.
        if not _is_over(self._ended if self._worker < 0 else self._worker, 0.5):
            return Lost("the worker's pipe was closed while it had the call: whether it ran is not known")
        if not _is_over(self._ended, _LAST):
            return WorkerDied("the worker process ended while it had the call; what it started goes on")
        code = self._process.wait()
        if code == -signal.SIGKILL and _oom_kills() > self._oom_kills:
            return OutOfMemory("the system has killed the worker process: it had no more memory")
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        return WorkerDied(f"the worker process ended ({how}) while it had the call")


def _flags() -> list[str]:
    """Return the flags of this interpreter that a worker has, too: as in a process of multiprocessing.

    But for what prints a line for each import, which would pass for what functions print, and `-S`: the
    folders of installed packages are needed before it is told where modules are. `-P`, since a file of the
    current folder must not pass for a module of the standard library.
    """
    given = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    flags, options = list[str](), iter(given)
    for flag in options:
        if flag == "-X":
            option = next(options)
            flags += [] if option.startswith("importtime") else [flag, option]
        elif flag != "-P" and not re.fullmatch("-(S|v+)", flag):
            flags.append(flag)
    return [*flags, "-P"]


def _is_over(process: int, seconds: float) -> bool:
    """Wait some seconds for the end of a process."""
    ended = select.poll()
    ended.register(process, select.POLLIN)
    return bool(ended.poll(seconds * 1000))


def _oom_kills() -> int:
    """Return how many processes of our control group the system has killed for want of memory.

    Where there is none, those of the whole machine.
    """
    for path in (*_counters(), Path("/proc/vmstat")):
        with contextlib.suppress(OSError):
            lines = path.read_text().splitlines()
            return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
    return 0


@functools.cache
def _counters() -> tuple[Path, ...]:
    """Return where our control group counts, version 2 or 1; a container may see its own as the root."""
    names = ("memory.events", "memory.oom_control")
    found = (folder / name for folder in control_groups("memory") for name in names)
    return tuple(path for path in found if path.exists())
