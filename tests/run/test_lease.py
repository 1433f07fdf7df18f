"""Leases: a live holder is left alone, a dead one is succeeded; no clock and no host name is believed."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from wrenla.workspace import lease as lease_module
from wrenla.workspace import process_identity
from wrenla.workspace.lease import Holder, Lease, are_free, is_free, standing
from wrenla_handler.errors import StoreError, TransientStoreError
from wrenla_handler.stores.base import LEASE, Store
from wrenla_handler.stores.memory import MemoryStore
from wrenla_handler.stores.urls import open_store


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "folder":
        yield open_store(str(tmp_path / "place"))
    else:
        yield open_store(f"memory://{tmp_path.name}/place")
        MemoryStore.drop(tmp_path.name)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], list[float]]:
    """Let the time of watching pass at once; in each of its pauses something may happen."""
    now, pauses = [0.0], []  # type: ignore[var-annotated]

    class Timer:
        happens: Callable[[], object] = staticmethod(lambda: None)

        @staticmethod
        def monotonic() -> float:
            return now[0]

        @classmethod
        def sleep(cls, seconds: float) -> None:
            now[0] += seconds
            pauses.append(seconds)
            cls.happens()

    monkeypatch.setattr(lease_module, "time", Timer)

    def during(happens: Callable[[], object]) -> list[float]:
        Timer.happens = staticmethod(happens)
        pauses.clear()
        return pauses

    return during


@pytest.fixture(autouse=True)
def held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process be the holder of what tests write in its name."""
    monkeypatch.setattr(lease_module, "_held", {"them"})


def put(store: Store, holder: Holder, number: int = 0) -> None:
    store.put(f"{LEASE}{number:08d}", holder.encode())


def found(store: Store) -> Any:
    return standing(store, LEASE)


def dead_process() -> Holder:
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, text=True
    )
    holder = replace(Holder.mine("them", {}), pid=child.pid, started=process_identity.start_of(child.pid))
    assert holder.alive
    child.communicate("")
    return holder


MINE = Holder.mine("them", {"run": "r"})


@pytest.mark.process
def test_lease_of_process_in_same_namespace_is_judged_at_once(
    watched: Callable[[Callable[[], object]], list[float]], store: Store
) -> None:
    for holder, alive in (
        (MINE, True),
        (dead_process(), False),
        (replace(MINE, started="1"), False),  # the number of a process is used again
        (replace(MINE, ended=True), False),
        (replace(MINE, host="another name of this host"), True),
    ):
        pauses = watched(lambda: None)
        put(store, holder)
        assert holder.alive is alive
        assert is_free(store, LEASE, found(store)) is not alive
        assert pauses == []


@pytest.mark.process
def test_lease_of_ended_process_is_free(store: Store) -> None:
    """As a driver that a notebook has killed, or one in a container whose first process reaps nobody."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    holder = replace(Holder.mine("them", {}), pid=child.pid, started=process_identity.start_of(child.pid))
    assert holder.alive
    child.kill()
    try:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert holder.alive is False
    finally:
        child.communicate()


def test_lease_of_invisible_process_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /proc hides the processes of other users, or their clock is another one."""
    holder = replace(MINE, pid=os.getppid(), started="1234")
    monkeypatch.setattr(process_identity, "start_of", lambda pid: "")

    def kill(error: type[OSError] | None) -> None:
        def kill_(pid: int, number: int) -> None:
            if error is not None:
                raise error

        monkeypatch.setattr(os, "kill", kill_)

    for error, alive in ((PermissionError, None), (ProcessLookupError, False), (None, False)):
        kill(error)
        assert holder.alive is alive
    monkeypatch.undo()
    assert replace(MINE, namespace="pid:[1] time:[2]").alive is None


ELSEWHERE = {
    "another host of another name": replace(MINE, host="another", boot="another"),
    "another host of the same name": replace(MINE, boot="another"),
    "another container of the same host and name": replace(MINE, namespace="pid:[1]"),
    "a system that does not say": replace(MINE, boot="", namespace=""),
}


