"""Kernels of triangles beside both ways that there are: the library's own routine, and a recursion on `gemm`.

One thread, processor time, all ways in turn in one process, medians. A recursion is cut once and twice, that
of trsm down to leaves of two orders. All results are checked by their residuals. OPENBLAS_CORETYPE=Haswell,
set before Python starts, measures other kernels on the same processor.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from benchmarks.figure import Figure
from wrenla_kernels import (
    DTYPES,
    Matrix,
    Op,
    Side,
    Triangle,
    blas_threads,
    gemm,
    getrf,
    herk,
    keep_triangle,
    laswp,
    mirror,
    potrf,
    scipy_blas_info,
    trsm,
)
from wrenla_kernels.blas3 import library_trsm, recursive_trsm
from wrenla_kernels.lapack import library_getrf, library_potrf, recursive_getrf, recursive_potrf

SIZES = (256, 512, 1024, 2048)
TRSM_LEAVES = (64, 128)
MUST = 0.97

Result: TypeAlias = npt.NDArray[np.int64] | None
Way: TypeAlias = Callable[[Matrix], Result]


@dataclass(frozen=True)
class Case:
    """One kernel on one input: ways of computing it in place, ours first, and a result's residual."""

    name: str
    start: Matrix
    ways: dict[str, Way]
    residual: Callable[[Matrix, Result], float]


def figures(rounds: int) -> list[Figure]:
    """Measure all kernels, dtypes and sizes."""
    info = scipy_blas_info()
    print(f"kernels on {info.internal_api} {info.version}, {info.architecture} kernels, one thread")
    found = []
    with blas_threads(1):
        for dtype in DTYPES:
            for n in SIZES:
                for case in (_potrf(n, dtype), *_trsms(n, dtype), *_getrfs(n, dtype)):
                    found += _figures(f"{case.name}, {dtype}, n = {n}", _seconds(case, rounds))
    worst = min(found, key=lambda figure: figure.value if figure.must else np.inf)
    print(f"  the least on {info.architecture}: {worst.value:.3f}, {worst.work}")
    return found


def _figures(work: str, seconds: dict[str, float]) -> list[Figure]:
    ours, bare = seconds["chosen"], seconds.get("alone")
    rivals = {name: spent for name, spent in seconds.items() if name not in ("chosen", "alone")}
    each = ", ".join(f"{name} {spent * 1e3:.4g}" for name, spent in seconds.items())
    print(f"  {work}: {each} ms", flush=True)
    best = min(rivals, key=rivals.__getitem__)
    found = [Figure(work, "chosen / better way", rivals[best] / ours, MUST, 1, note=f"{each} ms")]
    if bare is not None:
        found.append(
            Figure(work, "chosen / LAPACK alone, which leaves what lies above", bare / ours, None, None)
        )
    return found


def _seconds(case: Case, rounds: int) -> dict[str, float]:
    """Return the median of each way, once its result is found to be right."""
    work = case.start.copy(order="F")
    for name, way in case.ways.items():
        work[...] = case.start
        residual = case.residual(work, way(work))
        assert residual <= 30, (case.name, name, residual)  # NaN fails
    spent: dict[str, list[float]] = {name: [] for name in case.ways}
    names, end = list(case.ways), time.process_time() + 0.15 * rounds
    while len(spent[names[0]]) < 3 * rounds or (time.process_time() < end and len(spent[names[0]]) < 300):
        for name in names:
            work[...] = case.start
            began = time.process_time()
            case.ways[name](work)
            spent[name].append(time.process_time() - began)
        names.append(names.pop(0))  # or else each way would always run behind the same one
    return {name: median(spent[name]) for name in case.ways}


# the kernels, checked without NumPy's products: its OpenBLAS 0.3.34 on an AMD EPYC was seen to end in a
# segmentation fault with OPENBLAS_CORETYPE=Haswell, unless OPENBLAS_L2_SIZE was set


