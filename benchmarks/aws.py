"""The Lambda emulator: what a call costs beside the emulator's own floor, and a Cholesky through it.

Each contestant is a function below, run in a process of its own, that prints one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import sys
import time
from typing import Any

import numpy as np

import wrenla as wl
from benchmarks.contest import compete
from benchmarks.figure import Figure
from benchmarks.floor import measure
from wrenla.emulator import LambdaEmulator
from wrenla.run.events import Event, RunFinished
from wrenla_handler.versions import packages
from wrenla_kernels import scipy_blas_info

MB = 1e6


def figures(rounds: int) -> list[Figure]:
    """Run all of it."""
    return [*_calls(rounds), *_cholesky(rounds), *_many()]


def _calls(rounds: int) -> list[Figure]:
    work = "1,000 trivial calls on a Lambda emulator, concurrency 8"
    print(f"{work}: its peer is the emulator's own floor, raw requests to a function that returns its event")
    c = compete(["lambda_calls"], {"calls": 1000, "concurrency": 8}, rounds=rounds, module=__spec__.name)
    runs = c["lambda_calls"].runs
    if not runs:
        return []
    run = c["lambda_calls"].median_run
    each, floor = run["seconds"] * 1e3 / 1000, run["floor"] * 1e3
    note = f"{each:.2f} ms a call, floor {floor:.2f} ms; ${run['dollars']:.6f}"
    return [Figure(work, "overhead a call over the floor", each - floor, 5, 5, "ms", True, note)]


def _cholesky(rounds: int) -> list[Figure]:
    work = "Cholesky n = 4096, tile 512, 4 invocations at a time, S3 by moto"
    print(f"{work}: its peer is the same plan in threads of this machine on the same store")
    arguments = {"n": 4096, "tile": 512, "workers": 4}
    c = compete(["lambda_cholesky"], arguments, rounds=rounds, module=__spec__.name)["lambda_cholesky"]
    if not c.runs:
        return []
    for run in c.runs:
        assert run["puts"] == run["tasks"], run
        assert run["gets"] + run["hits"] == run["reads"], run
        assert run["residual"] <= 1, run
    run = c.median_run
    note = (
        f"{run['seconds']:.1f} s, ${run['dollars']:.4f}; {run['puts']} PUTs = {run['tasks']} tasks, "
        f"{run['gets']} GETs + {run['hits']} hits = {run['reads']} reads, residual {run['residual']:.2g}"
    )
    return [Figure(work, "threads here / Lambda", run["here"] / run["seconds"], None, None, note=note)]


def _many() -> list[Figure]:
    work = "2,000 concurrent calls of 20 s, stub endpoint"
    print(work)
    c = compete(["lambda_many"], {"calls": 2000, "seconds": 20.0}, rounds=1, module=__spec__.name)[
        "lambda_many"
    ]
    if not c.runs:
        return []
    run = c.median_run
    assert run["answered"] == 2000, run
    note = f"all answered in {run['seconds']:.1f} s, {run['together']} at a time"
    return [Figure(work, "driver's peak memory", run["peak"] / MB, 400, 400, "MB", True, note)]


# contestants


def lambda_calls(calls: int, concurrency: int) -> dict[str, Any]:
    """Time warm calls, and the floor before and after them."""
    with LambdaEmulator(memory=1769) as aws, wl.LambdaExecutor(concurrency=concurrency) as executor:
        list(executor.map(abs, range(20 * concurrency)))
        before = measure(aws, calls, concurrency).per_call
        start = time.perf_counter()
        results = list(executor.map(abs, range(calls)))
        seconds = time.perf_counter() - start
        after = measure(aws, calls, concurrency).per_call
        assert results == list(range(calls))
        return {"seconds": seconds, "floor": (before + after) / 2, "dollars": executor.spent}


def lambda_cholesky(n: int, tile: int, workers: int) -> dict[str, Any]:
    """Time a factorization of a stored matrix into another one, there and here."""

    def entries(i: Any, j: Any) -> Any:
        return 0.9 ** abs(i[:, None] - j)

    u = np.finfo(float).eps / 2
    with LambdaEmulator(memory=1769) as aws, wl.LambdaExecutor(concurrency=workers) as executor:
        root = f"s3://{aws.bucket}/{aws.prefix}"
        A = wl.from_function(entries, (n, n), tile, structure="pos").save(f"{root}/A", executor)
        plan = wl.plan(A.cholesky(), executor=executor)
        events: list[Event] = []
        spent = executor.spent
        start = time.perf_counter()
        L = A.cholesky().save(f"{root}/L", executor, callbacks=[events.append])
        seconds = time.perf_counter() - start
        spent = executor.spent - spent
        totals = next(event for event in events if isinstance(event, RunFinished)).totals
        with wl.LocalExecutor(workers, allowed_mem="2 GiB") as local:
            start = time.perf_counter()
            A.cholesky().save(f"{root}/M", local)
            here = time.perf_counter() - start
            x = np.random.default_rng(0).standard_normal(n)
            dense = A.compute(local)
            low = L.compute(local)
            difference = np.linalg.norm(low @ (low.T @ x) - dense @ x)
            residual = difference / (n * u * np.linalg.norm(dense) * np.linalg.norm(x))
    return {
        "seconds": seconds,
        "here": here,
        "dollars": spent,
        "puts": totals.puts,
        "tasks": plan.tasks,
        "gets": totals.gets,
        "hits": totals.cache_hits,
        "reads": plan.reads,
        "residual": float(residual),
        "core": scipy_blas_info().architecture,
    }


def lambda_many(calls: int, seconds: float) -> dict[str, Any]:
    """Wait for many slow calls at once, on an endpoint that only sleeps; the driver's own memory."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_sleeping_endpoint, args=(there, seconds), daemon=True)
    process.start()
    port = here.recv()
    os.environ |= {
        "AWS_ENDPOINT_URL_LAMBDA": f"http://127.0.0.1:{port}",
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with wl.LambdaExecutor(concurrency=calls) as executor:
        start = time.perf_counter()
        answered = sum(x == 7 for x in executor.map(abs, range(calls)))
        elapsed = time.perf_counter() - start
    here.send("end")
    together = here.recv()
    process.join()
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))
    return {"seconds": elapsed, "answered": answered, "together": together, "peak": peak}


