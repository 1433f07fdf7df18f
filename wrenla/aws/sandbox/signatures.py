"""Signatures of requests (AWS Signature Version 4), recomputed and compared.

Of what is sent to S3 the sender's word for the hash is taken, which stands in a header that is signed: a body
may be large, and come in pieces.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from calendar import timegm
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from wrenla.aws.sandbox.answers import Refusal
from wrenla.aws.sandbox.http import Request

__all__ = ["sign", "unfolded", "verify"]

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/,]+)/(\d{8})/([^/,]+)/([^/,]+)/aws4_request, ?"
    r"SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})"
)

_TOLERANCE = 300
_TOLERANCE_OF_S3 = 900
"""Seconds by which clocks may differ."""


def verify(request: Request, secret_of: Callable[[str, str | None], str | None]) -> str:
    """Check who has sent a request.

    Parameters
    ----------
    request : Request
    secret_of : callable
        Returns the secret of a key and its session token, None if there is no such key.

    Returns
    -------
    str
        The key.

    Raises
    ------
    Refusal
        With status 403, in AWS's words.
    """
    header = request.headers.get("authorization", "")
    if not header:
        raise Refusal(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
    found = _AUTHORIZATION.fullmatch(header)
    stamp = request.headers.get("x-amz-date", "")
    if found is None or re.fullmatch(r"\d{8}T\d{6}Z", stamp) is None:
        raise Refusal(
            403, "IncompleteSignatureException", f"Authorization header requires other parameters: {header}"
        )
    key, day, region, service, signed, signature = found.groups()
    tolerance = _TOLERANCE_OF_S3 if service == "s3" else _TOLERANCE
    lasts = re.search(r"(?:^|&)X-Amz-Expires=(\d{1,6})(?:&|$)", request.query)  # of a link
    _check_time(stamp, tolerance, int(lasts[1]) if lasts else tolerance)
    secret = secret_of(key, request.headers.get("x-amz-security-token"))
    if secret is None:
        raise Refusal(
            403, "UnrecognizedClientException", "The security token included in the request is invalid."
        )
    expected = _signature(request, signed, stamp, secret, (day, region, service))
    if not hmac.compare_digest(expected, signature) or not stamp.startswith(day):
        raise Refusal(
            403,
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check your AWS "
            "Secret Access Key and signing method. Consult the service documentation for details.",
        )
    return key


def unfolded(request: Request) -> Request:
    """Return a request that is signed in its query, as a link is, as if it were signed in its header."""
    fields = dict(parse_qsl(request.query, keep_blank_values=True))
    if "X-Amz-Signature" not in fields:
        return request
    names = "Credential", "SignedHeaders", "Signature"
    parts = ", ".join(f"{name}={fields.get(f'X-Amz-{name}', '')}" for name in names)
    headers = request.headers | {
        "authorization": f"{fields.get('X-Amz-Algorithm', '')} {parts}",
        "x-amz-date": fields.get("X-Amz-Date", ""),
        "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
    }
    if "X-Amz-Security-Token" in fields:
        headers["x-amz-security-token"] = fields["X-Amz-Security-Token"]
    query = "&".join(part for part in request.query.split("&") if not part.startswith("X-Amz-Signature="))
    return replace(request, target=f"{request.path}?{query}", headers=headers)


def sign(request: Request, key: str, secret: str, region: str) -> str:
    """Return the Authorization header of a request to Lambda whose headers are Host and X-Amz-Date.

    It costs a twentieth of what botocore takes for it, so that what is measured is the sandbox.
    """
    stamp = request.headers["x-amz-date"]
    scope = stamp[:8], region, "lambda"
    signature = _signature(request, "host;x-amz-date", stamp, secret, scope)
    return (
        f"AWS4-HMAC-SHA256 Credential={key}/{'/'.join(scope)}/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={signature}"
    )


def _signature(request: Request, signed: str, stamp: str, secret: str, scope: tuple[str, str, str]) -> str:
    text = (
        f"AWS4-HMAC-SHA256\n{stamp}\n{'/'.join(scope)}/aws4_request\n{_canonical(request, signed, scope[2])}"
    )
    return hmac.new(_signing_key(secret, *scope), text.encode(), hashlib.sha256).hexdigest()


def _check_time(stamp: str, tolerance: int, lasts: int) -> None:
    now = time.time()
    try:
        sent = timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ"))
    except ValueError:  # of the 31st of February
        raise Refusal(403, "IncompleteSignatureException", f"Date is no time: {stamp}") from None
    first, last = _stamp(now - lasts), _stamp(now + tolerance)
    if sent < now - lasts:
        why = f"expired: {stamp} is now earlier than {first} ({_stamp(now)} - {lasts / 60:g} min.)"
    elif sent > now + tolerance:
        why = f"not yet current: {stamp} is still later than {last} ({_stamp(now)} + {tolerance / 60:g} min.)"
    else:
        return
    raise Refusal(403, "InvalidSignatureException", f"Signature {why}")


def _stamp(seconds: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))


def _canonical(request: Request, signed: str, service: str) -> str:
    if service == "s3":  # whatever of a path the sender has quoted
        path = quote(unquote_to_bytes(request.path), safe="/~")
        digest = request.headers.get("x-amz-content-sha256", "")
    else:  # the path is quoted once more
        path, digest = quote(request.path, safe="/~"), ""
    query = sorted(part.partition("=")[::2] for part in request.query.split("&") if part)
    lines = [request.method, path, "&".join(f"{name}={value}" for name, value in query)]
    for name in signed.split(";"):
        lines.append(f"{name}:{' '.join(request.headers.get(name, '').split())}")  # noqa: PERF401
    lines += ["", signed, digest or hashlib.sha256(request.body).hexdigest()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@lru_cache(maxsize=256)
def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
