"""What only a store in S3 has to do: answers that fail, break off, get lost or are damaged.

Faults are deterministic: a hook of botocore's answers the next requests in place of the server, or
changes what the server answers.
"""

from __future__ import annotations

import base64
import io
import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
from botocore.httpsession import URLLib3Session
from urllib3 import HTTPResponse
from urllib3.exceptions import ProtocolError
from urllib3.exceptions import ReadTimeoutError as BodyTimeoutError

from wrenla_handler.errors import StoreError, TransientStoreError
from wrenla_handler.stores.s3 import client as s3_client
from wrenla_handler.stores.s3.client import new_client, shared_client
from wrenla_handler.stores.s3.store import S3Store

CONTENT = bytes(range(256)) * 1000
PARTS = {"one part": len(CONTENT), "three parts": 100_000}

Fault = Callable[[Any], "AWSResponse | None"]


class Faults:
    """What happens to the next requests of each operation; later ones reach the server."""

    def __init__(self, client: Any) -> None:
        self.requests: list[tuple[str, Any]] = []
        self._pending: dict[str, list[Fault]] = {}
        self._forever: dict[str, Fault] = {}
        self._lock = threading.Lock()
        client.meta.events.register("before-send.s3", self._before_send)

    def add(self, operation: str, *faults: Fault) -> None:
        self._pending.setdefault(operation, []).extend(faults)

    def add_forever(self, operation: str, fault: Fault) -> None:
        self._forever[operation] = fault

    def count(self, operation: str) -> int:
        return [name for name, _ in self.requests].count(operation)

    def _before_send(self, request: Any, event_name: str, **_: Any) -> AWSResponse | None:
        operation = event_name.rpartition(".")[2]
        with self._lock:
            self.requests.append((operation, request))
            pending = self._pending.get(operation)
            fault = pending.pop(0) if pending else self._forever.get(operation, passes)
        return fault(request)


def passes(request: Any) -> None:
    """Let the request reach the server."""


def send(request: Any) -> AWSResponse:
    session = URLLib3Session()
    response = session.send(request)
    _ = response.content  # read now, so that the connection can be closed
    session.close()
    return response


def replace_body(response: AWSResponse, body: Any) -> AWSResponse:
    raw = HTTPResponse(body=body, preload_content=False)
    return AWSResponse(response.url, response.status_code, response.headers, raw)


def answers(status: int, code: str, message: str = "A message.", **headers: str) -> Fault:
    def fault(request: Any) -> AWSResponse:
        text = (
            f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
            if request.method != "HEAD"
            else ""
        )
        raw = HTTPResponse(body=io.BytesIO(text.encode()), preload_content=False)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return AWSResponse(request.url, status, named, raw)

    return fault


def loses_answer(request: Any) -> AWSResponse:
    send(request)
    raise ConnectionClosedError(endpoint_url=request.url)


def times_out(request: Any) -> AWSResponse:
    raise ReadTimeoutError(endpoint_url=request.url)


def cuts_body(request: Any) -> AWSResponse:
    response = send(request)
    return replace_body(response, io.BytesIO(response.content[:-1000]))


def adds_to_body(request: Any) -> AWSResponse:
    response = send(request)
    return replace_body(response, io.BytesIO(response.content + b"x"))


