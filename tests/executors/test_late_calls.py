"""Deadlines and timeouts: of calls that wait for their turn, and of threads, which nobody can end."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.waiting import slowed
from wrenla.errors import NeverStarted, TimedOut

from .faulty_calls import KINDS, WAIT, WAYS, Way, block, faulty, pool, usable

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("by_value")]


@KINDS
def test_deadline_in_the_queue(kind: str, tmp_path: Path) -> None:
    with pool(kind) as executor:
        blockers, go = block(executor, tmp_path)
        late = executor.options(deadline=0.3).submit(abs, -1)
        patient = executor.submit(abs, -2)
        began = time.monotonic()
        error = late.exception(WAIT)
        assert isinstance(error, NeverStarted)
        assert "deadline of 0.3 s" in str(error)
        assert late.attempts == ()
        assert time.monotonic() - began < slowed(2)
        go()
        assert patient.result(WAIT) == 2
        assert [future.result(WAIT) for future in blockers] == [None, None]
        assert executor.stats().failed == 1


@KINDS
def test_timeout_does_not_count_in_the_queue(kind: str, tmp_path: Path) -> None:
    with pool(kind) as executor:
        _, go = block(executor, tmp_path)
        future = executor.options(timeout=0.5).submit(abs, -1)
        time.sleep(0.8)
        go()
        assert future.result(WAIT) == 1
        assert future.stats.waited > 0.7
        assert len(future.attempts) == 1


@WAYS
@pytest.mark.parametrize(
    "options", [{"timeout": 0.3}, {"deadline": 0.5}], ids=lambda options: next(iter(options))
)
def test_timeout_of_a_thread(options: dict[str, float], way: Way, tmp_path: Path) -> None:
    end = threading.Event()
    try:
        with pool("thread") as executor:
            began = time.monotonic()
            cell = way(executor.options(**options), faulty(lambda folder: end.wait(30), tmp_path))
            assert isinstance(cell.error, TimedOut)
            assert time.monotonic() - began < slowed(3)
            usable(executor, tmp_path)
            assert executor.stats().workers == 2
            if cell.future is not None:
                assert [attempt.ending for attempt in cell.future.attempts] == ["TimedOut"]
    finally:
        end.set()
