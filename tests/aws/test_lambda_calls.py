"""Calls on the stub: throttling, concurrency, ends, what was lost, stragglers, secrets."""

from __future__ import annotations

import contextlib
import gc
import json
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

import wrenla as wl
from tests.waiting import attempts, slowed, until
from wrenla.errors import Cancelled, Lost, NeverStarted, TimedOut, TransientStoreError, WorkerDied
from wrenla.executors.aws_lambda import channel
from wrenla_handler.calls.messages import Request
from wrenla_handler.calls.runner import Runner
from wrenla_handler.stores.urls import open_store

from .conftest import Make, ours
from .stub import Answer, Endpoint, called

_WAIT = 30.0


@pytest.fixture
def hanging(stub: Endpoint) -> Iterator[Callable[..., Answer | None]]:
    """Answer calls when the test is over."""
    over = threading.Event()

    def answer(event: dict[str, Any]) -> Answer | None:
        if event["kind"] == "ping":
            return called(event)
        over.wait(60)
        return None

    yield answer
    over.set()


def ran(event: dict[str, Any], *, record: str | None = None) -> None:
    """Carry a call out, and lose its answer; with another record if one is given."""
    request = Request.of(event)
    if record is not None:
        open_store(request.store).put(request.record, record.encode(), create=True)
        return
    callee = Runner("stub", lambda: b"")
    callee.answer(request)
    callee.close()


def test_throttling(stub: Endpoint, make: Make) -> None:
    """A third of all calls is refused: all come to their end, in time, and the pace is learned."""
    numbers, lock = iter(range(100_000)), threading.Lock()

    def answer(event: dict[str, Any]) -> Answer:
        with lock:
            refused = next(numbers) % 10 < 3
        return Answer({"message": "slow"}, 429, "TooManyRequestsException") if refused else called(event)

    stub.answer = answer
    executor = make(concurrency=16)
    began = time.monotonic()
    assert list(executor.map(abs, range(200), timeout=60)) == list(range(200))
    assert time.monotonic() - began < slowed(45)
    assert executor._transport.limiter.refusals >= 40
    assert executor._transport.limiter.rate is not None
    stats = executor.stats()
    assert stats.attempts == 200
    assert stats.throttles == executor._transport.limiter.refusals
    assert 0 < stats.backoff < 16 * (time.monotonic() - began)


def test_concurrency(stub: Endpoint, make: Make) -> None:
    def answer(event: dict[str, Any]) -> Answer:
        time.sleep(0.02)
        return called(event)

    stub.answer = answer
    executor = make(concurrency=4)
    assert list(executor.map(abs, range(40), timeout=_WAIT)) == list(range(40))
    assert stub.most_together == 4
    assert until(lambda: executor.stats().workers == 0, 5)


# what was lost


@pytest.mark.parametrize("how", ["dropped", "exit"])
def test_a_stored_answer_is_found(how: str, stub: Endpoint, make: Make) -> None:
    def answer(event: dict[str, Any]) -> Answer | None:
        if event["kind"] == "ping":
            return called(event)
        ran(event)
        body = {"errorType": "Runtime.ExitError", "errorMessage": "exit status 1"}
        return None if how == "dropped" else Answer(body, error="Unhandled")

    stub.answer = answer
    executor = make().options(record=True)
    future = executor.submit(np.ones, 1 << 17)
    assert np.array_equal(future.result(_WAIT), np.ones(1 << 17))
    assert len(future.attempts) == 1
    left = [
        key for key in executor.calls.transport.scratch.store.list() if not key.startswith("wrenla-lease/")
    ]
    assert [key for key in left if key.startswith(("outcomes/", "results/"))] == []


@pytest.mark.parametrize("record", ["", "0" * 64 + "\n{}", '{"version":2,"kind":"answer","ending":"value"}'])
def test_a_forged_answer_is_refused(
    record: str, stub: Endpoint, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "_AWAIT", 0.3)

    def answer(event: dict[str, Any]) -> Answer | None:
        if event["kind"] == "ping":
            return called(event)
        ran(event, record=record)
        return None

    stub.answer = answer
    view = make().options(record=True)
    monkeypatch.setattr(channel, "_GRACE", -28.0)  # of the function's 30 s
    error = view.submit(abs, -1).exception(_WAIT)
    assert type(error) is Lost


