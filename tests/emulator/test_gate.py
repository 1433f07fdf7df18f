"""S3, IAM, STS and CloudWatch Logs check who sends a request, too."""

from __future__ import annotations

import io
import socket
import urllib.request
from http.client import HTTPConnection
from typing import Any
from unittest import mock
from urllib.error import HTTPError

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from .stand import Stand
from .test_signatures import _now

CALLS: dict[str, tuple[str, dict[str, Any], str]] = {
    "s3": ("list_buckets", {}, "SignatureDoesNotMatch"),
    "iam": ("list_roles", {}, "SignatureDoesNotMatch"),
    "sts": ("get_caller_identity", {}, "SignatureDoesNotMatch"),
    "logs": ("describe_log_groups", {}, "InvalidSignatureException"),
}


@pytest.mark.parametrize("service", CALLS)
def test_wrong_keys_are_refused(stand: Stand, service: str) -> None:
    operation, arguments, code = CALLS[service]
    ready = stand.ready
    assert getattr(stand.client(service), operation)(**arguments)
    unknown = {"s3": "InvalidAccessKeyId", "logs": "UnrecognizedClientException"}.get(
        service, "InvalidClientTokenId"
    )
    for key, secret, token, expected in (
        (ready.key, "wrong", None, code),
        ("AKIANOBODY", ready.secret, None, unknown),
        (ready.key, ready.secret, "token", unknown),
    ):
        client = stand.client(service, boto3.Session(key, secret, token, region_name="us-east-1"))
        with pytest.raises(ClientError) as caught:
            getattr(client, operation)(**arguments)
        response = caught.value.response
        assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (expected, 403)
        assert response["Error"]["Message"]


def test_wrong_keys_change_nothing(stand: Stand) -> None:
    bucket = stand.bucket()
    wrong = stand.client("s3", boto3.Session(stand.ready.key, "wrong", region_name="us-east-1"))
    for call, arguments in (
        (wrong.put_object, {"Key": "a", "Body": bytes(1 << 22)}),  # it is answered without being read
        (wrong.head_bucket, {}),
        (wrong.delete_bucket, {}),
    ):
        with pytest.raises(ClientError) as caught:
            call(Bucket=bucket, **arguments)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert stand.s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_unsigned_requests_are_refused(stand: Stand) -> None:
    for method, path in (("GET", "/"), ("POST", "/moto-api/reset"), ("GET", "/2015-03-31/functions/")):
        connection = HTTPConnection(stand.ready.s3_url.removeprefix("http://"))
        connection.request(method, path)
        answer = connection.getresponse()
        assert (answer.status, b"<Code>AccessDenied</Code>" in answer.read()) == (403, True)
        connection.close()


KEY = "a b/c+d=é~*'()!&?%41;,:@$/."


@pytest.mark.parametrize("style", ["path", "virtual"])
def test_well_signed_requests_are_let_through(
    stand: Stand, style: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = stand.bucket()
    url = stand.ready.s3_url
    if style == "virtual":
        url = url.replace("127.0.0.1", "localhost")
        look_up = socket.getaddrinfo
        monkeypatch.setattr("socket.getaddrinfo", lambda _, *rest: look_up("127.0.0.1", *rest))
    config = Config(s3={"addressing_style": style})
    s3 = stand.session.client("s3", endpoint_url=url, config=config)
    s3.put_object(Bucket=bucket, Key=KEY, Body=b"text", Metadata={"a_b": "c  d", "e": "f"}, Tagging="a=b%20c")
    found = s3.get_object(Bucket=bucket, Key=KEY, Range="bytes=1-2", ResponseContentType="text/x y")
    assert (found["Body"].read(), found["Metadata"]["e"]) == (b"ex", "f")
    s3.upload_fileobj(io.BytesIO(bytes(9 << 20)), bucket, "large")  # in parts
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": KEY})
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="a b/", Delimiter="/", StartAfter="a")
    assert listed["CommonPrefixes"] or listed["Contents"]
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": KEY}, {"Key": "copy"}, {"Key": "large"}]})
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_bodies_need_not_be_signed(stand: Stand) -> None:
    bucket = stand.bucket()
    s3 = stand.client("s3")
    sent: list[Any] = []
    s3.meta.events.register("before-send.s3", lambda request, **_: sent.append(request.headers) or None)
    with mock.patch("botocore.auth.S3SigV4Auth._should_sha256_sign_payload", return_value=False):
        s3.put_object(Bucket=bucket, Key="a", Body=b"text")
    assert sent[0]["X-Amz-Content-SHA256"] == b"UNSIGNED-PAYLOAD"
    with mock.patch("botocore.httpchecksum.urlparse", return_value=mock.Mock(scheme="https")):
        s3.put_object(Bucket=bucket, Key="b", Body=io.BytesIO(b"text"))  # in pieces, as over TLS
    assert sent[1]["X-Amz-Content-SHA256"] == b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    assert [stand.s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in "ab"] == [b"text"] * 2


def test_links_are_checked(stand: Stand) -> None:
    bucket = stand.bucket()
    stand.s3.put_object(Bucket=bucket, Key=KEY, Body=b"text")
    config = Config(signature_version="s3v4")
    s3 = stand.session.client("s3", endpoint_url=stand.ready.s3_url, config=config)
    asked = {"Bucket": bucket, "Key": KEY}
    link = s3.generate_presigned_url("get_object", asked, ExpiresIn=600)
    assert urllib.request.urlopen(link).read() == b"text"
    with mock.patch("botocore.auth.get_current_datetime", return_value=_now(-20)):
        old = s3.generate_presigned_url("get_object", asked, ExpiresIn=600)
        lasting = s3.generate_presigned_url("get_object", asked, ExpiresIn=3600)
    assert urllib.request.urlopen(lasting).read() == b"text"
    for wrong in (
        old,
        link.replace("X-Amz-Expires=600", "X-Amz-Expires=900"),
        link[:-1] + "x",
        link.split("?")[0],
    ):
        with pytest.raises(HTTPError, match="403"):
            urllib.request.urlopen(wrong)
