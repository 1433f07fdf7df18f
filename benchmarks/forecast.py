"""Simulated runs: beside measured ones, and of a million rows on functions."""

from __future__ import annotations

import json
import math
import os
import resource
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, ClassVar
from unittest.mock import patch

import boto3

from benchmarks.contest import compete
from benchmarks.contestants import core, kms, scratch
from benchmarks.dask_cluster import cluster
from benchmarks.figure import Figure

MILLION, TILE = 1 << 20, 4096
TIB = 2.0**40


@dataclass(frozen=True)
class Predicted:
    """A simulated run of a large factorization."""

    HEAD: ClassVar = (
        "functions",
        "memory each",
        "sums",
        "tasks",
        "time",
        "dollars",
        "functions busy, on average",
        "moved",
        "over the lower bound",
    )
    ABOUT: ClassVar = (
        f"Cholesky of {MILLION:,} rows in tiles of {TILE:,}, simulated on AWS Lambda. Each 1,769 MB are a "
        "processor of 30 GFLOP/s; S3 gives each function 75 MB/s, each way, and none reads while computing; "
        "an invocation takes 30 ms, a cold start 2 s, which is billed; 1,000 functions start at once and 100 "
        "more in each second; a function keeps tiles for which it has room; neither requests to S3 nor the "
        "bytes of all functions together are limited. Dollars are those of us-east-1 (prices.toml): compute, "
        "requests, storage while it runs. The lower bound of bytes is n³ / (3 √2 √M) words, M words of "
        "memory a function (Beaumont, Eyraud-Dubois, Langou, Vérité, SPAA 2022)."
    )
    verdict = ""

    workers: int
    memory: int
    cut: str
    tasks: int
    hours: float
    dollars: float
    busy: float
    moved: float
    bound: float

    @property
    def row(self) -> tuple[str, ...]:
        """The cells of its line."""
        return (
            f"{self.workers:,}",
            f"{self.memory:,} MB",
            self.cut,
            f"{self.tasks:,}",
            f"{self.hours:.2f} h",
            f"${self.dollars:,.0f}",
            f"{self.busy:,.0f}",
            f"{self.moved:,.0f} TiB",
            f"{self.moved / self.bound:.1f} ×",
        )


def figures(rounds: int) -> list[Figure | Predicted]:
    """Simulate what runs here, and what does not."""
    return [*_measured(rounds), *_million()]


def _million() -> list[Figure | Predicted]:
    found: list[Figure | Predicted] = []
    seconds = peak = 0.0
    for memory in (1769, 3538):
        for workers in (1000, 3000, 10_000):
            print(f"Cholesky n = {MILLION:,} on {workers:,} functions of {memory:,} MB, simulated")
            arguments = {"workers": workers, "memory": memory}
            c = compete(["million"], arguments, rounds=1, module=__spec__.name)["million"]
            if c.runs:
                run = c.median_run
                seconds, peak = max(seconds, run["seconds"]), max(peak, run["peak"])
                found.append(Predicted(workers, memory, *(run[name] for name in _COLUMNS)))
    if found:
        work = f"planning and simulating Cholesky n = {MILLION:,}, the worst of {len(found)}"
        found.append(Figure(work, "seconds", seconds, 60, 60, "s", True))
        found.append(Figure(work, "memory", peak / 2**20, 1024, 1024, "MiB", True))
    return found


_COLUMNS = ("cut", "tasks", "hours", "dollars", "busy", "moved", "bound")


def _measured(rounds: int) -> list[Figure]:
    found = []
    for engine, n in (("local", 8192), ("dask", 8192), ("emulator", 4096)):
        print(f"Cholesky n = {n} on {engine}: simulated beside measured")
        arguments = {"engine": engine, "n": n}
        c = compete(["simulated"], arguments, rounds=rounds, module=__spec__.name)["simulated"]
        if c.runs:
            run = c.median_run
            note = f"{run['simulated']:.3g} s simulated, {run['seconds']:.3g} s measured"
            off = abs(run["simulated"] / run["seconds"] - 1)
            work = f"Cholesky n = {n}, store to store, on {engine}"
            found.append(Figure(work, "|simulated / measured − 1|", off, 0.25, 0.1, "", True, note))
    return found


# contestants


def million(workers: int, memory: int) -> dict[str, Any]:
    """Plan and simulate a factorization; memory is the process's own peak over that after the imports."""
    import wrenla as wl

    A = wl.from_function(kms, (MILLION, MILLION), TILE, structure="pos")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    engine = wl.Engine.aws_lambda(workers=workers, memory=memory)
    plan = wl.plan(A.cholesky(), executor=engine)
    found = plan.simulate()
    seconds = time.perf_counter() - start
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    words = plan.model.allowed_bytes / 8
    return {
        "seconds": seconds,
        "peak": peak,
        "cut": str(plan.cut),
        "tasks": plan.tasks,
        "hours": found.seconds / 3600,
        "dollars": found.dollars,
        "busy": found.parallelism,
        "moved": (found.bytes_read + found.bytes_written) / TIB,
        "bound": 8 * float(MILLION) ** 3 / (3 * math.sqrt(2) * math.sqrt(words)) / TIB,
    }


def simulated(engine: str, n: int) -> dict[str, Any]:
    """Factor a stored matrix into another one, and simulate that before, by rates that are measured now."""
    import wrenla as wl
    from wrenla.aws.doctor import examine
    from wrenla.aws.spec import DeploySpec
    from wrenla.emulator import LambdaEmulator
    from wrenla.forecast.forecast import forecast

    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        # not those that were kept: others may have been at work then
        cache = stack.enter_context(patch.dict(os.environ, XDG_CACHE_HOME=f"{folder}/cache"))
        executor: wl.Executor
        if engine == "dask":
            executor = stack.enter_context(wl.DaskExecutor(stack.enter_context(cluster())))
        elif engine == "emulator":
            del cache["XDG_CACHE_HOME"]  # the package is there, and the function is new
            aws = stack.enter_context(LambdaEmulator(memory=1769))
            checks = examine(boto3.Session(), DeploySpec())
            assert all(check.state != "failed" for check in checks)
            executor = stack.enter_context(wl.LambdaExecutor(concurrency=2))
            folder = f"s3://{aws.bucket}/{aws.prefix}"
        else:
            executor = stack.enter_context(wl.LocalExecutor())
        A = wl.from_function(kms, (n, n), n // 8, structure="pos").save(f"{folder}/A", executor)
        A.cholesky().save(f"{folder}/warm", executor)
        # the workers have just worked
        warm = wl.Engine(cold_start=0.0)
        expected = forecast([A.cholesky()._node], executor, saved=True).simulate(warm).seconds
        start = time.perf_counter()
        L = A.cholesky().save(f"{folder}/L", executor)
        seconds = time.perf_counter() - start
        norm = float(A.norm().compute(executor))
        residual = float((L @ L.T - A).norm().compute(executor)) / (n * 2.0**-53 * norm)
        assert residual <= 16, residual
    return {"seconds": seconds, "simulated": expected, "core": core()}


def main() -> None:
    """Run one contestant."""
    print(json.dumps(globals()[sys.argv[1]](**json.loads(sys.argv[2]))))


if __name__ == "__main__":
    main()
