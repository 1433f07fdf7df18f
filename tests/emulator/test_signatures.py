"""Who sends a request is checked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from typing import Any, ClassVar
from unittest import mock

import boto3
import pytest
from botocore.exceptions import ClientError

from wrenla.emulator.api.http import Request
from wrenla.emulator.api.responses import Refusal
from wrenla.emulator.backend.signatures import sign, verify

from .stand import Stand


def _refusal(stand: Stand, key: str, secret: str, token: str | None = None) -> tuple[str, int]:
    client = stand.client("lambda", boto3.Session(key, secret, token, region_name="us-east-1"))
    with pytest.raises(ClientError) as caught:
        client.invoke(FunctionName="nobody", Payload=b"{}")
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_wrong_credentials_are_refused(stand: Stand) -> None:
    ready = stand.ready
    assert _refusal(stand, ready.key, "wrong") == ("InvalidSignatureException", 403)
    assert _refusal(stand, "AKIANOBODY", ready.secret) == ("UnrecognizedClientException", 403)
    assert _refusal(stand, ready.key, ready.secret, "token") == ("UnrecognizedClientException", 403)
    assert _refusal(stand, ready.key, ready.secret) == ("ResourceNotFoundException", 404)


@pytest.mark.slow
def test_keys_made_through_iam_are_good(stand: Stand) -> None:
    iam = stand.client("iam")
    iam.create_user(UserName="someone")
    made = iam.create_access_key(UserName="someone")["AccessKey"]
    assert _refusal(stand, made["AccessKeyId"], made["SecretAccessKey"])[1] == 404
    assert _refusal(stand, made["AccessKeyId"], "wrong") == ("InvalidSignatureException", 403)
    # but only the keys that were handed out may ask the emulator itself
    with pytest.raises(ClientError):
        stand.client("lambda", boto3.Session("AKIANOBODY", "x", region_name="us-east-1")).list_functions()


@pytest.mark.parametrize("minutes", [-10, 10])
def test_old_requests_are_refused(stand: Stand, minutes: int) -> None:
    with (
        mock.patch("botocore.auth.get_current_datetime", return_value=_now(minutes)),
        pytest.raises(ClientError, match=r"Signature (expired|not yet current)") as caught,
    ):
        stand.lambda_.list_functions()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def _now(minutes: int) -> datetime:

    return datetime.now(UTC).replace(tzinfo=None) + timedelta(minutes=minutes)


def test_unsigned_requests_are_refused(stand: Stand) -> None:
    for method, path in (
        ("POST", "/2015-03-31/functions/f/invocations"),
        ("GET", "/2015-03-31/functions/"),
        ("PUT", "/_emulator/faults"),
    ):
        status, headers, body = _raw(stand, method, path, {})
        assert (status, headers["x-amzn-ErrorType"]) == (403, "MissingAuthenticationTokenException")
        assert json.loads(body)["message"] == "Missing Authentication Token"


def test_a_changed_payload_is_refused(stand: Stand) -> None:
    host = stand.ready.lambda_url.removeprefix("http://")
    path = "/2015-03-31/functions/nobody/invocations"
    headers = {"host": host, "x-amz-date": f"{_now(0):%Y%m%dT%H%M%SZ}"}
    request = Request("POST", path, headers, b'{"pay": 1}')
    headers["Authorization"] = sign(request, stand.ready.key, stand.ready.secret, "us-east-1")
    assert _raw(stand, "POST", path, headers, b'{"pay": 1}')[0] == 404
    assert _raw(stand, "POST", path, headers, b'{"pay": 9}')[0] == 403


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        (
            "invoke",
            {"FunctionName": "arn:aws:lambda:us-east-1:1:function:a", "Payload": b"{}", "Qualifier": "a b"},
        ),
        ("list_functions", {"Marker": "a/b=c&d é~*", "MaxItems": 3}),
        ("delete_function", {"FunctionName": "name", "Qualifier": "1"}),
        ("tag_resource", {"Resource": "arn:aws:lambda:us-east-1:1:function:a", "Tags": {"ä": "b"}}),
    ],
)
def test_botocore_and_we_agree(operation: str, arguments: dict[str, Any]) -> None:
    sent: list[Any] = []
    session = boto3.Session("AKIAKEY", "secret", "token", region_name="eu-west-1")
    client = session.client("lambda", endpoint_url="http://127.0.0.1:1")
    client.meta.events.register("before-send.lambda", lambda request, **_: sent.append(request) or _Answer())
    getattr(client, operation)(**arguments)
    (request,) = sent
    headers = {name.lower(): _text(value) for name, value in request.headers.items()}
    headers["host"] = "127.0.0.1:1"
    target = request.url.removeprefix("http://127.0.0.1:1")
    body = request.body or b""
    ours = Request(request.method, target, headers, body.encode() if isinstance(body, str) else body)
    assert (
        verify(ours, lambda key, token: "secret" if (key, token) == ("AKIAKEY", "token") else None)
        == "AKIAKEY"
    )
    with pytest.raises(Refusal):
        verify(ours, lambda key, token: "another")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


class _Answer:
    status_code = 200
    headers: ClassVar[dict[str, str]] = {}
    content = b"{}"
    text = "{}"

    class raw:
        @staticmethod
        def stream(*_: object) -> Iterator[bytes]:
            yield b"{}"


def _raw(
    stand: Stand, method: str, path: str, headers: dict[str, str], body: bytes = b""
) -> tuple[int, Any, bytes]:
    connection = HTTPConnection(stand.ready.lambda_url.removeprefix("http://"))
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()
