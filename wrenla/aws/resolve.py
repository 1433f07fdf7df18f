"""Resolve a deployment spec: what it leaves open is as the function has it, or as it is at first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from wrenla.aws.error_messages import DeployError
from wrenla.aws.packaging.requirements import VARIABLE
from wrenla.aws.spec import DeploySpec, ResolvedSpec

__all__ = ["resolve", "variables_of"]

_OWN = frozenset({"WRENLA_BUCKET", "WRENLA_BUCKET_OWNER", "WRENLA_PREFIX", VARIABLE})


def resolve(
    spec: DeploySpec, account: str, region: str, partition: str, function: Mapping[str, Any] | None = None
) -> ResolvedSpec:
    """Return `spec` with nothing left open.

    The function's own configuration is all that is stored of a deployment: it is read and changed in one
    step, only who deploys can write it, and a change that somebody makes elsewhere counts. Who forgets an
    option shall neither lose matrices, hit those of somebody else, nor undo what was once set: what errors
    recommend is the plain command.

    Parameters
    ----------
    function : mapping, optional
        Configuration of the function, as Lambda tells it; None if there is none.

    Raises
    ------
    DeployError
        A boundary is named, and the function works as a role that is not made here.
    """
    first = ResolvedSpec(
        account=account,
        region=region,
        partition=partition,
        function=spec.function,
        bucket=f"wrenla-{account}-{region}",
        tags={"wrenla": spec.function, **dict(spec.tags)},
    )
    deployed = first if function is None else replace(first, **_deployed(function, first))
    if spec.permissions_boundary and spec.role is None and deployed.role:
        raise DeployError(
            f"function {spec.function} works as {deployed.role}, and a boundary is for a role that is made: "
            "give --role '' too, or leave --permissions-boundary out"
        )
    named = {field.name: getattr(spec, field.name) for field in fields(spec) if field.name != "tags"}
    return replace(deployed, **{name: value for name, value in named.items() if value is not None})


def variables_of(function: Mapping[str, Any] | None) -> Mapping[str, str]:
    """Return the variables of a function; none of one that is not there."""
    environment = (function or {}).get("Environment") or {}
    variables: Mapping[str, str] = environment.get("Variables") or {}
    return variables


def _deployed(function: Mapping[str, Any], first: ResolvedSpec) -> dict[str, Any]:
    variables = variables_of(function)
    role = function.get("Role", first.role_arn)
    return {
        "bucket": variables.get("WRENLA_BUCKET") or first.bucket,
        "prefix": variables.get("WRENLA_PREFIX") or first.prefix,
        "memory": function.get("MemorySize", first.memory),
        "timeout": function.get("Timeout", first.timeout),
        "storage": function.get("EphemeralStorage", {}).get("Size", first.storage),
        "arch": function.get("Architectures", [first.arch])[0],
        "role": "" if role == first.role_arn else role,
        "remembered": variables.get(VARIABLE, ""),
        "environment": {name: value for name, value in variables.items() if name not in _OWN},
    }
