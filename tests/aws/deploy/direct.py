"""Requests without a network: to a server of this process they are handed over as they are.

Half of the time of a request to moto is HTTP: a connection, a thread and two parsers.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

import botocore.httpsession
import pytest
import urllib3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

__all__ = ["handed_over"]


@contextmanager
def handed_over(url: str, app: Any) -> Iterator[None]:
    """Let clients of AWS in this process call the application that answers at an address."""
    session: Any = botocore.httpsession.URLLib3Session
    sent = session.send

    def send(self: Any, request: AWSPreparedRequest) -> AWSResponse:
        return _answer(app, request) if request.url.startswith(url) else sent(self, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "send", send)
        yield


def _answer(app: Any, request: Any) -> AWSResponse:
    told: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        told[:] = status, headers
        return lambda data: None

    body = b"".join(app(_environ(request), start_response))
    (status, headers) = told
    raw = urllib3.HTTPResponse(
        io.BytesIO(b"" if request.method == "HEAD" else body),
        headers,
        int(status.split()[0]),
        preload_content=False,
        decode_content=False,
        request_method=request.method,
    )
    answer = AWSResponse(request.url, raw.status, raw.headers, raw)
    if not request.stream_output:
        _ = answer.content
    return answer


def _environ(request: Any) -> Mapping[str, Any]:
    """Return what a server that follows WSGI makes of a request."""
    url, body = urlsplit(request.url), request.body or b""
    text = body if isinstance(body, str | bytes | bytearray) else body.read()
    data = text.encode() if isinstance(text, str) else text
    target = f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"
    environ: dict[str, Any] = {
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(data),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(url.path or "/").encode().decode("latin1"),
        "QUERY_STRING": url.query,
        "REQUEST_URI": target,
        "RAW_URI": target,
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_NAME": str(url.hostname),
        "SERVER_PORT": str(url.port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": url.netloc,
    }
    for name, value in request.headers.items():
        key = name.upper().replace("-", "_")
        told = value.decode("latin1") if isinstance(value, bytes) else str(value)
        environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = told
    environ["CONTENT_LENGTH"] = str(len(data))
    return environ
