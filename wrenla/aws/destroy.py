"""The end of a deployment: what wrenla has made goes; matrices only if that is asked for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from wrenla.aws.asking import ask
from wrenla.aws.bucket import is_ours, look_for_bucket
from wrenla.aws.clients import Clients, connect, whose
from wrenla.aws.code import functions_with_code, uploaded
from wrenla.aws.function import find_function
from wrenla.aws.lifecycle import Lifecycle
from wrenla.aws.log_group import log_group_is_ours
from wrenla.aws.refusals import DeployError, explaining
from wrenla.aws.role import role_is_ours
from wrenla.aws.spec import DeploySpec, Site
from wrenla.aws.step import Change

__all__ = ["destroy"]

_BATCH = 1000
"""Objects that S3 deletes at one request."""


def destroy(
    session: Any,
    spec: DeploySpec | None = None,
    *,
    data: bool = False,
    dry_run: bool = False,
    tell: Callable[[str], object] = lambda line: None,
) -> tuple[str, ...]:
    """Remove a deployment.

    The function goes last, since it alone knows bucket and prefix: after a failure the same call goes on
    where it was. Nothing should run on the function meanwhile: what it still writes may stay.

    Parameters
    ----------
    session : boto3.Session
    spec : DeploySpec, optional
        Of which the names count: function, bucket, prefix, role.
    data : bool, optional
        Remove the matrices too, that is all objects below the prefix, and then the bucket, if wrenla has
        made it and nothing else is in it.
    dry_run, tell
        As for `deploy`.

    Returns
    -------
    tuple of str
        What was done, or would be.

    Raises
    ------
    DeployError
        AWS refuses something; wrenla has not made the function; or `data` are also those of another function.
    """
    with explaining():
        clients, site = connect(session, spec or DeploySpec())
        done = []
        for change in _changes(clients, site, data):
            tell(change.what)
            done.append(change.what)
            if not dry_run:
                change.apply()
        return tuple(done)


def _changes(clients: Clients, site: Site, data: bool) -> Iterator[Change]:
    """Yield what to remove: the function last. Whose things these are is looked at before anything goes."""
    function = find_function(clients, site)
    if function is not None:
        tags = clients.lambda_.list_tags(Resource=site.function_arn)["Tags"]
        if "wrenla" not in tags:
            raise DeployError(f"function {site.function}: wrenla has not made it; check --function")
    our_log = log_group_is_ours(clients, site)
    if look_for_bucket(clients, site):
        yield from _in_bucket(clients, site, data)
    if our_log:
        yield Change(
            f"delete log group {site.log_group}",
            lambda: clients.logs.delete_log_group(logGroupName=site.log_group),
        )
    elif our_log is not None:
        yield Change(f"keep log group {site.log_group}, since wrenla has not made it", lambda: None)
    if not site.spec.role and role_is_ours(clients, site):
        yield Change(f"delete role {site.role_name}", lambda: _delete_role(clients.iam, site.role_name))
    if function is not None:
        yield Change(
            f"delete function {site.function}",
            lambda: clients.lambda_.delete_function(FunctionName=site.function),
        )


def _in_bucket(clients: Clients, site: Site, data: bool) -> Iterator[Change]:
    lifecycle = Lifecycle.of(clients, site)
    if data:
        _check_nobody_shares(clients, site, lifecycle)
        yield from _matrices(clients, site)
    if (others := lifecycle.without_ours(site)) != lifecycle:
        what = f"remove the lifecycle rule {site.lifecycle_rule} from bucket {site.bucket}"
        yield Change(what, lambda: others.put(clients, site))
    if keys := uploaded(clients, site):
        where = f"s3://{site.bucket}/{site.code_prefix}"
        yield Change(f"delete {_count(len(keys))} in {where}", lambda: _delete(clients, site, iter(keys)))
    if data:
        yield from _bucket(clients, site)


def _check_nobody_shares(clients: Clients, site: Site, lifecycle: Lifecycle) -> None:
    """Refuse to remove matrices that are, or may be, another function's too.

    Rules tell prefixes; of a function that has only code here nobody knows where its matrices are.
    """
    used = {**dict.fromkeys(functions_with_code(clients, site), ""), **lifecycle.functions()}
    used.pop(site.function, None)
    ours = f"{site.prefix}/"
    for name, temporaries in sorted(used.items()):
        if not temporaries or temporaries.startswith(ours):
            has = "has" if temporaries else "may have"
            where = temporaries.removesuffix("runs/") or ours
            raise DeployError(
                f"function {name} {has} its matrices in s3://{site.bucket}/{where} too: destroy it first "
                f"(wrenla destroy --function {name} --bucket {site.bucket}), or leave --data out"
            )


def _matrices(clients: Clients, site: Site) -> Iterator[Change]:
    if count := sum(1 for _ in _keys(clients, site, f"{site.prefix}/")):
        where = f"s3://{site.bucket}/{site.prefix}/, matrices and all"
        yield Change(
            f"delete {_count(count)} in {where}",
            lambda: _delete(clients, site, _keys(clients, site, f"{site.prefix}/")),
        )


def _bucket(clients: Clients, site: Site) -> Iterator[Change]:
    if not is_ours(clients, site):
        return
    gone = (site.code_prefix, f"{site.prefix}/")
    if all(key.startswith(gone) for key in _keys(clients, site, "")):
        yield Change(f"delete bucket {site.bucket}", lambda: clients.s3.delete_bucket(**whose(site)))
    else:
        yield Change(f"keep bucket {site.bucket}, since there is more in it", lambda: None)


def _count(objects: int) -> str:
    return f"{objects} object{'' if objects == 1 else 's'}"


def _keys(clients: Clients, site: Site, prefix: str) -> Iterator[str]:
    pages = clients.s3.get_paginator("list_objects_v2").paginate(Prefix=prefix, **whose(site))
    return (entry["Key"] for page in pages for entry in page.get("Contents", ()))


def _delete(clients: Clients, site: Site, keys: Iterator[str]) -> None:
    while batch := [{"Key": key} for key in itertools.islice(keys, _BATCH)]:
        _delete_batch(clients, site, batch)


def _delete_batch(clients: Clients, site: Site, batch: list[dict[str, str]]) -> None:
    answer = clients.s3.delete_objects(Delete={"Objects": batch, "Quiet": True}, **whose(site))
    for failure in answer.get("Errors", ()):
        raise DeployError(
            f"s3://{site.bucket}/{failure['Key']} could not be deleted ({failure.get('Code')}): these "
            "credentials need s3:DeleteObject there; then run the same command again"
        )


def _delete_role(iam: Any, name: str) -> None:
    """Delete a role; somebody may have given it more policies than ours, which stand in the way."""
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    if attached:
        names = ", ".join(policy["PolicyName"] for policy in attached)
        raise DeployError(
            f"role {name}: somebody has attached {names} to it; detach them, then run the same command again"
        )
    ask(iam.delete_role, "NoSuchEntity", RoleName=name)
