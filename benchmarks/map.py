"""The map API beside the standard library's process pool, Dask and Lithops.

Each contestant is a function below, run in a process of its own, that prints one JSON line.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contest import compete
from benchmarks.figure import Figure

MIB = 1 << 20
WORKERS = len(os.sched_getaffinity(0))


def figures(rounds: int) -> list[Figure]:
    """Run all contests."""
    parts = (_trivial, _uneven, _example, _stream, _broadcast, _words)
    return [figure for part in parts for figure in part(rounds)]


def _trivial(rounds: int) -> list[Figure]:
    work = "1,000 trivial calls, warm"
    print(f"{work}: peers are ProcessPoolExecutor, Dask's local cluster, and (once) Lithops on localhost")
    names = ["wrenla_calls", "pool_calls", "dask_calls", "wrenla_threads"]
    c = compete(names, {"calls": 1000}, rounds=rounds, module=__spec__.name)
    c |= compete(["lithops_calls"], {"calls": 1000}, rounds=1, module=__spec__.name)
    for name, contestant in c.items():
        said = "; ".join(contestant.failures[:1]) if not contestant.runs else f"{contestant.seconds:.3f} s"
        print(f"  {name}: {said}")
    ours = c["wrenla_calls"]
    peers = ", ".join(f"{name[:-6]} {c[name].seconds:.3g} s" for name in c if name.endswith("_calls"))
    found = [Figure(work, "seconds", ours.seconds, 0.3, 0.1, "s", True, peers)]
    return found + [
        Figure(work, f"{name[:-6]} / wrenla", c[name].seconds / ours.seconds, None, None)
        for name in ("pool_calls", "dask_calls", "lithops_calls")
        if c[name].runs
    ]


def _uneven(rounds: int) -> list[Figure]:
    """Calls sent ahead, which can be given back, beside two kinds of chunks; what each loses with a worker.

    Chunks of `map` hold up what is behind a long call. Those that end early return what is behind it when it
    has ended, and it is sent again.
    """
    found = []
    for slow, work in (
        (0, "1,000 trivial calls"),
        (984, "984 trivial calls, then 16 of 0.1 s"),
        (480, "1,000 trivial calls but 16 of 0.1 s, one after the other in the middle"),
        (-1, "1,000 trivial calls, one of which kills its worker"),
    ):
        print(f"{work}: sent ahead, in chunks of 16, and in chunks that end early; ProcessPoolExecutor")
        names = ["wrenla_ahead", "wrenla_chunks", "wrenla_early", "pool_uneven"]
        if slow < 0:
            c = compete(names[:2], {"slow": slow}, rounds=1, module=__spec__.name)
            found += [Figure(work, f"lost, {name}", c[name].runs[0]["lost"], None, None, "") for name in c]
            continue
        c = compete(names, {"slow": slow}, rounds=rounds, module=__spec__.name)
        ours = c["wrenla_ahead"]
        for name in names[1:]:
            said = f"{c[name].seconds:.3f} s against {ours.seconds:.3f} s"
            ratio = c[name].seconds / ours.seconds
            found.append(Figure(work, f"{name} / wrenla", ratio, None, None, "×", True, said))
        found += [
            Figure(work, f"driver's time, {name}", c[name].median_run["cpu"], None, None, "s")
            for name in names[:3]
        ]
    return found


def _example(rounds: int) -> list[Figure]:
    work = "PyWren's example, 1,000 calls"
    print(work)
    c = compete(["wrenla_example", "pool_example"], {}, rounds=rounds, module=__spec__.name)
    ours, pool = c["wrenla_example"], c["pool_example"]
    note = f"{ours.seconds:.2f} s, ProcessPoolExecutor {pool.seconds:.2f} s"
    different = min(run["different"] for run in ours.runs)
    return [
        Figure(work, "results that differ", different, 1000, 1000, "", note=note),
        Figure(work, "pool / wrenla", pool.seconds / ours.seconds, None, None),
    ]


def _stream(rounds: int) -> list[Figure]:
    work = "100,000 trivial calls, buffersize=1000"
    print(work)
    c = compete(["wrenla_stream"], {"calls": 100_000}, rounds=rounds, module=__spec__.name)["wrenla_stream"]
    peak = max(run["peak"] for run in c.runs) / 1e6
    return [
        Figure(work, "seconds", c.seconds, 30, 30, "s", True),
        Figure(work, "driver's peak memory", peak, 300, 300, "MB", True),
    ]


def _broadcast(rounds: int) -> list[Figure]:
    work = "100 MB broadcast to 200 calls"
    print(work)
    c = compete(["wrenla_broadcast"], {"calls": 200}, rounds=rounds, module=__spec__.name)["wrenla_broadcast"]
    run = c.median_run
    note = f"compute alone {run['compute']:.2f} s"
    return [
        Figure(work, "seconds over compute", c.seconds, 2, 2, "s", True, note),
        Figure(work, "reads for each worker", max(r["reads"] for r in c.runs) / WORKERS, 1, 1, "", True),
        Figure(work, "objects stored", max(r["stored"] for r in c.runs), 1, 1, "", True),
    ]


def _words(rounds: int) -> list[Figure]:
    work = "word count of 1 GB of text, 64 MiB at a time"
    print(work)
    c = compete(["wrenla_words"], {"megabytes": 1000}, rounds=1, module=__spec__.name)["wrenla_words"]
    if not c.runs:
        print("  " + "; ".join(c.failures))
        return []
    run = c.median_run
    rate = f"{c.seconds:.1f} s, {1000 / c.seconds:.0f} MB/s"
    return [Figure(work, "peak of driver, of any worker", run["peak"] / 1e6, 300, 300, "MB", True, rate)]


# contestants


@contextmanager
def _executor(**arguments: Any) -> Iterator[Any]:
    import wrenla as wl

    with tempfile.TemporaryDirectory() as folder:
        os.environ["WRENLA_STORE"] = folder
        with wl.LocalExecutor(WORKERS, **arguments) as executor:
            list(executor.map(_same, range(10 * WORKERS)))  # warm
            yield executor


def _timed(run: Callable[[], list[int]], calls: int) -> dict[str, Any]:
    start = time.perf_counter()
    result = run()
    seconds = time.perf_counter() - start
    assert result == list(range(calls))
    return {"seconds": seconds}


def _same(x: int) -> int:
    """Do nothing. (Lithops takes no built-in functions.)"""
    return x


def wrenla_calls(calls: int) -> dict[str, Any]:
    with _executor() as executor:
        return _timed(lambda: list(executor.map(_same, range(calls))), calls)


def _sleep(x: tuple[int, float]) -> int:
    if x[1] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    if x[1]:
        time.sleep(x[1])
    return x[0]


def _uneven_inputs(slow: int) -> list[tuple[int, float]]:
    """Return inputs, of which 16 take long from a number on; if it is negative, one kills its worker."""
    if slow < 0:
        return [(x, -1.0 if x == 500 else 0.0) for x in range(1000)]
    return [(x, 0.1 if slow and slow <= x < slow + 16 else 0.0) for x in range(1000)]


def _timed_calls(run: Callable[[], list[int]]) -> dict[str, Any]:
    began = time.process_time()
    timed = _timed(run, 1000)
    return {**timed, "cpu": time.process_time() - began}


def wrenla_ahead(slow: int, chunksize: int = 1) -> dict[str, Any]:
    inputs = _uneven_inputs(slow)
    with _executor() as executor:
        list(executor.map(_sleep, inputs[:50], chunksize=chunksize))
        if slow >= 0:
            return _timed_calls(lambda: list(executor.map(_sleep, inputs, chunksize=chunksize)))
        start = time.perf_counter()
        results = list(executor.map(_sleep, inputs, chunksize=chunksize, return_exceptions=True))
        lost = sum(isinstance(result, Exception) for result in results)
        return {"seconds": time.perf_counter() - start, "lost": lost}


def wrenla_chunks(slow: int) -> dict[str, Any]:
    return wrenla_ahead(slow, 16)


_EARLY = 5e-3
"""Seconds after which a chunk begins no other call."""


def _until_late(inputs: list[tuple[int, float]]) -> list[int]:
    end, done = time.monotonic() + _EARLY, list[int]()
    while len(done) < len(inputs) and (not done or time.monotonic() < end):
        done.append(_sleep(inputs[len(done)]))
    return done


def wrenla_early(slow: int) -> dict[str, Any]:
    """Chunks that end early: what they have not done is sent again, one by one."""
    inputs = _uneven_inputs(slow)

    def mapped(executor: Any, inputs: list[tuple[int, float]]) -> list[int]:
        results = dict[int, int]()
        chunks = [inputs[start : start + 16] for start in range(0, len(inputs), 16)]
        waiting = dict(zip(executor.submit_many(_until_late, chunks), chunks, strict=True))
        while waiting:
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                chunk, done = waiting.pop(future), future.result()
                results.update((number, number) for number in done)
                rest = [[one] for one in chunk[len(done) :]]
                if rest:
                    waiting |= zip(executor.submit_many(_until_late, rest), rest, strict=True)
        return [results[number] for number, _ in inputs]

    with _executor() as executor:
        mapped(executor, inputs[:50])
        return _timed_calls(lambda: mapped(executor, inputs))


def pool_uneven(slow: int) -> dict[str, Any]:
    with ProcessPoolExecutor(WORKERS) as pool:
        list(pool.map(_same, range(10 * WORKERS)))
        return _timed(lambda: list(pool.map(_sleep, _uneven_inputs(slow))), 1000)


def wrenla_threads(calls: int) -> dict[str, Any]:
    with _executor(kind="thread") as executor:
        return _timed(lambda: list(executor.map(_same, range(calls))), calls)


def pool_calls(calls: int) -> dict[str, Any]:
    with ProcessPoolExecutor(WORKERS) as pool:
        list(pool.map(_same, range(10 * WORKERS)))
        return _timed(lambda: list(pool.map(_same, range(calls))), calls)


def dask_calls(calls: int) -> dict[str, Any]:
    from distributed import Client

    with Client(n_workers=WORKERS, threads_per_worker=1, dashboard_address="127.0.0.1:0") as client:
        client.gather(client.map(_same, range(10 * WORKERS)))
        return _timed(lambda: client.gather(client.map(_same, range(calls), pure=False)), calls)


def lithops_calls(calls: int) -> dict[str, Any]:
    from lithops import FunctionExecutor

    # it starts "python", whichever that is
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with tempfile.TemporaryDirectory() as folder:
        config = {
            "lithops": {"backend": "localhost", "storage": "localhost", "monitoring_interval": 1},
            "localhost_storage": {"storage_root": folder},
        }
        with FunctionExecutor(config=config, log_level="ERROR") as executor:
            executor.get_result(executor.map(_same, range(2)))
            return _timed(lambda: executor.get_result(executor.map(_same, range(calls))), calls)


def my_function(b: float) -> float:
    """PyWren's example, which a program does 1,000 times with other values of b; smaller matrices."""
    x = np.random.normal(0, b, 256)
    A = np.random.normal(0, b, (256, 256))
    return float(np.dot(A, x)[0])


