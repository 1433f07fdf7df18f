"""Names as AWS takes them."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["BUCKET", "BUCKET_RULE", "check_bucket", "check_function"]

BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
BUCKET_RULE = "3 to 63 small letters, digits, '-' and '.'"

_FUNCTION = re.compile(
    r"(arn:[a-z-]+:lambda:)?([a-z]{2}[a-z0-9-]*-\d:)?(\d{12}:)?(function:)?[A-Za-z0-9_-]+(:(\$LATEST|[A-Za-z0-9_-]+))?"
)


def check_bucket(bucket: Any) -> None:
    """Refuse an invalid name of a bucket before any request to AWS."""
    if not (isinstance(bucket, str) and BUCKET.fullmatch(bucket)):
        raise ValueError(f"bucket={bucket!r}: the name alone, {BUCKET_RULE}, or None for the deployment's")


def check_function(function: Any) -> None:
    """Refuse an invalid name or ARN of a function before any request to AWS."""
    if not (isinstance(function, str) and _FUNCTION.fullmatch(function)):
        raise ValueError(
            f"function={function!r}: the name of a function (letters, digits, '-' and '_'), or its ARN"
        )
