"""Scheduler: a step function from (state, event) to (state, actions). No executor, store or clock.

The state is changed in place, since copying that of a large plan at each step would cost more than the tasks;
nothing outside `step` changes it, and the same events always give the same actions.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from wrenla.planning.graph import Graph
from wrenla.planning.precedence import by_level, gather

__all__ = [
    "Action",
    "BeginWave",
    "Begun",
    "Done",
    "Drop",
    "EndWave",
    "Failed",
    "Finish",
    "Input",
    "Policy",
    "Resized",
    "Retry",
    "Schedule",
    "State",
    "Stop",
    "Submit",
    "Woken",
    "initial_state",
    "needed_tasks",
    "step",
]

Schedule: TypeAlias = Literal["waves", "dataflow"]


@dataclass(frozen=True, slots=True)
class Policy:
    """Policy of a run: schedule, slots, attempts, backoff.

    Parameters
    ----------
    schedule : {"dataflow", "waves"}
        Each task as soon as its inputs are there, the one with the longest path first; or wave by wave.
    slots : int
        Tasks handed to the executor at a time.
    attempts : int
        How often a task is tried before the run fails.
    backoff : float
        Seconds before the second attempt; doubled for each further one.
    """

    schedule: Schedule = "dataflow"
    slots: int = 2
    attempts: int = 4
    backoff: float = 0.2


# what can happen


@dataclass(frozen=True, slots=True)
class Begun:
    """The run begins."""


@dataclass(frozen=True, slots=True)
class Done:
    """A task's tile is there."""

    task: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A task ended with an error; `transient` ones are worth another attempt."""

    task: int
    transient: bool


@dataclass(frozen=True, slots=True)
class Woken:
    """The delay of a `Retry` is over."""

    task: int


@dataclass(frozen=True, slots=True)
class Resized:
    """Workers have joined or left: another number of tasks goes to the executor at a time."""

    slots: int


Input: TypeAlias = Begun | Done | Failed | Woken | Resized

# what is to be done about it


@dataclass(frozen=True, slots=True)
class Submit:
    """Hand a task to the executor. `after` is the task whose end has let it begin; −1: it waited for none."""

    task: int
    attempt: int
    after: int = -1


@dataclass(frozen=True, slots=True)
class Drop:
    """Remove the tile of a task: its last reader is done."""

    task: int


@dataclass(frozen=True, slots=True)
class Retry:
    """Send `Woken(task)` after `delay` seconds."""

    task: int
    attempt: int
    delay: float


@dataclass(frozen=True, slots=True)
class BeginWave:
    """All tasks of earlier waves are done."""

    wave: int
    tasks: int


@dataclass(frozen=True, slots=True)
class EndWave:
    """All tasks of this wave are done."""

    wave: int


@dataclass(frozen=True, slots=True)
class Finish:
    """Every result is there."""


@dataclass(frozen=True, slots=True)
class Stop:
    """The run has failed with this task: cancel what has not started."""

    task: int


Action: TypeAlias = Submit | Drop | Retry | BeginWave | EndWave | Finish | Stop


@dataclass(slots=True)
class State:
    """State of the scheduler. Lists are indexed by task.

    `missing` and `readers` count what a task waits for, and who waits for its tile, as often as it stands in
    the graph. Those of a task that is not needed are never looked at, and may become negative. `tasks` is how
    many the results need if no tile is there: an algorithm may have some that nobody reads.
    """

    graph: Graph
    policy: Policy
    todo: int
    missing: list[int]
    readers: list[int]
    wanted: list[bool]
    rank: list[float]
    level: list[int]
    present: list[bool]
    attempts: dict[int, int] = field(default_factory=dict)
    after: dict[int, int] = field(default_factory=dict)
    running: set[int] = field(default_factory=set)
    sleeping: set[int] = field(default_factory=set)
    ready: list[tuple[float, int]] = field(default_factory=list)
    held: dict[int, list[int]] = field(default_factory=dict)
    wave_left: dict[int, int] = field(default_factory=dict)
    wave: int = -1
    stopped: bool = False
    tasks: int = 0


def needed_tasks(
    graph: Graph, wanted: npt.NDArray[np.bool_], present: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Find the work that is left, backwards from the results that are missing."""
    needed = wanted & ~present
    for tasks in by_level(graph.level)[::-1]:
        inputs, _ = gather(graph.first_need, graph.needs, tasks[needed[tasks]])
        needed[inputs[~present[inputs]]] = True
    return needed


