"""The process of an environment: how it starts, what it prints, how it is frozen and how it ends."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from wrenla.aws.sandbox.cgroups import Group

__all__ = ["RuntimeProcess", "descendants"]

_BEGIN = """\
ulimit -n 1024
ulimit -c 0
while [ "$1" != -- ]; do echo $$ > "$1" || exit 97; shift; done
shift
exec "$@"
"""
"""Join the control groups, then become the command, so that nothing of it runs outside of them."""


class RuntimeProcess:
    """A process that speaks the Runtime API, with all that it starts.

    Parameters
    ----------
    command : sequence of str
    environment : mapping
    group : Group, optional
        Its control group, which ends with it.
    spawner : ThreadPoolExecutor
        With one thread, that lives as long as the sandbox: the process is killed when this thread ends.

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
    ) -> None:
        self.group = group
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
            if group is not None:
                group.close()
            raise
        finally:
            os.close(theirs)
        self.pid = self._process.pid
        self.ended = os.pidfd_open(self.pid)
        self._inner = 0

    def freeze(self) -> None:
        """Stop it, as Lambda does between calls."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it and all that it has started."""
        self._signal(signal.SIGKILL)
        if self.group is not None:
            self.group.kill()

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
        self._process.wait()
        os.close(self.ended)
        os.close(self.output)
        if self.group is not None:
            self.group.kill()
            self.group.close()

    def peak(self) -> int:
        """Return the most bytes that the runtime itself has had in memory."""
        if not self._inner:
            self._inner = descendants(self.pid)[-1]
        with contextlib.suppress(OSError), open(f"/proc/{self._inner}/status", "rb") as file:
            text = file.read()
            start = text.find(b"VmHWM:")
            if start >= 0:
                return int(text[start + 6 : text.find(b"kB", start)]) << 10
        return self.group.peak() if self.group is not None else 0  # it has ended; this has files in it, too

    def read(self) -> bytes:
        """Return what it has printed since it was asked last."""
        pieces = []
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self.output, 1 << 16):
                pieces.append(piece)
        return b"".join(pieces)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def descendants(pid: int) -> list[int]:
    """Return a process and all that it has started which are alive, parents first."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for children in Path(f"/proc/{parent}/task").glob("*/children"):
                found += [int(child) for child in children.read_text().split()]
    return found
