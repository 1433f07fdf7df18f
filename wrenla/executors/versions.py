"""Whether driver and function are made for each other."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

from wrenla.errors import VersionError
from wrenla_handler.app import packages
from wrenla_handler.call.envelope import VERSION

__all__ = ["compared"]


def compared(pong: Any, name: str) -> Mapping[str, Any]:
    """Compare Python's minor version and the packages that must agree with what a function has answered.

    Pickles of functions hold byte code, and the numbers depend on NumPy and SciPy. Returns the answer.

    Raises
    ------
    VersionError
        Naming all that differs.
    """
    known = isinstance(pong, Mapping) and pong.get("kind") == "pong" and pong.get("version") == VERSION
    if not known or not isinstance(pong.get("packages"), Mapping):
        raise VersionError(
            f"{name}: this function is not wrenla's, or of another version; run: wrenla deploy"
        )
    here, there = packages(), pong["packages"]
    different = [
        f"{what} {there.get(what)} there, {here[what]} here" for what in here if here[what] != there.get(what)
    ]
    minor = [text.rpartition(".")[0] for text in (str(pong.get("python")), platform.python_version())]
    if minor[0] != minor[1]:
        different.insert(0, f"Python {minor[0]} there, {minor[1]} here")
    if different:
        raise VersionError(f"{name}: {'; '.join(different)}; run: wrenla deploy")
    found: Mapping[str, Any] = pong
    return found
