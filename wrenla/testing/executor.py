"""Contract of an executor, as tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla.errors import NotPositiveDefiniteError
from wrenla.executors.base import Executor
from wrenla.run.events import Event, TaskFinished
from wrenla.testing.calls import CallTests

__all__ = ["ExecutorTests"]


class ExecutorTests(CallTests):
    """Tests of what every `Executor` must do. A subclass, or its module, has a fixture `executor`.

    Fixtures
    --------
    executor : Executor
        It may be shared by all tests.
    fresh : Executor
        One that a test may shut down; by default `executor`, which then must be another one in each test.

    Examples
    --------
    >>> class TestThreads(ExecutorTests):
    ...     @pytest.fixture
    ...     def executor(self):
    ...         with wl.LocalExecutor(2, "thread") as executor:
    ...             yield executor
    """

    @pytest.mark.parametrize("schedule", ["waves", "dataflow"])
    def test_matrices_have_the_bits_that_they_have_here(
        self, executor: Executor, schedule: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        a = np.random.default_rng(0).standard_normal((50, 40))
        A, B = wl.from_array(a, tile=16), wl.random((40, 3), tile=16, seed=1)
        wanted = [A.gram().shift(1.0).cholesky(), A @ B, (2 * A.T).sum(), np.exp(A)[3:, ::2]]
        found = wl.compute(*wanted, executor=executor, schedule=schedule)
        monkeypatch.setenv("WRENLA_STORE", "memory://wrenla-testing")
        with wl.LocalExecutor(1, "thread", allowed_mem="300 MiB") as local:
            expected = wl.compute(*wanted, executor=local)
        assert [np.asarray(x).tobytes() for x in found] == [np.asarray(x).tobytes() for x in expected]

    def test_operators_have_the_products_of_their_matrices(self, executor: Executor) -> None:
        a = np.random.default_rng(2).standard_normal((40, 30))
        op = wl.linalg.aslinearoperator(wl.from_array(a, tile=16), executor=executor)
        x, y = np.linspace(1, 2, 30), np.linspace(1, 2, 40)
        assert np.allclose(op @ x, a @ x)
        assert np.allclose(op.rmatvec(y), y @ a)

    def test_every_task_of_a_plan_is_reported_once(self, executor: Executor) -> None:
        reported: list[TaskFinished] = []

        def listen(event: Event) -> None:
            if isinstance(event, TaskFinished):
                reported.append(event)

        L = wl.random((48, 48), tile=16).gram().shift(48.0).cholesky()
        plan = wl.plan(L, executor=executor)
        L.compute(executor, callbacks=[listen])
        assert sorted(event.task for event in reported) == list(range(plan.tasks))
        assert sum(event.report.bytes_written for event in reported) == plan.bytes_written
        assert sum(event.report.bytes_read for event in reported) <= plan.bytes_read

    def test_a_matrix_that_has_no_factor_is_told_with_its_minor(self, executor: Executor) -> None:
        d = np.ones(50)
        d[34] = -1.0
        A = wl.from_array(np.diag(d), tile=16)
        with pytest.raises(NotPositiveDefiniteError) as caught:
            A.cholesky().compute(executor)
        assert caught.value.minor == 35
        assert float(A.trace().compute(executor)) == 48.0, "the next run does not notice"

    def test_runs_leave_no_tile_behind(self, executor: Executor) -> None:
        before = set(executor.store().list())
        (wl.eye(40, tile=16) @ wl.random((40, 40), tile=16)).compute(executor)
        assert set(executor.store().list()) <= before
