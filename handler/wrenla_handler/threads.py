"""Pools of threads where the system may have none for us: they do with fewer, or say which limit it is."""

from __future__ import annotations

import contextlib
import queue
import resource
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from wrenla_handler.errors import ThreadLimitError
from wrenla_handler.machine import control_groups

__all__ = ["Threads", "limits_on_starting", "no_thread"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Threads(ThreadPoolExecutor):
    """Thread pool that works with fewer threads if the system starts no more.

    The standard library's raises in `submit` then, and leaves what was submitted in its queue, so that it may
    be done all the same, and nobody hears of it.

    Raises
    ------
    ThreadLimitError
        By `submit`: there is not a single thread. What was submitted will not be done.
    """

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        try:
            return super().submit(fn, *args, **kwargs)
        except RuntimeError as error:
            if "start new thread" not in str(error):  # but that it is shut down
                raise
            with contextlib.suppress(queue.Empty):  # nobody else takes it: there is no thread
                self._work_queue.get_nowait()
            raise no_thread(self._thread_name_prefix or "a thread", error) from error

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise


def no_thread(what: str, error: RuntimeError) -> ThreadLimitError:
    """Return the error for a thread that the system does not start, with the limits that may be the cause."""
    return ThreadLimitError(f"{what}: {error}{limits_on_starting()}")


def limits_on_starting() -> str:
    """Return the limits on threads and processes, and the remedy, as the end of a message."""
    limits = "; ".join(_limits()) or "no limit of this process is known"
    return f": {limits}. Use fewer workers, end other programs of this user, or raise that limit"


def _limits() -> Iterator[str]:
    infinite: Any = resource.RLIM_INFINITY
    processes = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if processes != infinite:
        yield f"this user may have {processes} processes and threads (RLIMIT_NPROC, ulimit -u)"
    memory = resource.getrlimit(resource.RLIMIT_AS)[0]
    if memory != infinite:
        yield f"this process may have {memory >> 20} MiB of addresses (RLIMIT_AS, ulimit -v)"
    for folder in control_groups("pids"):
        with contextlib.suppress(OSError):
            most = (folder / "pids.max").read_text().strip()
            if most != "max":
                yield f"this control group may have {most} processes and threads ({folder}/pids.max)"
