"""Deployment: look what is there, and make of it what should be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any

from wrenla.aws.connect import Clients, connect
from wrenla.aws.error_messages import translating
from wrenla.aws.packaging.package import Package, build_package
from wrenla.aws.packaging.requirements import with_requirements
from wrenla.aws.packaging.target import here, lambda_target
from wrenla.aws.resolve import variables_of
from wrenla.aws.resources.bucket import Bucket
from wrenla.aws.resources.code_upload import OldCode, UploadedCode
from wrenla.aws.resources.function import Function, MarkForRecreation, has_code, our_function
from wrenla.aws.resources.log_group import LogGroup
from wrenla.aws.resources.prefix import check_free, check_not_moved
from wrenla.aws.resources.resource import Resource
from wrenla.aws.resources.role import Role, our_role
from wrenla.aws.spec import Deployment, DeploySpec, ResolvedSpec

__all__ = ["DeploySpec", "Deployment", "deploy"]


def deploy(
    session: Any,
    spec: DeploySpec | None = None,
    *,
    dry_run: bool = False,
    tell: Callable[[str], object] = lambda line: None,
) -> Deployment:
    """Set up a function with all that it needs, or bring it up to date.

    What is as it should be is left alone, so doing it twice changes nothing, and after a failure the same
    call goes on where it was.

    Parameters
    ----------
    session : boto3.Session
        Credentials and region.
    spec : DeploySpec, optional
    dry_run : bool, optional
        Change nothing, only tell.
    tell : callable, optional
        Gets a line before each change.

    Raises
    ------
    DeployError
        AWS refuses something, or the package cannot be built: one line with the remedy.
    """
    with translating():
        clients, resolved = connect(session, spec or DeploySpec(), deploying=True)
        changed = []
        for resource in _resources(clients, resolved):
            for change in resource.plan():
                tell(change.what)
                changed.append(change.what)
                if not dry_run:
                    change.apply()
        known = {field.name: getattr(resolved, field.name) for field in fields(resolved)}
        return Deployment(**known, changed=tuple(changed))


def _resources(clients: Clients, spec: ResolvedSpec) -> Iterable[Resource]:
    # whose these are, before anything is changed: the log of somebody's function is lost for good
    function = our_function(clients, spec)
    check_not_moved(spec, function)
    if not variables_of(function).get("WRENLA_BUCKET"):
        check_free(clients, spec)
    spec = with_requirements(spec)
    role_is_gone = not spec.role and our_role(clients, spec) is None
    # another role than ours may have gone too, but not because of what is done here
    orphaned = function is not None and role_is_gone and function["Role"] == spec.role_arn
    yield Bucket(clients, spec)
    if orphaned:
        yield MarkForRecreation(clients, spec, function)
    if not spec.role:
        yield Role(clients, spec)
    yield LogGroup(clients, spec, first=function is None)
    package = _package(clients, spec)
    current = has_code(function) if function is not None and not orphaned else None
    yield UploadedCode(clients, spec, package, current)
    yield Function(clients, spec, package, role_was_gone=orphaned)
    yield OldCode(clients, spec, package)


def _package(clients: Clients, spec: ResolvedSpec) -> Package:
    # What runs functions in place of Lambda runs them on this machine, which other wheels may fit.
    target = (here if clients.emulated else lambda_target)(spec.python, spec.arch)
    return build_package(target=target, requirements=spec.requirements)
