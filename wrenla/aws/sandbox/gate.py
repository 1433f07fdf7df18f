"""What stands before moto: what is not signed by a key that there is reaches no service."""

from __future__ import annotations

import io
import json
import re
import uuid
from collections.abc import Callable, Iterable
from typing import Any
from xml.sax.saxutils import escape

from wrenla.aws.sandbox.answers import Refusal
from wrenla.aws.sandbox.http import Request
from wrenla.aws.sandbox.signatures import unfolded, verify

__all__ = ["Gate"]

_CODES = {
    "MissingAuthenticationTokenException": ("AccessDenied", "MissingAuthenticationToken"),
    "IncompleteSignatureException": ("AuthorizationHeaderMalformed", "IncompleteSignature"),
    "UnrecognizedClientException": ("InvalidAccessKeyId", "InvalidClientTokenId"),
    "InvalidSignatureException": ("SignatureDoesNotMatch", "SignatureDoesNotMatch"),
}
"""What S3, and what IAM and STS call an error of Lambda's."""


class Gate:
    """A WSGI application before another.

    Parameters
    ----------
    behind : callable
        A WSGI application.
    secret_of : callable
        See `signatures.verify`.
    """

    def __init__(
        self, behind: Callable[..., Iterable[bytes]], secret_of: Callable[[str, str | None], str | None]
    ) -> None:
        self._behind = behind
        self._secret_of = secret_of

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        """Answer a request, or hand it on."""
        request = _request(environ)
        try:
            verify(request, self._secret_of)
        except Refusal as refusal:
            kind, body = _error(environ, refusal)
            headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
            start_response(f"{refusal.status} Forbidden", headers)
            return [] if request.method == "HEAD" else [body]
        for name in ("authorization", "x-amz-security-token"):  # of a link: moto looks for them here only
            if name in request.headers:
                environ[_key(name)] = request.headers[name]
        return self._behind(environ, start_response)


def _request(environ: dict[str, Any]) -> Request:
    """Return a request as it was signed: without other headers, and for S3 without its body."""
    request = Request(environ["REQUEST_METHOD"], environ["RAW_URI"], {}, b"")
    names = ["authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"]
    request.headers.update({name: environ[_key(name)] for name in names if _key(name) in environ})
    request = unfolded(request)
    authorization = request.headers.get("authorization", "")
    signed = re.search("SignedHeaders=([^,]+)", authorization)
    for name in signed[1].split(";") if signed else ():
        request.headers.setdefault(name, environ.get(_key(name), ""))
    if "/s3/aws4_request" in authorization:
        return request
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(length) if length else b""
    environ["wsgi.input"] = io.BytesIO(body)
    return Request(request.method, request.target, request.headers, body)


def _key(name: str) -> str:
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def _error(environ: dict[str, Any], refusal: Refusal) -> tuple[str, bytes]:
    """Return type and body of an error, as the service writes them."""
    for_s3, for_iam = _CODES[refusal.kind]
    told = f"<Message>{escape(refusal.message)}</Message>"
    number = f"<RequestId>{uuid.uuid4()}</RequestId>"
    kind = environ.get("CONTENT_TYPE", "")
    if "x-www-form-urlencoded" in kind:
        error = f"<Type>Sender</Type><Code>{for_iam}</Code>{told}"
        return "text/xml", f"<ErrorResponse><Error>{error}</Error>{number}</ErrorResponse>".encode()
    if "json" in kind:
        content = {"__type": refusal.kind, "message": refusal.message}
        return kind, json.dumps(content).encode()
    return "application/xml", f"<Error><Code>{for_s3}</Code>{told}{number}</Error>".encode()
