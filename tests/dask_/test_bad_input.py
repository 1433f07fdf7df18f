"""What nobody can use: each is one line, and says what to do."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import cloudpickle
import distributed
import numpy as np
import pytest

import wrenla as wl
from tests.waiting import until
from wrenla.errors import NestedCallError, PlanError, ReachError, ServiceError, VersionError
from wrenla.executors.dask import admission, connection, folders
from wrenla.executors.dask import executor as executor_module
from wrenla.executors.dask import worker as theirs

from .conftest import Client, local_cluster

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """What is refused leaves no thread of ours."""
    before = set(threading.enumerate())
    yield

    def left() -> list[str]:
        mine = set(threading.enumerate()) - before
        return [thread.name for thread in mine if thread.name.startswith(("calls-", "wrenla", "IO loop"))]

    assert until(lambda: not left()), left()


def refused(kind: type[BaseException], words: str, *given: Any, **arguments: Any) -> None:
    """Making an executor raises an error of one line."""
    with pytest.raises(kind, match=words) as caught:
        wl.DaskExecutor(*given, **arguments).shutdown()
    assert "\n" not in str(caught.value)


# the address


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 1.0)
    monkeypatch.setattr(executor_module, "PATIENCE", 1.0)
    monkeypatch.setattr(admission, "PATIENCE", 1.0)


@pytest.mark.usefixtures("hurried")
def test_nobody_at_the_address() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        refused(ServiceError, "no Dask scheduler answers there", f"tcp://127.0.0.1:{taken.getsockname()[1]}")


@pytest.mark.usefixtures("hurried")
def test_somebody_else_at_the_address() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        refused(ServiceError, f"{address}.*no Dask scheduler answers there", f"tcp://{address}")


@pytest.mark.parametrize("address", ["http://127.0.0.1:80", "nonsense://x", "", "tcp://127.0.0.1:notaport"])
@pytest.mark.usefixtures("hurried")
def test_no_address_at_all(address: str) -> None:
    refused(ServiceError, "no Dask scheduler answers there.*see to its address", address)


@pytest.mark.parametrize("thing", [3, object(), b"tcp://x", Path("scheduler.json"), ["tcp://x"]])
def test_other_things(thing: object) -> None:
    refused(TypeError, "a distributed.Client, a cluster, an address", thing)


# the client


def test_no_client() -> None:
    refused(ValueError, r"there is no Dask client: pass the address .* or make a client before")


def test_closed_client(cluster: Any) -> None:
    client = Client(cluster, set_as_default=False)
    client.close()
    refused(ValueError, "the client has been closed.*make another one", client)


def test_asynchronous_client(cluster: Any) -> None:
    async def main() -> None:
        async with Client(cluster.scheduler_address, asynchronous=True, set_as_default=False) as client:
            refused(ValueError, "asynchronous: give the executor one of its own", client)

    asyncio.run(main())


@pytest.mark.parametrize("by", ["client", "cluster", "address", "default"])
def test_ways_to_name_a_cluster(by: str, cluster: Any, client: Any) -> None:
    given = {"client": client, "cluster": cluster, "address": cluster.scheduler_address, "default": None}[by]
    if by == "default":
        with Client(cluster), wl.DaskExecutor() as executor:
            assert executor.submit(abs, -1).result(20) == 1
    else:
        with wl.DaskExecutor(given) as executor:
            assert executor.submit(abs, -1).result(20) == 1
    assert client.status == "running"


@pytest.mark.parametrize("workers", [None, 3])
def test_closing_the_client_first(workers: int | None, cluster: Any) -> None:
    client = Client(cluster, set_as_default=False)
    executor = wl.DaskExecutor(client, workers=workers)
    assert executor.submit(abs, -1).result(20) == 1
    client.close()
    with pytest.raises(wl.errors.NeverStarted, match="client is closed"):
        executor.submit(abs, -1).result(20)
    executor.shutdown()


# in a task of Dask's


def in_a_task(cluster: Any, function: Callable[..., Any], *args: Any) -> Any:
    with Client(cluster, set_as_default=False) as client:
        return client.submit(function, *args, pure=False).result(40)


@pytest.mark.parametrize("by", ["default", "address", "client"])
def test_inside_a_task(by: str, cluster: Any) -> None:
    def make(by: str, address: str) -> str:
        import distributed

        import wrenla as wl

        given = {"default": None, "address": address, "client": distributed.get_client()}[by]
        try:
            wl.DaskExecutor(given).shutdown()
        except ValueError as error:
            return str(error)
        return ""

    said = in_a_task(cluster, make, by, cluster.scheduler_address)
    assert re.match("this is a task of Dask's, .*worker_client", said), said
    assert "\n" not in said


def test_inside_a_task_that_lets_others_have_its_thread(cluster: Any) -> None:
    def make() -> int:
        import distributed

        import wrenla as wl

        with distributed.worker_client() as client, wl.DaskExecutor(client) as executor:
            return sum(executor.map(abs, [-1, -2, -3]))

    assert in_a_task(cluster, make) == 6


def test_nested_calls(executor: wl.DaskExecutor) -> None:
    def nested() -> Any:
        import wrenla

        return list(wrenla.default_executor().map(abs, [1]))

    assert isinstance(executor.submit(nested).exception(30), NestedCallError)


def test_an_executor_does_not_travel(executor: wl.DaskExecutor) -> None:
    with pytest.raises(TypeError, match="cannot travel"):
        executor.submit(lambda: executor.submit(abs, 1))


# workers


def test_no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    from wrenla.executors.dask import cluster as cluster_module

    monkeypatch.setattr(cluster_module, "PATIENCE", 0.5)
    with local_cluster(0) as cluster:
        refused(ServiceError, r"has no workers: start some .*workers=4", cluster)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What workers answer to a greeting, by number of the worker: an error, or facts that are others."""
    answers: dict[str, Any] = {}
    run = connection.Connection.run

    def greeted(self: Any, address: str, function: Any, *args: Any) -> Any:
        future = run(self, address, function, *args)
        if function is not theirs.greet or address not in answers:
            return future
        changed: Any = Future()
        if isinstance(answers[address], Exception):
            changed.set_exception(answers[address])
        else:
            changed.set_result({**future.result(10), **answers[address]})
        return changed

    monkeypatch.setattr(connection.Connection, "run", greeted)
    return answers


