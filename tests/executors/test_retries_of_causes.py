"""Who is to blame decides what is run again: the function, its worker, or the way of its answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import wrenla as wl
from wrenla.errors import (
    CallError,
    Cancelled,
    IntegrityError,
    Lost,
    NeverStarted,
    OutOfMemory,
    RemoteError,
    StoreError,
    Throttled,
    TimedOut,
    TooLargeError,
    TransientStoreError,
    WorkerDied,
)
from wrenla.executors.transport.scratch import ScratchSpace

from .fault_acts import large
from .faulty_calls import KINDS, WAIT, Stored, pool, private, usable

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("by_value")]

_OURS = [NeverStarted, WorkerDied, Lost, TimedOut, Throttled, OutOfMemory, Cancelled, CallError]


def counted(folder: Path, act: Callable[[], Any]) -> Callable[..., Any]:
    """Return a function that counts its runs."""

    def function(*_: object) -> Any:
        with open(folder / "runs", "a") as file:
            file.write(".")
        return act()

    return function


def runs(folder: Path) -> int:
    """How often it has run, from now on counted anew."""
    path = folder / "runs"
    count = path.stat().st_size if path.exists() else 0
    path.unlink(missing_ok=True)
    return count


# what the function has raised


def raises(error: type[Exception]) -> Callable[[], None]:
    def act() -> None:
        raise error("mine")

    return act


@KINDS
def test_errors_of_ours_that_the_function_raises_are_its_own(kind: str, tmp_path: Path) -> None:
    with pool(kind) as executor:
        for error in (*_OURS, TooLargeError, TransientStoreError, IntegrityError):
            function = counted(tmp_path, raises(error))
            for retries in (0, 2):
                view = executor.options(retries=retries)
                with pytest.raises(error, match=r"^mine$"):
                    view.submit(function).result(WAIT)
                assert runs(tmp_path) == 1 + retries, error
                with pytest.raises(error, match=r"^mine\ninput 0: 0$"):
                    list(view.map(function, range(1), chunksize=2, timeout=WAIT))
                assert runs(tmp_path) == 1 + retries, error


@KINDS
def test_an_executor_inside_a_function(kind: str, tmp_path: Path) -> None:
    """What did not start inside says nothing of the function, which has begun."""

    def waits() -> Any:
        with wl.LocalExecutor(1, "thread") as inner:
            inner.submit(time.sleep, 0.6)
            return inner.options(deadline=0.2).submit(abs, -1).result()

    with pool(kind) as executor:
        future = executor.submit(counted(tmp_path, waits))
        assert type(future.exception(WAIT)) is NeverStarted
        assert len(future.attempts) == runs(tmp_path) == 1


@KINDS
@pytest.mark.parametrize("chunksize", [1, 2])
def test_a_memory_error_is_final(kind: str, chunksize: int, tmp_path: Path) -> None:
    with pool(kind) as executor:
        view = executor.options(retries=2, idempotent=True)
        with pytest.raises(OutOfMemory, match="mine"):
            list(
                view.map(counted(tmp_path, raises(MemoryError)), range(1), chunksize=chunksize, timeout=WAIT)
            )
        assert runs(tmp_path) == 1


def test_a_memory_error_without_words() -> None:
    def act() -> None:
        raise MemoryError

    for kind in ("thread", "process"):
        with pool(kind) as executor, pytest.raises(OutOfMemory, match="no more memory"):
            executor.submit(act).result(WAIT)


# what it has returned


class Refuses:
    """Cannot be loaded where results are."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        return _refuse, (self.error,)


def _refuse(error: type[BaseException]) -> None:
    raise error("cannot be loaded")


@pytest.mark.parametrize("chunksize", [1, 2])
def test_a_result_that_cannot_be_pickled(chunksize: int, tmp_path: Path, stored: Stored) -> None:
    act = counted(tmp_path, lambda: (x for x in "ab"))
    with pool() as executor:
        found = executor.options(retries=2).map(
            lambda _: act(), [0], chunksize=chunksize, return_exceptions=True
        )
        (error,) = found
        assert type(error) is TypeError
        assert str(error).startswith("the result cannot be sent back")
        assert runs(tmp_path) == 1
        usable(executor, tmp_path)
        assert private(stored) == []


@pytest.mark.parametrize("error", [ValueError, NeverStarted, StoreError, SystemExit, KeyboardInterrupt])
def test_a_result_that_cannot_be_loaded_here(error: Any, tmp_path: Path, stored: Stored) -> None:
    with pool() as executor:
        view = executor.options(retries=2, idempotent=True)
        found = view.submit(counted(tmp_path, lambda: Refuses(error))).exception(WAIT)
        assert type(found) is (error if issubclass(error, Exception) else RemoteError)
        assert "cannot be loaded" in str(found)
        assert "while loading the result" in str(found.__notes__)
        assert runs(tmp_path) == 1
        usable(executor, tmp_path)
        assert private(stored) == []


