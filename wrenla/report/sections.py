"""Sections of a report, as HTML: each a heading with text, a table or the place of a chart."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np

from wrenla.report.causes import NEAR_ALLOWED, bound, first_line, notes
from wrenla.report.compare import (
    Row,
    comparison,
    format_dollars,
    kernels,
    peak_memory,
    stragglers,
    usual_seconds,
)
from wrenla.report.page_data import bars_together, labels
from wrenla.report.runs import Runs
from wrenla.report.shares import SHARES, Rates, chains, rates, shares, slots
from wrenla.units import format_bytes, format_time

__all__ = ["about", "heading", "sections"]

_SLOWEST, _LATE, _FAULTS = 10, 10, 100
"""Rows of tables: the slowest tasks, stragglers, failed attempts."""

_SAMPLES = 12
"""Rows of the tables that stand beside charts over time."""


def heading(runs: Runs) -> str:
    """Return a line of plain text: what was run."""
    if runs.solutions:
        first, more = runs.solutions[0], len(runs.solutions) - 1
        size = " × ".join(f"{n:,}" for n in first.get("shape", ()))
        return f"Solution of a system of {size}" + (f" and {more} more" if more else "")
    titles = [str(run.plan.get("title", "")).removeprefix("plan for ") for run in runs.runs]
    title = next((title for title in titles if title), "")
    if not title:
        return "Nothing to run" if not runs.runs else "A run"
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
        found += [_timeline(runs), _parallelism(runs), _throughput(runs), _kernels(runs), _slow(runs)]
    found += [_faults(runs), _solutions(runs), _runs(runs), _errors(runs)]
    return "\n".join(part for part in found if part)


def _tiles(runs: Runs) -> str:
    tasks, seconds, parts = runs.tasks, runs.seconds, shares(runs)
    planned = {row.name: row for row in comparison(runs)}
    busy = 100 * (parts["computing"] + parts["reading"] + parts["writing"])
    flops = float(tasks.flops.sum())
    tiles = [("elapsed", format_time(seconds), _planned(planned.get("time")))]
    if len(tasks):
        tiles.append(("tasks", f"{len(tasks):,}", f"on {len(runs.lanes):,} threads of workers"))
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


def _planned(row: Row | None) -> str:
    return "" if row is None or row.predicted is None else f"{row.form(row.predicted)} planned"


def _size(n: float) -> str:
    """Return bytes with three digits: a tile is narrow."""
    number, unit = format_bytes(n).split(" ")
    return f"{float(number):,.3g} {unit}"


def _bound(runs: Runs) -> str:
    found, parts = bound(runs), shares(runs)
    bar = legend = ""
    if any(parts.values()):
        css = {name: f"background:var(--{name.replace(' ', '-')})" for name in SHARES}
        used = [name for name in SHARES if parts[name] >= 0.002]
        words = ", ".join(f"{name} {100 * parts[name]:.0f} %" for name in used)
        spans = "".join(f'<i style="{css[name]};flex:{parts[name]:.4f}"></i>' for name in used)
        bar = f'<div class="shares" role="img" aria-label="The workers\' time: {words}">{spans}</div>'
        items = "".join(
            f'<li><i style="{css[name]}"></i>{_SHARE_WORDS[name]} {100 * parts[name]:.0f} %</li>'
            for name in used
        )
        legend = f'<ul class="legend" aria-hidden="true">{items}</ul>'
    more = "".join(f"<li>{escape(each.text)} {escape(each.advice)}</li>" for each in notes(runs))
    failed = " failed" if found.kind in ("failed", "killed") else ""
    return (
        f'<section id="bound" class="bounded{failed}" data-kind="{escape(found.kind)}"><h2>What bounded '
        "the run</h2>"
        f'<p class="verdict">{escape(found.text)}</p><p>{escape(found.advice)}</p>{bar}{legend}'
        + (f'<ul class="notes">{more}</ul>' if more else "")
        + "</section>"
    )


_SHARE_WORDS = {
    "computing": "computing",
    "reading": "reading tiles",
    "writing": "writing tiles",
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
    lines = [
        [
            f"{escape(row.name)}" + (f" <small>{escape(row.note)}</small>" if row.note else ""),
            *(_cell(row, value) for value in (row.predicted, row.allowed, row.measured)),
            _ratio(row),
        ]
        for row in rows
    ]
    heads = ["", "predicted", "allowed", "measured", "measured / predicted"]
    return _section("plan", "Did it meet its plan?", _table("Plan and measurement", heads, lines))


def _cell(row: Row, value: float | None) -> str:
    return "–" if value is None else escape(row.form(value))


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
    legend = _legend(
        [
            *(("reading", "reading", ""), ("computing", "computing", ""), ("writing", "writing", "")),
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
    return _section(
        "workers",
        "Timeline of the workers",
        f'{legend}<div class="toolbar" role="toolbar" aria-label="Part of the time that charts '
        f'show">{buttons}</div>'
        '<figure><div class="chart" id="timeline" tabindex="0" role="application" '
        'aria-roledescription="timeline" '
        f'aria-label="Timeline of {len(runs.tasks):,} tasks on {len(runs.lanes):,} threads of workers" '
        'aria-describedby="timeline-keys"></div><div id="tip" class="tip" hidden></div>'
        '<div id="live" class="live" aria-live="polite"></div></figure>'
        '<p class="hint screen" id="timeline-keys">Drag across to zoom, double-click for the whole run; '
        "Ctrl and the "
        "wheel, or two fingers, zoom, too. Keys: arrows go from task to task and from worker to worker, + "
        "and − zoom, "
        f"Shift with arrows moves, 0 shows the whole run.{merged}</p>",
    )


def _parallelism(runs: Runs) -> str:
    found = rates(runs)
    paths = chains(runs)
    busy = float(np.mean(found.computing + found.reading + found.writing))
    tasks, on_it = sum(len(path.tasks) for path in paths), sum(path.busy for path in paths)
    text = (
        f"{busy:.1f} of {slots(runs):,} threads of workers were busy on average. The "
        "critical path, "
        f"back from the last task, is a chain of {tasks:,} tasks, with {format_time(on_it)} of work in them."
    )
    legend = _legend(
        [
            *(("reading", "reading", ""), ("computing", "computing", ""), ("writing", "writing", "")),
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
        legend,
        ["from", "computing", "reading", "writing"],
        _samples(runs, lambda each: [f"{v:.1f}" for v in (each.computing, each.reading, each.writing)]),
    )


def _throughput(runs: Runs) -> str:
    found = rates(runs)
    text = (
        f"At most {found.flops.max() / 1e9:,.3g} GFLOP/s, {format_bytes(float(found.bytes_read.max()))}/s "
        "read and "
        f"{format_bytes(float(found.bytes_written.max()))}/s written, from all workers together."
    )
    legend = _legend(
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
        legend,
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
    name: str, title: str, text: str, legend: str, heads: Sequence[str], lines: Sequence[Sequence[str]]
) -> str:
    return _section(
        f"{name}-section",
        title,
        f"<p>{escape(text)}</p>{legend}{_chart(name, text)}"
        f"<details><summary>Numbers</summary>{_table(title + ' in numbers', heads, lines)}</details>",
    )


def _chart(name: str, words: str) -> str:
    return (
        f'<figure><div class="chart" id="{name}" role="img" aria-label="{escape(words)}"></div>'
        f'<p class="values screen" id="{name}-values"></p></figure>'
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
    return _section(
        "kernels",
        "Times of tasks, by kernel",
        _legend(items)
        + _chart("histogram", "How many tasks took how long; the table below has the numbers")
        + _table("Kernels", heads, lines),
    )


def _slow(runs: Runs) -> str:
    tasks, usual = runs.tasks, usual_seconds(runs)
    slowest = np.argsort(-tasks.seconds, kind="stable")[:_SLOWEST]
    late = stragglers(runs)
    text = _table("The slowest tasks", _TASK_HEADS, [_task(runs, int(n)) for n in slowest])
    text += f"<h3>Stragglers: {len(late):,}{f', the worst {_LATE}' if len(late) > _LATE else ''}</h3>"
    if len(late):
        text += "<p>More than three times as long as is usual for their kernel and number of operations.</p>"
        heads = [*_TASK_HEADS, "usual"]
        text += _table(
            "Stragglers",
            heads,
            [[*_task(runs, int(n)), format_time(float(usual[n]))] for n in late[:_LATE]],
        )
    else:
        text += "<p>No task took more than three times as long as is usual for its kernel.</p>"
    return _section("slow", "The slowest tasks", text)


_TASK_HEADS = ["task", "tile", "worker", "began", "took", "reading", "computing", "writing", ""]


def _task(runs: Runs, n: int) -> list[str]:
    tasks = runs.tasks
    task, run = int(tasks.task[n]), int(tasks.run[n])
    name = f"{runs.kernels[tasks.kernel[n]]} {task}"
    return [
        escape(name),
        f"({tasks.row[n]}, {tasks.col[n]})",
        labels(runs)[tasks.lane[n]].removeprefix("worker "),
        *(
            format_time(float(column[n]))
            for column in (tasks.start, tasks.seconds, tasks.read, tasks.compute, tasks.write)
        ),
        f'<button type="button" class="link screen" data-run="{run}" data-task="{task}" '
        f'aria-label="Show {escape(name)} in the timeline">show</button>',
    ]


def _faults(runs: Runs) -> str:
    if not runs.faults:
        return ""
    lines = [
        [
            escape(f"{fault.kernel} {fault.task}"),
            str(fault.attempt),
            format_time(fault.time),
            format_time(fault.time - fault.start),
            escape(first_line(fault.error)),
        ]
        for fault in runs.faults[:_FAULTS]
    ]
    more = f"<p>The first {_FAULTS} of {len(runs.faults):,}.</p>" if len(runs.faults) > _FAULTS else ""
    heads = ["task", "attempt", "at", "after", "why"]
    return _section("faults", "Failed attempts", more + _table("Failed attempts", heads, lines, wide=4))


def _solutions(runs: Runs) -> str:
    parts = []
    for report in runs.solutions:
        facts = [
            ("method", f"{report.get('method')}: {report.get('why')}"),
            (
                "system",
                f"{' × '.join(map(str, report.get('shape', ())))}, {report.get('columns')} right-hand "
                f"sides, {report.get('dtype')}",
            ),
            (
                "residual",
                f"{_g(report.get('hpl'))} units of HPL's criterion (at most 16), LAPACK's ratio "
                f"{_g(report.get('lapack'))}",
            ),
            ("backward error", _g(report.get("backward_error"))),
            ("condition", f"rcond about {_g(report.get('rcond'))}"),
            ("growth", _g(report.get("growth")) if report.get("growth") is not None else ""),
            (
                "refinement",
                f"{report.get('refinements')} steps" if report.get("refinements") else "none needed",
            ),
            *(("given up", str(text)) for text in report.get("fallbacks") or ()),
        ]
        parts.append(
            f'<dl class="facts">{"".join(f"<dt>{n}</dt><dd>{escape(v)}</dd>" for n, v in facts if v)}</dl>'
        )
    return _section("solutions", "Can the result be trusted?", "<hr>".join(parts)) if parts else ""


def _g(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, int | float) else "–"


def _runs(runs: Runs) -> str:
    if len(runs.runs) < 2 and not any(run.calls for run in runs.runs):
        return ""
    heads = ["run", "began", "took", "tasks", "waves", "planned"]
    calls = sorted({name for run in runs.runs for name in run.calls})
    lines = [
        [
            str(number),
            format_time(run.start) if run.start else "0 s",
            format_time(run.end - run.start),
            f"{run.todo:,} of {run.tasks:,}",
            str(run.plan.get("waves", "–")),
            format_time(run.plan["seconds"]) if run.plan.get("seconds") else "–",
            *(f"{run.calls.get(name, 0):,.6g}" for name in calls),
        ]
        for number, run in enumerate(runs.runs, 1)
    ]
    heads += [escape(name.replace("_", " ")) for name in calls]
    return _section("runs", "Runs of this evaluation", _table("Runs", heads, lines))


def _errors(runs: Runs) -> str:
    texts = [run.error for run in runs.runs if run.error]
    blocks = "".join(f"<pre>{escape(text[:20_000])}</pre>" for text in texts)
    return _section("errors", "Why it failed", blocks) if blocks else ""


def _section(name: str, title: str, content: str) -> str:
    return f'<section id="{name}"><h2>{escape(title)}</h2>{content}</section>'


def _legend(items: Iterable[tuple[str, str, str]]) -> str:
    made = "".join(
        f'<li><i class="{kind}"{f" style=background:var(--{color})" if color else ""}></i>{words}</li>'
        for color, words, kind in items
    )
    return f'<ul class="legend">{made}</ul>'


def _table(caption: str, heads: Sequence[str], lines: Sequence[Sequence[str]], wide: int = -1) -> str:
    """Return a table in a region that scrolls, of cells that are HTML; the first of each row is its head."""
    head = "".join(f'<th scope="col">{each}</th>' if each else "<td></td>" for each in heads)
    rows = "".join(
        f'<tr><th scope="row">{first}</th>'
        + "".join(
            f'<td class="{"wide text" if n == wide else ""}">{cell}</td>' for n, cell in enumerate(rest, 1)
        )
        + "</tr>"
        for first, *rest in lines
    )
    return (
        f'<div class="table" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
