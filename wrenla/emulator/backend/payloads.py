"""Bodies that come to S3 and what is beside it: read when their senders are known, and not into memory."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import tempfile
from typing import IO, Any

from wrenla.emulator.api.responses import Refusal
from wrenla.emulator.backend.signatures import UNSIGNED

__all__ = ["LIMIT", "LIMIT_OF_S3", "claimed_hash", "length_of", "take_body"]

LIMIT_OF_S3 = 5 << 30
"""Bytes of an object, or of a part, that S3 takes in one request."""

LIMIT = 70_167_211
"""The same of other services: no request is longer than one that brings Lambda a package."""

_IN_MEMORY = 64 << 20
_PIECE = 1 << 20

_IN_PIECES = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


def claimed_hash(header: str | None) -> str | None:
    """Return the hash of a body that is sent to S3, as its sender has signed it, None if he has not.

    That a body is not signed is allowed as on AWS, where TLS guards it; here nothing leaves the machine.

    Parameters
    ----------
    header : str, optional
        ``x-amz-content-sha256``.

    Raises
    ------
    Refusal
        It is neither.
    """
    if header is None:
        why = "Missing required header for this request: x-amz-content-sha256"
        raise Refusal(400, "InvalidRequest", why)
    if header in (UNSIGNED, _IN_PIECES):
        return None
    if header.startswith("STREAMING-"):  # botocore never does
        raise Refusal(
            501, "NotImplemented", f"The emulator does not check pieces signed one by one: {header}"
        )
    if re.fullmatch("[0-9a-f]{64}", header) is None:
        why = f"x-amz-content-sha256 must be {UNSIGNED}, {_IN_PIECES}, or a valid sha256 value."
        raise Refusal(400, "InvalidArgument", why)
    return header


def length_of(environ: dict[str, Any], limit: int) -> int | None:
    """Return how long a body is to be, None if it comes in chunks until its end.

    Raises
    ------
    Refusal
        That is too long, or no length.
    """
    if environ.get("wsgi.input_terminated"):  # the server has taken the chunks apart
        return None
    text = environ.get("CONTENT_LENGTH") or "0"
    if re.fullmatch("[0-9]{1,18}", text) is None:
        raise Refusal(400, "InvalidArgument", f"Content-Length is no length: {text[:40]}")
    _check_length(int(text), limit)
    return int(text)


def _check_length(length: int, limit: int) -> None:
    if length > limit:
        why = f"Your proposed upload exceeds the maximum allowed size of {limit} bytes"
        raise Refusal(400 if limit == LIMIT_OF_S3 else 413, "EntityTooLarge", why)


def take_body(environ: dict[str, Any], limit: int, wanted: str | None = None) -> IO[bytes]:
    """Read a body, and leave it in its place for whoever is asked next; to be closed in the end.

    Parameters
    ----------
    environ : dict
        Of WSGI.
    limit : int
        Bytes.
    wanted : str, optional
        Its hash.

    Raises
    ------
    Refusal
        It is too long, or another one.
    """
    length, stream = length_of(environ, limit), environ["wsgi.input"]
    with contextlib.ExitStack() as undo:
        body: IO[bytes]
        if length is not None and length <= _IN_MEMORY:  # without a copy: that takes longer than to hash it
            data = stream.read(length)
            body, size, digest = io.BytesIO(data), len(data), hashlib.sha256(data)
        else:
            body = undo.enter_context(tempfile.TemporaryFile(prefix="wrenla-body-"))
            size, digest = _copy(stream, body, length, limit)
        if length is not None and size < length:
            raise Refusal(400, "IncompleteBody", f"{length} bytes were announced, and {size} have come.")
        if wanted is not None and digest.hexdigest() != wanted:
            why = "The provided 'x-amz-content-sha256' header does not match what was computed."
            raise Refusal(400, "XAmzContentSHA256Mismatch", why)
        undo.pop_all()
    environ["wsgi.input"] = body
    if length is None:
        environ["CONTENT_LENGTH"] = str(size)
        environ.pop("HTTP_TRANSFER_ENCODING", None)
    return body


def _copy(stream: IO[bytes], file: IO[bytes], length: int | None, limit: int) -> tuple[int, Any]:
    """Write a body into a file, from its begin; return its size, and its hash."""
    size, digest = 0, hashlib.sha256()
    while length is None or size < length:
        piece = stream.read(_PIECE if length is None else min(_PIECE, length - size))
        if not piece:
            break
        size += len(piece)
        _check_length(size, limit)
        digest.update(piece)
        file.write(piece)
    file.seek(0)
    return size, digest
