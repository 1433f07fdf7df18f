"""The reference has every public name: what it leaves out, nobody can look up."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import wrenla as wl
import wrenla.errors
import wrenla.testing

PAGES = Path(__file__).parents[2] / "docs/reference"

_DIRECTIVE = re.compile(
    r"^\.\. (currentmodule|autofunction|autoclass|automodule):: (\S+)((?:\n   :.*)*)", re.MULTILINE
)

CLASSES = [
    wl.BigMatrix,
    wl.DaskExecutor,
    wl.Future,
    wl.LambdaExecutor,
    wl.LocalExecutor,
    wl.linalg.CholeskyFactor,
    wl.linalg.LDLFactor,
    wl.linalg.LUFactor,
]

pytestmark = pytest.mark.unit


def objects() -> dict[str, str]:
    """Return the options of each object by its full name, and those of whole modules by the names in them."""
    found = {}
    for page in sorted(PAGES.glob("*.md")):
        module = "wrenla"
        for kind, name, options in _DIRECTIVE.findall(page.read_text()):
            if kind == "currentmodule":
                module = name
            elif kind == "automodule":
                members = importlib.import_module(name)
                found |= {f"{name}.{member}": options for member in public(members)}
            else:
                found[name if name.startswith("wrenla.") else f"{module}.{name}"] = options
    return found


def public(module: ModuleType) -> list[str]:
    return [str(name) for name in getattr(module, "__all__", ())]


@pytest.mark.parametrize("module", [wl, wl.linalg, wrenla.errors, wrenla.testing], ids=lambda m: m.__name__)
def test_every_public_name_is_there(module: ModuleType) -> None:
    known = set(objects())
    missing = [
        name
        for name in public(module)
        if f"{module.__name__}.{name}" not in known
        and f"wrenla.errors.{name}" not in known
        and not isinstance(getattr(module, name), ModuleType)
        and f"wrenla.{name}" not in known
    ]
    assert missing == []


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_methods_are_shown_and_say_what_they_do(cls: Any) -> None:
    """Sphinx leaves out what has no docstring."""
    options = next(options for name, options in objects().items() if name.endswith(f".{cls.__name__}"))
    assert ":members:" in options
    own = {name: getattr(cls, name) for name in dir(cls) if not name.startswith("_")}
    shown = {
        name: value for name, value in own.items() if value is not None
    }  # else it is data of an instance
    assert shown
    assert [name for name, value in shown.items() if not inspect.getdoc(value)] == []
