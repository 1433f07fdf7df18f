"""S3 errors: translate boto3's into one line with the remedy."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wrenla_handler.errors import StoreError, TransientStoreError
from wrenla_handler.stores.s3.client import owner

__all__ = ["error_status", "translating"]


def error_status(error: Any) -> tuple[int, str]:
    """Return the HTTP status (0 if there was no answer) and S3's code of an error of boto3's."""
    response = getattr(error, "response", {})
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return int(status), str(response.get("Error", {}).get("Code", ""))


@contextmanager
def translating(url: str, key: str) -> Iterator[None]:
    """Turn boto3's errors into ours: KeyError, StoreError with a remedy, TransientStoreError."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise _from_answer(error, url, key) from error
    except BotoCoreError as error:
        raise _without_answer(error, url, key) from error


_CREDENTIALS_WRONG = "the credentials are not accepted; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_CREDENTIALS_EXPIRED = "the credentials have expired; renew them (for SSO: aws sso login)"
_WRONG_REGION = "the bucket is in another region{region}; set AWS_DEFAULT_REGION"
_DENIED = (
    "access denied; the credentials need s3:GetObject, s3:PutObject and s3:DeleteObject on the objects, "
    "and s3:ListBucket on the bucket (without it S3 also says this of an object that is not there)"
)

_DENIED_OWNER = (
    "access denied; either the bucket belongs to another AWS account than the expected {account} (check its "
    "name, and WRENLA_BUCKET_OWNER), or the credentials{rest}"
)

_REMEDIES = {
    "NoSuchBucket": "there is no such bucket; create it, or check its name and the region{endpoint}",
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "403": _DENIED,  # the answer to HEAD has no body, hence no code
    "InvalidAccessKeyId": _CREDENTIALS_WRONG,
    "SignatureDoesNotMatch": _CREDENTIALS_WRONG,
    "InvalidToken": _CREDENTIALS_WRONG,
    "ExpiredToken": _CREDENTIALS_EXPIRED,
    "TokenRefreshRequired": _CREDENTIALS_EXPIRED,
    "PermanentRedirect": _WRONG_REGION,
    "AuthorizationHeaderMalformed": _WRONG_REGION,
    "IllegalLocationConstraintException": _WRONG_REGION,
    "301": _WRONG_REGION,
    "RequestTimeTooSkewed": "this machine's clock is more than 15 minutes off; set it",
    "EntityTooLarge": "the object is larger than S3 takes in one request (5 GiB); use smaller tiles",
}

_OF_THE_BUCKET = frozenset({"NoSuchBucket", "RequestTimeTooSkewed"})

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")

# Worth another try although the status says that the request was wrong.
_TRANSIENT_CODES = frozenset(
    {
        "BadDigest",  # damaged on the way to S3, which compared the CRC32
        "ConditionalRequestConflict",
        "OperationAborted",
        "RequestTimeout",
        "SlowDown",
        "Throttling",
        "XAmzContentChecksumMismatch",
    }
)


def _from_answer(error: Any, url: str, key: str) -> Exception:
    status, code = error_status(error)
    if status == 404 and code != "NoSuchBucket":
        return KeyError(key)
    kind = TransientStoreError if status >= 500 or status == 429 or code in _TRANSIENT_CODES else StoreError
    remedy = _REMEDIES.get(code, "")
    general = code in _OF_THE_BUCKET or remedy in (_CREDENTIALS_WRONG, _CREDENTIALS_EXPIRED, _WRONG_REGION)
    return kind(f"{_place(url, '' if general else key)}: {_remedy(error, url, status, code)}")


def _place(url: str, key: str) -> str:
    """Name an object; the store alone if there is none, or only the beginning of keys that were listed."""
    return f"{url}: {key}" if key and not key.endswith("/") else url


def _remedy(error: Any, url: str, status: int, code: str) -> str:
    remedy = _REMEDIES.get(code, "")
    account = owner(url.removeprefix("s3://").partition("/")[0])
    if remedy is _WRONG_REGION:
        region = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region")
        return remedy.format(region=f" ({region})" if region else "")
    if remedy is _DENIED and account is not None:  # S3 does not say which of the two it is
        return _DENIED_OWNER.format(account=account, rest=_DENIED.partition("the credentials")[2])
    if code == "NoSuchBucket":
        endpoint = next((f" ({name} is set)" for name in _ENDPOINTS if os.environ.get(name)), "")
        return remedy.format(endpoint=endpoint)
    message = str(error.response.get("Error", {}).get("Message", "")) or "no message"
    return remedy or re.sub(r"\s+", " ", f"S3 answered {status} {code}: {message}")


def _without_answer(error: Any, url: str, key: str) -> StoreError:
    from botocore import exceptions

    place = _place(url, key)
    if isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
        return StoreError(
            f"{url}: there are no AWS credentials; set AWS_PROFILE or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or run `aws configure`"
        )
    if isinstance(error, (exceptions.SSOError, exceptions.TokenRetrievalError)):
        return StoreError(f"{url}: {_CREDENTIALS_EXPIRED}")
    reason = re.sub(r"\s+", " ", str(error))
    if isinstance(error, exceptions.SSLError) and "CERTIFICATE" in reason:
        return StoreError(f"{place}: {reason}; set AWS_CA_BUNDLE if the certificate is your own")
    if isinstance(error, (exceptions.ConnectionError, exceptions.HTTPClientError)):
        return TransientStoreError(f"{place}: S3 did not answer: {reason}")
    return StoreError(f"{place}: {reason}")
