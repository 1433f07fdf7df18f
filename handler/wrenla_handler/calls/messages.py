"""Request and response of a call, as JSON, the same for every executor."""

from __future__ import annotations

import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from wrenla_handler.errors import IntegrityError
from wrenla_handler.serialize.blobs import Blob, Packed

__all__ = [
    "VERSION",
    "Ending",
    "Request",
    "Response",
    "Streams",
    "document",
    "packed_of",
    "plain_of",
    "sealed",
    "streams_as_json",
    "streams_of",
    "unsealed",
]

VERSION = 1

Ending: TypeAlias = Literal[
    "value",
    "exception",
    "timed out",
    "told to end",
    "refused",
    "unpicklable",
    "unsaved",
    "unknown function",
    "not begun",
]
"""How an attempt ended, as its worker sees it.

``timed out``: the worker has ended it at its limit;
``told to end``: somebody has told the worker to end, and so the function, which has not returned;
``refused``: the function has not begun (a blob with a wrong hash, a module that is missing);
``unpicklable``: it has ended, but what it returned cannot travel;
``unsaved``: it has ended, but its result could not be stored;
``unknown function``: the worker has not kept the function that the request only names, so send it again;
``not begun``: the worker gives it back, since a call before it takes long.
"""


Streams: TypeAlias = tuple[tuple[str, int], ...]
"""Which stream some bytes of output went to, and so on: see `Printed`."""


@dataclass(slots=True)
class Request:
    """One attempt at one call.

    Attributes
    ----------
    id : str
    attempt : int
        Counted from 1.
    function : Packed
    arguments : Packed
        A tuple of positional and a dict of keyword arguments. Without parts: `values` are the arguments.
    values : tuple of Packed
        Results of other calls: the function gets one argument, the list of them.
    modules : Packed
        Sources of the modules that the function needs, or nothing.
    store : str
        URL of the store for what does not fit into messages.
    record : str
        Key under which the answer is to be stored as well, create-only; "" for not at all.
    secret : str
        What the stored answer is signed with: who merely writes to the store does not know it.
    unrecorded : float
        Seconds: the answer is not stored if the function has run for less.
    limit : float
        Seconds that the function may take, where the worker sees to it; 0: as long as it likes.
    """

    id: str
    attempt: int
    function: Packed
    arguments: Packed = ()
    values: tuple[Packed, ...] = ()
    modules: Packed = ()
    store: str = ""
    record: str = ""
    secret: str = ""
    unrecorded: float = 0.0
    limit: float = 0.0

    def encode(self) -> bytes:
        """Return the request as JSON."""
        values = ",".join(map(plain_of, self.values))
        return (
            f'{{"version":{VERSION},"kind":"call","id":{_text(self.id)},"attempt":{self.attempt},'
            f'"function":{plain_of(self.function)},"arguments":{plain_of(self.arguments)},"values":[{values}],'
            f'"modules":{plain_of(self.modules)},"store":{_text(self.store)},"record":{_text(self.record)},'
            f'"secret":{_text(self.secret)},"unrecorded":{self.unrecorded!r},"limit":{self.limit!r}}}'
        ).encode()

    @classmethod
    def decode(cls, text: bytes) -> Request:
        """Read a request.

        Raises
        ------
        ValueError
            If this is no request of our version.
        """
        return cls.of(json.loads(text.decode()))

    @classmethod
    def decode_all(cls, text: bytes) -> list[Request]:
        """Read one request, or a JSON list of them."""
        found = json.loads(text.decode())
        return [cls.of(each) for each in (found if isinstance(found, list) else [found])]

    @classmethod
    def of(cls, plain: Any) -> Request:
        """Return a request from its JSON, parsed. Raises ValueError if it is none of our version."""
        found = document(plain, "call")
        return cls(
            found["id"],
            found["attempt"],
            packed_of(found["function"]),
            packed_of(found["arguments"]),
            tuple(packed_of(value) for value in found["values"]),
            packed_of(found["modules"]),
            found["store"],
            found["record"],
            found["secret"],
            found["unrecorded"],
            found["limit"],
        )


