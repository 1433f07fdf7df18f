"""Asynchronous calls: the queue and its retries."""

from __future__ import annotations

import time

from tests.waiting import slowed

from .stand import Stand


def test_an_event_runs_later(stand: Stand) -> None:
    function, bucket = stand.function("marks"), stand.bucket()
    begun = time.monotonic()
    answer = stand.call(function, {"bucket": bucket, "key": "k", "seconds": 5}, InvocationType="Event")
    assert answer.status == 202
    assert answer.value is None
    assert time.monotonic() - begun < slowed(5)
    _until(stand, bucket, "k", 1)


def test_an_event_that_fails_runs_three_times(stand: Stand) -> None:
    function, bucket = stand.function("marks"), stand.bucket()
    failed = stand.counts().get("events_failed", 0)
    stand.call(function, {"bucket": bucket, "key": "k", "fail": True}, InvocationType="Event")
    _until(stand, bucket, "k", 3)
    _settle(stand, failed + 1)
    assert stand.marks(bucket, "k") == 3


def test_retries_can_be_switched_off(stand: Stand) -> None:
    function, bucket = stand.function("marks"), stand.bucket()
    for retries in (1, 0):
        stand.lambda_.put_function_event_invoke_config(FunctionName=function, MaximumRetryAttempts=retries)
    config = stand.lambda_.get_function_event_invoke_config(FunctionName=function)
    assert config["MaximumRetryAttempts"] == 0
    failed = stand.counts().get("events_failed", 0)
    stand.call(function, {"bucket": bucket, "key": "k", "fail": True}, InvocationType="Event")
    _settle(stand, failed + 1)
    assert stand.marks(bucket, "k") == 1


def test_throttled_events_wait(stand: Stand) -> None:
    function, bucket = stand.function("marks"), stand.bucket()
    stand.lambda_.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=1)
    for _ in range(3):
        stand.call(function, {"bucket": bucket, "key": "k", "seconds": 0.2}, InvocationType="Event")
    _until(stand, bucket, "k", 3)


def _until(stand: Stand, bucket: str, key: str, count: int) -> None:
    deadline = time.monotonic() + 20
    while stand.marks(bucket, key) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _settle(stand: Stand, failed: int) -> None:
    deadline = time.monotonic() + 20
    while stand.counts().get("events_failed", 0) < failed:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.3)
