"""Figures of a record by matplotlib, for papers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from wrenla.report.compare import kernels
from wrenla.report.runs import Floats, Runs, labels
from wrenla.report.shares import chains, rates, slots

__all__ = ["FigureKind", "draw"]

FigureKind: TypeAlias = Literal["timeline", "parallelism", "throughput", "kernels"]

_COLORS = {
    "reading": "#d98a00",
    "making": "#7b5fc4",
    "computing": "#1f6fb5",
    "writing": "#15916b",
    "critical": "#c0175d",
}
_BUSY = ("computing", "making", "reading", "writing")

_WIDTH = 7.0
"""Inches: two columns of a paper."""

_MANY = 5_000
"""Bars from which they are dots of a picture, also in a PDF: no viewer draws so many shapes."""


def draw(runs: Runs, kind: FigureKind, ax: Any = None) -> Any:
    """Return a figure of some runs: see `RunReport.figure`."""
    if kind not in get_args(FigureKind):
        raise ValueError(f"figure({kind!r}): there are {', '.join(map(repr, get_args(FigureKind)))}")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("figures need matplotlib: pip install 'wrenla[plot]'") from None
    if ax is None:
        height = min(8.0, 1.2 + 0.25 * len(runs.lanes)) if kind == "timeline" else 2.6
        ax = Figure(figsize=(_WIDTH, height), layout="constrained").subplots()
    drawing: dict[str, Callable[[Runs, Any], None]] = {
        "timeline": _timeline,
        "parallelism": _parallelism,
        "throughput": _throughput,
        "kernels": _kernels,
    }
    drawing[kind](runs, ax)
    ax.spines[["top", "right"]].set_visible(False)
    return ax.figure


def _timeline(runs: Runs, ax: Any) -> None:
    """Draw a bar for each task, by parts; a line under those of the critical path."""
    tasks = runs.tasks
    begins = tasks.start
    for name, part in (
        *(("reading", tasks.read), ("making", tasks.make)),
        *(("computing", tasks.compute), ("writing", tasks.write)),
    ):
        _bars(ax, tasks.lane, begins, part, 0.8, name)
        begins = begins + part
    path = [entry for chain in chains(runs) for entry in chain.tasks]
    _bars(ax, tasks.lane[path] + 0.33, tasks.start[path], tasks.seconds[path], 0.14, "critical")
    step = max(1, len(runs.lanes) // 24)
    ax.set_yticks(range(0, len(runs.lanes), step), labels(runs)[::step])
    ax.set_ylim(max(1, len(runs.lanes)) - 0.5, -0.5)
    _time_axis(runs, ax)
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=4,
        frameon=False,
        fontsize="small",
        borderaxespad=-1.6,
    )


def _bars(ax: Any, rows: npt.NDArray[Any], begins: Floats, lengths: Floats, height: float, name: str) -> None:
    """Draw bars as one collection: an object for each of 50,000 tasks would take minutes, and gigabytes."""
    from matplotlib.collections import PolyCollection

    ends, low, high = begins + lengths, rows - height / 2, rows + height / 2
    corners = np.stack(
        [np.stack(corner, axis=1) for corner in ((begins, low), (begins, high), (ends, high), (ends, low))],
        axis=1,
    )
    label = "critical path" if name == "critical" else name
    ax.add_collection(
        PolyCollection(
            list(corners[lengths > 0]),
            facecolors=_COLORS[name],
            label=label,
            linewidths=0,
            rasterized=len(corners) > _MANY,
        )
    )


def _parallelism(runs: Runs, ax: Any) -> None:
    found = rates(runs)
    ax.stackplot(
        found.edges[:-1],
        *(getattr(found, name) for name in _BUSY),
        colors=[_COLORS[name] for name in _BUSY],
        labels=_BUSY,
        step="post",
    )
    ax.axhline(slots(runs), color="0.4", ls="--", lw=1)
    ax.set_ylabel("workers")
    _time_axis(runs, ax)
    ax.legend(frameon=False, fontsize="small", ncols=4)


def _throughput(runs: Runs, ax: Any) -> None:
    found = rates(runs)
    ax.step(found.edges[:-1], found.flops / 1e9, where="post", color=_COLORS["computing"], lw=1.2)
    ax.set_ylabel("GFLOP/s (blue)")
    bytes_ax = ax.twinx()
    for name, values in (("reading", found.bytes_read), ("writing", found.bytes_written)):
        bytes_ax.step(found.edges[:-1], values / 2**20, where="post", color=_COLORS[name], lw=1, label=name)
    bytes_ax.set_ylabel("MiB/s")
    bytes_ax.legend(frameon=False, fontsize="small", ncols=2)
    bytes_ax.spines["top"].set_visible(False)
    for each in (ax, bytes_ax):
        each.set_ylim(bottom=0)
    _time_axis(runs, ax)


def _kernels(runs: Runs, ax: Any) -> None:
    """Draw the times of tasks of each kernel as a box from quartile to quartile, and points beyond."""
    names = [kernel.name for kernel in kernels(runs)]
    numbers = {name: number for number, name in enumerate(runs.kernels)}
    times = [np.maximum(runs.tasks.seconds[runs.tasks.kernel == numbers[name]], 1e-6) for name in names]
    if times:
        ax.boxplot(times, tick_labels=names, widths=0.6, flierprops={"markersize": 2})
    ax.set_yscale("log")
    ax.set_ylabel("seconds")
    ax.tick_params(axis="x", rotation=40)
    for label in ax.get_xticklabels():
        label.set_horizontalalignment("right")


def _time_axis(runs: Runs, ax: Any) -> None:
    ax.set_xlim(0, max(runs.seconds, 1e-9))
    ax.set_xlabel("seconds")
