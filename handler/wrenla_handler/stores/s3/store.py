"""S3 store, for AWS and anything that speaks S3."""

from __future__ import annotations

import base64
import os
import re
import threading
import uuid
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from weakref import WeakSet

from wrenla_handler.aws_errors import error_status
from wrenla_handler.errors import TransientStoreError
from wrenla_handler.stores.base import Data, ObjectInfo, Reach
from wrenla_handler.stores.checks import check_key, check_range, flat_view, is_key, why_no_key
from wrenla_handler.stores.s3 import threads
from wrenla_handler.stores.s3.client import pauses, prepare, shared_client
from wrenla_handler.stores.s3.errors import translating
from wrenla_handler.stores.s3.read import CRC32_NAME, ObjectReader

__all__ = ["S3Store"]

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
_WRITER_NAME = "wrenla-writer"
_OWNER_NAME = "wrenla-result"
_CREATE_ATTEMPTS = 6


class S3Store:
    """Objects below a prefix of a bucket.

    Every object carries its CRC32 (checked by S3 when it is written, and by us when the whole object is
    read) and a token of its writer. Credentials, region and endpoint are boto3's own settings:
    ``AWS_PROFILE``, ``AWS_ACCESS_KEY_ID``, ``AWS_DEFAULT_REGION``, ``AWS_ENDPOINT_URL_S3``, ….

    Parameters
    ----------
    bucket : str
    prefix : str, optional
        Put before every key, with a ``/``.
    client : boto3 S3 client, optional
        Instead of the one that all stores of this process share. It must not be used across a fork.
    part_bytes : int, optional
        Larger objects are read by several requests at once.

    Examples
    --------
    >>> S3Store("bucket", "run/tiles").url
    's3://bucket/run/tiles'
    """

    _lock: threading.Lock
    _shared_client: Any

    def __init__(
        self, bucket: str, prefix: str = "", *, client: Any = None, part_bytes: int = 8 * 1024 * 1024
    ) -> None:
        if not _BUCKET.fullmatch(bucket):
            raise ValueError(f"{bucket!r} is not the name of a bucket: s3://bucket/prefix")
        folder = prefix.strip("/")
        self._bucket = bucket
        self._prefix = f"{check_key(folder)}/" if folder else ""
        self._part_bytes = part_bytes
        self._own_client = None if client is None else prepare(client)
        self._start_process()
        _stores.add(self)

    def __repr__(self) -> str:
        return f"S3Store({self._bucket!r}, {self._prefix.rstrip('/')!r})"

    @property
    def url(self) -> str:
        """Address that opens the same store again."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    @property
    def reach(self) -> Reach:
        """Every worker sees the objects, wherever it is."""
        return Reach.ANYWHERE

    def get(self, key: str, start: int = 0, stop: int | None = None) -> memoryview:
        """Return bytes `[start, stop)` of an object as a read-only view of a fresh buffer."""
        check_range(start, stop)
        if stop is not None and stop <= start:
            self.size(key)  # nothing to read, but it must be there
            return memoryview(b"")
        full_key = self._prefix + check_key(key)
        with translating(self.url, key):
            submit = partial(threads.submit, self)
            reader = ObjectReader(
                self._client(), self._bucket, full_key, f"{self.url}: {key}", self._part_bytes, submit
            )
            return reader.read(start, stop)

    def put(self, key: str, data: Data, *, create: bool = False, durable: bool = False) -> bool:
        """Write an object by one request; with `create`, only if the key is free. S3 is always durable."""
        request = self._request(key, data)
        with translating(self.url, key):
            client = self._client()
            if create:
                return self._create(client, key, request)
            client.put_object(**request)
        return True

    def put_owned(self, key: str, data: Data, owner: str, still_ours: Callable[[], None]) -> bool:
        """Write an object of a result, unless one of the same result is there: see `OwningStore`."""
        request = self._request(key, data, owner)
        with translating(self.url, key):
            client = self._client()
            for _ in pauses(_CREATE_ATTEMPTS):
                if self._create(client, key, request):
                    return True
                standing = self._head(client, request["Key"])
                if standing is None:
                    continue  # it was deleted since
                if standing["Metadata"].get(_OWNER_NAME) == owner:
                    return False
                still_ours()  # asked after we looked: who takes the place from now on changes the ETag
                if self._replaced(client, request, standing["ETag"]):
                    return True
        raise TransientStoreError(
            f"{self.url}: {key}: others were writing or deleting it, {_CREATE_ATTEMPTS} times"
        )

    def owner(self, key: str) -> str:
        """Return the result that an object belongs to, "" if to none."""
        with translating(self.url, key):
            standing = self._head(self._client(), self._prefix + check_key(key))
        if standing is None:
            raise KeyError(key)
        return str(standing["Metadata"].get(_OWNER_NAME, ""))

    def copy_from(self, source: S3Store, key: str, new: str, owner: str = "") -> bool:
        """Let S3 copy an object, unless its key here is taken: none of its bytes come here."""
        request: dict[str, Any] = {
            "Bucket": self._bucket,
            "Key": self._prefix + check_key(new),
            "CopySource": {"Bucket": source._bucket, "Key": source._prefix + check_key(key)},
        }
        with translating(source.url, key):
            client = self._client()
            if self._head(client, request["Key"]) is not None:  # not every server minds the condition below
                return False
            if owner:
                head = client.head_object(**request["CopySource"])
                metadata = {**head["Metadata"], _OWNER_NAME: owner}
                request |= {"MetadataDirective": "REPLACE", "Metadata": metadata}
            try:
                client.copy_object(**request, IfNoneMatch="*")
            except client.exceptions.ClientError as error:
                if error_status(error)[0] not in (409, 412):
                    raise
                return False
        return True

    def exists(self, key: str) -> bool:
        """Tell whether there is such an object."""
        try:
            self.size(key)
        except KeyError:
            return False
        return True

    def size(self, key: str) -> int:
        """Return the number of bytes of an object. Raises KeyError if there is no such object."""
        full_key = self._prefix + check_key(key)
        with translating(self.url, key):
            return int(self._client().head_object(Bucket=self._bucket, Key=full_key)["ContentLength"])

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield, sorted, the keys that begin with the string `prefix`."""
        return (info.key for info in self.scan(prefix))

    def scan(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield the same objects as `list`, with what is known of each: all of it comes with the list."""
        return self.scan_noting(prefix, lambda key, why: None)

    def scan_noting(self, prefix: str, note: Callable[[str, str], None]) -> Iterator[ObjectInfo]:
        """Yield the same objects, and tell of those whose keys no store takes."""
        with translating(self.url, prefix):
            pages = self._client().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix):
                for entry in page.get("Contents", ()):
                    key = entry["Key"].removeprefix(self._prefix)
                    if is_key(key):
                        yield ObjectInfo(key, entry["Size"], entry["ETag"], entry["LastModified"].timestamp())
                    elif entry["Size"] or not key.endswith("/"):  # by which some tools mark a folder
                        note(key, why_no_key(key))

    def list_folders(self) -> Iterator[str]:
        """Yield, sorted, what stands before the first `/` in keys."""
        with translating(self.url, ""):
            pages = self._client().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix, Delimiter="/"):
                for entry in page.get("CommonPrefixes", ()):
                    name = entry["Prefix"].removeprefix(self._prefix).rstrip("/")
                    if is_key(name):
                        yield name

    def delete(self, key: str) -> None:
        """Remove an object. Removing one that is not there is not an error."""
        full_key = self._prefix + check_key(key)
        with translating(self.url, key):
            self._client().delete_object(Bucket=self._bucket, Key=full_key)

    def remove_empty_folders(self, ours: Callable[[str], bool], *, root: bool = False) -> None:
        """Do nothing: there are no folders, only keys with slashes."""

    def close(self) -> None:
        """End the reading threads, if no other store needs them.

        The process's connections stay: `client.close_clients` ends them.
        """
        threads.leave(self)

    def _create(self, client: Any, key: str, request: dict[str, Any]) -> bool:
        for _ in pauses(_CREATE_ATTEMPTS):
            try:
                client.put_object(**request, IfNoneMatch="*")
            except client.exceptions.ClientError as error:
                status = error_status(error)[0]
                if status == 412:
                    # If the answer to our own success was lost, boto3 sent the request again, and the
                    # object that was in its way is ours.
                    standing = self._writer(client, request["Key"])
                    if standing is not None:
                        return bool(standing == request["Metadata"][_WRITER_NAME])
                elif status != 409:
                    raise
                # 409: another request for this key is on its way. None: it was deleted since. Try again.
            else:
                return True
        raise TransientStoreError(
            f"{self.url}: {key}: others were writing or deleting it, {_CREATE_ATTEMPTS} times"
        )

    def _request(self, key: str, data: Data, owner: str = "") -> dict[str, Any]:
        view = flat_view(data)
        crc32 = zlib.crc32(view)
        metadata = {CRC32_NAME: f"{crc32:08x}", _WRITER_NAME: uuid.uuid4().hex}
        return {
            "Bucket": self._bucket,
            "Key": self._prefix + check_key(key),
            # A copy unless it is `bytes`: boto3 takes no views, and reads files in pieces of 16 KiB.
            "Body": data if isinstance(data, bytes) else bytes(view),
            "ChecksumAlgorithm": "CRC32",
            "ChecksumCRC32": base64.b64encode(crc32.to_bytes(4, "big")).decode(),
            "Metadata": metadata | ({_OWNER_NAME: owner} if owner else {}),
        }

    def _writer(self, client: Any, full_key: str) -> str | None:
        """Return the writer's token of an object, empty if it has none, None if there is no object."""
        head = self._head(client, full_key)
        return None if head is None else str(head["Metadata"].get(_WRITER_NAME, ""))

    def _head(self, client: Any, full_key: str) -> dict[str, Any] | None:
        """Return what S3 says of an object, None if there is none."""
        try:
            found: dict[str, Any] = client.head_object(Bucket=self._bucket, Key=full_key)
        except client.exceptions.ClientError as error:
            if error_status(error)[0] == 404:
                return None
            raise
        return found

    def _replaced(self, client: Any, request: dict[str, Any], etag: str) -> bool:
        """Put an object in the place of another one, if that is still there. Return whether it was.

        RFC 9110 has ETags in quotes. Ceph compares what is sent with its own, which have none: ask again.
        """
        for condition in dict.fromkeys((etag, etag.strip('"'))):
            try:
                client.put_object(**request, IfMatch=condition)
            except client.exceptions.ClientError as error:
                # 412: it is another one by now. 409: it is just being written. 404: it was deleted
                if error_status(error)[0] not in (404, 409, 412):
                    raise
            else:
                return True
        return False

    def _start_process(self) -> None:
        """Set up what belongs to one process; called again in a forked child."""
        self._lock = threading.Lock()
        self._shared_client = None

    def _client(self) -> Any:
        if self._own_client is not None:
            return self._own_client
        with self._lock:
            if self._shared_client is None:
                self._shared_client = shared_client(self._bucket)
            return self._shared_client


_stores: WeakSet[S3Store] = WeakSet()


def _start_child() -> None:
    for store in _stores:
        store._start_process()


os.register_at_fork(after_in_child=_start_child)
