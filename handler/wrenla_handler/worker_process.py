"""Worker process of this machine: answers requests from a pipe, one after the other.

``python -m wrenla_handler.worker_process ANSWERS PARENT`` reads frames from standard input and writes frames
to the descriptor ANSWERS, each `MAGIC`, a length of four bytes (big endian) and so many bytes of JSON. The
first says how to find modules, from which level on what is logged is shown, and which descriptor takes the
rest of it; the others are lists of requests. That, standard output and standard error are files in
which output is kept. The process ends with its input, with PARENT (see `keeper`), or when it is told to:
then it answers what it has begun, and says that it leaves.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
import time
from collections import deque

import msgspec

from wrenla_handler import keeper
from wrenla_handler.calls.capture import FileOutput
from wrenla_handler.calls.messages import Request, Response
from wrenla_handler.calls.runner import Runner
from wrenla_handler.calls.termination import Listener, ToldToEnd
from wrenla_handler.serialize.lines import here_first

__all__ = ["HEAD", "LEAVING", "MAGIC", "framed", "main", "write_all"]

MAGIC = b"wrenla1\n"
"""What a frame begins with. Whatever else is in a pipe, a function has written it there."""

LEAVING = b'"leaving"'
"""The last frame of a worker that ends although its input goes on."""

HEAD = len(MAGIC) + 4
"""Bytes before a frame's JSON."""

_PR_SET_PDEATHSIG = 1

_PATIENCE = 0.02
"""Seconds that a call may take while others lie behind it."""


def main(arguments: list[str]) -> None:
    """Answer until there is nothing more to read."""
    answers, parent = map(int, arguments)
    _end_with(parent)
    _leave_interrupts_to_the_driver()
    requests = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    # A function that reads its standard input must not get the requests.
    os.dup2(null, 0)
    os.close(null)
    os.set_inheritable(answers, False)  # what a function starts must not hold the pipe open
    output = FileOutput(os.dup(1), os.dup(2))
    output.install()
    here_first(received=True)
    callee = Runner(f"process {os.getpid()}", output.take)
    listener = Listener()
    listener.on_told = callee.tell
    first = _read(requests)
    if first is None:
        return
    told = json.loads(first)
    sys.path[:] = told["path"]
    os.set_inheritable(told["quiet"], False)
    output.log(told["shown"], told["quiet"])
    _write(answers, json.dumps({"pid": os.getpid(), "python": sys.version_info[:3]}).encode())
    desk = _Desk(callee.name, answers)
    while (frame := listener.interruptible(_read, requests)) is not None:
        desk.lay(msgspec.json.decode(frame, type=list[Request]))
        while not (listener.told or callee.spoilt) and (request := desk.take()) is not None:
            response = listener.interruptible(callee.answer, request)
            # interrupted where it was not for the callee to see
            desk.answer(response or callee.answer_of_the_told(request, ToldToEnd("told to end")))
        if callee.spoilt:
            break
    if listener.told or callee.spoilt:
        desk.leave()
    callee.close()


class _Desk:
    """Requests that have come together, for calls that are expected to be short.

    If one of them is not, a thread gives those behind it back, so that they do not wait while others idle.
    """

    def __init__(self, name: str, answers: int) -> None:
        self._name = name
        self._answers = answers
        self._lying: deque[Request] = deque()
        self._taken = 0.0
        self._lock = threading.Lock()
        self._several = threading.Semaphore(0)
        self._watcher: threading.Thread | None = None

    def lay(self, requests: list[Request]) -> None:
        """Put requests on the empty desk."""
        self._lying.extend(requests)
        if len(requests) > 1:
            if self._watcher is None:
                watcher = threading.Thread(target=self._watch, name="wrenla-desk", daemon=True)
                with contextlib.suppress(RuntimeError):  # no thread is to be had: those behind wait a little
                    watcher.start()
                    self._watcher = watcher
            self._taken = time.monotonic()
            self._several.release()

    def take(self) -> Request | None:
        """Take the next request, None if there is none."""
        with self._lock:  # what is being given back must be in the pipe before another one begins
            self._taken = time.monotonic()
            return self._lying.popleft() if self._lying else None

    def answer(self, response: Response) -> None:
        """Send an answer."""
        with self._lock:
            _write(self._answers, response.encode())

    def leave(self) -> None:
        """Say that no more answers come: what has not been answered has not begun."""
        with self._lock, contextlib.suppress(OSError):  # the driver may be gone
            _write(self._answers, LEAVING)

    def _watch(self) -> None:
        while self._several.acquire():
            while self._lying:
                time.sleep(_PATIENCE / 2)
                with self._lock:
                    if time.monotonic() - self._taken > _PATIENCE:
                        while self._lying:
                            back = self._lying.popleft()
                            response = Response(back.id, back.attempt, "not begun", worker=self._name)
                            _write(self._answers, response.encode())


def _leave_interrupts_to_the_driver() -> None:
    """Ignore SIGINT (Ctrl-C): the driver ends this process.

    Not by ignoring it, which programs that functions start would inherit: they could not be interrupted.
    """
    signal.signal(keeper.NUDGE, lambda number, frame: None)
    signal.signal(signal.SIGINT, lambda number, frame: None)
    signal.siginterrupt(signal.SIGINT, False)  # system calls of C libraries go on, as Python's do anyway


def _end_with(parent: int) -> None:
    """Be killed when the parent ends, however it ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it has ended before we asked
        sys.exit("the driver is gone")


def _read(descriptor: int) -> bytes | None:
    """Return the next frame, None at the end."""
    head = _exactly(descriptor, HEAD)
    return None if head is None else _exactly(descriptor, int.from_bytes(head[len(MAGIC) :], "big"))


def _exactly(descriptor: int, count: int) -> bytes | None:
    pieces = []
    while count:
        piece = os.read(descriptor, min(count, 1 << 20))
        if not piece:
            return None
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def _write(descriptor: int, text: bytes) -> None:
    write_all(descriptor, framed(text))


def framed(text: bytes) -> bytes:
    """Return a frame."""
    return MAGIC + len(text).to_bytes(HEAD - len(MAGIC), "big") + text


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it: a pipe takes as much as it has room for."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


if __name__ == "__main__":
    main(sys.argv[1:])
