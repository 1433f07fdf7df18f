"""Nothing is computed before it is asked for, nothing twice, and nothing stays behind."""

from __future__ import annotations

import gc
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla.errors import SettingError, TooLargeError
from wrenla.run.events import Event, TaskFinished
from wrenla_handler.stores.memory import MemoryStore

from . import gallery

STEPS = 100
"""Of a long expression."""


class Counted(Counter[str]):
    """A listener that counts finished tasks by kernel."""

    def __call__(self, event: Event) -> None:
        if isinstance(event, TaskFinished):
            self[event.kernel] += 1


@pytest.fixture
def spd() -> wl.BigMatrix:
    """Of order 21 in 3 × 3 tiles: its factor is 3 potrf, 3 trsm."""
    return wl.from_array(gallery.well_conditioned(21, "float64"), tile=8, structure="pos")


@contextmanager
def leaving_nothing(store: str) -> Iterator[None]:
    yield
    gc.collect()
    assert list(MemoryStore(store).list()) == []


def forbidden(*_: Any) -> Any:
    raise AssertionError("nothing is to be computed here")


def test_nothing_runs_before_compute(own_settings: str) -> None:
    A = wl.from_function(forbidden, (20, 20), tile=8)
    S = wl.from_function(forbidden, (20, 20), tile=8, structure="pos")
    factor = wl.linalg.cho_factor(S)
    lazy = [
        A @ A.T,
        (2 * A - A.H).shift(1),
        A[3:7, ::-1],
        A.gram(np.ones(20)),
        A.rechunk(5).astype("complex64").tril(),
        A.norm(),
        A.sum(0),
        S.cholesky(upper=True),
        S.solve(np.ones(20)),
        factor.L,
        factor.solve(np.ones(20)),
        *S.slogdet(),
        wl.block([[A, A]]),
        wl.map_tiles(forbidden, A),
    ]
    for x in lazy:
        assert repr(x).startswith("BigMatrix(")
        assert len(x.shape) == len(x.grid) == len(x.tile) == x.ndim
        assert wl.plan(x).tasks >= 1
    assert repr(factor) == "CholeskyFactor((20, 20), float64, not computed yet)"
    assert list(MemoryStore(own_settings).list()) == []


def test_common_subexpressions_are_computed_once(spd: wl.BigMatrix) -> None:
    counted = Counted()
    L = spd.cholesky()
    results = wl.compute(
        L, L.H, L.solve(np.ones(21)), L.norm(), spd.cholesky(), spd.solve(np.ones(21)), callbacks=[counted]
    )
    assert counted["potrf"] == 3
    assert counted["trsm_right"] == 3
    assert np.array_equal(results[0], results[4])
    assert np.array_equal(results[0].T, results[1])
    again = Counted()
    for x in (L, L.norm()):
        x.compute(callbacks=[again])
    assert again["potrf"] == 6, "separate runs know nothing of each other"


def test_equal_results_are_computed_once() -> None:
    counted = Counted()
    A = wl.random((8, 8), tile=4)
    x, y = wl.compute(A @ A, A @ A, callbacks=[counted])
    assert counted == {"gemm": 4}
    assert np.array_equal(x, y)
    assert wl.compute() == ()


def test_a_factor_is_made_once(spd: wl.BigMatrix, own_settings: str) -> None:
    counted = Counted()
    with leaving_nothing(own_settings):
        factor = wl.linalg.cho_factor(spd)
        for seed in range(4):
            b = gallery.normal(21, seed=seed)
            x = factor.solve(b).compute(callbacks=[counted])
            assert gallery.solve_error(spd.compute(), x, b) <= gallery.ALARM
        factor.slogdet().logabsdet.compute(callbacks=[counted])
        assert counted["potrf"] == 3
        assert counted["trsm_left"] == 4 * 6
        assert repr(factor).endswith("computed)")
        assert "not" not in repr(factor)
        solution = factor.solve(np.ones(21))
        del factor, x
        gc.collect()
        assert solution.compute(callbacks=[counted]).shape == (21,)
        assert counted["potrf"] == 3, "what is made of the factor keeps it"
        del solution


def test_a_factor_is_made_once_in_one_run_too(spd: wl.BigMatrix) -> None:
    counted = Counted()
    factor = wl.linalg.cho_factor(spd)
    wl.compute(factor.solve(np.ones(21)), factor.solve(np.zeros(21)), factor.L, callbacks=[counted])
    assert counted["potrf"] == 3


def test_persist(spd: wl.BigMatrix, own_settings: str) -> None:
    counted = Counted()
    with leaving_nothing(own_settings):
        L = spd.cholesky().persist(callbacks=[counted])
        assert counted["potrf"] == 3
        kept = {key for key in MemoryStore(own_settings).list() if "/c/" in key}
        assert len(kept) == 6, "the lower tiles, and nothing else"
        assert L.structure == "lower"
        assert L.persist()._node is L._node
        assert np.array_equal(L.compute(), spd.cholesky().compute())
        derived = (2 * L.T)[3:9]
        expected = derived.compute()
        L.solve(np.ones(21)).compute(callbacks=[counted])
        assert counted["potrf"] == 3
        del L
        gc.collect()
        assert np.array_equal(derived.compute(), expected), "what is made of it keeps it"
        del derived


def test_persist_twice_at_once(own_settings: str) -> None:
    """Two handles on the same result: dropping one leaves the other its tiles."""
    with leaving_nothing(own_settings):
        A = wl.random((9, 9), tile=4)
        first, second = (A @ A).persist(), (A @ A).persist()
        expected = first.compute()
        del first
        gc.collect()
        assert np.array_equal(second.compute(), expected)
        del second


