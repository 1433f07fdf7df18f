"""Deployment: look what is there, and make of it what should be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from wrenla.aws.connect import Clients, connect
from wrenla.aws.error_messages import explaining
from wrenla.aws.packaging.package import Package, build_package
from wrenla.aws.packaging.target import here, lambda_target
from wrenla.aws.resources.bucket import Bucket
from wrenla.aws.resources.code_upload import OldCode, UploadedCode
from wrenla.aws.resources.function import Function, ToBeMadeAgain, has_code, our_function
from wrenla.aws.resources.log_group import LogGroup
from wrenla.aws.resources.resource import Step
from wrenla.aws.resources.role import Role, our_role
from wrenla.aws.spec import Deployment, DeploySpec, Site

__all__ = ["DeploySpec", "Deployment", "deploy", "deployment"]


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
    with explaining():
        clients, site = connect(session, spec or DeploySpec())
        changed = []
        for step in _steps(clients, site):
            for change in step.look():
                tell(change.what)
                changed.append(change.what)
                if not dry_run:
                    change.apply()
        return _described(site, tuple(changed))


def deployment(session: Any, spec: DeploySpec | None = None) -> Deployment:
    """Return what a deployment is called, without looking whether it is there."""
    with explaining():
        return _described(connect(session, replace(spec or DeploySpec(), names_only=True))[1])


def _steps(clients: Clients, site: Site) -> Iterable[Step]:
    # whose these are, before anything is changed: the log of somebody's function is lost for good
    function = our_function(clients, site)
    role_is_gone = not site.spec.role and our_role(clients, site) is None
    # another role than ours may have gone too, but not because of what is done here
    orphaned = function is not None and role_is_gone and function["Role"] == site.role_arn
    yield Bucket(clients, site)
    if orphaned:
        yield ToBeMadeAgain(clients, site, function)
    if not site.spec.role:
        yield Role(clients, site)
    yield LogGroup(clients, site, first=function is None)
    package = _package(clients, site)
    current = has_code(function) if function is not None and not orphaned else None
    yield UploadedCode(clients, site, package, current)
    yield Function(clients, site, package, role_was_gone=orphaned)
    yield OldCode(clients, site, package)


def _package(clients: Clients, site: Site) -> Package:
    # What runs functions in place of Lambda runs them on this machine, which other wheels may fit.
    target = (here if clients.emulated else lambda_target)(site.python, site.spec.arch)
    return build_package(target=target, requirements=site.spec.requirements)


def _described(site: Site, changed: tuple[str, ...] = ()) -> Deployment:
    return Deployment(
        site.function,
        site.function_arn,
        site.bucket,
        site.prefix,
        site.role_arn,
        site.region,
        site.account,
        site.spec.memory,
        changed,
    )
