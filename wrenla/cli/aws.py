"""Commands for AWS: deploy, destroy, doctor, logs, ls."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from wrenla.aws.connect import connect, connect_without_rights
from wrenla.aws.deploy import DeploySpec, deploy
from wrenla.aws.destroy import destroy
from wrenla.aws.doctor import examine
from wrenla.aws.error_messages import DeployError, translating
from wrenla.aws.inventory import StoredMatrix, stored_matrices
from wrenla.aws.logs import log_lines
from wrenla.aws.policies import (
    deployer_policy,
    destroyer_policy,
    driver_policy,
    role_maker_policy,
    role_policy,
)
from wrenla.cli.address_check import why_no_folder
from wrenla.cli.params import Duration
from wrenla.cli.text import counted, saying_what_is_done
from wrenla.units import format_bytes
from wrenla_handler.stores.base import Store
from wrenla_handler.stores.s3.credentials import renewing_session
from wrenla_handler.stores.s3.store import S3Store
from wrenla_handler.stores.urls import open_store

__all__ = ["commands"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


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


def _function_options(command: _Command) -> _Command:
    """Add the options that say where: every command has them."""
    for option in (
        click.option("--function", default="wrenla", show_default=True, help="Name of the function."),
        click.option("--region", help="[default: AWS_DEFAULT_REGION, or the profile's]"),
        click.option("--profile", help="Of ~/.aws/config.  [default: AWS_PROFILE]"),
    ):
        command = option(command)
    return command


def _place_options(command: _Command) -> _Command:
    for option in (
        click.option("--prefix", help="What keys begin with.  [default: the function's, or wrenla]"),
        click.option("--bucket", help="[default: the function's, or wrenla-ACCOUNT-REGION]"),
    ):
        command = option(command)
    return command


def _session(profile: str | None, region: str | None) -> Any:
    with translating():
        return renewing_session(profile, region)


@click.command(name="deploy", short_help="Set up the function on AWS Lambda, or bring it up to date.")
@_function_options
@_place_options
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
    session, spec = _session(profile, region), DeploySpec(**options)
    if print_policies or write_policies is not None:
        policies = _policies(session, spec)
        if print_policies:
            click.echo(json.dumps({policy.who: policy.text for policy in policies}, indent=2))
        if write_policies is not None:
            _write_policies(write_policies, policies)
        return
    begin = "would " if dry_run else ""
    with saying_what_is_done():
        done = deploy(session, spec, dry_run=dry_run, tell=lambda line: click.echo(f"{begin}{line}"))
    if not done.changed:
        click.echo("nothing to change")
    click.echo(f"{done.function_arn}, s3://{done.bucket}/{done.prefix}")


class _NamedPolicy(NamedTuple):
    """Policy, its file name, and its owner."""

    file: str
    who: str
    text: dict[str, Any]


_MAKES_THE_ROLE = (
    "who makes the role, or changes its policy, needs as well as who deploys, and is an administrator by it "
    "(the first to deploy; with --permissions-boundary nobody: a managed policy of what the role may is one)"
)


def _policies(session: Any, spec: DeploySpec) -> list[_NamedPolicy]:
    resolved, why = connect_without_rights(session, spec)
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


@click.command(name="destroy", short_help="Remove what deploy has made.")
@_function_options
@_place_options
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
    session, spec = _session(profile, region), DeploySpec(**options)
    if dry_run or not yes:
        planned = destroy(
            session, spec, data=data, dry_run=True, tell=lambda line: click.echo(f"would {line}")
        )
        if dry_run or not planned:
            _tell_if_none(planned)
            return
        click.confirm("Go on?", abort=True)
    # It looks again: what is there may have changed while the question stood on the screen.
    _tell_if_none(destroy(session, spec, data=data, tell=click.echo))


def _tell_if_none(done: tuple[str, ...]) -> None:
    if not done:
        click.echo("nothing to remove")


@click.command(name="doctor", short_help="Check that everything on AWS is there and works.")
@_function_options
@_place_options
@click.pass_context
def doctor_command(
    context: click.Context, /, profile: str | None, region: str | None, **options: Any
) -> None:
    """Check that everything is there and works, and say what to do where it does not.

    Invokes the function three times; it and this machine each write, read and remove one tile of 8 MiB. Ends
    with 1 if something failed.
    """
    failed = 0
    for check in examine(_session(profile, region), DeploySpec(**options)):
        click.echo(f"{check.state:<8} {check.name:<16} {check.text}")
        if check.state == "failed":
            failed += 1
            if check.remedy:
                click.echo(f"{'':<25} → {check.remedy}")
    context.exit(1 if failed else 0)


@click.command(name="logs", short_help="Print what the function has written to its log.")
@_function_options
@click.option("--since", type=Duration(), default=3600.0, metavar="TIME", help="30m, 2h, 1d.  [default: 1h]")
@click.option("--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
def logs_command(profile: str | None, region: str | None, function: str, since: float, follow: bool) -> None:
    """Print what the function has written to its log. Times are UTC."""
    spec = DeploySpec(function=function)
    for line in log_lines(_session(profile, region), spec, since=since, follow=follow):
        click.echo(f"{line.when:%Y-%m-%d %H:%M:%S} {line.stream[-8:]} {line.text}")


@click.command(name="ls", short_help="List the matrices in the bucket, or below URL.")
@_function_options
@_place_options
@click.argument("url", required=False)
def ls_command(url: str | None, profile: str | None, region: str | None, **options: Any) -> None:
    """List the matrices in the deployment's bucket, or below URL, which may be a folder too."""
    store = _store(url, profile, region, options)
    try:
        found = list(stored_matrices(store))
    finally:
        store.close()
    if not found:
        click.echo(f"{store.url}: no matrices")
        return
    width = max(len(matrix.name) for matrix in found)
    for matrix in found:
        click.echo(f"{matrix.name or '.':<{width}}  {_description(matrix)}")


def _store(url: str | None, profile: str | None, region: str | None, options: dict[str, Any]) -> Store:
    """Open what to list, with the credentials that the options name."""
    if url is not None and not url.startswith("s3://"):
        try:
            store = open_store(url)
        except ValueError as error:
            raise click.UsageError(" ".join(str(error).split())) from error
        if why := why_no_folder(store, url):
            raise click.UsageError(why)
        return store
    session = _session(profile, region)
    if url is None:
        try:
            with translating():
                clients, resolved = connect(session, DeploySpec(**options))
        except DeployError as error:
            hint = "matrices that are elsewhere are listed by `wrenla ls FOLDER` or `wrenla ls s3://bucket/prefix`"
            raise DeployError(f"{error}; {hint}") from None
        return S3Store(resolved.bucket, resolved.prefix, client=clients.s3)
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    try:
        return S3Store(bucket, prefix.rstrip("/"), client=session.client("s3"))
    except ValueError as error:
        raise click.UsageError(" ".join(str(error).split())) from error


def _description(matrix: StoredMatrix) -> str:
    layout = matrix.layout
    if layout is None:
        return f"not readable in place: {matrix.why}"
    shape = " × ".join(map(str, layout.grid.shape[: layout.ndim])) or "a number"
    tiles = counted(matrix.tiles, "tile")
    return f"{shape}  {layout.dtype}  {layout.structure}  {tiles}  {format_bytes(matrix.nbytes)}"


commands: tuple[click.Command, ...] = (
    deploy_command,
    destroy_command,
    doctor_command,
    logs_command,
    ls_command,
)
"""Deployment to AWS."""
