"""Sections of a report, as HTML: each a heading with text, a table or the place of a chart."""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from wrenla.report.causes import NEAR_ALLOWED, bound, notes
from wrenla.report.compare import (
    Row,
    comparison,
    kernels,
    peak_memory,
)
from wrenla.report.page.data import bars_together
from wrenla.report.page.elements import chart, legend, section, table
from wrenla.report.page.task_tables import (
    errors_section,
    faults_section,
    runs_section,
    slow_section,
    solutions_section,
)
from wrenla.report.runs import Runs
from wrenla.report.shares import BUSY, SHARES, Rates, chains, rates, shares, slots
from wrenla.units import counted, format_bytes, format_dollars, format_time

__all__ = ["about", "heading", "sections"]

_SAMPLES = 12
"""Rows of the tables that stand beside charts over time."""


_OF_SOLVE = frozenset({"all_sizes", "row_maxima"})
"""Kernels that together measure how well a system is solved: where that was interrupted, it has no report."""


def heading(runs: Runs) -> str:
    """Return a line of plain text: what was run."""
    if runs.solutions:
        first, more = runs.solutions[0], len(runs.solutions) - 1
        size = " × ".join(f"{n:,}" for n in first.get("shape", ()))
        return f"Solution of a system of {size}" + (f" and {more} more" if more else "")
    titles = [str(run.plan.get("title", "")).removeprefix("plan for ") for run in runs.runs]
    title = next((title for title in titles if title), "")
    if not title:
        return "A run" if runs.runs else "Nothing to run" if runs.error == "" else "No run"
    if any(set(run.plan.get("kernels", ())) >= _OF_SOLVE for run in runs.runs):
        _, source, largest = title.rpartition(", from ")
        return "Solution of a system" + (f"{source}{largest}" if source else "")
    if len(runs.runs) > 1 and titles[-1]:  # of steps of a procedure the last one makes the result
        what = titles[-1].rpartition(", from ")[0] or titles[-1]
        title = f"{what}, from {title.rpartition(', from ')[2]}" if ", from " in title else what
    title = title if len(title) <= 110 else f"{title[:109]}…"
    return title[0].upper() + title[1:]


