"""Load the function of a script for `wrenla map`."""

from __future__ import annotations

import difflib
import os
import runpy
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from wrenla.cli.parts.text import described

__all__ = ["function_of"]

_RUN_NAME = "__wrenla_map__"
"""What `__name__` is in the script: no module's name, so that its functions travel by value."""

_ALIKE = 0.75
"""How alike names must be, of 1, for one to be offered in place of the other."""


@contextmanager
def function_of(target: str, show_trace: bool) -> Iterator[Callable[..., Any]]:
    """Load a function from a script; as long as it is in use, modules beside the script can be imported."""
    script, colon, name = target.rpartition(":")
    if not colon or not name.isidentifier():
        raise click.UsageError(
            f"{target!r} names no function: write SCRIPT.py:FUNCTION, as in words.py:count"
        )
    path = Path(script)
    if not path.is_file():
        raise click.UsageError(f"there is no script {script!r}{_nearest(path.name, _scripts_beside(path))}")
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)
    try:
        yield _found(_executed(script, show_trace), script, name)
    finally:
        if folder in sys.path:  # the script may have changed it
            sys.path.remove(folder)


def _executed(script: str, show_trace: bool) -> dict[str, Any]:
    try:
        return runpy.run_path(script, run_name=_RUN_NAME)
    except SystemExit as error:
        raise click.UsageError(
            f"{script} ended itself ({error}) when it was loaded: let what only a program does stand below "
            'if __name__ == "__main__":'
        ) from error
    except Exception as error:
        if show_trace:
            click.echo(traceback.format_exc().rstrip(), err=True)
        frames = traceback.extract_tb(error.__traceback__)
        lines = [each.lineno for each in frames if os.path.abspath(each.filename) == os.path.abspath(script)]
        place = f"{script}, line {lines[-1]}" if lines else script
        hint = "" if show_trace else " (--traceback shows where)"
        raise click.UsageError(f"{place}: loading the script failed: {described(error)}{hint}") from error


def _found(names: dict[str, Any], script: str, name: str) -> Callable[..., Any]:
    functions = [
        key
        for key, value in names.items()
        if callable(value)
        and getattr(value, "__module__", None) == _RUN_NAME
        and not (key.startswith("_") or _prints_as_address(value))
    ]
    if name not in names:
        raise click.UsageError(f"{script} has no function {name!r}{_nearest(name, functions)}")
    function = names[name]
    if not callable(function):
        kind = type(function).__name__
        # the name is as it was meant: what is alike is something else
        raise click.UsageError(
            f"{name!r} in {script} cannot be called, it is of type {kind}{_those(functions)}"
        )
    if _prints_as_address(function):
        raise click.UsageError(
            f"{name!r} in {script} is a class whose objects print as nothing but an address: name a function "
            "that returns what is to be printed, or give the class a __str__"
        )
    return function  # type: ignore[no-any-return]


def _prints_as_address(value: Any) -> bool:
    """Tell whether this is a class whose objects print as ``<C object at 0x…>``."""
    if not isinstance(value, type):
        return False
    return all(getattr(value, name) is getattr(object, name) for name in ("__str__", "__repr__"))


def _nearest(name: str, others: list[str]) -> str:
    near = difflib.get_close_matches(name, others, 1, _ALIKE)
    return f"; did you mean {near[0]!r}?" if near else _those(others)


def _those(names: list[str]) -> str:
    return f"; there is: {', '.join(sorted(names)[:10])}" if names else "; there is none"


def _scripts_beside(path: Path) -> list[str]:
    return [other.name for other in path.parent.glob("*.py")] if path.parent.is_dir() else []
