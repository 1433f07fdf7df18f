"""What a call is answered: values, errors, logs, in the form in which Lambda answers."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from botocore.exceptions import ClientError

from .stand import Stand, package


@pytest.mark.parametrize("value", [None, 1.5, "text ä €😀", [1, [2]], {"a": {"b": None}}, "x" * 100_000])
def test_values_come_back(stand: Stand, value: Any) -> None:
    function = _shared(stand, "echo")
    assert stand.call(function, {"v": value}).value == {"v": value}


def test_a_call_without_payload_gets_an_empty_object(stand: Stand) -> None:
    answer = stand.lambda_.invoke(FunctionName=_shared(stand, "echo"))
    assert json.loads(answer["Payload"].read()) == {}
    assert answer["ExecutedVersion"] == "$LATEST"
    assert "LogResult" not in answer


def test_an_exception_is_told_with_its_traceback(stand: Stand) -> None:
    answer = stand.call(_shared(stand, "fails"), {"text": "no ä"})
    assert answer.status == 200
    assert answer.error == "Unhandled"
    assert answer.value["errorType"] == "ValueError"
    assert answer.value["errorMessage"] == "no ä"
    assert "in fails" in answer.value["stackTrace"][0]
    assert answer.value["requestId"] == answer.id
    assert "[ERROR] ValueError: no ä" in answer.log


@pytest.mark.parametrize(
    ("event", "how"),
    [
        ({"code": 0}, "Runtime exited without providing a reason"),
        ({"code": 3}, "Runtime exited with error: exit status 3"),
        ({"signal": 9}, "Runtime exited with error: signal: killed"),
        ({"signal": 11}, "Runtime exited with error: signal: segmentation fault"),
    ],
)
def test_a_process_that_ends_is_told(either: Stand, event: dict[str, int], how: str) -> None:
    function = _shared(either, "ends")
    answer = either.call(function, event)
    message = f"RequestId: {answer.id} Error: {how}"
    assert (answer.error, answer.value) == (
        "Unhandled",
        {"errorType": "Runtime.ExitError", "errorMessage": message},
    )
    assert message in answer.lines
    assert "Error Type: Runtime.ExitError" in answer.lines[-1]


def test_response_that_is_not_json_is_an_error(stand: Stand) -> None:
    answer = stand.call(_shared(stand, "unserialisable"))
    assert answer.value["errorType"] == "Runtime.MarshalError"


def test_the_log_has_start_output_end_and_report(either: Stand) -> None:
    function = either.function("says")
    first, second = (either.call(function, {"text": "hello ä"}) for _ in range(2))
    assert first.lines[:4] == [
        f"START RequestId: {first.id} Version: $LATEST",
        "hello ä",
        "and to stderr",
        f"END RequestId: {first.id}",
    ]
    report = (
        rf"REPORT RequestId: {first.id}\tDuration: (\d+\.\d\d) ms\tBilled Duration: (\d+) ms\t"
        r"Memory Size: 1769 MB\tMax Memory Used: (\d+) MB(\tInit Duration: (\d+\.\d\d) ms)?\t"
    )
    found = re.fullmatch(report, first.lines[4])
    assert found is not None
    assert 5 < int(found[3]) < 100
    assert float(found[1]) + float(found[5]) <= int(found[2]) <= float(found[1]) + float(found[5]) + 2
    assert "Init Duration" not in second.log
    assert second.lines[0] == f"START RequestId: {second.id} Version: $LATEST"


def test_the_tail_is_4_kb(stand: Stand) -> None:
    answer = stand.call(_shared(stand, "says"), {"text": "x" * 10_000})
    assert len(answer.log) == 4096
    assert answer.lines[-1].startswith("REPORT")


def test_logs_go_to_cloudwatch(stand: Stand) -> None:
    function = stand.function("says")
    stand.call(function, {"text": "to be kept"})
    assert "to be kept" in stand.process.ask("GET", "/_emulator/logs")
    logs = stand.client("logs")
    (stream,) = logs.describe_log_streams(logGroupName=f"/aws/lambda/{function}")["logStreams"]
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", stream["logStreamName"])
    events = logs.get_log_events(
        logGroupName=f"/aws/lambda/{function}", logStreamName=stream["logStreamName"]
    )
    messages = [event["message"] for event in events["events"]]
    assert messages[1] == "to be kept"
    assert messages[-1].startswith("REPORT")


def test_the_context_is_filled_in(stand: Stand) -> None:
    context = base64.b64encode(json.dumps({"custom": {"ä": "1"}}).encode()).decode()
    function = stand.function("context_fields", MemorySize=512, Timeout=7)
    fields = stand.call(function, {"n": 1}, ClientContext=context).value
    assert 5000 < fields.pop("left") <= 7000
    assert fields == {
        "name": function,
        "version": "$LATEST",
        "arn": f"arn:aws:lambda:us-east-1:{stand.ready.account}:function:{function}",
        "memory": "512",
        "id": 36,
        "group": f"/aws/lambda/{function}",
        "client": {"ä": "1"},
        "event": {"n": 1},
    }


def test_a_function_has_an_arn_and_a_qualifier(stand: Stand) -> None:
    function = _shared(stand, "echo")
    arn = f"arn:aws:lambda:us-east-1:{stand.ready.account}:function:{function}"
    assert stand.call(arn, {"n": 1}).value == {"n": 1}
    assert stand.call(f"{arn}:$LATEST", {"n": 2}).value == {"n": 2}
    assert stand.call(function, {"n": 3}, Qualifier="$LATEST").value == {"n": 3}
    with pytest.raises(ClientError, match=r"Function not found: .*:nobody") as caught:
        stand.call("nobody")
    assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    with pytest.raises(ClientError, match="Function not found"):
        stand.call(function, Qualifier="7")


def test_a_dry_run_runs_nothing(stand: Stand) -> None:
    function = stand.function("marks")
    before = stand.counts()["executions"]
    answer = stand.lambda_.invoke(FunctionName=function, InvocationType="DryRun", Payload=b"{}")
    assert answer["StatusCode"] == 204
    assert stand.counts()["executions"] == before


def test_a_payload_that_is_too_large_is_refused(stand: Stand) -> None:
    function = _shared(stand, "echo")
    whole = b'"' + b"x" * (6 * (1 << 20) - 2) + b'"'
    answer = stand.lambda_.invoke(FunctionName=function, Payload=whole)
    assert answer["Payload"].read() == whole
    with pytest.raises(ClientError, match="Request must be smaller than 6291456 bytes") as caught:
        stand.lambda_.invoke(FunctionName=function, Payload=b'"' + b"x" * 6_291_455 + b'"')
    assert caught.value.response["Error"]["Code"] == "RequestTooLargeException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413


def test_asynchronous_invocations_are_refused(stand: Stand) -> None:
    with pytest.raises(ClientError, match="synchronous invocations only") as caught:
        stand.lambda_.invoke(FunctionName=_shared(stand, "echo"), Payload=b"{}", InvocationType="Event")
    assert caught.value.response["Error"]["Code"] == "InvalidParameterValueException"


def test_a_payload_that_is_no_json_is_refused(stand: Stand) -> None:
    for payload in (b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(ClientError, match="Could not parse request body into json") as caught:
            stand.lambda_.invoke(FunctionName=_shared(stand, "echo"), Payload=payload)
        assert caught.value.response["Error"]["Code"] == "InvalidRequestContentException"


def test_a_response_that_is_too_large_is_an_error(stand: Stand) -> None:
    function = stand.function("large")
    assert len(stand.call(function, {"size": 6 * (1 << 20)}).value) == 6 * (1 << 20)
    answer = stand.call(function, {"size": 6 * (1 << 20) + 100})
    assert answer.error == "Unhandled"
    assert answer.value == {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
    }


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("import nothing_of_the_kind", "Runtime.ImportModuleError", "No module named 'nothing_of_the_kind'"),
        ("def", "Runtime.UserCodeSyntaxError", "Syntax error in module 'm'"),
        ("1 / 0", "ZeroDivisionError", "division by zero"),
        ("other = 1", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'm'"),
    ],
)
def test_code_that_cannot_be_loaded(stand: Stand, text: str, kind: str, message: str) -> None:
    """It is loaded twice: when the environment is made, and once more on the call's time."""
    function = stand.function("m.handler", code=package({"m.py": f"print('loading')\n{text}\n"}))
    answer = stand.call(function)
    assert answer.error == "Unhandled"
    assert answer.value["errorType"] == kind
    assert message in answer.value["errorMessage"]
    if kind != "Runtime.UserCodeSyntaxError":
        assert answer.lines.count("loading") == 2
    phases = [line.split("\t")[1:] for line in answer.lines if line.startswith("INIT_REPORT")]
    assert phases == [
        ["Phase: init", "Status: error", f"Error Type: {kind}"],
        ["Phase: invoke", "Status: error", f"Error Type: {kind}"],
    ]


def test_code_that_not_everybody_may_read_cannot_be_read(stand: Stand) -> None:
    """What `ZipFile.writestr` makes by default: on Lambda it fails, too."""
    if stand.ready.isolation == "plain":
        pytest.skip("root reads everything")
    function = stand.function("handlers.echo", code=package(mode=0o600))
    assert "handlers" in stand.call(function).value["errorMessage"]


_FUNCTIONS: dict[tuple[int, str], str] = {}


def _shared(stand: Stand, handler: str) -> str:
    """Return a function that several tests use."""
    key = id(stand), handler
    if key not in _FUNCTIONS:
        _FUNCTIONS[key] = stand.function(handler)
    return _FUNCTIONS[key]
