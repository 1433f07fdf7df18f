"""Data of a report's charts, packed: columns of bars, rates over time, a histogram of task times."""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from wrenla.report.causes import first_line
from wrenla.report.compare import kernels, stragglers
from wrenla.report.runs import Floats, Ints, Runs, labels
from wrenla.report.shares import Rates, chains, idle_with_nothing_ready, rates, slots

__all__ = ["MOST_BARS", "bars_together", "page_data", "safe_json"]

MOST_BARS = 150_000
"""Bars of a timeline. Where there are more tasks, neighbours on one thread are one bar: the file stays below
10 MB, and a browser draws it in less than a second."""

_MOST_FAULTS = 500
"""Failed attempts that are drawn."""

_CRITICAL, _STRAGGLER, _WAITED, _WAITS = 1, 2, 4, 8
"""Marks of a bar: on the critical path; slow; waiting for inputs in the gap before it, or in the one behind
it to the end of the run."""

_MOST_KERNELS = 7
"""Kernels with a colour of their own in the histogram; all others are one."""

_Columns = Mapping[str, npt.NDArray[Any]]


def bars_together(runs: Runs) -> int:
    """Return how many tasks are one bar of the timeline."""
    return -(-len(runs.tasks) // MOST_BARS)


def page_data(runs: Runs) -> dict[str, Any]:
    """Return what the charts of a page are drawn from."""
    path = [entry for chain in chains(runs) for entry in chain.tasks]
    tasks = runs.tasks
    return {
        "seconds": _short(runs.seconds),
        "workers": slots(runs),
        "runs": [[_short(run.start), _short(run.end)] for run in runs.runs],
        "kernels": runs.kernels,
        "lanes": labels(runs),
        "names": runs.lanes,
        "bars": _packed(_bars(runs, path)),
        "critical": _merged(tasks.start[path], tasks.end[path], runs.seconds / 2000),
        "faults": [
            {"start": _short(fault.start), "end": _short(fault.time), "error": first_line(fault.error)}
            for fault in runs.faults[:_MOST_FAULTS]
        ],
        "rates": _as_lists(rates(runs)),
        "histogram": _histogram(runs),
    }


def safe_json(value: Any) -> str:
    """Return JSON that may stand in a script element: no text in it can end the element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _bars(runs: Runs, path: Sequence[int]) -> _Columns:
    """Return the columns of the timeline's bars, those of a lane together, the earliest first."""
    tasks = runs.tasks
    flags = np.zeros(len(tasks), np.int64)
    flags[list(path)] |= _CRITICAL
    flags[stragglers(runs)] |= _STRAGGLER
    order = np.lexsort((tasks.start, tasks.lane))
    flags[order] |= _gaps(runs, order)
    whole = bars_together(runs)
    columns: dict[str, npt.NDArray[Any]] = {
        **{
            name: getattr(tasks, name)[order].astype("<f4")
            for name in ("start", "read", "make", "compute", "write")
        },
        "wait": (tasks.start - tasks.first)[order].astype("<f4"),
        **{
            name: getattr(tasks, name)[order].astype("<f4")
            for name in ("flops", "bytes_read", "bytes_written")
        },
        "memory": tasks.memory[order].astype("<f4"),
        **{
            name: getattr(tasks, name)[order].astype("<i4")
            for name in ("lane", "kernel", "task", "wave", "row", "col", "part", "run", "attempts")
        },
        "flags": flags[order].astype("<i4"),
        "count": np.ones(len(tasks), "<i4"),
    }
    return columns if whole <= 1 else _thinned(columns, whole)


def _gaps(runs: Runs, order: Ints) -> Ints:
    """Return marks of the gaps before and behind bars, as they stand: those of a lane together."""
    tasks = runs.tasks
    begins, ends = (np.array([getattr(run, name) for run in runs.runs] or [0.0]) for name in ("start", "end"))
    run, start, end = tasks.run[order], tasks.start[order], tasks.end[order]
    place = np.stack([tasks.lane[order], run])
    alike = (place[:, 1:] == place[:, :-1]).all(axis=0)
    before = np.where(np.concatenate([[False], alike])[: len(run)], np.roll(end, 1), begins[run])
    last = np.concatenate([~alike, [True]])[: len(run)]

    def waiting(since: Floats, until: Floats) -> npt.NDArray[np.bool_]:
        return (until > since) & (2 * idle_with_nothing_ready(runs, since, until) > until - since)

    marks: Ints = _WAITED * waiting(before, start) + _WAITS * (last & waiting(end, ends[run]))
    return marks


def _thinned(columns: _Columns, whole: int) -> _Columns:
    """Return columns in which so many neighbours of a lane are one bar."""
    lane = columns["lane"]
    starts = np.flatnonzero(np.diff(lane, prepend=-1))
    within = np.arange(len(lane)) - np.repeat(starts, np.diff([*starts, len(lane)]))
    heads = np.flatnonzero(within % whole == 0)
    sums = {"read", "make", "compute", "write", "flops", "bytes_read", "bytes_written", "count"}
    made = {
        name: np.add.reduceat(column, heads, dtype=column.dtype) if name in sums else column[heads]
        for name, column in columns.items()
    }
    made["memory"] = np.maximum.reduceat(columns["memory"], heads)
    critical = np.bitwise_or.reduceat(columns["flags"] & (_CRITICAL | _STRAGGLER | _WAITS), heads)
    return made | {"flags": made["flags"] & _WAITED | critical}


def _packed(columns: _Columns) -> dict[str, Any]:
    """Return columns as one text: each number 4 bytes, little-endian, compressed."""
    names = [(name, column.dtype.kind) for name, column in columns.items()]
    raw = b"".join(column.tobytes() for column in columns.values())
    rows = len(next(iter(columns.values())))
    return {"columns": names, "rows": rows, "bytes": base64.b64encode(zlib.compress(raw, 6)).decode()}


def _merged(starts: Floats, ends: Floats, gap: float) -> list[list[float]]:
    """Return spans, those together that are nearer than what can be seen."""
    found: list[list[float]] = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if found and start - found[-1][1] < gap:
            found[-1][1] = _short(max(end, found[-1][1]))
        else:
            found.append([_short(start), _short(end)])
    return found


def _as_lists(found: Rates) -> dict[str, list[float]]:
    names = ("edges", "computing", "making", "reading", "writing", "flops", "bytes_read", "bytes_written")
    return {name: [_short(value) for value in getattr(found, name).tolist()] for name in names}


def _histogram(runs: Runs) -> dict[str, Any]:
    """Return how many tasks of each kernel took how long; bins grow by the fifth root of ten."""
    seconds = np.maximum(runs.tasks.seconds, 1e-6)
    low = math.floor(5 * math.log10(seconds.min())) if len(seconds) else 0
    high = max(low + 1, math.floor(5 * math.log10(seconds.max())) + 1 if len(seconds) else 0)
    edges = 10.0 ** (np.arange(low, high + 1) / 5)
    place: Ints = np.clip(np.floor(5 * np.log10(seconds)).astype(int) - low, 0, high - low - 1)
    names = [kernel.name for kernel in kernels(runs)]
    groups = [[name] for name in names[:_MOST_KERNELS]] + (
        [names[_MOST_KERNELS:]] if names[_MOST_KERNELS:] else []
    )
    numbers = {name: number for number, name in enumerate(runs.kernels)}
    counts = [
        np.bincount(
            place[np.isin(runs.tasks.kernel, [numbers[name] for name in group])], minlength=high - low
        ).tolist()
        for group in groups
    ]
    heads = [group[0] if n < _MOST_KERNELS else f"{len(group)} others" for n, group in enumerate(groups)]
    return {"edges": [_short(edge) for edge in edges.tolist()], "names": heads, "counts": counts}


def _short(value: float) -> float:
    """Return a number with six digits: more cannot be seen."""
    return float(f"{value:.6g}")
