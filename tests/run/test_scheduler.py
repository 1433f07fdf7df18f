"""The scheduler without threads: random graphs, run to the end in random order by a simulated executor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, combinations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wrenla.planning.graph import Graph
from wrenla.run.scheduler import (
    Action,
    BeginWave,
    Begun,
    Done,
    Drop,
    EndWave,
    Failed,
    Finish,
    Input,
    Policy,
    Resized,
    Retry,
    State,
    Stop,
    Submit,
    Woken,
    initial_state,
    needed_tasks,
    step,
)

BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""This machine may have other things to do."""


def a_graph(
    needs: Sequence[Sequence[int]], seconds: Sequence[float] = (), adds: Sequence[bool] = ()
) -> Graph:
    """Make a graph of nothing but what waits for what."""
    graph = Graph.__new__(Graph)
    graph.tile = np.zeros(len(needs), np.int32)
    graph.first_need = np.concatenate(([0], np.cumsum([len(n) for n in needs]))).astype(np.int64)
    graph.needs = np.array(list(chain.from_iterable(needs)), np.int32)
    graph.seconds = np.array(seconds if len(seconds) else [1.0] * len(needs))
    graph.adds = np.array(adds if len(adds) else [False] * len(needs), bool)
    return graph


@st.composite
def graphs(draw: st.DrawFn, most: int = 14) -> Graph:
    n = draw(st.integers(0, most))
    # an input may stand there twice
    needs = [draw(st.lists(st.integers(0, p - 1), max_size=4)) if p else [] for p in range(n)]
    seconds = [draw(st.sampled_from([0.5, 1.0, 2.0, 7.0])) for _ in range(n)]
    return a_graph(needs, seconds, draw(st.lists(st.booleans(), min_size=n, max_size=n)))


def subsets(n: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.booleans(), min_size=n, max_size=n).map(lambda on: [p for p in range(n) if on[p]])


POLICIES = st.builds(
    Policy,
    schedule=st.sampled_from(["dataflow", "waves"]),
    slots=st.integers(1, 5),
    attempts=st.integers(1, 4),
    backoff=st.sampled_from([0.2, 1.0]),
)


@dataclass
class Simulation:
    """An executor that does as it is told, and checks what it is told."""

    graph: Graph
    wanted: set[int]
    present: set[int]
    policy: Policy
    state: State = field(init=False)
    needed: set[int] = field(init=False)
    there: set[int] = field(init=False)
    done: list[int] = field(default_factory=list)
    running: set[int] = field(default_factory=set)
    asleep: set[int] = field(default_factory=set)
    attempts: dict[int, int] = field(default_factory=dict)
    waves: list[int] = field(default_factory=list)
    ended: Finish | Stop | None = None

    def __post_init__(self) -> None:
        n = len(self.graph)
        self.state = initial_state(self.graph, sorted(self.wanted), sorted(self.present), self.policy)
        is_wanted, is_present = np.zeros(n, bool), np.zeros(n, bool)
        is_wanted[list(self.wanted)] = True
        is_present[list(self.present)] = True
        self.needed = set(np.flatnonzero(needed_tasks(self.graph, is_wanted, is_present)).tolist())
        self.there = set(self.present)

    def inputs(self, p: int) -> set[int]:
        return set(self.graph.needs_of(p).tolist())

    def tell(self, event: Input) -> None:
        assert self.ended is None
        self.state, actions = step(self.state, event)
        for action in actions:
            self.check(action)

    def check(self, action: Action) -> None:
        assert self.ended is None, "nothing follows the end"
        level = self.graph.level
        match action:
            case Submit(p, attempt):
                assert p in self.needed
                assert p not in self.done
                assert p not in self.running | self.asleep
                assert self.inputs(p) <= self.there
                self.check_urgency(p)
                self.running.add(p)
                assert len(self.running) <= self.policy.slots
                assert attempt == self.attempts.get(p, 0) + 1 <= self.policy.attempts
                self.attempts[p] = attempt
                if self.policy.schedule == "waves":
                    assert level[p] == self.waves[-1]
            case Drop(p):
                assert p not in self.wanted
                assert p in self.there, "dropped once"
                assert not any(p in self.inputs(q) for q in self.needed - set(self.done))
                self.there.remove(p)
            case Retry(p, attempt, delay):
                assert p in self.asleep
                assert attempt == self.attempts[p] < self.policy.attempts
                assert delay == self.policy.backoff * 2 ** (attempt - 1)
            case BeginWave(wave, tasks):
                assert not any(level[p] < wave for p in self.needed - set(self.done))
                assert tasks == sum(level[p] == wave for p in self.needed) > 0
                self.waves.append(wave)
            case EndWave(wave):
                assert wave == self.waves[-1]
                assert not any(level[p] == wave for p in self.needed - set(self.done))
            case Finish() | Stop():
                self.ended = action

    def check_urgency(self, p: int) -> None:
        """Of what could run now, the most urgent task is handed out."""
        urgency = self.graph.urgency
        for q in self.needed - set(self.done) - self.running - self.asleep:
            in_wave = self.policy.schedule == "dataflow" or self.graph.level[q] == self.waves[-1]
            if in_wave and self.inputs(q) <= self.there:
                assert urgency[q] <= urgency[p]

    def finish(self, p: int) -> None:
        self.running.remove(p)
        self.done.append(p)
        self.there.add(p)
        self.tell(Done(p))

    def fail(self, p: int, transient: bool = True) -> None:
        self.running.remove(p)
        if transient and self.attempts[p] < self.policy.attempts:
            self.asleep.add(p)
        self.tell(Failed(p, transient))

    def wake(self, p: int) -> None:
        self.asleep.remove(p)
        self.tell(Woken(p))

    def resize(self, slots: int) -> None:
        self.policy = replace(self.policy, slots=slots)
        self.tell(Resized(slots))
        if self.ended is None and len(self.running) < slots:  # workers that join are used at once
            waiting = self.needed - set(self.done) - self.running - self.asleep
            if self.policy.schedule == "dataflow":
                assert not any(self.inputs(p) <= self.there for p in waiting)


