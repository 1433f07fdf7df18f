"""Errors of calls, of functions and our own: what they are here, and that other calls do not notice."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from wrenla.errors import Lost, RemoteError, WorkerDied
from wrenla.executors.calls.call import Call
from wrenla.executors.transport.remote import RemoteTransport

from .fault_acts import Ordinary, dies, exits, raises, writes
from .fault_rows import remote
from .faulty_calls import KINDS, WAIT, Stored, pool, private, usable

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("by_value")]


def test_exception_of_a_local_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "faults_of_mine.py").write_text(
        "class Mine(Exception):\n    pass\ndef fail(x):\n    raise Mine(x)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import faults_of_mine

    try:
        with pool() as executor:
            error = executor.submit(faults_of_mine.fail, 3).exception(WAIT)
        assert type(error) is faults_of_mine.Mine
        assert error.args == (3,)
        assert remote(error)
        assert "faults_of_mine.py" in str(error.__cause__)
    finally:
        del sys.modules["faults_of_mine"]


@KINDS
@pytest.mark.parametrize("chunksize", [1, 3])
@pytest.mark.parametrize("ordered", [True, False])
def test_the_first_error_ends_a_map(kind: str, chunksize: int, ordered: bool, tmp_path: Path) -> None:
    def function(x: int) -> int:
        if x == 4:
            raise Ordinary(x)
        return x

    with pool(kind) as executor:
        found = executor.map(function, range(100), chunksize=chunksize, ordered=ordered)
        with pytest.raises(Ordinary, match="4"):
            list(found)
        usable(executor, tmp_path)


def test_a_call_that_fails_between_others_is_counted() -> None:
    with pool() as executor:
        futures = [executor.submit(divmod, x, y) for x, y in itertools.product(range(3), range(2))]
        failed = [isinstance(future.exception(WAIT), ZeroDivisionError) for future in futures]
        stats = executor.stats()
        assert failed == [True, False] * 3
        assert (stats.submitted, stats.succeeded, stats.failed) == (6, 3, 3)


def test_an_error_of_ours_ends_the_call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever goes wrong in the driver itself, the future ends and the channel goes on."""

    def broken(transport: RemoteTransport, call: Call, *_: object) -> None:
        raise Ordinary("in the driver")

    with pool() as executor:
        monkeypatch.setattr(RemoteTransport, "read", lambda *_: broken(*_))
        assert isinstance(executor.submit(abs, 1).exception(WAIT), Ordinary)
        monkeypatch.undo()
        usable(executor, tmp_path)


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (dies, WorkerDied),
        (exits, RemoteError),
        (partial(writes, b"garbage!"), Lost),
        (partial(raises, Ordinary), Ordinary),
    ],
    ids=["killed", "sys.exit", "garbage", "exception"],
)
def test_among_many_short_calls(
    act: Callable[[Path], Any], error: type[Exception], tmp_path: Path, stored: Stored
) -> None:
    """Calls that were sent ahead of time run once each, whatever happens to the one before them.

    If the answer of that one makes no sense, it is not known which of those behind it have begun.
    """

    def function(x: int) -> int:
        with open(tmp_path / f"ran-{os.getpid()}", "a") as file:
            file.write(f"{x}\n")
        return act(tmp_path) if x in (150, 151, 250) else x

    with pool() as executor:
        found = list(executor.map(function, range(400), return_exceptions=True, timeout=WAIT))
        ran = [int(line) for path in tmp_path.glob("ran-*") for line in path.read_text().split()]
        failed = [x for x, y in enumerate(found) if x != y]
        assert len(ran) == len(set(ran))
        assert set(range(400)) - set(ran) <= (set(failed) if error is Lost else set())
        assert failed == [150, 151, 250] or (error is Lost and {150, 250} <= set(failed) and len(failed) < 40)
        assert {type(found[x]) for x in failed} == {error}
        assert executor.stats().retries == 0
        usable(executor, tmp_path)
        assert private(stored) == []
