"""`wrenla doctor`: checks of a deployment on AWS, or of this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from wrenla.cli.parts.aws_options import function_options, place_options, session
from wrenla.cli.parts.command import Command, document, told

__all__ = ["doctor"]


@click.command(
    cls=Command,
    short_help="Check that AWS, or this machine, is as it should be.",
    examples=("wrenla doctor local", "wrenla doctor local --json", "wrenla doctor"),
)
@click.argument("what", type=click.Choice(["aws", "local"]), default="aws", metavar="[aws|local]")
@function_options
@place_options
@click.pass_context
def doctor(
    context: click.Context, /, what: str, profile: str | None, region: str | None, **options: Any
) -> None:
    """Check that everything is there and works, and say what to do where it does not.

    aws, which is meant if nothing is said: the function, its bucket, rights, versions. Invokes the function
    three times; it and this machine each write, read and remove one tile of 8 MiB.

    local: this machine, without AWS: processors, memory, BLAS and its speed, the store for temporary tiles,
    the disk, a worker process, and which extras are installed.

    Ends with 1 if something failed.
    """
    if what == "local":
        from wrenla.executors.local.doctor import examine_machine

        checks = examine_machine()
    else:
        from wrenla.aws.doctor import examine
        from wrenla.aws.spec import DeploySpec

        checks = examine(session(profile, region), DeploySpec(**options))
    found = []
    for check in checks:
        found.append(check)
        told(f"{check.state:<8} {check.name:<16} {check.text}")
        if check.state == "failed" and check.remedy:
            told(f"{'':<25} → {check.remedy}")
    fine = all(check.state != "failed" for check in found)
    if what == "aws" and found[0].state == "failed":
        told("without AWS: `wrenla doctor local` checks this machine")
    document({"what": what, "ok": fine, "checks": [asdict(check) for check in found]})
    context.exit(0 if fine else 1)
