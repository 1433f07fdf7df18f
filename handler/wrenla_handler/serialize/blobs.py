"""Blobs: pickles and raw buffers named by their SHA-256, loaded only if the hash matches."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from wrenla_handler.errors import IntegrityError
from wrenla_handler.serialize.pickling import Pickler
from wrenla_handler.stores.base import Data

__all__ = ["INLINE", "Blob", "Packed", "bare", "checked", "digest", "dump", "load", "pack", "size"]

INLINE = 256 << 10
"""Bytes of one value that travel inside a message; what is beyond goes through the store."""

_OUT_OF_BAND = 64 << 10
"""Bytes from which an array's memory is no part of the pickle, so that it is never copied into one."""


class Blob(NamedTuple):
    """Some bytes: inside the message (`data`), in the store (`key`), or with the receiver already (neither).

    Attributes
    ----------
    sha256 : str
        Hash of the bytes, in hexadecimal.
    nbytes : int
    data : bytes
    key : str
        Key of an object in the store of the call.
    """

    sha256: str
    nbytes: int
    data: bytes
    key: str


Packed: TypeAlias = tuple[Blob, ...]
"""A value: its pickle (protocol 5), and the buffers that are no part of it."""


def dump(value: object, pickler: type[pickle.Pickler] = Pickler, **more: Any) -> list[Data]:
    """Return the pickle of a value and the buffers that are no part of it.

    Parameters
    ----------
    value : object
    pickler : type
        A kind of cloudpickle's pickler; `more` are its own arguments.

    Examples
    --------
    >>> import numpy as np
    >>> [len(part) for part in dump(np.zeros(1 << 20, np.uint8))][1:]
    [1048576]
    """
    buffers: list[Data] = []

    def in_band(buffer: pickle.PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:  # not contiguous
            return True
        if raw.nbytes < _OUT_OF_BAND:
            return True
        buffers.append(raw)
        return False

    file = io.BytesIO()
    pickler(file, protocol=5, buffer_callback=in_band, **more).dump(value)
    # the bytes themselves, not a copy; `getbuffer` crashes Python 3.12 when the garbage collector finds it
    return [file.getvalue(), *buffers]


def pack(parts: Sequence[Data], put: Callable[[int, Data], str], *, inline: int = INLINE) -> Packed:
    """Name some bytes by their hashes, and bring what is too large for a message into the store.

    Parameters
    ----------
    parts : sequence of bytes-like
    put : callable
        Stores part number `n` and returns its key.
    inline : int
        Bytes of all parts together that may travel inside the message.
    """
    packed = []
    for number, part in enumerate(parts):
        nbytes = part.nbytes if isinstance(part, memoryview) else len(part)
        sha256 = hashlib.sha256(part).hexdigest()
        if nbytes <= inline:
            inline -= nbytes
            packed.append(Blob(sha256, nbytes, bytes(part), ""))
        else:
            packed.append(Blob(sha256, nbytes, b"", put(number, part)))
    return tuple(packed)


def load(packed: Packed, get: Callable[[str], Data], *, writable: bool = True) -> Any:
    """Return the value that was packed.

    Parameters
    ----------
    packed : tuple of Blob
    get : callable
        Returns the object of a key.
    writable : bool
        Copy what is in the store. Otherwise arrays may be read-only views of it.

    Raises
    ------
    IntegrityError
        If some bytes do not have the hash they are named by. Nothing of them was loaded.
    """
    head, *rest = packed
    stream = head.data if not head.key else bytes(get(head.key))
    checked(stream, head)
    buffers: list[Data] = []
    for blob in rest:
        data = get(blob.key) if blob.key else blob.data
        # copied first and checked then, so that what was checked is what is used
        buffers.append(checked(bytearray(data) if writable else data, blob))
    return pickle.loads(stream, buffers=buffers)


def checked(data: Data, blob: Blob) -> Data:
    """Return bytes if they are those that a blob names; otherwise raise IntegrityError."""
    if hashlib.sha256(data).hexdigest() != blob.sha256:
        where = f"the object {blob.key}" if blob.key else "a part of the message"
        raise IntegrityError(
            f"{where} is not what its sender wrote (SHA-256 {blob.sha256[:12]}… expected); it was not loaded"
        )
    return data


def digest(packed: Packed) -> str:
    """Return one hash for a packed value: that of its pickle, or of the hashes of all its parts."""
    if len(packed) == 1:
        return packed[0].sha256
    return hashlib.sha256("".join(blob.sha256 for blob in packed).encode()).hexdigest()


def bare(packed: Packed) -> Packed:
    """Return a packed value without what travels inside the message: the receiver has it."""
    return tuple(blob._replace(data=b"") for blob in packed)


def size(packed: Packed) -> int:
    """Return the bytes of a packed value, wherever they are."""
    return sum(blob.nbytes for blob in packed)