@pytest.mark.parametrize(
    "make", [lambda A: A, lambda A: A.T, lambda A: A + A, lambda A: A @ A, lambda A: A.norm()]
)
def test_compute_leaves_no_temporaries(
    make: Callable[[wl.BigMatrix], wl.BigMatrix], own_settings: str
) -> None:
    with leaving_nothing(own_settings):
        for A in (
            wl.random((9, 9), tile=4),
            wl.from_function(np.add.outer, (9, 9), tile=4),
            wl.eye(9, tile=4),
        ):
            for schedule in ("waves", "dataflow"):
                make(A).compute(schedule=schedule)
        wl.compute(make(A), A)


def test_a_failed_function_keeps_what_is_done_and_says_how_to_go_on(own_settings: str) -> None:
    def f(i: Any, j: Any) -> Any:
        if i[0] > 0:
            raise RuntimeError("enough")
        return np.add.outer(i, j)

    with pytest.raises(RuntimeError, match="enough") as caught:
        (wl.from_function(f, (8, 8), tile=4) @ np.ones((8, 8))).compute()
    notes = "\n".join(caught.value.__notes__)
    assert f"finished tiles are kept in memory://{own_settings}/wrenla-runs/" in notes
    assert "to resume" in notes
    assert "wrenla clean" not in notes, "another process would find nothing there"


def test_large_results_are_refused(monkeypatch: pytest.MonkeyPatch, place: Callable[[str], str]) -> None:
    A = wl.zeros((100, 100), tile=50)
    with pytest.raises(
        TooLargeError, match=r"78.12 KiB.*max_compute_bytes=10.00 KiB.*\.save\(url\).*slicing"
    ) as caught:
        A.compute(max_compute_bytes=10 * 1024)
    assert isinstance(caught.value, MemoryError)
    assert A.compute(max_compute_bytes="80 kB").shape == (100, 100)
    monkeypatch.setenv("WRENLA_MAX_COMPUTE_BYTES", "10 kiB")
    for f in (A.compute, lambda: np.asarray(A), lambda: wl.compute(A.norm(), A)):
        with pytest.raises(TooLargeError):
            f()
    assert A.norm().compute() == 0
    assert A[:10, :10].compute().shape == (10, 10)
    A.persist()
    A.save(place("large"))
    huge = wl.zeros((10**12, 10**12), tile=64)
    with pytest.raises(TooLargeError, match=r"would take .*PiB of memory"):
        huge.compute()


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (lambda x, A: x + 0.5 * A, 1 + 0.5 * STEPS),
        (lambda x, A: (1.0625 * x).T.scale_rows(np.full(6, 1 / 1.0625)), 1),
        (lambda x, A: 0.5 * (x + x), 1),
        (lambda x, A: x[::-1], 1),
        (lambda x, A: wl.eye(6, tile=4).solve(x), 1),
        (lambda x, A: x @ wl.eye(6, tile=4), 1),
        (lambda x, A: wl.map_tiles(np.add, x, A), 1 + STEPS),
    ],
)
def test_long_expressions(step: Any, expected: float) -> None:
    """Those that a loop makes: neither planning nor reading is a recursion through all of it.

    With a quarter of the frames that Python allows, as what needs all of them takes seconds.
    """
    A = x = wl.from_array(np.ones((6, 6)), tile=4)
    step(x, A).compute()  # what is imported where it is first used
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 9 * STEPS // 4)
    try:
        for _ in range(STEPS):
            x = step(x, A)
        found = x.compute()
    finally:
        sys.setrecursionlimit(usual)
    assert np.allclose(found, expected)


def test_compute_options_are_checked_and_used() -> None:
    A = wl.eye(4)
    with pytest.raises(SettingError, match="did you mean 'schedule'"):
        A.compute(scedule="waves")
    with pytest.raises(SettingError, match="waves"):
        A.compute(schedule="random")
    for f in (A.persist, lambda **o: wl.compute(A, **o), lambda **o: A.save("memory://never", **o)):
        with pytest.raises(SettingError, match="unknown setting"):
            f(colour="red")


def test_the_default_executor_is_used_where_none_is_named() -> None:
    assert wl.default_executor() is wl.default_executor()
    assert wl.default_executor().workers == 2
    with wl.LocalExecutor(1, allowed_mem="128 MiB") as own:
        assert np.array_equal(wl.eye(5, tile=2).compute(own), np.eye(5))
        assert wl.plan(wl.eye(5) @ np.ones(5), executor=own).model.workers == 1


def test_a_run_inside_a_task_is_refused() -> None:
    """It would wait for itself."""
    f = _Nested()
    with pytest.raises(RuntimeError, match="which would wait for itself"):
        wl.map_tiles(f, wl.eye(3)).compute()


class _Nested:
    def __call__(self, tile: Any) -> Any:
        import wrenla

        return wrenla.eye(3).shift(1).compute()


def test_host_arrays_are_let_go() -> None:
    a = np.ones((9, 9))
    A = wl.from_array(a, tile=4)
    (A @ A).compute()
    A.compute()
    executor: Any = wl.default_executor()
    assert executor.home.sources.hosts == {}


def test_mutation_of_an_array_is_the_users_own_risk_but_never_reaches_results() -> None:
    """Results are copies: changing them changes no matrix."""
    a = np.ones((4, 4))
    A = wl.from_array(a, tile=4)
    for x in (A, A.T, A.persist(), A[:2]):
        value = x.compute()
        assert value.flags.writeable
        assert not np.shares_memory(value, a)
        value[...] = 7
        assert (x.compute() == 1).all()
    assert wl.zeros(3).compute().flags.writeable
