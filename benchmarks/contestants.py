"""One measured run each: makes its input, runs, checks its result, prints one JSON line.

The matrix is Kac–Murdock–Szegő, ρ^|i−j| with ρ = 0.999: symmetric positive definite, exactly known, cheap.
"""

from __future__ import annotations

import json
import mmap
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

RHO = 0.999
U = 2.0**-53

Array = npt.NDArray[np.float64]


def kms(rows: npt.NDArray[np.int64], cols: npt.NDArray[np.int64]) -> Array:
    """Return a block of the matrix."""
    return np.asarray(RHO ** np.abs(rows[:, None] - cols))


def kms_array(n: int) -> Array:
    """Return the whole matrix in Fortran order; it is Toeplitz, so each column is a window of one vector."""
    line = RHO ** np.abs(np.arange(-n + 1, n))
    out = np.empty((n, n), order="F")
    for j in range(n):
        out[:, j] = line[n - 1 - j : 2 * n - 1 - j]
    return out


def kms_times(x: Array) -> Array:
    """Return the matrix times a vector in linear time: two first-order recurrences."""
    from scipy.signal import lfilter

    forward = lfilter([1.0], [1.0, -RHO], x, axis=0)
    backward = lfilter([1.0], [1.0, -RHO], x[::-1], axis=0)[::-1]
    return np.asarray(forward + backward - x)


def norm_one(n: int) -> float:
    """Return ‖A‖₁ = ‖A‖∞."""
    return float(kms_times(np.ones(n)).max())


def core() -> str:
    """Return the core type that SciPy's OpenBLAS runs on."""
    from wrenla_kernels import scipy_blas_info

    return str(scipy_blas_info().architecture)


def factor_residual(L_times: Callable[[Array], Array], LT_times: Callable[[Array], Array], n: int) -> float:
    """Return ‖L (Lᵀ v) − A v‖₁ / (n ‖A‖₁ ‖v‖₁ u) for a random v: the factorization's residual in n² work."""
    v = np.random.default_rng(1).standard_normal(n)
    gap = L_times(LT_times(v)) - kms_times(v)
    return float(np.abs(gap).sum() / (n * norm_one(n) * np.abs(v).sum() * U))


# what a user would take instead


def lapack_dpotrf(n: int, **_: Any) -> dict[str, Any]:
    """LAPACK in memory, in place, on a Fortran array, all cores."""
    from scipy.linalg.blas import dtrmv
    from scipy.linalg.lapack import dpotrf

    a = kms_array(n)
    warm_memory()
    start = time.perf_counter()
    L, info = dpotrf(a, lower=1, overwrite_a=1, clean=0)
    seconds = time.perf_counter() - start
    assert info == 0
    residual = factor_residual(lambda v: dtrmv(L, v, lower=1), lambda v: dtrmv(L, v, lower=1, trans=1), n)
    return {"seconds": seconds, "residual": residual}


def scipy_cholesky(n: int, **_: Any) -> dict[str, Any]:
    import scipy.linalg

    a = kms_array(n)
    warm_memory()
    start = time.perf_counter()
    L = scipy.linalg.cholesky(a, lower=True)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "residual": factor_residual(lambda v: L @ v, lambda v: L.T @ v, n)}


def dask_cholesky(n: int, chunk: int, **_: Any) -> dict[str, Any]:
    import dask
    import dask.array as da
    from threadpoolctl import threadpool_limits

    a = da.from_array(kms_array(n), chunks=chunk)
    with dask.config.set(scheduler="threads"), threadpool_limits(1):
        warm_memory()
        start = time.perf_counter()
        L = da.linalg.cholesky(a, lower=True).compute()
        seconds = time.perf_counter() - start
    return {"seconds": seconds, "residual": factor_residual(lambda v: L @ v, lambda v: L.T @ v, n)}


def numpy_matmul(n: int, **_: Any) -> dict[str, Any]:
    a, b = kms_array(n), kms_array(n)
    warm_memory()
    start = time.perf_counter()
    c = a @ b
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "residual": product_residual(lambda v: c @ v, n)}