MISFITS = {
    "without wrenla": (
        ModuleNotFoundError("No module named 'wrenla'"),
        "wrenla is not installed there.*pip freeze",
    ),
    "of before": (AttributeError("no attribute 'greet'"), "another version of it.*pip freeze"),
    "other Python": ({"python": "3.9.1"}, r"Python 3.9 there, 3\.\d+ here.*pip freeze"),
    "other packages": ({"packages": {"numpy": "1.0"}}, "numpy 1.0 there.*pip freeze"),
}


@pytest.mark.parametrize("what", MISFITS)
def test_workers_that_do_not_fit(what: str, client: Any, said: dict[str, Any]) -> None:
    answer, words = MISFITS[what]
    said |= dict.fromkeys(client.nthreads(), answer)
    refused(VersionError, f"no worker of the Dask cluster .* can be used: .*{words}", client)


def test_one_worker_that_does_not_fit(
    client: Any, said: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = client.nthreads()
    said[bad] = ModuleNotFoundError("No module named 'wrenla'")
    with caplog.at_level(logging.INFO, "wrenla.calls"), wl.DaskExecutor(client) as executor:
        assert executor.workers == 1
        future = executor.submit(abs, -1)
        assert future.result(20) == 1
        assert future.attempts[0].worker.startswith(good)
    assert [record.levelname for record in caplog.records if bad in record.getMessage()] == ["WARNING"]


def test_a_worker_without_wrenla(cluster: Any, tmp_path: Path) -> None:
    """A real one: its interpreter finds Dask, but not us."""
    site = Path(distributed.__file__).parents[1]
    code = (
        "import sys; sys.path[:] = [p for p in sys.path if 'wrenla' not in p and p]; "
        "sys.modules['wrenla'] = None; sys.modules['wrenla_handler'] = None; "
        "from distributed.cli.dask_worker import main; main()"
    )
    with local_cluster(0) as alone:
        command = [sys.executable, "-c", code, alone.scheduler_address, "--no-nanny", "--no-dashboard"]
        environment = {**os.environ, "PYTHONPATH": str(site)}
        with (
            subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL) as process,
            Client(alone, set_as_default=False) as client,
        ):
            try:
                client.wait_for_workers(1, timeout=30)
                refused(VersionError, "wrenla is not installed there", client)
            finally:
                process.kill()