def damages_body(request: Any) -> AWSResponse:
    response = send(request)
    body = bytearray(response.content)
    body[len(body) // 2] ^= 1
    return replace_body(response, io.BytesIO(body))


def changes_etag(request: Any) -> AWSResponse:
    response = send(request)
    response.headers["ETag"] = '"other"'
    return replace_body(response, io.BytesIO(response.content))


class FailingBody(io.BytesIO):
    """A body that raises after its content."""

    def __init__(self, content: bytes, error: Exception) -> None:
        super().__init__(content)
        self.error = error

    def read(self, size: int | None = -1) -> bytes:
        if found := super().read(size):
            return found
        raise self.error


def breaks_body(error: Exception) -> Fault:
    def fault(request: Any) -> AWSResponse:
        response = send(request)
        return replace_body(response, FailingBody(response.content[:1000], error))

    return fault


resets_body = breaks_body(ProtocolError("Connection reset by peer"))
stalls_body = breaks_body(BodyTimeoutError(None, "", "Read timed out."))  # type: ignore[arg-type]
slows_down = answers(503, "SlowDown")


@pytest.fixture
def client(s3_bucket: str) -> Iterator[Any]:
    client = new_client()
    yield client
    client.close()


@pytest.fixture
def faults(client: Any) -> Faults:
    return Faults(client)


@pytest.fixture
def store(s3_bucket: str, client: Any) -> Iterator[S3Store]:
    store = S3Store(s3_bucket, "prefix", client=client)
    yield store
    store.close()


@pytest.fixture(params=PARTS)
def parts_store(request: pytest.FixtureRequest, s3_bucket: str, client: Any) -> Iterator[S3Store]:
    """A store that reads CONTENT by one request, and one that needs three."""
    store = S3Store(s3_bucket, "prefix", client=client, part_bytes=PARTS[request.param])
    store.put("key", CONTENT)
    yield store
    store.close()


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was slept between retries, which here takes no time."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    return pauses


SURVIVED: dict[str, list[Fault]] = {
    "503 twice": [slows_down, slows_down],
    "500": [answers(500, "InternalError")],
    "no answer": [times_out],
    "answer lost": [loses_answer],
    "cut": [cuts_body],
    "cut three times": [cuts_body] * 3,
    "reset": [resets_body],
    "stalled": [stalls_body],
    "too long": [adds_to_body],
    "damaged": [damages_body],
    "damaged three times": [damages_body] * 3,
    "all of it": [cuts_body, slows_down, resets_body, times_out, damages_body],
    "second request cut": [passes, cuts_body],
    "third request reset": [passes, passes, resets_body],
    "second request damaged": [passes, damages_body],
    "second request 503": [passes, slows_down],
}


@pytest.mark.every_day(8)
@pytest.mark.parametrize("name", SURVIVED)
def test_reading_survives(name: str, parts_store: S3Store, faults: Faults, slept: list[float]) -> None:
    faults.add("GetObject", *SURVIVED[name])
    assert parts_store.get("key") == CONTENT


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        (slows_down, TransientStoreError, "S3 answered 503 SlowDown: A message."),
        (answers(500, "InternalError"), TransientStoreError, "S3 answered 500 InternalError: A message."),
        (times_out, TransientStoreError, "S3 did not answer: "),
        (cuts_body, TransientStoreError, "the answer broke off 4 times: "),
        (
            resets_body,
            TransientStoreError,
            "the answer broke off 4 times: .* bytes: .*reset by peer",
        ),
        (
            stalls_body,
            TransientStoreError,
            "the answer broke off 4 times: .* bytes: nothing more came in time",
        ),
        (damages_body, StoreError, "does not have the CRC32 that it was written with, read 4 times"),
    ],
)
def test_reading_gives_up(
    parts_store: S3Store,
    faults: Faults,
    slept: list[float],
    fault: Fault,
    kind: type[StoreError],
    message: str,
) -> None:
    faults.add_forever("GetObject", fault)
    with pytest.raises(StoreError, match=f"^{parts_store.url}: key: {message}") as caught:
        parts_store.get("key")
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert faults.count("GetObject") <= 12
    assert sum(slept) <= 15


def test_a_part_of_an_object_is_read_whole(parts_store: S3Store, faults: Faults, slept: list[float]) -> None:
    faults.add("GetObject", cuts_body, resets_body)
    assert parts_store.get("key", 5, 250_000) == CONTENT[5:250_000]


def test_an_object_overwritten_while_it_is_read_is_read_anew(
    s3_bucket: str, client: Any, faults: Faults, slept: list[float]
) -> None:
    store = S3Store(s3_bucket, client=client, part_bytes=PARTS["three parts"])
    other = S3Store(s3_bucket)
    store.put("key", CONTENT)
    faults.add("GetObject", passes, lambda _: other.put("key", CONTENT[::-1]) and None)
    assert store.get("key") == CONTENT[::-1]
    # A server that does not know If-Match.
    faults.add("GetObject", passes, changes_etag)
    assert store.get("key") == CONTENT[::-1]
    # Overwritten between two attempts of the same part.
    faults.add("GetObject", cuts_body, lambda _: other.put("key", CONTENT) and None)
    assert store.get("key") == CONTENT
    versions = iter(range(1000))
    faults.add_forever("GetObject", lambda _: other.put("key", CONTENT + b"%d" % next(versions)) and None)
    with pytest.raises(TransientStoreError, match="overwritten again and again"):
        store.get("key")
    store.close()


