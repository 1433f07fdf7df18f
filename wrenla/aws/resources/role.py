"""IAM role that the function runs as."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from wrenla.aws.connect import Clients
from wrenla.aws.error_messages import DeployError, is_denied
from wrenla.aws.none_if_absent import document, none_if, tags_of
from wrenla.aws.policies import role_policy, trust_policy
from wrenla.aws.resources.resource import Change
from wrenla.aws.spec import ResolvedSpec

__all__ = ["POLICY_NAME", "Role", "our_role", "role_is_for", "role_is_ours"]

POLICY_NAME = "wrenla"


def role_is_ours(clients: Clients, spec: ResolvedSpec) -> bool | None:
    """Tell whether wrenla has made the role that has our name; None if there is none."""
    found = _find(clients, spec)
    return None if found is None else _is_ours(found)


def role_is_for(clients: Clients, spec: ResolvedSpec) -> bool:
    """Tell whether the role is for this bucket and this prefix: once the function is gone, only it knows."""
    return bool(_policy(clients, spec) == role_policy(spec))


def our_role(clients: Clients, spec: ResolvedSpec) -> Mapping[str, Any] | None:
    """Return the role, or None.

    Raises
    ------
    DeployError
        There is one that wrenla has not made.
    """
    found = _find(clients, spec)
    if found is not None and not _is_ours(found):
        raise DeployError(
            f"role {spec.role_name}: there is one that wrenla has not made; give the function another name "
            "with --function, or use a role of your own with --role"
        )
    return found


def _find(clients: Clients, spec: ResolvedSpec) -> Mapping[str, Any] | None:
    found = none_if(clients.iam.get_role, "NoSuchEntity", RoleName=spec.role_name)
    return None if found is None else found["Role"]


def _is_ours(role: Mapping[str, Any]) -> bool:
    return "wrenla" in tags_of(role.get("Tags"))


def _policy(clients: Clients, spec: ResolvedSpec) -> Any:
    """Return the policy that we have given the role, or None."""
    found = none_if(
        clients.iam.get_role_policy, "NoSuchEntity", RoleName=spec.role_name, PolicyName=POLICY_NAME
    )
    return found and document(found["PolicyDocument"])


class Role:
    """The role with its one policy."""

    def __init__(self, clients: Clients, spec: ResolvedSpec) -> None:
        self._clients, self._spec, self._iam = clients, spec, clients.iam
        self._tags = [{"Key": key, "Value": value} for key, value in spec.tags.items()]

    def plan(self) -> Iterator[Change]:
        name = self._spec.role_name
        found = our_role(self._clients, self._spec)
        if found is None:
            yield Change(f"create role {name}", self._create)
        else:
            yield from self._settings(found)
        policy = role_policy(self._spec)
        if _policy(self._clients, self._spec) != policy:
            where = f"s3://{self._spec.bucket}/{self._spec.prefix}/ and {self._spec.log_group}"
            yield Change(
                f"allow role {name} to use {where}",
                lambda: self._iam.put_role_policy(
                    RoleName=name, PolicyName=POLICY_NAME, PolicyDocument=json.dumps(policy)
                ),
            )

    def _settings(self, role: Mapping[str, Any]) -> Iterator[Change]:
        name, boundary = self._spec.role_name, self._spec.permissions_boundary
        if not self._spec.tags.items() <= tags_of(role.get("Tags")).items():
            yield Change(f"tag role {name}", lambda: self._iam.tag_role(RoleName=name, Tags=self._tags))
        if document(role["AssumeRolePolicyDocument"]) != trust_policy():
            yield Change(
                f"let nobody but Lambda take role {name}",
                self._close,
            )
        now = role.get("PermissionsBoundary")
        if boundary and (not isinstance(now, dict) or now.get("PermissionsBoundaryArn") != boundary):
            yield Change(
                f"bound role {name} by {boundary}",
                lambda: self._iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=boundary),
            )

    def _close(self) -> None:
        """Let nobody but Lambda take the role.

        Raises
        ------
        DeployError
            These credentials may not: no printed policy has what could as well open the role to anybody.
        """
        from botocore.exceptions import ClientError

        name = self._spec.role_name
        try:
            self._iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust_policy()))
        except ClientError as error:
            if not is_denied(error):
                raise
            raise DeployError(
                f"role {name}: others than Lambda may take it, and to set that right these credentials need "
                "iam:UpdateAssumeRolePolicy, which --print-policies shows for nobody, since it can open the "
                "role to anybody: have an administrator run the same command"
            ) from error

    def _create(self) -> None:
        boundary = self._spec.permissions_boundary
        self._iam.create_role(
            RoleName=self._spec.role_name,
            Description=f"What the function {self._spec.function} may do; made by wrenla deploy",
            AssumeRolePolicyDocument=json.dumps(trust_policy()),
            Tags=self._tags,
            **({"PermissionsBoundary": boundary} if boundary else {}),
        )
