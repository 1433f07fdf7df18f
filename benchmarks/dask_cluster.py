"""A Dask cluster of two worker processes as engine, beside threads of this process and dask.array.

Each contestant is a function below, run in a process of its own, that prints one JSON line.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from benchmarks import contestants
from benchmarks.contest import compete, ratio, show_profile
from benchmarks.contestants import Watch, core, factor_residual, scratch, warm_memory
from benchmarks.figure import Figure

N, CALLS, TASKS, WORKERS = 14_336, 1000, 1024, 2


def figures(rounds: int) -> list[Figure]:
    """Run all contests."""
    return [figure for part in (_calls, _messages, _overhead, _cholesky) for figure in part(rounds)]


def _calls(rounds: int) -> list[Figure]:
    work = f"{CALLS:,} trivial calls on a Dask cluster of {WORKERS}, warm"
    print(f"{work}: peers are Client.map and gather on the same cluster, and LocalExecutor")
    names = ["wrenla_calls", "dask_calls", "local_calls"]
    c = compete(names, {"calls": CALLS}, rounds=rounds, module=__spec__.name)
    if not all(c[name].runs for name in names[:2]):
        return []
    ours, theirs, local = (c[name].seconds for name in names)
    note = f"{ours:.3f} s against {theirs:.3f} s; {local:.3f} s in processes of this one"
    return [Figure(work, "seconds / those of Client.map", ours / theirs, 1.1, 1.0, "×", True, note)]


def _messages(rounds: int) -> list[Figure]:
    """What carries a job to a worker: a message to its event loop, or a task of Dask's (ADR 17)."""
    found = []
    for window in (1, 16):
        work = f"nothing, carried to a worker of a Dask cluster of {WORKERS}, {window} at a time"
        print(f"{work}: by Client.run of a coroutine; peer is Client.submit, pinned to a worker")
        arguments = {"window": window, "count": 300}
        c = compete(["by_run", "by_submit"], arguments, rounds=rounds, module=__spec__.name)
        if all(contestant.runs for contestant in c.values()):
            run, submit = (contestant.seconds / 300 * 1e3 for contestant in c.values())
            note = f"{run:.2f} ms against {submit:.2f} ms"
            found.append(Figure(work, "Client.submit / Client.run", submit / run, None, None, note=note))
    return found


def _overhead(rounds: int) -> list[Figure]:
    found = []
    for together in (False, True):
        how = "short ones together" if together else "one in a message"
        work = f"{TASKS:,} trivial tile tasks on a Dask cluster of {WORKERS}, {how}"
        print(work)
        arguments = {"tasks": TASKS, "together": together}
        c = compete(["overhead"], arguments, rounds=rounds, module=__spec__.name)["overhead"]
        if c.runs:
            show_profile(c)
            each = c.seconds / c.median_run["tasks"] * 1e3
            found.append(Figure(work, "milliseconds a task, all included", each, 3, 1.5, "ms", True))
    return found


def _cholesky(rounds: int) -> list[Figure]:
    work = f"Cholesky n = {N} on a Dask cluster of {WORKERS}"
    print(f"{work}: peers are LocalExecutor, folder to folder, and dask.array on the same cluster, in memory")
    names = ["wrenla_cholesky", "local_cholesky", "dask_cholesky"]
    c = compete(names, {"n": N, "chunk": 1024}, rounds=rounds, module=__spec__.name)
    ours = c["wrenla_cholesky"]
    found = ratio(work, ours, c["local_cholesky"], 0.75, 0.9)
    found += ratio(work, ours, c["dask_cholesky"], 1.3, 1.3)
    show_profile(ours)
    return found


# contestants


@contextmanager
def cluster() -> Iterator[Any]:
    """Hand out a client of a cluster of processes with one thread each."""
    import dask
    from distributed import Client, LocalCluster

    with (
        dask.config.set({"distributed.comm.timeouts.tcp": "300s"}),  # both cores are at work in kernels
        LocalCluster(
            WORKERS,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            memory_limit="10 GiB",
            silence_logs="CRITICAL",
        ) as made,
        Client(made) as client,
    ):
        yield client


def wrenla_calls(calls: int) -> dict[str, Any]:
    import wrenla as wl

    with scratch(), cluster() as client, wl.DaskExecutor(client) as executor:
        return _timed(lambda: list(executor.map(lambda x: x + 1, range(calls))), calls)


