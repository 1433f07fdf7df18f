"""AWS error messages: one line with the cause and the remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wrenla.errors import WrenlaError
from wrenla_handler.stores.s3.errors import error_status

__all__ = ["DeployError", "is_denied", "is_not_accepted", "lacking", "translating"]


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
        raise DeployError(_in_line(error)) from error


_WRONG = "the credentials are not accepted; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or --profile"
_WRONG_OR_REGION = f"{_WRONG}; or the region is not enabled for this account"
_CLOCK = "this machine's clock is off by more than 5 minutes; set it"
_NAME = "check --region, AWS_DEFAULT_REGION and ~/.aws/config"
_EXPIRED = "the credentials have expired; renew them (for SSO: aws sso login)"
_REGION = "the bucket is in another region{where}; give --region"
_MANY = "this account has as many of these as it may; delete some, or ask AWS for more (Service Quotas)"
_LATER = "AWS refuses since too much is asked at once; run the same command again in a minute"

_REMEDIES = {
    "InvalidAccessKeyId": _WRONG,
    "SignatureDoesNotMatch": _WRONG,
    "InvalidSignatureException": _WRONG,
    "IncompleteSignature": _WRONG,
    "IncompleteSignatureException": _WRONG,
    "InvalidToken": _WRONG,
    "AuthFailure": _WRONG_OR_REGION,
    "InvalidClientTokenId": _WRONG_OR_REGION,
    "UnrecognizedClientException": _WRONG_OR_REGION,
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "RequestExpired": _EXPIRED,
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "301": _REGION,
    "NoSuchBucket": "there is no such bucket; run wrenla deploy, or check --bucket and --region",
    "BucketNotEmpty": "there is something in it: what was written meanwhile goes if you run the same command "
    "again; old versions, which a bucket with versioning keeps, are yours to delete",
    "RequestTimeTooSkewed": _CLOCK,
    "OptInRequired": "the region is not enabled for this account; enable it, or give another --region",
    "Throttling": _LATER,
    "ThrottlingException": _LATER,
    "TooManyRequestsException": _LATER,
    "SlowDown": _LATER,
    "CodeStorageExceededException": "all the functions of this account hold more code than it may (75 GB); "
    "delete old functions and versions, or ask AWS for more (Service Quotas)",
    "TooManyBuckets": _MANY,
    "LimitExceeded": _MANY,
    "LimitExceededException": _MANY,
    "ResourceConflictException": "somebody else is changing the function; run the same command again",
    "KMSAccessDeniedException": "Lambda may not decrypt the function's variables, as when its role was made "
    "again; run wrenla deploy (if a key of your own encrypts them: see its policy)",
    "OperationAborted": "somebody else is changing the bucket; run the same command again",
}

_NOT_ACCEPTED = frozenset(
    code for code, text in _REMEDIES.items() if text in (_WRONG, _WRONG_OR_REGION, _EXPIRED)
)

_DENIED = frozenset(
    {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "403"}
)

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

_OLD_SIGNATURE = re.compile(r"Signature (expired|not yet current)")
"""Only S3 has a code of its own for wrong clocks."""

_PAGE = re.compile(r"<(!doctype|html)", re.IGNORECASE)


def is_denied(error: Any) -> bool:
    """Tell whether AWS refuses since the permission is lacking."""
    return error_status(error)[1] in _DENIED


def is_not_accepted(error: Any) -> bool:
    """Tell whether AWS refuses since the credentials are wrong, or no longer right."""
    return error_status(error)[1] in _NOT_ACCEPTED


def _from_answer(error: Any) -> str:
    status, code = error_status(error)
    message = _in_line(error.response.get("Error", {}).get("Message", "")) or "no message"
    operation = str(error.operation_name)
    if _PAGE.match(message):
        return (
            f"{operation}: what answers knows no such region, or is not AWS ({status}, a page of HTML); "
            "check --region and AWS_ENDPOINT_URL"
        )
    if is_denied(error):
        return f"{operation}: access denied; {lacking(operation, message)}"
    if _OLD_SIGNATURE.search(message):
        return f"{operation}: {_CLOCK}"
    if code in _REMEDIES:
        where = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region")
        remedy = _REMEDIES[code].format(where=f" ({where})" if where else "")
        return f"{operation}: {remedy}"
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

    if isinstance(error, exceptions.ProfileNotFound):
        return f"{_in_line(error)}: check --profile, AWS_PROFILE and ~/.aws/config"
    if isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
        return (
            "there are no AWS credentials: give --profile, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or run aws configure"
        )
    if isinstance(error, (exceptions.SSOError, exceptions.TokenRetrievalError)):
        return _EXPIRED
    if isinstance(error, (exceptions.UnknownRegionError, exceptions.InvalidRegionError)):
        return f"{_in_line(error).rstrip('.')}: {_NAME}"
    if isinstance(error, exceptions.NoRegionError):
        return "there is no region: give --region, or set AWS_DEFAULT_REGION"
    if isinstance(error, (exceptions.ConnectionError, exceptions.HTTPClientError)):
        return f"AWS does not answer: {_in_line(error)}: check --region, the network and AWS_ENDPOINT_URL"
    return _in_line(error)


def _in_line(text: object) -> str:
    return " ".join(str(text).split())
