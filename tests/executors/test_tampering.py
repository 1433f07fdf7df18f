"""Bytes that somebody else has written are found out, and not loaded."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import wrenla as wl
from wrenla.errors import IntegrityError
from wrenla.executors.transport.remote import RemoteTransport
from wrenla.executors.transport.scratch import ScratchSpace

from .fault_acts import large
from .faulty_calls import WAIT, Stored, block, pool, private, usable

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("by_value")]


class Trap:
    """Leaves a trace when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def tamper(pattern: str, folder: Path) -> None:
    """Put a trap in place of an object, of the same length."""
    paths = [path for path in folder.glob(f"store/wrenla-runs/calls-*/{pattern}") if path.is_file()]
    assert paths
    trap = pickle.dumps(Trap(folder / "trapped"))
    for path in paths:
        size = path.stat().st_size
        path.write_bytes(trap.ljust(size, b"\0"))
        assert path.stat().st_size == size


def tampered_argument(executor: wl.LocalExecutor, folder: Path) -> wl.Future[Any]:
    _, go = block(executor, folder)
    future = executor.submit(len, bytes(1 << 20))
    tamper("arguments/*", folder)
    go()
    return future


def tampered_function(executor: wl.LocalExecutor, folder: Path) -> wl.Future[Any]:
    _, go = block(executor, folder)
    text = bytes(1 << 20)
    future = executor.submit(lambda: len(text))
    tamper("functions/*", folder)
    go()
    return future


def tampered_broadcast(executor: wl.LocalExecutor, folder: Path) -> wl.Future[Any]:
    ref = executor.broadcast(bytes(1 << 20))
    tamper("broadcasts/*", folder)
    return executor.submit(len, ref)  # type: ignore[arg-type]


def tampered_result(executor: wl.LocalExecutor, folder: Path) -> wl.Future[Any]:
    return executor.submit(large, 0)


def tampered_between(executor: wl.LocalExecutor, folder: Path) -> wl.Future[Any]:
    return executor.map_reduce(large, range(2), len)


@pytest.mark.parametrize(
    "submit",
    [tampered_argument, tampered_function, tampered_broadcast, tampered_result, tampered_between],
    ids=["argument", "function", "broadcast", "result", "intermediate result"],
)
def test_tampered_object_is_integrity_error_and_not_loaded(
    submit: Callable[[wl.LocalExecutor, Path], wl.Future[Any]],
    tmp_path: Path,
    stored: Stored,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fetch, gathered = ScratchSpace.fetch, RemoteTransport.gathered

    def tamper_and_fetch(place: ScratchSpace, key: str) -> Any:
        tamper(key, tmp_path)
        return fetch(place, key)

    def tamper_and_gather(transport: RemoteTransport, results: Any) -> Any:
        tamper("results/*", tmp_path)
        return gathered(transport, results)

    if submit is tampered_result:
        monkeypatch.setattr(ScratchSpace, "fetch", tamper_and_fetch)
    if submit is tampered_between:
        monkeypatch.setattr(RemoteTransport, "gathered", tamper_and_gather)
    with pool() as executor:
        future = submit(executor, tmp_path)
        error = future.exception(WAIT)
        assert isinstance(error, IntegrityError), repr(error)
        assert "not loaded" in str(error)
        assert not (tmp_path / "trapped").exists()
        assert [attempt.ending for attempt in future.attempts] in ([], ["IntegrityError"])
        monkeypatch.undo()
        assert executor.submit(len, bytes(1 << 20)).result(WAIT) == 1 << 20
        usable(executor, tmp_path)
        assert private(stored) == []


def test_a_trap_would_work(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Trap(tmp_path / "trapped")) + bytes(100))
    assert (tmp_path / "trapped").exists()
