"""Authentication in front of moto: reject requests that no known key has signed."""

from __future__ import annotations

import contextlib
import hmac
import json
import secrets
import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from http import HTTPStatus
from typing import IO, Any
from xml.sax.saxutils import escape

from wrenla.emulator.api.http import Request
from wrenla.emulator.api.responses import Refusal
from wrenla.emulator.backend.payloads import LIMIT, LIMIT_OF_S3, claimed_hash, take_body
from wrenla.emulator.backend.signatures import Claim, Scope, SecretOf, check_claim, check_signature, claim_of

__all__ = ["PASS", "AuthMiddleware"]

PASS = "wrenla-emulator-pass"
"""Name of the header with `AuthMiddleware.pass_word`."""

_SERVICES = frozenset({"s3", "iam", "sts", "logs", "lambda"})

_OF_MOTO = ("/moto-api", "/favicon.ico", "/latest/meta-data/", "/latest/api/")
"""Where moto answers itself, whatever service is asked."""

_WITHOUT_PREFIX = ("content-type", "content-length")

_CODES = {
    "MissingAuthenticationTokenException": ("AccessDenied", "MissingAuthenticationToken"),
    "IncompleteSignatureException": ("AuthorizationHeaderMalformed", "IncompleteSignature"),
    "UnrecognizedClientException": ("InvalidAccessKeyId", "InvalidClientTokenId"),
    "InvalidSignatureException": ("SignatureDoesNotMatch", "SignatureDoesNotMatch"),
}
"""What S3, and what IAM and STS call an error of Lambda's."""


class AuthMiddleware:
    """A WSGI application before another.

    Parameters
    ----------
    behind : callable
        A WSGI application.
    secret_of : callable
        See `signatures.SecretOf`.
    region : str

    Attributes
    ----------
    pass_word : str
        Stands in a header of requests to Lambda that were checked by the control plane: they may pass. All
        others have another address, for moto would take whatever comes.
    """

    def __init__(self, behind: Callable[..., Iterable[bytes]], secret_of: SecretOf, region: str) -> None:
        self._behind = behind
        self._secret_of = secret_of
        self._scope = Scope(region, _SERVICES)
        self.pass_word = secrets.token_hex(16)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        """Answer a request, or hand it on."""
        try:
            body = self._admit(environ)
        except Refusal as refusal:
            kind, text = _error(environ, refusal)
            headers = [("Content-Type", kind), ("Content-Length", str(len(text)))]
            start_response(f"{refusal.status} {HTTPStatus(refusal.status).phrase}", headers)
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [text]
        with body, contextlib.ExitStack() as answered:
            parts = self._behind(environ, start_response)
            answered.callback(getattr(parts, "close", lambda: None))
            return list(parts)

    def _admit(self, environ: dict[str, Any]) -> IO[bytes]:
        """Check a request, and return its body, which it has been given back.

        Raises
        ------
        Refusal
        """
        request, claim = _head(environ)
        secret = check_claim(request, claim, self._secret_of, self._scope)
        if environ["PATH_INFO"].startswith(_OF_MOTO) or not self._may_pass(claim, environ):
            raise Refusal(403, "AccessDenied", "Nobody may ask this here.")
        environ[_key("authorization")] = claim.authorization  # of a link: moto looks for them here only
        if claim.token is not None:
            environ[_key("x-amz-security-token")] = claim.token
        if claim.service == "s3":
            header = request.headers.get("x-amz-content-sha256")
            wanted = claimed_hash(header) if claim.lasts is None else None
            check_signature(request, claim, secret)
            return take_body(environ, LIMIT_OF_S3, wanted)
        body = take_body(environ, LIMIT)
        try:
            check_signature(replace(request, body=body.read()), claim, secret)
            body.seek(0)
        except BaseException:
            body.close()
            raise
        return body

    def _may_pass(self, claim: Claim, environ: dict[str, Any]) -> bool:
        word = environ.get(_key(PASS), "")
        return claim.service != "lambda" or hmac.compare_digest(word.encode(), self.pass_word.encode())


def _head(environ: dict[str, Any]) -> tuple[Request, Claim]:
    """Return a request without its body, and the claimed signer."""
    headers = {key[5:].replace("_", "-").lower(): environ[key] for key in environ if key.startswith("HTTP_")}
    headers |= {name: environ[_key(name)] for name in _WITHOUT_PREFIX if environ.get(_key(name))}
    request = Request(environ["REQUEST_METHOD"], environ["RAW_URI"], headers, b"")
    claim = claim_of(request, links=True)
    for name in claim.signed:  # keys of metadata may have underscores, which WSGI makes of hyphens, too
        if "_" in name and _key(name) in environ:
            headers.pop(name.replace("_", "-"), None)
            headers[name] = environ[_key(name)]
    return request, claim


def _key(name: str) -> str:
    key = name.upper().replace("-", "_")
    return key if name in _WITHOUT_PREFIX else f"HTTP_{key}"


def _error(environ: dict[str, Any], refusal: Refusal) -> tuple[str, bytes]:
    """Return type and body of an error, as the service writes them."""
    for_s3, for_iam = _CODES.get(refusal.kind, (refusal.kind, refusal.kind))
    told = f"<Message>{escape(refusal.message)}</Message>"
    number = f"<RequestId>{uuid.uuid4()}</RequestId>"
    kind = environ.get("CONTENT_TYPE", "")
    if "/s3/aws4_request" in environ.get("HTTP_AUTHORIZATION", ""):
        kind = ""  # that of an object
    if "x-www-form-urlencoded" in kind:
        error = f"<Type>Sender</Type><Code>{for_iam}</Code>{told}"
        return "text/xml", f"<ErrorResponse><Error>{error}</Error>{number}</ErrorResponse>".encode()
    if "json" in kind:
        content = {"__type": refusal.kind, "message": refusal.message}
        return kind, json.dumps(content).encode()
    return "application/xml", f"<Error><Code>{for_s3}</Code>{told}{number}</Error>".encode()
