"""Commands that have examples, `--json` and `--debug`, and options that several of them share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from wrenla.cli.parts.failures import JSON

__all__ = ["Command", "Group", "as_json", "document", "is_json", "told", "with_options", "write_examples"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Command(click.Command):
    """Command that every other one is.

    Parameters
    ----------
    examples : sequence of str
        Shown at the end of its help; the tests run them.
    has_json : bool
        Add ``--json``: False for a command that has one of its own.
    **others
        As for `click.Command`.
    """

    def __init__(
        self, *args: Any, examples: Sequence[str] = (), has_json: bool = True, **others: Any
    ) -> None:
        super().__init__(*args, **others)
        self.examples = tuple(examples)
        self.has_json = has_json
        if has_json:
            self.params.append(_flag("--json", "Print one JSON document on standard output.", _note_json))
        self.params.append(_flag("--debug", "Show the traceback of an error.", None))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        write_examples(self.examples, formatter)
        super().format_epilog(ctx, formatter)


class Group(click.Group):
    """Group of such commands, below the one of all."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the first example of each command."""
        found = [command for command in self.commands.values() if isinstance(command, Command)]
        write_examples([example for command in found for example in command.examples[:1]], formatter)
        super().format_epilog(ctx, formatter)


def write_examples(examples: Sequence[str], formatter: click.HelpFormatter) -> None:
    """Write examples, each on a line of its own, however long: they are there to be copied."""
    if examples:
        with formatter.section("Examples"):
            for line in examples:
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


def _flag(name: str, text: str, callback: Callable[..., None] | None) -> click.Option:
    """Return an option that the command's function does not get: see `Failure`, which looks for both."""
    return click.Option([name], is_flag=True, expose_value=False, help=text, callback=callback)


def _note_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.meta[JSON] = value


def with_options(*options: Callable[[_Function], _Function]) -> Callable[[_Function], _Function]:
    """Return a decorator that adds some options, the first one first."""

    def add(command: _Function) -> _Function:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def is_json() -> bool:
    """Tell whether the command that runs was asked for JSON."""
    return bool(click.get_current_context().meta.get(JSON))


def told(text: str) -> None:
    """Print a line of text, unless a document is printed at the end."""
    if not is_json():
        click.echo(text)


def document(values: Mapping[str, Any]) -> None:
    """Print the document of a command that was asked for JSON, on one line.

    NaN and infinity, which JSON does not know, are null; NumPy's numbers are numbers.
    """
    if is_json():
        click.echo(as_json(values))


def as_json(value: Any) -> str:
    """Return a value as JSON; NaN and infinity, which Python would print as they are, as null.

    Examples
    --------
    >>> as_json({"x": [1.5, float("nan"), float("inf")]})
    '{"x": [1.5, null, null]}'
    """
    import json

    try:
        return json.dumps(value, default=_plain, allow_nan=False)
    except ValueError:
        return json.dumps(json.loads(json.dumps(value, default=_plain), parse_constant=lambda _: None))


def _plain(value: Any) -> Any:
    """Return NumPy's numbers and arrays as JSON knows them."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"the result contains a {type(value).__name__}, which JSON does not know")
