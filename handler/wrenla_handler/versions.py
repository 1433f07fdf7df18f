"""Versions that driver and workers must share: of Python and of some packages."""

from __future__ import annotations

import platform
from typing import Any

__all__ = ["packages", "versions"]

_PACKAGES = ("wrenla", "numpy", "scipy", "cloudpickle")


def packages() -> dict[str, str]:
    """Return the versions that must be the same on both sides."""
    # Here: a cold function starts without it.
    import importlib.metadata

    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def versions() -> dict[str, Any]:
    """Return this side's versions, as a worker answers them: ``python`` and ``packages``."""
    return {"python": platform.python_version(), "packages": packages()}