def wrenla_example() -> dict[str, Any]:
    with _executor() as executor:
        start = time.perf_counter()
        results = list(executor.map(my_function, np.linspace(0.1, 100, 1000)))
        return {"seconds": time.perf_counter() - start, "different": len(set(results))}


def pool_example() -> dict[str, Any]:
    with ProcessPoolExecutor(WORKERS) as pool:
        list(pool.map(_same, range(10 * WORKERS)))
        start = time.perf_counter()
        results = list(pool.map(my_function, np.linspace(0.1, 100, 1000)))
        return {"seconds": time.perf_counter() - start, "different": len(set(results))}


def wrenla_stream(calls: int) -> dict[str, Any]:
    with _executor() as executor:
        start = time.perf_counter()
        for expected, result in enumerate(executor.map(_same, iter(range(calls)), buffersize=1000)):
            assert result == expected
        seconds = time.perf_counter() - start
        assert expected == calls - 1
        return {"seconds": seconds, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def _part(number: int, array: Any) -> float:
    return float(array[number::200].sum())


def wrenla_broadcast(calls: int) -> dict[str, Any]:
    array = np.random.default_rng(0).random(100_000_000 // 8)
    expected = [_part(number, array) for number in range(calls)]
    start = time.perf_counter()
    assert [_part(number, array) for number in range(calls)] == expected
    compute = (time.perf_counter() - start) / WORKERS
    with _executor() as executor:
        start = time.perf_counter()
        ref = executor.broadcast(array)
        assert list(executor.map(_part, range(calls), itertools.repeat(ref))) == expected
        seconds = time.perf_counter() - start
        large = [path for path in Path(os.environ["WRENLA_STORE"]).rglob("*") if path.stat().st_size > MIB]
        # the value is two objects: its memory, and the little that says what it is
        reads = executor.stats().gets
        return {"seconds": seconds - compute, "compute": compute, "reads": reads, "stored": len(large)}


def _count(part: Any) -> Counter[str]:
    found: Counter[str] = Counter()
    for line in part.lines():
        found.update(line.split())
    return found


def _together(counts: list[Counter[str]]) -> Counter[str]:
    return sum(counts, Counter())


def wrenla_words(megabytes: int) -> dict[str, Any]:
    import wrenla as wl

    words = re.findall(r"\w+", __doc__ or "")
    line = " ".join(words) + "\n"
    lines = megabytes * 1_000_000 // 8 // len(line)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(8):
            with open(f"{folder}/{number}.txt", "w") as file:
                for _ in range(lines // 1000):
                    file.write(line * 1000)
        with _executor() as executor:
            start = time.perf_counter()
            parts = wl.objects(folder, chunk="64 MiB")
            counted = executor.map_reduce(_count, parts, _together).result()
            seconds = time.perf_counter() - start
            workers = [
                future.stats.peak for future in executor.submit_many(abs, range(8)) if future.result() >= 0
            ]
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    repeated = Counter(words)
    assert counted == {word: 8 * (lines // 1000) * 1000 * n for word, n in repeated.items()}
    return {"seconds": seconds, "peak": max([own, *workers])}


def main() -> None:
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    print(json.dumps({**globals()[name](**arguments)}))


if __name__ == "__main__":
    main()
