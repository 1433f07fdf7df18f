"""Requests that come in pieces."""

from __future__ import annotations

import random

import pytest

from wrenla.emulator.api.http import BadRequest, Parser, Request

_SENT = (
    b"POST /a/b?c=d HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    b"GET /next HTTP/1.1\r\nAccept: a\r\naccept: b\r\n\r\n"
    b"POST /chunks HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n"
    b"POST /trailers HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n\n\r\n0\r\nName: v\r\n\r\n"
    b"PUT /empty HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
)

_WANTED = [
    Request("POST", "/a/b?c=d", {"host": "x", "content-length": "3"}, b"abc"),
    Request("GET", "/next", {"accept": "a,b"}, b""),
    Request("POST", "/chunks", {"transfer-encoding": "chunked"}, b"abc0123456789"),
    Request("POST", "/trailers", {"transfer-encoding": "chunked"}, b"\n"),
    Request("PUT", "/empty", {"content-length": "0"}, b""),
]


@pytest.mark.parametrize("seed", [None, 0, *range(1, 30)])
def test_requests_are_found_however_they_are_cut(seed: int | None) -> None:
    parser, found = Parser(), []
    rest = _SENT
    numbers = random.Random(seed)
    while rest:
        size = len(rest) if seed is None else 1 if seed == 0 else numbers.randrange(1, 30)
        parser.feed(rest[:size])
        rest = rest[size:]
        while (request := parser.take()) is not None:
            found.append(request)
    assert found == _WANTED
    assert (_WANTED[0].path, _WANTED[0].query) == ("/a/b", "c=d")


def test_request_with_expect_is_answered_100() -> None:
    parser = Parser()
    parser.feed(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
    assert parser.take() is None
    assert parser.wants_continue
    parser.feed(b"x")
    assert parser.take() is not None
    assert not parser.wants_continue


@pytest.mark.parametrize(
    "text",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1_0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * (1 << 21),
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"x" * (1 << 21),
        b"x" * (1 << 21),
    ],
)
def test_malformed_request_is_bad_request(text: bytes) -> None:
    parser = Parser()
    parser.feed(text)
    with pytest.raises(BadRequest):
        parser.take()


@pytest.mark.parametrize("chunks", [False, True])
def test_no_more_is_kept_than_is_wanted(chunks: bool) -> None:
    heads: list[Request] = []

    def admit(head: Request) -> int:
        heads.append(head)
        return 5

    parser = Parser(admit)
    how = b"Transfer-Encoding: chunked" if chunks else b"Content-Length: 16000000"
    parser.feed(b"POST /long HTTP/1.1\r\n" + how + b"\r\n\r\n")
    found = [parser.take()]
    assert [(head.target, head.body) for head in heads] == [("/long", b"")], "before anything has come of it"
    for _ in range(16):
        parser.feed(b"%x\r\n" % 1_000_000 * chunks + bytes(1_000_000) + b"\r\n" * chunks)
        found.append(parser.take())
        assert len(parser._buffer) + len(parser._body) < 10, "the rest is forgotten at once"
    parser.feed(b"0\r\n\r\n" * chunks + b"POST /short HTTP/1.1\r\nContent-Length: 5\r\n\r\n12345")
    found += [parser.take(), parser.take()]
    assert [request.body for request in found if request is not None] == [bytes(6), b"12345"]

    def refuse(_: Request) -> int:
        raise KeyError

    parser = Parser(refuse)
    parser.feed(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n")
    with pytest.raises(KeyError):
        parser.take()
