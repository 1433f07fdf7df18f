"""Checks of a function's configuration that Lambda makes and moto does not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from wrenla.emulator.api.responses import Refusal
from wrenla.emulator.runtime.runtime import ARCHITECTURE, RUNTIME
from wrenla.units import counted

__all__ = ["check_configuration", "check_name", "check_new_name", "invalid"]

_RANGES = {
    ("MemorySize",): (128, 10_240),
    ("Timeout",): (1, 900),
    ("EphemeralStorage", "Size"): (512, 10_240),
}
_NAME = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}(-gov)?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
    r"([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?"
)
_NAME_LIMIT = 64
_HANDLER = r"[^\s]+"
_HANDLER_LIMIT = 128
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


def check_name(name: str) -> None:
    """Check what should be a function's name or ARN.

    Raises
    ------
    Refusal
        With status 400, in AWS's words.
    """
    _refuse(list(_mismatches("functionName", name, _NAME, 140)))


def check_new_name(changes: Mapping[str, Any]) -> None:
    """Check the name of a function that is to be created, see `check_name`."""
    name = _text(changes, "FunctionName")
    if name is None:
        _refuse(["Value null at 'functionName' failed to satisfy constraint: Member must not be null"])
        return
    limit = _NAME_LIMIT if ":" not in name else 140
    _refuse(list(_mismatches("functionName", name, _NAME, limit)))
    if ":" in name:
        raise invalid("The emulator creates functions by their name only, not by an ARN")


def check_configuration(changes: Mapping[str, Any]) -> None:
    """Check what a request to create or to update a function contains.

    Raises
    ------
    Refusal
        With status 400, in AWS's words, except where the emulator can do less than AWS.
    """
    _refuse(list(_violations(changes)))
    if changes.get("PackageType", "Zip") != "Zip":
        raise invalid("The emulator runs packages of type Zip only, no images")
    if changes.get("Runtime", RUNTIME) != RUNTIME:
        raise invalid(f"The emulator has the runtime {RUNTIME} only, that of the Python it runs with")
    if changes.get("Architectures", [ARCHITECTURE]) != [ARCHITECTURE]:
        raise invalid(f"The emulator has the architecture {ARCHITECTURE} only, that of this machine")
    variables = _variables(changes)
    if not all(map(_is_text, variables.values())):
        raise invalid(f"{_NOT_CONFIGURED} contains values that no process can have")
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


def _refuse(wrong: list[str]) -> None:
    if wrong:
        errors = counted(len(wrong), "validation error")
        raise Refusal(400, "ValidationException", f"{errors} detected: {'; '.join(wrong)}")


def _mismatches(where: str, value: str, pattern: str, longest: int) -> Iterator[str]:
    """Yield what is wrong with a text."""
    said = f"Value '{value}' at '{where}' failed to satisfy constraint: Member must"
    if len(value) > longest:
        yield f"{said} have length less than or equal to {longest}"
    if re.fullmatch(pattern, value, re.ASCII) is None or not _is_text(value):
        yield f"{said} satisfy regular expression pattern: {pattern}"


def _text(changes: Mapping[str, Any], name: str) -> str | None:
    value = changes.get(name)
    if value is None or isinstance(value, str):
        return value
    where = name[0].lower() + name[1:]
    raise Refusal(400, "SerializationException", f"{where}: {value!r} is not a string")


def _is_text(value: object) -> bool:
    """Tell whether it can be handed to a process: JSON has zeros, and halves of characters."""
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _violations(changes: Mapping[str, Any]) -> Iterator[str]:
    """Yield violations of the service's model, all of them."""
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
    handler = _text(changes, "Handler")
    if handler is not None:
        yield from _mismatches("handler", handler, _HANDLER, _HANDLER_LIMIT)
    if any(re.fullmatch(_VARIABLE, name) is None for name in _variables(changes).keys() - _RESERVED):
        yield (
            "Value at 'environment.variables' failed to satisfy constraint: Map keys must satisfy "
            f"constraint: [Member must satisfy regular expression pattern: {_VARIABLE}]"
        )


def _variables(changes: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = (changes.get("Environment") or {}).get("Variables") or {}
    return found
