"""Faults of the control plane: what AWS does in the first seconds of a role, a function and an update."""

from __future__ import annotations

import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.waiting import attempts
from wrenla.emulator.faults import Fault, Faults

from .stand import Stand, package

CANNOT = "The operation cannot be performed at this time."
ECHO = package({"m.py": "def handler(event, context): return 'new'\n"})


def _refused(request: Any, **arguments: Any) -> tuple[str, str, int]:
    try:
        request(**arguments)
    except ClientError as error:
        response = error.response
    else:
        return "not refused", "", 200
    return (
        response["Error"]["Code"],
        response["Error"]["Message"],
        response["ResponseMetadata"]["HTTPStatusCode"],
    )


def _state(stand: Stand, function: str) -> tuple[str, str]:
    found = stand.lambda_.get_function_configuration(FunctionName=function)
    nested = stand.lambda_.get_function(FunctionName=function)["Configuration"]
    listed = next(
        each for each in stand.lambda_.list_functions()["Functions"] if each["FunctionName"] == function
    )
    states = {(each["State"], each["LastUpdateStatus"]) for each in (found, nested, listed)}
    assert len(states) == 1
    return states.pop()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("role-unknown", "The role defined for the function cannot be assumed by Lambda."),
        (
            "grant-refused",
            "Lambda was unable to configure access to your environment variables because the KMS key is "
            "invalid for CreateGrant. Please check your KMS key settings. KMS Exception: InvalidArnException "
            "KMS Message: ARN does not refer to a valid principal: ",
        ),
    ],
)
def test_a_role_is_too_new(stand: Stand, kind: str, words: str) -> None:
    role = stand.role()
    before = stand.counts().get("faults", 0)
    stand.faults({"kind": kind, "first": 2})
    for _ in range(2):
        code, message, status = _refused(stand.function, role=role)
        assert (code, status) == ("InvalidParameterValueException", 400)
        assert message == (words + role if kind == "grant-refused" else words)
    function = stand.function("echo", role=role)
    assert stand.call(function, {"n": 1}).value == {"n": 1}
    assert stand.counts()["faults"] == before + 2


def test_a_function_that_was_created_is_pending(stand: Stand) -> None:
    for seconds in attempts(1.5):
        stand.faults({"kind": "pending", "first": 1, "seconds": seconds})
        begun = time.monotonic()
        function = stand.function("echo")
        seen = [
            _state(stand, function)[0],
            _refused(stand.call, function=function),
            _refused(stand.lambda_.update_function_configuration, FunctionName=function, Timeout=9),
        ]
        if time.monotonic() - begun < seconds:
            break
    state = f"{CANNOT} The function is currently in the following state: Pending"
    assert seen == ["Pending", *[("ResourceConflictException", state, 409)] * 2]
    stand.lambda_.get_waiter("function_active_v2").wait(FunctionName=function, WaiterConfig={"Delay": 1})
    assert time.monotonic() - begun >= seconds
    assert _state(stand, function)[0] == "Active"
    assert stand.call(function, {"n": 1}).value == {"n": 1}


def test_an_update_is_in_progress(stand: Stand) -> None:
    for seconds in attempts(1.5):
        function = stand.function(
            "m.handler", code=package({"m.py": "def handler(event, context): return 'old'\n"})
        )
        assert stand.call(function).value == "old"
        stand.faults({"kind": "pending", "first": 1, "seconds": seconds})
        begun = time.monotonic()
        answered = stand.lambda_.update_function_code(FunctionName=function, ZipFile=ECHO)
        seen = [
            (answered["LastUpdateStatus"], answered["LastUpdateStatusReasonCode"]),
            _state(stand, function),
            stand.call(function).value,
        ]
        code, message, status = _refused(
            stand.lambda_.update_function_configuration, FunctionName=function, Timeout=9
        )
        if time.monotonic() - begun < seconds:
            break
    assert seen == [("InProgress", "Creating"), ("Active", "InProgress"), "old"]
    assert (code, status) == ("ResourceConflictException", 409)
    assert message.startswith(
        "The operation cannot be performed at this time. An update is in progress for resource: arn"
    )
    stand.lambda_.get_waiter("function_updated_v2").wait(FunctionName=function, WaiterConfig={"Delay": 1})
    assert time.monotonic() - begun >= seconds
    assert stand.call(function).value == "new"
    assert _state(stand, function) == ("Active", "Successful")


def test_an_update_fails(stand: Stand) -> None:
    """The configuration shows what was asked for, and calls run as before, until the next update."""
    function = stand.function(
        "m.handler", code=package({"m.py": "def handler(event, context): return 'old'\n"})
    )
    before = stand.lambda_.get_function_configuration(FunctionName=function)["CodeSha256"]
    stand.faults({"kind": "update-failed", "first": 1, "seconds": 0})
    stand.lambda_.update_function_code(FunctionName=function, ZipFile=ECHO)
    found = stand.lambda_.get_function_configuration(FunctionName=function)
    assert (found["LastUpdateStatus"], found["LastUpdateStatusReasonCode"]) == ("Failed", "InternalError")
    assert found["LastUpdateStatusReason"]
    assert found["CodeSha256"] != before
    assert [stand.call(function).value for _ in range(2)] == ["old", "old"]
    stand.lambda_.update_function_configuration(FunctionName=function, Timeout=9)
    assert _state(stand, function) == ("Active", "Successful")
    assert stand.call(function).value == "new"


def test_a_key_is_denied(stand: Stand) -> None:
    function = stand.function("echo")
    stand.faults({"kind": "key-denied", "calls": [2]})
    assert stand.call(function, {"n": 1}).value == {"n": 1}
    code, message, status = _refused(stand.call, function=function)
    assert (code, status) == ("KMSAccessDeniedException", 502)
    assert message.startswith("Lambda was unable to decrypt the environment variables because KMS access was")
    assert stand.call(function, {"n": 1}).value == {"n": 1}


def test_calls_and_changes_are_numbered_apart() -> None:
    faults = Faults()
    call, creation = Fault("throttle", first=1), Fault("role-unknown", first=2)
    update, either = Fault("update-failed", calls=(3,)), Fault("pending", calls=(3, 4))
    faults.set((call, creation, update, either))
    assert faults.next_change("creation") == creation
    assert faults.next() == call
    assert faults.next() is None
    assert faults.next_change("update") is None
    assert faults.next_change("update") == update
    assert faults.next_change("creation") == either
    assert faults.next_change("creation") is None
