"""What AWS Lambda and the network may answer: each row of a table ends with its name and a remedy."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import SSLError

import wrenla as wl
from tests.waiting import slowed
from wrenla.errors import (
    CallError,
    EventError,
    Lost,
    NeverStarted,
    OutOfMemory,
    ServiceError,
    Throttled,
    TimedOut,
    VersionError,
    WorkerDied,
    WrenlaError,
)
from wrenla.executors.aws_lambda import channel, handshake, interruptible
from wrenla.executors.aws_lambda.client import Billing, Function
from wrenla.executors.aws_lambda.interruptible import allow_open_files

from .conftest import Make, ours
from .stub import Answer, Endpoint, called, pong

_WAIT = 30.0


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "_PATIENCE", 0.3)
    monkeypatch.setattr(channel, "_AWAIT", 0.3)
    monkeypatch.setattr(handshake, "_PINGS", 2)


@dataclass(frozen=True)
class Row:
    """What is answered to a call, and what the call ends with."""

    name: str
    answer: Callable[[dict[str, Any]], Answer | None]
    error: type[WrenlaError]
    match: str
    attempts: int = 1
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def refused(status: int, code: str, message: str = "why\n  so", **more: Any) -> Callable[..., Answer]:
    return lambda event: Answer({"message": message, "Message": message}, status, code, **more)


def failed(kind: str, message: str = "it ended", *, used: int = 100, **more: Any) -> Callable[..., Answer]:
    return lambda event: Answer(
        {"errorType": kind, "errorMessage": message}, error="Unhandled", used=used, **more
    )


def body(value: Any) -> Callable[..., Answer]:
    return lambda event: Answer(value)


def changed(**changes: Any) -> Callable[[dict[str, Any]], Answer]:
    """Answer as the function does, but for something."""

    def answer(event: dict[str, Any]) -> Answer:
        given = called(event)
        given.body = {name: field for name, field in (given.body | changes).items() if field is not ...}
        return given

    return answer


_DEPLOY = "wrenla deploy"

ROWS = [
    # AWS refuses
    Row(
        "no function", refused(404, "ResourceNotFoundException"), ServiceError, f"no such function.*{_DEPLOY}"
    ),
    Row("denied", refused(403, "AccessDeniedException"), ServiceError, "need lambda:InvokeFunction"),
    Row("expired", refused(403, "ExpiredTokenException"), ServiceError, "expired; renew"),
    Row("expired too", refused(403, "ExpiredToken"), ServiceError, "expired; renew"),
    Row("client", refused(403, "UnrecognizedClientException"), ServiceError, "check AWS_ACCESS_KEY_ID"),
    Row("signature", refused(403, "InvalidSignatureException"), ServiceError, "check AWS_ACCESS_KEY_ID"),
    Row(
        "clock",
        refused(403, "InvalidSignatureException", "Signature expired: 1 is now earlier than 2 (7 - 5 min.)"),
        ServiceError,
        "clock is off by more than 5 minutes",
    ),
    Row("too large", refused(413, "RequestTooLargeException"), ServiceError, "6 MB.*broadcast"),
    Row("too large too", refused(413, "RequestEntityTooLargeException"), ServiceError, "6 MB.*broadcast"),
    Row("kms", refused(502, "KMSAccessDeniedException"), ServiceError, "wrenla deploy"),
    Row("braces", refused(400, "InvalidRequestContentException", "not {json}: {0}"), ServiceError, "{json}"),
    Row("throttled", refused(429, "TooManyRequestsException"), Throttled, "not take more calls"),
    Row("throttled by EC2", refused(502, "EC2ThrottledException"), Throttled, "not take more calls"),
    Row("internal", refused(500, "ServiceException"), Lost, "500 ServiceException: why so"),
    Row("internal, again", refused(500, "ServiceException"), Lost, "500", 3, {"idempotent": True}),
    Row("unavailable", refused(503, "ServiceUnavailable"), Lost, "503"),
    # the connection breaks
    Row("dropped", lambda event: None, Lost, "connection broke"),
    Row("dropped, again", lambda event: None, Lost, "connection broke", 3, {"idempotent": True}),
    Row("cut", lambda event: Answer(called(event).body, cut=20), Lost, "connection broke"),
    # the function ends without an answer of its own
    Row(
        "timed out",
        failed("Emulator.Timedout", "RequestId: 1 Error: Task timed out after 30.00 seconds"),
        TimedOut,
        r"30 s.*wrenla deploy --timeout",
    ),
    Row(
        "exit",
        failed("Runtime.ExitError", "RequestId: 1 Error: Runtime exited\nwith 3"),
        WorkerDied,
        "exited with",
    ),
    Row("exit, again", failed("Runtime.ExitError"), WorkerDied, "ended", 3, {"idempotent": True}),
    Row(
        "killed, memory full",
        failed("Runtime.ExitError", "Error: Runtime exited with error: signal: killed", used=512),
        OutOfMemory,
        r"512 MB.*wrenla deploy --memory",
        1,
        {"idempotent": True, "retries": 3},
    ),
    Row("killed", failed("Runtime.ExitError", "signal: killed"), WorkerDied, "signal: killed"),
    Row("out of memory", failed("Runtime.OutOfMemory"), OutOfMemory, "wrenla deploy --memory"),
    Row(
        "import",
        failed("Runtime.ImportModuleError", "No module named 'x'"),
        ServiceError,
        f"cannot start.*{_DEPLOY}",
    ),
    Row("handler", failed("Runtime.HandlerNotFound"), ServiceError, f"cannot start.*{_DEPLOY}"),
    Row("response", failed("Function.ResponseSizeTooLarge"), CallError, "6 MB"),
    Row("event", failed("EventError", f"cannot be read. Run: {_DEPLOY}"), EventError, _DEPLOY),
    Row("nobody knows", failed("", ""), WorkerDied, "it ended while it had the call"),
    Row("no object", lambda event: Answer("text", error="Unhandled"), WorkerDied, "text"),
    # it answers, but nothing of ours
    Row("null", body(None), ServiceError, f"not an answer of wrenla.*{_DEPLOY}"),
    Row("text", body("hello"), ServiceError, f"not an answer of wrenla.*{_DEPLOY}"),
    Row("http", body({"statusCode": 200, "body": "x"}), ServiceError, f"not an answer of wrenla.*{_DEPLOY}"),
    Row("half", body({"version": 2, "kind": "answer"}), ServiceError, f"not an answer of wrenla.*{_DEPLOY}"),
    Row("version", changed(version=1), ServiceError, f"not an answer of wrenla.*{_DEPLOY}"),
    Row("without a value", changed(value=...), ServiceError, f"not an answer of wrenla.*{_DEPLOY}"),
    Row("strange value", changed(value=[[1, 2]]), ServiceError, f"not an answer of wrenla.*{_DEPLOY}"),
    Row("of another call", changed(id="another"), ServiceError, f"not an answer of wrenla.*{_DEPLOY}"),
    Row("not json", lambda event: Answer(raw=b"<html>"), ServiceError, f"not an answer of wrenla.*{_DEPLOY}"),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_lambda_error_ends_call_with_its_error(row: Row, stub: Endpoint, make: Make) -> None:
    executor = make(concurrency=2)
    stub.answer = lambda event: called(event) if event["kind"] == "ping" else row.answer(event)
    view = executor.options(**row.options) if row.options else executor
    future = view.submit(abs, -1)
    error = future.exception(_WAIT)
    assert type(error) is row.error, repr(error)
    text = str(error)
    assert "\n" not in text
    assert len(text) < 400
    with pytest.raises(row.error, match=row.match):
        future.result()
    assert len(future.attempts) == row.attempts
    stub.answer = called
    assert executor.submit(abs, -2).result(_WAIT) == 2


def test_the_message_names_the_call(stub: Endpoint, make: Make) -> None:
    executor = make()
    stub.answer = lambda event: (
        called(event) if event["kind"] == "ping" else failed("Runtime.ExitError")(event)
    )
    assert str(executor.submit(abs, -1).exception(_WAIT)).startswith("abs: wrenla (512 MB): ")


def test_connection_refused(
    stub: Endpoint, make: Make, boto_session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = make(concurrency=4)
    assert executor.submit(abs, -1).result(_WAIT) == 1
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        monkeypatch.setattr(
            executor._transport.invoked, "_client", boto_session.client("lambda", endpoint_url=url)
        )
        error = executor.submit(abs, -1).exception(_WAIT)
    assert type(error) is Throttled
    assert "cannot be reached" in str(error)


def test_refused_from_the_beginning(lambda_environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        with pytest.raises(NeverStarted, match="wrenla: AWS Lambda cannot be reached"):
            wl.LambdaExecutor()


def test_invocation_without_log_is_billed_by_the_clock(stub: Endpoint, make: Make) -> None:
    """Without a report the time is ours."""
    executor = make()

    def answer(event: dict[str, Any]) -> Answer:
        time.sleep(0.2)
        given = called(event)
        given.tail = False
        return given

    stub.answer = answer
    future = executor.submit(abs, -1)
    assert future.result(_WAIT) == 1
    assert future.stats.billed == pytest.approx(0.2, abs=0.15)
    assert future.stats.dollars > 0


@pytest.mark.parametrize(
    ("reason", "kind", "said"),
    [("CERTIFICATE_VERIFY_FAILED", ServiceError, "set AWS_CA_BUNDLE"), ("EOF", Lost, "connection broke")],
)
def test_an_encrypted_connection_that_fails(
    stub: Endpoint, monkeypatch: pytest.MonkeyPatch, reason: str, kind: type[Exception], said: str
) -> None:
    function = Function("wrenla")

    def fail(**_: Any) -> None:
        raise SSLError(endpoint_url="https://x", error=reason)

    monkeypatch.setattr(function, "_client", SimpleNamespace(invoke=fail, close=function._client.close))
    with pytest.raises(kind, match=said):
        function.invoke(b"{}")
    function.close()


# who asks


def test_no_credentials(stub: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ServiceError, match="no AWS credentials; name a profile"):
        wl.LambdaExecutor()


def test_half_credentials(stub: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ServiceError, match="no AWS credentials"):
        wl.LambdaExecutor()


def test_no_region(stub: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(ServiceError, match="no AWS region; set AWS_DEFAULT_REGION"):
        wl.LambdaExecutor()


def test_no_such_profile(stub: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ServiceError, match="nobody"):
        wl.LambdaExecutor()


@pytest.mark.parametrize(
    ("code", "match"),
    [
        ("ResourceNotFoundException", "no such function in us-east-1.*wrenla deploy"),
        ("AccessDeniedException", "lambda:GetFunctionConfiguration"),
        ("ExpiredTokenException", "renew"),
    ],
)
def test_executor_without_right_to_read_function_is_service_error(
    code: str, match: str, stub: Endpoint
) -> None:
    stub.configuration = Answer({"Message": "why"}, 404 if "NotFound" in code else 403, code)
    with pytest.raises(ServiceError, match=match):
        wl.LambdaExecutor("wrenla")
    assert stub.asked == []


@pytest.mark.parametrize(
    "options", [{"concurrency": 0}, {"concurrency": 1.5}, {"max_dollars": 0}, {"max_dollars": -1}]
)
def test_options_without_sense(options: dict[str, Any], stub: Endpoint) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        wl.LambdaExecutor(**options)


# versions


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (lambda: pong(python="3.9.1"), r"Python 3\.9 there, 3\.\d+ here"),
        (lambda: pong(packages=pong().body["packages"] | {"numpy": "1.0"}), r"numpy 1\.0 there, [\d.]+ here"),
        (lambda: pong(packages=pong().body["packages"] | {"wrenla": "0"}), "wrenla 0 there"),
        (lambda: pong(packages={}), "numpy None there"),
        (lambda: pong(version=1), "another version"),
        (lambda: pong(packages=None), "another version"),
        (lambda: Answer(None), "not wrenla's"),
        (lambda: Answer("hello"), "not wrenla's"),
        (lambda: Answer([1]), "not wrenla's"),
        (lambda: Answer({"statusCode": 200}), "not wrenla's"),
        (lambda: Answer(raw=b"<html>"), "not wrenla's"),
        (lambda: failed("EventError", "this function answers events of version 2")({}), "version 2"),
    ],
)
def test_other_version_of_function_is_version_error(
    answer: Callable[[], Answer], match: str, stub: Endpoint, make: Make
) -> None:
    """It is told before any call is sent, and asked once."""
    executor = make(concurrency=4)
    stub.answer = lambda event: answer()
    errors = [future.exception(_WAIT) for future in executor.submit_many(abs, range(8))]
    assert {type(error) for error in errors} == {VersionError}
    assert len({id(error) for error in errors}) == 8
    with pytest.raises(VersionError, match=match):
        executor.submit(abs, -1).result()
    assert "wrenla deploy" in str(errors[0]) or "version 2" in str(errors[0])
    assert [event["kind"] for event in stub.asked] == ["ping"]


def test_pings_that_fail_for_a_while(stub: Endpoint, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake, "_PINGS", 5)
    executor = make(concurrency=8)
    left = [refused(429, "TooManyRequestsException"), lambda event: None, failed("Runtime.ExitError")]

    def answer(event: dict[str, Any]) -> Answer | None:
        return left.pop()(event) if left else called(event)

    stub.answer = answer
    assert list(executor.map(abs, range(8), timeout=_WAIT)) == list(range(8))
    assert [event["kind"] for event in stub.asked].count("ping") == 4


def test_pings_without_an_answer(stub: Endpoint, make: Make) -> None:
    """All who wait for the same question get the same answer: it does not take longer for many calls."""
    executor = make(concurrency=16)
    stub.answer = lambda event: None
    began = time.monotonic()
    errors = [future.exception(_WAIT) for future in executor.submit_many(abs, range(16))]
    assert {type(error) for error in errors} == {NeverStarted}
    assert "does not answer" in str(errors[0])
    assert time.monotonic() - began < slowed(10)
    assert len(stub.asked) <= 40  # 5 each time somebody asks; on their own they would ask 240 times
    stub.answer = called
    assert executor.submit(abs, -1).result(_WAIT) == 1


# reading


def test_the_last_report_counts() -> None:
    line = "REPORT RequestId: 1\tDuration: {0}.0 ms\tBilled Duration: {0} ms\tMemory Size: 512 MB\t"
    line += "Max Memory Used: 40 MB\t\n"
    found = Billing.of("START RequestId: 1\n" + line.format(9) + "mine\nEND RequestId: 1\n" + line.format(7))
    assert found.billed == 0.007
    assert found.output.startswith("mine\n") or "mine\n" in found.output


def test_cold_start() -> None:
    text = (
        "REPORT RequestId: 1\tDuration: 1.5 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\t"
        "Max Memory Used: 128 MB\tInit Duration: 250.5 ms\t\n"
    )
    found = Billing.of(text)
    assert (found.init, found.full, found.peak) == (0.2505, True, 128 << 20)


@pytest.mark.parametrize("text", ["", "half of a line", "REPORT RequestId: 1", json.dumps({"a": 1})])
def test_no_report(text: str) -> None:
    assert Billing.of(text) == Billing(output=text)


# open files


def test_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    limits, said = (256, 4096), []
    monkeypatch.setattr(interruptible.resource, "getrlimit", lambda which: limits)
    monkeypatch.setattr(interruptible.resource, "setrlimit", lambda which, new: said.append(new))
    allow_open_files(10)
    assert said == []
    allow_open_files(2000)
    assert 2200 < said[0][0] <= 4096
    assert said[0][1] == 4096
    with pytest.raises(ValueError, match=r"concurrency=5000 needs \d+ open files.*ulimit -Hn"):
        allow_open_files(5000)


def test_no_threads_of_an_executor_that_was_not_used(stub: Endpoint, make: Make) -> None:
    before = set(threading.enumerate())
    executor = make(concurrency=100)
    assert ours(before) == []
    assert os.path.exists("/dev/fd")
    executor.shutdown()
