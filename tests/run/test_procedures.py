"""Procedures: steps under one lease, errors thrown in, plans, what is kept, and how a killed one goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import wrenla as wl
from tests.run.saves import stop_after
from wrenla.algorithms.assemble import copy
from wrenla.algorithms.elementwise import elementwise
from wrenla.algorithms.factorizations.cholesky import cholesky
from wrenla.algorithms.matmul import matmul
from wrenla.algorithms.procedure import Fetch, Outcome, Procedure, Steps, results_of
from wrenla.algorithms.reductions import norm
from wrenla.algorithms.views import scale, shift
from wrenla.linalg import NotPositiveDefiniteError, SingularMatrixError
from wrenla.planning.expression import Description, Node
from wrenla.run.events import Event, RunStarted, TaskFinished
from wrenla_handler.stores.base import RUNS
from wrenla_handler.stores.urls import open_store

N, TILE = 48, 16
A = wl.from_array(np.random.default_rng(0).standard_normal((N, N)), tile=TILE)


def runs_of(events: Sequence[Event]) -> list[RunStarted]:
    return [event for event in events if isinstance(event, RunStarted)]


def kernels_of(events: Sequence[Event]) -> Counter[str]:
    return Counter(event.kernel for event in events if isinstance(event, TaskFinished))


def folders(root: str) -> list[str]:
    return list(open_store(f"{root}/{RUNS}").list_folders())


@dataclass(frozen=True)
class Halved(Procedure):
    """A / 2ᵏ for the first k with a norm below a limit: each step halves what the last one has made."""

    limit: float
    follows: ClassVar[str] = "more halves"

    def describe(self, *args: Node) -> Sequence[Description]:
        return (args[0].description,)

    def steps(self, *args: Node) -> Steps:
        (X,) = args
        for number in range(50):
            X, size = yield [scale(elementwise("add", X, X), 0.25), Fetch(norm(X, "fro"))]
            if size < self.limit:
                return Outcome([X], lambda totals, number=number: (number, totals.tasks))
        raise AssertionError("it is small at last")


@dataclass(frozen=True)
class Shifted(Procedure):
    """Cholesky factor of A + 4ᵏ I, for the first k for which there is one."""

    def describe(self, *args: Node) -> Sequence[Description]:
        return (cholesky(args[0]).description,)

    def steps(self, *args: Node) -> Steps:
        for k in range(10):
            try:
                return Outcome((yield [cholesky(shift(args[0], 4.0**k))]), lambda totals, k=k: k)
            except NotPositiveDefiniteError:
                continue
        raise AssertionError("it is dominant at last")


@dataclass(frozen=True)
class Nested(Procedure):
    """A procedure that asks for the result of another one, and returns an expression."""

    def describe(self, *args: Node) -> Sequence[Description]:
        return (args[0].description,)

    def steps(self, *args: Node) -> Steps:
        (X,) = yield list(results_of(Halved(10.0), *args))
        return Outcome([copy(matmul(X, X))])


def made(procedure: Procedure, *args: wl.BigMatrix) -> wl.BigMatrix:
    (node,) = results_of(procedure, *(arg._node for arg in args))
    return wl.BigMatrix(node)


def expected_half(limit: float) -> tuple[np.ndarray, int]:
    X, k = np.asarray(A.compute()), 0
    while True:
        size, X = np.linalg.norm(X), X / 2
        if size < limit:
            return X, k
        k += 1


@pytest.fixture
def threads() -> Any:
    with wl.LocalExecutor(2, kind="thread") as executor:
        yield executor


def test_steps_go_on_until_a_number_says_enough(root: str, threads: wl.Executor) -> None:
    for limit in (1e9, 10.0, 0.1):
        X, steps = expected_half(limit)
        x, events, seen = made(Halved(limit), A), list[Event](), set[str]()

        def listen(event: Event, events: list[Event] = events, seen: set[str] = seen) -> None:
            events.append(event)
            seen.update(folders(root))

        np.testing.assert_allclose(x.compute(threads, callbacks=[listen]), X, rtol=1e-15)
        assert len(runs_of(events)) == steps + 1
        assert len(seen) == 1, "one folder, so one lease"
        assert len({event.run for event in runs_of(events)}) == 1
        number, tasks = x._node.op.cell.report  # type: ignore[union-attr]
        assert (number, tasks) == (steps, sum(kernels_of(events).values()))
        assert folders(root) == [], "an evaluation that has ended leaves nothing"
        kept = x.persist(threads)
        np.testing.assert_allclose(kept.compute(threads), X, rtol=1e-15)
        assert len(folders(root)) == 1
        del kept
        assert folders(root) == [], "and what is kept goes with its last user"


def test_only_what_is_in_use_is_kept(root: str, threads: wl.Executor) -> None:
    x, most = made(Halved(0.01), A), 0

    def listen(event: Event) -> None:
        nonlocal most
        (folder,) = folders(root)
        tiles = [key for key in open_store(f"{root}/{RUNS}/{folder}").list() if "/c/" in key]
        most = max(most, len(tiles))

    kept = x.persist(threads, callbacks=[listen])
    assert most <= 4 * 9, "two matrices, and what their norms are made of"
    (folder,) = folders(root)
    tiles = [key for key in open_store(f"{root}/{RUNS}/{folder}").list() if "/c/" in key]
    assert len(tiles) == 9
    del kept


def test_errors_are_thrown_in_where_they_belong(threads: wl.Executor) -> None:
    a = np.eye(N) * -30.0
    good, bad = wl.from_array(np.eye(N), tile=TILE), wl.from_array(a, tile=TILE)
    x, y = made(Shifted(), good), made(Shifted(), bad)
    X, Y, Z = wl.compute(x, y, good + good, executor=threads)
    np.testing.assert_allclose(X, np.sqrt(2) * np.eye(N))
    np.testing.assert_allclose(Y, np.sqrt(64 - 30.0) * np.eye(N))
    np.testing.assert_array_equal(Z, 2 * np.eye(N))
    assert (x._node.op.cell.report, y._node.op.cell.report) == (0, 3)  # type: ignore[union-attr]
    with pytest.raises(NotPositiveDefiniteError):
        wl.compute(made(Shifted(), good), bad.cholesky(), executor=threads)


def test_procedures_compose_and_nest(root: str, threads: wl.Executor) -> None:
    X, _ = expected_half(10.0)
    np.testing.assert_allclose(made(Nested(), A).compute(threads), X @ X, rtol=1e-13, atol=1e-15)
    composed = (made(Halved(10.0), A) @ A).norm()
    assert float(composed.compute(threads)) == pytest.approx(np.linalg.norm(X @ np.asarray(A.compute())))
    persisted = made(Nested(), A).persist(threads)
    np.testing.assert_allclose(persisted.compute(threads), X @ X, rtol=1e-13, atol=1e-15)
    saved = made(Nested(), A).save("memory://procedures/nested", threads)
    np.testing.assert_allclose(saved.compute(threads), X @ X, rtol=1e-13, atol=1e-15)
    again = made(Nested(), A).save("memory://procedures/nested", threads)
    np.testing.assert_array_equal(again.compute(threads), saved.compute(threads))
    del composed, persisted
    assert folders(root) == []


def test_plan_shows_the_first_attempt(threads: wl.Executor) -> None:
    S = A.gram().shift(1.0)
    for x in (made(Halved(1e9), A), S.solve(np.ones(N)), A.solve(np.ones((N, 2))), made(Nested(), A)):
        plan, events = wl.plan(x, executor=threads), list[Event]()
        assert "may follow" in str(plan)
        x.compute(threads, callbacks=[events.append])
        if len(runs_of(events)) == 1:
            assert plan.tasks == sum(kernels_of(events).values())
            assert plan.kernels == kernels_of(events)
        kept = x.persist(threads)
        known = wl.plan(kept, executor=threads)
        assert known.tasks <= 9, "what it has come to is there now"
        assert "may follow" not in str(known)
    factor = wl.linalg.cho_factor(S)
    whole = wl.plan(factor.solve(np.ones(N)), executor=threads)
    factor.solve(np.ones(N)).compute(threads)
    assert whole.kernels["potrf"] == N // TILE
    assert "potrf" not in wl.plan(factor.solve(np.ones(N)), executor=threads).kernels


def test_plan_of_mixed_precision_counts_the_steps_that_it_mostly_takes(threads: wl.Executor) -> None:
    definite = wl.from_array(np.diag(np.linspace(1, 1e3, N)) + np.ones((N, N)), tile=TILE)
    x = definite.solve(np.random.default_rng(0).standard_normal(N), "pos", precision="mixed")
    plan, events = wl.plan(x, executor=threads), list[Event]()
    x.compute(threads, callbacks=[events.append])
    assert x.report is not None
    assert x.report.refinements == 2
    assert plan.runs == len(runs_of(events))
    for kernel in ("potrf", "trsm_left", "tile_sizes"):
        assert plan.kernels[kernel] == kernels_of(events)[kernel]


def test_what_procedures_share_is_computed_once(threads: wl.Executor) -> None:
    b = np.ones(N)
    lu, potrf = list[Event](), list[Event]()
    wl.compute(A.solve(b), A.solve(b[:, np.newaxis] * [1.0, 2.0]), executor=threads, callbacks=[lu.append])
    assert kernels_of(lu)["getrf"] == N // TILE
    S = A.gram().shift(1.0)
    wl.compute(S.solve(b), S.slogdet(), S.cholesky(), executor=threads, callbacks=[potrf.append])
    assert kernels_of(potrf)["potrf"] == N // TILE
    factor = wl.linalg.cho_factor(S)
    kept: list[Event] = []
    for _ in range(2):
        wl.compute(factor.solve(b), factor.slogdet(), executor=threads, callbacks=[kept.append])
    assert kernels_of(kept)["potrf"] == N // TILE
    assert len(runs_of(kept)) == 2, "the factor is made by the run that first needs it"
    saved: list[Event] = []
    other = wl.linalg.lu_factor(A)
    other.lu.save("memory://procedures/lu", threads, callbacks=[saved.append])
    other.det().compute(threads, callbacks=[saved.append])
    assert kernels_of(saved)["getrf"] == N // TILE


def test_what_a_procedure_has_made_is_found_by_the_one_that_waits_for_it(
    threads: wl.Executor, root: str
) -> None:
    S, b, F = A.gram().shift(1.0), np.ones(N), wl.linalg.lu_factor(A).lu
    nested = {
        "getrf": (A.solve(A.solve(b)), A.solve(A.solve(A.solve(b)) + 1), A.solve(A.solve(b)[:, None] * F)),
        "potrf": (S.solve(S.solve(b)), wl.linalg.inv(S) @ S.solve(b), S.cholesky() @ S.solve(b)),
    }
    for kernel, expressions in nested.items():
        for x in expressions:
            plan, events = wl.plan(x, executor=threads), list[Event]()
            x.compute(threads, callbacks=[events.append])
            assert kernels_of(events)[kernel] == plan.kernels[kernel] == N // TILE
            assert kernels_of(events)["tile_sizes"] == plan.kernels["tile_sizes"]
    del F, nested, expressions, x
    assert folders(root) == []


def test_equal_procedures_are_one(threads: wl.Executor) -> None:
    S, b, events = A.gram().shift(1.0), np.ones(N), list[Event]()
    x, y = S.solve(b), S.solve(b)
    wl.compute(x, y + 1, executor=threads, callbacks=[events.append])
    assert kernels_of(events)["potrf"] == N // TILE
    assert x.report is y.report is not None
    one, other = wl.linalg.cho_factor(S), wl.linalg.cho_factor(S)
    wl.compute(one.solve(b), other.det(), executor=threads)
    assert repr(one).endswith(", computed)")
    assert repr(other) == repr(one)


def test_one_singular_matrix_of_two_is_named(threads: wl.Executor, root: str) -> None:
    a = np.array(A.compute())
    a[:, 20] = 0
    singular = wl.from_array(a, tile=TILE)
    with pytest.raises(SingularMatrixError) as raised:
        wl.compute(A.solve(np.ones(N)), singular.solve(np.ones(N)), executor=threads)
    assert raised.value.index == 20
    raised.value.with_traceback(None)
    del raised
    assert folders(root) == []


@pytest.mark.parametrize("step", [0, 1, 3])
def test_cut_short_it_goes_on_at_its_step(step: int, root: str, threads: wl.Executor) -> None:
    whole: list[Event] = []
    X = made(Halved(0.1), A).compute(threads, callbacks=[whole.append])
    counts = [event.tasks for event in runs_of(whole)]
    assert len(counts) > step + 1
    x = made(Halved(0.1), A)
    with pytest.raises(KeyboardInterrupt) as raised:
        x.compute(threads, callbacks=[stop_after(sum(counts[:step]) + 3, KeyboardInterrupt())])
    assert "run the same script again" in "".join(raised.value.__notes__)
    raised.value.with_traceback(None)
    del raised, x  # as at the end of the script
    assert len(folders(root)) == 1
    events: list[Event] = []
    again = made(Halved(0.1), A)
    np.testing.assert_array_equal(again.compute(threads, callbacks=[events.append]), X)
    todo = [event.todo for event in runs_of(events)]
    # of earlier steps only what is not in use any more is made again
    assert sum(todo) < sum(counts)
    assert todo[step + 1 :] == counts[step + 1 :]
    del again
    assert folders(root) == []


SCRIPT = """
    import json, os, sys
    import numpy as np, wrenla as wl
    from wrenla.run.events import RunStarted, TaskFinished

    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(rng.standard_normal((200, 200)))
    a = (q * np.logspace(0, -6, 200)) @ q.T
    A = wl.from_array((a + a.T) / 2, tile=32)
    x = A.solve(rng.standard_normal((200, 2)), "pos", precision="mixed")
    runs, kill = [], int(sys.argv[1])

    def listen(event):
        if isinstance(event, RunStarted):
            runs.append((event.tasks, event.todo))
        if isinstance(event, TaskFinished) and len(runs) == kill:
            os.kill(os.getpid(), 9)

    found = x.compute(callbacks=[listen])
    print(json.dumps({"runs": runs, "steps": x.report.refinements, "sum": float(np.abs(found).sum())}))
"""


@pytest.mark.process
def test_killed_it_goes_on_with_the_factor(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))

    def run(kill: int) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "WRENLA_STORE": str(tmp_path / "runs"), "WRENLA_WORKERS": "2"}
        return subprocess.run(
            [sys.executable, str(script), str(kill)],
            capture_output=True,
            text=True,
            env=environment,
            timeout=120,
            check=False,
        )

    whole = run(0)
    assert whole.returncode == 0, whole.stderr
    expected = json.loads(whole.stdout)
    assert expected["steps"] >= 2
    assert run(3).returncode == -signal.SIGKILL  # in the run after the one that factors
    again = run(0)
    assert again.returncode == 0, again.stderr
    found = json.loads(again.stdout)
    assert (found["sum"], found["steps"]) == (expected["sum"], expected["steps"])
    factoring = found["runs"][1]
    assert factoring[1] == 0, "all of it is there"
    assert not list((tmp_path / "runs" / RUNS).glob("*"))
