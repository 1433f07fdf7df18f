"""Imports that code makes when it runs, read from its byte code.

`ast.parse` in two threads at once fails in some releases of Python (python/cpython#106905).
"""

from __future__ import annotations

import dis
import functools
import re
import types
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = [
    "absolute",
    "content_of",
    "imported_by",
    "imported_by_function",
    "imports_relatively",
    "parts_of_code",
]

_BY_NAME = frozenset({"import_module", "__import__"})
"""Where code calls these, its strings may be names of modules."""

_NAME = re.compile(r"\.*[^\W\d]\w*(\.[^\W\d]\w*)*")


@functools.lru_cache(maxsize=512)
def imported_by(code: types.CodeType, package: str) -> frozenset[str]:
    """Return the modules that code imports, if `package` is what it takes relative names from.

    Strings that may be names of modules are among them where the code imports by name.
    """
    parts = list(parts_of_code(code))
    names = {name for part in parts for name in _statements(part, package)}
    if imports_by_name(parts):
        names |= _named((constant for part in parts for constant in part.co_consts), package)
    return frozenset(names)


def imported_by_function(function: types.FunctionType) -> frozenset[str]:
    """Return the modules that a function imports; the names of some may be in variables that it refers to."""
    package = str(function.__globals__.get("__package__") or "")
    names = imported_by(function.__code__, package)
    parts = list(parts_of_code(function.__code__))
    if not imports_by_name(parts):
        return names
    known = function.__globals__
    values = [known.get(name) for part in parts for name in part.co_names]
    values += function.__defaults__ or ()
    values += (function.__kwdefaults__ or {}).values()
    values += [content_of(cell) for cell in function.__closure__ or ()]
    return names | _named(values, package)


def imports_relatively(code: types.CodeType) -> bool:
    """Tell whether code imports from the package around it."""
    return any(level for part in parts_of_code(code) for level, _, _ in _instructions(part))


def imports_by_name(parts: Iterable[types.CodeType]) -> bool:
    """Tell whether code calls a function that imports a module by name."""
    return any(not _BY_NAME.isdisjoint((*part.co_names, *part.co_freevars)) for part in parts)


def parts_of_code(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield some code and what is inside it: functions, classes, comprehensions."""
    yield code
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from parts_of_code(inner)


def _statements(code: types.CodeType, package: str) -> Iterator[str]:
    """Yield what import statements name: modules, or what may be an attribute of one."""
    for level, name, listed in _instructions(code):
        origin = absolute("." * level + name, package)
        yield origin
        yield from (f"{origin}.{each}" for each in listed)


def _instructions(code: types.CodeType) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Yield of each import statement how many dots it has, its module, and what it takes from that."""
    constants = list[Any]()
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME":  # which finds its level and its list on the stack
            level, listed = constants[-2:]
            yield level, instruction.argval, listed or ()
        elif instruction.opname.startswith("LOAD_"):
            constants.append(instruction.argval)


def _named(values: Iterable[Any], package: str) -> set[str]:
    """Return what may be names of modules among some values, and in their lists and tables."""
    names = set[str]()
    for value in values:
        texts = value if isinstance(value, tuple | list | set | frozenset | dict) else (value,)
        more = value.values() if isinstance(value, dict) else ()
        for text in (*texts, *more):
            if isinstance(text, str) and _NAME.fullmatch(text):
                names.add(absolute(text, package))
    return names


def absolute(name: str, package: str) -> str:
    """Return the full name of a module from a name that may begin with dots."""
    bare = name.lstrip(".")
    level = len(name) - len(bare)
    around = package.split(".") if package else []
    above = around[: len(around) - level + 1] if level else []
    return ".".join([*above, *([bare] if bare else [])])


def content_of(cell: Any) -> Any:
    """Return what a closure's cell holds, None if that is nothing yet."""
    try:
        return cell.cell_contents
    except ValueError:  # nothing in it yet
        return None
