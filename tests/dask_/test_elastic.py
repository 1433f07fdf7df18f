"""Workers that come and go while there is work, and executors that share them with others."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from tests.waiting import until, without_copies
from wrenla.errors import NeverStarted
from wrenla.executors.dask import cluster as cluster_module

from .conftest import Client, LocalCluster, _left, local_cluster, pilots
from .faults import WAIT, matrix, undisturbed

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def elastic() -> Iterator[Any]:
    """A cluster whose workers come and go, all in this process: they begin at once."""
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0", memory_limit="2 GiB"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture
def one(elastic: Any) -> Iterator[Any]:
    """The same with one worker."""
    scale(elastic, 1)
    yield elastic
    scale(elastic, 1)
    assert until(lambda: pilots(elastic) == []), pilots(elastic)


def scale(client: Any, workers: int) -> None:
    client.cluster.scale(workers)
    assert until(lambda: len(client.nthreads()) == workers)


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "_LOOK", 0.1)
    monkeypatch.setattr(cluster_module, "_LOOK_IDLE", 0.2)


def meet(folder: Path, number: int) -> Any:
    """Return a function that ends when so many of its calls run at once."""

    def call(x: int) -> bool:
        (folder / f"here-{x}").touch()
        deadline = time.monotonic() + 30
        while len(list(folder.glob("here-*"))) < number and time.monotonic() < deadline:
            time.sleep(0.01)
        return len(list(folder.glob("here-*"))) >= number

    return call


def test_workers_that_come_during_a_map_are_used(one: Any, tmp_path: Path) -> None:
    with wl.DaskExecutor(one) as executor:
        without_copies(executor)
        assert executor.workers == 1
        futures = executor.submit_many(meet(tmp_path, 2), range(2))
        assert until(lambda: list(tmp_path.glob("here-*")))
        scale(one, 2)
        assert [future.result(WAIT) for future in futures] == [True, True]
        assert executor.workers == 2


@pytest.mark.slow
def test_workers_that_come_during_a_run_are_used(one: Any) -> None:
    with wl.DaskExecutor(one) as executor:
        used, take = set(), executor._cluster.take

        def noted(*args: Any) -> Any:
            remote = take(*args)
            used.add(remote.address)
            return remote

        executor._cluster.take = noted  # type: ignore[assignment, method-assign]

        def grow(event: Any) -> None:
            if type(event).__name__ == "TaskFinished" and executor.workers == 1:
                scale(one, 2)
                assert until(lambda: executor.workers == 2)

        A = wl.random((2048, 2048), tile=256, seed=1)  # so much that one worker is not done before
        found = (A @ A).compute(executor, callbacks=[grow])
        assert len(used) == 2
    with wl.LocalExecutor(1, "thread") as local:
        assert np.array_equal(found, (A @ A).compute(local))


@pytest.mark.parametrize("what", ["cholesky", pytest.param("solve", marks=pytest.mark.slow)])
def test_workers_that_retire_during_a_run(what: str, one: Any) -> None:
    scale(one, 2)
    retired: list[Any] = []

    def retire(event: Any) -> None:
        if type(event).__name__ == "TaskFinished" and not retired:
            retired.append(one.retire_workers(list(one.nthreads())[:1]))

    with wl.DaskExecutor(one) as executor:
        found = matrix(what, Path(), 0, "never").compute(executor, callbacks=[retire])
        assert np.array_equal(found, undisturbed(what))
        assert retired
        assert until(lambda: executor.workers == 1)
        assert list(executor.map(abs, [-1, -2, -3])) == [1, 2, 3]


@pytest.mark.slow
def test_all_workers_gone_and_back(one: Any) -> None:
    with wl.DaskExecutor(one, workers=2) as executor:
        assert executor.submit(abs, -1).result(WAIT) == 1
        scale(one, 0)
        assert until(lambda: not executor._cluster.remotes)
        futures = executor.submit_many(abs, [-2, -3])
        assert until(lambda: pilots(one)), "the cluster is asked to grow"
        scale(one, 1)
        assert [future.result(WAIT) for future in futures] == [2, 3]
        scale(one, 0)  # and once more: who had asked has been served
        assert until(lambda: not executor._cluster.remotes)
        future = executor.submit(abs, -4)
        assert until(lambda: pilots(one))
        scale(one, 1)
        assert future.result(WAIT) == 4


def test_calls_are_not_sent_to_a_worker_that_has_left(
    one: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would be lost with it: nobody could tell that they had not begun."""
    scale(one, 2)
    with wl.DaskExecutor(one) as executor:
        assert executor.submit(abs, -1).result(WAIT) == 1
        monkeypatch.setattr(cluster_module, "_LOOK_IDLE", 60.0)
        executor._cluster._wake.set()
        assert until(lambda: not executor._cluster._wake.is_set())
        time.sleep(0.3)  # the monitor sleeps for long by now
        scale(one, 1)
        assert list(executor.map(abs, range(-4, 0))) == [4, 3, 2, 1]
        executor._cluster._wake.set()


def test_all_workers_gone_for_good(one: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "_NO_WORKER", 0.3)
    with wl.DaskExecutor(one) as executor:
        scale(one, 0)
        assert until(lambda: not executor._cluster.remotes)
        with pytest.raises(NeverStarted, match=r"has no workers: start some \(cluster.scale"):
            executor.submit(abs, -1).result(WAIT)
        future = executor.options(deadline=0.2).submit(abs, -1)
        with pytest.raises(NeverStarted):
            future.result(WAIT)


