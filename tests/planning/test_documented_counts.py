"""Counts on the pages of algorithms: each formula of a table is compared with the plan."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import log2
from pathlib import Path
from typing import Any

import pytest

from wrenla.algorithms.factorizations.block_lu import block_lu
from wrenla.algorithms.factorizations.cholesky import cholesky
from wrenla.algorithms.factorizations.lu import lu
from wrenla.algorithms.map_tiles import map_tiles
from wrenla.algorithms.matmul import matmul
from wrenla.algorithms.solve import cho_solve
from wrenla.algorithms.triangular import solve_triangular
from wrenla.planning.cut import Cut
from wrenla.planning.expression import Node, leaf
from wrenla.planning.plan import Plan
from wrenla_handler.tiles.arrays import FunctionArray
from wrenla_handler.tiles.grid import Grid

PAGES = Path(__file__).parents[2] / "docs/algorithms"

B = 512
"""Rows of a tile: so many that n² does not show beside n³."""

ROWS = {
    "cholesky": 6,
    "lu": 2,
    "butterflies": 4,
    "ldl": 4,
    "triangular": 6,
    "matmul": 6,
    "condition": 6,
    "map": 5,
}
"""Formulas on each page."""

Stored = Callable[..., Node]
PlanOf = Callable[..., Plan]

FUNCTION = leaf(FunctionArray(Grid((1, 1), (1, 1)), "float64", 2, "f", "", "0" * 64))


def results(page: str, stored: Stored, N: int) -> tuple[tuple[Node, ...], dict[str, Any]]:
    """Return what a page is about, and its letters, for N tile rows."""
    n, R, K, M = N * B, 3, 5, 2
    square, one = stored(n, n, B), {"N": N, "n": n, "b": B, "log2": log2}
    match page:
        case "cholesky":
            return (cholesky(stored(n, n, B, "pos")),), one
        case "lu":
            return tuple(lu(square)), one
        case "butterflies":
            return (block_lu(square, "general"),), one
        case "ldl":
            return (block_lu(square, "hermitian"),), one
        case "triangular":
            T = solve_triangular(stored(n, n, B, "lower"), stored(n, R * B, B), "lower")
            return (T,), one | {"R": R, "r": R * B}
        case "matmul":
            C = matmul(stored(M * B, K * B, B), stored(K * B, n, B))
            return (C,), one | {"M": M, "K": K, "m": M * B, "k": K * B}
        case "condition":
            return (cho_solve(stored(n, n, B, "lower"), stored(n, 4, (B, 4))),), one | {"r": 4}
        case "map":
            return (map_tiles(FUNCTION, (stored(M * B, n, B),), "float64"),), one | {"M": M}
    raise AssertionError(page)


COUNTS: dict[str, Callable[[Plan], float]] = {
    "tasks": lambda plan: plan.tasks,
    "tasks, tiles written": lambda plan: plan.tasks,
    "waves": lambda plan: plan.waves,
    "tiles read": lambda plan: plan.reads,
    "operations": lambda plan: plan.flops,
    "bytes read, float64": lambda plan: plan.bytes_read,
    "bytes written, float64": lambda plan: plan.bytes_written,
    "products of tiles": lambda plan: (
        sum(map(len, plan.graph.tiles.during)) + plan.kernels.get("times_right", 0)
    ),
}


def formulas(page: str) -> dict[str, str]:
    """Return the table of counts: a label and a formula in Python each."""
    text = (PAGES / f"{page}.md").read_text().partition("## Counts")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| ([^|`]+) \| `([^`]+)` \|$", text, re.MULTILINE))


@pytest.mark.parametrize("page", ROWS)
@pytest.mark.parametrize("N", [2, 4, 8])
def test_formulas_are_those_of_the_plan(page: str, N: int, stored: Stored, plan_of: PlanOf) -> None:
    nodes, letters = results(page, stored, N)
    plan = plan_of(*nodes, cut=Cut())
    table = formulas(page)
    assert len(table) == ROWS[page]
    for label, formula in table.items():
        counted = COUNTS[label.replace(" of a step", "").replace(" in a step", "")](plan)
        assert eval(formula, {}, letters) == pytest.approx(counted, rel=2e-3 if page == "lu" else 1e-9), label


def test_examples_of_lu_are_those_of_the_plan(stored: Stored, plan_of: PlanOf) -> None:
    rows = re.findall(
        r"^\| (\d+) \| ([\d,]+) \| ([\d,]+) \| (\d+) \|$", (PAGES / "lu.md").read_text(), re.MULTILINE
    )
    said = {int(row[0]): tuple(int(number.replace(",", "")) for number in row[1:]) for row in rows}
    assert sorted(said) == [16, 32, 64]
    for N in (16, 32):  # 64 is slow; tests/planning/test_counts.py has it
        plan = plan_of(*lu(stored(N * B, N * B, B)), cut=Cut())
        assert (plan.tasks, int(plan.bytes_written) // (8 * B * B), plan.waves) == said[N]


def test_every_page_with_formulas_is_compared() -> None:
    assert {path.stem for path in PAGES.glob("*.md") if formulas(path.stem)} == set(ROWS)
