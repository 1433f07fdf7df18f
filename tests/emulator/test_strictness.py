"""What AWS would not accept, although who sends it has the keys; and what is answered before it is read."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from unittest import mock
from urllib.error import HTTPError
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from .stand import Stand
from .test_signatures import _now

_INVOKE = "/2015-03-31/functions/nobody/invocations"
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_ROLES = b"Action=ListRoles&Version=2010-05-08"
_OTHER = "0" * 64


@dataclass(frozen=True)
class Sent:
    """A request, and what is odd about its signature."""

    path: str = _INVOKE
    service: str = "lambda"
    region: str = "us-east-1"
    method: str = "POST"
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    unsigned: tuple[str, ...] = ()
    hash: str | None = None
    minutes: int = 0
    wrong_address: bool = False

    def signed(self, stand: Stand) -> tuple[str, dict[str, str]]:
        """Return address and headers."""
        for_lambda = (self.service == "lambda") != self.wrong_address
        url = stand.ready.lambda_url if for_lambda else stand.ready.s3_url
        request = AWSRequest(self.method, url + self.path, dict(self.headers), self.body)
        if self.hash is not None and self.hash:
            request.headers["X-Amz-Content-SHA256"] = self.hash
        kind = S3SigV4Auth if self.service == "s3" else SigV4Auth
        auth = kind(Credentials(stand.ready.key, stand.ready.secret), self.service, self.region)
        whole = auth.headers_to_sign

        def headers_to_sign(request: AWSRequest) -> Any:
            headers = whole(request)
            for name in self.unsigned:
                del headers[name]
            return headers

        with (
            mock.patch("botocore.auth.get_current_datetime", return_value=_now(self.minutes)),
            mock.patch.object(auth, "headers_to_sign", headers_to_sign),
            mock.patch.object(auth, "payload", return_value=self.hash) if self.hash else nullcontext(),
        ):
            auth.add_auth(request)
        headers = {name: _text(value) for name, value in request.headers.items()}
        if self.hash == "":
            del headers["X-Amz-Content-SHA256"]
        return url, headers


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


_META = {"X-Amz-Meta-A": "b"}
_PUT: dict[str, Any] = {"method": "PUT", "service": "s3", "path": "/{bucket}/key"}

CASES: dict[str, tuple[Sent, int, str]] = {
    "well": (Sent(), 404, "ResourceNotFoundException"),
    "another region": (Sent(region="eu-west-1"), 403, "a valid region, not 'eu-west-1'"),
    "no such region": (Sent(region="us-east-2"), 403, "InvalidSignatureException"),
    "host": (Sent(unsigned=("host",)), 403, "'host' must be a 'SignedHeader'"),
    "kind of call": (
        Sent(headers={"X-Amz-Invocation-Type": "Event"}, unsigned=("x-amz-invocation-type",)),
        403,
        "'x-amz-invocation-type' must be",
    ),
    "log": (Sent(headers={"X-Amz-Log-Type": "Tail"}, unsigned=("x-amz-log-type",)), 403, "must be a"),
    "lasts in its query": (Sent(path=f"{_INVOKE}?X-Amz-Expires=86400", minutes=-60), 403, "expired"),
    "S3's scope at Lambda": (Sent(service="s3", wrong_address=True), 403, "correct service: 'lambda'"),
    "IAM's scope at Lambda": (Sent(service="iam", wrong_address=True), 403, "correct service: 'lambda'"),
    "Lambda's scope elsewhere": (Sent(wrong_address=True), 403, "AccessDenied"),
    "another service": (Sent(service="sqs"), 403, "correct service"),
    "moto itself": (Sent(service="s3", path="/moto-api/reset"), 403, "AccessDenied"),
    "moto's data": (
        Sent(service="s3", method="GET", path="/moto-api/data.json", body=b""),
        403,
        "AccessDenied",
    ),
    "IAM well": (Sent(path="/", service="iam", headers=_FORM, body=_ROLES), 200, "ListRolesResult"),
    "IAM region": (
        Sent(path="/", service="iam", headers=_FORM, body=_ROLES, region="x"),
        403,
        "valid region",
    ),
    "IAM host": (
        Sent(path="/", service="iam", headers=_FORM, body=_ROLES, unsigned=("host",)),
        403,
        "'host'",
    ),
    "S3 well": (Sent(**_PUT, headers=_META), 200, ""),
    "S3 region": (Sent(**_PUT, region="eu-west-1"), 400, "AuthorizationHeaderMalformed"),
    "S3 host": (Sent(**_PUT, unsigned=("host",)), 403, "not signed: host"),
    "S3 metadata": (Sent(**_PUT, headers=_META, unsigned=("x-amz-meta-a",)), 403, "not signed: x-amz-meta-a"),
    "S3 kind of error": (
        Sent(**_PUT, headers={"Content-Type": "application/json"}, region="x"),
        400,
        "<Code>AuthorizationHeaderMalformed",
    ),
    "S3 old": (Sent(**_PUT, minutes=-60), 403, "RequestTimeTooSkewed"),
    "S3 another body": (Sent(**_PUT, hash=_OTHER), 400, "XAmzContentSHA256Mismatch"),
    "S3 no hash": (Sent(**_PUT, hash="", unsigned=("x-amz-content-sha256",)), 400, "InvalidRequest"),
    "S3 strange hash": (Sent(**_PUT, hash="hash"), 400, "InvalidArgument"),
    "S3 signed in pieces": (Sent(**_PUT, hash="STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), 501, "NotImplemented"),
}


def _ask(url: str, sent: Sent, path: str, headers: Mapping[str, str]) -> tuple[int, str]:
    connection = HTTPConnection(urlsplit(url).netloc, timeout=20)
    try:
        connection.request(sent.method, path, sent.body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read().decode() + str(answer.headers)
    finally:
        connection.close()


def test_signatures_are_as_strict_as_on_aws(stand: Stand) -> None:
    bucket = stand.bucket()
    for name, (sent, status, said) in CASES.items():
        stand.s3.delete_object(Bucket=bucket, Key="key")
        path = sent.path.format(bucket=bucket)
        there = replace(sent, path=path)
        url, headers = there.signed(stand)
        found = _ask(url, there, path, headers)
        assert found[0] == status, (name, found)
        assert said in found[1], (name, found)
        if sent.service == "s3" and sent.method == "PUT":
            assert stand.s3.list_objects_v2(Bucket=bucket)["KeyCount"] == (status == 200), name


def test_links_are_as_strict_as_on_aws(stand: Stand) -> None:
    bucket = stand.bucket()
    stand.s3.put_object(Bucket=bucket, Key="key", Body=b"text")
    config = Config(signature_version="s3v4")
    s3 = stand.session.client("s3", endpoint_url=stand.ready.s3_url, config=config)

    def link(seconds: int, minutes: int = 0) -> str:
        with mock.patch("botocore.auth.get_current_datetime", return_value=_now(minutes)):
            asked = {"Bucket": bucket, "Key": "key"}
            made: str = s3.generate_presigned_url("get_object", asked, ExpiresIn=seconds)
            return made

    def ask(url: str, headers: Mapping[str, str]) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, headers=dict(headers)), timeout=20
            ) as got:
                return got.status, got.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()

    assert ask(link(604_800, -60), {}) == (200, "text")
    for url, headers, status, said in (
        (link(0), {}, 400, "X-Amz-Expires must be"),
        (link(604_801), {}, 400, "X-Amz-Expires must be"),
        (link(600, -20), {}, 403, "Request has expired"),
        (link(600, 20), {}, 403, "not yet valid"),
        (link(600), {"X-Amz-Meta-A": "b"}, 403, "not signed: x-amz-meta-a"),
        (link(600), {"Authorization": "AWS4-HMAC-SHA256 Credential=a"}, 400, "Only one auth mechanism"),
    ):
        found = ask(url, headers)
        assert found[0] == status, (said, found)
        assert said in found[1]


def _unread(url: str, method: str, path: str, headers: Mapping[str, str], length: int) -> tuple[int, str]:
    """Send a head, and nothing of the body that it announces; return the answer."""
    host, _, port = urlsplit(url).netloc.partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        connection.sendall("\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode())
        answer = HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.read().decode() + str(answer.headers)


def test_body_of_refused_request_is_not_read(stand: Stand) -> None:
    """Nobody's body is waited for who has not said well who he is, or that it is too long."""
    bucket = stand.bucket()
    put = Sent(method="PUT", service="s3", path=f"/{bucket}/key")
    policy = Sent(path="/", service="iam", headers=_FORM)
    function = Sent(path="/2015-03-31/functions")
    for sent, length, status, said in (
        (Sent(), 6_291_457, 413, "smaller than 6291456 bytes for the InvokeFunction"),
        (function, 70_167_212, 413, "smaller than 70167211 bytes for the CreateFunction"),
        (put, (5 << 30) + 1, 400, "EntityTooLarge"),
        (policy, 70_167_212, 413, "EntityTooLarge"),
    ):
        url, headers = sent.signed(stand)
        headers.setdefault("host", urlsplit(url).netloc)
        found = _unread(url, sent.method, sent.path, headers, length)
        assert found[0] == status, found
        assert said in found[1]
        nobody = headers | {"Authorization": headers["Authorization"].replace(stand.ready.key, "AKIANOBODY")}
        assert _unread(url, sent.method, sent.path, nobody, 700 << 20)[0] == 403
        del headers["Authorization"]
        assert _unread(url, sent.method, sent.path, headers, 700 << 20)[0] == 403
    wrong = Sent(**_PUT | {"path": f"/{bucket}/key"}).signed(stand)
    headers = wrong[1] | {"Authorization": wrong[1]["Authorization"][:-4] + "0000"}
    headers.setdefault("host", urlsplit(wrong[0]).netloc)
    assert _unread(wrong[0], "PUT", f"/{bucket}/key", headers, 700 << 20)[0] == 403


def test_large_unsigned_bodies_are_answered(stand: Stand) -> None:
    """The connection is not reset while he is sending: he might not see the answer."""
    for url in (stand.ready.lambda_url, stand.ready.s3_url):
        connection = HTTPConnection(urlsplit(url).netloc, timeout=20)
        connection.request("POST", _INVOKE, bytes(8 << 20))
        assert connection.getresponse().status == 403
        connection.close()
