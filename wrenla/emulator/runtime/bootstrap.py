"""Bootstrap of a plain process: ``python bootstrap.py PARENT HANDLER``.

It starts AWS's runtime client as its child, and stays to hold together all that comes of it: whatever loses
its parent becomes a child of this process, whatever session it has begun. When the client has ended, or the
emulator has, however that was, it ends the rest, and then itself as the client has ended.

Neither wrenla nor any other package can be imported here: nothing is on the path but the function's code and
the runtime.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import runpy
import signal
import sys
import time

__all__ = ["descendants", "main"]

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    """Run the client."""
    parent, handler = sys.argv[1:]
    signal.signal(signal.SIGTERM, _end)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):  # it has ended before we asked
        sys.exit("the emulator is gone")
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    keeper = os.getpid()
    client = os.fork()
    if client:
        _keep(client)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.setpgid(0, 0)  # a function that signals its own group does not mean the keeper
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != keeper:
        sys.exit("the emulator is gone")
    sys.path[0] = os.environ["LAMBDA_TASK_ROOT"]
    sys.argv[1:] = [handler]
    runpy.run_module("awslambdaric", run_name="__main__", alter_sys=True)


def descendants(pid: int) -> list[int]:
    """Return a process and all that it has started which are alive, parents first, elder children first."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{parent}/task"):
                with contextlib.suppress(OSError), open(f"/proc/{parent}/task/{thread}/children") as file:
                    found += [int(child) for child in file.read().split()]
    return found


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _end(*_: object) -> None:
    """End all at once; more signals may come meanwhile, one for each thread of the emulator that ends."""
    _end_rest()
    os._exit(128 + signal.SIGTERM)


def _keep(client: int) -> None:
    """Wait for the client's end, end all else, and end like it."""
    ended = status = 0
    while ended != client:
        ended, status = os.waitpid(-1, 0)
    _end_rest()
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        with contextlib.suppress(OSError):  # the disposition of SIGKILL cannot be set
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _end_rest() -> None:
    with contextlib.suppress(ChildProcessError):  # there are none any more
        while True:
            for child in descendants(os.getpid())[1:]:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(child, signal.SIGKILL)
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
            time.sleep(0.001)


if __name__ == "__main__":
    main()
