"""Ctrl-C: once is enough, wherever it hits, and it ends what was begun."""

from __future__ import annotations

import os
import signal
import time
import weakref
from collections.abc import Callable

import pytest

from wrenla.cli.parts.interrupts import Interrupts

pytestmark = pytest.mark.unit


class _Thing:
    pass


def _interrupt(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGINT)
    for _each in range(1000):  # the handler runs here
        pass


def _wait(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)


def test_interrupt_that_a_finalizer_drops_comes_again() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGALRM)
    thing = _Thing()
    kept = weakref.ref(thing, _interrupt)
    start = time.monotonic()
    things = [thing]
    del thing

    @Interrupts()
    def command() -> None:
        things.clear()
        _wait(10)

    with pytest.raises(KeyboardInterrupt):
        command()
    assert kept() is None
    assert 0.3 < time.monotonic() - start < 5
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGALRM)) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def _comes_to_its_end(ending: Callable[[], None]) -> bool:
    """Interrupt a command, and tell whether what it does then was let come to its end."""
    ended = []

    @Interrupts()
    def command() -> None:
        try:
            _interrupt()
        finally:
            ending()
            ended.append(True)

    with pytest.raises(KeyboardInterrupt):
        command()
    return bool(ended)


def test_interrupt_that_is_noticed_does_not_disturb_what_it_ends() -> None:
    def ending() -> None:
        try:
            raise OSError
        except OSError:
            _wait(1.2)

    assert _comes_to_its_end(ending)


def test_second_interrupt_ends_the_ending() -> None:
    assert not _comes_to_its_end(_interrupt)


def test_ignored_interrupts_stay_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts():
            _interrupt()
    finally:
        signal.signal(signal.SIGINT, before)
