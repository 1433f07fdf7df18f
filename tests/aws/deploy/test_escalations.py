"""What somebody may try who deploys and destroys with exactly our policies, and wants more."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from wrenla.aws.deploy import DeploySpec, deploy
from wrenla.aws.destroy import destroy
from wrenla.aws.error_messages import DeployError
from wrenla.aws.policies import deployer_policy, destroyer_policy, role_maker_policy, role_policy

from .conftest import EVERYTHING, Account
from .test_permissions import Packaging, first_deployer_policy, resolved, together

ANYBODY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
    }
)


def escalations(role: str, boundary: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return what would make an administrator of them, or let others in, each with its arguments."""
    everything = json.dumps(EVERYTHING)
    mine, none = {"RoleName": role}, {"RoleName": "wrenla-other-eu-central-1"}
    inline = {"PolicyName": "wrenla", "PolicyDocument": everything}
    administrator = "arn:aws:iam::aws:policy/AdministratorAccess"
    trust = {"AssumeRolePolicyDocument": ANYBODY}
    return {
        "widen it by another policy": ("put_role_policy", {**mine, **inline, "PolicyName": "more"}),
        "widen it": ("put_role_policy", {**mine, **inline}),
        "attach to it": ("attach_role_policy", {**mine, "PolicyArn": administrator}),
        "open it": ("update_assume_role_policy", {**mine, "PolicyDocument": ANYBODY}),
        "unbind it": ("delete_role_permissions_boundary", mine),
        "bind it by nothing": (
            "put_role_permissions_boundary",
            {**mine, "PermissionsBoundary": administrator},
        ),
        "bind it by one that begins so": (
            "put_role_permissions_boundary",
            {**mine, "PermissionsBoundary": f"{boundary}-of-mine"},
        ),
        "change the boundary": (
            "create_policy_version",
            {"PolicyArn": boundary, "PolicyDocument": everything, "SetAsDefault": True},
        ),
        "make another": ("create_role", {**none, **trust, "PermissionsBoundary": boundary}),
        "change another": ("put_role_policy", {"RoleName": "administrators", **inline}),
        "allow oneself": ("put_user_policy", {"UserName": "deployer", **inline}),
        "have an administrator's key": ("create_access_key", {"UserName": "administrator"}),
    }


MADE_UNBOUND: dict[str, dict[str, Any]] = {
    "unbound": {},
    "bound by nothing": {"PermissionsBoundary": "arn:aws:iam::aws:policy/AdministratorAccess"},
}


@pytest.mark.parametrize("bounded", [True, False])
def test_deployer_cannot_become_administrator(bounded: bool, account: Account, package: Packaging) -> None:
    """With exactly what is printed; a boundary that is asked for is the only way to write policies."""
    iam = account.admin.client("iam")
    given = resolved(account)
    document = json.dumps(role_policy(given))
    boundary = iam.create_policy(PolicyName="bounds", PolicyDocument=document)["Policy"]["Arn"]
    iam.create_role(RoleName="administrators", AssumeRolePolicyDocument="{}")
    account.enforced()
    spec = DeploySpec(permissions_boundary=boundary if bounded else "")
    given = resolved(account, permissions_boundary=spec.permissions_boundary)
    assert (role_maker_policy(given) is None) is bounded
    user = account.user("deployer", together(deployer_policy(given), destroyer_policy(given)))
    if not bounded:
        with pytest.raises(DeployError, match=r"need iam:CreateRole .*an administrator deploys first"):
            deploy(user, spec)
        deploy(account.admin, spec)
    else:
        assert len(deploy(user, spec).changed) == 12
    attempts = escalations(given.role_name, boundary)
    own = {"widen it by another policy", "widen it"} if bounded else set()
    assert granted(user, attempts) == own
    if bounded:  # what they wrote is nothing without the boundary, which goes with the role only
        admin = account.admin.client("iam")
        admin.delete_role_permissions_boundary(RoleName=given.role_name)
        assert granted(user, attempts) == set()
        deploy(user, spec)
    assert f"delete role {given.role_name}" in destroy(user)
    made = {
        name: ("create_role", {"RoleName": given.role_name, "AssumeRolePolicyDocument": ANYBODY, **more})
        for name, more in MADE_UNBOUND.items()
    }
    assert granted(user, made) == set()
    everything = {**attempts, **made}
    assert granted(account.admin, everything) == set(everything)  # so it was the policies that refused


def granted(user: Any, attempts: Mapping[str, tuple[str, dict[str, Any]]]) -> set[str]:
    """Return what of all this somebody is allowed, whatever else becomes of it."""
    found = set()
    for name, (operation, arguments) in attempts.items():
        try:
            getattr(user.client("iam"), operation)(**arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] == "AccessDenied":
                continue
        found.add(name)
    return found


def test_a_role_that_is_open_is_closed_by_an_administrator(account: Account, package: Packaging) -> None:
    account.enforced()
    given = resolved(account)
    deploy(account.admin)
    iam = account.admin.client("iam")
    iam.update_assume_role_policy(RoleName=given.role_name, PolicyDocument=ANYBODY)
    user = account.user("deployer", first_deployer_policy(given))
    with pytest.raises(DeployError, match=r"others than Lambda may take it.*an administrator"):
        deploy(user)
    assert deploy(account.admin).changed == (f"let nobody but Lambda take role {given.role_name}",)
    assert deploy(user).changed == ()