def _sleeping_endpoint(pipe: Any, seconds: float) -> None:
    """Serve what looks like AWS Lambda and an S3 that takes everything; every call takes a while and is 7."""
    import pickle

    from wrenla_handler.calls.messages import Response
    from wrenla_handler.serialize.blobs import pack

    seven = pack([pickle.dumps(7)], lambda number, part: "")
    configuration = {
        "FunctionName": "wrenla",
        "FunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:wrenla",
        "MemorySize": 1769,
        "Timeout": 60,
        "Environment": {"Variables": {"WRENLA_BUCKET": "bucket", "WRENLA_PREFIX": "wrenla"}},
    }
    version = ".".join(map(str, sys.version_info[:3]))
    pong = {
        "version": 2,
        "kind": "pong",
        "python": version,
        "packages": packages(),
        "blas": {},
        "memory": 1769,
    }
    now, most = 0, 0

    async def answer(method: str, path: str, body: bytes) -> bytes:
        nonlocal now, most
        if "/invocations" not in path:
            if "/functions/" in path:
                return json.dumps(configuration).encode()
            return (
                b'<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>'
            )
        event = json.loads(body)
        if event["kind"] == "ping":
            return json.dumps(pong).encode()
        now += 1
        most = max(most, now)
        await asyncio.sleep(seconds)
        now -= 1
        return Response(event["id"], event["attempt"], "value", seven).encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                method, path, _ = line.decode().split(" ", 2)
                headers = {}
                while (header := (await reader.readline()).decode().strip()) != "":
                    name, _, value = header.partition(":")
                    headers[name.lower()] = value.strip()
                if headers.get("expect"):
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                content = b"" if method in ("PUT", "DELETE") else await answer(method, path, body)
                head = f'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: {len(content)}\r\n\r\n'
                writer.write(head.encode() + content)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return  # whoever hangs up has a reason, and at the end all do
        finally:
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
        pipe.send(server.sockets[0].getsockname()[1])
        while not pipe.poll():
            await asyncio.sleep(0.2)
        pipe.send(most)

    asyncio.run(run())


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](**json.loads(sys.argv[2]))))