def test_lost_idempotent_call_runs_again(stub: Endpoint, make: Make) -> None:
    left = [None, None]

    def answer(event: dict[str, Any]) -> Answer | None:
        return left.pop() if event["kind"] == "call" and left else called(event)

    stub.answer = answer
    future = make().options(idempotent=True).submit(abs, -1)
    assert future.result(_WAIT) == 1
    assert [attempt.ending for attempt in future.attempts] == ["Lost", "Lost", "value"]


# limits


def test_the_workers_own_limit(stub: Endpoint, make: Make) -> None:
    def answer(event: dict[str, Any]) -> Answer:
        if event["kind"] == "call":
            assert 0 < event["limit"] <= 0.5
            given = called(event)
            given.body["ending"] = "timed out"
            given.body["value"] = called_failure()
            return given
        return called(event)

    stub.answer = answer
    error = make().options(timeout=0.5).submit(abs, -1).exception(_WAIT)
    assert type(error) is TimedOut
    assert "timeout of 0.5 s" in str(error)


def called_failure() -> Any:
    from wrenla_handler.calls.failure import packed_failure

    return msgspec.to_builtins(packed_failure(RuntimeError("still running")))


def test_the_functions_own_limit_has_a_remedy(stub: Endpoint, make: Make) -> None:
    def answer(event: dict[str, Any]) -> Answer:
        given = called(event)
        if event["kind"] == "call":
            given.body |= {"ending": "timed out", "value": called_failure()}
        return given

    stub.answer = answer
    error = make().submit(abs, -1).exception(_WAIT)
    assert type(error) is TimedOut
    assert "30 s" in str(error)
    assert "wrenla deploy --timeout" in str(error)


def test_call_without_answer_is_timed_out(
    stub: Endpoint, make: Make, hanging: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "_GRACE", 0.2)
    stub.answer = hanging
    began = time.monotonic()
    error = make().options(timeout=0.3).submit(abs, -1).exception(_WAIT)
    assert type(error) is TimedOut
    assert time.monotonic() - began < slowed(10)


