"""Statistics: every call is counted once, whatever becomes of it."""

from __future__ import annotations

import concurrent.futures
import time
from dataclasses import asdict

import numpy as np

import wrenla as wl
from tests.waiting import until, until_idle
from wrenla.errors import NeverStarted
from wrenla.executors.calls.call import Batch

from .gate import Gate


def slow(x: float) -> float:
    time.sleep(x)
    return 1 / x


def test_nothing_yet(executor: wl.LocalExecutor) -> None:
    assert all(value == 0 for value in asdict(executor.stats()).values())


def test_everything_adds_up(executor: wl.LocalExecutor, gate: Gate) -> None:
    block = executor.submit_many(gate.wait, [0, 1])
    good = executor.submit_many(slow, [0.05] * 6)
    bad = executor.options(retries=1).submit_many(slow, [0, 0])
    late = executor.options(deadline=0.05).submit(slow, 0.01)
    dropped = [executor.submit(slow, 0.01) for _ in range(5)]
    assert all(future.cancel() for future in dropped)
    sums = executor.map_reduce(abs, range(4), sum, fan_in=2)
    until(lambda: executor.stats().running > 0)
    now = executor.stats()
    assert now.submitted == 20
    assert 1 <= now.running <= 2
    assert now.workers == 2
    assert isinstance(late.exception(timeout=20), NeverStarted)
    gate.open()
    concurrent.futures.wait([*good, *bad, *block, late, *dropped, sums])
    until_idle(executor)
    then = executor.stats()
    assert (then.submitted, then.succeeded, then.failed, then.cancelled) == (23, 15, 3, 5)
    assert then.submitted == then.succeeded + then.failed + then.cancelled
    assert (then.attempts, then.retries, then.copies) == (19, 2, 0)
    assert 0.3 <= then.seconds < 60
    assert (then.gets, then.hits) == (0, 0)


def test_bytes(processes: wl.LocalExecutor) -> None:
    processes.submit(np.negative, np.ones(100_000)).result()
    stats = processes.stats()
    assert 800_000 < stats.bytes_sent < 810_000
    assert 800_000 < stats.bytes_received < 810_000
    assert stats.gets == 1


def test_in_threads_nothing_is_sent(nothing_left: None) -> None:
    with wl.LocalExecutor(1, "thread", allowed_mem="300 MiB") as executor:
        executor.submit(np.negative, np.ones(100_000)).result()
        assert (executor.stats().bytes_sent, executor.stats().bytes_received) == (0, 0)


def test_straggler_threshold_is_found_quickly() -> None:
    """A channel looks for stragglers ten times a second, with the queue's lock held."""
    batch = Batch(submitted=100_000, complete=True)
    for number in range(90_000):
        batch.add(0.1 + number % 7 / 100)
    start = time.thread_time()
    assert [batch.straggles(seconds) for seconds in (0.4, 0.6)] * 1000 == [False, True] * 1000
    for seconds in (0.4, 0.6) * 10_000:
        batch.straggles(seconds)
    assert time.thread_time() - start < 1
