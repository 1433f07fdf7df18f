"""Destroy a deployment: remove what wrenla has made, and matrices only with `--data`."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

from wrenla.aws.connect import Clients, connect
from wrenla.aws.error_messages import DeployError, translating
from wrenla.aws.none_if_absent import none_if
from wrenla.aws.resources.bucket import bucket_exists, is_ours
from wrenla.aws.resources.code_upload import functions_with_code, uploaded
from wrenla.aws.resources.function import find_function
from wrenla.aws.resources.lifecycle import Lifecycle
from wrenla.aws.resources.log_group import log_group_is_ours
from wrenla.aws.resources.prefix import check_not_moved, kinds_of_objects
from wrenla.aws.resources.resource import Change
from wrenla.aws.resources.role import role_is_for, role_is_ours
from wrenla.aws.spec import DeploySpec, ResolvedSpec, bucket_args
from wrenla.units import counted
from wrenla.workspace.ownership import Kind, Kinds
from wrenla_handler.stores.base import RUNS

__all__ = ["destroy"]

_BATCH = 1000
"""Objects that S3 deletes at one request."""

_PACKAGE = re.compile(r"[0-9a-f]{64}\.zip")

_Versions = Literal["none", "kept", "unknown"]


def destroy(
    session: Any,
    spec: DeploySpec | None = None,
    *,
    data: bool = False,
    dry_run: bool = False,
    tell: Callable[[str], object] = lambda line: None,
) -> tuple[str, ...]:
    """Remove a deployment.

    The function goes after all that it alone knows of, bucket and prefix, and its role after it, since a
    function does not work with another role of the same name: after a failure the same call goes on where
    it was. Nothing should run on the function meanwhile: what it still writes may stay.

    Parameters
    ----------
    session : boto3.Session
    spec : DeploySpec, optional
        Of which the names count: function, bucket, prefix, role.
    data : bool, optional
        Remove the matrices and temporaries below the prefix too, and then the bucket, if wrenla has made it
        and nothing else is in it. What wrenla has not written stays, and so do old versions of what goes, if
        the bucket has versioning.
    dry_run, tell
        As for `deploy`.

    Returns
    -------
    tuple of str
        What was done, or would be.

    Raises
    ------
    DeployError
        AWS refuses something; wrenla has not made the function, or it has another bucket or prefix than the
        named one; or `data` are also those of another function.
    """
    spec = spec or DeploySpec()
    with translating():
        # a role that was made stays to be removed although the function has another one by now
        clients, resolved = connect(session, replace(spec, role=spec.role or ""))
        done = []
        for change in _changes(clients, resolved, data):
            tell(change.what)
            done.append(change.what)
            if not dry_run:
                change.apply()
        return tuple(done)


def _changes(clients: Clients, spec: ResolvedSpec, data: bool) -> Iterator[Change]:
    """Yield what to remove. Whose things these are is looked at before anything goes."""
    function = find_function(clients, spec)
    if function is not None:
        tags = clients.lambda_.list_tags(Resource=spec.function_arn)["Tags"]
        if "wrenla" not in tags:
            raise DeployError(f"function {spec.function}: wrenla has not made it; check --function")
        check_not_moved(spec, function)
    our_log = log_group_is_ours(clients, spec)
    our_role = not spec.role and role_is_ours(clients, spec)
    # A role without its function has been left by a call like this one: then the bucket is done, and if it
    # was not the default one, nothing but the role's policy tells that this one is another.
    done = function is None and our_role and not role_is_for(clients, spec)
    if not done and bucket_exists(clients, spec):
        yield from _in_bucket(clients, spec, data)
    if our_log:
        yield Change(
            f"delete log group {spec.log_group}",
            lambda: clients.logs.delete_log_group(logGroupName=spec.log_group),
        )
    elif our_log is not None:
        yield Change(f"keep log group {spec.log_group}, since wrenla has not made it", lambda: None)
    if function is not None:
        yield Change(
            f"delete function {spec.function}",
            lambda: clients.lambda_.delete_function(FunctionName=spec.function),
        )
    if our_role:
        yield Change(f"delete role {spec.role_name}", lambda: _delete_role(clients.iam, spec.role_name))


def _in_bucket(clients: Clients, spec: ResolvedSpec, data: bool) -> Iterator[Change]:
    lifecycle = Lifecycle.of(clients, spec)
    kinds = kinds_of_objects(clients, spec)
    gone = 0
    if data:
        _check_nobody_shares(clients, spec, lifecycle)
        there = Counter(kinds.of(key) for key in _keys_below(clients, spec))
        gone += there["matrix"] + there["temporary"]
        yield from _matrices(clients, spec, kinds, there)
    if (others := lifecycle.without_ours(spec)) != lifecycle:
        what = f"remove the lifecycle rule {spec.lifecycle_rule} from bucket {spec.bucket}"
        yield Change(what, lambda: others.put(clients, spec))
    packages = (key for key in uploaded(clients, spec) if _is_package(spec, key))
    if keys := list(packages):
        gone += len(keys)
        where = f"s3://{spec.bucket}/{spec.code_prefix}"
        yield Change(
            f"delete {counted(len(keys), 'object')} in {where}", lambda: _delete(clients, spec, iter(keys))
        )
    versions = _versions(clients, spec)
    if gone and versions != "none":
        why = {
            "kept": f"since bucket {spec.bucket} has versioning",
            "unknown": f"if bucket {spec.bucket} has versioning: to see that needs s3:GetBucketVersioning",
        }
        yield Change(f"keep old versions of {counted(gone, 'object')}, {why[versions]}", lambda: None)
    if data:
        yield from _bucket(clients, spec, kinds, versions)


def _versions(clients: Clients, spec: ResolvedSpec) -> _Versions:
    """Tell whether what is deleted in the bucket is only hidden. One that wrenla has made is not so made."""
    found = none_if(clients.s3.get_bucket_versioning, "AccessDenied", "403", **bucket_args(spec))
    if found is None:
        return "none" if is_ours(clients, spec) else "unknown"
    return "kept" if found.get("Status") else "none"  # also if it is suspended: there may be some of before


def _check_nobody_shares(clients: Clients, spec: ResolvedSpec, lifecycle: Lifecycle) -> None:
    """Refuse to remove matrices that are, or may be, another function's too.

    Rules tell prefixes; of a function that has only code here nobody knows where its matrices are.
    """
    used = {**dict.fromkeys(functions_with_code(clients, spec), ""), **lifecycle.functions()}
    used.pop(spec.function, None)
    ours = f"{spec.prefix}/"
    for name, temporaries in sorted(used.items()):
        if not temporaries or temporaries.startswith(ours):
            has = "has" if temporaries else "may have"
            where = temporaries.removesuffix(f"{RUNS}/") or ours
            raise DeployError(
                f"function {name} {has} its matrices in s3://{spec.bucket}/{where} too: destroy it first "
                f"(wrenla destroy --function {name} --bucket {spec.bucket}), or leave --data out"
            )


def _matrices(clients: Clients, spec: ResolvedSpec, kinds: Kinds, there: Counter[Kind]) -> Iterator[Change]:
    where = f"s3://{spec.bucket}/{spec.prefix}/"
    if ours := there["matrix"] + there["temporary"]:
        which = f"{there['matrix']} of matrices, {there['temporary']} temporary"
        yield Change(
            f"delete {counted(ours, 'object')} in {where} ({which})",
            # In the order of keys, in which tiles come before the description of their matrix: what is
            # interrupted leaves nothing of which one could not tell any more whose it is.
            lambda: _delete(
                clients,
                spec,
                (key for key in _keys(clients, spec, f"{spec.prefix}/") if _goes(spec, kinds, key)),
            ),
        )
    if there["other"]:
        example = next(key for key in _keys_below(clients, spec) if kinds.of(key) == "other")
        yield Change(
            f"keep {counted(there['other'], 'object')} in {where} that wrenla has not written, as {example}",
            lambda: None,
        )


def _bucket(clients: Clients, spec: ResolvedSpec, kinds: Kinds, versions: _Versions) -> Iterator[Change]:
    if not is_ours(clients, spec):
        return
    if versions == "kept":
        yield Change(f"keep bucket {spec.bucket}, since old versions are in it", lambda: None)
    elif all(_goes(spec, kinds, key) for key in _keys(clients, spec, "")):
        yield Change(f"delete bucket {spec.bucket}", lambda: clients.s3.delete_bucket(**bucket_args(spec)))
    else:
        yield Change(f"keep bucket {spec.bucket}, since there is more in it", lambda: None)


def _goes(spec: ResolvedSpec, kinds: Kinds, key: str) -> bool:
    """Tell whether an object of the bucket goes, if the data go."""
    if key.startswith(spec.code_prefix):
        return _is_package(spec, key)
    below = f"{spec.prefix}/"
    return key.startswith(below) and kinds.of(key.removeprefix(below)) != "other"


def _is_package(spec: ResolvedSpec, key: str) -> bool:
    return _PACKAGE.fullmatch(key.removeprefix(spec.code_prefix)) is not None


def _keys(clients: Clients, spec: ResolvedSpec, prefix: str) -> Iterator[str]:
    pages = clients.s3.get_paginator("list_objects_v2").paginate(Prefix=prefix, **bucket_args(spec))
    return (entry["Key"] for page in pages for entry in page.get("Contents", ()))


def _keys_below(clients: Clients, spec: ResolvedSpec) -> Iterator[str]:
    """Yield what is below the prefix, without the prefix."""
    below = f"{spec.prefix}/"
    return (key.removeprefix(below) for key in _keys(clients, spec, below))


def _delete(clients: Clients, spec: ResolvedSpec, keys: Iterator[str]) -> None:
    while batch := [{"Key": key} for key in itertools.islice(keys, _BATCH)]:
        _delete_batch(clients, spec, batch)


def _delete_batch(clients: Clients, spec: ResolvedSpec, batch: list[dict[str, str]]) -> None:
    answer = clients.s3.delete_objects(Delete={"Objects": batch, "Quiet": True}, **bucket_args(spec))
    for failure in answer.get("Errors", ()):
        raise DeployError(
            f"s3://{spec.bucket}/{failure['Key']} could not be deleted ({failure.get('Code')}): these "
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
    none_if(iam.delete_role, "NoSuchEntity", RoleName=name)
