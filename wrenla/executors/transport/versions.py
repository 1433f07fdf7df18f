"""Comparison of versions: pickles hold byte code, and numbers depend on NumPy and SciPy."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

from wrenla_handler.versions import packages

__all__ = ["differences"]


def differences(there: Mapping[str, Any]) -> list[str]:
    """Return each version that a worker has answered and that is another one here.

    Parameters
    ----------
    there : mapping
        As `wrenla_handler.versions.versions` returns it.

    Examples
    --------
    >>> from wrenla_handler.versions import versions
    >>> differences(versions()), differences({**versions(), "python": "2.7.18"})[0].partition(",")[0]
    ([], 'Python 2.7 there')
    """
    here, found = packages(), there["packages"]
    different = [
        f"{what} {found.get(what)} there, {here[what]} here" for what in here if here[what] != found.get(what)
    ]
    minor = [text.rpartition(".")[0] for text in (str(there.get("python")), platform.python_version())]
    if minor[0] != minor[1]:
        different.insert(0, f"Python {minor[0]} there, {minor[1]} here")
    return different
