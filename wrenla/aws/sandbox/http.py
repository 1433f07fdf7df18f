"""As much of HTTP/1.1 as the AWS clients and Lambda's runtime client speak, without waiting for anything."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["BadRequest", "Parser", "Request", "receive", "response"]

_PIECE = 1 << 18

_PHRASES = {100: "Continue", 200: "OK", 201: "Created", 202: "Accepted", 204: "No Content"}


class BadRequest(ValueError):
    """What came is not HTTP as we know it: the connection is of no use any more."""


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
        """What stands before the query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """What stands behind the question mark."""
        return self.target.partition("?")[2]


class Parser:
    """Makes requests of bytes that come in pieces.

    Examples
    --------
    >>> parser = Parser()
    >>> parser.feed(b"POST /a?b HTTP/1.1\\r\\nContent-Length: 2\\r\\n\\r\\n{")
    >>> parser.take()
    >>> parser.feed(b"}GET /")
    >>> parser.take()
    Request(method='POST', target='/a?b', headers={'content-length': '2'}, body=b'{}')
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._head: tuple[str, str, dict[str, str]] | None = None
        self._length: int | None = 0
        self._chunks = bytearray()
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
        if self._head is None and not self._take_head():
            return None
        body = self._take_chunks() if self._length is None else self._take_body(self._length)
        if body is None:
            return None
        assert self._head is not None
        (method, target, headers), self._head = self._head, None
        self.wants_continue = False
        return Request(method, target, headers, body)

    def _take_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > 1 << 20:
                raise BadRequest("its head is too long")
            return False
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        try:
            method, target, _ = first.split(" ")
            headers: dict[str, str] = {}
            for line in lines:
                name, value = line.split(":", 1)
                name, value = name.lower(), value.strip()
                headers[name] = f"{headers[name]},{value}" if name in headers else value
            chunked = "chunked" in headers.get("transfer-encoding", "").lower()
            self._length = None if chunked else int(headers.get("content-length") or 0)
        except ValueError as error:
            raise BadRequest(f"its head makes no sense: {error}") from None
        self._head = method, target, headers
        self.wants_continue = headers.get("expect", "").lower() == "100-continue"
        return True

    def _take_body(self, length: int) -> bytes | None:
        if len(self._buffer) < length:
            return None
        body = bytes(memoryview(self._buffer)[:length])
        del self._buffer[:length]
        return body

    def _take_chunks(self) -> bytes | None:
        while (end := self._buffer.find(b"\r\n")) >= 0:
            try:
                size = int(self._buffer[:end].partition(b";")[0], 16)
            except ValueError:
                raise BadRequest("the length of a chunk makes no sense") from None
            if len(self._buffer) < end + 2 + size + 2:
                return None
            if size:
                self._chunks += self._buffer[end + 2 : end + 2 + size]
                del self._buffer[: end + 2 + size + 2]
                continue
            last = self._buffer.find(b"\r\n\r\n", end)  # behind it there may be trailers
            if last < 0:
                return None
            del self._buffer[: last + 4]
            body, self._chunks = bytes(self._chunks), bytearray()
            return body
        return None


def receive(connection: socket.socket, parser: Parser) -> Request | None:
    """Wait for the next request; None if the other side has ended.

    Raises
    ------
    OSError, BadRequest
        The connection is of no use any more.
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
