"""Source lines for tracebacks: sent with the code where the worker has no such file."""

from __future__ import annotations

import functools
import hashlib
import json
import linecache
import os
import re
import threading
import types
from collections.abc import Iterable
from typing import Any

from wrenla_handler.serialize.modules import Source, hash_of

__all__ = [
    "FILE",
    "MARK",
    "code_at",
    "code_with_lines",
    "here_first",
    "install_lines",
    "lines_as_source",
    "mark_of",
    "remember",
    "source_of",
    "span_of",
]

FILE = 10
"""Where the name of its file is among the arguments that make code."""

MARK = re.compile(rb"<wrenla-[0-9a-f]{32}>")
"""What `mark_of` returns, as bytes of a pickle."""

_MOST = 64 << 10
"""Characters of source that travel with one piece of code."""

_lock = threading.Lock()
_known: dict[str, dict[int, str]] = {}
"""Lines that came with code, by the names of their files."""

_places: dict[str, str] = {}
"""Names of files that marks stand for."""

_received_first = False


def here_first(received: bool) -> None:
    """Say whether lines that come with code count more than the files that are here: in workers they do."""
    global _received_first
    _received_first = received


@functools.lru_cache(maxsize=1024)
def span_of(code: types.CodeType) -> tuple[int, int]:
    """Return the first and the last line of some code, with all that is inside it."""
    numbers = [code.co_firstlineno, *(line for _, _, line in code.co_lines() if line)]
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            numbers += span_of(constant)
    return min(numbers), max(numbers)


def source_of(code: types.CodeType) -> str:
    """Return the source lines of some code, "" if they cannot be had."""
    first, last = span_of(code)
    lines = linecache.getlines(code.co_filename)
    if not lines and hasattr(linecache, "_getlines_from_code"):  # `python -c`, from 3.13 on
        lines = linecache._getlines_from_code(code)
    text = "".join(lines[first - 1 : last])
    return text if len(text) <= _MOST else ""


def code_with_lines(first: int, text: str, *arguments: Any) -> types.CodeType:
    """Make code from a pickle, and note its source lines."""
    remember(arguments[FILE], first, text)
    return types.CodeType(*arguments)


def code_at(*arguments: Any) -> types.CodeType:
    """Make code from a pickle that has a mark in place of the name of its file."""
    mark = arguments[FILE]
    parts = (*arguments[:FILE], _places.get(mark, mark), *arguments[FILE + 1 :])
    return types.CodeType(*parts)


def mark_of(number: int, text: str) -> str:
    """Return what stands in a pickle for the name of file number so-and-so, some of whose lines are given.

    The same script has other names: with the folder or without it, through a link, from the standard input,
    in each notebook.
    """
    return f"<wrenla-{hashlib.sha256(f'{number} {text}'.encode()).hexdigest()[:32]}>"


def lines_as_source(mark: str, name: str, first: int, text: str) -> Source:
    """Return source lines as they travel among the sources of modules: as one without a name."""
    document = json.dumps([mark, first, text])
    return Source("", name, False, hash_of(document), document)


def install_lines(sources: Iterable[Source]) -> list[Source]:
    """Note the source lines that are among the sources of modules, and return the others."""
    modules = []
    for source in sources:
        if source.name:
            modules.append(source)
            continue
        mark, first, text = json.loads(source.text)
        _places[mark] = source.path
        if text:
            remember(source.path, first, text)
    return modules


def remember(name: str, first: int, text: str) -> None:
    """Let tracebacks show lines of a file as they were where the code came from."""
    with _lock:
        if name not in _known and not _received_first and (name in linecache.cache or os.path.exists(name)):
            return  # this is where the code came from
        lines = _known.setdefault(name, {})
        lines.update(enumerate(text.splitlines(keepends=True), first))
        linecache.cache[name] = (0, None, _filled(lines), name)  # None: no file to compare it with


def _filled(lines: dict[int, str]) -> list[str]:
    return [lines.get(number, "\n") for number in range(1, max(lines, default=0) + 1)]
