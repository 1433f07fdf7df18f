"""The command `wrenla sandbox`: a Lambda on this machine."""

from __future__ import annotations

import contextlib
import shlex
import signal
import threading
from collections.abc import Iterator
from typing import Any

import click

from wrenla.aws.sandbox import LocalLambda

__all__ = ["commands"]


@click.command(short_help="Run a Lambda on this machine, until Ctrl-C.")
@click.option("--function", default="wrenla", show_default=True, help="Name of the function.")
@click.option("--memory", type=int, default=1769, show_default=True, metavar="MB", help="Of each call.")
@click.option("--timeout", type=int, default=900, show_default=True, metavar="SECONDS", help="Of each call.")
@click.option("--concurrency", type=int, metavar="N", help="Calls at a time, reserved for the function.")
@click.option(
    "--account-concurrency", type=int, default=1000, show_default=True, metavar="N", help="Calls at a time."
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
@click.option("--port", type=int, default=0, help="Of the Lambda API.  [default: one that is free]")
def sandbox(no_deploy: bool, **options: Any) -> None:
    """Run a Lambda on this machine until Ctrl-C, and print what points to it.

    It serves Lambda's API with Lambda's limits, and S3, IAM, STS and CloudWatch Logs beside it, on 127.0.0.1.
    What is in it is gone when it ends. In another terminal, paste the lines that it prints: then no command
    there can reach a real account.
    """
    ended = threading.Event()
    with _told_by_signals(ended), LocalLambda(deploy=not no_deploy, **options) as aws:
        for name, value in aws.variables.items():
            click.echo(f"export {name}={shlex.quote(value)}")
        for name in aws.removed:
            click.echo(f"unset {name}")
        what = f"{aws.function} in {aws.bucket}" if aws.bucket else "no function yet: wrenla deploy"
        click.echo(f"# {what}; {aws.isolation}, {aws.memory_guard}", err=True)
        for missing in aws.missing:
            click.echo(f"# unlike Lambda: {missing}", err=True)
        click.echo("# Ctrl-C ends it", err=True)
        while not ended.wait(0.5):
            aws.check()


@contextlib.contextmanager
def _told_by_signals(ended: threading.Event) -> Iterator[None]:
    """Set an event when the process is told to end, instead of being interrupted anywhere."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, lambda *_: ended.set()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


commands: tuple[click.Command, ...] = (sandbox,)
"""A Lambda on this machine."""
