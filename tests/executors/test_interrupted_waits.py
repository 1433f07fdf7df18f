"""Ctrl-C while futures are waited for, outside a ``with`` block, in a program that goes on."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, as_completed, wait
from pathlib import Path
from typing import Any

import wrenla as wl
from tests.interrupting import interrupts
from tests.waiting import until, until_idle
from wrenla.errors import Cancelled


def until_told(_: object = None) -> None:
    deadline = time.monotonic() + 60
    while not wl.cancelled() and time.monotonic() < deadline:
        time.sleep(0.01)


def deaf(mark: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            mark.touch()
            time.sleep(60)
        except BaseException:
            continue


WAITS: dict[str, tuple[str, Callable[[list[Any]], object]]] = {
    "result": ("result", lambda futures: futures[-1].result()),
    "exception": ("exception", lambda futures: futures[0].exception()),
    "wait": ("wait", wait),
    "wait for one": ("wait", lambda futures: wait(futures, return_when=FIRST_COMPLETED)),
    "as_completed": ("as_completed", lambda futures: list(as_completed(futures))),
}

SUBMITS: dict[str, Callable[[wl.LocalExecutor], list[Any]]] = {
    "submit": lambda executor: [executor.submit(until_told, n) for n in range(4)],
    "submit_many": lambda executor: executor.submit_many(until_told, range(4)),
    "map_reduce": lambda executor: [executor.map_reduce(until_told, range(4), len)],
    "map_reduce, at the end": lambda executor: [executor.map_reduce(abs, range(4), until_told)],
}


def test_interrupted_waits_cancel_their_futures(executor: wl.LocalExecutor) -> None:
    pairs = [("submit", way) for way in WAITS] + [(how, way) for how in SUBMITS for way in ("result", "wait")]
    for how, way in pairs[:5] + pairs[7:]:
        futures = SUBMITS[how](executor)
        assert until(lambda: executor.stats().running)
        name, ask = WAITS[way]
        with interrupts(name):
            ask(futures)
        assert until_idle(executor)
        ends = ["cancelled" if future.cancelled() else repr(future.exception()) for future in futures]
        assert all(end.startswith(("cancelled", "Cancelled")) for end in ends), (how, way, ends)
    assert list(executor.map(abs, [-1, -2])) == [1, 2]


def test_other_calls_go_on(executor: wl.LocalExecutor, tmp_path: Any) -> None:
    """One `submit_many` may run while another is interrupted, and `wait` is about its own futures."""
    others = executor.submit_many(time.sleep, [0.1])
    mine = executor.submit_many(until_told, range(2))
    with interrupts("result"):
        mine[0].result()
    several = [executor.submit(until_told) for _ in range(2)]
    others += [executor.submit(abs, -1)]
    with interrupts("wait"):
        wait(several)
    assert [future.result(timeout=30) for future in others] == [None, 1]
    assert until_idle(executor)


def test_futures_of_two_executors(executor: wl.LocalExecutor) -> None:
    with wl.LocalExecutor(1, "thread", allowed_mem="300 MiB") as another:
        futures = [executor.submit(until_told), another.submit(until_told)]
        with interrupts("wait"):
            wait(futures)
        assert until_idle(executor)
        assert until_idle(another)


def test_a_second_ctrl_c_ends_the_patience(processes: wl.LocalExecutor, tmp_path: Path) -> None:
    """Functions that do not care get a second to clear up, unless somebody cannot wait so long."""
    future = processes.submit(deaf, tmp_path / "deaf")
    assert until((tmp_path / "deaf").exists)
    with interrupts("result", "stop"):
        future.result()
    assert until_idle(processes)
    processes.shutdown()
    assert isinstance(future.exception(), Cancelled)


class SeesNoSignal:
    """Runs until it is told to end; the system gives the signal to a thread that does not end the wait."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self) -> None:
        over = threading.Event()
        threading.Thread(target=over.wait).start()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            (self.folder / "began").touch()
            time.sleep(60)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            over.set()
            (self.folder / "cleared").touch()


def test_function_that_waits_when_its_signal_comes_clears_up(
    processes: wl.LocalExecutor, tmp_path: Path
) -> None:
    """Python sees a signal that comes right before a wait when the wait is over; here at each try."""
    future = processes.submit(SeesNoSignal(tmp_path))
    assert until((tmp_path / "began").exists)
    processes.calls.stop()
    assert isinstance(future.exception(timeout=30), Cancelled)
    assert until_idle(processes)
    assert (tmp_path / "cleared").exists()
