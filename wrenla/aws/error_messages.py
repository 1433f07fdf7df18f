"""AWS error messages: one line with the cause and the remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wrenla.errors import WrenlaError
from wrenla_handler import aws_errors
from wrenla_handler.aws_errors import error_status, in_line, remedy

__all__ = ["DeployError", "is_denied", "lacking", "translating"]


class DeployError(WrenlaError):
    """Something on AWS, or the package for it, cannot be made as asked; the message says what to do."""


@contextmanager
def translating() -> Iterator[None]:
    """Turn boto3's errors into a `DeployError` of one line."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise DeployError(_from_answer(error)) from error
    except BotoCoreError as error:
        raise DeployError(_without_answer(error)) from error
    except Boto3Error as error:  # of an upload, which wraps the answer in a sentence
        cause = error.__cause__ or error.__context__
        if isinstance(cause, ClientError):
            raise DeployError(_from_answer(cause)) from error
        raise DeployError(in_line(error)) from error


_NAME = "check --region, AWS_DEFAULT_REGION and ~/.aws/config"
_MANY = "this account has as many of these as it may; delete some, or ask AWS for more (Service Quotas)"
_LATER = "AWS refuses since too much is asked at once; run the same command again in a minute"

_REMEDIES = {
    "NoSuchBucket": "there is no such bucket; run wrenla deploy, or check --bucket and --region",
    "BucketNotEmpty": "there is something in it: what was written meanwhile goes if you run the same command "
    "again; old versions, which a bucket with versioning keeps, are yours to delete",
    "OptInRequired": "the region is not enabled for this account; enable it, or give another --region",
    "CodeStorageExceededException": "all the functions of this account hold more code than it may (75 GB); "
    "delete old functions and versions, or ask AWS for more (Service Quotas)",
    "TooManyBuckets": _MANY,
    "LimitExceeded": _MANY,
    "LimitExceededException": _MANY,
    "ResourceConflictException": "somebody else is changing the function; run the same command again",
    "OperationAborted": "somebody else is changing the bucket; run the same command again",
    **dict.fromkeys(aws_errors.THROTTLED, _LATER),
}

_ACTIONS = {
    "HeadBucket": "s3:ListBucket",
    "ListObjectsV2": "s3:ListBucket",
    "HeadObject": "s3:GetObject",
    "GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
    "DeleteBucketLifecycle": "s3:PutLifecycleConfiguration",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
    "DeleteObjects": "s3:DeleteObject",
    "Invoke": "lambda:InvokeFunction",
}
"""Permissions that are not called as the operation is."""

_ALL = "wrenla deploy --print-policies shows all that is needed"

_ALL_OF_ROLES = (
    f"{_ALL}; either an administrator deploys first, or give the --permissions-boundary they ask for"
)
"""What writes a role's rights is for administrators, or for roles that are bounded."""

_S3 = re.compile(r"Bucket|Object")

_PAGE = re.compile(r"<(!doctype|html)", re.IGNORECASE)


def is_denied(error: Any) -> bool:
    """Tell whether AWS refuses since the permission is lacking."""
    return error_status(error)[1] in aws_errors.ACCESS_DENIED


def _from_answer(error: Any) -> str:
    status, code = error_status(error)
    message = aws_errors.error_message(error)
    operation = str(error.operation_name)
    if _PAGE.match(message):
        return (
            f"{operation}: what answers knows no such region, or is not AWS ({status}, a page of HTML); "
            "check --region and AWS_ENDPOINT_URL"
        )
    if is_denied(error):
        return f"{operation}: access denied; {lacking(operation, message)}"
    if text := remedy(error) or _REMEDIES.get(code, ""):
        return f"{operation}: {text}"
    return f"{operation}: AWS answered {status} {code}: {message}"


def lacking(operation: str, message: str, who: str = "these credentials need") -> str:
    """Say which permission is lacking: most services tell, S3 does not always."""
    told = re.search(r'not authorized to perform: ([\w-]+:\w+)(?: on resource: "?(arn:[^\s"]+))?', message)
    if told is None:
        action = _ACTIONS.get(operation) or (f"s3:{operation}" if _S3.search(operation) else operation)
        return f"{who} {action} ({_ALL})"
    by = ""
    if "explicit deny" in message:
        by = ", which a policy denies expressly"
        if found := re.search(r"explicit deny in an? ([\w -]+? policy|permissions boundary)", message):
            by = f", which a {found[1]} denies expressly"
    elif "permissions boundary" in message:
        by = ", which a permissions boundary does not allow"
    elif found := re.search(r"no (service control|resource control|VPC endpoint) policy", message):
        by = f", which no {found[1]} policy allows"
    where = f" on {told[2]}" if told[2] else ""
    shown = _ALL_OF_ROLES if told[1] in ("iam:CreateRole", "iam:PutRolePolicy") and not by else _ALL
    return f"{who} {told[1]}{where}{by} ({shown})"


def _without_answer(error: Any) -> str:
    from botocore import exceptions

    if general := remedy(error):
        return general
    if isinstance(error, (exceptions.UnknownRegionError, exceptions.InvalidRegionError)):
        return f"{in_line(error).rstrip('.')}: {_NAME}"
    if isinstance(error, (exceptions.ConnectionError, exceptions.HTTPClientError)):
        return f"AWS does not answer: {in_line(error)}: check --region, the network and AWS_ENDPOINT_URL"
    return in_line(error)
