"""Inputs of `wrenla map`, lines of a file or objects of a folder, and the file of its results."""

from __future__ import annotations

import codecs
import io
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, TextIO

import click

from wrenla.cli.parts.files import check_output
from wrenla.cli.parts.text import one_line

__all__ = ["Encoding", "Input", "check_usage", "lines_of", "objects_of", "results_in"]

_LONGEST = 80
"""Characters of an input in a message."""


class Input(NamedTuple):
    """Input of one call, and its line or object."""

    kind: str
    number: int
    value: Any

    def __str__(self) -> str:
        text = repr(self.value)
        return f"{self.kind} {self.number} ({text if len(text) <= _LONGEST else f'{text[:_LONGEST]}…'})"


class Encoding(click.ParamType[str]):
    """The name of an encoding of text that Python knows."""

    name = "encoding"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            "".encode(value)  # also refuses codecs that are not of text
        except (LookupError, ValueError):
            self.fail(f"{value!r} is no encoding of text: write utf-8, latin-1, cp1252, …", param, ctx)
        return codecs.lookup(value).name


def check_usage(
    inputs: str, output: str | None, as_objects: bool, pattern: str | None, chunk: str | None
) -> None:
    """Refuse inputs, and options about them, that do not go together; and streams that are closed."""
    if inputs == "-" and sys.stdin is None:
        raise click.UsageError("standard input is closed: name a file to take inputs from")
    if output in (None, "", "-") and sys.stdout is None:
        raise click.UsageError("standard output is closed: name a file for the results, by --output")
    if not as_objects:
        for name, value in {"--pattern": pattern, "--chunk": chunk}.items():
            if value is not None:
                raise click.UsageError(f"{name} is about objects: add --objects, with a folder as INPUTS")
        if inputs != "-" and os.path.isdir(inputs):
            raise click.UsageError(f"{inputs} is a folder: add --objects to pass what is in it")
        if inputs != "-" and not os.path.exists(inputs):
            hint = "add --objects to pass objects" if "://" in inputs else "'-' is standard input"
            raise click.UsageError(f"there is no file {inputs!r} to take inputs from; {hint}")
    elif inputs == "-":
        raise click.UsageError("--objects needs a folder or s3://bucket/prefix, not standard input")
    if output and os.path.exists(output) and os.path.exists(inputs) and os.path.samefile(output, inputs):
        raise click.UsageError(f"{output}: results would overwrite the inputs; name another file")


def lines_of(stack: ExitStack, path: str, encoding: str) -> Iterator[Input]:
    """Open a file, and return an iterator over its lines that are not empty."""
    return _lines(stack.enter_context(_text(path, encoding)), path, encoding)


@contextmanager
def _text(path: str, encoding: str) -> Iterator[TextIO]:
    """Open a text, of a file or of standard input alike: lines may end as on any system, and a mark begin it.

    Python's own standard input leaves ``\\r`` where lines end with ``\\r\\n``.
    """
    with opened(path, "rb") as stream:
        known = "utf-8-sig" if encoding == "utf-8" else encoding
        text = io.TextIOWrapper(stream, known, "surrogateescape")
        try:
            yield text
        finally:
            text.detach()  # or else it would close standard input


def _lines(stream: Any, path: str, encoding: str) -> Iterator[Input]:
    name, number = "standard input" if path == "-" else path, 0
    try:
        for number, line in enumerate(stream, 1):
            if not line.isascii():
                _check_line(line, f"{name}, line {number}", encoding)
            if text := line.removesuffix("\n"):
                yield Input("line", number, text)
    except UnicodeError as error:  # of an encoding whose bytes cannot be left as they are
        raise click.ClickException(
            f"{name}, after line {number}: not {encoding}: {one_line(error)}; name its --encoding"
        ) from error


def _check_line(line: str, place: str, encoding: str) -> None:
    """Refuse a line with bytes that the encoding has no characters for."""
    at = next((n for n, character in enumerate(line, 1) if "\udc80" <= character <= "\udcff"), 0)
    if at:
        byte = ord(line[at - 1]) - 0xDC00
        raise click.ClickException(
            f"{place}: byte 0x{byte:02x} at character {at} is not {encoding}: name the encoding of the "
            "inputs, as --encoding latin-1"
        )


def objects_of(url: str, pattern: str | None, chunk: str | None) -> Iterator[Input]:
    """List the objects of a folder or a prefix."""
    from wrenla.executors.map_api.stored_objects import objects, pattern_for

    try:
        found = objects(url, pattern=pattern, chunk=chunk)
    except FileNotFoundError as error:
        instead = pattern_for(url) if pattern is None else None
        if instead is None:
            raise click.UsageError(one_line(error)) from error
        folder, name = map(shlex.quote, instead)
        raise click.UsageError(
            f"{url} is not a folder: choose objects by their names, with --objects {folder} --pattern {name}"
        ) from error
    except ValueError as error:
        raise click.UsageError(one_line(error)) from error
    return (Input("object", number, reader) for number, reader in enumerate(found, 1))


def opened(path: str, mode: str, encoding: str = "utf-8") -> Any:
    """Open a file, or standard input or output. Bytes that are no text come as they are, one for one."""
    try:
        return click.open_file(os.path.expanduser(path), mode, encoding=encoding, errors="surrogateescape")
    except PermissionError:
        raise
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from error


@contextmanager
def results_in(path: str, overwrite: bool) -> Iterator[TextIO]:
    """Open a file that appears when the block has ended well; a device, a pipe or standard output at once."""
    path = os.path.expanduser(path)
    if path == "-" or (os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path))):
        with opened(path, "w") as stream:
            yield stream
        return
    check_output(path)
    if os.path.exists(path) and not overwrite:
        raise click.UsageError(f"{path}: there is something already; --overwrite replaces it")
    from wrenla.whole_file import whole_file

    with whole_file(path) as file:
        text = io.TextIOWrapper(file, "utf-8", "surrogateescape", write_through=True)
        try:
            yield text
        finally:
            text.detach()  # or else it would close the file
