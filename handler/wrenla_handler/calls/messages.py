"""Request and response of a call, as JSON, the same for every executor."""

from __future__ import annotations

import hashlib
import hmac
from typing import Annotated, Any, Literal, Self, TypeAlias

import msgspec

from wrenla_handler.errors import IntegrityError
from wrenla_handler.serialize.blobs import Packed

__all__ = ["VERSION", "Ending", "Message", "Request", "Response", "Streams", "sealed", "unsealed"]

VERSION = 2

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


class Message(msgspec.Struct, kw_only=True, tag_field="kind"):
    """Message between driver and workers: fields by their names, bytes in base 64.

    What is received has the types that are said here; more fields do not matter.
    """

    version: Annotated[int, msgspec.Meta(ge=VERSION, le=VERSION)] = VERSION

    def encode(self) -> bytes:
        """Return the message as JSON."""
        return _ENCODER.encode(self)

    @classmethod
    def decode(cls, text: bytes) -> Self:
        """Read a message of our own side. Raises ValueError if its version or a type is another."""
        try:
            return msgspec.json.decode(text, type=cls)
        except ValueError as error:
            raise cls._refusal(f"{error}: {text[:80]!r}") from None

    @classmethod
    def of(cls, plain: Any) -> Self:
        """Return a message that anybody may have written, from its JSON, parsed: no field may be missing."""
        try:
            found = msgspec.convert(plain, cls)
            if missing := {"kind", *cls.__struct_fields__} - plain.keys():
                raise ValueError(f"without {', '.join(sorted(missing))}")
        except ValueError as error:
            raise cls._refusal(str(error)) from None
        return found

    @classmethod
    def _refusal(cls, why: str) -> ValueError:
        return ValueError(f"not a wrenla {cls.__struct_config__.tag!r} of version {VERSION}: {why}")


_ENCODER = msgspec.json.Encoder()


class Request(Message, tag="call"):
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


class Response(Message, tag="answer"):
    """Outcome of one attempt.

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
