"""Moments at which two things happen at once on a worker, or in the driver: made to happen, without Dask."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from tests.waiting import until
from wrenla.errors import Lost, NeverStarted
from wrenla.executors.dask import worker
from wrenla.executors.dask.children import Children
from wrenla.executors.dask.pilots import Pilots
from wrenla.executors.dask.remote import Remote
from wrenla.executors.dask.transport import DaskTransport, _not_done

pytestmark = pytest.mark.unit


class Pilot:
    """Dask's future of a pilot."""

    def __init__(self) -> None:
        self.released = False
        self.over: Future[None] = Future()

    def done(self) -> bool:
        return self.over.done()

    def release(self) -> None:
        self.released = True
        self.end()

    def end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


class Connection:
    """Takes pilots, or refuses them."""

    def __init__(self) -> None:
        self.pilots: list[Pilot] = []
        self.refuses = False

    def pilot(self, *_: Any) -> Pilot:
        if self.refuses:
            raise RuntimeError("the client is closed")
        self.pilots.append(Pilot())
        return self.pilots[-1]

    def ended(self, pilot: Pilot) -> Future[None]:
        return pilot.over

    @property
    def running(self) -> int:
        return sum(not pilot.done() for pilot in self.pilots)


@pytest.fixture
def connection() -> Connection:
    return Connection()


@pytest.fixture
def pilots(connection: Connection) -> Pilots:
    return Pilots(connection, "calls-1")  # type: ignore[arg-type]


@pytest.fixture
def remote() -> Remote:
    return Remote("tcp://there", {"process": "1-a"}, threads=2, allowed=1, limit=0)


# pilots


def test_a_worker_with_work_has_a_pilot_for_each_thread(
    pilots: Pilots, connection: Connection, remote: Remote
) -> None:
    answer = remote.expect("job")
    pilots.keep(remote)
    pilots.keep(remote)
    assert connection.running == 2
    connection.pilots[0].end()  # just when a job has come
    assert connection.running == 2
    assert connection.pilots[0].released, "a cluster keeps workers that have results of tasks"
    remote.settle("job", 1)
    assert answer.result() == 1
    connection.pilots[1].end()
    assert connection.running == 1
    pilots.close()
    assert connection.running == 0


def test_pilots_of_a_worker_that_has_left_are_not_waited_for(
    pilots: Pilots, connection: Connection, remote: Remote
) -> None:
    """The scheduler would keep them until that worker comes back, and take them for a want of workers."""
    remote.expect("job")
    pilots.keep(remote)
    pilots.drop(remote)
    assert [pilot.released for pilot in connection.pilots] == [True, True]
    pilots.keep(remote)  # somebody had chosen it before
    assert connection.running == 0


def test_a_worker_that_comes_back_has_pilots_again(
    pilots: Pilots, connection: Connection, remote: Remote
) -> None:
    pilots.keep(remote)
    pilots.drop(remote)
    again = Remote(remote.address, remote.facts, threads=2, allowed=1, limit=0)
    pilots.keep(again)
    assert connection.running == 2


def test_a_pilot_that_could_not_be_submitted_is_submitted_later(
    pilots: Pilots, connection: Connection, remote: Remote
) -> None:
    connection.refuses = True
    with pytest.raises(RuntimeError, match="closed"):
        pilots.keep(remote)
    connection.refuses = False
    pilots.keep(remote)
    assert connection.running == 2


def test_a_cluster_that_has_shrunk_is_asked_for_more_again(pilots: Pilots, connection: Connection) -> None:
    pilots.want(2)
    pilots.want(2)
    assert connection.running == 2
    for pilot in connection.pilots:
        pilot.end()
    assert all(pilot.released for pilot in connection.pilots)
    pilots.want(2)
    assert connection.running == 2


# jobs of a worker


@pytest.fixture
def sites(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, worker.Site]]:
    """Executors that a worker knows, in this process."""
    monkeypatch.setattr(worker, "_sites", {})
    monkeypatch.setattr(worker, "_over", deque())
    monkeypatch.setattr(worker, "_LOOK", 0.01)
    monkeypatch.setattr(worker, "_IDLE", 0.01)
    yield worker._sites
    for name in list(worker._sites):
        asyncio.run(worker.end(name))
    assert until(lambda: worker._reaper is None)


