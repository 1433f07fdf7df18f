"""HTTP/1.1 requests from bytes that come in pieces (h11), and answers as bytes, without waiting."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

__all__ = ["BadRequest", "Parser", "Request", "receive", "response"]

_PIECE = 1 << 18

_HEAD = 1 << 20
"""Bytes that a head, trailers, or the line with the size of a chunk may have."""

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
    """Makes requests of bytes that come in pieces, and keeps no more of them than somebody wants.

    Parameters
    ----------
    admit : callable, optional
        Given a request without its body, as soon as that much is there. Returns how many bytes the body may
        have: of a longer one as many and one more are kept. What it raises, `take` raises.

    Examples
    --------
    >>> parser = Parser()
    >>> parser.feed(b"POST /a?b HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 2\\r\\n\\r\\n{")
    >>> parser.take()
    >>> parser.feed(b"}GET /")
    >>> parser.take()
    Request(method='POST', target='/a?b', headers={'host': 'x', 'content-length': '2'}, body=b'{}')
    """

    def __init__(self, admit: Callable[[Request], int] | None = None) -> None:
        self._admit = admit
        self._connection = _connection()
        self._head: Request | None = None
        self._limit: int | None = None
        self._body = bytearray()
        self.wants_continue = False

    def feed(self, data: bytes) -> None:
        """Take bytes that have come."""
        self._connection.receive_data(data)

    def take(self) -> Request | None:
        """Return the next request if it is there whole.

        Raises
        ------
        BadRequest
            It will never be.
        """
        import h11

        try:
            while not isinstance(event := self._connection.next_event(), h11.EndOfMessage):
                if isinstance(event, h11.Request):
                    self._begin(event)
                elif isinstance(event, h11.Data):
                    room = None if self._limit is None else max(0, self._limit + 1 - len(self._body))
                    self._body += event.data[:room]
                else:  # more has to come, or nothing comes any more
                    return None
        except h11.RemoteProtocolError as error:
            raise BadRequest(str(error)) from None
        head, body = self._head, bytes(self._body)
        assert head is not None
        # h11 goes on when it has seen the answer, which it need not; so each request has one of its own
        rest, _ = self._connection.trailing_data
        self._connection, self._body, self.wants_continue = _connection(), bytearray(), False
        if rest:
            self._connection.receive_data(rest)
        return Request(head.method, head.target, head.headers, body)

    def _begin(self, event: Any) -> None:
        headers: dict[str, str] = {}
        for name, value in ((name.decode(), value.decode("latin-1")) for name, value in event.headers):
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        self._head = Request(event.method.decode(), event.target.decode(), headers, b"")
        self._limit = None if self._admit is None else self._admit(self._head)
        self.wants_continue = self._connection.they_are_waiting_for_100_continue


def _connection() -> Any:
    import h11

    return h11.Connection(h11.SERVER, max_incomplete_event_size=_HEAD)


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
