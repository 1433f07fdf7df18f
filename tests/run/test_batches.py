"""Batches of tasks: short ones go together, and fewer of those that take longer than the plan believes."""

from __future__ import annotations

import pytest

from wrenla.run.loop import Job, _Loop
from wrenla.run.scheduler import Policy, Resized, Woken


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


def test_run_hands_out_as_many_tasks_as_there_are_workers_now() -> None:
    """Workers join and leave: what goes to the executor at a time is looked at before each wait."""
    slots = [2]
    loop = _Loop(Job("job", None, {}, [], []), None, Policy(slots=2), [], lambda: slots[0])  # type: ignore[arg-type]
    loop.alarms.append((0.0, 7))
    assert loop._wait() == Woken(7)
    slots[0] = 5
    assert loop._wait() == Resized(5)
    loop.alarms.append((0.0, 8))
    assert loop._wait() == Woken(8)
