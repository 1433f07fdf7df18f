"""An endpoint that looks like AWS Lambda to boto3, and answers whatever a test wants."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from wrenla_handler.calls.messages import Request
from wrenla_handler.calls.runner import Runner
from wrenla_handler.versions import packages

REPORT = (
    "START RequestId: 1 Version: $LATEST\n{output}END RequestId: 1\n"
    "REPORT RequestId: 1\tDuration: 1.20 ms\tBilled Duration: {billed} ms\tMemory Size: {size} MB\t"
    "Max Memory Used: {used} MB\t\n"
)


@dataclass
class Answer:
    """What the endpoint answers."""

    body: Any = None
    status: int = 200
    code: str = ""
    error: str = ""
    billed: int = 2
    used: int = 100
    output: str = ""
    tail: bool = True
    raw: bytes | None = None
    cut: int | None = None


def called(event: dict[str, Any]) -> Answer:
    """Carry a call out as the function would, in this process."""
    if event["kind"] == "ping":
        return pong()
    callee = Runner("stub", lambda: b"")
    try:
        return Answer(json.loads(callee.answer(Request.of(event)).encode()))
    finally:
        callee.close()


def pong(**changes: Any) -> Answer:
    """Answer a ping."""
    import platform

    answer = {
        "version": 2,
        "kind": "pong",
        "python": platform.python_version(),
        "packages": packages(),
        "blas": {},
        "memory": 512,
    }
    return Answer(answer | changes)


@dataclass
class Endpoint:
    """Its address, what it answers, and what it was asked."""

    url: str = ""
    answer: Callable[[dict[str, Any]], Answer | None] = called
    configuration: Answer = field(default_factory=Answer)
    asked: list[dict[str, Any]] = field(default_factory=list)
    together: int = 0
    most_together: int = 0


@contextmanager
def endpoint(bucket: str, memory: int = 512, timeout: int = 30) -> Iterator[Endpoint]:
    """Serve on a free port of this machine."""
    made = Endpoint()
    made.configuration = Answer(
        {
            "FunctionName": "wrenla",
            "FunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:wrenla",
            "Runtime": "python3.11",
            "MemorySize": memory,
            "Timeout": timeout,
            "Architectures": ["x86_64"],
            "Environment": {"Variables": {"WRENLA_BUCKET": bucket, "WRENLA_PREFIX": "wrenla"}},
        }
    )
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_GET(self) -> None:
            self.send(made.configuration)

        def do_POST(self) -> None:
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                made.asked.append(event)
                made.together += 1
                made.most_together = max(made.most_together, made.together)
            try:
                answer = made.answer(event)
            finally:
                with lock:
                    made.together -= 1
            if answer is None:  # no answer at all
                self.close_connection = True
                return
            self.send(answer)

        def send(self, answer: Answer) -> None:
            body = json.dumps(answer.body).encode() if answer.raw is None else answer.raw
            self.send_response(answer.status)
            if answer.code:
                self.send_header("x-amzn-ErrorType", answer.code)
            if answer.error:
                self.send_header("X-Amz-Function-Error", answer.error)
            if answer.tail and answer.status == 200:
                log = REPORT.format(
                    output=answer.output, billed=answer.billed, size=memory, used=min(memory, answer.used)
                )
                self.send_header("X-Amz-Log-Result", base64.b64encode(log.encode()).decode())
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body if answer.cut is None else body[: answer.cut])
            self.wfile.flush()
            self.close_connection = self.close_connection or answer.cut is not None

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 4096

        def handle_error(self, *_: Any) -> None:
            """Whoever hangs up has a reason."""

    server = Server(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    serving = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    serving.start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
        serving.join()
