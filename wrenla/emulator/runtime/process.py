"""Process of an environment: start, output, freeze and end."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from wrenla.emulator.isolation.cgroups import Group
from wrenla.emulator.isolation.memory import high_water, private_memory, shares_of_memory
from wrenla.emulator.runtime.bootstrap import descendants

__all__ = ["RuntimeProcess", "descendants"]

_BEGIN = """\
ulimit -n 1024
ulimit -c 0
while [ "$1" != -- ]; do echo $$ > "$1" || exit 97; shift; done
shift
exec "$@"
"""
"""Join the control groups, then become the command, so that nothing of it runs outside of them."""

_PATIENCE = 10.0
"""Seconds that the first process may take to see that the others have ended."""


class RuntimeProcess:
    """A process that speaks the Runtime API, with all that it starts.

    Parameters
    ----------
    command : sequence of str
    environment : mapping
    group : Group, optional
        Its control group, which ends with it once it has started.
    spawner : ThreadPoolExecutor
        With one thread, that lives as long as the emulator: the process is killed when this thread ends.
    depth : int
        How far below its first process, which only holds the others together, the runtime is.

    Attributes
    ----------
    ended : int
        A descriptor that can be read when it has ended.
    output : int
        A descriptor from which its output is read, without waiting.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        group: Group | None,
        spawner: ThreadPoolExecutor,
        depth: int,
    ) -> None:
        self.group = group
        self._depth = depth
        self._own: list[int] = []
        self._most = 0
        join = [str(file) for file in group.join] if group is not None else []
        self.output, theirs = os.pipe()
        os.set_blocking(self.output, False)
        try:
            self._process = spawner.submit(
                subprocess.Popen,
                ["/bin/sh", "-c", _BEGIN, "sh", *join, "--", *command],
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                env=dict(environment),
                process_group=0,
            ).result()
        except BaseException:
            os.close(self.output)
            raise
        finally:
            os.close(theirs)
        self.pid = self._process.pid
        try:
            self.ended = os.pidfd_open(self.pid)
        except OSError:
            self._end_first(signal.SIGKILL)
            self._process.wait()
            os.close(self.output)
            raise
        self._stopped: list[int] = []

    def freeze(self) -> None:
        """Stop it and all that it has started, as Lambda does between calls."""
        # The runtime first: what is stopped starts nothing more.
        self._stopped = list(self._own)
        _send(self._stopped, signal.SIGSTOP)
        while fresh := [pid for pid in self._inside() if pid not in self._stopped]:
            _send(fresh, signal.SIGSTOP)  # and look again: they may have started others meanwhile
            self._stopped += fresh

    def thaw(self) -> None:
        """Continue it after `freeze`."""
        _send(self._stopped, signal.SIGCONT)
        self._stopped = []

    def kill(self) -> None:
        """Kill it and all that it has started."""
        if self._process.returncode is None:  # else the number may be another's by now
            inside = self._inside()
            _send(inside, signal.SIGKILL)
            if not inside:  # as a rule the first process ends after the rest, and by itself: see `start`
                self._end_first(signal.SIGTERM)
        if self.group is not None:
            self.group.kill()

    def runtime(self) -> int | None:
        """Return the number of the runtime's own process, None if it is not there."""
        found = descendants(self.pid)
        return found[self._depth] if len(found) > self._depth else None

    def find_runtime(self) -> None:
        """Find out which process is the runtime itself: later there may be others."""
        self._own = descendants(self.pid)[1 : self._depth + 1]

    def observe(self, used: int) -> None:
        """Take note that it had so many bytes at some time."""
        self._most = max(self._most, used)

    def peak(self) -> int:
        """Return the most bytes that it has had in memory, with all that it has started.

        A control group knows, and counts files that were read, as Lambda does. Without one, what its children
        have is seen only if somebody looks while they have it.
        """
        most = self.group.peak() if self.group is not None else 0
        if not most:
            others = [pid for pid in self._inside() if pid not in self._own]
            self.observe(sum(map(high_water, self._own)) + shares_of_memory(others))
            most = self._most
        return most

    def memory(self) -> int:
        """Return the bytes that it has now, with all that it has started, without files."""
        return private_memory(self._inside())

    def has_ended(self) -> bool:
        """Tell whether it has ended, without waiting."""
        poll = select.poll()
        poll.register(self.ended, select.POLLIN)
        return bool(poll.poll(0))

    def wait(self) -> int:
        """Wait until it has ended; return its exit status, or the number of the signal, negative."""
        code = self._process.wait()
        return 128 - code if code > 128 else code  # this is how bubblewrap hands on a signal

    def close(self) -> None:
        """Kill it, and free what it had."""
        self.kill()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._end_first(signal.SIGKILL)
            self._process.wait()
        os.close(self.ended)
        os.close(self.output)
        if self.group is not None:
            self.group.kill()
            self.group.close()

    def read(self) -> bytes:
        """Return what it has printed since it was asked last."""
        pieces = []
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self.output, 1 << 16):
                pieces.append(piece)
        return b"".join(pieces)

    def _end_first(self, number: signal.Signals) -> None:
        """End its first process, with what that may just be starting."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _inside(self) -> list[int]:
        """Return what runs in it, without its first process, which only holds the others together."""
        return descendants(self.pid)[1:]


def _send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
