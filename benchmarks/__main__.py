"""All benchmarks: each figure beside its peer from the same run, and where the rest of the time goes."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import click
from threadpoolctl import threadpool_info

from benchmarks import (
    accuracy,
    against,
    aws,
    dask_cluster,
    forecast,
    imports,
    kernels,
    long_sum,
    lu,
    model,
    operator,
    solve,
)
from benchmarks import map as calls
from benchmarks.accuracy import Accuracy
from benchmarks.contest import compete, ratio, show_profile
from benchmarks.figure import Figure
from benchmarks.forecast import Predicted

GIB = 2.0**30
RESULTS = Path(__file__).parent / "results"

Row: TypeAlias = Figure | Accuracy | Predicted


def cholesky(rounds: int) -> list[Figure]:
    figures = []
    for n, must, goal in ((14336, 0.85, 0.95), (8192, 0.75, 0.9)):
        work = f"Cholesky n = {n}, disk to disk"
        print(f"{work}: peers are LAPACK in memory and in place, SciPy, dask.array with threads")
        names = ["wrenla_cholesky", "lapack_dpotrf"]
        if n == 14336:
            names += ["scipy_cholesky", "dask_cholesky"]
        c = compete(names, {"n": n, "chunk": 1024}, rounds=rounds)
        ours = c["wrenla_cholesky"]
        figures += ratio(work, ours, c["lapack_dpotrf"], must, goal)
        if n == 14336:
            figures += ratio(work, ours, c["scipy_cholesky"], 1, 1.1)
            figures += ratio(work, ours, c["dask_cholesky"], 1.5, 1.8)
        show_profile(ours)
    return figures


def matmul(rounds: int) -> list[Figure]:
    work = "matmul n = 8192, disk to disk"
    print(f"{work}: peers are NumPy in memory, dask.array with threads")
    c = compete(["wrenla_matmul", "numpy_matmul", "dask_matmul"], {"n": 8192, "chunk": 2048}, rounds=rounds)
    ours = c["wrenla_matmul"]
    figures = ratio(work, ours, c["numpy_matmul"], 0.85, 0.95)
    figures += ratio(work, ours, c["dask_matmul"], 1, 1)
    show_profile(ours)
    return figures


def out_of_core(rounds: int) -> list[Figure]:
    work = "Cholesky n = 40000 within 2 GiB"
    print(f"{work}: its peer is our own n = 14336")
    small = compete(["wrenla_cholesky"], {"n": 14336}, rounds=rounds)["wrenla_cholesky"]
    large = compete(["wrenla_cholesky"], {"n": 40000, "allowed": "2 GiB"}, rounds=1, timeout=1800)[
        "wrenla_cholesky"
    ]
    show_profile(large)
    if not (small.runs and large.runs):
        return []
    peak = large.median_run["peak"]
    return [
        Figure(work, "peak memory over the interpreter's", peak / GIB, 2, 2, "GiB", True),
        Figure(
            work,
            "rate / rate at n = 14336",
            (40000 / 14336) ** 3 * small.seconds / large.seconds,
            0.75,
            0.95,
            note=f"{40000**3 / 3 / large.seconds / 1e9:.0f} GFLOP/s",
        ),
    ]


def page_cache(rounds: int) -> list[Figure]:
    """The same again with all memory, page cache included, limited by a control group: printed, no target."""
    print("Cholesky n = 40000 within 2 GiB, the page cache limited to 3 GiB by a control group:")
    limited = in_control_group(3 << 30, {"n": 40000, "allowed": "2 GiB", "warm": False})
    if isinstance(limited, str):
        print(f"    not measured: {limited}")
    else:
        print(f"    {40000**3 / 3 / limited['seconds'] / 1e9:.0f} GFLOP/s, {limited['seconds']:.0f} s")
        print("    " + json.dumps(limited["profile"]))
    return []


def in_control_group(limit: int, arguments: dict[str, Any]) -> dict[str, Any] | str:
    """Run our Cholesky with all its memory, page cache included, limited; v1 control groups only."""
    try:
        own = next(
            line.split(":")[2].strip()
            for line in Path("/proc/self/cgroup").read_text().splitlines()
            if line.split(":")[1] == "memory"
        )
        group = Path(f"/sys/fs/cgroup/memory{own}/wrenla-bench-{os.getpid()}")
        group.mkdir()
    except (OSError, StopIteration) as error:
        return f"no control group can be made here ({error or 'no v1 memory controller'})"
    try:
        (group / "memory.limit_in_bytes").write_text(str(limit))
        command = [sys.executable, "-m", "benchmarks.contestants", "wrenla_cholesky", json.dumps(arguments)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=3600,
            preexec_fn=lambda: (group / "cgroup.procs").write_text(str(os.getpid())),
        )
        if done.returncode:
            return f"exit {done.returncode}: {done.stderr[-200:]}"
        result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return result
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    finally:
        group.rmdir()


def overhead(rounds: int) -> list[Figure]:
    figures = []
    for store in ("disk", "memory"):
        work = f"10,000 trivial tile tasks, tiles in {'a folder' if store == 'disk' else 'memory'}"
        print(work)
        c = compete(["wrenla_overhead"], {"tasks": 10000, "store": store}, rounds=rounds)["wrenla_overhead"]
        show_profile(c)
        if c.runs:
            each = c.seconds / c.median_run["tasks"] * 1e3
            figures.append(Figure(work, "milliseconds a task, all included", each, 0.2, 0.05, "ms", True))
    for order, laid in (("C", "rows"), ("F", "columns")):
        work = f"naming an array of 512 MB, stored by {laid}, by its content"
        print(work)
        c = compete(["name_array"], {"megabytes": 512, "order": order}, rounds=rounds)["name_array"]
        if c.runs:
            run = c.median_run
            rate, share = run["bytes"] / run["seconds"] / 1e9, run["summed"] / run["seconds"]
            note = f"{share:.2f} × the rate of numpy.sum"
            figures.append(Figure(work, "rate", rate, 2.0, 2.0, "GB/s", note=note))
    return figures


def planning(rounds: int) -> list[Figure]:
    figures = []
    for N, seconds in ((64, 0.5), (256, 10.0)):
        work = f"planning Cholesky, N = {N}"
        print(work)
        c = compete(["plan_cholesky"], {"N": N, "workers": 300}, rounds=rounds)["plan_cholesky"]
        if c.runs:
            run = c.median_run
            note = f"{run['tasks']:,} tasks, {run['cut']}"
            figures.append(Figure(work, "seconds", c.seconds, seconds, seconds, "s", True, note))
            figures.append(Figure(work, "memory", run["peak"] / 2**20, 256, 256, "MiB", True))
    return figures


def gemm_threads(rounds: int) -> list[Figure]:
    from benchmarks import gemm_threads as threads

    print("gemm in two threads; beside it SciPy's wrapper, which keeps the GIL")
    figures = []
    for order, measured in threads.run()["orders"].items():
        ours, wrapped = measured["kernels"]["speedup"], measured["with_gil"]["speedup"]
        print(f"  {order}: " + json.dumps(measured["single_thread"]))
        figures.append(
            Figure(f"gemm {order}", "two threads / one", ours, 1.8, 1.95, note=f"SciPy's own {wrapped:.2f}")
        )
    return figures


BENCHMARKS: dict[str, Callable[[int], Sequence[Row]]] = {
    "gemm_threads": gemm_threads,
    "planning": planning,
    "forecast": forecast.figures,
    "overhead": overhead,
    "cholesky": cholesky,
    "matmul": matmul,
    "solve": solve.figures,
    "operator": operator.figures,
    "out_of_core": out_of_core,
    "page_cache": page_cache,
    "long_sum": long_sum.figures,
    "lu": lu.figures,
    "kernels": kernels.figures,
    "model": model.figures,
    "map": calls.figures,
    "dask_cluster": dask_cluster.figures,
    "aws": aws.figures,
    "imports": imports.figures,
    "accuracy": accuracy.figures,
}


def machine() -> dict[str, Any]:
    """Describe what the figures were measured on."""
    processor = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "?",
    )
    return {
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "blas": [{k: v for k, v in info.items() if k != "filepath"} for info in threadpool_info()],
    }


def table(found: Sequence[Row]) -> str:
    """Return one table for each kind of line, below what is to be known of it."""
    parts = []
    for kind in dict.fromkeys(type(f) for f in found):
        rows = [kind.HEAD, *(f.row for f in found if type(f) is kind)]
        head, *body = ("| " + " | ".join(row) + " |" for row in rows)
        parts += [kind.ABOUT] if kind.ABOUT else []
        parts.append("\n".join([head, "|" + "---|" * len(kind.HEAD), *body]))
    return "\n\n".join(parts)


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([*BENCHMARKS, "against"]))
@click.option("--rounds", default=3, show_default=True, help="Runs of each contestant; medians are compared.")
@click.option("--base", default="", help="An earlier commit that `against` compares this tree with.")
@click.option("--save/--no-save", default=True, show_default=True, help="Write benchmarks/results/.")
def main(names: tuple[str, ...], rounds: int, base: str, save: bool) -> None:
    """Run all benchmarks, or those named. Contestants run in turn; ratios are of medians of one run."""
    import numpy  # noqa: F401  so that threadpool_info sees its BLAS
    import scipy.linalg  # noqa: F401

    about = machine()
    print(json.dumps(about, indent=1))
    figures: list[Row] = []
    for name in names or BENCHMARKS:
        figures += against.figures(rounds, base) if name == "against" else BENCHMARKS[name](rounds)
        print(flush=True)
    text = table(figures)
    print(text)
    if save:
        today = datetime.date.today().isoformat()
        stem = f"{today}-{'-'.join(names) if names else 'all'}"
        RESULTS.mkdir(exist_ok=True)
        record = {"date": today, "machine": about, "rounds": rounds, "figures": [asdict(f) for f in figures]}
        (RESULTS / f"{stem}.json").write_text(json.dumps(record, indent=1) + "\n")
        described = (
            f"{about['cores']} × {about['processor']}, {about['memory_gib']} GiB, Python {about['python']}"
        )
        blas = ", ".join(
            f"{b.get('internal_api')} {b.get('version')} on {b.get('architecture')}" for b in about["blas"]
        )
        timed = any(isinstance(f, Figure) for f in figures)
        medians = f" Medians of {rounds} rounds, contestants in turn." if timed else ""
        (RESULTS / f"{stem}.md").write_text(f"# {today}\n\n{described}; {blas}.{medians}\n\n{text}\n")
    if any(f.verdict.startswith("MISSED") for f in figures):
        sys.exit(1)


if __name__ == "__main__":
    main()
