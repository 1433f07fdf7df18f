"""Every request names the account that the bucket is expected to belong to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from wrenla_handler.errors import StoreError
from wrenla_handler.stores.s3 import client as s3_client
from wrenla_handler.stores.s3.client import expect_owner, new_client
from wrenla_handler.stores.s3.store import S3Store

ACCOUNT = "123456789012"
HEADER = "x-amz-expected-bucket-owner"


@pytest.fixture(autouse=True)
def nobody_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_client, "_owners", {})
    monkeypatch.delenv("WRENLA_BUCKET", raising=False)
    monkeypatch.delenv("WRENLA_BUCKET_OWNER", raising=False)


class Sent:
    """The operations of a client, each with the owner that its request names."""

    def __init__(self, client: Any) -> None:
        self.requests: list[tuple[str, str | None]] = []
        client.meta.events.register("before-send.s3", self._before_send)

    def _before_send(self, request: Any, event_name: str, **_: Any) -> None:
        owner = request.headers.get(HEADER)
        text = owner.decode() if isinstance(owner, bytes) else owner
        self.requests.append((event_name.rpartition(".")[2], text))


@pytest.fixture
def client(s3_bucket: str) -> Iterator[Any]:
    client = new_client()
    yield client
    client.close()


def use(store: S3Store) -> None:
    """Send each kind of request."""
    content = bytes(1000)
    assert store.put("c/0/0", content)
    assert store.put("c/0/1", content, create=True)
    assert not store.put("c/0/1", content, create=True)  # asks who wrote what stands
    assert store.get("c/0/0") == content  # in parts
    assert store.get("c/0/0", 1, 5) == content[1:5]
    assert store.size("c/0/0") == len(content)
    assert store.exists("c/0/0")
    assert list(store.list()) == ["c/0/0", "c/0/1"]  # in pages
    store.delete("c/0/0")
    store.close()


KINDS = {"PutObject": 3, "HeadObject": 3, "GetObject": 5, "ListObjectsV2": 2, "DeleteObject": 1}


@pytest.mark.parametrize("how", ["expect_owner", "environment", "nobody"])
@pytest.mark.parametrize("made", ["new_client", "boto3"])
def test_every_request_names_the_owner(
    how: str, made: str, s3_bucket: str, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "expect_owner":
        expect_owner(s3_bucket, ACCOUNT)
    elif how == "environment":
        monkeypatch.setenv("WRENLA_BUCKET", s3_bucket)
        monkeypatch.setenv("WRENLA_BUCKET_OWNER", ACCOUNT)
    if made == "boto3":
        client = boto3.session.Session().client("s3")
    client.meta.events.register(
        "provide-client-params.s3.ListObjectsV2", lambda params, **_: {**params, "MaxKeys": 1}
    )
    sent = Sent(client)
    use(S3Store(s3_bucket, "prefix", client=client, part_bytes=250))
    names = [name for name, _ in sent.requests]
    assert {name: names.count(name) for name in names} == KINDS
    assert {owner for _, owner in sent.requests} == {None if how == "nobody" else ACCOUNT}
    client.close()


def test_request_to_other_bucket_names_no_owner(s3_bucket: str, client: Any) -> None:
    expect_owner("another-bucket", ACCOUNT)
    sent = Sent(client)
    use(S3Store(s3_bucket, client=client, part_bytes=250))
    assert {owner for _, owner in sent.requests} == {None}


def test_a_client_names_the_owner_for_whoever_uses_it(s3_bucket: str, client: Any) -> None:
    sent = Sent(client)
    client.put_object(Bucket=s3_bucket, Key="key")
    expect_owner(s3_bucket, ACCOUNT)
    client.delete_objects(Bucket=s3_bucket, Delete={"Objects": [{"Key": "key"}]})
    client.list_buckets()
    # what the caller says goes
    client.head_bucket(Bucket=s3_bucket, ExpectedBucketOwner="210987654321")
    assert sent.requests == [
        ("PutObject", None),
        ("DeleteObjects", ACCOUNT),
        ("ListBuckets", None),
        ("HeadBucket", "210987654321"),
    ]


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.get("key"),
        lambda store: store.put("key", b""),
        lambda store: store.put("key", b"", create=True),
        lambda store: list(store.list("key")),
        lambda store: store.size("key"),
        lambda store: store.exists("key"),
        lambda store: store.delete("key"),
    ],
    ids=["get", "put", "create", "list", "size", "exists", "delete"],
)
def test_a_foreign_bucket_is_an_error_that_says_so(
    call: Callable[[S3Store], Any], s3_bucket: str, client: Any, denied: Callable[[Any], Any]
) -> None:
    client.meta.events.register("before-send.s3", denied)
    store = S3Store(s3_bucket, client=client)
    with pytest.raises(StoreError) as without:
        call(store)
    assert "account" not in str(without.value)
    expect_owner(s3_bucket, ACCOUNT)
    with pytest.raises(StoreError) as caught:
        call(store)
    message = str(caught.value)
    assert message.startswith(
        f"s3://{s3_bucket}: key: access denied; either the bucket belongs to another AWS account than the "
        f"expected {ACCOUNT}"
    )
    assert "need s3:GetObject" in message
    assert "\n" not in message


@pytest.fixture
def denied() -> Callable[..., Any]:
    """What AWS answers to whoever names another owner, and to whoever may not."""
    from io import BytesIO

    from botocore.awsrequest import AWSResponse
    from urllib3 import HTTPResponse

    def answer(request: Any, **_: Any) -> Any:
        text = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        body = BytesIO(b"" if request.method == "HEAD" else text)
        return AWSResponse(request.url, 403, {}, HTTPResponse(body=body, preload_content=False))

    return answer


@pytest.mark.parametrize("account", ["", "12345678901", "1234-5678-9012", "arn:aws:iam::123456789012:root"])
def test_an_account_has_12_digits(account: str) -> None:
    with pytest.raises(ValueError, match="12 digits"):
        expect_owner("bucket", account)
