"""The envelope: JSON that says what was said, and signatures that cannot be had without the secret."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wrenla_handler.calls.messages import Ending, Request, Response, sealed, unsealed
from wrenla_handler.errors import IntegrityError
from wrenla_handler.serialize.blobs import Blob

texts = st.text() | st.sampled_from(
    ['"', "\\", "\n\r\t\0\x1f\x7f", "ünïcödé ℝ 𝔘", "\u2028", "</script>", "'{}'"]
)
counts = st.integers(0, 2**62)
blobs = st.builds(Blob, st.text("0123456789abcdef", min_size=64, max_size=64), counts, st.binary(), texts)
packed = st.lists(blobs, max_size=3).map(tuple)
requests = st.builds(
    Request,
    texts,
    st.integers(1, 1000),
    packed,
    packed,
    st.lists(packed, max_size=3).map(tuple),
    packed,
    texts,
    texts,
    texts,
)
responses = st.builds(
    Response,
    texts,
    st.integers(1, 1000),
    st.sampled_from(get_args(Ending)),
    packed,
    packed,
    st.floats(0, allow_nan=False, allow_infinity=False),
    counts,
    texts,
    counts,
    counts,
)


def strict(text: bytes) -> Any:
    """Read JSON as the standard has it, without NaN."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@given(requests)
def test_requests_go_and_come(request: Request) -> None:
    text = request.encode()
    assert Request.decode(text) == request
    found = strict(text)
    assert (found["version"], found["kind"], found["id"]) == (2, "call", request.id)
    assert set(found) == {*Request.__slots__, "version", "kind"}


@given(responses)
def test_responses_go_and_come(response: Response) -> None:
    text = response.encode()
    assert Response.decode(text) == response
    found = strict(text)
    assert (found["version"], found["kind"], found["ending"]) == (2, "answer", response.ending)
    assert set(found) == {*Response.__slots__, "version", "kind"}


def test_defaults_go_and_come() -> None:
    assert Request.decode(Request("a", 1, ()).encode()) == Request("a", 1, ())
    assert Response.decode(Response("a", 1, "refused").encode()) == Response("a", 1, "refused")


def test_the_order_of_fields_and_more_fields_do_not_matter() -> None:
    request = Request("a", 2, (Blob("0" * 64, 1, b"x", ""),))
    found = json.loads(request.encode())
    text = json.dumps({"more": [1], **dict(reversed(found.items()))}, indent=3).encode()
    assert Request.decode(text) == request


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b"17",
        b"\xff\xfe",
        Response("a", 1, "value").encode(),
        Request("a", 1, ()).encode().replace(b'"version":2', b'"version":1'),
        Request("a", 1, ()).encode().replace(b'"version":2', b'"version":"2"'),
        Request("a", 1, ()).encode().replace(b'"kind":"call"', b'"kind":"task"'),
        Request("a", 1, ()).encode()[:-1],
    ],
)
def test_decode_of_foreign_request_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        Request.decode(text)


def test_decode_of_foreign_response_is_refused() -> None:
    for text in (b"", b"{}", Request("a", 1, ()).encode()):
        with pytest.raises(ValueError):
            Response.decode(text)
    with pytest.raises(ValueError, match=r"of version 2.*hello"):
        Response.decode(b'{"hello": 1}')


@given(st.binary(), st.text())
def test_sealed_answer_is_unsealed_equal(text: bytes, secret: str) -> None:
    assert unsealed(sealed(text, secret), secret) == text


@given(st.binary(min_size=1, max_size=30), st.text(min_size=1), st.data())
def test_unsealing_of_changed_answer_is_refused(text: bytes, secret: str, data: st.DataObject) -> None:
    good = sealed(text, secret)
    place = data.draw(st.integers(0, len(good) - 1))
    bit = data.draw(st.integers(0, 7))
    for bad in (
        good[:place] + bytes([good[place] ^ (1 << bit)]) + good[place + 1 :],
        good[:place],
        good + b"x",
        b"x" + good,
        text,
    ):
        with pytest.raises(IntegrityError, match="not written by our worker"):
            unsealed(bad, secret)
    with pytest.raises(IntegrityError):
        unsealed(good, secret + "x")


@pytest.mark.parametrize("bad", [b"", b"\n", b"\n\n", b"0" * 64, b"0" * 64 + b"\n", "ä\n".encode()])
def test_unsealing_of_unsealed_answer_is_refused(bad: bytes) -> None:
    with pytest.raises(IntegrityError):
        unsealed(bad, "secret")