def test_an_object_deleted_while_it_is_read_is_missing(s3_bucket: str, client: Any, faults: Faults) -> None:
    store = S3Store(s3_bucket, client=client, part_bytes=PARTS["three parts"])
    store.put("key", CONTENT)
    faults.add("GetObject", passes, lambda _: S3Store(s3_bucket).delete("key"))
    with pytest.raises(KeyError, match="key"):
        store.get("key")
    store.close()


def test_the_checksum_goes_with_the_object(store: S3Store, s3_bucket: str, faults: Faults) -> None:
    store.put("key", CONTENT)
    expected = base64.b64encode(zlib.crc32(CONTENT).to_bytes(4, "big")).decode()
    assert faults.requests[0][1].headers["x-amz-checksum-crc32"] == expected.encode()
    head = shared_client().head_object(Bucket=s3_bucket, Key="prefix/key", ChecksumMode="ENABLED")
    assert head.get("ChecksumCRC32", expected) == expected  # not every S3 keeps it
    assert head["Metadata"]["wrenla-crc32"] == f"{zlib.crc32(CONTENT):08x}"


def test_objects_of_others_have_no_checksum(store: S3Store, s3_bucket: str) -> None:
    shared_client().put_object(Bucket=s3_bucket, Key="prefix/c/0", Body=CONTENT)
    assert store.get("c/0") == CONTENT
    assert not store.put("c/0", b"", create=True)


CREATED: dict[str, tuple[list[Fault], int]] = {
    "503 twice": ([slows_down, slows_down], 0),
    "no answer": ([times_out], 0),
    "answer lost": ([loses_answer], 1),
    "answer lost twice": ([loses_answer, loses_answer], 1),
    "conflict": ([answers(409, "ConditionalRequestConflict")] * 3, 0),
    "deleted since": ([answers(412, "PreconditionFailed")], 1),
}


@pytest.mark.parametrize("name", CREATED)
def test_creating_survives(name: str, store: S3Store, faults: Faults, slept: list[float]) -> None:
    put_faults, heads = CREATED[name]
    faults.add("PutObject", *put_faults)
    assert store.put("key", CONTENT, create=True)
    assert faults.count("HeadObject") == heads
    assert store.get("key") == CONTENT
    assert not store.put("key", CONTENT, create=True)


def test_a_lost_answer_does_not_hide_that_another_was_first(
    store: S3Store, s3_bucket: str, faults: Faults, slept: list[float]
) -> None:
    def another_is_first(request: Any) -> AWSResponse:
        S3Store(s3_bucket, "prefix").put("key", b"another's")
        raise ConnectionClosedError(endpoint_url=request.url)

    faults.add("PutObject", another_is_first)
    assert not store.put("key", CONTENT, create=True)
    assert bytes(store.get("key")) == b"another's"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (slows_down, "S3 answered 503"),
        (times_out, "S3 did not answer"),
        (answers(409, "ConditionalRequestConflict"), "others were writing or deleting it, 6 times"),
        (answers(412, "PreconditionFailed"), "others were writing or deleting it, 6 times"),
        (answers(400, "BadDigest"), "S3 answered 400 BadDigest"),
        (answers(400, "RequestTimeout"), "S3 answered 400 RequestTimeout"),
        (answers(429, "TooManyRequests"), "S3 answered 429"),
    ],
)
def test_creating_gives_up(
    store: S3Store, faults: Faults, slept: list[float], fault: Fault, message: str
) -> None:
    faults.add_forever("PutObject", fault)
    with pytest.raises(TransientStoreError, match=f"^{store.url}: key: {message}"):
        store.put("key", CONTENT, create=True)
    assert sum(slept) <= 15
    assert faults.count("PutObject") <= 6