@dataclass(slots=True)
class Response:
    """What became of one attempt.

    Attributes
    ----------
    id : str
    attempt : int
    ending : str
        An `Ending`.
    value : Packed
        The result, or a pickled `Failure`.
    logs : Packed
        What was printed and logged, one blob of UTF-8 text, or nothing.
    seconds : float
        In the function.
    peak : int
        Bytes of memory that the worker has used at most.
    worker : str
        Which worker it was.
    gets, hits : int
        Objects read from the store, and values of broadcasts that were at hand.
    streams : tuple of (str, int)
        Which stream the bytes of `logs` went to.
    """

    id: str
    attempt: int
    ending: Ending
    value: Packed = ()
    logs: Packed = ()
    seconds: float = 0.0
    peak: int = 0
    worker: str = ""
    gets: int = 0
    hits: int = 0
    streams: Streams = ()

    def encode(self) -> bytes:
        """Return the response as JSON."""
        return (
            f'{{"version":{VERSION},"kind":"answer","id":{_text(self.id)},"attempt":{self.attempt},'
            f'"ending":{_text(self.ending)},"value":{plain_of(self.value)},"logs":{plain_of(self.logs)},'
            f'"seconds":{self.seconds!r},"peak":{self.peak},"worker":{_text(self.worker)},'
            f'"gets":{self.gets},"hits":{self.hits},"streams":{streams_as_json(self.streams)}}}'
        ).encode()

    @classmethod
    def decode(cls, text: bytes) -> Response:
        """Read a response. Raises ValueError if this is none of our version."""
        found = document(json.loads(text.decode()), "answer")
        return cls(
            found["id"],
            found["attempt"],
            found["ending"],
            packed_of(found["value"]),
            packed_of(found["logs"]),
            found["seconds"],
            found["peak"],
            found["worker"],
            found["gets"],
            found["hits"],
            streams_of(found["streams"]),
        )


def sealed(text: bytes, secret: str) -> bytes:
    """Return a message behind a signature of it (HMAC-SHA256), for a place that others may write to."""
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest().encode() + b"\n" + text


def unsealed(data: bytes, secret: str) -> bytes:
    """Return the message of `sealed`. Raises IntegrityError if it was not signed with the secret."""
    signature, _, text = data.partition(b"\n")
    expected = hmac.new(secret.encode(), text, hashlib.sha256).hexdigest().encode()
    if not hmac.compare_digest(signature, expected):
        raise IntegrityError("the stored answer was not written by our worker; it was not loaded")
    return text


# Put together by hand: for a call that does nothing, `json.dumps` of the whole would be a tenth of its time.
_text = json.encoder.encode_basestring_ascii


def plain_of(packed: Packed) -> str:
    """Return a packed value as JSON."""
    return "[" + ",".join(map(_blob, packed)) + "]"


def streams_as_json(streams: Streams) -> str:
    """Return streams as JSON."""
    return "[" + ",".join([f'["{name}",{nbytes}]' for name, nbytes in streams]) + "]"


def streams_of(plain: list[Any]) -> Streams:
    """Return streams from their JSON, parsed."""
    return tuple([(name, nbytes) for name, nbytes in plain])


def _blob(blob: Blob) -> str:
    data = binascii.b2a_base64(blob.data, newline=False).decode() if blob.data else ""
    return f'["{blob.sha256}",{blob.nbytes},"{data}",{_text(blob.key)}]'


def packed_of(plain: list[Any]) -> Packed:
    """Return a packed value from its JSON, parsed."""
    return tuple(
        [Blob(sha256, nbytes, binascii.a2b_base64(data), key) for sha256, nbytes, data, key in plain]
    )


def document(found: Any, kind: str) -> dict[str, Any]:
    """Return a parsed message if it is of some kind and of our version; otherwise raise ValueError."""
    if not isinstance(found, dict) or found.get("kind") != kind or found.get("version") != VERSION:
        raise ValueError(f"not a wrenla {kind!r} of version {VERSION}: {str(found)[:80]}")
    return found
