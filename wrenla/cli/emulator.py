"""`wrenla emulator`: run the Lambda emulator."""

from __future__ import annotations

import contextlib
import shlex
import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

import click

from wrenla.cli.parts.command import Command, document, told
from wrenla.cli.parts.deployment_log import saying_what_is_done

if TYPE_CHECKING:
    from wrenla.emulator import LambdaEmulator

__all__ = ["emulator"]


@click.command(
    cls=Command,
    short_help="Run the Lambda emulator until Ctrl-C.",
    examples=(
        "wrenla emulator --no-deploy --isolation plain --memory 512",
        "wrenla emulator --memory 3008 --concurrency 50",
    ),
)
@click.option("--function", default="wrenla", show_default=True, help="Name of the function.")
@click.option(
    "--memory",
    type=click.IntRange(128, 10240),
    default=1769,
    show_default=True,
    metavar="MB",
    help="Of each call.",
)
@click.option(
    "--timeout",
    type=click.IntRange(1, 900),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="Of each call.",
)
@click.option(
    "--concurrency", type=click.IntRange(1), metavar="N", help="Calls at a time, reserved for the function."
)
@click.option(
    "--account-concurrency",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    metavar="N",
    help="Calls at a time.",
)
@click.option(
    "--isolation",
    type=click.Choice(["auto", "bubblewrap", "plain"]),
    default="auto",
    show_default=True,
    help="How functions are kept apart from this machine.",
)
@click.option("--enforce-iam", is_flag=True, help="Enforce policies of users and roles, not of buckets.")
@click.option("--no-deploy", is_flag=True, help="Without a function: `wrenla deploy` makes it.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=0,
    help="Of the Lambda API.  [default: one that is free]",
)
def emulator(no_deploy: bool, **options: Any) -> None:
    """Run the Lambda emulator, a Lambda on this machine, until Ctrl-C, and print what points to it.

    It serves Lambda's API with Lambda's limits, and S3, IAM, STS and CloudWatch Logs beside it, on 127.0.0.1.
    What is in it is gone when it ends. In another terminal, paste the lines that it prints: then no command
    there can reach a real account.
    """
    with _Signals() as signals:
        try:
            made = _made(deploy=not no_deploy, **options)
            with contextlib.ExitStack() as stack:
                with saying_what_is_done("# "):
                    aws = stack.enter_context(made)
                signals.wait_for()
                _print(aws)
                while not signals.told.wait(0.5):
                    aws.check()
        except _ToldToEndError:
            click.echo("ended before it was ready; nothing is left", err=True)
            raise click.exceptions.Exit(128 + signals.number) from None


def _made(**options: Any) -> LambdaEmulator:
    from wrenla.emulator import LambdaEmulator

    try:
        return LambdaEmulator(**options)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _print(aws: LambdaEmulator) -> None:
    for name, value in aws.variables.items():
        told(f"export {name}={shlex.quote(value)}")
    for name in aws.removed:
        told(f"unset {name}")
    document(
        {
            "variables": dict(aws.variables),
            "unset": list(aws.removed),
            "function": aws.function,
            "bucket": aws.bucket or None,
            "isolation": str(aws.isolation),
        }
    )
    what = f"{aws.function} in {aws.bucket}" if aws.bucket else "no function yet: wrenla deploy"
    click.echo(f"# {what}; {aws.isolation}, {aws.memory_guard}", err=True)
    for missing in aws.missing:
        click.echo(f"# unlike Lambda: {missing}", err=True)
    click.echo("# Ctrl-C ends it", err=True)


class _ToldToEndError(KeyboardInterrupt):
    """A signal ended the emulator before it had started."""


class _Signals:
    """Tells when the process is told to end: while the emulator starts, which takes long, by an exception.

    Attributes
    ----------
    told : threading.Event
    number : int
        Of the first signal.
    """

    def __init__(self) -> None:
        self.told = threading.Event()
        self.number = 0
        self._interrupts = True
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._tell)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def wait_for(self) -> None:
        """Let signals set the event from now on, instead of interrupting."""
        self._interrupts = False
        if self.told.is_set():  # the exception was lost, as it is in a finalizer
            raise _ToldToEndError

    def _tell(self, number: int, _: FrameType | None) -> None:
        if not self.told.is_set():
            self.number = number
        self.told.set()
        if self._interrupts:
            self._interrupts = False  # what was started is being undone: to interrupt that would leave things
            raise _ToldToEndError
