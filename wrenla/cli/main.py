"""Command line: the commands by name, each loaded when it is named."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import click

from wrenla.cli.parts.command import write_examples
from wrenla.cli.parts.failures import INTERRUPTED, Failure
from wrenla.cli.parts.interrupts import Interrupts

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["COMMANDS", "main"]

COMMANDS: Mapping[str, str] = {
    "cholesky": "Factor a positive definite matrix.",
    "clean": "Remove what runs that failed or were killed have left.",
    "cp": "Copy a matrix: .npy, Zarr, folder, S3.",
    "demo": "Reconstruct a mountain range within little memory.",
    "deploy": "Set up the function on AWS Lambda, or bring it up to date.",
    "destroy": "Remove what deploy has made.",
    "doctor": "Check that AWS, or this machine, is as it should be.",
    "emulator": "Run the Lambda emulator until Ctrl-C.",
    "info": "Describe the matrix at an address, and look for its tiles.",
    "logs": "Print what the function has written to its log.",
    "ls": "List the matrices in the bucket, or below URL.",
    "map": "Call a function with each line or object, in parallel.",
    "matmul": "Multiply two matrices.",
    "plan": "Show tasks, memory, time and cost without computing.",
    "report": "Write the report of a run from its record.",
    "settings": "Show the settings in force and where each comes from.",
    "solve": "Solve a linear system.",
    "version": "Show versions of wrenla and of what it computes with.",
}
"""Names of commands, and what each does: the help shows them without loading any."""

_EXAMPLES = (
    "wrenla solve A.npy b.npy -o x.npy --assume-a pos",
    "wrenla plan cholesky 100000",
    "wrenla info A.npy --json",
)


def _loaded(name: str) -> click.Command | None:
    """Import the module of a command: they need NumPy, SciPy or boto3 when they run, and help does not."""
    match name:
        case "solve" | "cholesky" | "matmul":
            from wrenla.cli import algebra

            return algebra.commands[name]
        case "deploy" | "destroy" | "logs":
            from wrenla.cli import aws

            return aws.commands[name]
        case "info" | "ls":
            from wrenla.cli import stored

            return stored.commands[name]
        case "clean":
            from wrenla.cli.clean import clean

            return clean
        case "cp":
            from wrenla.cli.cp import cp

            return cp
        case "demo":
            from wrenla.cli.demo import demo

            return demo
        case "doctor":
            from wrenla.cli.doctor import doctor

            return doctor
        case "emulator":
            from wrenla.cli.emulator import emulator

            return emulator
        case "map":
            from wrenla.cli.map import map_command

            return map_command
        case "plan":
            from wrenla.cli.algebra import plan

            return plan
        case "report":
            from wrenla.cli.report import report

            return report
        case "settings":
            from wrenla.cli.settings import show_settings

            return show_settings
        case "version":
            from wrenla.cli.version import version

            return version
    return None


class _Commands(click.Group):
    """Group whose commands are loaded when they are named, and whose failures are one line and a code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return _loaded(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = ctx.resilient_parsing or not args or args[0] in COMMANDS or args[0].startswith("-")
        if not known:  # nobody hears of it while a shell completes
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(COMMANDS))}"
            raise click.UsageError(f"there is no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_examples(_EXAMPLES, formatter)
        super().format_epilog(ctx, formatter)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[Any]]:
        from click.shell_completion import CompletionItem

        found = [
            CompletionItem(name, help=text)
            for name, text in sorted(COMMANDS.items())
            if name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        # click ends quietly when whoever reads our output has gone (`| head`)
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except (Exception, KeyboardInterrupt) as error:
            raise Failure(error) from error

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run a command and end the process with its exit code."""
        words = sys.argv[1:] if args is None else list(args)
        try:
            if any(name.endswith("_COMPLETE") for name in os.environ):  # a shell asks
                from wrenla.cli.parts.completion import prepare

                prepare()
            with Interrupts():
                code = super().main(words, prog_name, standalone_mode=False, **extra)
        except click.Abort as error:
            # of a question: Ctrl-C, or no
            interrupted = isinstance(error.__context__, KeyboardInterrupt)
            click.echo("interrupted" if interrupted else "aborted", err=True)
            sys.exit(INTERRUPTED if interrupted else 1)
        except (click.ClickException, OSError) as error:  # the latter of help that cannot be printed
            failure = error if isinstance(error, Failure) else Failure(error)
            failure.words = words
            failure.show()
            sys.exit(failure.exit_code)
        sys.exit(code if isinstance(code, int) else 0)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="wrenla")
def main() -> None:
    """Linear algebra on matrices larger than memory, in tiles: solve, factor, multiply, copy, look at them.

    A matrix is a .npy file, a Zarr array or a matrix that wrenla has stored: a path, file:///folder or
    s3://bucket/prefix. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 singular or otherwise numerical,
    4 no rights, 5 in passing (run it again), 130 interrupted.
    """