@pytest.mark.parametrize(
    ("status", "code", "remedy", "of_object"),
    [
        (403, "AccessDenied", "access denied; the credentials need s3:GetObject", True),
        (403, "InvalidAccessKeyId", "the credentials are not accepted; check AWS_ACCESS_KEY_ID", False),
        (403, "SignatureDoesNotMatch", "the credentials are not accepted; check AWS_ACCESS_KEY_ID", False),
        (400, "ExpiredToken", "the credentials have expired; renew them", False),
        (404, "NoSuchBucket", "there is no such bucket; create it", False),
        (
            *(400, "IllegalLocationConstraintException"),
            *("the bucket is in another region; set AWS_DEFAULT_REGION", False),
        ),
        (403, "RequestTimeTooSkewed", "this machine's clock is off by more than 15 minutes; set it", False),
        (400, "EntityTooLarge", "the object is larger .* use smaller tiles", True),
        (418, "Teapot", "S3 answered 418 Teapot: A message.", True),
    ],
)
def test_errors_say_what_to_do(
    store: S3Store, faults: Faults, status: int, code: str, remedy: str, of_object: bool
) -> None:
    operations: dict[str, Callable[[], Any]] = {
        "GetObject": lambda: store.get("key"),
        "PutObject": lambda: store.put("key", b""),
        "ListObjectsV2": lambda: list(store.list("key")),
        "DeleteObject": lambda: store.delete("key"),
    }
    for operation, call in operations.items():
        faults.add_forever(operation, answers(status, code))
        with pytest.raises(StoreError, match=f"^{store.url}: {'key: ' * of_object}{remedy}") as caught:
            call()
        assert type(caught.value) is StoreError
        assert "\n" not in str(caught.value)


def test_message_of_the_server_is_quoted_as_one_line(store: S3Store, faults: Faults) -> None:
    message = "{no}\n  {region} %s \\1"
    faults.add_forever("GetObject", answers(418, "Teapot", message=message))
    with pytest.raises(StoreError, match="key: S3 answered 418 Teapot: ") as caught:
        store.get("key")
    assert str(caught.value).endswith("{no} {region} %s \\1")


@pytest.mark.parametrize("call", [S3Store.size, S3Store.exists])
def test_head_says_access_denied(store: S3Store, faults: Faults, call: Callable[[S3Store, str], Any]) -> None:
    faults.add("HeadObject", answers(403, ""))
    with pytest.raises(StoreError, match="key: access denied; the credentials need"):
        call(store, "key")


def test_a_bucket_in_another_region_is_named(store: S3Store, faults: Faults) -> None:
    for operation in ("GetObject", "HeadBucket"):
        faults.add_forever(operation, answers(301, "PermanentRedirect", x_amz_bucket_region="eu-west-1"))
    with pytest.raises(StoreError, match=r"in another region \(eu-west-1\); set AWS_DEFAULT_REGION"):
        store.get("key")


def test_there_is_no_such_bucket(s3_environment: None) -> None:
    store = S3Store("no-such-bucket")
    for call in (store.get, lambda key: store.put(key, b"", create=True), lambda key: list(store.list(key))):
        with pytest.raises(StoreError, match=r"^s3://no-such-bucket: there is no such bucket"):
            call("key")


