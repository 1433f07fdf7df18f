"""Runtime API of one environment, for AWS's runtime client.

There is no thread: whoever has the environment waits here, for the client's next request, for output and for
the end of the process. So a call costs no change of threads.

Whoever may ask for the next call gets its payload, and whoever may answer has what he likes loaded in the
driver. The port can be reached by every user of this machine and by every function, so each connection is
held to be the runtime's own before a byte of it is read (see `peers`). A secret in the address would not do:
AWS's client takes no path there, and whoever is the same user reads it in the process's environment. What a
function starts has no business here either, except with the runtime's own connection, which it inherits.
"""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
import time
from dataclasses import dataclass
from typing import Literal

from wrenla.emulator.api.http import BadRequest, Parser, Request, response
from wrenla.emulator.backend.peer_process import holds_other_end
from wrenla.emulator.runtime.log_lines import RESPONSE_LIMIT
from wrenla.emulator.runtime.process import RuntimeProcess

__all__ = ["Event", "RuntimeApi"]

_PATH = re.compile(r"/2018-06-01/runtime/(?:invocation/(next|([^/]+)/(response|error))|(init)/error)")

_PIECE = 1 << 18


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened.

    Parameters
    ----------
    kind : str
        What the client asks or tells; "exit" if the process has ended, "time" if nothing came in time.
    call : str
        Number of the call for which "response" or "error" is.
    body : bytes
    error_type : str
        As the client names it.
    """

    kind: Literal["next", "response", "error", "init error", "exit", "time"]
    call: str = ""
    body: bytes = b""
    error_type: str = ""


class RuntimeApi:
    """A port, and the connections to it.

    Attributes
    ----------
    address : str
        Host and port.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._poll = select.poll()
        self._poll.register(self._listener, select.POLLIN)
        self._clients: dict[int, tuple[socket.socket, Parser]] = {}
        self._asking: socket.socket | None = None
        self._call = ""
        self._process: RuntimeProcess | None = None
        self.output = bytearray()

    def attach(self, process: RuntimeProcess) -> None:
        """Listen to a process, too."""
        self._process = process
        self._poll.register(process.output, select.POLLIN)
        self._poll.register(process.ended, select.POLLIN)

    def detach(self) -> None:
        """Forget a process that is about to be closed."""
        if self._process is not None:
            self.output += self._process.read()
            self._poll.unregister(self._process.output)
            self._poll.unregister(self._process.ended)
            self._process = None
        self._call = ""
        for number in list(self._clients):
            self._drop(number)

    def close(self) -> None:
        """Close the port and its connections."""
        self.detach()
        self._listener.close()

    def wait(self, until: float) -> Event:
        """Return what happens next, at the latest at this time of the monotonic clock."""
        while True:
            left = until - time.monotonic()
            ready = dict(self._poll.poll(max(0.0, left) * 1000))
            event = self._look(ready)
            if event is not None:
                return event
            if left <= 0:
                return Event("time")

    def answer(self, headers: list[tuple[str, str]], payload: bytes) -> None:
        """Give a call to the client, which has asked for the next one."""
        assert self._asking is not None
        client, self._asking = self._asking, None
        self._call = dict(headers)["Lambda-Runtime-Aws-Request-Id"]
        self._send(client, 200, headers, payload)

    def confirm(self, status: int, kind: str = "", message: str = "") -> None:
        """Answer the client's response or error."""
        assert self._asking is not None
        client, self._asking = self._asking, None
        self._call = ""
        content = {"status": "OK"} if status == 202 else {"errorType": kind, "errorMessage": message}
        self._send(client, status, [("Content-Type", "application/json")], json.dumps(content).encode())

    def drain(self) -> bytes:
        """Return what the process has printed since it was asked last."""
        if self._process is not None:
            self.output += self._process.read()
        text, self.output = bytes(self.output), bytearray()
        return text

    def _look(self, ready: dict[int, int]) -> Event | None:
        process = self._process
        assert process is not None
        if process.output in ready:
            piece = process.read()
            self.output += piece
            if not piece and ready[process.output] & select.POLLHUP:
                self._poll.unregister(process.output)  # it has closed its output, and would wake us for ever
                self._poll.register(process.output, 0)
        if self._listener.fileno() in ready:
            self._accept(process)
        for number in ready.keys() & self._clients.keys():
            event = self._receive(number)
            if event is not None:
                return event
        # What it has sent comes before its end: a response that is there counts.
        if process.ended in ready and not (ready.keys() & self._clients.keys()):
            return Event("exit")
        return None

    def _accept(self, process: RuntimeProcess) -> None:
        """Take a connection of the runtime's, and close everybody else's at once."""
        with contextlib.ExitStack() as refused:
            try:
                client = refused.enter_context(self._listener.accept()[0])
            except (BlockingIOError, ConnectionError):  # whoever it was has gone again
                return
            runtime = process.runtime()
            # asked twice: the process that was looked into may have ended, and its number be another's by now
            if runtime is None or not holds_other_end(runtime, client) or process.runtime() != runtime:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.setblocking(False)
            self._clients[client.fileno()] = client, Parser(lambda _: RESPONSE_LIMIT)
            self._poll.register(client, select.POLLIN)
            refused.pop_all()

    def _receive(self, number: int) -> Event | None:
        client, parser = self._clients[number]
        try:
            piece = client.recv(_PIECE)
            parser.feed(piece)
            request = parser.take()
        except BlockingIOError:
            return None
        except (OSError, BadRequest):
            self._drop(number)
            return None
        if request is None:
            if not piece:
                self._drop(number)
            elif parser.wants_continue:
                parser.wants_continue = False
                self._send(client, 100)
            return None
        return self._understand(request, client)

    def _understand(self, request: Request, client: socket.socket) -> Event | None:
        found = _PATH.fullmatch(request.path)
        asks = found is not None and found[1] == "next"
        refused = self._refusal(request, found)
        if refused is not None:
            status, why = refused
            error = json.dumps({"errorType": why, "errorMessage": why}).encode() if why else b""
            self._send(client, status, [("Content-Type", "application/json")], error)
            return None
        assert found is not None
        self._asking = client
        error_type = request.headers.get("lambda-runtime-function-error-type", "")
        if asks:
            return Event("next")
        if found[4]:
            return Event("init error", "", request.body, error_type)
        kind: Literal["response", "error"] = "response" if found[3] == "response" else "error"
        return Event(kind, found[2], request.body, error_type)

    def _refusal(self, request: Request, found: re.Match[str] | None) -> tuple[int, str] | None:
        """Return status and error of requests that AWS's Runtime API refuses, too."""
        if found is None:
            return 404, ""
        asks = found[1] == "next"
        if (request.method == "GET") != asks:
            return 405, ""
        if found[2] and found[2] != self._call:
            return 400, "InvalidRequestID"
        if self._call and (asks or found[4]):
            return 403, "InvalidStateTransition"
        return None

    def _send(
        self,
        client: socket.socket,
        status: int,
        headers: list[tuple[str, str]] | None = None,
        body: bytes | None = None,
    ) -> None:
        with contextlib.suppress(OSError):  # it may have ended; the process will tell
            client.settimeout(10)
            client.sendall(response(status, headers or (), body))
            client.setblocking(False)

    def _drop(self, number: int) -> None:
        client, _ = self._clients.pop(number)
        self._poll.unregister(client)
        if client is self._asking:
            self._asking = None
        client.close()
