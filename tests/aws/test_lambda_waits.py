"""Calls on the stub that wait: for a deadline, for money, for a first answer, for a busy service."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from typing import Any

import numpy as np
import pytest

from tests.interrupting import interrupts
from tests.waiting import slowed, until, until_idle
from wrenla.errors import Cancelled, Lost, NeverStarted, OverBudget, ServiceError, Throttled
from wrenla.executors.aws_lambda import channel, handshake, rate_limiter
from wrenla.executors.aws_lambda.prices import Prices

from .conftest import Make
from .stub import Answer, Endpoint, called
from .test_lambda_calls import ran

_WAIT = 30.0


@pytest.fixture
def hanging(stub: Endpoint) -> Iterator[Callable[[str], Callable[..., Answer | None]]]:
    """Answer messages of one kind when the test is over."""
    over = threading.Event()

    def make(kind: str) -> Callable[..., Answer | None]:
        def answer(event: dict[str, Any]) -> Answer | None:
            if event["kind"] == kind:
                over.wait(60)
            return called(event)

        return answer

    yield make
    over.set()


def test_a_deadline_before_the_first_answer(stub: Endpoint, make: Make, hanging: Any) -> None:
    stub.answer = hanging("ping")
    executor = make(concurrency=3).options(deadline=0.5)
    began = time.monotonic()
    for future in executor.submit_many(abs, range(3)):
        error = future.exception(_WAIT)
        assert type(error) is NeverStarted
        assert "deadline of 0.5 s" in str(error)
    assert time.monotonic() - began < slowed(10)


def test_a_deadline_while_others_take_the_money(stub: Endpoint, make: Make, hanging: Any) -> None:
    stub.answer = hanging("call")
    executor = make(concurrency=2, max_dollars=5e-4)  # less than what two may cost
    first = executor.submit(abs, -1)
    assert until(lambda: any(event["kind"] == "call" for event in stub.asked))  # it has the money
    second = executor.options(deadline=0.5).submit(abs, -2)
    error = second.exception(_WAIT)
    assert type(error) is NeverStarted
    assert "deadline of 0.5 s" in str(error)
    assert not first.done()
    executor.calls.stop()


def test_lost_invocation_reserves_its_worst_cost(
    stub: Endpoint, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer is not awaited for long, but it runs: no other call gets that money."""
    monkeypatch.setattr(channel, "_AWAIT", 0.2)
    stub.answer = lambda event: called(event) if event["kind"] == "ping" else None
    worst = Prices().call(40.0, 512, arm=False)  # 10 s of them to start
    executor = make(concurrency=1, max_dollars=2.5 * worst)
    errors = [future.exception(_WAIT) for future in executor.submit_many(abs, range(4))]
    assert [type(error) for error in errors] == [Lost, Lost, OverBudget, OverBudget]
    assert "invocations that we have lost may cost $0.0007" in str(errors[-1])
    assert executor.spent < 0.1 * worst


def test_recovered_answer_is_paid_for(stub: Endpoint, make: Make) -> None:
    threads: list[threading.Thread] = []

    def answer(event: dict[str, Any]) -> Answer | None:
        if event["kind"] == "ping":
            return called(event)
        threads.append(threading.Thread(target=ran, args=(event,)))
        threads[-1].start()
        return None

    def slow() -> np.ndarray:
        time.sleep(1.5)
        return np.ones(3)

    stub.answer = answer
    executor = make(max_dollars=1.0)
    future = executor.options(record=True).submit(slow)
    assert np.array_equal(future.result(_WAIT), np.ones(3))
    for thread in threads:
        thread.join()
    each = 1.5 * 512 / 1024 * Prices().gb_second_x86
    assert 1.5 <= future.stats.billed < 10
    assert future.stats.dollars >= each
    assert executor.spent >= each
    assert executor._transport.budget.risked == 0.0


def test_an_account_that_may_have_few_at_a_time(
    stub: Endpoint, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All calls have their turn, though it takes longer than a service is waited for that does nothing."""
    monkeypatch.setattr(channel, "_PATIENCE", 1.2)
    monkeypatch.setattr(rate_limiter, "_TAKEN", 0.2)
    monkeypatch.setattr(rate_limiter, "_LONGEST", 0.1)
    place = threading.Semaphore(1)

    def answer(event: dict[str, Any]) -> Answer:
        if event["kind"] == "ping":
            return called(event)
        if not place.acquire(blocking=False):
            return Answer({"message": "Rate Exceeded."}, 429, "TooManyRequestsException")
        time.sleep(0.4)
        place.release()
        return called(event)

    stub.answer = answer
    assert list(make(concurrency=6).map(abs, range(6), timeout=60)) == list(range(6))


def test_a_service_that_takes_nothing(stub: Endpoint, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "_PATIENCE", 0.3)
    stub.answer = lambda event: (
        called(event)
        if event["kind"] == "ping"
        else Answer({"message": "slow"}, 429, "TooManyRequestsException")
    )
    errors = [future.exception(_WAIT) for future in make(concurrency=4).submit_many(abs, range(4))]
    assert {type(error) for error in errors} == {Throttled}


def test_a_refusal_that_passes(stub: Endpoint, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are renewed, an update of the function ends; for a while the refusal is everybody's answer."""
    monkeypatch.setattr(handshake, "_AGAIN", 1.0)
    numbers = itertools.count()
    refusal = Answer({"message": "The operation cannot be performed"}, 409, "ResourceConflictException")
    stub.answer = lambda event: refusal if not next(numbers) else called(event)
    executor = make(concurrency=4)
    began = time.monotonic()
    errors = [future.exception(_WAIT) for future in executor.submit_many(abs, range(50))]
    if time.monotonic() - began < 1.0:
        assert {type(error) for error in errors} == {ServiceError}
        assert len(stub.asked) == 1
    time.sleep(1.1)
    assert executor.submit(abs, -1).result(_WAIT) == 1


@pytest.mark.parametrize(
    "code", ["KMSAccessDeniedException", "KMSDisabledException", "InvalidRuntimeException"]
)
def test_a_function_that_cannot_start_is_not_a_lost_connection(code: str, stub: Endpoint, make: Make) -> None:
    stub.answer = lambda event: Answer({"message": "no"}, 502, code)
    error = make().submit(abs, -1).exception(_WAIT)
    assert type(error) is ServiceError
    assert re.search("run:? wrenla deploy", str(error))
    assert len(stub.asked) == 1
    assert error.__cause__ is None


def test_variables_that_cannot_be_read_are_not_none(stub: Endpoint, make: Make) -> None:
    error = {"ErrorCode": "AccessDeniedException", "Message": "not you"}
    stub.configuration.body["Environment"] = {"Error": error}
    with pytest.raises(ServiceError, match=r"cannot be read: not you; the credentials need kms:Decrypt"):
        make()


def test_ctrl_c_ends_the_wait(stub: Endpoint, make: Make, hanging: Any) -> None:
    """What runs there goes on by itself, as it cannot be told; nobody waits for it."""
    stub.answer = hanging("call")
    executor = make(concurrency=2)
    for name, ask in (
        ("result", lambda futures: futures[0].result()),
        ("as_completed", lambda futures: list(as_completed(futures))),
    ):
        futures = executor.submit_many(abs, range(4))
        assert until(lambda: executor.stats().running == 2)
        with interrupts(name):
            ask(futures)
        assert until_idle(executor)
        assert [future.cancelled() or type(future.exception()) for future in futures] == [
            Cancelled,
            Cancelled,
            True,
            True,
        ]
