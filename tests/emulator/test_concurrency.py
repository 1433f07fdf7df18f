"""Reuse of environments, and 429 when there are too many calls."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from wrenla.emulator.metrics import Metrics
from wrenla.emulator.options import Options
from wrenla.emulator.runtime.environment import Call, Outcome
from wrenla.emulator.runtime.function_config import FunctionConfig
from wrenla.emulator.runtime.functions import Function
from wrenla.emulator.runtime.launcher import Launcher
from wrenla.emulator.runtime.log_lines import Ending
from wrenla.emulator.runtime.pool import Pool

from .stand import Answer, Stand, package


def test_an_environment_is_used_again(stand: Stand) -> None:
    function = stand.function("cold")
    before = stand.counts().get("cold_starts", 0)
    found = [stand.call(function).value for _ in range(4)]
    assert [each["cold"] for each in found] == [True, False, False, False]
    assert len({each["stream"] for each in found}) == 1
    assert stand.counts()["cold_starts"] == before + 1


def test_calls_at_a_time_have_an_environment_each(stand: Stand) -> None:
    function = stand.function("sleeps")
    before = stand.counts().get("cold_starts", 0)
    with ThreadPoolExecutor(3) as threads:
        assert len(list(threads.map(lambda _: stand.call(function, {"seconds": 0.7}), range(3)))) == 3
    assert stand.counts()["cold_starts"] == before + 3


def test_reserved_concurrency_is_a_limit(stand: Stand) -> None:
    function = stand.function("sleeps")
    stand.lambda_.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=2)
    reason = "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert _flood(stand, function, 6) == {"awake": 2, reason: 4}
    stand.lambda_.delete_function_concurrency(FunctionName=function)
    assert _flood(stand, function, 6) == {"awake": 6}
    stand.lambda_.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    assert _flood(stand, function, 1) == {reason: 1}


def test_a_throttled_call_is_answered_as_by_lambda(stand: Stand) -> None:
    function = stand.function("echo")
    stand.lambda_.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=0)
    with pytest.raises(ClientError, match=r"TooManyRequestsException.*Rate Exceeded\.") as caught:
        stand.call(function)
    response = caught.value.response
    assert response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert response["Type"] == "User"
    assert response["retryAfterSeconds"] == "1"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 429


@pytest.mark.parametrize(("before", "after"), [(None, 5), (5, None)])
def test_a_place_is_given_back_where_it_was_taken(before: int | None, after: int | None) -> None:
    """Although the function's reservation has changed while the call was running."""
    config = FunctionConfig("f", "", "", "", "", 128, 3, 512, {}, Path(), "")
    function, call = Function(config, reserved=before), Call("1", b"")
    pool = Pool(cast("Launcher", None), 1, Metrics(), lambda *_: None)
    pool._execute = lambda *_: Outcome(Ending(b""), b"")  # type: ignore[method-assign]
    place = pool.admit(function)
    function.reserved = after
    pool.run(function, call, place)
    assert (function.running, pool._unreserved) == (0, 0)
    pool.close()


@pytest.mark.slow
def test_the_account_has_a_limit() -> None:
    small = Stand(Options(os.getpid(), account_concurrency=103))
    try:
        function, other = small.function("sleeps"), small.function("sleeps")
        settings = small.lambda_.get_account_settings()["AccountLimit"]
        assert settings["ConcurrentExecutions"] == settings["UnreservedConcurrentExecutions"] == 103
        with pytest.raises(ClientError, match="below its minimum value of"):
            small.lambda_.put_function_concurrency(FunctionName=other, ReservedConcurrentExecutions=4)
        small.lambda_.put_function_concurrency(FunctionName=other, ReservedConcurrentExecutions=3)
        assert small.lambda_.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == 100
        small.lambda_.put_function_concurrency(FunctionName=other, ReservedConcurrentExecutions=1)
        assert small.call(function).error  # no `seconds`, but it may run
    finally:
        small.close()
    tiny = Stand(Options(os.getpid(), account_concurrency=2))
    try:
        function = tiny.function("sleeps")
        assert _flood(tiny, function, 5) == {"awake": 2, "ConcurrentInvocationLimitExceeded": 3}
        assert tiny.counts()["throttles"] == 3
    finally:
        tiny.close()


@pytest.mark.parametrize(
    "change",
    [
        lambda client, name: client.update_function_configuration(
            FunctionName=name, Environment={"Variables": {"LEVEL": "2"}}
        ),
        lambda client, name: client.update_function_configuration(FunctionName=name, MemorySize=512),
        lambda client, name: client.update_function_configuration(FunctionName=name, Timeout=7),
        lambda client, name: client.update_function_code(
            FunctionName=name, ZipFile=package({"handlers.py": "def cold(e, c): return {'cold': 'other'}"})
        ),
    ],
    ids=["variables", "memory", "timeout", "code"],
)
def test_a_change_ends_environments(stand: Stand, change: Callable[[Any, str], Any]) -> None:
    function = stand.function("cold")
    assert [stand.call(function).value["cold"] for _ in range(2)] == [True, False]
    change(stand.lambda_, function)
    assert stand.call(function).value["cold"] in (True, "other")


def test_call_running_during_a_change_is_finished(stand: Stand) -> None:
    function = stand.function("sleeps")
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(stand.call, function, {"seconds": 1})
        time.sleep(0.5)
        stand.lambda_.update_function_configuration(FunctionName=function, Timeout=8)
        assert running.result().value == "awake"
    assert "Init Duration" in stand.call(function, {"seconds": 0}).log


def test_a_deleted_function_is_gone(stand: Stand) -> None:
    function = stand.function("echo")
    stand.call(function)
    stand.lambda_.delete_function(FunctionName=function)
    with pytest.raises(ClientError, match="Function not found"):
        stand.call(function)


def _flood(stand: Stand, function: str, calls: int) -> dict[str, int]:
    """Call at a time, and count what comes back."""

    def call(_: int) -> str:
        try:
            answer: Answer = stand.call(function, {"seconds": 1.5})
        except ClientError as error:
            return str(error.response["Reason"])
        return str(answer.value)

    with ThreadPoolExecutor(calls) as threads:
        found = list(threads.map(call, range(calls)))
    return {what: found.count(what) for what in found}
