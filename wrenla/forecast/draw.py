"""Drawing of a task graph as SVG: a column for each wave, a colour for each kernel."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import numpy as np

from wrenla.errors import PlanError
from wrenla.planning.plan import Plan
from wrenla.units import counted

__all__ = ["drawn"]

_MOST = 1000
"""Tasks of a picture in which something can be seen."""

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
"""Okabe and Ito's, who can be told apart by everybody, and a brown; from the ninth kernel on they repeat."""

_SHAPES = ("circle", "square", "diamond")
"""From one round of colours to the next."""

_STEP, _GAP, _RADIUS, _MARGIN, _LINE = 46, 22, 7, 30, 18

_LEGEND, _BESIDE = 150, 4
"""Width of an entry of the legend, and how many stand beside each other."""


def drawn(plan: Plan) -> str:
    """Return the picture of a plan's tasks as the text of an SVG file.

    Raises
    ------
    PlanError
        There are more than 1,000 tasks.
    """
    if plan.tasks > _MOST:
        raise PlanError(
            f"a picture of {plan.tasks:,} tasks shows nothing, so up to {_MOST:,} are drawn: use larger "
            "tiles (tile=), or a smaller matrix with fewer of them"
        )
    kernels, names = list(plan.kernels), plan.kernel_of_tasks
    style = {kernel: number for number, kernel in enumerate(kernels)}
    places = _places(plan)
    top = max([y for _, y in places] or [0]) + _MARGIN + _GAP
    width = max(_LEGEND * _BESIDE, 2 * _MARGIN + _STEP * plan.waves)
    height = top + _LINE * -(-len(kernels) // _BESIDE) + _MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" font-family="sans-serif" font-size="12">',
        f"<title>{escape(plan.title)}: {counted(plan.tasks, 'task')} in "
        f"{counted(plan.waves, 'wave')}</title>",
        "<style>.e{fill:none;stroke:#888;stroke-opacity:.45}.t{fill:#333}"
        "@media(prefers-color-scheme:dark){.t{fill:#ddd}.k6{fill:#fff}}</style>",
        *_edges(plan, places),
    ]
    for p, kernel in enumerate(names):
        words = f"<title>{escape(_words(plan, p, kernel))}</title>"
        lines.append(_group(style[kernel], words + _shape(style[kernel], *places[p])))
    return "\n".join([*lines, *_waves(plan), *_legend(plan, kernels, top), "</svg>"])


def _group(number: int, content: str) -> str:
    """Return what is drawn in the colour of a kernel."""
    colour = number % len(_COLOURS)
    return f'<g class="k{colour}" fill="{_COLOURS[colour]}">{content}</g>'


def _places(plan: Plan) -> list[tuple[int, int]]:
    """Return the middle of each task: below each other in a wave, in the order of their tiles."""
    level = plan.graph.level.tolist()
    order = sorted(range(plan.tasks), key=lambda p: (plan.graph.out(p).j, plan.graph.out(p).i, p))
    filled = [0] * (plan.waves + 1)
    places = [(0, 0)] * plan.tasks
    for p in order:
        wave = level[p]
        places[p] = _MARGIN + _STEP * wave, 2 * _MARGIN + _GAP * filled[wave]
        filled[wave] += 1
    return places


def _words(plan: Plan, p: int, kernel: str) -> str:
    ref, flops = plan.graph.out(p), float(plan.graph.flops[p])
    part = f", {ref.partial} products of it" if ref.partial else ""
    work = f", {flops / 1e9:.3g} GFLOP" if flops else ""
    return f"task {p}: {kernel}, tile ({ref.i}, {ref.j}){part}, wave {int(plan.graph.level[p])}{work}"


def _shape(number: int, x: int, y: int) -> str:
    match _SHAPES[number // len(_COLOURS) % len(_SHAPES)]:
        case "circle":
            return f'<circle cx="{x}" cy="{y}" r="{_RADIUS}"/>'
        case "square":
            return f'<rect x="{x - _RADIUS}" y="{y - _RADIUS}" width="{2 * _RADIUS}" height="{2 * _RADIUS}"/>'
        case _:
            points = ((x, y - _RADIUS - 1), (x + _RADIUS + 1, y), (x, y + _RADIUS + 1), (x - _RADIUS - 1, y))
            return f'<polygon points="{" ".join(f"{a},{b}" for a, b in points)}"/>'


def _edges(plan: Plan, places: list[tuple[int, int]]) -> Iterator[str]:
    for p in range(plan.tasks):
        x, y = places[p]
        for q in np.unique(plan.graph.needs_of(p)).tolist():
            a, b = places[q]
            bend = max(_STEP // 2, (x - a) // 2)
            yield f'<path class="e" d="M{a + _RADIUS},{b}C{a + bend},{b} {x - bend},{y} {x - _RADIUS},{y}"/>'


def _waves(plan: Plan) -> Iterator[str]:
    every = max(1, plan.waves // 40)
    for wave in range(0, plan.waves, every):
        x = _MARGIN + _STEP * wave
        yield f'<text class="t" x="{x}" y="{_MARGIN - 8}" text-anchor="middle">{wave}</text>'


def _legend(plan: Plan, kernels: list[str], top: int) -> Iterator[str]:
    for number, kernel in enumerate(kernels):
        x, y = _MARGIN + _LEGEND * (number % _BESIDE), top + _LINE * (number // _BESIDE)
        yield _group(number, _shape(number, x, y))
        text = escape(f"{plan.kernels[kernel]} {kernel}")
        yield f'<text class="t" x="{x + 14}" y="{y + 4}">{text}</text>'
