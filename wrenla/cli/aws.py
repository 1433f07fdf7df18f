"""Commands for AWS: deploy, destroy, logs."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from wrenla.cli.parts.aws_options import function_options, place_options, session
from wrenla.cli.parts.command import Command, document, is_json, told
from wrenla.cli.parts.deployment_log import saying_what_is_done
from wrenla.cli.parts.params import Duration

if TYPE_CHECKING:
    from wrenla.aws.spec import DeploySpec

__all__ = ["commands"]


class _Tag(click.ParamType[tuple[str, str]]):
    """A pair key=value."""

    name = "k=v"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        key, equals, text = value.partition("=")
        if not (key and equals):
            self.fail(f"{value!r}: write key=value", param, ctx)
        return key, text


@click.command(
    name="deploy",
    cls=Command,
    short_help="Set up the function on AWS Lambda, or bring it up to date.",
    examples=(
        "wrenla deploy --dry-run",
        "wrenla deploy --memory 3008 --tags team=climate",
        "wrenla deploy --write-policies policies",
    ),
)
@function_options
@place_options
@click.option(
    "--memory",
    type=click.IntRange(min=1),
    metavar="MB",
    help="1769 are one processor.  [default: as deployed, else 1769]",
)
@click.option(
    "--timeout",
    type=click.IntRange(min=1),
    metavar="S",
    help="Seconds that one call may last.  [default: as deployed, else 900]",
)
@click.option(
    "--storage",
    type=click.IntRange(min=1),
    metavar="MB",
    help="Of /tmp.  [default: as deployed, else 512]",
)
@click.option("--arch", type=click.Choice(["x86_64", "arm64"]), help="[default: as deployed, else x86_64]")
@click.option(
    "--requirements",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What else your functions need, as for pip.  [default: as deployed]",
)
@click.option("--no-requirements", is_flag=True, help="Nothing else than wrenla needs any more.")
@click.option(
    "--role",
    metavar="ARN",
    help="A role to use; '' is one that is made.  [default: as deployed, else '']",
)
@click.option(
    "--permissions-boundary",
    metavar="ARN",
    help="Bounds the role that is made, which then takes no administrator.  [default: as deployed]",
)
@click.option("--tags", type=_Tag(), multiple=True, metavar="K=V", help="For all that is made; repeatable.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--print-policies", is_flag=True, help="Print who needs which permissions, and do nothing.")
@click.option(
    "--write-policies",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="The same as files for `aws iam create-policy`.",
)
def deploy_command(
    profile: str | None,
    region: str | None,
    dry_run: bool,
    print_policies: bool,
    write_policies: Path | None,
    no_requirements: bool,
    **options: Any,
) -> None:
    """Set up the function on AWS Lambda, with its bucket and role, or bring it up to date.

    Says what it does. Doing it again changes only what is different; after a failure it goes on where it was.
    What is not named stays as it is deployed.
    """
    if options["role"] and options["permissions_boundary"]:
        raise click.UsageError("--permissions-boundary is for the role that is made; with --role none is")
    if no_requirements:
        if options["requirements"] is not None:
            raise click.UsageError("--requirements and --no-requirements exclude each other")
        options["requirements"] = Path(os.devnull)
    from wrenla.aws.deploy import DeploySpec, deploy

    user, spec = session(profile, region), DeploySpec(**options)
    if print_policies or write_policies is not None:
        policies = _policies(user, spec)
        if print_policies:
            click.echo(json.dumps({policy.who: policy.text for policy in policies}, indent=2))
        if write_policies is not None:
            _write_policies(write_policies, policies)
        return
    steps = _Steps("would " if dry_run else "")
    with saying_what_is_done():
        done = deploy(user, spec, dry_run=dry_run, tell=steps.tell)
    if not done.changed:
        told("nothing to change")
    told(f"{done.function_arn}, s3://{done.bucket}/{done.prefix}")
    document(
        {
            "dry_run": dry_run,
            "changed": bool(done.changed),
            "steps": steps.done,
            "function_arn": done.function_arn,
            "bucket": done.bucket,
            "prefix": done.prefix,
        }
    )


class _Steps:
    """Steps of a deployment: each is told when it is done, or would be."""

    def __init__(self, begin: str = "") -> None:
        self.done: list[str] = []
        self._begin = begin

    def tell(self, line: str) -> None:
        self.done.append(line)
        told(f"{self._begin}{line}")


class _NamedPolicy(NamedTuple):
    """Policy, its file name, and its owner."""

    file: str
    who: str
    text: dict[str, Any]


_MAKES_THE_ROLE = (
    "who makes the role, or changes its policy, needs as well as who deploys, and is an administrator by it "
    "(the first to deploy; with --permissions-boundary nobody: a managed policy of what the role may is one)"
)


def _policies(user: Any, spec: DeploySpec) -> list[_NamedPolicy]:
    from wrenla.aws.connect import connect_without_rights
    from wrenla.aws.policies import (
        deployer_policy,
        destroyer_policy,
        driver_policy,
        role_maker_policy,
        role_policy,
    )

    resolved, why = connect_without_rights(user, spec)
    if why:
        click.echo(
            f"not looked at what is deployed, so what you do not name is the default ({why}); put your own "
            "for ACCOUNT and REGION where they stand",
            err=True,
        )
    made = [
        _NamedPolicy("function", "the function's role may", role_policy(resolved)),
        _NamedPolicy("run", "who runs on it needs", driver_policy(resolved)),
        _NamedPolicy("deploy", "who deploys needs", deployer_policy(resolved)),
        _NamedPolicy("destroy", "who destroys needs as well", destroyer_policy(resolved)),
    ]
    if (maker := role_maker_policy(resolved)) is not None:
        made.append(_NamedPolicy("make-role", _MAKES_THE_ROLE, maker))
    return made


def _write_policies(folder: Path, policies: Iterable[_NamedPolicy]) -> None:
    """Write each policy into a file of its own, and print the command that makes it a managed one."""
    folder.mkdir(parents=True, exist_ok=True)
    for policy in policies:
        path = folder / f"{policy.file}.json"
        path.write_text(json.dumps(policy.text, indent=2) + "\n")
        click.echo(f"# {policy.who}")
        document = shlex.quote(f"file://{path}")
        click.echo(f"aws iam create-policy --policy-name wrenla-{policy.file} --policy-document {document}")


@click.command(
    name="destroy",
    cls=Command,
    short_help="Remove what deploy has made.",
    examples=("wrenla destroy --dry-run", "wrenla destroy --yes --data"),
)
@function_options
@place_options
@click.option("--role", default="", metavar="ARN", help="The role given to deploy: it stays.")
@click.option(
    "--data", is_flag=True, help="Also matrices and temporaries, and the bucket if nothing else is in it."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
def destroy_command(
    profile: str | None, region: str | None, data: bool, yes: bool, dry_run: bool, **options: Any
) -> None:
    """Remove what deploy has made. Matrices stay, unless there is --data.

    A bucket that deploy has not made is never removed, nor is what wrenla has not written, nor are matrices
    that another function has too. After a failure the same command goes on. Once the function is gone,
    nothing tells which bucket and prefix it had: name them with --bucket and --prefix if they were not the
    default ones.
    """
    from wrenla.aws.destroy import destroy
    from wrenla.aws.spec import DeploySpec

    user, spec = session(profile, region), DeploySpec(**options)
    if dry_run or not yes:
        steps = _Steps("would ")
        planned = destroy(user, spec, data=data, dry_run=True, tell=steps.tell)
        if dry_run or not planned:
            _end(planned, dry_run=dry_run)
            return
        if is_json():
            raise click.UsageError(
                "--json answers no questions: add --yes, or --dry-run to see what would go"
            )
        click.confirm("Go on?", abort=True)
    # It looks again: what is there may have changed while the question stood on the screen.
    _end(destroy(user, spec, data=data, tell=told), dry_run=False)


def _end(done: tuple[str, ...], *, dry_run: bool) -> None:
    if not done:
        told("nothing to remove")
    document({"dry_run": dry_run, "steps": list(done)})


@click.command(
    name="logs",
    cls=Command,
    short_help="Print what the function has written to its log.",
    examples=("wrenla logs", "wrenla logs --since 30m --json"),
)
@function_options
@click.option("--since", type=Duration(), default=3600.0, metavar="TIME", help="30m, 2h, 1d.  [default: 1h]")
@click.option("--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
def logs_command(profile: str | None, region: str | None, function: str, since: float, follow: bool) -> None:
    """Print what the function has written to its log. Times are UTC.

    With --json each line is a document of its own, as there may be no end of them.
    """
    from wrenla.aws.logs import log_lines
    from wrenla.aws.spec import DeploySpec

    spec = DeploySpec(function=function)
    for line in log_lines(session(profile, region), spec, since=since, follow=follow):
        told(f"{line.when:%Y-%m-%d %H:%M:%S} {line.stream[-8:]} {line.text}")
        document({"when": line.when.isoformat(), "stream": line.stream, "text": line.text})


commands: Mapping[str, click.Command] = {
    "deploy": deploy_command,
    "destroy": destroy_command,
    "logs": logs_command,
}
"""Deployment to AWS."""
