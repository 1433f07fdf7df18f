"""Which executor is used where none is named."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

import wrenla as wl


@pytest.fixture
def two(nothing_left: None) -> Iterator[list[wl.LocalExecutor]]:
    made = [wl.LocalExecutor(1, "thread", allowed_mem="300 MiB") for _ in range(2)]
    yield made
    wl.set_executor(None)
    for executor in made:
        executor.shutdown()


def test_one_is_set_for_all_threads(two: list[wl.LocalExecutor]) -> None:
    first, second = two
    assert wl.set_executor(first) is None
    seen: list[object] = []
    with second:  # for this thread only
        thread = threading.Thread(target=lambda: seen.append(wl.default_executor()))
        thread.start()
        thread.join()
        seen.append(wl.default_executor())
    seen.append(wl.default_executor())
    assert seen == [first, second, first]
    wl.eye(2, tile=2).cholesky().compute()
    assert list(wl.default_executor().map(abs, [-1])) == [1]
    assert first.stats().submitted == 1


def test_another_one_is_set(two: list[wl.LocalExecutor]) -> None:
    """Who has made an executor ends it: the former one can still be used."""
    first, second = two
    wl.set_executor(first)
    assert wl.set_executor(second) is first
    assert first.submit(abs, -1).result(timeout=30) == 1
    view = second.options(retries=1)
    assert wl.set_executor(view) is second
    assert wl.default_executor() is view
    assert wl.set_executor(None) is view


def test_one_that_has_been_shut_down(two: list[wl.LocalExecutor]) -> None:
    first, second = two
    wl.set_executor(first)
    A = wl.eye(2)
    first.shutdown()
    for ask in (wl.default_executor, A.compute, wl.store):
        with pytest.raises(RuntimeError, match=r"after shutdown; it is what wrenla.set_executor was told"):
            ask()  # type: ignore[operator]
    with pytest.raises(RuntimeError, match="after shutdown"):
        wl.set_executor(first)
    with pytest.raises(TypeError, match="executor='lambda': an executor of wrenla"):
        wl.set_executor("lambda")  # type: ignore[arg-type]
    assert wl.set_executor(second) is first
    assert wl.default_executor() is second


def test_an_executor_that_lacks_methods_cannot_be_made() -> None:
    """It would fail in the middle of a run, or, worse, keep tiles of arrays that are gone."""

    class Half(wl.Executor):
        workers = 1

        @property
        def calls(self) -> Any:
            return None

    with pytest.raises(
        TypeError, match=r"abstract .*forget.*forget_array.*home.*model.*session.*submit_task"
    ):
        Half()  # type: ignore[abstract]
