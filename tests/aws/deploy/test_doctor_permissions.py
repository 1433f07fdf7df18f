"""The doctor by those who may do what the printed policies say, and no more; and by roles that may not."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any

import boto3
import pytest

from wrenla.aws.deploy import DeploySpec, deploy
from wrenla.aws.doctor import Check, examine
from wrenla.aws.invoking import Invoke
from wrenla.aws.packaging.package import Package
from wrenla.aws.policies import deployer_policy, driver_policy, role_policy
from wrenla.aws.resolve import resolve
from wrenla.aws.spec import ResolvedSpec
from wrenla_handler import probe as probe_module
from wrenla_handler.stores.s3 import client as s3_client

from .conftest import Account
from .test_doctor import answering, pong

Packaging = Callable[[str], Package]


@pytest.fixture
def deployed(account: Account, package: Packaging) -> ResolvedSpec:
    """A deployment in an account where permissions count."""
    account.enforced()
    deploy(account.admin)
    return resolve(DeploySpec(), account.number, account.region, "aws")


def working_as(account: Account, spec: ResolvedSpec, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Return a function that answers pings, and tries its bucket with the rights of its role."""
    role = account.role(spec.role_arn)
    monkeypatch.setattr(s3_client, "_sessions", {spec.bucket: role})

    def invoke(function: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
        return pong(**({"store": probe_module.probe(event["store"])} if "store" in event else {}))

    return invoke


def examined(session: boto3.Session, invoke: Invoke, **options: Any) -> dict[str, Check]:
    return {check.name: check for check in examine(session, DeploySpec(**options), invoke)}


def without(policy: Mapping[str, Any], *actions: str) -> dict[str, Any]:
    changed = copy.deepcopy(dict(policy))
    for statement in changed["Statement"]:
        statement["Action"] = [each for each in statement["Action"] if each not in actions] or ["s3:Nothing"]
    return changed


def states(found: Mapping[str, Check]) -> dict[str, str]:
    return {name: check.state for name, check in found.items() if check.state != "ok"}


def test_doctor_with_runners_rights_is_ok(
    account: Account, deployed: ResolvedSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = account.user("driver", driver_policy(deployed))
    found = examined(driver, working_as(account, deployed, monkeypatch))
    assert states(found) == {"clearing up": "skipped"}
    assert "only who deploys" in found["clearing up"].text
    keys = account.admin.client("s3").list_objects_v2(Bucket=deployed.bucket, Prefix="wrenla/")
    assert keys["KeyCount"] == 0


def test_doctor_with_deployers_rights_is_ok(
    account: Account, deployed: ResolvedSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployer = account.user("deployer", deployer_policy(deployed))
    found = examined(deployer, working_as(account, deployed, monkeypatch))
    assert states(found) == {"tile throughput": "skipped"}
    assert "only who runs" in found["tile throughput"].text


@pytest.mark.parametrize(
    ("actions", "failed"),
    [
        (("s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:ListBucket"), "put"),
        (("s3:GetObject",), "get"),
        (("s3:DeleteObject",), "delete"),
    ],
)
def test_a_role_that_may_not_use_the_bucket(
    account: Account,
    deployed: ResolvedSpec,
    monkeypatch: pytest.MonkeyPatch,
    actions: tuple[str, ...],
    failed: str,
) -> None:
    """All else was well, and no task could work."""
    account.admin.client("iam").put_role_policy(
        RoleName=deployed.role_name,
        PolicyName="wrenla",
        PolicyDocument=json.dumps(without(role_policy(deployed), *actions)),
    )
    found = examined(account.admin, working_as(account, deployed, monkeypatch))
    assert states(found) == {"function's tile": "failed"}
    assert f"the function cannot {failed} a tile: access denied; its role needs s3:{failed.capitalize()}" in (
        found["function's tile"].text
    )
    assert found["function's tile"].remedy.startswith("run wrenla deploy; if it stays")


def test_doctor_without_right_to_read_function_fails_its_line(
    account: Account, deployed: ResolvedSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = without(driver_policy(deployed), "lambda:GetFunctionConfiguration")
    driver = account.user("driver", policy)
    invoke = working_as(account, deployed, monkeypatch)
    found = examined(driver, invoke)
    assert found["credentials"].state == "ok"
    assert found["function"].state == "failed"
    assert found["function"].text.startswith(
        "GetFunctionConfiguration: access denied; these credentials need lambda:GetFunctionConfiguration"
    )
    assert found["bucket"].state == "skipped"
    found = examined(driver, invoke, bucket=deployed.bucket)
    assert (found["function"].state, found["bucket"].state) == ("failed", "ok")
    assert found["tile throughput"].state == "ok"


def test_a_bucket_that_may_not_be_listed(
    account: Account, deployed: ResolvedSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = account.user("driver", without(driver_policy(deployed), "s3:ListBucket"))
    found = examined(driver, working_as(account, deployed, monkeypatch))
    assert found["bucket"].state == "failed"
    assert "s3:ListBucket" in found["bucket"].text + found["bucket"].remedy


def test_a_tile_that_may_be_put_but_not_read(
    account: Account, deployed: ResolvedSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = account.user("driver", without(driver_policy(deployed), "s3:GetObject"))
    found = examined(driver, working_as(account, deployed, monkeypatch))
    assert found["tile throughput"].state == "failed"
    assert "need s3:GetObject" in found["tile throughput"].text


DENIED = {
    "code": "AccessDenied",
    "error": "s3://b/wrenla/runs: doctor-1: access denied; the credentials need …",
}
USER = "User: arn:aws:sts::1:assumed-role/r/wrenla is not authorized to perform: "

TILES: list[tuple[dict[str, Any] | None, str, str]] = [
    (None, "it is of an earlier version", "run wrenla deploy"),
    (
        {"failed": "put", **DENIED, "said": "Access Denied"},
        "the function cannot put a tile: access denied; its role needs s3:PutObject",
        "run wrenla deploy; if it stays",
    ),
    (
        {
            "failed": "get",
            **DENIED,
            "said": f"{USER}s3:GetObject on resource: arn:aws:s3:::b/k because no permissions boundary "
            "allows the s3:GetObject action",
        },
        "its role needs s3:GetObject on arn:aws:s3:::b/k, which a permissions boundary does not allow",
        "a permissions boundary",
    ),
    (
        {
            "failed": "put",
            **DENIED,
            "said": f"{USER}s3:PutObject on resource: arn:aws:s3:::b/k with an explicit deny in a service "
            "control policy",
        },
        "which a service control policy denies expressly",
        "(SCP)",
    ),
    (
        {
            "failed": "put",
            **DENIED,
            "said": f"{USER}kms:GenerateDataKey on resource: arn:aws:kms:eu-central-1:1:key/k because no "
            "identity-based policy allows the kms:GenerateDataKey action",
        },
        "its role needs kms:GenerateDataKey on arn:aws:kms:eu-central-1:1:key/k",
        "the policy of its KMS key",
    ),
    (
        {"failed": "look", **DENIED, "code": "403", "said": "Forbidden"},
        "the function cannot look for a tile: access denied; its role needs s3:ListBucket",
        "run wrenla deploy",
    ),
    (
        {"failed": "put", "error": "s3://b: S3 did not answer: Connect timeout", "code": "", "said": ""},
        "the function cannot put a tile: s3://b: S3 did not answer",
        "in a VPC the function needs an endpoint for S3",
    ),
]


@pytest.mark.parametrize(
    ("stored", "text", "remedy"), TILES, ids=["earlier", "denied", "boundary", "scp", "kms", "look", "vpc"]
)
def test_a_function_that_cannot_use_the_bucket(
    account: Account, package: Packaging, stored: dict[str, Any] | None, text: str, remedy: str
) -> None:
    deploy(account.admin)
    found = examined(account.admin, answering(pong(), stored))
    assert states(found) == {"function's tile": "failed"}
    assert text in found["function's tile"].text
    assert remedy in found["function's tile"].remedy
