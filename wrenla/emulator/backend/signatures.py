"""Signatures of requests (AWS Signature Version 4), as strict as AWS is.

A request claims who has signed it: in its header, or, if it is a link, in its query. Almost all of that is
checked before its body is read. Of what is sent to S3 the hash of the body stands in a header that is signed,
so that even the signature is; the body is compared when it has come (see `payloads`).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from calendar import timegm
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from wrenla.emulator.api.http import Request
from wrenla.emulator.api.responses import Refusal

__all__ = [
    *("UNSIGNED", "Claim", "Scope", "SecretOf"),
    *("check_claim", "check_signature", "claim_of", "sign", "verify"),
]

UNSIGNED = "UNSIGNED-PAYLOAD"
"""What stands in the place of the hash of a body that is not signed, which S3 alone allows."""

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/,]+)/(\d{8})/([^/,]+)/([^/,]+)/aws4_request, ?"
    r"SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})"
)

_TOKEN = "x-amz-security-token"

_TOLERANCE = 300
_TOLERANCE_OF_S3 = 900
"""Seconds by which clocks may differ."""

_LONGEST = 604_800
"""Seconds for which a link may be good."""

SecretOf = Callable[[str, str | None], str | None]
"""Returns the secret of a key and its session token, None if there is no such key."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Claimed signer of a request, and the signed parts.

    Parameters
    ----------
    key, day, region, service : str
        The credential, and its scope.
    signed : tuple of str
        Names of headers.
    signature, stamp : str
    token : str, optional
        Of a session.
    lasts : int, optional
        Seconds for which a link is good; None if it is no link.
    """

    key: str
    day: str
    region: str
    service: str
    signed: tuple[str, ...]
    signature: str
    stamp: str
    token: str | None
    lasts: int | None

    @property
    def credential(self) -> str:
        """Key and scope."""
        return f"{self.key}/{self.day}/{self.region}/{self.service}/aws4_request"

    @property
    def authorization(self) -> str:
        """The header that says so."""
        names = f"SignedHeaders={';'.join(self.signed)}, Signature={self.signature}"
        return f"AWS4-HMAC-SHA256 Credential={self.credential}, {names}"


@dataclass(frozen=True, slots=True)
class Scope:
    """Scope of valid signatures: region and services.

    Parameters
    ----------
    region : str
    services : frozenset of str
    """

    region: str
    services: frozenset[str]


_GLOBAL = {"iam", "sts"}
"""Services whose signatures may be made for us-east-1 wherever one is."""


def verify(request: Request, secret_of: SecretOf, scope: Scope | None = None) -> str:
    """Check who has sent a request that is there whole.

    Parameters
    ----------
    request : Request
    secret_of : callable
        See `SecretOf`.
    scope : Scope, optional
        None for any.

    Returns
    -------
    str
        The key.

    Raises
    ------
    Refusal
        In AWS's words.
    """
    claim = claim_of(request)
    check_signature(request, claim, check_claim(request, claim, secret_of, scope))
    claimed = request.headers.get("x-amz-content-sha256")
    if claimed not in (None, UNSIGNED, hashlib.sha256(request.body).hexdigest()):
        raise _mismatch("The body is not the one that was signed.")
    return claim.key


def claim_of(request: Request, links: bool = False) -> Claim:
    """Return the claimed sender of a request.

    Parameters
    ----------
    request : Request
    links : bool
        Whether it may say so in its query.

    Raises
    ------
    Refusal
        Nobody does, or not as one should.
    """
    header = request.headers.get("authorization", "")
    fields = dict(parse_qsl(request.query, keep_blank_values=True)) if links else {}
    if "X-Amz-Signature" not in fields:
        if not header:
            raise Refusal(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
        stamp, token, lasts = request.headers.get("x-amz-date", ""), request.headers.get(_TOKEN), None
    elif header:
        raise Refusal(400, "InvalidArgument", "Only one auth mechanism allowed: the header or the query")
    else:
        names = "Credential", "SignedHeaders", "Signature"
        parts = ", ".join(f"{name}={fields.get(f'X-Amz-{name}', '')}" for name in names)
        header = f"{fields.get('X-Amz-Algorithm', '')} {parts}"
        stamp, token = fields.get("X-Amz-Date", ""), fields.get("X-Amz-Security-Token")
        lasts = _lasts(fields.get("X-Amz-Expires", ""))
    found = _AUTHORIZATION.fullmatch(header)
    if found is None or re.fullmatch(r"\d{8}T\d{6}Z", stamp) is None:
        raise _incomplete(f"Authorization header requires other parameters: {header}")
    key, day, region, service, signed, signature = found.groups()
    return Claim(key, day, region, service, tuple(signed.split(";")), signature, stamp, token, lasts)


def _incomplete(why: str) -> Refusal:
    return Refusal(403, "IncompleteSignatureException", why)


def _lasts(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,6}", text) is None or not 1 <= int(text) <= _LONGEST:
        why = f"X-Amz-Expires must be a number from 1 to {_LONGEST} seconds"
        raise Refusal(400, "AuthorizationQueryParametersError", why)
    return int(text)


def check_claim(request: Request, claim: Claim, secret_of: SecretOf, scope: Scope | None = None) -> str:
    """Check all but the signature, for which no body is needed; return the secret with which it was made.

    Raises
    ------
    Refusal
        In AWS's words.
    """
    if scope is not None:
        _check_scope(claim, scope)
    _check_headers(request, claim)
    _check_time(claim)
    if not claim.stamp.startswith(claim.day):
        raise _mismatch(f"Date in Credential scope does not match {claim.stamp[:8]} from {claim.stamp}.")
    secret = secret_of(claim.key, claim.token)
    if secret is None:
        raise Refusal(
            403, "UnrecognizedClientException", "The security token included in the request is invalid."
        )
    return secret


def _mismatch(why: str) -> Refusal:
    return Refusal(403, "InvalidSignatureException", why)


def _check_scope(claim: Claim, scope: Scope) -> None:
    if claim.service not in scope.services:
        services = ", ".join(sorted(scope.services))
        raise _mismatch(f"Credential should be scoped to correct service: '{services}'.")
    regions = {scope.region, *(["us-east-1"] if claim.service in _GLOBAL else [])}
    if claim.region in regions:
        return
    if claim.service == "s3":
        why = f"the region '{claim.region}' is wrong; expecting '{scope.region}'"
        raise Refusal(400, "AuthorizationHeaderMalformed", f"The authorization header is malformed; {why}")
    raise _mismatch(f"Credential should be scoped to a valid region, not '{claim.region}'.")


def _check_headers(request: Request, claim: Claim) -> None:
    """Check that all headers are signed that AWS looks at."""
    wanted = {name for name in request.headers if name.startswith("x-amz-")} | {"host"}
    if missing := sorted(wanted.difference(claim.signed)):
        if claim.service == "s3":
            why = f"There were headers present in the request which were not signed: {', '.join(missing)}"
            raise Refusal(403, "AccessDenied", why)
        names = ", ".join(f"'{name}'" for name in missing)
        raise _mismatch(f"{names} must be a 'SignedHeader' in the AWS Authorization.")


def check_signature(request: Request, claim: Claim, secret: str) -> None:
    """Check the signature; the request has its body, unless it is for S3.

    Raises
    ------
    Refusal
        With status 403, in AWS's words.
    """
    if not hmac.compare_digest(_signature(request, claim, secret), claim.signature):
        raise _mismatch(
            "The request signature we calculated does not match the signature you provided. Check your AWS "
            "Secret Access Key and signing method. Consult the service documentation for details."
        )


def sign(request: Request, key: str, secret: str, region: str) -> str:
    """Return the Authorization header of a request to Lambda whose headers are Host and X-Amz-Date.

    It costs a twentieth of what botocore takes for it, so that what is measured is the emulator.
    """
    stamp = request.headers["x-amz-date"]
    claim = Claim(key, stamp[:8], region, "lambda", ("host", "x-amz-date"), "", stamp, None, None)
    return f"{claim.authorization}{_signature(request, claim, secret)}"


def _signature(request: Request, claim: Claim, secret: str) -> str:
    scope = claim.day, claim.region, claim.service
    text = f"AWS4-HMAC-SHA256\n{claim.stamp}\n{'/'.join(scope)}/aws4_request\n{_canonical(request, claim)}"
    return hmac.new(_signing_key(secret, *scope), text.encode(), hashlib.sha256).hexdigest()


def _check_time(claim: Claim) -> None:
    now = time.time()
    tolerance = _TOLERANCE_OF_S3 if claim.service == "s3" else _TOLERANCE
    lasts = tolerance if claim.lasts is None else claim.lasts
    try:
        sent = timegm(time.strptime(claim.stamp, "%Y%m%dT%H%M%SZ"))
    except ValueError:  # of the 31st of February
        raise _incomplete(f"Date is no time: {claim.stamp}") from None
    first, last = _stamp(now - lasts), _stamp(now + tolerance)
    if claim.service == "s3" and not now - lasts <= sent <= now + tolerance:
        if claim.lasts is not None:
            why = "Request has expired" if sent < now else "Request is not yet valid"
            raise Refusal(403, "AccessDenied", why)
        why = "The difference between the request time and the current time is too large."
        raise Refusal(403, "RequestTimeTooSkewed", why)
    if sent < now - lasts:
        why = f"expired: {claim.stamp} is now earlier than {first} ({_stamp(now)} - {lasts / 60:g} min.)"
    elif sent > now + tolerance:
        late = f"{last} ({_stamp(now)} + {tolerance / 60:g} min.)"
        why = f"not yet current: {claim.stamp} is still later than {late}"
    else:
        return
    raise _mismatch(f"Signature {why}")


def _stamp(seconds: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))


def _canonical(request: Request, claim: Claim) -> str:
    if claim.service == "s3":  # whatever of a path the sender has quoted
        path = quote(unquote_to_bytes(request.path), safe="/~")
        digest = UNSIGNED if claim.lasts is not None else request.headers.get("x-amz-content-sha256", "")
    else:  # the path is quoted once more
        path, digest = quote(request.path, safe="/~"), hashlib.sha256(request.body).hexdigest()
    parts = [part for part in request.query.split("&") if part]
    if claim.lasts is not None:
        parts = [part for part in parts if not part.startswith("X-Amz-Signature=")]
    query = sorted(part.partition("=")[::2] for part in parts)
    lines = [request.method, path, "&".join(f"{name}={value}" for name, value in query)]
    for name in claim.signed:
        lines.append(f"{name}:{' '.join(request.headers.get(name, '').split())}")  # noqa: PERF401
    lines += ["", ";".join(claim.signed), digest]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@lru_cache(maxsize=256)
def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
