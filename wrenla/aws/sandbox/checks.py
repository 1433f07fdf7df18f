"""What Lambda checks of a function's configuration and moto does not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from wrenla.aws.sandbox.answers import Refusal
from wrenla.aws.sandbox.runtime import ARCHITECTURE, RUNTIME

__all__ = ["check_configuration", "invalid"]

_RANGES = {
    ("MemorySize",): (128, 10_240),
    ("Timeout",): (1, 900),
    ("EphemeralStorage", "Size"): (512, 10_240),
}
_VARIABLE = "[a-zA-Z]([a-zA-Z0-9_])+"
_VARIABLES_LIMIT = 4096
_RESERVED = {
    *("_HANDLER", "_X_AMZN_TRACE_ID", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR", "AWS_EXECUTION_ENV"),
    *("AWS_REGION", "AWS_DEFAULT_REGION"),
    *("AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"),
    *("AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME"),
    *("AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_RUNTIME_API"),
}
_NOT_CONFIGURED = (
    "Lambda was unable to configure your environment variables because the environment variables you have "
    "provided"
)


def check_configuration(changes: Mapping[str, Any]) -> None:
    """Check what a request to create or to update a function contains.

    Raises
    ------
    Refusal
        With status 400, in AWS's words, except where the sandbox can do less than AWS.
    """
    if wrong := list(_violations(changes)):
        count = f"{len(wrong)} validation error{'s' if len(wrong) > 1 else ''} detected"
        raise Refusal(400, "ValidationException", f"{count}: {'; '.join(wrong)}")
    if changes.get("PackageType", "Zip") != "Zip":
        raise invalid("The sandbox runs packages of type Zip only, no images")
    if changes.get("Runtime", RUNTIME) != RUNTIME:
        raise invalid(f"The sandbox has the runtime {RUNTIME} only, that of the Python it runs with")
    if changes.get("Architectures", [ARCHITECTURE]) != [ARCHITECTURE]:
        raise invalid(f"The sandbox has the architecture {ARCHITECTURE} only, that of this machine")
    variables = _variables(changes)
    if sum(len(f"{name}{value}".encode()) for name, value in variables.items()) > _VARIABLES_LIMIT:
        raise invalid(f"{_NOT_CONFIGURED} exceeded the 4KB limit. String measured: {json.dumps(variables)}")
    if taken := sorted(_RESERVED & variables.keys()):
        raise invalid(
            f"{_NOT_CONFIGURED} contains reserved keys that are currently not supported for modification. "
            f"Reserved keys used in this request: {', '.join(taken)}"
        )


def invalid(message: str) -> Refusal:
    """Return the refusal of a parameter."""
    return Refusal(400, "InvalidParameterValueException", message)


def _violations(changes: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is not as the model of the service says, whatever else is wrong."""
    for path, (least, most) in _RANGES.items():
        value: Any = changes
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is None:
            continue
        where = ".".join(name[0].lower() + name[1:] for name in path)
        if not isinstance(value, int):
            raise Refusal(400, "SerializationException", f"{where}: {value!r} is not an integer")
        if not least <= value <= most:
            bound = f"greater than or equal to {least}" if value < least else f"less than or equal to {most}"
            yield (
                f"Value '{value}' at '{where}' failed to satisfy constraint: Member must have value {bound}"
            )
    if any(re.fullmatch(_VARIABLE, name) is None for name in _variables(changes).keys() - _RESERVED):
        yield (
            "Value at 'environment.variables' failed to satisfy constraint: Map keys must satisfy "
            f"constraint: [Member must satisfy regular expression pattern: {_VARIABLE}]"
        )


def _variables(changes: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = (changes.get("Environment") or {}).get("Variables") or {}
    return found