def initial_state(graph: Graph, wanted: Sequence[int], present: Sequence[int], policy: Policy) -> State:
    """Return the state before the first step.

    Parameters
    ----------
    graph : Graph
    wanted : sequence of int
        Tasks whose tiles are results.
    present : sequence of int
        Tasks whose tiles are there already, from an earlier run that was cut short.
    policy : Policy
    """
    is_wanted, is_present = np.zeros(len(graph), bool), np.zeros(len(graph), bool)
    is_wanted[list(wanted)] = True
    is_present[list(present)] = True
    needed = needed_tasks(graph, is_wanted, is_present)
    counts = np.diff(graph.first_need)
    edges = np.repeat(needed, counts)  # those of tasks that will run
    readers = np.bincount(graph.needs[edges], minlength=len(graph))
    edges &= needed[graph.needs]
    waiting = np.repeat(np.arange(len(graph), dtype=np.int32), counts)[edges]
    missing = np.bincount(waiting, minlength=len(graph))
    rank: npt.NDArray[Any] = graph.urgency
    state = State(
        graph,
        policy,
        int(needed.sum()),
        missing.tolist(),
        readers.tolist(),
        is_wanted.tolist(),
        (-rank).tolist(),
        graph.level.tolist(),
        is_present.tolist(),
    )
    nothing = np.zeros(len(graph), bool)
    state.tasks = int(needed_tasks(graph, is_wanted, nothing).sum()) if is_present.any() else state.todo
    for p in np.flatnonzero(needed).tolist():
        state.wave_left[state.level[p]] = state.wave_left.get(state.level[p], 0) + 1
        if state.missing[p] == 0:
            _make_ready(state, p)
    return state


def step(state: State, event: Input) -> tuple[State, list[Action]]:
    """Take in one event and say what is to be done."""
    actions: list[Action] = []
    match event:
        case Begun():
            # what an earlier run left and nobody reads any more
            unread = (p for p, there in enumerate(state.present) if there)
            actions += [Drop(p) for p in unread if not state.readers[p] and not state.wanted[p]]
        case Done(task):
            _finish_task(state, task, actions)
        case Failed(task, transient):
            _fail_task(state, task, transient, actions)
        case Woken(task) if task in state.sleeping:
            state.sleeping.remove(task)
            _make_ready(state, task)
        case Resized(slots):
            state.policy = replace(state.policy, slots=slots)
    if state.stopped:
        return state, actions
    if state.todo == 0:
        actions.append(Finish())
        return state, actions
    if state.policy.schedule == "waves":
        _open_wave(state, actions)
    while state.ready and len(state.running) < state.policy.slots:
        _, task = heapq.heappop(state.ready)
        state.running.add(task)
        attempt = state.attempts[task] = state.attempts.get(task, 0) + 1
        actions.append(Submit(task, attempt, state.after.pop(task, -1)))
    return state, actions


def _make_ready(state: State, task: int) -> None:
    if state.policy.schedule == "waves" and state.level[task] != state.wave:
        state.held.setdefault(state.level[task], []).append(task)
    else:
        heapq.heappush(state.ready, (state.rank[task], task))


def _finish_task(state: State, task: int, actions: list[Action]) -> None:
    if task not in state.running:  # a second copy of it came late: the first one counts
        return
    state.running.discard(task)
    state.todo -= 1
    first, followers = state.graph.followers
    for follower in followers[first[task] : first[task + 1]].tolist():
        state.missing[follower] -= 1
        if state.missing[follower] == 0:
            state.after[follower] = task
            _make_ready(state, follower)
    for read in state.graph.needs_of(task).tolist():
        state.readers[read] -= 1
        if state.readers[read] == 0 and not state.wanted[read]:
            actions.append(Drop(read))
    state.wave_left[state.level[task]] -= 1
    if state.policy.schedule == "waves" and state.wave_left[state.level[task]] == 0:
        actions.append(EndWave(state.level[task]))


def _fail_task(state: State, task: int, transient: bool, actions: list[Action]) -> None:
    if task not in state.running:
        return
    state.running.discard(task)
    attempt = state.attempts[task]
    if transient and attempt < state.policy.attempts and not state.stopped:
        state.sleeping.add(task)
        actions.append(Retry(task, attempt, state.policy.backoff * 2 ** (attempt - 1)))
    else:
        state.stopped = True
        actions.append(Stop(task))


def _open_wave(state: State, actions: list[Action]) -> None:
    """Let the next wave that has work begin when the current one has none left."""
    if state.wave_left.get(state.wave, 0) == 0:
        state.wave = min(wave for wave, left in state.wave_left.items() if left)
        actions.append(BeginWave(state.wave, state.wave_left[state.wave]))
        for task in state.held.pop(state.wave, []):
            heapq.heappush(state.ready, (state.rank[task], task))
