"""Pictures of plans: a column for each wave, a box for each task, drawn from the plan itself."""

from __future__ import annotations

from dataclasses import replace
from html import escape

import numpy as np

import wrenla as wl
from wrenla.planning.cut import Cut
from wrenla.planning.graph import Graph
from wrenla.planning.plan import Plan

WIDTH, HEIGHT, ACROSS, DOWN, TOP = 42, 22, 76, 28, 24
"""Of a box, from one box to the next, and above the first one, in pixels."""

COLOURS = {
    "potrf": "#c2410c",
    "getrf": "#c2410c",
    "trsm": "#1d4ed8",
    "laswp": "#a16207",
    "gemm": "#15803d",
    "syrk": "#0f766e",
    "add": "#7e22ce",
    "inverse": "#c2410c",
    "times": "#1d4ed8",
    "butterfly": "#a16207",
    "call": "#0f766e",
}
"""By the first letters of a kernel's name; white text on each has a contrast of at least 4.5."""

OTHERS = "#525252"


def colour(kernel: str) -> str:
    """Return the colour of a task's box."""
    return next((value for name, value in COLOURS.items() if kernel.startswith(name)), OTHERS)


def picture(plan: Plan, label: str) -> str:
    """Return the waves of a plan as an SVG, in the colours of the page around it."""
    graph = plan.graph
    waves = [plan.wave(number) for number in range(plan.waves)]
    place = {p: (ACROSS * x, TOP + DOWN * y) for x, wave in enumerate(waves) for y, p in enumerate(wave)}
    parts = ['<g fill="none" stroke="currentColor" stroke-opacity="0.3">']
    for p, (x, y) in place.items():
        for before in {int(need) for need in graph.needs_of(p)}:
            x0, y0, y1 = place[before][0] + WIDTH, place[before][1] + HEIGHT / 2, y + HEIGHT / 2
            parts.append(f'<path d="M{x0} {y0}C{x - 16} {y0} {x - 16} {y1} {x} {y1}"/>')
    parts.append("</g>")
    parts += (
        f'<text x="{ACROSS * number}" y="14" fill="currentColor">wave {number + 1}</text>'
        for number in range(len(waves))
    )
    for p, (x, y) in place.items():
        out, kernel = graph.out(p), _kernel(plan, p)
        parts.append(
            f"<g><title>{escape(kernel)}, tile ({out.i}, {out.j})</title>"
            f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="4" fill="{colour(kernel)}"/>'
            f'<text x="{x + WIDTH / 2}" y="{y + 15}" fill="#fff" text-anchor="middle">'
            f"{out.i}, {out.j}</text></g>"
        )
    bottom, x = TOP + DOWN * max(map(len, waves)) + 8, 0
    for kernel, count in plan.kernels.items():
        text = f"{count} × {kernel}"
        parts.append(
            f'<rect x="{x}" y="{bottom}" width="14" height="14" rx="3" fill="{colour(kernel)}"/>'
            f'<text x="{x + 20}" y="{bottom + 12}" fill="currentColor">{escape(text)}</text>'
        )
        x += 36 + 7 * len(text)
    width, height = max(ACROSS * (len(waves) - 1) + WIDTH, x), bottom + 20
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(label)}" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}" font-size="12">{"".join(parts)}</svg>'
    )


def _kernel(plan: Plan, p: int) -> str:
    """Return the name of what a task does: the pieces of a sum before the last one only multiply."""
    graph = plan.graph
    return graph.tiles.tasks[graph.tile[p]].kernel if graph.last[p] else "gemm"


def plan_of(expression: str, products: int | None = None) -> Plan:
    """Return the plan of an expression in `wl` and `np`.

    Each tile is one task, with all of its sum, or a task adds up so many `products` of tiles. (The plan of a
    run chooses that by its executor; a picture must not depend on the machine that builds it.)
    """
    plan = wl.plan(eval(expression, {"np": np, "wl": wl}))
    cut = Cut("fixed", products) if products else Cut()
    return replace(plan, cut=cut, graph=Graph(plan.graph.tiles, cut, plan.model))
