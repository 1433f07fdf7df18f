"""Ways to make a call that goes wrong amid others, and what must be so afterwards."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import wrenla as wl
from tests.waiting import until

WAIT = 15.0
"""Seconds after which something hangs."""

_INPUTS, _BAD = range(5), 2
"""The function goes wrong for one of these inputs."""

Stored = Callable[[], list[str]]

KINDS = pytest.mark.parametrize("kind", ["process", "thread"])


@contextlib.contextmanager
def pool(kind: str = "process") -> Iterator[wl.LocalExecutor]:
    """Two workers; when a test fails, what hangs is ended."""
    with wl.LocalExecutor(2, kind, allowed_mem="2 GiB") as made:  # type: ignore[arg-type]
        try:
            yield made
        except BaseException:
            made.calls.stop(grace=0.1)
            raise


@dataclass
class Cell:
    """What a call came to: a value or an error; the future, where there is one."""

    value: Any = None
    error: Any = None
    future: wl.Future[Any] | None = None


Way = Callable[[wl.LocalExecutor, Callable[[int], Any]], Cell]


def by_submit(executor: wl.LocalExecutor, function: Callable[[int], Any]) -> Cell:
    future = executor.submit(function, _BAD)
    error = future.exception(WAIT)
    return Cell(None if error else future.result(), error, future)


def by_map(executor: wl.LocalExecutor, function: Callable[[int], Any]) -> Cell:
    found = list(executor.map(function, _INPUTS, timeout=WAIT, return_exceptions=True))
    bad = found.pop(_BAD)
    assert found == [x for x in _INPUTS if x != _BAD]
    return Cell(error=bad) if isinstance(bad, Exception) else Cell(bad)


def by_map_reduce(executor: wl.LocalExecutor, function: Callable[[int], Any]) -> Cell:
    future = executor.map_reduce(function, _INPUTS, sum, fan_in=2)
    error = future.exception(WAIT)
    return Cell(error=error) if error else Cell(future.result() - sum(x for x in _INPUTS if x != _BAD))


WAYS = pytest.mark.parametrize("way", [by_submit, by_map, by_map_reduce], ids=["submit", "map", "map_reduce"])


def faulty(act: Callable[[Path], Any], folder: Path) -> Callable[[int], Any]:
    """Return a function that goes wrong for one input; it counts its runs."""

    def function(x: int) -> Any:
        if x != _BAD:
            return x
        with open(folder / "runs", "a") as file:
            file.write(".")
        return act(folder)

    return function


def block(executor: wl.LocalExecutor, folder: Path) -> tuple[list[wl.Future[None]], Callable[[], None]]:
    """Occupy both workers; return the blocking calls and what ends them."""

    def wait(me: int) -> None:
        (folder / f"waiting-{me}").touch()
        while not (folder / "go").exists():
            time.sleep(0.005)

    blockers = executor.submit_many(wait, range(2))
    assert until(lambda: all((folder / f"waiting-{me}").exists() for me in range(2)))
    return blockers, (folder / "go").touch


def usable(executor: wl.LocalExecutor, folder: Path) -> None:
    """Both workers work: two calls wait for each other."""

    def meet(me: int) -> bool:
        (folder / f"here-{me}").touch()
        deadline = time.monotonic() + 15
        while not (folder / f"here-{1 - me}").exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        return (folder / f"here-{1 - me}").exists()

    try:
        assert list(executor.map(meet, range(2), timeout=WAIT)) == [True, True]
    finally:
        for path in folder.glob("here-*"):
            path.unlink()


def private(stored: Stored) -> list[str]:
    """What is stored for single calls, as soon as it does not change any more."""
    shared = ("functions", "broadcasts", "modules")

    def found() -> list[str]:
        return [key for key in stored() if key.split("/")[2] not in shared]

    until(lambda: not found(), 2.0)
    return found()