# arguments


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"workers": 0}, ValueError, "workers"),
        ({"workers": -1}, ValueError, "workers"),
        ({"workers": 1.5}, ValueError, "whole number"),
        ({"workers": 1, "max_workers": 2}, (TypeError, ValueError), "max_workers"),
        ({"blas_threads": 0}, ValueError, "blas_threads"),
        ({"allowed_mem": "much"}, ValueError, "allowed_mem"),
        ({"allowed_mem": 0}, ValueError, "allowed_mem"),
        ({"logs": "loud"}, ValueError, "logs"),
        ({"n_workers": 2}, TypeError, "did you mean 'workers'"),
        ({"adress": "tcp://x"}, TypeError, "adress"),
        ({"memory_limit": "1 GiB"}, TypeError, "allowed_mem"),
    ],
    ids=str,
)
def test_arguments(arguments: dict[str, Any], kind: Any, words: str, client: Any) -> None:
    refused(kind, words, client, **arguments)


def test_too_little_memory_for_a_plan(client: Any) -> None:
    with wl.DaskExecutor(client, allowed_mem="30 MiB") as executor:
        A = wl.random((2000, 2000), tile=1000, seed=1)
        with pytest.raises(PlanError, match="memory") as caught:
            (A @ A).compute(executor)
        assert "\n" not in str(caught.value)


# places


def of_folder(folder: Path | str) -> wl.BigMatrix:
    """A matrix that is stored there."""
    with wl.LocalExecutor(1, "thread") as local:
        return wl.eye(40, tile=20).save(str(folder), local)


def test_matrices_in_memory(executor: wl.DaskExecutor) -> None:
    A = of_folder("memory://here/A")
    with pytest.raises(ReachError, match=r'memory://here/A can be seen by this process only.*save\("s3://'):
        (A @ A).compute(executor)


def test_temporaries_in_memory(executor: wl.DaskExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRENLA_STORE", "memory://temporaries")
    with pytest.raises(ReachError, match=r"cannot see the store for temporaries: .*WRENLA_STORE"):
        (wl.eye(40, tile=20) + 1).sum().compute(executor)


def test_folders_that_workers_do_not_see(
    executor: wl.DaskExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def see(path: str) -> str:
        return ""

    A = of_folder(tmp_path / "A")
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(theirs, "see", see)
    try:
        with pytest.raises(ReachError, match=r"can be seen by this host only.*WRENLA_SHARED_FOLDERS"):
            (A @ A).compute(executor)
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    monkeypatch.undo()
    assert list(tmp_path.rglob(".wrenla-token*")) == []


@pytest.mark.parametrize("broken", [False, True], ids=["as it is", "another matrix there"])
def test_folders_that_are_read_only(
    broken: bool, executor: wl.DaskExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A matrix that others have made can be read: its own description is the token."""
    A = of_folder(tmp_path / "data" / "A")

    def read_only(path: Any, mode: str = "r") -> Any:
        if "x" in mode and str(path).startswith(str(tmp_path / "data")):
            raise PermissionError(errno.EACCES, "read-only", str(path))
        return open(path, mode)

    monkeypatch.setattr(folders, "open", read_only, raising=False)
    if broken:
        monkeypatch.setattr(folders, "_described", lambda folder: "another one")
        with pytest.raises(ReachError, match="by this host only"):
            (A @ A).compute(executor)
    else:
        assert np.array_equal((A @ A).compute(executor), np.eye(40))