@st.composite
def simulations(draw: st.DrawFn) -> Simulation:
    graph = draw(graphs())
    n = len(graph)
    return Simulation(graph, set(draw(subsets(n))), set(draw(subsets(n))), draw(POLICIES))


@settings(BUSY, max_examples=200)
@given(simulations(), st.data())
def test_every_needed_task_runs_once_after_its_inputs(sim: Simulation, data: st.DataObject) -> None:
    sim.tell(Begun())
    while sim.ended is None:
        choices = [("finish", p) for p in sorted(sim.running)] + [("wake", p) for p in sorted(sim.asleep)]
        choices += [("fail", p) for p in sorted(sim.running) if sim.attempts[p] < sim.policy.attempts]
        # late copies of what has been settled long ago, and alarms that ring twice
        choices += [("again", p) for p in sim.done[-2:]] + [("ring", p) for p in sorted(sim.running)[:1]]
        choices += [("resize", slots) for slots in (1, 3, 6)]
        assert any(what in ("finish", "wake") for what, _ in choices), "the run hangs"
        what, p = data.draw(st.sampled_from(choices))
        match what:
            case "finish":
                sim.finish(p)
            case "wake":
                sim.wake(p)
            case "fail":
                sim.fail(p)
            case "again":
                sim.tell(data.draw(st.sampled_from([Done(p), Failed(p, True), Failed(p, False), Woken(p)])))
            case "ring":
                sim.tell(Woken(p))
            case "resize":
                sim.resize(p)
    assert sim.ended == Finish()
    assert sorted(sim.done) == sorted(sim.needed)
    # results stay, whatever else there was is gone
    assert sim.there == sim.wanted
    assert sim.waves == sorted(set(sim.waves))


@settings(BUSY, max_examples=150)
@given(simulations(), st.booleans(), st.data())
def test_a_failure_that_lasts_stops_the_run(sim: Simulation, transient: bool, data: st.DataObject) -> None:
    sim.tell(Begun())
    if not sim.needed:
        assert sim.ended == Finish()
        return
    victim = data.draw(st.sampled_from(sorted(sim.needed)))
    while sim.ended is None:
        if victim in sim.running:
            sim.fail(victim, transient)
        elif sim.asleep:
            sim.wake(victim)
        else:
            sim.finish(data.draw(st.sampled_from(sorted(sim.running))))
    assert sim.ended == Stop(victim)
    assert sim.attempts[victim] == (sim.policy.attempts if transient else 1)
    # what is still running may end, but nothing new begins
    for p in sorted(sim.running):
        _, actions = step(sim.state, data.draw(st.sampled_from([Done(p), Failed(p, True)])))
        assert not any(isinstance(action, Submit | Retry | Finish) for action in actions)


@settings(BUSY, max_examples=150)
@given(graphs(most=8), st.data())
def test_needed_tasks_are_the_least_that_suffice(graph: Graph, data: st.DataObject) -> None:
    n = len(graph)
    wanted, present = set(data.draw(subsets(n))), set(data.draw(subsets(n)))

    def suffices(chosen: set[int]) -> bool:
        have = present | chosen
        return wanted <= have and all(set(graph.needs_of(p).tolist()) <= have for p in chosen)

    smallest = next(
        set(chosen)
        for size in range(n + 1)
        for chosen in combinations(range(n), size)
        if suffices(set(chosen))
    )
    flags = np.zeros((2, n), bool)
    flags[0, list(wanted)] = flags[1, list(present)] = True
    assert set(np.flatnonzero(needed_tasks(graph, flags[0], flags[1])).tolist()) == smallest


@settings(BUSY)
@given(graphs(), st.data())
def test_the_same_events_give_the_same_actions(graph: Graph, data: st.DataObject) -> None:
    wanted = data.draw(subsets(len(graph)))
    runs = []
    for _ in range(2):
        state = initial_state(graph, wanted, [], Policy(slots=2))
        log: list[Action] = []
        queue: list[Input] = [Begun()]
        while queue:
            state, actions = step(state, queue.pop(0))
            log += actions
            queue += [Done(action.task) for action in actions if isinstance(action, Submit)]
        runs.append(log)
    assert runs[0] == runs[1]


def test_sum_tasks_are_ready_as_soon_as_their_parts() -> None:
    """Or else all parts of a long sum would be there at once; their number does not matter."""
    for parts in (64, 512):
        needs: list[list[int]] = [[] for _ in range(parts)]
        while len(level := _unread(needs)) > 1:
            needs += [level[t : t + 8] for t in range(0, len(level), 8)]
        graph = a_graph(needs, [1.0] * parts + [0.1] * (len(needs) - parts), [bool(need) for need in needs])
        sim = Simulation(graph, {len(needs) - 1}, set(), Policy(slots=4))
        sim.tell(Begun())
        most = 0
        while sim.ended is None:
            sim.finish(next(p for p in sim.attempts if p in sim.running))  # first come, first done
            most = max(most, len(sim.there))
        assert most <= 8 * len(np.unique(graph.level)) + 4


def _unread(needs: Sequence[Sequence[int]]) -> list[int]:
    """Return the tasks that no other waits for."""
    read = set(chain.from_iterable(needs))
    return [p for p in range(len(needs)) if p not in read]
