"""The end of an executor: what it waits for, what it cancels; and a place that its workers cannot see."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from tests.waiting import until
from wrenla.errors import ReachError

from .gate import Gate


@pytest.mark.parametrize(
    "ask",
    [
        lambda executor: executor.submit(abs, 1),
        lambda executor: executor.map(abs, [1]),
        lambda executor: executor.submit_many(abs, [1]),
        lambda executor: executor.map_reduce(abs, [1], sum),
        lambda executor: wl.eye(3, tile=3).compute(executor),
    ],
)
def test_after_the_end_there_are_no_more_calls(ask: Callable[[wl.LocalExecutor], Any]) -> None:
    executor = wl.LocalExecutor(1, "thread", allowed_mem="300 MiB")
    view = executor.options(retries=1)
    executor.shutdown()
    for asked in (executor, view):
        with pytest.raises(RuntimeError, match="shutdown"):
            ask(asked)
    executor.shutdown()


def test_cancelled_calls_all_end_though_what_they_hold_is_slow_to_remove(
    processes: wl.LocalExecutor, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = processes.calls.transport.scratch
    delete = place.delete
    monkeypatch.setattr(place, "delete", lambda key: (time.sleep(0.02), delete(key)))
    running = processes.submit_many(gate.wait, range(2))
    assert until(lambda: processes.stats().running == 2)
    waiting = processes.submit_many(len, [bytes(300_000)] * 30)
    timer = threading.Timer(0.2, gate.open)  # the channels leave meanwhile
    timer.start()
    processes.shutdown(cancel_futures=True)
    timer.join()
    assert all(future.cancelled() for future in waiting)
    assert [future.result(timeout=0) for future in running] == [0, 1]


def test_the_end_does_not_wait_if_told_so(executor: wl.LocalExecutor, gate: Gate) -> None:
    futures = executor.submit_many(gate.wait, range(3))
    executor.shutdown(wait=False)
    assert not any(future.done() for future in futures)
    gate.open()
    assert [future.result(timeout=30) for future in futures] == [0, 1, 2]


def test_the_end_cancels_what_waits_if_told_so(executor: wl.LocalExecutor) -> None:
    list(executor.map(abs, range(4)))
    futures = [executor.submit(time.sleep, 0.4) for _ in range(6)]
    while not futures[1].running():
        time.sleep(0.001)
    executor.shutdown(cancel_futures=True)
    assert [future.cancelled() for future in futures] == [False] * 2 + [True] * 4
    assert all(future.done() for future in futures)


# a place that workers cannot see


def test_processes_need_a_store_that_they_can_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRENLA_STORE", "memory://calls")
    with wl.LocalExecutor(1, allowed_mem="300 MiB") as executor:
        with pytest.raises(ReachError, match=r"memory://calls.*WRENLA_STORE.*folder.*s3://"):
            executor.submit(abs, -1).result(timeout=30)
        with pytest.raises(ReachError, match="WRENLA_STORE"):
            executor.broadcast(np.zeros(10))
        with pytest.raises(ReachError, match="WRENLA_STORE"):
            executor.store()
    with wl.LocalExecutor(1, "thread", allowed_mem="300 MiB") as executor:
        ref = executor.broadcast(np.ones(100_000))
        assert executor.submit(lambda x: float(x.sum()), ref).result(timeout=30) == 100_000
        executor.store().put("a", b"b")
        assert list(executor.store().list()) == ["a"]
