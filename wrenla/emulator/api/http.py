"""HTTP/1.1 parser for AWS clients and Lambda's runtime client; it never waits."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass

__all__ = ["BadRequest", "Parser", "Request", "receive", "response"]

_PIECE = 1 << 18

_HEAD = 1 << 20
"""Bytes that a head, trailers, or the line with the size of a chunk may have."""

_PHRASES = {100: "Continue", 200: "OK", 201: "Created", 202: "Accepted", 204: "No Content"}


class BadRequest(ValueError):
    """Malformed request: the connection cannot be used any more."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Parameters
    ----------
    method, target : str
        As in the first line; `target` is still quoted and has its query.
    headers : dict of str
        By name in lower case; what came twice is joined by commas.
    body : bytes
    """

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """Part before the query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """Part behind the question mark."""
        return self.target.partition("?")[2]


class Parser:
    """Parser of requests from bytes in pieces; it keeps a bounded part of a body.

    Parameters
    ----------
    admit : callable, optional
        Given a request without its body, as soon as that much is there. Returns how many bytes the body may
        have: of a longer one as many and one more are kept. What it raises, `take` raises.

    Examples
    --------
    >>> parser = Parser()
    >>> parser.feed(b"POST /a?b HTTP/1.1\\r\\nContent-Length: 2\\r\\n\\r\\n{")
    >>> parser.take()
    >>> parser.feed(b"}GET /")
    >>> parser.take()
    Request(method='POST', target='/a?b', headers={'content-length': '2'}, body=b'{}')
    """

    def __init__(self, admit: Callable[[Request], int] | None = None) -> None:
        self._admit = admit
        self._buffer = bytearray()
        self._head: Request | None = None
        self._limit: int | None = None
        self._body = bytearray()
        self._chunked = False
        self._left = 0  # bytes of the body, or of a chunk and its end, that are still to come
        self._trailers = False
        self.wants_continue = False

    def feed(self, data: bytes) -> None:
        """Take bytes that have come."""
        self._buffer += data

    def take(self) -> Request | None:
        """Return the next request if it is there whole.

        Raises
        ------
        BadRequest
            It will never be.
        """
        if self._head is None:
            self._head = self._take_head()
        if self._head is None or not (self._take_chunks() if self._chunked else self._take_body(0)):
            return None
        head, self._head = self._head, None
        body, self._body = bytes(self._body), bytearray()
        self.wants_continue = False
        return Request(head.method, head.target, head.headers, body)

    def _take_head(self) -> Request | None:
        end = self._find(b"\r\n\r\n", "its head is too long")
        if end < 0:
            return None
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        try:
            method, target, _ = first.split(" ")
            headers: dict[str, str] = {}
            for line in lines:
                name, value = line.split(":", 1)
                name, value = name.lower(), value.strip()
                headers[name] = f"{headers[name]},{value}" if name in headers else value
        except ValueError as error:
            raise BadRequest(f"its head makes no sense: {error}") from None
        self._chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        self._left = 0 if self._chunked else _number(headers.get("content-length") or "0", 10)
        head = Request(method, target, headers, b"")
        self._limit = None if self._admit is None else self._admit(head)
        self.wants_continue = headers.get("expect", "").lower() == "100-continue"
        return head

    def _take_body(self, end: int) -> bool:
        """Take what is there of the body, or of a chunk with an end of so many bytes; tell if it is all."""
        size = min(len(self._buffer), self._left)
        room = size if self._limit is None else max(0, self._limit + 1 - len(self._body))
        self._body += memoryview(self._buffer)[: max(0, min(size, self._left - end, room))]
        del self._buffer[:size]
        self._left -= size
        return self._left == 0

    def _take_chunks(self) -> bool:
        while not self._trailers:
            if self._left and not self._take_body(2):
                return False
            end = self._find(b"\r\n", "the length of a chunk makes no sense")
            if end < 0:
                return False
            size = _number(self._buffer[:end].partition(b";")[0].decode("latin-1").strip(), 16)
            self._trailers = size == 0
            if size:
                del self._buffer[: end + 2]
                self._left = size + 2
            else:
                del self._buffer[:end]
        last = self._find(b"\r\n\r\n", "what follows its body is too long")
        if last < 0:
            return False
        del self._buffer[: last + 4]
        self._trailers = False
        return True

    def _find(self, what: bytes, why: str) -> int:
        found = self._buffer.find(what)
        if found < 0 and len(self._buffer) > _HEAD:
            raise BadRequest(why)
        return found


def _number(text: str, base: int) -> int:
    """Read a length; `int` alone would take signs, underscores and blanks."""
    if re.fullmatch("[0-9]{1,18}" if base == 10 else "[0-9a-fA-F]{1,15}", text) is None:
        raise BadRequest(f"a length makes no sense: {text[:40]}")
    return int(text, base)


def receive(connection: socket.socket, parser: Parser) -> Request | None:
    """Wait for the next request; None if the other side has ended.

    Raises
    ------
    OSError, BadRequest
        The connection is of no use any more.
    Exception
        What the parser's `admit` raises.
    """
    while (request := parser.take()) is None:
        if parser.wants_continue:
            parser.wants_continue = False
            connection.sendall(response(100))
        piece = connection.recv(_PIECE)
        if not piece:
            return None
        parser.feed(piece)
    return request


def response(status: int, headers: Iterable[tuple[str, str]] = (), body: bytes | None = None) -> bytes:
    """Return the bytes of an answer."""
    lines = [f"HTTP/1.1 {status} {_PHRASES.get(status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + (body or b"")
