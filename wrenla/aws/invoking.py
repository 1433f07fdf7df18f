"""Invoke the function with one event."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from wrenla.aws.error_messages import DeployError

__all__ = ["Invoke", "invoking"]

Invoke: TypeAlias = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
"""From a function's name and an event to the answer."""


def invoking(client: Any) -> Invoke:
    """Return what invokes functions by a client of Lambda's.

    Raises, when called, a DeployError if the function fails instead of answering.
    """

    def invoke(function: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
        answer = client.invoke(FunctionName=function, Payload=json.dumps(event).encode())
        text = answer["Payload"].read()
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if answer.get("FunctionError") or not isinstance(value, dict):
            said = value if isinstance(value, dict) else {}
            reason = " ".join(str(said.get("errorMessage") or text[:200]).split())
            raise DeployError(
                f"function {function} fails: {said.get('errorType', 'no JSON')}: {reason}: "
                "look at wrenla logs, or run wrenla deploy again"
            )
        return value

    return invoke