def test_the_limit_begins_when_the_service_takes_it(
    stub: Endpoint, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that is refused for longer than its timeout and the grace has all of its time then."""
    monkeypatch.setattr(channel, "_GRACE", 0.1)
    executor = make()
    executor.submit(abs, -1).result(_WAIT)
    began = time.monotonic()

    def answer(event: dict[str, Any]) -> Answer:
        if time.monotonic() - began < 1.5:
            return Answer({"message": "slow"}, 429, "TooManyRequestsException")
        assert event["limit"] > 0.45
        return called(event)

    stub.answer = answer
    future = executor.options(timeout=0.5).submit(abs, -2)
    assert future.result(_WAIT) == 2
    assert len(future.attempts) == 1


def test_a_deadline_in_the_queue(stub: Endpoint, make: Make) -> None:
    stub.answer = lambda event: (
        called(event)
        if event["kind"] == "ping"
        else Answer({"message": "slow"}, 429, "TooManyRequestsException")
    )
    for deadline in attempts(0.5):  # a request that is under way then may have begun, as far as we know
        error = make().options(deadline=deadline).submit(abs, -1).exception(_WAIT)
        if type(error) is NeverStarted:
            break
    assert type(error) is NeverStarted
    assert f"deadline of {deadline:g} s" in str(error)


# the end


@pytest.mark.parametrize("pinging", [False, True])
def test_shutdown_of_hanging_calls_returns_soon(
    pinging: bool, stub: Endpoint, make: Make, hanging: Any
) -> None:
    """Control is back soon though nothing answers, and no thread of ours is left."""
    before = set(threading.enumerate())
    stub.answer = (lambda event: hanging(event | {"kind": "call"})) if pinging else hanging
    executor = make(concurrency=8)
    futures = executor.submit_many(abs, range(20))
    assert until(lambda: stub.together == (1 if pinging else 8))
    began = time.monotonic()
    executor.calls.stop()
    executor.shutdown()
    assert time.monotonic() - began < slowed(5)
    assert {type(future.exception(0)) for future in futures if not future.cancelled()} == {Cancelled}
    assert all(future.done() for future in futures)
    assert ours(before) == []


def test_a_map_for_its_side_effects_is_made_whole(stub: Endpoint, make: Make) -> None:
    with make(concurrency=3) as executor:
        executor.map(abs, range(20))
    assert executor.stats().succeeded == 20


def test_no_thread_is_left_after_the_last_answer(stub: Endpoint, make: Make) -> None:
    executor = make(concurrency=8)
    before = set(threading.enumerate())
    assert list(executor.map(abs, range(20), timeout=_WAIT)) == list(range(20))
    assert until(lambda: [t for t in ours(before) if "_renew" not in t.name] == [], 5)
    assert executor.submit(abs, -1).result(_WAIT) == 1


def test_stragglers(stub: Endpoint, make: Make) -> None:
    """A copy overtakes; what the slow one stores is removed when it comes."""
    slow, over = threading.Event(), threading.Event()

    def answer(event: dict[str, Any]) -> Answer:
        if event["kind"] == "call" and event["id"].endswith("000008") and not slow.is_set():
            slow.set()
            over.wait(30)
        return called(event)

    stub.answer = answer
    executor = make(concurrency=4)
    futures = executor.options(idempotent=True, record=True).submit_many(
        lambda x: np.full(1 << 16, x), range(12)
    )
    try:
        assert [int(future.result(_WAIT)[-1]) for future in futures] == list(range(12))
        assert executor.stats().copies >= 1  # on a busy machine others are slow, too
    finally:
        over.set()
    assert until(lambda: all(attempt.ending for attempt in futures[7].attempts))
    assert {attempt.ending for attempt in futures[7].attempts} == {"superseded", "value"}
    store = executor.calls.transport.scratch.store
    assert until(lambda: [key for key in store.list() if key.startswith(("results/", "outcomes/"))] == [])


def test_map_reduce_of_large_results(stub: Endpoint, make: Make) -> None:
    """Results that travel inside messages are too much for one together: no request is."""
    sizes: list[int] = []

    def answer(event: dict[str, Any]) -> Answer:
        sizes.append(len(json.dumps(event)))
        return called(event)

    stub.answer = answer
    future = make(concurrency=4).map_reduce(
        lambda x: bytes([x]) * 200_000, range(40), lambda xs: max(xs), fan_in=40
    )
    assert future.result(60) == bytes([39]) * 200_000
    assert max(sizes) < 6 << 20


def test_secrets_stay_here(
    stub: Endpoint, make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No credential and no variable of AWS's is in what is sent, stored or logged."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-token-of-mine-4711")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn-of-mine-4711")
    stored: list[bytes] = []

    def answer(event: dict[str, Any]) -> Answer:
        if event["kind"] == "call":
            store = open_store(event["store"])
            stored.extend(bytes(store.get(key)) for key in store.list())
        return called(event)

    stub.answer = answer
    with caplog.at_level("DEBUG", logger="wrenla"):
        executor = make()
        array = np.arange(1 << 16)
        assert executor.options(record=True).submit(lambda x: x.sum(), array).result(_WAIT) == array.sum()
    everything = json.dumps(stub.asked).encode() + b"".join(stored) + caplog.text.encode()
    assert stored
    for secret in (b"4711", b"AWS_", b"test/2", b"Signature"):
        assert secret not in everything, secret


def test_not_recorded_if_lost_and_not_stored(
    stub: Endpoint, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "_AWAIT", 0.2)
    stub.answer = lambda event: called(event) if event["kind"] == "ping" else None
    future = make().submit(abs, -1)
    with contextlib.suppress(WorkerDied):
        assert type(future.exception(_WAIT)) is Lost


def test_a_short_outage_is_waited_for(stub: Endpoint, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = make(concurrency=2)
    assert executor.submit(abs, -1).result(_WAIT) == 1
    real, down = executor._transport.invoked.invoke, time.monotonic() + 0.5

    def invoke(*arguments: Any) -> Any:
        if time.monotonic() < down:
            raise NeverStarted("cannot be reached")
        return real(*arguments)

    monkeypatch.setattr(executor._transport.invoked, "invoke", invoke)
    assert list(executor.map(abs, range(-30, 0))) == list(range(30, 0, -1))


def test_no_answer_of_the_store_is_no_answer_of_the_function(
    stub: Endpoint, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = make()
    transport = executor._transport
    executor.submit(abs, -1).result(_WAIT)

    def fails(key: str) -> bytes:
        raise TransientStoreError("S3 did not answer")

    request = Request("id", 1, (), record="outcomes/id-1", secret="secret")
    with monkeypatch.context() as patch:
        patch.setattr(transport.scratch.store, "get", fails)
        assert transport.recorded(request) is None


def test_unreferenced_lambda_executor_ends_by_itself(stub: Endpoint, boto_session: Any) -> None:
    executor = wl.LambdaExecutor(session=boto_session, concurrency=2)
    assert executor.submit(len, [0] * 100_000).result(_WAIT) == 100_000
    known = weakref.ref(executor)
    del executor
    gc.collect()
    assert until(lambda: known() is None)
