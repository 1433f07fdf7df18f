"""Nobody's settings but a test's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def forget_settings(patch: pytest.MonkeyPatch) -> None:
    """Remove what the environment says; but nothing is measured."""
    for name in [name for name in os.environ if name.startswith("WRENLA_")]:
        patch.delenv(name)
    patch.setenv("WRENLA_MEASURE", "false")  # a second for each process, and other numbers each time


def own_settings_in(folder: Path, patch: pytest.MonkeyPatch, store: str | None = None) -> None:
    """Forget the settings of this machine's user, and keep what is stored in a folder within this one."""
    forget_settings(patch)
    patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    if store is not None:
        patch.setenv("WRENLA_STORE", str(folder / store))
