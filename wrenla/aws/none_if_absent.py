"""Calls of AWS that return None where "there is none" is an answer, and readers of what they return."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from wrenla_handler.aws_errors import error_status

__all__ = ["document", "none_if", "tags_of"]


def none_if(call: Callable[..., Any], *none: str, **arguments: Any) -> Any:
    """Call an operation; return None for error codes that mean "does not exist"."""
    from botocore.exceptions import ClientError

    try:
        return call(**arguments)
    except ClientError as error:
        if error_status(error)[1] in none:
            return None
        raise


def document(value: Any) -> Any:
    """Return a policy as boto3 gives it, which is sometimes parsed, sometimes text, and sometimes quoted."""
    if not isinstance(value, str):
        return value
    return json.loads(value if value.lstrip().startswith("{") else unquote(value))


def tags_of(pairs: Any) -> Mapping[str, str]:
    """Return tags as a mapping; most services have them as a list of pairs."""
    return {pair["Key"]: pair["Value"] for pair in pairs or ()}
