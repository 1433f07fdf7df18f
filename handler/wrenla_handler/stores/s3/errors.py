"""S3 errors: translate boto3's into one line with the remedy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wrenla_handler import aws_errors
from wrenla_handler.aws_errors import error_status, in_line, remedy
from wrenla_handler.errors import StoreError, TransientStoreError
from wrenla_handler.stores.s3.client import owner

__all__ = ["translating"]


@contextmanager
def translating(url: str, key: str) -> Iterator[None]:
    """Turn boto3's errors into ours: KeyError, StoreError with a remedy, TransientStoreError."""
    from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

    # of an object there is its key; not if there is none, or only the beginning of keys that were listed
    place = f"{url}: {key}" if key and not key.endswith("/") else url
    try:
        yield
    except ClientError as error:
        status, code = error_status(error)
        if status == 404 and code != "NoSuchBucket":
            raise KeyError(key) from error
        transient = status >= 500 or status == 429 or code in _TRANSIENT or code in aws_errors.THROTTLED
        kind = TransientStoreError if transient else StoreError
        if general := _no_bucket() if code == "NoSuchBucket" else remedy(error):
            raise kind(f"{url}: {general}") from error
        raise kind(f"{place}: {_about_object(error, url)}") from error
    except BotoCoreError as error:
        if general := remedy(error):
            raise StoreError(f"{url}: {general}") from error
        if isinstance(error, (ConnectionError, HTTPClientError)):
            raise TransientStoreError(f"{place}: S3 did not answer: {in_line(error)}") from error
        raise StoreError(f"{place}: {in_line(error)}") from error


_NEEDS = (
    "need s3:GetObject, s3:PutObject and s3:DeleteObject on the objects, "
    "and s3:ListBucket on the bucket (without it S3 also says this of an object that is not there)"
)

_TRANSIENT = frozenset(
    {
        "BadDigest",  # damaged on the way to S3, which compared the CRC32
        "ConditionalRequestConflict",
        "OperationAborted",
        "RequestTimeout",
        "XAmzContentChecksumMismatch",
    }
)
"""Worth another try although the status says that the request was wrong."""

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


def _no_bucket() -> str:
    endpoint = next((f" ({name} is set)" for name in _ENDPOINTS if os.environ.get(name)), "")
    return f"there is no such bucket; create it, or check its name and the region{endpoint}"


def _about_object(error: Any, url: str) -> str:
    status, code = error_status(error)
    if code in aws_errors.ACCESS_DENIED:
        account = owner(url.removeprefix("s3://").partition("/")[0])
        if account is None:
            return f"access denied; the credentials {_NEEDS}"
        return (  # S3 does not say which of the two it is
            f"access denied; either the bucket belongs to another AWS account than the expected {account} "
            f"(check its name, and WRENLA_BUCKET_OWNER), or the credentials {_NEEDS}"
        )
    if code == "EntityTooLarge":
        return "the object is larger than S3 takes in one request (5 GiB); use smaller tiles"
    return f"S3 answered {status} {code}: {aws_errors.error_message(error)}"
