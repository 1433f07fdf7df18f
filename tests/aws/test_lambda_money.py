"""Calls on the stub: what they cost, and how much they may."""

from __future__ import annotations

import time
from typing import Any

import pytest

from wrenla.errors import OverBudget
from wrenla.executors.aws_lambda.prices import Prices

from .conftest import Make
from .stub import Answer, Endpoint, called

_WAIT = 30.0


def test_dollars(stub: Endpoint, make: Make) -> None:
    stub.answer = lambda event: Answer(called(event).body, billed=2000)
    executor = make(concurrency=2)
    future = executor.submit(abs, -1)
    assert future.result(_WAIT) == 1
    each = 2.0 * 512 / 1024 * Prices().gb_second_x86 + Prices().invocation
    assert future.stats.billed == 2.0
    assert future.stats.dollars == pytest.approx(each)
    assert executor.stats().dollars == pytest.approx(each)
    assert executor.spent == pytest.approx(2 * each)  # with the ping


def test_storage_has_its_price(stub: Endpoint, make: Make) -> None:
    """In what is counted, and in what plans say."""
    stub.configuration.body["EphemeralStorage"] = {"Size": 10240}
    stub.answer = lambda event: Answer(called(event).body, billed=2000)
    executor = make()
    each = 512 / 1024 * Prices().gb_second_x86 + 9.5 * 0.0000000309
    assert executor.submit(abs, -1).result(_WAIT) == 1
    assert executor.spent == pytest.approx(2 * (2 * each + Prices().invocation))  # with the ping
    assert executor.model.dollars_per_second == pytest.approx(each)


def test_a_ping_is_paid_for_too(stub: Endpoint, make: Make) -> None:
    """And one that may cost more than there is does not begin."""
    executor = make(max_dollars=1e-4)
    error = executor.submit(abs, -1).exception(_WAIT)
    assert type(error) is OverBudget
    assert "each may cost $0.0003, for 30 s" in str(error)
    assert stub.asked == []
    stub.answer = lambda event: None  # no answer: it may still run
    lost = make(max_dollars=5e-4)
    assert type(lost.submit(abs, -1).exception(_WAIT)) is OverBudget
    assert len(stub.asked) == 1
    assert lost.spent < 1e-5


def test_budget(stub: Endpoint, make: Make) -> None:
    stub.answer = lambda event: Answer(called(event).body, billed=2 if event["kind"] == "ping" else 2000)
    most = 4.6e-4  # one may cost 3.3e-4, and each does 0.17e-4
    executor = make(concurrency=2, max_dollars=most)
    futures = executor.submit_many(abs, range(40))
    errors = [future.exception(_WAIT) for future in futures]
    done = [n for n, error in enumerate(errors) if error is None]
    assert len(done) == 8
    assert [futures[n].result() for n in done] == done
    assert {type(error) for error in errors if error is not None} == {OverBudget}
    text = next(str(error) for error in errors if error is not None)
    assert "max_dollars" in text
    assert "--timeout, --memory" in text
    assert "\n" not in text
    assert len(stub.asked) == 1 + len(done)
    assert executor.spent <= most


def test_calls_that_grow(stub: Endpoint, make: Make) -> None:
    """After a short one as many long ones as may be: none is let in since those before were short."""

    def answer(event: dict[str, Any]) -> Answer:
        long = event["kind"] == "call" and sum(each["kind"] == "call" for each in stub.asked) > 1
        time.sleep(0.05 if long else 0.0)  # so that they are under way together, if they may be
        return Answer(called(event).body, billed=30_000 if long else 2)

    stub.answer = answer
    most = 1.4e-3
    executor = make(concurrency=16, max_dollars=most)
    assert executor.submit(abs, -1).result(_WAIT) == 1
    errors = [future.exception(_WAIT) for future in executor.submit_many(abs, range(16))]
    assert executor.spent <= most
    assert stub.most_together <= 4
    assert [error is None for error in errors].count(True) == 5
    assert {type(error) for error in errors if error is not None} == {OverBudget}


def test_calls_wait_for_what_those_under_way_may_cost(
    stub: Endpoint, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """One may last 30 s and 10 s to start, for $0.00033: so there are never two, though they do not."""
    executor = make(concurrency=8, max_dollars=6e-4)
    with caplog.at_level("WARNING", logger="wrenla.calls"):
        assert list(executor.map(abs, range(-20, 0))) == list(range(20, 0, -1))
    assert stub.most_together == 1
    assert executor.spent < 1e-4
    assert [record.getMessage() for record in caplog.records] == [
        "wrenla: max_dollars=0.0006 lets 1 calls run at a time now: each may cost $0.0003, for 30 s, the "
        "function's time limit, and 10 s to start, at 512 MB"
    ]