def _potrf(n: int, dtype: np.dtype[Any]) -> Case:
    a = np.zeros((n, n), dtype, order="F")
    herk(1 / n, _random(n, n, dtype), "N", a)
    mirror(a)
    a[np.diag_indices(n)] += 1

    def with_zeros(way: Callable[[Matrix], int]) -> Way:
        def factor(x: Matrix) -> None:
            assert way(x) == 0
            keep_triangle(x, "L")

        return factor

    def chosen(x: Matrix) -> None:
        assert potrf(x) == 0

    def alone(x: Matrix) -> None:
        assert library_potrf(x) == 0

    def residual(x: Matrix, _: Result) -> float:
        factor, gap = np.asfortranarray(np.tril(x)), a.copy(order="F")
        gemm(-1, factor, "N", factor, "C", gap)
        return _norm(gap) / (n * _norm(a) * _unit(dtype))

    ways: dict[str, Way] = {"chosen": chosen, "alone": alone, "library": with_zeros(library_potrf)}
    ways |= {cut: with_zeros(partial(recursive_potrf, leaf=leaf)) for cut, leaf in _cuts(n)}
    return Case("potrf lower", a, ways, residual)


def _trsms(n: int, dtype: np.dtype[Any]) -> Iterator[Case]:
    lower = np.asfortranarray(np.tril(_random(n, n, dtype)) / np.sqrt(n) / 4).astype(dtype, order="F")
    lower[np.diag_indices(n)] += 2
    upper, b = np.asfortranarray(lower.T), _random(n, n, dtype)
    yield _trsm("trsm left lower", "L", lower, "L", "N", b)
    yield _trsm("trsm left upper", "L", upper, "U", "N", b)
    yield _trsm("trsm right lower C", "R", lower, "L", "C", b)


def _trsm(name: str, side: Side, t: Matrix, uplo: Triangle, op: Op, b: Matrix) -> Case:
    def chosen(x: Matrix) -> None:
        trsm(side, t, x, uplo=uplo, op=op)

    def library(x: Matrix) -> None:
        library_trsm(side, t, x, uplo, op, False)

    def recursion(leaf: int) -> Way:
        return lambda x: recursive_trsm(side, t, x, uplo, op, False, leaf)

    n = len(t)

    def residual(x: Matrix, _: Result) -> float:
        gap = b.copy(order="F")
        if side == "L":
            gemm(-1, t, op, x, "N", gap)
        else:
            gemm(-1, x, "N", t, op, gap)
        return _norm(gap) / (n * _norm(t) * _norm(x) * _unit(t.dtype))

    ways: dict[str, Way] = {"chosen": chosen, "library": library}
    ways |= {f"leaves of {leaf}": recursion(leaf) for leaf in TRSM_LEAVES}
    return Case(name, b, ways, residual)


def _getrfs(n: int, dtype: np.dtype[Any]) -> Iterator[Case]:
    yield _getrf("getrf", _random(n, n, dtype))
    yield _getrf("getrf of 8n × n/4", _random(8 * n, n // 4, dtype))


def _getrf(name: str, a: Matrix) -> Case:
    n = a.shape[1]

    def way(factor: Callable[[Matrix, npt.NDArray[np.int32]], None]) -> Way:
        def run(x: Matrix) -> Result:
            pivots = np.empty(n, np.int32)
            factor(x, pivots)
            return pivots.astype(np.int64) - 1

        return run

    def recursion(leaf: int) -> Way:
        return way(lambda x, pivots: recursive_getrf(x, pivots, leaf))

    def residual(x: Matrix, pivots: Result) -> float:
        assert pivots is not None
        gap, lower, upper = a.copy(order="F"), x.copy(order="F"), x[:n].copy(order="F")
        laswp(gap, pivots)
        keep_triangle(lower, "L", unit=True)
        keep_triangle(upper, "U")
        gemm(-1, lower, "N", upper, "N", gap)
        return float(_norm(gap) / (n * _norm(a) * _unit(a.dtype)))

    ways: dict[str, Way] = {"chosen": getrf, "library": way(library_getrf)}
    ways |= {cut: recursion(leaf) for cut, leaf in _cuts(n)}
    return Case(name, a, ways, residual)


def _cuts(n: int) -> list[tuple[str, int]]:
    return [("cut once", n // 2), ("cut twice", n // 4)]


def _random(m: int, n: int, dtype: np.dtype[Any]) -> Matrix:
    rng = np.random.default_rng(m + n)
    a = np.empty((m, n), dtype, order="F")
    a.real = rng.standard_normal((m, n))
    if dtype.kind == "c":
        a.imag = rng.standard_normal((m, n))
    return a


def _norm(a: Matrix) -> float:
    return float(np.sqrt(np.square(np.abs(a), dtype=np.float64).sum()))


def _unit(dtype: np.dtype[Any]) -> float:
    return float(np.finfo(dtype).eps) / 2