def about(runs: Runs) -> str:
    """Return when and on what it was run, as HTML."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(runs.began)) + " UTC" if runs.began else ""
    names = list(dict.fromkeys(run.executor for run in runs.runs if run.executor))
    count = len(runs.runs)
    words = [when, *names, f"{count} runs" if count > 1 else ""]
    return "".join(f"<span>{escape(word)}</span> " for word in words if word)


def sections(runs: Runs) -> str:
    """Return all sections that a record has something for."""
    found = [_bound(runs), _tiles(runs), _comparison(runs)]
    if len(runs.tasks):
        found += [_timeline(runs), _parallelism(runs), _throughput(runs), _kernels(runs), slow_section(runs)]
    found += [faults_section(runs), solutions_section(runs), runs_section(runs), errors_section(runs)]
    return "\n".join(part for part in found if part)


def _tiles(runs: Runs) -> str:
    tasks, seconds, parts = runs.tasks, runs.seconds, shares(runs)
    planned = {row.name: row for row in comparison(runs)}
    busy = 100 * sum(parts[name] for name in BUSY)
    flops = float(tasks.flops.sum())
    tiles = [("elapsed", format_time(seconds), _planned(planned.get("time")))]
    if len(tasks):
        tiles.append(("tasks", f"{len(tasks):,}", f"on {_threads(len(runs.lanes))}"))
        if seconds and flops:
            tiles.append(("mean rate", f"{flops / seconds / 1e9:,.3g}", "GFLOP/s"))
        tiles += [
            ("busy", f"{busy:.0f} %", "of the workers' time"),
            ("read", _size(int(tasks.bytes_read.sum())), f"{_size(int(tasks.bytes_written.sum()))} written"),
        ]
    peak, paid = peak_memory(runs), planned.get("dollars")
    if peak is not None and peak.measured is not None:
        part = f"{100 * peak.measured / peak.allowed:.0f} % of {_size(peak.allowed)}" if peak.allowed else ""
        tiles.append(("peak memory", _size(peak.measured), part))
    if paid is not None and paid.measured is not None:
        tiles.append(("cost", format_dollars(paid.measured), _planned(paid)))
    items = (
        f"<div><dt>{n}</dt><dd>{value}</dd><dd><small>{more}</small></dd></div>" for n, value, more in tiles
    )
    return f'<dl class="tiles">{"".join(items)}</dl>'


def _threads(count: int) -> str:
    return counted(count, "thread of workers", "threads of workers")


def _planned(row: Row | None) -> str:
    return "" if row is None or row.predicted is None else f"{row.form(row.predicted)} planned"


def _size(n: float) -> str:
    """Return bytes with three digits: a tile is narrow."""
    number, unit = format_bytes(n).split(" ")
    return f"{float(number):,.3g} {unit}"


def _bound(runs: Runs) -> str:
    found, parts = bound(runs), shares(runs)
    bar = colors = ""
    if any(parts.values()):
        css = {name: f"background:var(--{name.replace(' ', '-')})" for name in SHARES}
        used = [name for name in SHARES if parts[name] >= 0.005]
        words = ", ".join(f"{name} {100 * parts[name]:.0f} %" for name in used)
        spans = "".join(f'<i style="{css[name]};flex:{parts[name]:.4f}"></i>' for name in used)
        bar = f'<div class="shares" role="img" aria-label="The workers\' time: {words}">{spans}</div>'
        items = "".join(
            f'<li><i style="{css[name]}"></i>{_SHARE_WORDS[name]} {100 * parts[name]:.0f} %</li>'
            for name in used
        )
        colors = f'<ul class="legend" aria-hidden="true">{items}</ul>'
    more = "".join(f"<li>{escape(each.text)} {escape(each.advice)}</li>" for each in notes(runs))
    failed = " failed" if found.kind in ("failed", "interrupted", "unfinished") else ""
    return (
        f'<section id="bound" class="bounded{failed}" data-kind="{escape(found.kind)}"><h2>What bounded '
        "the run</h2>"
        f'<p class="verdict">{escape(found.text)}</p><p>{escape(found.advice)}</p>{bar}{colors}'
        + (f'<ul class="notes">{more}</ul>' if more else "")
        + "</section>"
    )


_PARTS = (
    *(("reading", "reading", ""), ("making", "making tiles", "")),
    *(("computing", "computing", ""), ("writing", "writing", "")),
)

_SHARE_WORDS = {
    "computing": "computing",
    "making": "making tiles",
    "reading": "reading tiles",
    "writing": "writing tiles",
    "unfinished": "tasks that did not end",
    "failures": "failed attempts",
    "starting": "cold starts",
    "handing over": "handing tasks over",
    "waiting": "waiting for inputs",
    "driver": "no task at all (driver)",
}


def _comparison(runs: Runs) -> str:
    rows = comparison(runs)
    if not rows:
        return ""
    ended = runs.complete  # else there is nothing to compare
    lines = [
        [
            f"{escape(row.name)}" + (f" <small>{escape(row.note)}</small>" if row.note else ""),
            _cell(row, row.predicted),
            _cell(row, row.allowed, row.unlimited),
            _cell(row, row.measured),
            _ratio(row) if ended else "–",
        ]
        for row in rows
    ]
    heads = ["", "predicted", "allowed", "measured", "measured / predicted"]
    return section("plan", "Did it meet its plan?", table("Plan and measurement", heads, lines))


def _cell(row: Row, value: float | None, none: str = "–") -> str:
    return none if value is None else escape(row.form(value))


def _ratio(row: Row) -> str:
    if row.measured is not None and row.allowed:
        part = row.measured / row.allowed
        style = "warn" if part > NEAR_ALLOWED else "good"
        return f'<span class="{style}">{100 * part:.0f} % of allowed</span>'
    if row.ratio is None:
        return "–"
    most = row.note.startswith("at most")
    style = "good" if row.ratio <= (1.0 if most else 1.25) else "warn"
    return f'<span class="{style}">{row.ratio:.2f} ×</span>'


def _timeline(runs: Runs) -> str:
    together = bars_together(runs)
    merged = (
        f" There are {len(runs.tasks):,} tasks: each bar stands for up to {together} that follow each other."
        if together > 1
        else ""
    )
    colors = legend(
        [
            *_PARTS,
            *(("waiting", "waiting for inputs", "stripe"), ("handing-over", "idle", "stripe")),
            ("critical", "critical path", "stripe"),
            *([("failures", "failed attempts", "")] if runs.faults else []),
        ]
    )
    buttons = "".join(
        f'<button type="button" id="{name}" aria-label="{words}" title="{words}">{sign}</button>'
        for name, sign, words in (
            ("earlier", "←", "Earlier"),
            ("later", "→", "Later"),
            ("zoom-in", "+", "Zoom in"),
            ("zoom-out", "−", "Zoom out"),
            ("whole", "Whole run", "Show the whole run"),
        )
    )
    return section(
        "workers",
        "Timeline of the workers",
        f'{colors}<div class="toolbar" role="toolbar" aria-label="Part of the time that charts '
        f'show">{buttons}</div>'
        '<figure><div class="chart" id="timeline" tabindex="0" role="application" '
        'aria-roledescription="timeline" '
        f'aria-label="Timeline of {counted(len(runs.tasks), "task")} on {_threads(len(runs.lanes))}" '
        'aria-describedby="timeline-keys"></div><div id="tip" class="tip" hidden></div>'
        '<div id="live" class="live" aria-live="polite"></div></figure>'
        '<p class="hint screen" id="timeline-keys">Drag across to zoom, double-click for the whole run; '
        "Ctrl and the wheel, or two fingers, zoom, too. Keys: arrows go from task to task and from worker "
        f"to worker, + and − zoom, Shift with arrows moves, 0 shows the whole run.{merged}</p>",
    )


def _parallelism(runs: Runs) -> str:
    found = rates(runs)
    paths = chains(runs)
    busy = float(np.mean(sum(getattr(found, name) for name in BUSY)))
    tasks, on_it = sum(len(path.tasks) for path in paths), sum(path.busy for path in paths)
    work = format_time(on_it)
    chain = f"one task of {work}" if tasks == 1 else f"a chain of {tasks:,} tasks, {work} of work together"
    text = (
        f"{busy:.1f} of {_threads(slots(runs))} were busy on average. The critical path, the "
        f"longest of tasks that waited for each other, is {chain}."
    )
    colors = legend(
        [
            *_PARTS,
            *(
                ("critical", "a task of the critical path", "stripe"),
                ("", "threads of workers there are", "dashed"),
            ),
        ]
    )
    return _over_time(
        "parallelism",
        "Parallelism",
        text,
        colors,
        ["from", "computing", "making tiles", "reading", "writing"],
        _samples(runs, lambda each: [f"{getattr(each, name):.1f}" for name in BUSY]),
    )


def _throughput(runs: Runs) -> str:
    found = rates(runs)
    text = (
        f"At most {found.flops.max() / 1e9:,.3g} GFLOP/s, {format_bytes(float(found.bytes_read.max()))}/s "
        f"read and {format_bytes(float(found.bytes_written.max()))}/s written, from all workers together."
    )
    colors = legend(
        [
            *(
                ("computing", "operations by the second (left)", "stripe"),
                ("reading", "bytes read", "stripe"),
            ),
            ("writing", "bytes written (right)", "stripe"),
        ]
    )
    return _over_time(
        "throughput",
        "Throughput",
        text,
        colors,
        ["from", "GFLOP/s", "read", "written"],
        _samples(
            runs,
            lambda each: [
                f"{each.flops / 1e9:,.3g}",
                f"{format_bytes(round(each.bytes_read))}/s",
                f"{format_bytes(round(each.bytes_written))}/s",
            ],
        ),
    )


def _samples(runs: Runs, cells: Any) -> list[list[str]]:
    found, lines = rates(runs, _SAMPLES), []
    for k in range(_SAMPLES):
        one = Rates(found.edges, *(getattr(found, name)[k].item() for name in Rates.__slots__[1:]))
        lines.append([format_time(float(found.edges[k])) if k else "0 s", *cells(one)])
    return lines


def _over_time(
    name: str, title: str, text: str, colors: str, heads: Sequence[str], lines: Sequence[Sequence[str]]
) -> str:
    return section(
        f"{name}-section",
        title,
        f"<p>{escape(text)}</p>{colors}{chart(name, text)}"
        f"<details><summary>Numbers</summary>{table(title + ' in numbers', heads, lines)}</details>",
    )


def _kernels(runs: Runs) -> str:
    found = kernels(runs)
    total = sum(kernel.seconds for kernel in found) or 1.0
    heads = ["kernel", "tasks", "median", "longest", "all together", "share", "GFLOP/s of one worker"]
    lines = [
        [
            escape(kernel.name),
            f"{kernel.tasks:,}",
            *(format_time(value) for value in (kernel.median, kernel.longest, kernel.seconds)),
            f"{100 * kernel.seconds / total:.0f} %",
            f"{kernel.flops_per_second / 1e9:,.3g}" if kernel.flops_per_second else "–",
        ]
        for kernel in found
    ]
    from_histogram = found[:7]
    items = [(f"k{n}", escape(kernel.name), "") for n, kernel in enumerate(from_histogram)]
    items += [("k7", f"{len(found) - 7} others", "")] if len(found) > 7 else []
    return section(
        "kernels",
        "Times of tasks, by kernel",
        legend(items)
        + chart("histogram", "How many tasks took how long; the table below has the numbers")
        + table("Kernels", heads, lines),
    )
