"""`wl.compute` and `wl.plan`: several matrices, in whatever they are put, on whichever executor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import wrenla as wl


def test_compute_of_nested_containers_keeps_their_form() -> None:
    A, B = wl.eye(3), 2 * wl.eye(2)
    a, b = np.eye(3), 2 * np.eye(2)
    with wl.LocalExecutor(1, "thread", allowed_mem="300 MiB") as executor:
        rows: list[tuple[tuple[Any, ...], Any]] = [
            ((A, B), (a, b)),
            (([A, B],), ([a, b],)),
            (([A], (B, {"B": B})), ([a], (b, {"B": b}))),
            (([],), ([],)),
            ((), ()),
        ]
        for given, expected in rows:
            for found in (wl.compute(*given, executor=executor), wl.compute(*given, executor)):
                np.testing.assert_equal(found, expected)
        (found,) = wl.compute(wl.linalg.slogdet(wl.from_array(np.eye(1), structure="lower")), executor)
        assert (float(found.sign), float(found.logabsdet)) == (1.0, 0.0)


def test_plan_takes_executor_by_position_or_name() -> None:
    A = wl.random((64, 64), tile=16).gram()
    with wl.LocalExecutor(3, "thread", allowed_mem="300 MiB") as executor:
        tasks = wl.plan(A, executor=executor).tasks
        for plan in (wl.plan(A, executor), wl.plan([A], executor), wl.plan({"A": (A,)}, A, executor)):
            assert plan.tasks == tasks


def test_compute_and_plan_of_non_matrix_are_type_errors() -> None:
    A = wl.eye(2)
    rows: list[tuple[Any, str]] = [
        (lambda: wl.compute(3), r"compute\(\) takes BigMatrix objects.*not builtins.int"),
        (lambda: wl.compute([A, np.eye(2)]), r"not numpy.ndarray: wl.from_array"),
        (lambda: wl.plan(A, "lambda"), r"plan\(\) takes BigMatrix objects.*not builtins.str"),
        (lambda: wl.plan(), r"plan\(\) needs a BigMatrix"),
        (lambda: wl.plan([]), r"plan\(\) needs a BigMatrix"),
        (lambda: wl.compute(A, executor=3), "executor=3: an executor of wrenla"),
    ]
    for ask, message in rows:
        with pytest.raises(TypeError, match=message):
            ask()
    with (
        wl.LocalExecutor(1, "thread", allowed_mem="300 MiB") as executor,
        pytest.raises(TypeError, match="two"),
    ):
        wl.plan(A, executor, executor=executor)