def test_a_call_that_waits_for_a_worker_can_be_stopped(one: Any) -> None:
    with wl.DaskExecutor(one) as executor:
        scale(one, 0)
        assert until(lambda: not executor._cluster.remotes)
        future = executor.submit(abs, -1)
        assert until(future.running)
        executor.calls.stop()
        with pytest.raises(wl.errors.Cancelled):
            future.result(WAIT)
        assert not executor._cluster.remotes


@pytest.mark.slow
def test_an_adaptive_cluster_grows_and_shrinks() -> None:
    with local_cluster(0) as cluster, Client(cluster, set_as_default=False) as client:
        cluster.adapt(minimum=0, maximum=2, interval="100ms", wait_count=3)
        with wl.DaskExecutor(client, workers=2) as executor:
            for _ in range(2):
                assert list(executor.map(abs, range(-4, 0), timeout=WAIT)) == [4, 3, 2, 1]
                assert np.array_equal(
                    matrix("cholesky", Path(), 0, "").compute(executor), undisturbed("cholesky")
                )
                assert until(lambda: not client.nthreads(), 40), "idle pilots keep no worker"
                assert until(lambda: not executor._cluster.remotes)


# others on the same cluster


@pytest.mark.slow
def test_two_executors_at_the_same_time(client: Any, nothing_left: None, tmp_path: Path) -> None:
    expected = undisturbed("cholesky")
    with wl.DaskExecutor(client) as one, wl.DaskExecutor(client.scheduler.address) as other:
        found: list[Any] = []

        def work(executor: wl.DaskExecutor) -> None:
            for _ in range(2):
                found.append(matrix("cholesky", Path(), 0, "never").compute(executor))
                assert list(executor.map(abs, [-1, -2])) == [1, 2]

        threads = [threading.Thread(target=work, args=(executor,)) for executor in (one, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
    assert [np.array_equal(each, expected) for each in found] == [True] * 4


def test_other_tasks_of_dask_get_on(executor: wl.DaskExecutor, client: Any) -> None:
    """Pilots take turns: a worker with many short calls has time for others, and others for ours."""

    def set_turn(seconds: float) -> None:
        from wrenla.executors.dask import worker

        worker._TURN = seconds

    client.run(set_turn, 0.2)
    try:
        stop = threading.Event()
        rounds: list[int] = []

        def many() -> None:
            while not stop.is_set():
                rounds.append(len(list(executor.map(abs, range(20)))))

        thread = threading.Thread(target=many)
        thread.start()
        assert until(lambda: rounds)
        theirs = client.map(lambda x: x + 1, range(6), pure=False)
        assert client.gather(theirs) == list(range(1, 7))
        before = len(rounds)
        assert until(lambda: len(rounds) > before)
        stop.set()
        thread.join(WAIT)
    finally:
        client.run(set_turn, 10.0)


def test_an_executor_that_nobody_has_any_more(client: Any, nothing_left: None) -> None:
    executor = wl.DaskExecutor(client)
    name = executor._cluster.name
    assert executor.submit(abs, -1).result(WAIT) == 1
    del executor
    gc.collect()
    assert until(lambda: not [t.name for t in threading.enumerate() if t.name.startswith(name)])
    assert until(lambda: not any(name in left for left in client.run(_left).values()))


def test_an_executor_that_ends_in_the_event_loop(client: Any, nothing_left: None) -> None:
    """A garbage collection comes in any thread: in this one nobody may wait for an answer."""
    executor = wl.DaskExecutor(client)
    name, took = executor._cluster.name, list[float]()

    def end() -> None:
        began = time.monotonic()
        executor.shutdown(wait=False)
        took.append(time.monotonic() - began)

    client.loop.add_callback(end)
    assert until(lambda: took)
    assert took[0] < 5, "it waits ten seconds for workers, each"
    assert until(lambda: not [t.name for t in threading.enumerate() if t.name.startswith(name)])


def test_a_fork_is_refused(executor: wl.DaskExecutor) -> None:
    assert executor.submit(abs, -1).result(WAIT) == 1
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        said = b"nothing"
        try:
            executor.submit(abs, -1)
        except RuntimeError as error:
            said = str(error).encode()
        finally:
            os.write(writing, said)
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        assert file.read() == b"this executor belongs to the process that forked this one: make another one"
    os.waitpid(pid, 0)
    assert executor.submit(abs, -2).result(WAIT) == 2


_NEVER_CLOSED = """
import sys, time
import distributed
import wrenla as wl

def write(x):
    time.sleep(0.3)
    with open(f"{folder}/done-{x}", "w"):
        pass

folder, address, whose = sys.argv[1:]
if whose == "default":
    client = distributed.Client(address)  # which Dask closes at the end
executor = wl.DaskExecutor(address if whose == "ours" else None)
executor.submit(abs, -1).result()  # threads begin before the end
futures = executor.submit_many(write, range(4))
"""


@pytest.mark.slow
@pytest.mark.parametrize("whose", ["ours", "default"])
def test_calls_end_before_the_interpreter_does(
    whose: str, client: Any, nothing_left: None, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _NEVER_CLOSED, str(tmp_path), client.scheduler.address, whose],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr.decode() == ""
    assert len(list(tmp_path.glob("done-*"))) == 4
