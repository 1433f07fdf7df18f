"""Supervisor between the driver and one worker process: no process of a function outlives either.

``python keeper.py PARENT ANSWERS COMMAND…`` starts the command, with ANSWERS and its own number as arguments.
What the worker's programs leave behind, in whatever session, Linux gives to this process, as the nearest
"subreaper" above them. When the worker has ended, or the driver's thread that started us, or the driver says
so by the signal END, it kills its children until there are none, and ends as the worker has. Other signals
that are meant to end it are the worker's business; NUDGE lets it see them.

It has nothing but the standard library, without `site`: there is one for each worker.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Iterator

__all__ = ["END", "NUDGE", "main"]

END = signal.SIGUSR2
"""Ends the worker and all that it has started, at once."""

NUDGE = signal.SIGWINCH
"""Means nothing, but ends a wait of the worker's main thread, so that Python looks for signals."""

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36

_FORWARDED = (signal.SIGTERM, signal.SIGHUP)

_NUDGE_EVERY, _NUDGE_FOR = 0.2, 1.0
"""Seconds between nudges after a signal, and how long there are some: what the function has to clear up."""

_LAST = 5.0
"""Seconds in which all must have ended: the system may keep a process that waits for a dead disk."""

_LOOK = 0.05
"""Seconds after which it looks anew for children: those of a child that has ended are ours a moment later."""


def main(arguments: list[str]) -> None:
    """Start the command, wait until it has to end, and let nothing of it live on."""
    parent, answers, command = int(arguments[0]), arguments[1], arguments[2:]
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    for number in (END, signal.SIGCHLD, signal.SIGINT, *_FORWARDED):
        signal.signal(number, lambda number, frame: None)  # it is read from the pipe
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    # After the handlers: without one, END would kill the keeper, and nobody would end the worker.
    _prctl(_PR_SET_PDEATHSIG, END)
    if os.getppid() != parent:  # it has ended before we asked
        sys.exit("the driver is gone")
    worker = _start(command, answers)
    null = os.open(os.devnull, os.O_RDWR)
    for ours in (0, 1, int(answers)):  # whoever reads at the other end must see the worker's end
        os.dup2(null, ours)
    change = select.poll()
    change.register(woken, select.POLLIN)
    status, until = None, 0.0
    while status is None:
        ready = change.poll(_NUDGE_EVERY * 1000 if time.monotonic() < until else None)
        told = os.read(woken, 1 << 10) if ready else b""
        if END in told:
            break
        for number in _FORWARDED:
            if number in told:
                os.kill(worker, number)
                until = time.monotonic() + _NUDGE_FOR
        # Python sees a signal that comes right before it waits (in `time.sleep`, for a lock) when the wait is
        # over. The signal itself is not sent again: a function's own handler would strike its clearing up.
        if not ready:
            os.kill(worker, NUDGE)
        status = dict(_ended()).get(worker)
    _end_as(_end_all(woken, worker, status))


def _start(command: list[str], answers: str) -> int:
    """Start the worker in a process group of its own: what a function sends to its group is not for us."""
    keeper = os.getpid()
    try:
        child = os.fork()
    except OSError as error:
        sys.exit(
            f"no process can be forked: {error}. Use fewer workers, or raise this user's limit "
            "(ulimit -u) or the control group's (pids.max)"
        )
    if child:
        return child
    try:
        # The child shares the pipe, and the keeper would take signals to the child for its own.
        signal.set_wakeup_fd(-1)
        os.setpgid(0, 0)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == keeper:
            os.execv(command[0], [*command, answers, str(keeper)])
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error}\n")
        sys.stderr.flush()
    finally:
        os._exit(127)


def _ended() -> Iterator[tuple[int, int]]:
    """Yield children that have ended, with their status, and forget them."""
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            yield found


def _end_all(woken: int, worker: int, status: int | None) -> int:
    """Kill children until there are none, and return the worker's status.

    Only children that have not been waited for: the number of none of them can be another process's by now.
    Theirs are ours as soon as they have ended.
    """
    change = select.poll()
    change.register(woken, select.POLLIN)
    until = time.monotonic() + _LAST
    while time.monotonic() < until:
        try:
            pid, found = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if pid:
            status = found if pid == worker else status
            continue
        if not [child for child in _children() if _kill(child)]:
            break  # those that are left belong to another user by now
        if change.poll(_LOOK * 1000):
            os.read(woken, 1 << 10)
    return signal.SIGKILL if status is None else status


def _children() -> Iterator[int]:
    me = os.getpid()
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
            if int(file.read().rpartition(b")")[2].split()[1]) == me:
                yield int(name)


def _kill(child: int) -> bool:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(child, signal.SIGKILL)
        return True
    return False


def _end_as(status: int) -> None:
    """End as a child has: by the same signal, or with the same exit status."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # one core is enough
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code & 0xFF)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value})")


if __name__ == "__main__":
    main(sys.argv[1:])
