"""A worker process of this machine: answers requests that come through a pipe, one after the other.

``python -m wrenla_handler.local ANSWERS PARENT`` reads frames from standard input and writes frames to the
descriptor ANSWERS, each a length of four bytes (big endian) and that many bytes of JSON. The first frame says
how to find modules, the others are requests. Standard output and error are the file in which output is kept.
The process ends with its input, or with the thread of PARENT that started it.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from types import FrameType
from typing import Any

from wrenla_handler.call.callee import Callee
from wrenla_handler.call.envelope import Request
from wrenla_handler.call.output import FileOutput, log_to_standard_error

__all__ = ["LENGTH", "main", "write_all"]

LENGTH = 4
"""Bytes of a frame's length."""

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Answer until there is nothing more to read."""
    answers, parent = map(int, arguments)
    _end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to us, too, but it is the driver's
    requests = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.set_inheritable(answers, False)  # what a function starts must not hold the pipe open
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    log_to_standard_error()
    callee = Callee(f"process {os.getpid()}", FileOutput(os.dup(1)).take)
    told = _listen_for_the_end(callee)
    first = _read(requests)
    if first is None:
        return
    sys.path[:] = json.loads(first)["path"]
    _write(answers, json.dumps({"pid": os.getpid(), "python": sys.version_info[:3]}).encode())
    while not told and (frame := _read(requests)) is not None:
        _write(answers, callee.answer(Request.decode(frame)).encode())
    callee.close()


def _listen_for_the_end(callee: Callee) -> list[int]:
    """When told to end, interrupt the function that is running, so that it can clear up."""
    told: list[int] = []

    def end(number: int, frame: FrameType | None) -> Any:
        told.append(number)
        if callee.context is not None:
            callee.context.cancelled.set()
        sys.exit("told to end")

    signal.signal(signal.SIGTERM, end)
    return told


def _end_with(parent: int) -> None:
    """Be killed when the parent ends, however it ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it has ended before we asked
        sys.exit("the driver is gone")


def _read(descriptor: int) -> bytes | None:
    """Return the next frame, None at the end."""
    head = _exactly(descriptor, LENGTH)
    return None if head is None else _exactly(descriptor, int.from_bytes(head, "big"))


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
    write_all(descriptor, len(text).to_bytes(LENGTH, "big") + text)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it: a pipe takes as much as it has room for."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


if __name__ == "__main__":
    main(sys.argv[1:])
