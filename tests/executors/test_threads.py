"""Calls in threads: they share what they refer to, and the standard streams come out as they went in."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Iterator

import pytest

import wrenla as wl
from wrenla.errors import TimedOut


@pytest.fixture
def threads(nothing_left: None) -> Iterator[wl.LocalExecutor]:
    """Two threads."""
    with wl.LocalExecutor(2, "thread", allowed_mem="300 MiB") as made:
        yield made


def test_globals_and_closures_of_threads_are_shared(threads: wl.LocalExecutor) -> None:
    lock, seen = threading.Lock(), []

    def note(x: int) -> object:
        with lock:
            seen.append(x)
        return lock

    assert all(result is lock for result in threads.map(note, range(20)))
    assert sorted(seen) == list(range(20))


def test_exceptions_are_the_same_objects(threads: wl.LocalExecutor) -> None:
    error = ValueError("mine")

    def fail() -> None:
        raise error

    assert threads.submit(fail).exception(timeout=10) is error


def test_streams_are_left_as_they_were(threads: wl.LocalExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = io.StringIO()
    monkeypatch.setattr(sys, "stdout", mine)
    go, there = threading.Event(), threading.Event()

    def talk() -> None:
        print("from the call")  # noqa: T201
        there.set()
        go.wait(10)

    future = threads.submit(talk)
    assert there.wait(10)
    print("from outside")  # noqa: T201
    go.set()
    future.result(timeout=10)
    deadline = time.monotonic() + 5
    while sys.stdout is not mine and time.monotonic() < deadline:
        time.sleep(0.001)
    assert sys.stdout is mine
    assert mine.getvalue() == "from the call\nfrom outside\n"
    assert future.logs == "from the call\n"


def test_a_call_that_is_late_is_told_and_left_alone(threads: wl.LocalExecutor) -> None:
    told = threading.Event()

    def wait() -> None:
        while not wl.cancelled():
            time.sleep(0.005)
        told.set()

    futures = [threads.options(timeout=0.2).submit(wait) for _ in range(2)]
    for future in futures:
        with pytest.raises(TimedOut, match=r"wait: still running after its timeout of 0\.2 s"):
            future.result(timeout=10)
        assert [attempt.ending for attempt in future.attempts] == ["TimedOut"]
    assert told.wait(10)
    assert list(threads.map(abs, [-1, -2, -3])) == [1, 2, 3]
    assert not wl.cancelled()
