"""Schedule of a plan on a clock of its own, as if tasks took what the model says."""

from __future__ import annotations

import heapq

from wrenla.planning.plan import Plan
from wrenla.run.execute import _wanted
from wrenla.run.scheduler import Begun, Done, Input, Policy, Submit, initial_state, step

__all__ = ["clocked"]


def clocked(plan: Plan) -> float:
    """Return when the scheduler ends if tasks take what the plan says, on as many workers."""
    state = initial_state(plan.graph, _wanted(plan), [], Policy(slots=plan.model.workers))
    now = 0.0
    running: list[tuple[float, int]] = []
    inputs: list[Input] = [Begun()]
    while inputs or running:
        if not inputs:
            now, task = heapq.heappop(running)
            inputs = [Done(task)]
        state, actions = step(state, inputs.pop())
        for action in actions:
            if isinstance(action, Submit):
                heapq.heappush(running, (now + plan.graph.seconds[action.task], action.task))
    return now