def dask_matmul(n: int, chunk: int, **_: Any) -> dict[str, Any]:
    import dask
    import dask.array as da
    from threadpoolctl import threadpool_limits

    a, b = da.from_array(kms_array(n), chunks=chunk), da.from_array(kms_array(n), chunks=chunk)
    with dask.config.set(scheduler="threads"), threadpool_limits(1):
        warm_memory()
        start = time.perf_counter()
        c = (a @ b).compute()
        seconds = time.perf_counter() - start
    return {"seconds": seconds, "residual": product_residual(lambda v: c @ v, n)}


def product_residual(times: Callable[[Array], Array], n: int) -> float:
    """Return the error of a product on a random vector over its bound 6 u √(n+2) ‖A‖ ‖B‖ ‖v‖."""
    v = np.random.default_rng(1).standard_normal(n)
    gap = np.linalg.norm(times(v) - kms_times(kms_times(v)))
    # the 2-norm of the matrix is at most its 1-norm
    return float(gap / (6 * U * np.sqrt(n + 2) * norm_one(n) ** 2 * np.linalg.norm(v)))


# wrenla


def warm_memory(nbytes: int = 3 << 30) -> None:
    """Touch memory and give it back.

    A virtual machine's host takes back what its guest has not used for some seconds. To get it again costs
    about two seconds for each GiB, which is neither side's work: each contestant begins with memory that is
    there.
    """
    available = _meminfo("MemAvailable")
    pages = mmap.mmap(-1, min(nbytes, available // 2), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    touched = np.frombuffer(pages, np.uint8)
    touched[:: mmap.PAGESIZE] = 1
    del touched
    pages.close()


def _meminfo(name: str) -> int:
    with open("/proc/meminfo") as file:
        return 1024 * int(next(line for line in file if line.startswith(name)).split()[1])


@contextmanager
def scratch() -> Iterator[str]:
    """Hand out a folder for matrices, and remove it.

    Temporaries are where a user has them who has set nothing: in memory if a run is short, or in the cache
    folder, which is here.
    """
    folder = tempfile.mkdtemp(prefix="wrenla-bench-", dir=os.environ.get("WRENLA_BENCH_DIR"))
    os.environ.pop("WRENLA_STORE", None)
    os.environ["XDG_CACHE_HOME"] = folder + "/cache"
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Watch:
    """Listens to a run and says where its time went."""

    def __init__(self) -> None:
        self.kernels: dict[str, list[float]] = {}
        self.totals: dict[str, Any] = {}
        self.workers = 1

    def __call__(self, event: Any) -> None:
        match type(event).__name__:
            case "RunStarted":
                self.workers = event.workers
            case "TaskFinished":
                entry = self.kernels.setdefault(event.kernel, [0.0, 0.0])
                entry[0] += event.report.compute_seconds - event.report.make_seconds
                entry[1] += event.flops
            case "RunFinished":
                from dataclasses import asdict

                for name, number in asdict(event.totals).items():  # a result may take several runs
                    self.totals[name] = self.totals.get(name, 0) + number

    def profile(self, seconds: float) -> dict[str, Any]:
        """Return worker-seconds by what they went to; `outside` is planning, opening and closing."""
        t = self.totals
        busy = t["read_seconds"] + t["compute_seconds"] + t["write_seconds"]
        return {
            "read": t["read_seconds"],
            "make": t["make_seconds"],
            "write": t["write_seconds"],
            "idle": self.workers * t["seconds"] - busy,
            "outside": self.workers * (seconds - t["seconds"]),
            **{
                kernel: {"seconds": spent, "gflops": flops / spent / 1e9 if spent else 0.0}
                for kernel, (spent, flops) in self.kernels.items()
            },
        }


def wrenla_cholesky(
    n: int, tile: int | None = None, allowed: str | None = None, warm: bool = True, **_: Any
) -> dict[str, Any]:
    import wrenla as wl

    memory = Memory()
    with scratch() as folder, wl.LocalExecutor(allowed_mem=allowed) as executor:
        return cholesky_on(executor, folder, n, tile, warm, memory)


def cholesky_on(
    executor: Any, folder: str, n: int, tile: int | None, warm: bool, memory: Memory
) -> dict[str, Any]:
    """From tiles in a folder to tiles in a folder, on some executor."""
    import wrenla as wl

    A = wl.from_function(kms, (n, n), tile, structure="pos").persist(executor)
    watch = Watch()
    if warm:
        warm_memory()
    start = time.perf_counter()
    with memory:
        L = A.cholesky().save(folder + "/L", executor, callbacks=[watch])
    seconds = time.perf_counter() - start
    residual = factor_residual(lambda v: (L @ v).compute(executor), lambda v: (L.T @ v).compute(executor), n)
    return {
        "seconds": seconds,
        "residual": residual,
        "tile": A.tile[0],
        "profile": watch.profile(seconds),
        "peak": memory.peak,
    }


def wrenla_matmul(n: int, tile: int | None = None, **_: Any) -> dict[str, Any]:
    import wrenla as wl

    with scratch() as folder, wl.LocalExecutor() as executor:
        A = wl.from_function(kms, (n, n), tile).save(folder + "/A", executor)
        B = wl.from_function(kms, (n, n), tile).save(folder + "/B", executor)
        watch = Watch()
        warm_memory()
        start = time.perf_counter()
        C = (A @ B).save(folder + "/C", executor, callbacks=[watch])
        seconds = time.perf_counter() - start
        residual = product_residual(lambda v: (C @ v).compute(executor), n)
        return {
            "seconds": seconds,
            "residual": residual,
            "tile": A.tile[0],
            "profile": watch.profile(seconds),
        }


def wrenla_overhead(tasks: int, store: str, **_: Any) -> dict[str, Any]:
    """Tasks that add two numbers."""
    import wrenla as wl

    with scratch() as folder, wl.LocalExecutor() as executor:
        os.environ["WRENLA_STORE"] = "memory://overhead" if store == "memory" else folder
        side = round(tasks**0.5)
        Z = wl.zeros((side, side), tile=1)
        watch = Watch()
        start = time.perf_counter()
        stored = (Z + Z).persist(executor, callbacks=[watch])
        seconds = time.perf_counter() - start
        assert stored.norm().compute(executor) == 0
        return {"seconds": seconds, "tasks": side * side, "profile": watch.profile(seconds)}


def name_array(megabytes: int, order: str, **_: Any) -> dict[str, Any]:
    """Name an array by its content, as `from_array` and right-hand sides do; beside it NumPy's sum of it."""
    import numpy as np

    import wrenla as wl

    n = round((megabytes * 1e6 / 8) ** 0.5)
    array = np.asarray(np.random.default_rng(0).random((n, n)), order=order)  # type: ignore[call-overload]

    def best(work: Callable[[], object]) -> float:
        def timed() -> float:
            start = time.perf_counter()
            work()
            return time.perf_counter() - start

        return min(timed() for _ in range(5))

    named, summed = best(lambda: wl.from_array(array, tile=512)), best(lambda: array.sum())
    return {"seconds": named, "summed": summed, "bytes": array.nbytes}


class Memory:
    """Peak resident memory in a `with` block, mapped files included, over that when it was made."""

    def __init__(self) -> None:
        self._own = _status("VmRSS")
        self.peak = 0

    def __enter__(self) -> Memory:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # resets VmHWM
        return self

    def __exit__(self, *_: object) -> None:
        self.peak = _status("VmHWM") - self._own


def _status(name: str) -> int:
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(name))
    return int(line.split()[1]) * 1024


def plan_cholesky(N: int, workers: int, **_: Any) -> dict[str, Any]:
    """Planning only; memory is the process's own peak over that after the imports."""
    import wrenla as wl
    from wrenla.algorithms.factorizations.cholesky import cholesky
    from wrenla.planning.cost_model import ExecutorModel
    from wrenla.planning.plan import make_plan

    A = wl.from_function(kms, (4096 * N, 4096 * N), 4096, structure="pos")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    plan, _originals = make_plan([cholesky(A._node)], ExecutorModel(workers, 20e9, 75e6, 0.05, 120, 8 << 30))
    seconds = time.perf_counter() - start
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return {"seconds": seconds, "tasks": plan.tasks, "cut": str(plan.cut), "peak": peak}


def main() -> None:
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    result = globals()[name](**arguments)
    print(json.dumps({**result, "core": core()}))


if __name__ == "__main__":
    main()
