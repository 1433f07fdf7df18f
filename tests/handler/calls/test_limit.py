"""A function is ended from inside, once, and nothing of the limit is left behind it."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.waiting import slowed
from wrenla_handler.calls import time_limit
from wrenla_handler.calls.time_limit import OutOfTime, limited


@pytest.fixture(autouse=True)
def nothing_pending() -> Iterator[None]:
    """No timer of ours runs on, and the signal means what it meant before."""
    handler, (left, interval) = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    began = time.monotonic()
    yield
    now, every = signal.getitimer(signal.ITIMER_REAL)
    assert every == interval
    assert now == pytest.approx(left - (time.monotonic() - began), abs=1.0) if left else now == 0
    assert signal.getsignal(signal.SIGALRM) is handler


def test_limit_of_quick_block_does_nothing() -> None:
    with limited(5.0):
        pass


def test_limit_of_zero_sets_no_handler() -> None:
    handler = signal.getsignal(signal.SIGALRM)
    with limited(0):
        assert signal.getsignal(signal.SIGALRM) is handler


def test_limits_may_nest() -> None:
    with pytest.raises(OutOfTime, match=r"after 0\.2 s"), limited(0.2):  # noqa: PT012
        with pytest.raises(OutOfTime, match=r"after 0\.05 s"), limited(0.05):
            time.sleep(20)
        time.sleep(20)


def compute(seconds: float) -> None:
    """Compute for some seconds.

    A function of its own, as what runs under a limit is: in CPython 3.13.0 what a signal raises at the end of
    a loop's body is not caught by a `try` or `with` around the loop in the same function.
    """
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


@pytest.mark.parametrize("kind", ["sleeping", "computing", "waiting"])
def test_limit_ends_slow_block(kind: str) -> None:
    cleared, began = [], time.monotonic()
    with pytest.raises(OutOfTime, match=r"still running after 0\.1 s"), limited(0.1):  # noqa: PT012
        try:
            if kind == "sleeping":
                time.sleep(20)
            elif kind == "waiting":
                threading.Event().wait(20)
            compute(20)
        finally:
            cleared.append(True)
    assert cleared == [True]
    assert time.monotonic() - began < slowed(5)


def test_limit_ends_function_that_catches_exceptions() -> None:
    with pytest.raises(OutOfTime), limited(0.05):  # noqa: PT012
        for _ in range(100):
            with contextlib.suppress(Exception):
                time.sleep(0.1)


def test_limit_strikes_slow_clear_up_once() -> None:
    cleared = []
    with pytest.raises(OutOfTime), limited(0.05):  # noqa: PT012
        try:
            time.sleep(20)
        finally:
            time.sleep(0.15)
            cleared.append(True)
    assert cleared == [True]


def test_exception_within_limit_is_raised() -> None:
    with pytest.raises(KeyError), limited(5.0):
        raise KeyError("mine")


def test_limit_restores_sigalrm_handler() -> None:
    mine = lambda *_: None  # noqa: E731
    before = signal.signal(signal.SIGALRM, mine)
    try:
        with limited(5.0):
            assert signal.getsignal(signal.SIGALRM) is not mine
        assert signal.getsignal(signal.SIGALRM) is mine
    finally:
        signal.signal(signal.SIGALRM, before)


def test_limit_in_other_thread_does_nothing() -> None:
    ended = []

    def work() -> None:
        with limited(0.01):
            time.sleep(0.1)
        ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ended == [True]


def test_limit_signal_after_the_block_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The function has ended just when its time is over: nothing happens outside the block."""
    handlers: list[Any] = []
    monkeypatch.setattr(time_limit.signal, "signal", lambda number, handler: handlers.append(handler))
    with limited(5.0):
        pass
    handlers[0](signal.SIGALRM, None)


@pytest.mark.parametrize("seconds", [0.001 * n for n in range(1, 21)])
def test_limit_at_end_of_block_strikes_inside_or_never(seconds: float) -> None:
    """Whenever it strikes: either the block ends by it, or nothing does."""
    try:
        with limited(seconds):
            compute(seconds)
    except OutOfTime:
        pass
    time.sleep(0.002)


def test_limit_strikes_again_if_python_missed_the_signal() -> None:
    """It misses one that comes right before it waits, and sees it when the wait is over."""
    began = time.monotonic()
    with pytest.raises(OutOfTime), limited(0.05):  # noqa: PT012
        strike = signal.getsignal(signal.SIGALRM)
        assert callable(strike)
        seen: list[int] = []
        signal.signal(signal.SIGALRM, lambda *of: strike(*of) if seen else seen.append(1))
        time.sleep(30)
    assert time.monotonic() - began < 20
    assert seen


def test_limit_strikes_once_so_that_functions_clear_up() -> None:
    cleared = []
    with pytest.raises(OutOfTime), limited(0.05):  # noqa: PT012
        try:
            time.sleep(30)
        finally:
            time.sleep(0.6)
            cleared.append(1)
    assert cleared == [1]


@pytest.mark.parametrize("others", [0.0, 30.0])
def test_limit_that_strikes_while_it_is_set_leaves_nothing(
    others: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its signal comes before `setitimer` has returned: no timer, no handler stays, nor is another's lost."""
    setitimer = signal.setitimer

    def slow(which: int, seconds: float, interval: float = 0.0) -> tuple[float, float]:
        before = setitimer(which, seconds, interval)
        if seconds == 0.001:
            compute(0.01)
        return before

    handler = signal.getsignal(signal.SIGALRM)
    left, interval = setitimer(signal.ITIMER_REAL, others)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(time_limit.signal, "setitimer", slow)
            with pytest.raises(OutOfTime), limited(0.001):
                pytest.fail("the block has begun")
        now, every = signal.getitimer(signal.ITIMER_REAL)
        assert every == 0
        assert now == pytest.approx(others, abs=5.0)
        assert signal.getsignal(signal.SIGALRM) is handler
    finally:
        setitimer(signal.ITIMER_REAL, left, interval)
