"""Futures: those of the standard library, to whatever waits for such; and what they know of their calls."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import sys
import threading
import time
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, CancelledError
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from tests.waiting import attempts
from wrenla.errors import NeverStarted, TimedOut

from .gate import Gate


def slow(x: float) -> float:
    time.sleep(x)
    return x


def test_wait(shared: wl.LocalExecutor) -> None:
    futures = [shared.submit(slow, x) for x in (0.05, 0.4)]
    done, pending = concurrent.futures.wait(futures, return_when=FIRST_COMPLETED)
    assert (done, pending) == ({futures[0]}, {futures[1]})
    done, pending = concurrent.futures.wait(futures, timeout=0.01)
    assert (len(done), len(pending)) == (1, 1)
    done, pending = concurrent.futures.wait(futures, return_when=ALL_COMPLETED)
    assert (len(done), len(pending)) == (2, 0)
    futures = [shared.submit(slow, 1.0), shared.submit(slow, "x")]
    done, pending = concurrent.futures.wait(futures, return_when=FIRST_EXCEPTION)
    assert (done, pending) == ({futures[1]}, {futures[0]})
    assert futures[0].result(timeout=10) == 1.0


def test_as_completed(shared: wl.LocalExecutor) -> None:
    for longest in attempts(0.4):
        futures = [shared.submit(slow, x) for x in (longest, 0.05, 0.1)]
        found = list(concurrent.futures.as_completed(futures))
        assert set(found) == set(futures)
        if found[-1] is futures[0]:
            break
    assert found[-1] is futures[0]
    futures = [shared.submit(slow, x) for x in (0.0, 1.0)]
    ended = []
    with pytest.raises(TimeoutError):
        ended.extend(concurrent.futures.as_completed(futures, timeout=0.3))
    assert futures[1].result(timeout=10) == 1.0


def test_asyncio_cancels_what_waits(shared: wl.LocalExecutor) -> None:
    async def main() -> wl.Future[float]:
        waiting = shared.submit(slow, 0.0)
        wrapped = asyncio.wrap_future(waiting)
        wrapped.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wrapped
        await asyncio.sleep(0.01)
        return waiting

    block = [shared.submit(slow, 0.4) for _ in range(2)]
    while not block[1].running():
        time.sleep(0.001)
    assert asyncio.run(main()).cancelled()
    concurrent.futures.wait(block)


def test_callbacks(shared: wl.LocalExecutor) -> None:
    seen: list[tuple[str, concurrent.futures.Future[Any]]] = []
    ended = threading.Event()
    future = shared.submit(slow, 0.1)
    future.add_done_callback(lambda f: seen.append(("first", f)))
    future.add_done_callback(lambda f: ended.set())
    future.result(timeout=10)
    assert ended.wait(10)
    future.add_done_callback(lambda f: seen.append(("late", f)))
    assert seen == [("first", future), ("late", future)]


def test_cancel_is_for_what_waits(shared: wl.LocalExecutor) -> None:
    running = [shared.submit(slow, 0.3) for _ in range(2)]
    waiting = [shared.submit(slow, 0.0) for _ in range(3)]
    while not all(future.running() for future in running):
        time.sleep(0.001)
    assert [future.cancel() for future in running] == [False, False]
    assert waiting[1].cancel()
    assert waiting[1].cancel()
    assert waiting[1].cancelled()
    with pytest.raises(CancelledError):
        waiting[1].result()
    with pytest.raises(CancelledError):
        waiting[1].exception()
    assert set(concurrent.futures.as_completed([*running, *waiting], timeout=10)) == {*running, *waiting}
    assert not running[0].cancel()
    assert waiting[0].result() == waiting[2].result() == 0.0
    assert waiting[1].attempts == ()


def test_waiting_for_a_result_takes_as_long_as_is_said(shared: wl.LocalExecutor, gate: Gate) -> None:
    future = shared.submit(gate.wait, 0.4)
    with pytest.raises(TimeoutError):
        future.result(timeout=0.05)
    with pytest.raises(TimeoutError):
        future.exception(timeout=0.05)
    assert not future.done()
    gate.open()
    assert future.result(timeout=10) == 0.4
    assert future.exception() is None


# what it knows


def test_ids_are_unique(shared: wl.LocalExecutor) -> None:
    futures = shared.submit_many(abs, range(100))
    futures.append(shared.map_reduce(abs, range(5), sum))
    assert len({future.id for future in futures}) == 101
    assert all(future.id for future in futures)
    concurrent.futures.wait(futures)


def test_the_attempt_that_succeeded(shared: wl.LocalExecutor) -> None:
    future = shared.submit(slow, 0.1)
    assert future.result(timeout=10) == 0.1
    (attempt,) = future.attempts
    assert (attempt.number, attempt.ending, attempt.copy) == (1, "value", False)
    assert attempt.worker.startswith(shared.kind)
    assert 0.1 <= attempt.seconds < 2
    assert attempt.started <= time.monotonic() - 0.1


def test_the_worker_is_named(processes: wl.LocalExecutor) -> None:
    future = processes.submit(os.getpid)
    assert future.result() != os.getpid()
    assert future.attempts[0].worker == f"process {future.result()}"


def test_future_stats_give_seconds_and_bytes(shared: wl.LocalExecutor) -> None:
    block = [shared.submit(slow, 0.2) for _ in range(2)]
    future = shared.submit(lambda x: (time.sleep(0.1), x)[1], np.zeros(100_000))
    future.result(timeout=10)
    stats = future.stats
    assert 0.1 < stats.waited < 5
    assert 0.1 <= stats.seconds <= stats.total
    assert stats.waited + stats.seconds <= stats.total
    if shared.kind == "process":
        assert 800_000 < stats.bytes_sent < 900_000
        assert 800_000 < stats.bytes_received < 900_000
        assert stats.peak > 5 << 20
        assert stats.gets >= 1
    concurrent.futures.wait(block)


def test_logs_are_of_the_attempt_that_counts(shared: wl.LocalExecutor, tmp_path: Any) -> None:
    def talk() -> None:
        with open(tmp_path / "tried", "a") as file:
            file.write("x")
            tried = file.tell()
        print(f"attempt {tried}")  # noqa: T201
        if tried == 1:
            raise ValueError

    future = shared.options(retries=1).submit(talk)
    future.result(timeout=10)
    assert future.logs == "attempt 2\n"
    assert len(future.attempts) == 2


def test_a_future_that_never_started(shared: wl.LocalExecutor) -> None:
    block = [shared.submit(slow, 0.5) for _ in range(2)]
    future = shared.options(deadline=0.1).submit(slow, 0.0)
    with pytest.raises(NeverStarted, match=r"slow: .*deadline of 0\.1 s"):
        future.result(timeout=10)
    assert future.attempts == ()
    concurrent.futures.wait(block)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_callback_cannot_end_a_worker(shared: wl.LocalExecutor, gate: Gate) -> None:
    shared.submit_many(gate.wait, range(2))  # none of the others ends before it has its callback
    futures = shared.submit_many(abs, range(100))
    for future in futures[50:60]:
        future.add_done_callback(lambda _: sys.exit(1))
    gate.open()
    assert [future.result(timeout=20) for future in futures] == list(range(100))
    assert shared.submit(abs, -1).result(timeout=20) == 1


def test_a_callback_does_not_hold_up_the_clock(shared: wl.LocalExecutor) -> None:
    hurried = shared.options(timeout=0.1)
    go, ended = threading.Event(), threading.Event()
    first = hurried.submit(time.sleep, 0.6)
    first.add_done_callback(lambda _: (go.wait(20), ended.set()))
    second = hurried.submit(time.sleep, 0.6)
    assert isinstance(second.exception(timeout=15), TimedOut)
    assert not ended.is_set()
    go.set()
    assert ended.wait(20)
    assert isinstance(first.exception(timeout=20), TimedOut)
    time.sleep(0.7)
