"""Do two threads multiply twice as fast as one? And what do our own trsm and potrf gain over the library's?

`scipy.linalg.blas.dgemm` holds the GIL: two threads of it run at the speed of one. The kernels do not. One
BLAS thread per call throughout; one and two threads are measured in turns, so that noise hits both.
"""

from __future__ import annotations

import ctypes
import json
import threading
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import scipy.linalg
from threadpoolctl import threadpool_info

from wrenla_kernels import (
    Matrix,
    blas_threads,
    core_type_warning,
    gemm,
    herk,
    potrf,
    scipy_blas_info,
    trsm,
)
from wrenla_kernels.pointers import blas, flag, integer, lapack, scalar

ORDERS = (1024, 2048)
REPETITIONS = 7
REQUIRED_SPEEDUP = 1.8
FLOPS: dict[str, Callable[[int], float]] = {
    "gemm": lambda b: 2 * b**3,
    "herk": lambda b: b**2 * (b + 1),
    "trsm": lambda b: b**3,
    "potrf": lambda b: b**3 / 3 + b**2 / 2 + b / 6,
}

Work = Callable[[], object]


def run() -> dict[str, Any]:
    """Return rates in GFLOP/s (medians), speed-ups, residuals, and the library that was measured."""
    filepath = scipy_blas_info().filepath
    with blas_threads(1):
        library = [entry for entry in threadpool_info() if entry["filepath"] == filepath]
        results = {str(b): measure_order(b) for b in ORDERS}
    return {
        "blas": library,
        "warning": core_type_warning(),
        "orders": results,
        "required_speedup": REQUIRED_SPEEDUP,
        "passed": all(result["kernels"]["speedup"] >= REQUIRED_SPEEDUP for result in results.values()),
    }


def measure_order(b: int) -> dict[str, Any]:
    rng = np.random.default_rng(b)
    a = np.asfortranarray(rng.standard_normal((b, b)))
    spd = np.asfortranarray(a @ a.T + b * np.eye(b))
    return {
        "kernels": scaling(b, lambda c: lambda: gemm(-1, a, "N", a, "T", c)),
        "with_gil": scaling(
            b, lambda c: lambda: scipy.linalg.blas.dgemm(-1, a, a, 1, c, trans_b=True, overwrite_c=True)
        ),
        "single_thread": single_thread_rates(a, spd),
        "residuals": residuals(a, spd),
    }


def scaling(b: int, product_into: Callable[[Matrix], Work]) -> dict[str, float]:
    """Return the rates of one and of two threads that add products to tiles of their own.

    Beside them, how many processors two threads got: below two the machine was busy, or the GIL was held.
    """
    works = [product_into(np.zeros((b, b), order="F")) for _ in range(2)]
    calls = 2 * (2048 // b) ** 3
    seconds: dict[int, list[float]] = {1: [], 2: []}
    processors: list[float] = []
    works[0]()
    for _ in range(REPETITIONS):
        for count in (1, 2):
            used = time.process_time()
            seconds[count].append(seconds_of_threads(works[:count], calls))
            used = time.process_time() - used
        processors.append(used / seconds[2][-1])
    operations = calls * FLOPS["gemm"](b) / 1e9
    one, two = operations / median(seconds[1]), 2 * operations / median(seconds[2])
    return {
        "one_thread": one,
        "two_threads": two,
        "speedup": two / one,
        "processors": median(processors),
    }


def seconds_of_threads(works: list[Work], calls: int) -> float:
    def repeat(work: Work) -> None:
        for _ in range(calls):
            work()

    threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start


def single_thread_rates(a: Matrix, spd: Matrix) -> dict[str, float]:
    b = len(a)
    lower = np.asfortranarray(np.linalg.cholesky(spd))
    c = np.zeros_like(a, order="F")
    candidates: dict[str, tuple[str, Matrix, Callable[[Matrix], object]]] = {
        "gemm": ("gemm", c, lambda c: gemm(-1, a, "N", a, "T", c)),
        "herk": ("herk", c, lambda c: herk(-1, a, "N", c)),
        "trsm": ("trsm", a, lambda x: trsm("R", lower, x, uplo="L", op="C")),
        "trsm_of_library": ("trsm", a, lambda x: library_trsm(lower, x)),
        "potrf": ("potrf", spd, potrf),
        "potrf_of_library": ("potrf", spd, library_potrf),
    }
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(REPETITIONS):
        for name, (_, start, call) in candidates.items():
            tile = start.copy(order="F")
            began = time.perf_counter()
            call(tile)
            seconds[name].append(time.perf_counter() - began)
    return {
        name: FLOPS[kernel](b) / median(seconds[name]) / 1e9 for name, (kernel, _, _) in candidates.items()
    }


def library_trsm(lower: Matrix, x: Matrix) -> None:
    n, one = integer(len(lower)), scalar(1, x.dtype)
    blas("trsm", x.dtype)(
        *(flag("R"), flag("L"), flag("T"), flag("N"), n, n, one),
        *(lower.ctypes.data, n, x.ctypes.data, n),
    )


def library_potrf(a: Matrix) -> None:
    n, info = integer(len(a)), ctypes.c_int()
    lapack("potrf", a.dtype)(flag("L"), n, a.ctypes.data, n, ctypes.byref(info))


def residuals(a: Matrix, spd: Matrix) -> dict[str, float]:
    """Return backward errors in units of n u: above 30 something is wrong."""
    unit = len(a) * np.finfo(a.dtype).eps / 2
    c = np.zeros_like(a, order="F")
    gemm(1, a, "N", a, "T", c)
    factor = spd.copy(order="F")
    info = potrf(factor)
    x = a.copy(order="F")
    trsm("R", factor, x, uplo="L", op="C")
    norm, longer = np.linalg.norm, np.longdouble
    found = {
        "gemm": norm((c[:8] - a[:8].astype(longer) @ a.T.astype(longer)).astype(a.dtype))
        / norm(a) ** 2
        / unit,
        "potrf": norm(spd - factor @ factor.T) / norm(spd) / unit,
        "trsm": norm(x @ factor.T - a) / (norm(x) * norm(factor)) / unit,
    }
    if info or not all(value <= 30 for value in found.values()):
        raise AssertionError(f"wrong numbers are not worth timing: info {info}, {found}")
    return {name: float(value) for name, value in found.items()}


def main() -> None:
    results = run()
    print(json.dumps(results["blas"], indent=2))
    print(results["warning"] or "core type as expected")
    for b, result in results["orders"].items():
        print(f"\nb = {b}, GFLOP/s, medians of {REPETITIONS}")
        for title, key in (("gemm of wrenla", "kernels"), ("scipy.linalg.blas.dgemm", "with_gil")):
            rates = result[key]
            print(
                f"  {title:24} 1 thread {rates['one_thread']:6.1f}   2 threads {rates['two_threads']:6.1f}"
                f"   × {rates['speedup']:.2f} on {rates['processors']:.2f} processors"
            )
        for name, rate in result["single_thread"].items():
            print(f"  {name:24} {rate:6.1f}")
        print("  residuals / (n u):", {name: f"{value:.1e}" for name, value in result["residuals"].items()})
    print(f"\ntwo threads at least × {REQUIRED_SPEEDUP}: {'yes' if results['passed'] else 'NO'}")


if __name__ == "__main__":
    main()
