"""Matrices on the stub, behind which the function's own entry point works in this process."""

from __future__ import annotations

import gc
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse.linalg

import wrenla as wl
from tests.run.saves import stop_after
from wrenla.errors import NotPositiveDefiniteError, ReachError
from wrenla.evaluate.cleaning import clean
from wrenla.run.events import Event, RunStarted
from wrenla_handler import lambda_entry
from wrenla_handler.calls.capture import Printed
from wrenla_handler.stores.urls import open_store

from .conftest import Make
from .stub import Answer, Endpoint


class Silent:
    """What is printed stays where it is; something else may be said to have been."""

    printed = Printed()

    def log(self, logger: logging.Logger) -> None:
        """Do nothing."""

    def take(self) -> Printed:
        return self.printed


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 30_000


@pytest.fixture
def function(stub: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    """One execution environment, which answers one event at a time."""
    monkeypatch.setattr(lambda_entry, "CopiedOutput", Silent)
    names = ("", "boto3", "botocore", "urllib3")
    levels = {name: logging.getLogger(name).level for name in names}
    environment, lock = lambda_entry._Environment({"TMPDIR": str(tmp_path)}), threading.Lock()  # type: ignore[arg-type]

    def answer(event: dict[str, Any]) -> Answer:
        with lock:
            return Answer(json.loads(json.dumps(environment.answer(event, Context()))))

    stub.answer = answer
    yield stub
    environment._threads.__exit__(None, None, None)
    environment._callee.close()
    environment._worker.close()
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def spd(n: int) -> Any:
    x = np.random.default_rng(0).standard_normal((n, n))
    return x @ x.T + n * np.eye(n)


def test_solve(function: Endpoint, make: Make) -> None:
    """Arrays of this process are brought along and removed; tasks travel without pickles, some at a time."""
    A, b = spd(18), np.ones(18)
    executor = make(concurrency=3)
    x = wl.linalg.solve(wl.from_array(A, tile=4), wl.from_array(b, tile=4), assume_a="pos").compute(executor)
    assert np.linalg.norm(A @ x - b) < 1e-13 * np.linalg.norm(A) * np.linalg.norm(x)
    sent = [event for event in function.asked if event["kind"] == "task"]
    text = json.dumps(sent)
    assert not any(pickled in text for pickled in ("gAWV", "gASV", "gAV"))
    assert max(len(event["tasks"]) for event in sent) > 1
    assert function.most_together <= 3


def test_a_killed_run_goes_on(function: Endpoint, make: Make) -> None:
    """The same one from its own tiles; one with another right-hand side, or that saves, from the factor's."""
    A, executor = spd(20), make(concurrency=3)
    K = wl.from_array(A, tile=5, structure="pos")
    L = f"{executor.own_store}/L"
    factor = K.cholesky()

    def solution(b: Any) -> wl.BigMatrix:
        return factor.H.solve(factor.solve(b))

    others = {"same": solution(A[0]), "other": solution(A[:, :2]), "saved": factor}
    with wl.LocalExecutor(1) as local:
        expected = {what: x.compute(local) for what, x in others.items()}
    for what, x in others.items():
        with pytest.raises(KeyboardInterrupt):
            solution(A[0]).compute(executor, callbacks=[stop_after(9, KeyboardInterrupt())])
        events: list[Event] = []
        if what == "saved":
            result = x.save(L, executor, callbacks=[events.append]).compute(executor)
        else:
            result = x.compute(executor, callbacks=[events.append])
        np.testing.assert_array_equal(result, expected[what])
        begun = next(event for event in events if isinstance(event, RunStarted))
        assert begun.tasks - begun.todo >= 6, what
        assert not [name for name, count in clean(executor.own_store) if what == "same"]
    with closing(open_store(L)) as store:
        for key in list(store.list()):
            store.delete(key)


def test_product_of_an_operator_is_a_run_and_absent_tiles_stay_absent(function: Endpoint, make: Make) -> None:
    a = np.diag(np.arange(2.0, 14.0))
    a[8, 0] = a[0, 8] = 1
    executor = make(concurrency=2)
    S = wl.from_sparse(scipy.sparse.csr_array(a), tile=4, structure="pos")
    uploaded = set[str]()

    def look(event: Event) -> None:
        with closing(open_store(executor.own_store)) as store:
            uploaded.update(key.partition("/array-")[2] for key in store.list() if "/array-" in key)

    assert np.allclose((S @ S).compute(executor, callbacks=[look]), a @ a)
    assert len(uploaded) == 5
    op = wl.linalg.aslinearoperator(S, executor=executor)
    x, failed = scipy.sparse.linalg.cg(op, np.ones(12), rtol=1e-12)
    assert not failed
    assert np.allclose(a @ x, 1)
    del op
    gc.collect()


def test_a_failure_travels(function: Endpoint, make: Make) -> None:
    A = spd(10)
    A[5, 5] = -1.0
    with pytest.raises(NotPositiveDefiniteError) as caught:
        wl.from_array(A, tile=4).cholesky().compute(make(concurrency=2))
    assert caught.value.minor == 6


def test_run_on_unreachable_matrix_is_reach_error(function: Endpoint, make: Make, tmp_path: Path) -> None:
    url = (tmp_path / "matrix").as_uri()
    wl.from_array(spd(8), tile=4).save(url)
    with pytest.raises(ReachError, match=r'save\("s3://'):
        wl.open(url).cholesky().compute(make())
    assert [event["kind"] for event in function.asked if event["kind"] != "ping"] == []


def test_output_and_missing_module_of_tile_functions_are_reported(
    function: Endpoint, make: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ones(i: Any, j: Any) -> Any:
        return np.ones((len(i), len(j)))

    def lacking(i: Any, j: Any) -> Any:
        raise ModuleNotFoundError("No module named 'no_such_package'", name="no_such_package")

    monkeypatch.setattr(Silent, "printed", Printed([("o", b"from a tile\n"), ("e", b"error\n")]))
    with make(concurrency=1) as executor:
        assert wl.from_function(ones, (4, 4), 4).compute(executor).sum() == 16
        assert capsys.readouterr() == ("from a tile\n", "error\n")
        with pytest.raises(ModuleNotFoundError) as caught:
            wl.from_function(lacking, (4, 4), 4).compute(executor)
        store = open_store(executor.own_store)
        for key in list(store.list()):  # what is kept so that the run can go on
            store.delete(key)
    assert any("run: wrenla deploy --requirements FILE" in note for note in caught.value.__notes__)
