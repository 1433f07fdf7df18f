"""The role that the function works as."""

from __future__ import annotations

import json
from collections.abc import Iterator

from wrenla.aws.asking import ask, document, tags_of
from wrenla.aws.clients import Clients
from wrenla.aws.policies import role_policy, trust_policy
from wrenla.aws.refusals import DeployError
from wrenla.aws.spec import Site
from wrenla.aws.step import Change

__all__ = ["POLICY_NAME", "Role", "role_is_ours"]

POLICY_NAME = "wrenla"


def role_is_ours(clients: Clients, site: Site) -> bool | None:
    """Tell whether wrenla has made the role that has our name; None if there is none."""
    found = ask(clients.iam.get_role, "NoSuchEntity", RoleName=site.role_name)
    return None if found is None else "wrenla" in tags_of(found["Role"].get("Tags"))


class Role:
    """The role with its one policy."""

    def __init__(self, clients: Clients, site: Site) -> None:
        self._iam, self._site = clients.iam, site

    def look(self) -> Iterator[Change]:
        name = self._site.role_name
        found = ask(self._iam.get_role, "NoSuchEntity", RoleName=name)
        if found is None:
            yield Change(f"create role {name}", self._create)
        else:
            yield from self._settings(found["Role"])
        policy = role_policy(self._site)
        found = ask(self._iam.get_role_policy, "NoSuchEntity", RoleName=name, PolicyName=POLICY_NAME)
        if found is None or document(found["PolicyDocument"]) != policy:
            where = f"s3://{self._site.bucket}/{self._site.prefix}/ and {self._site.log_group}"
            yield Change(
                f"allow role {name} to use {where}",
                lambda: self._iam.put_role_policy(
                    RoleName=name, PolicyName=POLICY_NAME, PolicyDocument=json.dumps(policy)
                ),
            )

    def _settings(self, role: dict[str, object]) -> Iterator[Change]:
        name, boundary = self._site.role_name, self._site.spec.permissions_boundary
        tags = tags_of(role.get("Tags"))
        if "wrenla" not in tags:
            raise DeployError(
                f"role {name}: there is one that wrenla has not made; give the function another name with "
                "--function, or use a role of your own with --role"
            )
        if not set(self._site.tags.items()) <= set(tags.items()):
            yield Change(
                f"tag role {name}", lambda: self._iam.tag_role(RoleName=name, Tags=self._site.tag_list)
            )
        if document(role["AssumeRolePolicyDocument"]) != trust_policy():
            yield Change(
                f"let nobody but Lambda take role {name}",
                lambda: self._iam.update_assume_role_policy(
                    RoleName=name, PolicyDocument=json.dumps(trust_policy())
                ),
            )
        now = role.get("PermissionsBoundary")
        if boundary and (not isinstance(now, dict) or now.get("PermissionsBoundaryArn") != boundary):
            yield Change(
                f"bound role {name} by {boundary}",
                lambda: self._iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=boundary),
            )

    def _create(self) -> None:
        boundary = self._site.spec.permissions_boundary
        self._iam.create_role(
            RoleName=self._site.role_name,
            Description=f"What the function {self._site.function} may do; made by wrenla deploy",
            AssumeRolePolicyDocument=json.dumps(trust_policy()),
            Tags=self._site.tag_list,
            **({"PermissionsBoundary": boundary} if boundary else {}),
        )