@pytest.mark.parametrize("where", sorted(ELSEWHERE))
def test_lease_of_other_host_is_watched_by_its_count(
    where: str,
    watched: Callable[[Callable[[], object]], list[float]],
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Alive is whose count moves, whatever the clocks say; and dead is who stands still all the time."""
    holder = ELSEWHERE[where]
    assert holder.alive is None
    put(store, holder)
    pauses = watched(lambda: None)
    assert is_free(store, LEASE, found(store))
    assert sum(pauses) == pytest.approx(lease_module.WATCH_SECONDS, abs=1)
    pauses = watched(lambda: len(pauses) == 7 and put(store, replace(holder, count=1)))
    assert not is_free(store, LEASE, found(store))
    assert len(pauses) == 7
    put(store, holder)
    pauses = watched(lambda: put(store, MINE, 1))  # somebody else has succeeded it
    assert not is_free(store, LEASE, found(store))


def test_many_leases_are_watched_together(
    watched: Callable[[Callable[[], object]], list[float]], store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    holders = [replace(ELSEWHERE["another host of another name"], owner=str(n)) for n in range(4)]
    for n, holder in enumerate(holders):
        store.put(f"{n}/00000000", holder.encode())
    places = [(store, f"{n}/", standing(store, f"{n}/")) for n in range(4)]
    pauses = watched(lambda: store.put("2/00000000", replace(holders[2], count=5).encode()))
    with caplog.at_level(logging.WARNING):
        assert are_free(places) == [True, True, False, True]  # type: ignore[arg-type]
    assert sum(pauses) == pytest.approx(lease_module.WATCH_SECONDS, abs=1)
    assert "watching for 30 s whether process" in caplog.text
    assert "on another and 3 more still works there" in caplog.text


DAMAGED = [b"", b"{", b"[]", b"null", b"3", b'"text"', b"\xff", b"{}", b'{"wrenla": "lease"}', b"[" * 100_000]
DAMAGED += [
    json.dumps({**json.loads(MINE.encode()), name: value}).encode()
    for name, value in (("pid", "1"), ("pid", True), ("count", None), ("note", []), ("note", {"a": 1}))
]


def test_a_damaged_lease_is_watched_and_succeeded(
    watched: Callable[[Callable[[], object]], list[float]], store: Store
) -> None:
    """As after a power cut; a holder that lives writes it again."""
    for number, data in enumerate(DAMAGED):
        store.put(f"{LEASE}{number:08d}", data)
        pauses = watched(lambda: None)
        assert Holder.decode(data) is None
        assert is_free(store, LEASE, found(store))
        assert pauses
        lease = Lease.succeed(store, LEASE, found(store), {})
        assert lease is not None
        lease.remove()
    store.put(f"{LEASE}00000000", b"")
    watched(lambda: put(store, MINE))
    assert not is_free(store, LEASE, found(store))


def test_dead_lease_has_one_successor_of_many(store: Store) -> None:
    put(store, replace(MINE, ended=True), 7)
    store.put(f"{LEASE}readme", b"no lease")
    dead = found(store)
    assert dead.number == 7
    with ThreadPoolExecutor(16) as pool:
        leases = list(pool.map(lambda _: Lease.succeed(store, LEASE, dead, {"run": "r"}), range(16)))
    (lease,) = [lease for lease in leases if lease is not None]
    assert list(store.list()) == [f"{LEASE}00000008", f"{LEASE}readme"]
    assert lease.still_held()
    assert found(store).holder.note == {"run": "r"}
    assert str(found(store)) == f"process {MINE.pid} on {socket.gethostname()}"
    lease.remove()
    assert list(store.list()) == [f"{LEASE}readme"]


def test_succession_of_removed_lease_is_refused(store: Store) -> None:
    dead = Lease.succeed(store, LEASE, None, {})
    assert dead is not None
    dead.release()
    found = standing(store, LEASE)
    faster = Lease.succeed(store, LEASE, found, {})
    assert faster is not None
    faster.remove()
    anew = Lease.succeed(store, LEASE, None, {})  # somebody begins there again
    assert anew is not None
    assert Lease.succeed(store, LEASE, found, {}) is None
    assert anew.still_held()
    assert not anew.lost
    anew.remove()
    assert list(store.list()) == []


def test_lease_interrupted_while_taken_is_free(store: Store) -> None:
    """This process lives, but nobody in it would ever give the lease back."""
    real = store.put

    def interrupted(*args: Any, **kwargs: Any) -> bool:
        real(*args, **kwargs)
        raise KeyboardInterrupt

    store.put = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        Lease.succeed(store, LEASE, None, {})
    store.put = real  # type: ignore[method-assign]
    assert found(store).alive is False
    lease = Lease.succeed(store, LEASE, found(store), {})
    assert lease is not None
    assert found(store).alive
    lease.remove()


def test_lease_with_last_number_is_an_error_that_names_it(store: Store) -> None:
    put(store, replace(MINE, ended=True), 99_999_999)
    with pytest.raises(StoreError, match="wrenla-lease/99999999: no lease of wrenla's; remove it"):
        Lease.succeed(store, LEASE, found(store), {})


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "RENEW_SECONDS", 0.01)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_lease_is_counted_up_until_release(store: Store, quick: None) -> None:
    lease = Lease.succeed(store, LEASE, None, {})
    assert lease is not None
    until(lambda: found(store).holder.count > 3)
    lease.release()
    assert not lease._renewing.is_alive()
    assert found(store).holder.ended
    assert is_free(store, LEASE, found(store))


def test_lease_renewal_survives_store_failures_and_damage(store: Store, quick: None) -> None:
    lease = Lease.succeed(store, LEASE, None, {})
    assert lease is not None
    real, failures = store.put, [0]

    def refuse(*args: Any, **kwargs: Any) -> bool:
        failures[0] += 1
        if failures[0] < 4:
            raise TransientStoreError("busy")
        return real(*args, **kwargs)

    store.put = refuse  # type: ignore[method-assign]
    until(lambda: failures[0] > 4)
    real(lease.key, b"")
    until(lambda: found(store).holder is not None)
    assert not lease.lost
    store.put = real  # type: ignore[method-assign]
    lease.remove()


def test_lease_taken_over_is_lost_and_not_written_again(store: Store, quick: None) -> None:
    for number, taken in enumerate(("succeeded", "removed")):
        first = Lease.succeed(store, LEASE, found(store), {})
        assert first is not None
        second = None
        if taken == "succeeded":
            second = Lease.succeed(store, LEASE, found(store), {})
        else:
            store.delete(first.key)
        first._renewing.join(20)
        assert first.lost, number
        assert not first.still_held()
        first.release()
        assert not store.exists(first.key)
        if second is not None:
            assert second.still_held()
            second.remove()


def test_a_forgotten_lease_is_not_renewed(store: Store, quick: None) -> None:
    lease = Lease.succeed(store, LEASE, None, {})
    assert lease is not None
    renewing = lease._renewing
    del lease
    renewing.join(20)
    assert not renewing.is_alive()