def local_calls(calls: int) -> dict[str, Any]:
    import wrenla as wl

    with scratch(), wl.LocalExecutor(WORKERS) as executor:
        return _timed(lambda: list(executor.map(lambda x: x + 1, range(calls))), calls)


def dask_calls(calls: int) -> dict[str, Any]:
    with cluster() as client:
        return _timed(lambda: client.gather(client.map(lambda x: x + 1, range(calls), pure=False)), calls)


def _timed(run: Any, calls: int) -> dict[str, Any]:
    """Return the seconds of a second time: workers and processes are there then."""
    run()
    start = time.perf_counter()
    found = run()
    seconds = time.perf_counter() - start
    assert found == [x + 1 for x in range(calls)]
    return {"seconds": seconds}


async def _nothing(data: bytes) -> bytes:
    return data


def _same(data: bytes) -> bytes:
    return data


def by_run(window: int, count: int) -> dict[str, Any]:
    with cluster() as client:

        def carry(address: str, done: Any) -> None:
            async def go() -> None:
                await client.run(_nothing, bytes(1000), workers=[address])
                done()

            client.loop.add_callback(go)

        return _carried(client, carry, window, count)


def by_submit(window: int, count: int) -> dict[str, Any]:
    with cluster() as client:

        def carry(address: str, done: Any) -> None:
            key = f"carried-{time.perf_counter_ns()}"
            future = client.submit(_same, bytes(1000), key=key, workers=[address], pure=False, retries=0)
            future.add_done_callback(lambda future: (future.result(), done()))

        return _carried(client, carry, window, count)


def _carried(client: Any, carry: Any, window: int, count: int) -> dict[str, Any]:
    """Carry something to the workers in turn, with so many under way at a time."""
    addresses = list(client.nthreads())
    free = threading.Semaphore(window)

    def all_of_them() -> float:
        start = time.perf_counter()
        for number in range(count):
            free.acquire()
            carry(addresses[number % len(addresses)], free.release)
        for _ in range(window):
            free.acquire()
        for _ in range(window):
            free.release()
        return time.perf_counter() - start

    all_of_them()
    return {"seconds": all_of_them()}


def overhead(tasks: int, together: bool) -> dict[str, Any]:
    """Tasks that add two numbers."""
    from unittest.mock import PropertyMock, patch

    import wrenla as wl
    from wrenla.planning.plan import Plan

    with scratch(), cluster() as client, wl.DaskExecutor(client) as executor:
        side = round(tasks**0.5)
        Z = wl.zeros((side, side), tile=1)
        (Z - Z).persist(executor)  # so that pilots are there
        watch = Watch()
        alone = patch.object(Plan, "batch", PropertyMock(return_value=1))
        with nullcontext() if together else alone:
            start = time.perf_counter()
            stored = (Z + Z).persist(executor, callbacks=[watch])
            seconds = time.perf_counter() - start
        assert stored.norm().compute(executor) == 0
        return {"seconds": seconds, "tasks": side * side, "profile": watch.profile(seconds)}


def wrenla_cholesky(n: int, **_: Any) -> dict[str, Any]:
    import wrenla as wl

    memory = contestants.Memory()
    with scratch() as folder, cluster() as client, wl.DaskExecutor(client) as executor:
        return contestants.cholesky_on(executor, folder, n, None, True, memory)


def local_cholesky(n: int, **_: Any) -> dict[str, Any]:
    return contestants.wrenla_cholesky(n)


def dask_cholesky(n: int, chunk: int) -> dict[str, Any]:
    """From blocks in the workers' memory to blocks there."""
    import dask.array as da
    from distributed import wait

    with cluster():

        def block(block_info: Any = None) -> Any:
            rows, cols = (np.arange(*span) for span in block_info[None]["array-location"])
            return 0.999 ** np.abs(rows[:, None] - cols)

        shape = tuple(tuple(min(chunk, n - at) for at in range(0, n, chunk)) for _ in range(2))
        a = da.map_blocks(block, chunks=shape, dtype=float).persist()
        wait(a)
        warm_memory()
        start = time.perf_counter()
        L = da.linalg.cholesky(a, lower=True).persist()
        wait(L)
        seconds = time.perf_counter() - start
        residual = factor_residual(lambda v: (L @ v).compute(), lambda v: (L.T @ v).compute(), n)
        return {"seconds": seconds, "residual": residual}


def main() -> None:
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    print(json.dumps({**globals()[name](**arguments), "core": core()}))


if __name__ == "__main__":
    main()
