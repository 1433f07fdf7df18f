"""Reading one S3 object: in parallel parts, all of the same version, each complete, the whole checked."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any

from wrenla_handler.aws_errors import error_status
from wrenla_handler.errors import StoreError, ThreadLimitError, TransientStoreError
from wrenla_handler.stores.s3.client import pauses

__all__ = ["CRC32_NAME", "ObjectReader"]

# In the object's own metadata, since S3 gives its checksum only with a whole object, not with parts.
CRC32_NAME = "wrenla-crc32"

_ATTEMPTS = 4
_CHUNK_BYTES = 1024 * 1024
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


class _ChangedError(Exception):
    """The object was overwritten between two parts of it."""


class _DamagedError(Exception):
    """The bytes do not have the CRC32 that they were written with."""


@dataclass(frozen=True, slots=True)
class ObjectReader:
    """Reader of one object.

    Parameters
    ----------
    client : boto3 S3 client
    bucket, key : str
        The object; `key` is the full one.
    place : str
        What errors call the object.
    part_bytes : int
        Larger reads are cut into requests of this size.
    submit : callable
        Has other threads call a function, as `Executor.submit` does: for all parts but the first.
    """

    client: Any
    bucket: str
    key: str
    place: str
    part_bytes: int
    submit: Callable[..., Future[None]]

    def read(self, start: int, stop: int | None) -> memoryview:
        """Return bytes `[start, stop)`; those of the whole object are checked against its CRC32.

        boto3 retries a request, but not an answer that breaks off, stalls or is damaged: that is done here.
        """
        failure: Exception | None = None
        for _ in pauses(_ATTEMPTS):
            try:
                return self._read_once(start, stop)
            except (_ChangedError, _DamagedError) as error:
                failure = error
        if isinstance(failure, _ChangedError):
            raise TransientStoreError(f"{self.place}: was overwritten again and again while it was read")
        raise StoreError(
            f"{self.place}: does not have the CRC32 that it was written with, read {_ATTEMPTS} times; "
            "delete the object and compute it again"
        )

    def _read_once(self, start: int, stop: int | None) -> memoryview:
        first_stop = start + self.part_bytes if stop is None else min(stop, start + self.part_bytes)
        try:
            first = self._request(start, first_stop)
        except self.client.exceptions.ClientError as error:
            if error_status(error)[0] == 416:  # the object ends at or before `start`
                return memoryview(b"")
            raise
        total = self._total_bytes(first, start, first_stop)
        stop = total if stop is None else min(stop, total)
        import numpy as np  # here, not above: a worker that reads no object starts in half the time without

        # Not zeroed, as a bytearray would be.
        content = np.empty(stop - start, np.uint8).data
        # All other parts must be of this version: somebody may overwrite the object between two requests.
        etag = first["ETag"]
        parts: list[Future[None]] = []
        try:
            for begin in range(start + self.part_bytes, stop, self.part_bytes):
                part = content[begin - start : begin - start + self.part_bytes]
                try:
                    parts.append(self.submit(self._fill, part, begin, etag))
                except ThreadLimitError:  # then one after the other
                    self._fill(part, begin, etag)
            self._fill(content[: self.part_bytes], start, etag, first)
            for future in parts:
                future.result()
        finally:
            # Before the memory goes: a part that is still read would be written into it.
            for future in parts:
                future.cancel()
            wait(parts)
        crc32 = first["Metadata"].get(CRC32_NAME)
        # Objects that others wrote have none.
        if crc32 and len(content) == total and crc32 != f"{zlib.crc32(content):08x}":
            raise _DamagedError
        return content.toreadonly()

    def _fill(self, target: memoryview, start: int, etag: str, response: Any = None) -> None:
        """Read `len(target)` bytes from `start` on, of the version `etag`, from `response` at first."""
        failure = ""
        for _ in pauses(_ATTEMPTS):
            if response is None:
                try:
                    response = self._request(start, start + len(target), etag)
                except self.client.exceptions.ClientError as error:
                    if error_status(error)[0] == 412:
                        raise _ChangedError from None
                    raise
            # Not every S3 knows If-Match.
            if response["ETag"] != etag:
                response["Body"].close()
                raise _ChangedError
            failure = _drain(response["Body"], target)
            if not failure:
                return
            response = None
        raise TransientStoreError(f"{self.place}: the answer broke off {_ATTEMPTS} times: {failure}")

    def _request(self, start: int, stop: int, etag: str = "") -> Any:
        condition = {"IfMatch": etag} if etag else {}
        return self.client.get_object(
            Bucket=self.bucket, Key=self.key, Range=f"bytes={start}-{stop - 1}", **condition
        )

    def _total_bytes(self, response: Any, start: int, stop: int) -> int:
        """Return the size of the object from the answer to the request for `[start, stop)` of it."""
        found = _CONTENT_RANGE.fullmatch(response.get("ContentRange", ""))
        if found and int(found[1]) == start:
            return int(found[2])
        # Where the range is all there is, the server may answer with the whole: S3 does for empty objects.
        if not found and start == 0 and response["ContentLength"] <= stop:
            return int(response["ContentLength"])
        response["Body"].close()
        raise StoreError(f"{self.place}: the server did not answer with the range that was asked for")


def _drain(body: Any, target: memoryview) -> str:
    """Fill `target` from an answer's body; return why that failed, empty if it did not."""
    from botocore.exceptions import BotoCoreError, ReadTimeoutError
    from urllib3.exceptions import HTTPError

    filled = 0
    try:
        while filled < len(target):
            received = body.readinto(target[filled : filled + _CHUNK_BYTES])
            if not received:
                return f"after {filled} of {len(target)} bytes: it ended"
            filled += received
        # At the end of its body the connection goes back to the pool.
        if body.read(1):
            return f"after {len(target)} bytes: there are more"
    except ReadTimeoutError:  # its own text names an empty URL
        return f"after {filled} of {len(target)} bytes: nothing more came in time"
    except (BotoCoreError, HTTPError, OSError) as error:
        return f"after {filled} of {len(target)} bytes: {error}"
    finally:
        body.close()
    return ""