def ended_by(work: Callable[[], Any]) -> Any:
    """Do a job as a pilot does, and return what its driver is told."""
    told: list[Any] = []
    site = worker.Site()
    site.put(worker.Job("job", work, told.append))
    site.serve(0.0, 1.0)
    return told[0]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), MemoryError("no more")])
def test_whoever_waits_is_told_whatever_happens(error: BaseException) -> None:
    def work() -> None:
        raise error

    what, why = ended_by(work)
    assert (what, why) == ("lost", f"{type(error).__name__}: {error}")
    assert isinstance(_not_done((what, why)), Lost), "it may have run: it is not run again"


def test_jobs_that_come_after_the_end_are_given_back() -> None:
    told: list[Any] = []
    site = worker.Site()
    site.close()
    site.put(worker.Job("job", lambda: 1, told.append))
    assert told == [("gone", "the executor has been shut down")]
    assert isinstance(_not_done(told[0]), NeverStarted)


def test_a_pilot_that_comes_after_the_end_leaves_nothing(sites: dict[str, worker.Site]) -> None:
    asyncio.run(worker.end("calls-1"))
    worker.pilot("calls-1", "")
    assert sites == {}


def test_jobs_of_a_driver_that_is_gone_go(
    sites: dict[str, worker.Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask has forgotten its pilots, and nobody else would do them."""
    monkeypatch.setattr(worker, "_LEFT", 0.05)
    told: list[Any] = []
    site = worker._site("calls-1")
    assert site is not None
    site.put(worker.Job("job", lambda: 1, told.append))
    assert until(lambda: not sites)
    assert until(lambda: told)
    assert told[0][0] == "gone"


def test_a_driver_that_is_there_keeps_its_jobs(
    sites: dict[str, worker.Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_LEFT", 0.3)
    site = worker._site("calls-1")
    assert site is not None
    site.put(worker.Job("job", lambda: 1, lambda answer: None))
    began = time.monotonic()
    while time.monotonic() < began + 0.6:
        asyncio.run(worker.pulse("calls-1"))
        time.sleep(0.01)
    assert list(sites) == ["calls-1"]


def test_executors_share_the_memory_for_tiles(sites: dict[str, worker.Site]) -> None:
    """Each would fill all that there is, and Dask would end the worker."""
    made: list[worker.Worker] = []
    for executor in ("calls-1", "calls-2"):
        site = worker._site(executor)
        assert site is not None
        made.append(site._worker())
        worker._share(1 << 20, made[-1])
        assert sum(each.cache.limit for each in made) == 1 << 20
    asyncio.run(worker.end("calls-1"))
    worker._share(1 << 20, made[1])
    assert made[1].cache.limit == 1 << 20


def test_nobody_waits_for_the_end_of_idle_processes() -> None:
    """`stop` runs in the event loop of the worker, which has other things to do."""
    closing, closed = threading.Event(), threading.Event()

    def close() -> None:
        closing.set()
        closed.wait(10)

    children = Children()
    children._idle.append((SimpleNamespace(close=close), 0.0))  # type: ignore[arg-type]
    thread = threading.Thread(target=children.end_idle, args=(0.0,))
    thread.start()
    assert closing.wait(10)
    began = time.monotonic()
    children.stop([("call", 1)], gently=False)
    assert time.monotonic() - began < 5
    closed.set()
    thread.join()


# the end in the driver


def test_a_transport_that_is_closed_twice_lets_go_once() -> None:
    class Cluster:
        held = 0

        def hold(self) -> Cluster:
            self.held += 1
            return self

        def release(self) -> None:
            self.held -= 1

    cluster = Cluster()
    scratch: Any = SimpleNamespace(close=lambda: None)
    calls, tiles = DaskTransport(scratch, cluster), DaskTransport(scratch, cluster)  # type: ignore[arg-type]
    calls.close()
    calls.close()
    assert cluster.held == 1, "tile tasks are still under way"
    tiles.close()
    assert cluster.held == 0


def test_what_comes_second_says_nothing(remote: Remote) -> None:
    answer = remote.expect("job")
    threads = [threading.Thread(target=remote.settle, args=("job", number)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    remote.fail(Lost("late"))
    assert answer.result() in range(8)
