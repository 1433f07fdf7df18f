"""Operations of Lambda's API: map a request to the operation that permissions name."""

from __future__ import annotations

import re
from functools import cache

__all__ = ["operation_of"]

_NAMED_OTHERWISE = {"Invoke": "InvokeFunction", "InvokeWithResponseStream": "InvokeFunction"}
"""Operations whose permission has another name."""


def operation_of(method: str, path: str) -> tuple[str, str]:
    """Return the action for which one needs permission, and the function as it stands in the path.

    Examples
    --------
    >>> operation_of("POST", "/2015-03-31/functions/mine/invocations")
    ('InvokeFunction', 'mine')
    >>> operation_of("GET", "/2015-03-31/functions/")
    ('ListFunctions', '')
    """
    for known, pattern, name in _operations():
        found = pattern.fullmatch(path) if known == method else None
        if found is not None:
            return _NAMED_OTHERWISE.get(name, name), found.groupdict().get("FunctionName") or ""
    return "Unknown", ""


@cache
def _operations() -> list[tuple[str, re.Pattern[str], str]]:
    """Read the operations from botocore's model of the service."""
    from botocore.loaders import Loader
    from botocore.model import ServiceModel

    model = ServiceModel(Loader().load_service_model("lambda", "service-2"), "lambda")
    found = []
    for name in model.operation_names:
        http = model.operation_model(name).http
        path = http["requestUri"].partition("?")[0].rstrip("/")
        pattern = re.sub(r"\{(\w+)\+?\}", r"(?P<\1>[^/]+)", path)
        found.append((http["method"], re.compile(f"{pattern}/?"), name))
    return found