@pytest.mark.parametrize("idempotent", [False, True])
def test_a_result_that_the_store_does_not_give(
    idempotent: bool, tmp_path: Path, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(place: ScratchSpace, key: str) -> Any:
        raise TransientStoreError("busy")

    monkeypatch.setattr(ScratchSpace, "fetch", fails)
    with pool() as executor:
        view = executor.options(retries=2, idempotent=idempotent)
        future = view.submit(counted(tmp_path, lambda: large(0)))
        error = future.exception(WAIT)
        assert type(error) is Lost
        assert type(error.__cause__) is TransientStoreError
        assert "cannot be read: busy" in str(error)
        assert [attempt.ending for attempt in future.attempts] == ["Lost"] * (3 if idempotent else 1)
        assert runs(tmp_path) == (3 if idempotent else 1)
        monkeypatch.undo()
        usable(executor, tmp_path)
        assert private(stored) == []


def test_a_result_that_the_store_gives_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch, failures = ScratchSpace.fetch, [1, 2]

    def fails_twice(place: ScratchSpace, key: str) -> Any:
        if failures:
            raise StoreError(f"failure {failures.pop()}")
        return fetch(place, key)

    monkeypatch.setattr(ScratchSpace, "fetch", fails_twice)
    with pool() as executor:
        assert executor.options(idempotent=True).submit(large, 0).result(WAIT) == bytes(1 << 20)


def test_a_result_that_was_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch = ScratchSpace.fetch
    monkeypatch.setattr(ScratchSpace, "fetch", lambda place, key: bytes(fetch(place, key))[:-1] + b"x")
    with pool() as executor:
        view = executor.options(retries=2)
        error = view.submit(counted(tmp_path, lambda: large(0))).exception(WAIT)
        assert type(error) is IntegrityError
        assert runs(tmp_path) == 1


def test_an_error_of_ours_is_no_reason_to_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it was: the function may have returned."""
    from wrenla.executors.transport.remote import RemoteTransport

    def broken(*_: object) -> None:
        raise ValueError("in the driver")

    with pool() as executor:
        monkeypatch.setattr(RemoteTransport, "read", broken)
        error = executor.options(retries=2).submit(counted(tmp_path, bool)).exception(WAIT)
        monkeypatch.undo()
        assert str(error) == "in the driver"
        assert runs(tmp_path) == 1


def test_an_argument_that_cannot_be_loaded_there(tmp_path: Path) -> None:
    """That is code of the user's, and it has raised."""
    with pool() as executor:
        future = executor.options(retries=1).submit(counted(tmp_path, bool), Refuses(ValueError))
        assert type(future.exception(WAIT)) is ValueError
        assert (len(future.attempts), runs(tmp_path)) == (2, 0)


# chunks


@pytest.mark.parametrize("idempotent", [False, True])
def test_a_chunk_that_runs_too_long(idempotent: bool, tmp_path: Path) -> None:
    with pool() as executor:
        view = executor.options(timeout=0.4, retries=2, idempotent=idempotent)
        function = counted(tmp_path, lambda: time.sleep(20))
        errors = list(view.map(function, range(2), chunksize=2, return_exceptions=True, timeout=WAIT))
        assert [type(error) for error in errors] == [TimedOut] * 2
        assert runs(tmp_path) == (3 if idempotent else 1)


def test_a_chunk_that_runs_too_long_once(tmp_path: Path) -> None:
    def function(x: int) -> int:
        if x == 1 and not (tmp_path / "slow").exists():
            (tmp_path / "slow").touch()
            time.sleep(20)
        return x

    with pool() as executor:
        view = executor.options(timeout=1.0, retries=1, idempotent=True)
        assert list(view.map(function, range(3), chunksize=3, timeout=WAIT)) == [0, 1, 2]


def test_a_chunk_whose_results_cannot_travel_is_not_run_again(tmp_path: Path) -> None:
    """Each of them can, not all together: some of its inputs are done."""

    class Once:
        """Pickles once."""

        def __reduce__(self) -> Any:
            if (tmp_path / "pickled").exists():
                raise ValueError("once")
            (tmp_path / "pickled").touch()
            return int, ()

    with pool() as executor:
        view = executor.options(retries=2)
        with pytest.raises(ValueError, match="once"):
            list(view.map(counted(tmp_path, Once), range(1), chunksize=2, timeout=WAIT))
        assert runs(tmp_path) == 1
