"""Calls that take much longer than others: what may run twice gets a copy."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.waiting import slowed, until
from wrenla.errors import Cancelled
from wrenla.executors.calls.state import LOOK

from .fault_acts import kill_myself
from .faulty_calls import KINDS, WAIT, Stored, pool, private, usable
from .gate import Gate

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("by_value")]


@KINDS
def test_straggler(kind: str, tmp_path: Path) -> None:
    end = threading.Event()

    def function(x: int) -> int:
        if x == 7 and not (tmp_path / "began").exists():
            (tmp_path / "began").touch()
            if kind == "thread":
                end.wait(60)
            else:
                time.sleep(60)
        return x

    if kind == "process":
        del end  # it could not travel
    with pool(kind) as executor:
        began = time.monotonic()
        futures = executor.options(idempotent=True).submit_many(function, range(20))
        assert [future.result(WAIT) for future in futures] == list(range(20))
        assert time.monotonic() - began < slowed(10)
        assert executor.stats().copies == 1
        assert executor.stats().retries == 0
        slow = futures[7].attempts
        if kind == "thread":
            end.set()
        assert until(lambda: all(attempt.ending for attempt in slow), 5)
        assert {attempt.ending for attempt in slow} == {"superseded", "value"}
        assert [attempt.copy for attempt in slow] == [False, True]
        assert all(len(future.attempts) == 1 for future in futures if future is not futures[7])
        usable(executor, tmp_path)


@KINDS
def test_no_copy_of_what_may_not_run_twice(kind: str) -> None:
    with pool(kind) as executor:
        list(executor.map(lambda x: time.sleep(1.5 * (x == 7)), range(20)))
        assert (executor.stats().copies, executor.stats().attempts) == (0, 20)


def test_a_copy_takes_over_when_the_first_one_dies(tmp_path: Path, stored: Stored) -> None:
    """Both attempts store a large result or die; one of them counts, and nothing is left of the other."""

    def function(x: int) -> Any:
        if x == 7 and not (tmp_path / "began").exists():
            (tmp_path / "began").touch()
            while not (tmp_path / "copy").exists():
                time.sleep(0.005)
            kill_myself()
        elif x == 7:
            (tmp_path / "copy").touch()
            time.sleep(0.5)
        return np.full(1 << 18, x)

    with pool() as executor:
        found = list(executor.options(idempotent=True).map(function, range(20), timeout=WAIT))
        assert [int(array[-1]) for array in found] == list(range(20))
        usable(executor, tmp_path)
        assert private(stored) == []


def test_copies_that_die_are_counted(gate: Gate) -> None:
    path = str(gate.path)

    def function(x: int) -> int:
        first = x == 3 and not os.path.exists(path + "-began")
        if first:
            Path(path + "-began").touch()
            while not os.path.exists(path):
                time.sleep(0.005)
        elif x == 3:
            kill_myself()
        return x

    with pool() as executor:
        futures = executor.options(idempotent=True).submit_many(function, range(4))
        assert until(lambda: executor.stats().copies == 2)
        time.sleep(3 * LOOK)  # in which a third one would come
        gate.open()
        assert [future.result(WAIT) for future in futures] == [0, 1, 2, 3]
        assert executor.stats().copies == 2


@KINDS
def test_told_to_stop_while_a_copy_runs(kind: str, gate: Gate) -> None:
    with pool(kind) as executor:
        futures = executor.options(idempotent=True).submit_many(lambda x: x and gate.wait(x), [0, 0, 0, 1])
        assert until(lambda: executor.stats().copies == 1)
        executor.calls.stop(grace=0.2)
        assert isinstance(futures[3].exception(WAIT), Cancelled)
        assert executor.stats().cancelled == 1
        gate.open()
        assert executor.submit(abs, -1).result(WAIT) == 1