def test_credentials_may_come_later(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as without:
        without.delenv("AWS_ACCESS_KEY_ID")
        without.delenv("AWS_SECRET_ACCESS_KEY")
        with pytest.raises(StoreError, match=f"^s3://{s3_bucket}: there are no AWS credentials; name"):
            S3Store(s3_bucket).get("key")
        without.setenv("AWS_PROFILE", "nobody")
        with pytest.raises(StoreError, match=r"^s3://.*: The config profile .nobody. .* check AWS_PROFILE"):
            S3Store(s3_bucket).get("key")
    assert S3Store(s3_bucket).put("key", b"")


def test_nobody_listens(s3_environment: None, monkeypatch: pytest.MonkeyPatch, slept: list[float]) -> None:
    with socket.socket() as unused:  # bound but not listening: nobody else gets the port
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(
            TransientStoreError, match=r"^s3://bucket: key: S3 did not answer: Could not connect"
        ):
            S3Store("bucket").size("key")


def test_a_server_that_knows_no_ranges_is_refused(parts_store: S3Store, faults: Faults) -> None:
    def ignores_range(request: Any) -> AWSResponse:
        raw = HTTPResponse(body=io.BytesIO(CONTENT), preload_content=False)
        return AWSResponse(request.url, 200, {"ETag": '"1"', "Content-Length": str(len(CONTENT))}, raw)

    faults.add_forever("GetObject", ignores_range)
    with pytest.raises(StoreError, match="did not answer with the range"):
        parts_store.get("key", 10, 20)


def test_list_reads_all_pages(store: S3Store, client: Any, faults: Faults) -> None:
    client.meta.events.register(
        "provide-client-params.s3.ListObjectsV2", lambda params, **_: {**params, "MaxKeys": 10}
    )
    keys = [f"c/{i:02}" for i in range(25)]
    for key in keys:
        store.put(key, b"")
    assert list(store.list("c/")) == keys
    assert faults.count("ListObjectsV2") == 3


def test_list_passes_over_folder_markers(store: S3Store, s3_bucket: str) -> None:
    store.put("c/0", b"")
    for key in ("prefix/", "prefix/c/", "prefix2/c/0"):
        shared_client().put_object(Bucket=s3_bucket, Key=key)
    assert list(store.list()) == ["c/0"]


def test_close_ends_the_reading_threads(s3_bucket: str) -> None:
    store = S3Store(s3_bucket, part_bytes=50_000)
    store.put("key", CONTENT)
    with ThreadPoolExecutor(4) as pool:
        assert all(content == CONTENT for content in pool.map(store.get, ["key"] * 8))
    assert any(thread.name.startswith("wrenla-s3") for thread in threading.enumerate())
    store.close()
    assert not any(thread.name.startswith("wrenla-s3") for thread in threading.enumerate())


def test_stores_of_a_process_share_a_client(s3_bucket: str) -> None:
    assert S3Store(s3_bucket)._client() is S3Store("other")._client()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12 advises against fork
def test_a_forked_child_starts_afresh(s3_bucket: str) -> None:
    store = S3Store(s3_bucket, part_bytes=100_000)
    store.put("key", CONTENT)
    assert store.get("key") == CONTENT
    before = store._client()

    def read() -> None:
        assert store.get("key") == CONTENT
        assert store._client() is not before

    with store._lock:  # as if another thread held it
        child = multiprocessing.get_context("fork").Process(target=read)
        child.start()
    child.join(30)
    assert child.exitcode == 0
    child.close()
    assert store.get("key") == CONTENT
    store.close()


@pytest.mark.process
def test_boto3_is_imported_only_when_it_is_needed() -> None:
    code = """
import sys
from wrenla_handler.stores.urls import open_store
open_store("s3://bucket")
sys.exit("boto3" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


class BreakingServer(BaseHTTPRequestHandler):
    """An S3 with one object, whose first answers break off (odd ones) or stall (even ones) on the wire."""

    protocol_version = "HTTP/1.1"
    answers_left: list[str]
    released: threading.Event

    def do_GET(self) -> None:
        self.send_response(206)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.send_header("Content-Range", f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("ETag", '"1"')
        self.end_headers()
        match self.answers_left.pop(0):
            case "cut":
                self.wfile.write(CONTENT[:1000])
                self.close_connection = True
            case "stall":
                self.wfile.write(CONTENT[:1000])
                self.released.wait(30)
                self.close_connection = True
            case _:
                self.wfile.write(CONTENT)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_answers_that_break_off_on_the_wire_are_read_again(
    s3_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    BreakingServer.answers_left = ["cut", "stall", "whole"]
    BreakingServer.released = threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), BreakingServer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        client = boto3.session.Session().client("s3", endpoint_url=endpoint, config=Config(read_timeout=0.3))
        try:
            assert S3Store("bucket", client=client).get("key") == CONTENT
            assert BreakingServer.answers_left == []
        finally:
            BreakingServer.released.set()
            client.close()
            server.shutdown()
            thread.join()


def test_a_bucket_may_have_a_session_of_its_own(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_client, "_sessions", {})
    keys = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    session = boto3.Session(*keys, region_name="eu-north-1")
    s3_client.use_session(s3_bucket, session)
    mine, other = S3Store(s3_bucket)._client(), S3Store("another-bucket")._client()
    assert mine is not other
    assert mine.meta.region_name == "eu-north-1"
    assert other.meta.region_name != "eu-north-1"
    monkeypatch.setattr(s3_client, "_sessions", {s3_bucket: boto3.Session(*keys, region_name="us-east-1")})
    assert S3Store(s3_bucket).put("a", b"1")
