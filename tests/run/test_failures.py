"""Tables of failures, all deterministic: the right result, or the error that names its cause."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla.run import execute
from wrenla.run.events import Event, RunFinished, TaskFinished, TaskRetried, TaskStarted
from wrenla.run.scheduler import Policy
from wrenla.workspace.lease import Holder
from wrenla_handler.errors import MissingTileError, StoreError, TransientStoreError
from wrenla_handler.stores.base import Store
from wrenla_handler.stores.urls import open_store
from wrenla_handler.tiles import sources
from wrenla_handler.tiles.arrays import ArraySpec
from wrenla_handler.tiles.task import Task
from wrenla_handler.tiles.worker import Report

ATTEMPTS = Policy().attempts


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "Policy", functools.partial(Policy, backoff=0.01))


@pytest.fixture
def matrix(executor: wl.LocalExecutor, tmp_path: Path) -> wl.BigMatrix:
    """A stored positive definite matrix of 5 × 5 tiles."""
    G = np.random.default_rng(0).standard_normal((150, 150))
    A = wl.from_array(G @ G.T + 150 * np.eye(150), tile=32, structure="pos")
    return A.save(str(tmp_path / "A"), executor)


@pytest.fixture
def general(executor: wl.LocalExecutor, tmp_path: Path) -> wl.BigMatrix:
    """A stored matrix of 8 × 8 ragged tiles, whose rows are exchanged across all of them."""
    return wl.random((187, 187), tile=24, seed=1).save(str(tmp_path / "G"), executor)


def by_lu(request: pytest.FixtureRequest) -> wl.BigMatrix:
    """Return what is solved with the stored general matrix."""
    A: wl.BigMatrix = request.getfixturevalue("general")
    return A.solve(np.ones(187), "gen")


Run = Callable[[], Report]
Name = tuple[str | int, ...]
Fault = Callable[[Run, int], Report]
"""What happens to one attempt at a task: it gets the true one and the number of the attempt."""


class Faulty(wl.LocalExecutor):
    """Some tasks do not go as they should.

    They are named by kernel, place and numbers: of LU several are at one place, each of another array.
    """

    def __init__(self, faults: Mapping[Name, Fault]) -> None:
        super().__init__(2, "thread", allowed_mem="600 MiB")
        self.faults, self.attempts = faults, Counter[Name]()

    def submit_task(self, task: Task, arrays: Mapping[str, ArraySpec]) -> Future[Report]:
        kernel = task.finish.kernel.split("_")[0] or "sum"
        name = kernel, task.out.i, task.out.j, *task.finish.numbers
        self.attempts[name] += 1
        run: Run = functools.partial(self.home.run, task, arrays)
        fault = self.faults.get(name)
        return self._pool.submit(run) if fault is None else self._pool.submit(fault, run, self.attempts[name])


def raising(error: Exception, times: int = 1 << 30) -> Fault:
    """Fail before anything is done."""

    def fault(run: Run, attempt: int) -> Report:
        if attempt <= times:
            raise error
        return run()

    return fault


def lost(run: Run, attempt: int) -> Report:
    """The tile is written, but nobody hears of it."""
    report = run()
    if attempt == 1:
        raise ConnectionError("the answer was lost")
    return report


def twice(run: Run, attempt: int) -> Report:
    """Execute the task once more; the second time its tile is there already."""
    first, second = run(), run()
    assert first.committed
    assert not second.committed
    return second


def side_by_side(run: Run, attempt: int) -> Report:
    """Two workers have the same task at the same time."""
    with wl.LocalExecutor(2, "thread", allowed_mem="200 MiB") as others:
        reports = [future.result() for future in [others.submit(run), others.submit(run)]]
    assert sorted(report.committed for report in reports) == [False, True]
    return reports[0]


HARMLESS = {
    "transient once": (raising(TransientStoreError("busy"), 1), 1),
    "transient as often as may be": (raising(TransientStoreError("busy"), ATTEMPTS - 1), ATTEMPTS - 1),
    "connection": (raising(ConnectionResetError("reset"), 2), 2),
    "timeout": (raising(TimeoutError("late"), 2), 2),
    "answer lost": (lost, 1),
    "executed twice": (twice, 0),
    "side by side": (side_by_side, 0),
}


def check_transient_failure(
    name: str, schedule: str, expression: wl.BigMatrix, tasks: Sequence[Name], executor: wl.LocalExecutor
) -> None:
    """Compute it while some tasks fail and are tried again."""
    fault, failures = HARMLESS[name]
    events: list[Event] = []
    expected = expression.compute(executor)
    with Faulty(dict.fromkeys(tasks, fault)) as faulty:
        result = expression.compute(faulty, schedule=schedule, callbacks=[events.append])
    np.testing.assert_array_equal(result, expected)
    assert {name: faulty.attempts[name] for name in tasks} == dict.fromkeys(tasks, failures + 1)
    last = next(event for event in reversed(events) if isinstance(event, RunFinished))
    assert isinstance(last, RunFinished)
    assert last.totals.retries == failures * len(tasks)
    assert last.totals.tasks == sum(isinstance(event, TaskFinished) for event in events)


@pytest.mark.parametrize("name", sorted(HARMLESS))
@pytest.mark.parametrize("schedule", ["dataflow", "waves"])
def test_transient_failure_changes_no_bit(
    name: str,
    schedule: str,
    matrix: wl.BigMatrix,
    executor: wl.LocalExecutor,
    left: Callable[[], list[str]],
) -> None:
    tasks = [("potrf", 0, 0), ("trsm", 2, 1), ("potrf", 4, 4)]
    check_transient_failure(name, schedule, matrix.cholesky(), tasks, executor)
    assert left() == []


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(HARMLESS))
@pytest.mark.parametrize("schedule", ["dataflow", "waves"])
def test_transient_failure_changes_no_bit_of_lu(
    name: str,
    schedule: str,
    request: pytest.FixtureRequest,
    executor: wl.LocalExecutor,
    left: Callable[[], list[str]],
) -> None:
    """Panels and exchanges commit a column of tiles at once; the last panel is a ragged one."""
    tasks = [("getrf", 0, 0, 0), ("laswp", 0, 3, 0, 0, -1), ("getrf", 0, 0, 96), ("getrf", 0, 0, 168)]
    check_transient_failure(name, schedule, by_lu(request), tasks, executor)
    assert left() == []


def test_pauses_between_attempts_double(matrix: wl.BigMatrix) -> None:
    events: list[Event] = []
    with Faulty({("trsm", 3, 1): raising(TransientStoreError("busy"), 3)}) as faulty:
        matrix.cholesky().compute(faulty, callbacks=[events.append])
    retries = [event for event in events if isinstance(event, TaskRetried)]
    assert [retry.delay for retry in retries] == [0.01, 0.02, 0.04]
    assert [retry.attempt for retry in retries] == [1, 2, 3]
    assert all(retry.error == "TransientStoreError: busy" for retry in retries)
    starts = [e for e in events if isinstance(e, TaskStarted) and e.task == retries[0].task]
    assert [start.attempt for start in starts] == [1, 2, 3, 4]
    assert all(b.time - r.time >= r.delay for b, r in zip(starts[1:], retries, strict=True))


class OwnError(RuntimeError):
    """Nobody else knows this class."""


LASTING = {
    "transient for ever": (TransientStoreError("busy"), ATTEMPTS),
    "store": (StoreError("access denied"), 1),
    "memory": (MemoryError("no more"), 1),
    "missing": (MissingTileError("gone"), 1),
    "own": (OwnError("own"), 1),
    "disk": (OSError(28, "No space left on device"), 1),
}


@pytest.mark.parametrize("name", sorted(LASTING))
def test_lasting_failure_is_raised_unchanged(
    name: str, matrix: wl.BigMatrix, root: str, left: Callable[[], list[str]]
) -> None:
    error, attempts = LASTING[name]
    events: list[Event] = []
    task = ("trsm", 3, 1)
    with Faulty({task: raising(error)}) as faulty, pytest.raises(type(error)) as raised:
        matrix.cholesky().compute(faulty, callbacks=[events.append])
    assert raised.value is error
    assert faulty.attempts[task] == attempts
    notes = "\n".join(raised.value.__notes__)
    assert f"wrenla clean --store {root}" in notes
    assert "to resume: run the same script again" in notes
    last = next(event for event in reversed(events) if isinstance(event, RunFinished))
    assert isinstance(last, RunFinished)
    assert last.error == f"{type(error).__name__}: {error}"
    del error.__notes__  # the table's errors are used again
    # what was done is kept, and the lease has run out
    kept = left()
    assert sum("/c/" in key for key in kept) >= last.totals.tasks > 0
    (lease,) = [open_store(root).get(key) for key in kept if "/wrenla-lease/" in key]
    holder = Holder.decode(bytes(lease))
    assert holder is not None
    assert holder.alive is False


@pytest.mark.parametrize("schedule", ["dataflow", "waves"])
@pytest.mark.parametrize("what", ["cholesky", pytest.param("lu", marks=pytest.mark.slow)])
def test_run_after_failure_does_only_missing_tasks(
    what: str,
    schedule: str,
    request: pytest.FixtureRequest,
    executor: wl.LocalExecutor,
    left: Any,
) -> None:
    fatal: Name
    if what == "cholesky":
        fatal, expression = ("trsm", 3, 2), request.getfixturevalue("matrix").cholesky()
    else:
        fatal, expression = ("getrf", 0, 0, 120), by_lu(request)
    expected = expression.compute(executor)
    failed: list[Event] = []
    with Faulty({fatal: raising(OwnError("own"))}) as faulty, pytest.raises(OwnError):
        expression.compute(faulty, schedule=schedule, callbacks=[failed.append])
    done = sum("/c/" in key or "/partial/" in key for key in left())
    events: list[Event] = []
    with wl.LocalExecutor(2, allowed_mem="600 MiB") as other:
        result = expression.compute(other, schedule=schedule, callbacks=[events.append])
    np.testing.assert_array_equal(result, expected)
    first, last = events[0], next(event for event in reversed(events) if isinstance(event, RunFinished))
    assert isinstance(last, RunFinished)
    finished = sum(isinstance(event, TaskFinished) for event in failed)
    assert first.tasks - first.todo >= finished > 0  # type: ignore[union-attr]
    # partial sums whose reader was done are not made again
    assert last.totals.tasks == first.todo <= first.tasks - done  # type: ignore[union-attr]
    assert left() == []


def test_numerical_failure_leaves_no_tiles(executor: wl.LocalExecutor, left: Any, tmp_path: Path) -> None:
    d = np.ones(150)
    d[101] = -1
    A = wl.from_array(np.diag(d), tile=32)
    with pytest.raises(wl.LinAlgError, match="order 102 is not positive definite"):
        A.cholesky().compute(executor)
    assert left() == []
    with pytest.raises(wl.LinAlgError, match="order 102"):
        A.cholesky().save(str(tmp_path / "L"), executor)
    assert left() == []
    assert not [path for path in (tmp_path / "L").rglob("*") if path.is_file()]


class Deaf:
    """A store that now and then does not answer."""

    def __init__(self, store: Store, faults: Counter[str], error: type[Exception]) -> None:
        self.store, self.faults, self.error = store, faults, error

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.store, name)
        if name not in ("get", "put", "delete"):
            return method

        def faulty(key: str, *args: Any, **kwargs: Any) -> Any:
            if self.faults[f"{name} {key}"]:
                self.faults[f"{name} {key}"] -= 1
                raise self.error(f"{self.store.url}: {key}: no answer")
            return method(key, *args, **kwargs)

        return faulty


@pytest.mark.parametrize("error", [TransientStoreError, StoreError])
@pytest.mark.parametrize(
    "fault",
    [
        *("get c/3/0", "put c/3/1", "get c/4/3", "put c/4/4", "delete c/1/0"),
        *(
            pytest.param(f"{fault} of lu", marks=pytest.mark.slow)
            for fault in ("get c/0/0", "put c/0/0", "get c/0/3", "put c/0/3", "delete c/0/3")
        ),
    ],
)
def test_store_without_answer_is_retried_or_raised(
    fault: str,
    error: type[Exception],
    request: pytest.FixtureRequest,
    executor: wl.LocalExecutor,
    monkeypatch: pytest.MonkeyPatch,
    left: Any,
) -> None:
    """What LU exchanges lies in bundles, one for each column of tiles."""
    fault, lu, _ = fault.partition(" of lu")
    x = by_lu(request) if lu else request.getfixturevalue("matrix").solve(np.ones(150))
    expected = x.compute(executor)
    faults = Counter({fault: 2})
    real = sources.open_store
    monkeypatch.setattr(sources, "open_store", lambda url: Deaf(real(url), faults, error))
    with wl.LocalExecutor(2, allowed_mem="600 MiB") as other:
        if error is TransientStoreError or fault.startswith("delete"):
            # a tile that is not needed any more goes with the run's folder at the latest
            np.testing.assert_array_equal(x.compute(other), expected)
            assert left() == []
        else:
            with pytest.raises(error, match="no answer"):
                x.compute(other)
    assert faults[fault] < 2
