"""Batches of tasks: short ones go together, and fewer of those that take longer than the plan believes."""

from __future__ import annotations

import pytest

from wrenla.run.loop import Job, _Loop
from wrenla.run.scheduler import Policy


@pytest.mark.parametrize(
    ("seconds", "together"), [(None, 8), (1e-9, 64), (0.001, 64), (0.01, 8), (0.05, 1), (10.0, 1)]
)
def test_few_tasks_go_together_until_it_is_known_how_long_they_take(
    seconds: float | None, together: int
) -> None:
    job = Job("job", None, {}, [], [], 64, 0.02)  # type: ignore[arg-type]
    loop = _Loop(job, None, Policy(), [])  # type: ignore[arg-type]
    loop.seconds = seconds
    assert loop._most_together() == together


def test_tasks_go_alone_where_the_plan_says_so() -> None:
    loop = _Loop(Job("job", None, {}, [], []), None, Policy(), [])  # type: ignore[arg-type]
    assert loop._most_together() == 1
