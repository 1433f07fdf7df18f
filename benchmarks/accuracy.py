"""Accuracy of `solve` on test matrices of the literature, beside SciPy's and dask.array's.

Each solver is called as a user would call it. Residuals are computed in extended precision, so that they are
those of the solutions and not of the measure.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import numpy as np
import scipy.linalg
from threadpoolctl import threadpool_limits

from benchmarks.contestants import scratch
from benchmarks.matrices import CASES, Array, Case, unit_roundoff

__all__ = ["Accuracy", "Answer", "figures", "residual"]

GATE, HEALTHY = 16.0, 1.0
"""HPL's bound, and one that a healthy solver stays far below."""

Solve = Callable[[Array, Array, int, str | None], Array]


@dataclass(frozen=True)
class Answer:
    """A solver's residual, or the class of what it raised."""

    residual: float | None
    """None if the solver raised, or if the residual is not finite."""
    raised: str = ""
    warned: bool = False

    @property
    def passes(self) -> bool:
        return self.residual is not None and self.residual <= GATE

    def __str__(self) -> str:
        if self.raised:
            return f"raises {self.raised}"
        size = "not finite" if self.residual is None else f"{self.residual:.2g}"
        return f"{size}, warns" if self.warned else size


@dataclass(frozen=True)
class Accuracy:
    """One line of the table: a matrix, and what each solver made of it."""

    HEAD: ClassVar = (
        "matrix",
        "n",
        "tile",
        "dtype",
        "said",
        "wrenla",
        "rbt",
        "SciPy",
        "dask.array",
        "verdict",
    )
    ABOUT: ClassVar = (
        "HPL's scaled residual ‖A x − b‖∞ / (u (‖A‖∞ ‖x‖∞ + ‖b‖∞) n) of `solve` in three libraries. It is "
        "computed in extended precision, for two right-hand sides: random numbers, and A times ones. The "
        f"larger one counts. At most {GATE:g} passes (reached), at most {HEALTHY:g} is healthy (goal). "
        "Refused: wrenla raises, and SciPy raises or misses. `said` is `assume_a`; `warns` is a "
        "LinAlgWarning; `rbt` is ours after random butterflies. dask.array's LU takes equal chunks only: its "
        "chunk, the divisor of n that is nearest to our tile, is in parentheses."
    )

    matrix: str
    n: int
    tile: int
    chunk: int
    dtype: str
    said: str
    wrenla: Answer
    rbt: Answer
    scipy: Answer
    dask: Answer

    @property
    def verdict(self) -> str:
        ours = self.wrenla
        if not (self.rbt.passes or self.rbt.raised):
            return "MISSED"
        if ours.residual is not None and ours.residual <= HEALTHY:
            return "goal"
        if ours.passes:
            return "reached"
        if ours.raised and not self.scipy.passes:
            return "refused"
        return "MISSED, SciPy passes" if self.scipy.passes else "MISSED"

    @property
    def row(self) -> tuple[str, ...]:
        answers = (str(answer) for answer in (self.wrenla, self.rbt, self.scipy, self.dask))
        tile = f"{self.tile} ({self.chunk})"
        return (self.matrix, str(self.n), tile, self.dtype, self.said, *answers, self.verdict)


def figures(rounds: int) -> list[Accuracy]:
    """Solve with each matrix once: what is measured is the same in each round."""
    import wrenla as wl

    print("accuracy of solve: peers are scipy.linalg.solve, dask.array.linalg.solve")
    if np.finfo(np.longdouble).eps >= np.finfo(np.float64).eps:
        print("  long double is double here: residuals of double precision are those of the measure, too")
    found = []
    with ExitStack() as stack:
        stack.enter_context(scratch())
        executor = stack.enter_context(wl.LocalExecutor(2))

        def ours(method: Literal["rbt"] | None, a: Array, b: Array, tile: int, said: str | None) -> Array:
            A = wl.from_array(a, tile=tile)
            return np.asarray(wl.linalg.solve(A, b, assume_a=said, method=method).compute(executor))

        for case in CASES:
            for dtype in case.dtypes:
                found.append(_measured(case, dtype, partial(ours, None), partial(ours, "rbt")))
                print("  " + " | ".join(found[-1].row), flush=True)
    return found


def residual(a: Array, x: Array, b: Array) -> float:
    """Return HPL's scaled residual, the largest one of all right-hand sides; NaN stays NaN."""
    X, B = _wide(x), _wide(b)
    size_a, worst = np.longdouble(0), np.zeros(b.shape[1], np.longdouble)
    for start in range(0, len(a), 128):  # a block of rows at a time: extended precision needs memory
        rows = slice(start, start + 128)
        A = _wide(a[rows])
        size_a = np.maximum(size_a, np.abs(A).sum(axis=1).max())
        worst = np.maximum(worst, np.abs(A @ X - B[rows]).max(axis=0))
    size = size_a * np.abs(X).max(axis=0) + np.abs(B).max(axis=0)
    return float((worst / (unit_roundoff(x.dtype.name) * size * len(a))).max())


def _wide(a: Array) -> Array:
    return a.astype(np.clongdouble if a.dtype.kind == "c" else np.longdouble)


def _measured(case: Case, dtype: str, ours: Solve, mixing: Solve) -> Accuracy:
    n, tile, said = case.n, case.n // 6 + 1, case.assume_a
    assert n % tile, "the last tile is to be smaller"
    chunk = min((d for d in range(1, n + 1) if n % d == 0), key=lambda d: abs(d - tile))
    a = case.make(n, dtype)
    b = np.stack([np.random.default_rng(0).standard_normal(n), _wide(a).sum(axis=1)], axis=1).astype(dtype)
    answers = (
        _answer(ours, a, b, tile, said),
        _answer(mixing, a, b, tile, said),
        _answer(_scipy, a, b, tile, said),
        _answer(_dask, a, b, chunk, said),
    )
    return Accuracy(case.name, n, tile, chunk, dtype, said or "", *answers)


def _answer(solve: Solve, a: Array, b: Array, tile: int, said: str | None) -> Answer:
    given = a.copy(), b.copy()
    with warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"):
        warnings.simplefilter("always")
        try:
            x = solve(*given, tile, said)
        except (ArithmeticError, ValueError) as error:  # LinAlgError is one, too
            return Answer(None, type(error).__name__)
        value = residual(a, x, b)
    assert x.shape == b.shape
    assert x.dtype == a.dtype
    warned = any(issubclass(warning.category, scipy.linalg.LinAlgWarning) for warning in caught)
    return Answer(value if np.isfinite(value) else None, "", warned)


def _scipy(a: Array, b: Array, tile: int, said: str | None) -> Array:
    return np.asarray(scipy.linalg.solve(a, b, assume_a=said))


def _dask(a: Array, b: Array, tile: int, said: str | None) -> Array:
    import dask
    import dask.array as da

    with dask.config.set(scheduler="threads"), threadpool_limits(1):
        A, B = da.from_array(a, chunks=tile), da.from_array(b, chunks=(tile, b.shape[1]))
        return np.asarray(da.linalg.solve(A, B, assume_a=said or "gen").compute())
