"""A proxy between a client and an HTTP server that breaks the requests it is told to break, and only these.

It goes by requests, not by chance or time: a rule names the k-th request of those that it is about, counted
from 1. Requests and answers pass unchanged, `Host` included, since it is signed; what changes is the version
of HTTP and whether the connection stays open. Only `s3_error` knows S3: other services can be broken as well.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, Literal, TypeAlias
from urllib.parse import urlsplit

__all__ = ["Answer", "Cut", "Drop", "Fault", "FaultProxy", "Request", "Rule", "Slow", "s3_error"]

_PIECE = 1 << 18


@dataclass(frozen=True, slots=True)
class Answer:
    """The proxy answers; the server never hears of the request."""

    status: int
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection breaks: before the request reaches the server, within its body, or after all of it.

    After: the server has done what was asked and has answered, but the answer is lost.
    """

    when: Literal["before", "within", "after"]


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection ends after so many bytes of the answer's body; None: after its status."""

    nbytes: int | None


@dataclass(frozen=True, slots=True)
class Slow:
    """The answer takes so many seconds more: before it begins, and between the pieces that it comes in."""

    seconds: float
    pieces: int = 5


Fault: TypeAlias = Answer | Drop | Cut | Slow


def s3_error(status: int, code: str) -> Answer:
    """Return an answer as S3 gives it when something is wrong."""
    text = f"<Error><Code>{code}</Code><Message>A fault on purpose.</Message><RequestId>1</RequestId></Error>"
    return Answer(status, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode())


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request; names of headers are in small letters."""

    method: str
    target: str
    headers: Mapping[str, str]


def _any(request: Request) -> bool:
    return True


@dataclass(slots=True)
class Rule:
    """What happens to some of the requests that it is about.

    Attributes
    ----------
    fault : Fault
    about : callable
        Tells whether a request counts.
    at : container of int
        Which of those that count, from 1: ``(1, 4)``, ``range(2, 100, 7)``.
    seen, fired : int
        How many there have been, and how many were broken.
    """

    fault: Fault
    about: Callable[[Request], bool] = _any
    at: Container[int] = (1,)
    seen: int = 0
    fired: int = 0

    def fires(self, request: Request) -> bool:
        """Count a request; tell whether it is to be broken."""
        if not self.about(request):
            return False
        self.seen += 1
        fires = self.seen in self.at
        self.fired += fires
        return fires


class FaultProxy:
    """Listens on a free port of the loopback interface until it is closed.

    Parameters
    ----------
    endpoint : str
        The server, as ``http://host:port``.
    sign : callable, optional
        Returns the headers with which a request goes on, instead of those with which it came: for a server
        that does not know the keys of whoever asks.

    Attributes
    ----------
    rules : list of Rule
        Every rule counts every request; of those that fire the first one decides.
    requests : list of Request
        What has come in, in order.
    """

    def __init__(self, endpoint: str, sign: Callable[[Request], Mapping[str, str]] | None = None) -> None:
        parts = urlsplit(endpoint)
        self._sign = sign
        assert parts.scheme == "http"
        assert parts.hostname is not None
        self._server = parts.hostname, parts.port or 80
        self.rules: list[Rule] = []
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._accepting = threading.Thread(target=self._accept, name="fault-proxy")
        self._accepting.start()

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Break every connection, and wait for the threads."""
        self._closed.set()
        with self._lock:
            for opened in (self._listener, *self._open):
                with contextlib.suppress(OSError):
                    opened.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        while self._threads:
            self._threads.pop().join()

    def start_over(self, *rules: Rule) -> None:
        """Forget what has been, and go on with these rules."""
        with self._lock:
            self.rules = list(rules)
            self.requests = []

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), name="fault-proxy-connection")
            self._threads = {other for other in self._threads if other.is_alive()} | {thread}
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        # What breaks is a connection, and the client has to cope with that.
        with self._opened(client), client.makefile("rb") as reader, contextlib.suppress(OSError, EOFError):
            while self._exchange(client, reader):
                pass

    @contextlib.contextmanager
    def _opened(self, connection: socket.socket) -> Iterator[socket.socket]:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._open.add(connection)
        try:
            if not self._closed.is_set():
                yield connection
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _exchange(self, client: socket.socket, reader: BinaryIO) -> bool:
        """Pass one request on, and its answer back; tell whether the connection stays open."""
        head = _Head.read(reader)
        method, target, _ = head.first.split(" ", 2)
        request = Request(method, target, head.headers)
        fault = self._fault(request)
        if fault == Drop("before"):
            return _reset(client)
        if head.headers.get("expect", "").lower() == "100-continue":
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if isinstance(fault, Answer):
            for _ in _body(reader, head):
                pass
            body = b"" if method == "HEAD" else fault.body
            text = f"HTTP/1.1 {fault.status} Fault\r\nContent-Length: {len(body)}\r\n\r\n"
            client.sendall(text.encode() + body)
            return True
        with (
            self._opened(socket.create_connection(self._server)) as server,
            server.makefile("rb") as from_server,
        ):
            onward = head if self._sign is None else head.with_headers(self._sign(request))
            server.sendall(
                onward.to_bytes(head.first, without=("connection", "expect"), add="Connection: close")
            )
            half = int(head.headers.get("content-length", 0)) // 2
            for piece in _body(reader, head):
                if fault == Drop("within"):
                    server.sendall(piece[:half])
                    return _reset(client)
                server.sendall(piece)
            answer = _Head.read(from_server)
            while answer.first.split(" ")[1] == "100":
                answer = _Head.read(from_server)
            if fault == Drop("within"):  # a request without body
                return _reset(client)
            pieces = _body(from_server, answer, answer_to=method)
            if fault == Drop("after"):
                for _ in pieces:
                    pass
                return _reset(client)
            return self._answer(client, method, answer, pieces, fault)

    def _answer(
        self, client: socket.socket, method: str, answer: _Head, pieces: Iterator[bytes], fault: Fault | None
    ) -> bool:
        _, _, rest = answer.first.partition(" ")
        # where nothing says how long the body is, it ends with the connection
        keep = _has_no_body(method, answer) or bool(
            {"content-length", "transfer-encoding"} & set(answer.headers)
        )
        add = "" if keep else "Connection: close"
        head = answer.to_bytes(f"HTTP/1.1 {rest}", without=("connection", "keep-alive"), add=add)
        if isinstance(fault, Slow):
            body = b"".join(pieces)
            self._closed.wait(fault.seconds / fault.pieces)
            client.sendall(head)
            step = -(-len(body) // (fault.pieces - 1)) or 1
            for start in range(0, len(body), step):
                self._closed.wait(fault.seconds / fault.pieces)
                client.sendall(body[start : start + step])
            return keep
        if isinstance(fault, Cut):
            body = b"".join(pieces)
            status = head[: head.index(b"\r\n") + 5]  # and the beginning of a header
            client.sendall(status if fault.nbytes is None else head + body[: fault.nbytes])
            return False
        client.sendall(head)
        for piece in pieces:
            client.sendall(piece)
        return keep

    def _fault(self, request: Request) -> Fault | None:
        with self._lock:
            self.requests.append(request)
            firing = [rule.fault for rule in self.rules if rule.fires(request)]
        return firing[0] if firing else None


@dataclass(frozen=True, slots=True)
class _Head:
    """The first line of a request or an answer, and its headers as they came."""

    first: str
    lines: tuple[str, ...]
    headers: Mapping[str, str] = field(repr=False)

    @classmethod
    def read(cls, reader: BinaryIO) -> _Head:
        """Read a head; raise EOFError if there is none, or not all of one."""
        lines: list[str] = []
        while (line := reader.readline(1 << 16)) not in (b"\r\n", b"\n"):
            if not line.endswith(b"\n"):
                raise EOFError
            lines.append(line.decode("latin-1").rstrip("\r\n"))
        headers = (line.partition(":") for line in lines[1:])
        return cls(lines[0], tuple(lines[1:]), {name.lower(): value.strip() for name, _, value in headers})

    def with_headers(self, headers: Mapping[str, str]) -> _Head:
        return _Head(self.first, tuple(f"{name}: {value}" for name, value in headers.items()), headers)

    def to_bytes(self, first: str, *, without: Container[str], add: str) -> bytes:
        kept = [line for line in self.lines if line.partition(":")[0].lower() not in without]
        return "\r\n".join([first, *kept, *([add] if add else []), "", ""]).encode("latin-1")


def _body(reader: BinaryIO, head: _Head, answer_to: str = "") -> Iterator[bytes]:
    """Yield the body that follows a head, as it travels; raise EOFError if it is not whole."""
    if answer_to and _has_no_body(answer_to, head):
        return
    if "chunked" in head.headers.get("transfer-encoding", "").lower():
        size = -1
        while size:
            line = reader.readline()
            size = int(line.partition(b";")[0], 16)
            yield line + _exactly(reader, size) + _exactly(reader, 2)
        return
    left = int(head.headers.get("content-length", -1 if answer_to else 0))
    while left:
        piece = reader.read(_PIECE if left < 0 else min(left, _PIECE))
        if not piece and left < 0:
            return  # an answer that ends with its connection
        if not piece:
            raise EOFError
        yield piece
        left -= len(piece) if left > 0 else 0


def _has_no_body(method: str, answer: _Head) -> bool:
    return method == "HEAD" or answer.first.split(" ")[1] in ("204", "304")


def _exactly(reader: BinaryIO, size: int) -> bytes:
    data = reader.read(size)
    if len(data) != size:
        raise EOFError
    return data


def _reset(client: socket.socket) -> bool:
    """Let the connection break, not just end, when it is closed."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False
