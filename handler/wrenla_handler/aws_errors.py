"""AWS errors: code and message of an answer, and the remedies that are the same for every service."""

from __future__ import annotations

import re
from typing import Any

__all__ = [
    "ACCESS_DENIED",
    "NO_REGION",
    "THROTTLED",
    "error_message",
    "error_status",
    "in_line",
    "is_not_accepted",
    "remedy",
]

NO_REGION = "there is no AWS region; set AWS_DEFAULT_REGION, or --region where a command has it"

ACCESS_DENIED = frozenset(
    {
        *("AccessDenied", "AccessDeniedException", "AllAccessDisabled"),
        *("UnauthorizedOperation", "AuthorizationError"),
        "403",  # the answer to HEAD has no body, hence no code
    }
)

THROTTLED = frozenset(
    {
        *("Throttling", "ThrottlingException", "TooManyRequestsException", "SlowDown"),
        *("EC2ThrottledException", "ENILimitReachedException"),
    }
)

_WRONG = (
    "the credentials are not accepted; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile "
    "(AWS_PROFILE, or --profile where a command has it)"
)
_WRONG_OR_REGION = f"{_WRONG}; or the region is not enabled for this account"
_EXPIRED = "the credentials have expired; renew them (for SSO: aws sso login)"
_NONE = (
    "there are no AWS credentials; name a profile (AWS_PROFILE, or --profile where a command has it), set "
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run `aws configure`"
)

_CREDENTIALS = {
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
}

_REMEDIES = {
    **_CREDENTIALS,
    **dict.fromkeys(
        ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"),
        "the bucket is in another region{where}; set AWS_DEFAULT_REGION or --region",
    ),
    "RequestTimeTooSkewed": "this machine's clock is off by more than 15 minutes; set it",
    "KMSAccessDeniedException": "AWS Lambda may not decrypt the function's variables, as when its role was "
    "made again; run wrenla deploy (if a key of your own encrypts them: see its policy)",
}

_SKEWED = re.compile(r"Signature (?:expired|not yet current)(?:.*[-+] (?P<minutes>\d+) min)?")
"""Only S3 has a code of its own for wrong clocks. The others say in the message how many minutes they take,
mostly 5."""


def error_status(error: Any) -> tuple[int, str]:
    """Return the HTTP status (0 if there was no answer) and AWS's code of an error of boto3's."""
    response = getattr(error, "response", {})
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return int(status), str(response.get("Error", {}).get("Code", ""))


def error_message(error: Any) -> str:
    """Return what AWS says, in one line."""
    return in_line(error.response.get("Error", {}).get("Message", "")) or "no message"


def in_line(text: object) -> str:
    """Return a text in one line."""
    return " ".join(str(text).split())


def is_not_accepted(error: Any) -> bool:
    """Tell whether AWS refuses since the credentials are wrong, or no longer right."""
    return error_status(error)[1] in _CREDENTIALS


def remedy(error: Any) -> str:
    """Return cause and remedy of an error of boto3's, "" if they depend on what was asked for.

    Examples
    --------
    >>> from botocore.exceptions import ClientError
    >>> said = "Signature expired: 2 is now earlier than 3 (8 - 5 min.)"
    >>> remedy(ClientError({"Error": {"Code": "InvalidSignatureException", "Message": said}}, "Invoke"))
    "this machine's clock is off by more than 5 minutes; set it"
    """
    from botocore import exceptions

    match error:
        case exceptions.ClientError():
            if found := _SKEWED.search(error_message(error)):
                by = f" by more than {found['minutes']} minutes" if found["minutes"] else ""
                return f"this machine's clock is off{by}; set it"
            headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
            region = headers.get("x-amz-bucket-region")
            text = _REMEDIES.get(error_status(error)[1], "")
            return text.format(where=f" ({region})" if region else "")
        case exceptions.NoCredentialsError() | exceptions.PartialCredentialsError():
            return _NONE
        case exceptions.SSOError() | exceptions.TokenRetrievalError():
            return _EXPIRED
        case exceptions.ProfileNotFound():
            return f"{in_line(error)}; check AWS_PROFILE (or --profile) and ~/.aws/config"
        case exceptions.NoRegionError():
            return NO_REGION
        case exceptions.SSLError() if "CERTIFICATE" in str(error):
            return f"{in_line(error)}; set AWS_CA_BUNDLE if the certificate is your own"
    return ""
