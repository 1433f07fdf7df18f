"""Contract of an algorithm, as tests: errors of its results, counts of its plan."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

import wrenla as wl
from wrenla.evaluate.rehearse import rehearse
from wrenla.evaluate.storing import Storing
from wrenla.executors.base import Executor
from wrenla.planning import plan as plan_module
from wrenla.planning.cost_model import ExecutorModel
from wrenla.planning.cut import Cut
from wrenla.planning.expression import leaf
from wrenla.planning.plan import make_plan
from wrenla.run.events import Event, TaskFinished
from wrenla_handler.tiles.arrays import StoredArray

__all__ = ["AlgorithmTests", "Counts"]

Array = npt.NDArray[Any]

CUTS = (Cut(), Cut("fixed", 1), Cut("fixed", 3), Cut("doubling", 1), Cut("doubling", 4))


class Counts(NamedTuple):
    """Counts of a plan with uncut sums: tasks, reads of tiles, waves."""

    tasks: int
    reads: int
    waves: int


class AlgorithmTests:
    """Tests of one operation. A subclass says of which arrays, how good it has to be, and what it takes.

    Attributes
    ----------
    tilings : sequence of (shape, tile)
        For results: what `arrays` is told, and rows and columns of a tile. The last one is ragged.
    dtypes : sequence of str

    Fixtures
    --------
    executor : Executor or None
        Where to compute; by default on this machine.

    Examples
    --------
    >>> class TestGram(AlgorithmTests):
    ...     def arrays(self, n, dtype): return (np.ones((n, n), dtype),)
    ...     def apply(self, A): return A.gram()
    ...     def error(self, G, a): return abs(G - a @ a.conj().T).max() / (len(a) * np.finfo(a.dtype).eps)
    ...     def counts(self): return [(4 * N, 4, Counts(N * (N + 1) // 2, N**3, 1)) for N in range(1, 5)]
    """

    tilings: ClassVar[Any] = ((1, 4), (5, 8), (8, 8), (24, 8), (3, 1), (16, 8), (40, 7), (21, 8))
    dtypes: ClassVar[tuple[str, ...]] = ("float32", "float64", "complex64", "complex128")

    # what a subclass says

    def arrays(self, shape: Any, dtype: str) -> tuple[Array, ...]:
        """Return the arguments in memory."""
        raise NotImplementedError

    def matrices(self, arrays: tuple[Array, ...], tile: Any) -> tuple[wl.BigMatrix, ...]:
        """Return the arguments as matrices; with what is known of their structure, if anything is."""
        return tuple(wl.from_array(a, tile=tile) for a in arrays)

    def apply(self, *matrices: Any) -> wl.BigMatrix:
        """Return the expression to test."""
        raise NotImplementedError

    def error(self, result: Array, *arrays: Array) -> float:
        """Return the backward error, over the largest that is right: at most 1."""
        raise NotImplementedError

    def counts(self) -> Iterator[tuple[Any, Any, Counts]]:
        """Yield shapes, tiles and what the docstring of the algorithm says that it takes."""
        raise NotImplementedError

    # tests

    @pytest.fixture
    def executor(self) -> Executor | None:
        return None

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "dtype" in metafunc.fixturenames:
            metafunc.parametrize("dtype", self.dtypes)

    def test_results_are_within_their_error(self, dtype: str, executor: Executor | None) -> None:
        for shape, tile in self.tilings:
            arrays = self.arrays(shape, dtype)
            expression = self.apply(*self.matrices(arrays, tile))
            result = np.asarray(expression.compute(executor))
            place = f"{shape} in tiles of {tile}"
            assert (result.shape, result.dtype) == (expression.shape, expression.dtype), place
            assert _as_structured(result, expression.structure), f"{place}: not {expression.structure}"
            assert self.error(result, *arrays) <= 1, place  # which NaN is not

    def test_cuts_change_no_bit(
        self, dtype: str, executor: Executor | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shape, tile = self.tilings[-1]
        expression = self.apply(*self.matrices(self.arrays(shape, dtype), tile))
        found = {}
        for cut in CUTS:
            plan_module._KNOWN.clear()
            monkeypatch.setattr(plan_module, "choose_cut", lambda tiles, model, cut=cut: cut)
            found[cut] = np.asarray(expression.compute(executor)).tobytes()
        plan_module._KNOWN.clear()
        assert [str(cut) for cut in CUTS if found[cut] != found[Cut()]] == []

    def test_plans_count_what_the_formulas_say(self) -> None:
        model = ExecutorModel(2, 60e9, 2e9, 1e-4, 60.0, 1 << 50)
        dtype = self.dtypes[0]
        for shape, tile, expected in self.counts():
            matrices = self.matrices(self.arrays(shape, dtype), tile)
            expression = self.apply(*(_stored(matrix) for matrix in matrices))
            rehearsed = rehearse([expression._node])
            kept = Storing([*rehearsed.fetch, *rehearsed.keep])
            results = [*rehearsed.nodes, *kept.targets.values()]
            plan, _ = make_plan(results, model, cut=Cut())
            place = f"{shape} in tiles of {tile}"
            assert Counts(plan.tasks, plan.reads, plan.waves) == expected, place
            assert plan.requests == plan.gets + plan.tasks, f"{place}: one task writes one tile"
            assert plan.gets <= plan.reads, place

    def test_a_run_writes_the_bytes_that_were_planned(self, dtype: str, executor: Executor | None) -> None:
        reports = []

        def listen(event: Event) -> None:
            if isinstance(event, TaskFinished):
                reports.append(event.report)

        shape, tile = self.tilings[-1]
        expression = self.apply(*self.matrices(self.arrays(shape, dtype), tile))
        plan = wl.plan(expression, executor=executor)
        kept = expression.persist(executor, callbacks=[listen])  # to compute a view makes no tiles of its own
        assert (kept.shape, len(reports)) == (expression.shape, plan.tasks)
        assert sum(report.bytes_written for report in reports) == plan.bytes_written
        assert sum(report.bytes_read for report in reports) <= plan.bytes_read


def _stored(matrix: wl.BigMatrix) -> wl.BigMatrix:
    """Return a matrix like this one whose tiles are in a store, which nobody reads."""
    node = matrix._node
    spec = StoredArray(node.grid, node.dtype, node.ndim, uuid.uuid4().hex, "memory://nowhere")
    return wl.BigMatrix(leaf(spec, node.structure))


def _as_structured(result: Array, structure: str) -> bool:
    match structure:
        case "lower":
            return np.array_equal(result, np.tril(result), equal_nan=True)
        case "upper":
            return np.array_equal(result, np.triu(result), equal_nan=True)
        case "hermitian" | "pos":
            return np.array_equal(result, result.conj().T, equal_nan=True)
        case _:
            return True
