"""Failures of commands: one line with the remedy, and the exit code."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import click

from wrenla.cli.parts.text import in_words_of_options, one_line

__all__ = ["FAILED", "INTERRUPTED", "JSON", "NUMERICAL", "PASSING", "REFUSED", "USAGE", "Failure"]

FAILED, USAGE, NUMERICAL, REFUSED, PASSING, INTERRUPTED = 1, 2, 3, 4, 5, 130
"""Exit codes, as docs/reference/command-line.md has them."""

JSON = "wrenla.json"
"""Name, in click's `Context.meta`, of whether a command was asked for a document."""

_NO_RIGHTS = frozenset({"NoCredentialsError", "PartialCredentialsError", "SSOError", "TokenRetrievalError"})
"""Errors of botocore, by name: it is not loaded unless somebody needs it."""

_NO_SPACE = "free some on the disk of the result, or on that of temporary tiles (WRENLA_STORE names another)"

_TOLD_BY_CLICK = (
    click.MissingParameter,
    click.NoSuchOption,
    click.BadOptionUsage,
    click.BadArgumentUsage,
)
"""Errors of usage that name no remedy: the help does."""


class Failure(click.ClickException):
    """End of a command that has failed.

    Parameters
    ----------
    error : BaseException
        Why.

    Attributes
    ----------
    exit_code : int
    words : sequence of str
        Of the command, as they were typed: it may fail before they are understood. With ``--debug`` the
        traceback is shown, too; with ``--json`` a document is printed, so that whoever reads them finds one.
    """

    words: Sequence[str] = ()

    def __init__(self, error: BaseException) -> None:
        super().__init__(_message(error))
        self.error = error
        self.exit_code = _code(error)  # type: ignore[misc]  # as click's own do

    def show(self, file: Any = None) -> None:
        if isinstance(self.error, click.exceptions.NoArgsIsHelpError):  # nothing was asked for
            self.error.show(file)
            return
        import json
        import traceback

        options = self.words[: self.words.index("--")] if "--" in self.words else self.words
        if "--debug" in options:
            click.echo("".join(traceback.format_exception(self.error)).rstrip(), file=file, err=True)
        begin = "" if self.exit_code == INTERRUPTED else "Error: "
        click.echo(f"{begin}{self.message}", file=file, err=True)
        if "--json" in options:
            kind = type(self.error).__name__
            said = {"type": kind, "message": self.message, "exit_code": self.exit_code}
            try:
                click.echo(json.dumps({"error": said}))
            except OSError:  # nobody reads it, or the disk is full: the exit code still says what it was
                _end_output()


def _end_output() -> None:
    """Let what standard output did not take go, or else Python would try again when it ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _message(error: BaseException) -> str:
    if isinstance(error, click.ClickException):
        hint = ""
        if isinstance(error, _TOLD_BY_CLICK) and error.ctx is not None:
            hint = f" ({error.ctx.command_path} --help)"
        return f"{one_line(error.format_message())}{hint}"
    lines = (" ".join(line.split()) for note in getattr(error, "__notes__", ()) for line in note.splitlines())
    notes = "; ".join(filter(None, lines))
    if isinstance(error, KeyboardInterrupt):
        return in_words_of_options(f"interrupted: {notes}" if notes else "interrupted")
    text = _of_system(error) or one_line(error)
    if not _is_expected(error):
        text = f"{type(error).__name__}: {text} (--debug shows where)"
    return in_words_of_options(f"{text}; {notes}" if notes else text)


def _of_system(error: BaseException) -> str:
    """Return what the system says, without its number, after the file's name; "" if it said nothing."""
    if not (isinstance(error, OSError) and error.errno and error.strerror):
        return ""
    hint = f"; {_NO_SPACE}" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return f"{error.filename}: {error.strerror}{hint}" if error.filename else f"{error.strerror}{hint}"


def _is_expected(error: BaseException) -> bool:
    """Tell whether the message is for users: an error of ours, the system's, or of arguments."""
    from wrenla.errors import WrenlaError

    return isinstance(
        error, WrenlaError | OSError | ValueError | TypeError | ImportError | NotImplementedError
    )


def _code(error: BaseException) -> int:
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, click.ClickException):
        return error.exit_code
    from wrenla import errors
    from wrenla_handler.aws_errors import NO_REGION

    if isinstance(error, errors.SettingError):
        return USAGE
    if isinstance(error, errors.LinAlgError):
        return NUMERICAL
    if isinstance(error, FileExistsError) and not isinstance(error, errors.SaveConflictError):
        return USAGE
    if _has_no_rights(error):
        return REFUSED
    if NO_REGION in str(error):
        return USAGE
    if isinstance(error, errors.TransientStoreError | errors.SaveConflictError):
        return PASSING
    # of a call: it has not begun, or nobody knows whether it has
    if isinstance(error, errors.Throttled | errors.NeverStarted | errors.Lost | errors.WorkerDied):
        return PASSING
    return FAILED


def _has_no_rights(error: BaseException | None) -> bool:
    """Tell whether credentials or permissions are lacking, here or on AWS, by the error or its causes."""
    from wrenla_handler.aws_errors import ACCESS_DENIED, error_status, is_not_accepted

    while error is not None:
        if isinstance(error, PermissionError) or type(error).__name__ in _NO_RIGHTS:
            return True
        if error_status(error)[1] in ACCESS_DENIED or is_not_accepted(error):
            return True
        error = error.__cause__
    return False
