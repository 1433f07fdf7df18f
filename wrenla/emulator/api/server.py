"""HTTP server with a thread per connection, kept alive between requests."""

from __future__ import annotations

import contextlib
import errno
import logging
import select
import socket
import threading
import time
from collections.abc import Callable

from wrenla.emulator.api.http import BadRequest, Parser, Request, receive, response
from wrenla.emulator.api.responses import Answer, Refusal

__all__ = ["Server"]

_LOG = logging.getLogger(__name__)

_PIECE = 1 << 18

_LINGER = 5.0
"""Seconds in which somebody who is still sending may notice that he was answered."""


class Server:
    """Listens on 127.0.0.1.

    Parameters
    ----------
    handle : callable
        Answers a request; None closes the connection without an answer.
    port : int
        0 for one that is free.
    admit : callable, optional
        Given a request of which the body has not been read, says how many bytes of that are wanted.

    Attributes
    ----------
    url : str
    """

    def __init__(
        self,
        handle: Callable[[Request], Answer | None],
        port: int = 0,
        admit: Callable[[Request], int] | None = None,
    ) -> None:
        self._handle = handle
        self._admit = admit
        self._listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}
        self._over = False
        self._thread = threading.Thread(target=self._accept, name="wrenla-emulator-accept", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Close the port and all connections, and wait for their threads."""
        with self._lock:
            self._over = True
            threads = list(self._open.values())
            # With the lock held: `_serve` takes it to close a socket, whose number may then be another's.
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`
        self._thread.join()
        self._listener.close()
        # After `_accept`, which may just have entered a thread that it has yet to start.
        for thread in threads:
            thread.join()

    def _accept(self) -> None:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        while True:
            poll.poll()  # without descriptors, `accept` would fail at once, and not when somebody comes
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                if self._over:
                    return
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    time.sleep(0.05)  # until connections have ended: whoever comes meanwhile waits
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(
                target=self._serve, args=(connection,), name="wrenla-emulator-connection", daemon=True
            )
            with self._lock:
                if self._over:
                    connection.close()
                    return
                # Before the thread begins: its end takes the entry out.
                self._open[connection] = thread
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        parser = Parser(self._admit)
        try:
            with contextlib.suppress(OSError, BadRequest):
                while True:
                    try:
                        request = receive(connection, parser)
                    except (OSError, BadRequest):
                        raise
                    except Exception as error:
                        _dismiss(connection, _failure(error, "a head"))
                        return
                    if request is None:
                        return
                    answer = self._answer(request)
                    if answer is None:
                        return
                    # 204 has no body, and no length either
                    body = None if answer.status == 204 else answer.body
                    connection.sendall(response(answer.status, answer.headers, body))
        finally:
            with self._lock:
                del self._open[connection]
            connection.close()

    def _answer(self, request: Request) -> Answer | None:
        try:
            return self._handle(request)
        except Exception as error:
            return _failure(error, f"{request.method} {request.path}")


def _failure(error: Exception, what: str) -> Answer:
    if isinstance(error, Refusal):
        return error.answer()
    _LOG.error("%s", what, exc_info=error)
    return Refusal(500, "ServiceException", "The emulator failed.").answer()


def _dismiss(connection: socket.socket, answer: Answer) -> None:
    """Answer a request without reading its body.

    What he still sends is read for a while, and forgotten: a connection that is closed with something unread
    is reset, and the answer may be lost.
    """
    headers = (*answer.headers, ("Connection", "close"))
    connection.settimeout(_LINGER)
    connection.sendall(response(answer.status, headers, answer.body))
    connection.shutdown(socket.SHUT_WR)
    last = time.monotonic() + _LINGER
    while time.monotonic() < last and connection.recv(_PIECE):
        pass
