"""The clock: what comes when, what is dropped, and what goes wrong."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

import wrenla as wl
from wrenla.errors import NeverStarted, TimedOut
from wrenla.executors.calls.timer import Timer, run_apart

from .gate import Gate


@pytest.fixture
def clock() -> Iterator[Timer]:
    made = Timer()
    yield made
    made.close()


def test_in_the_order_of_their_times(clock: Timer) -> None:
    done: list[int] = []
    over = threading.Event()
    now = time.monotonic()
    for number in (3, 1, 2):
        clock.at(now + 0.05 * number, lambda number=number: done.append(number))  # type: ignore[misc]
    clock.at(now + 0.2, over.set)
    assert over.wait(20)
    assert done == [1, 2, 3]


def test_dropped_alarms_do_not_ring_and_are_not_kept(clock: Timer) -> None:
    done: list[int] = []
    alarms = [clock.at(time.monotonic() + 3600, lambda: done.append(1)) for _ in range(10_000)]
    soon = clock.at(time.monotonic() + 1.0, lambda: done.append(2))
    for alarm in (soon, soon, *alarms):  # on a busy machine the many may take longer than `soon` has
        clock.drop(alarm)
    clock.drop(None)
    over = threading.Event()
    clock.at(time.monotonic() + 1.1, over.set)
    assert over.wait(20)
    assert done == []
    assert len(clock._times) < 100


def test_timer_goes_on_after_an_exception(clock: Timer, caplog: pytest.LogCaptureFixture) -> None:
    over = threading.Event()
    clock.at(time.monotonic(), lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    clock.at(time.monotonic() + 0.05, over.set)
    assert over.wait(20)
    assert "ZeroDivisionError" in caplog.text


def test_times_that_never_come(clock: Timer) -> None:
    over = threading.Event()
    for far in (1e10, 1e18, float("inf")):
        clock.at(time.monotonic() + far, over.set)
    assert not over.wait(0.1)
    clock.at(time.monotonic() + 0.05, over.set)
    assert over.wait(20)


def test_without_threads(clock: Timer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    over = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        clock.at(time.monotonic(), over.set)
        run_apart(over.set)
        assert over.is_set()
        over.clear()
    clock.at(time.monotonic(), lambda: None)  # whoever comes next
    assert over.wait(20)


# what calls ask of it


def test_calls_that_have_ended_leave_nothing(shared: wl.LocalExecutor) -> None:
    view = shared.options(deadline=3600, timeout=3600)
    assert list(view.map(abs, range(2000), buffersize=50)) == list(range(2000))
    assert len(shared.calls._timer._times) < 300


@pytest.mark.parametrize("seconds", [3e6, 1e10, 1e18])
def test_long_limits(seconds: float, executor: wl.LocalExecutor, gate: Gate) -> None:
    patient = executor.options(timeout=seconds, deadline=seconds)
    assert list(patient.map(abs, range(20))) == list(range(20))
    assert patient.submit(time.sleep, 0.3).result(20) is None
    blocked = [patient.submit(gate.wait, k) for k in range(2)]
    assert isinstance(executor.options(deadline=0.2).submit(abs, -1).exception(20), NeverStarted)
    gate.open()
    assert [future.result(20) for future in blocked] == [0, 1]
    assert isinstance(executor.options(timeout=0.2).submit(time.sleep, 2).exception(20), TimedOut)
