"""Tables of a report: the slowest tasks, failed attempts, solutions, runs."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from wrenla.report.causes import first_line
from wrenla.report.compare import stragglers, usual_seconds
from wrenla.report.page.elements import section, table
from wrenla.report.runs import Runs, labels
from wrenla.units import counted, format_time

__all__ = ["errors_section", "faults_section", "runs_section", "slow_section", "solutions_section"]

_SLOWEST, _LATE, _FAULTS = 10, 10, 100
"""Rows of tables: the slowest tasks, stragglers, failed attempts."""


def slow_section(runs: Runs) -> str:
    tasks, usual = runs.tasks, usual_seconds(runs)
    slowest = np.argsort(-tasks.seconds, kind="stable")[:_SLOWEST]
    late = stragglers(runs)
    text = table("The slowest tasks", _TASK_HEADS, [_task(runs, int(n)) for n in slowest])
    text += f"<h3>Stragglers: {len(late):,}{f', the worst {_LATE}' if len(late) > _LATE else ''}</h3>"
    if len(late):
        text += "<p>More than three times as long as is usual for their kernel and number of operations.</p>"
        heads = [*_TASK_HEADS, "usual"]
        text += table(
            "Stragglers",
            heads,
            [[*_task(runs, int(n)), format_time(float(usual[n]))] for n in late[:_LATE]],
        )
    else:
        text += "<p>No task took more than three times as long as is usual for its kernel.</p>"
    return section("slow", "The slowest tasks", text)


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


def faults_section(runs: Runs) -> str:
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
    return section("faults", "Failed attempts", more + table("Failed attempts", heads, lines, wide=4))


def solutions_section(runs: Runs) -> str:
    parts = []
    for report in runs.solutions:
        get = report.get
        shape, sides, steps = get("shape") or (), get("columns"), get("refinements")
        facts = [
            ("method", f"{get('method')}: {get('why')}"),
            (
                "system",
                f"{' × '.join(map(str, shape))}, {get('dtype')}, "
                f"{'one right-hand side' if sides == 1 else f'{sides} right-hand sides'}",
            ),
            (
                "residual",
                f"{_g(get('hpl'))} units of HPL's criterion (at most 16), LAPACK's ratio {_g(get('lapack'))}",
            ),
            ("backward error", _g(get("backward_error"))),
            ("condition", f"rcond about {_g(get('rcond'))}"),
            ("growth", _g(get("growth")) if get("growth") is not None else ""),
            ("refinement", counted(steps, "step") if steps else "none needed"),
            *(("given up", str(text)) for text in get("fallbacks") or ()),
        ]
        parts.append(
            f'<dl class="facts">{"".join(f"<dt>{n}</dt><dd>{escape(v)}</dd>" for n, v in facts if v)}</dl>'
        )
    return section("solutions", "Can the result be trusted?", "<hr>".join(parts)) if parts else ""


def _g(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, int | float) else "–"


def runs_section(runs: Runs) -> str:
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
    return section("runs", "Runs of this evaluation", table("Runs", heads, lines))


def errors_section(runs: Runs) -> str:
    if not runs.failure:  # what a procedure has given up stands in its report
        return ""
    texts = list(dict.fromkeys(text for text in (*(run.error for run in runs.runs), runs.error) if text))
    blocks = "".join(f"<pre>{escape(text[:20_000])}</pre>" for text in texts)
    return section("errors", "Why it failed", blocks) if blocks else ""
