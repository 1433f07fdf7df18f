"""Plan as HTML, for notebooks."""

from __future__ import annotations

from html import escape

import numpy as np

from wrenla.planning.plan import Plan

__all__ = ["plan_page"]

_WIDTH, _HEIGHT, _BARS = 480, 60, 120


def plan_page(plan: Plan) -> str:
    """Return a table of a plan's lines, and a bar chart of tasks over waves."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th>"
        f"<td style='text-align:left'>{escape(text)}</td></tr>"
        for name, text in plan.rows()
    )
    return f"<div><strong>{escape(plan.title)}</strong><table>{rows}</table>{_waves(plan)}</div>"


def _waves(plan: Plan) -> str:
    """Return a bar chart of the tasks of each wave; of many waves some together, by their mean."""
    if not plan.tasks:
        return ""
    counts = np.bincount(plan.graph.level)
    bars = [float(part.mean()) for part in np.array_split(counts, min(_BARS, len(counts)))]
    width, top = _WIDTH / len(bars), max(bars)
    drawn = "".join(
        f"<rect x='{number * width:.2f}' y='{_HEIGHT * (1 - bar / top):.2f}' "
        f"width='{max(0.5, 0.85 * width):.2f}' height='{_HEIGHT * bar / top:.2f}'/>"
        for number, bar in enumerate(bars)
    )
    words = f"tasks in each of {plan.waves:,} waves, {int(counts.max()):,} at most"
    return (
        f"<svg width='{_WIDTH}' height='{_HEIGHT}' viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img' "
        f"aria-label='{words}' style='fill:#0072B2'><title>{words}</title>{drawn}</svg>"
        f"<div><small>{words}</small></div>"
    )
