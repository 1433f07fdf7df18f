"""A function that does not work: what an update mends, and what has to be deleted and made again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError

from wrenla.aws.connect import connect
from wrenla.aws.deploy import DeploySpec, deploy
from wrenla.aws.error_messages import DeployError
from wrenla.aws.packaging.package import Package
from wrenla.aws.packaging.target import running_python
from wrenla.aws.resources import function as module
from wrenla.aws.resources import resource as step_module

from .conftest import Account
from .interruptions import one_at_a_time

Packaging = Callable[[str], Package]

ROLE = "wrenla-wrenla-eu-central-1"
REASON = "The\nkey was disabled"


class Said:
    """What Lambda says of the function besides what moto does, until one of some operations is sent."""

    def __init__(self, account: Account, *answers: dict[str, Any], until: tuple[str, ...] = ()) -> None:
        self._answers = list(answers)
        events = connect(account.admin, DeploySpec())[0].lambda_.meta.events
        events.register("after-call.lambda.GetFunctionConfiguration", self._say)
        for operation in until:
            events.register(f"before-call.lambda.{operation}", self._stop)

    def _say(self, parsed: dict[str, Any], **_: Any) -> None:
        """Say the first of the answers and drop it; the last one stays."""
        if self._answers and "FunctionArn" in parsed:
            parsed.update(self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])

    def _stop(self, **_: Any) -> None:
        self._answers.clear()


def refuse(account: Account, operation: str, code: str, message: str = "") -> None:
    """Refuse an operation of Lambda's always."""

    def answer(**_: Any) -> None:
        raise ClientError({"Error": {"Code": code, "Message": message}}, operation)

    client = connect(account.admin, DeploySpec())[0].lambda_
    client.meta.events.register(f"before-call.lambda.{operation}", answer)


def remove_role(account: Account) -> None:
    iam = account.admin.client("iam")
    iam.delete_role_policy(RoleName=ROLE, PolicyName="wrenla")
    iam.delete_role(RoleName=ROLE)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for nothing: what has to be waited for is said to be so after a few questions."""
    monkeypatch.setattr(step_module.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(module, "_READY_SECONDS", 20.0)


# what an update mends


def test_a_failed_update_is_sent_again_though_nothing_differs(account: Account, package: Packaging) -> None:
    done = deploy(account.admin)
    [code] = account.admin.client("s3").list_objects_v2(Bucket=done.bucket)["Contents"]
    account.admin.client("s3").delete_object(Bucket=done.bucket, Key=code["Key"])
    failed = {"LastUpdateStatus": "Failed", "LastUpdateStatusReason": REASON, "StateReason": "old"}
    Said(account, failed, until=("UpdateFunctionConfiguration",))
    account.changes()
    assert deploy(account.admin).changed[1:] == (
        "send the configuration of function wrenla again, since its last update failed: The key was disabled",
        "send the code of function wrenla again",
    )
    assert account.changes() == ["PutObject", "UpdateFunctionConfiguration", "UpdateFunctionCode"]
    assert deploy(account.admin).changed == ()


def test_an_update_that_fails_again_says_why(account: Account, package: Packaging) -> None:
    deploy(account.admin)
    Said(account, {"LastUpdateStatus": "Failed", "LastUpdateStatusReason": REASON})
    with pytest.raises(DeployError) as raised:
        deploy(account.admin, DeploySpec(memory=4096))
    assert str(raised.value) == (
        "function wrenla: Lambda could not set it up: The key was disabled: set that right, then run the "
        "same command again"
    )
    found = account.admin.client("lambda").get_function_configuration(FunctionName="wrenla")
    assert found["MemorySize"] == 4096  # it was sent


@pytest.mark.usefixtures("quick")
def test_an_update_waits_for_the_one_before(account: Account, package: Packaging) -> None:
    deploy(account.admin)
    going = {"LastUpdateStatus": "InProgress"}
    Said(account, {}, {}, going, going, {"LastUpdateStatus": "Successful"})
    account.calls.clear()
    assert deploy(account.admin, DeploySpec(memory=4096)).changed
    asked = [call.operation for call in account.calls if call.service == "lambda"]
    assert asked[: asked.index("UpdateFunctionConfiguration")].count("GetFunctionConfiguration") >= 5


def test_an_inactive_function_works(
    account: Account, package: Packaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lambda takes from a function that nobody calls for weeks what it runs on, and gives it back."""
    deploy(account.admin)
    monkeypatch.setattr(module, "_READY_SECONDS", 0.5)
    Said(account, {"State": "Inactive", "StateReasonCode": "Idle"})
    assert deploy(account.admin).changed == ()
    assert deploy(account.admin, DeploySpec(memory=4096)).changed == (
        "change function wrenla: MemorySize 1769 → 4096",
    )


# what has to be made again


def test_a_function_that_could_not_be_made_is_made_again(account: Account, package: Packaging) -> None:
    bucket = deploy(account.admin).bucket
    account.changes()
    Said(account, {"State": "Failed", "StateReason": REASON}, until=("DeleteFunction",))
    would = deploy(account.admin, dry_run=True).changed
    assert account.changes() == []
    assert would == (
        f"delete function wrenla and create it again with its tags (Python {running_python()}, x86_64, 1769 "
        f"MB, 900 s, s3://{bucket}/wrenla), since Lambda could not set it up: The key was disabled; of what "
        "else it had this is lost: versions, aliases, permissions",
        "let Lambda not run failed calls of wrenla again",
    )
    assert deploy(account.admin).changed == would
    assert account.changes() == ["DeleteFunction", "CreateFunction", "PutFunctionEventInvokeConfig"]
    assert deploy(account.admin).changed == ()


@pytest.mark.usefixtures("quick")
def test_a_creation_that_was_interrupted_is_waited_for(account: Account, package: Packaging) -> None:
    deploy(account.admin)
    failed = {"State": "Failed", "StateReason": REASON}
    Said(account, {"State": "Pending"}, {"State": "Pending"}, {"State": "Pending"}, failed)
    assert any("delete function" in line for line in deploy(account.admin, dry_run=True).changed)


def test_a_function_whose_role_is_gone_is_made_again(account: Account, package: Packaging) -> None:
    """The new role has the name, but is another to the key of the variables: every call would fail."""
    arn = deploy(account.admin).function_arn
    lambda_ = account.admin.client("lambda")
    lambda_.tag_resource(Resource=arn, Tags={"cost": "b"})
    lambda_.put_function_concurrency(FunctionName="wrenla", ReservedConcurrentExecutions=5)
    remove_role(account)
    account.changes()
    would = deploy(account.admin, dry_run=True).changed
    assert account.changes() == []
    assert [line.split(" (")[0] for line in would] == [
        "note that function wrenla has to be made again, since its role is gone",
        f"create role {ROLE}",
        f"allow role {ROLE} to use s3://wrenla-{account.number}-eu-central-1/wrenla/ and /aws/lambda/wrenla",
        "delete function wrenla and create it again with its tags and reserved concurrency 5",
        "let Lambda not run failed calls of wrenla again",
    ]
    assert "since its role was gone, and it does not work with a new one" in would[3]
    assert deploy(account.admin).changed == would
    assert account.changes() == [
        *("TagResource", "CreateRole", "PutRolePolicy"),
        *("DeleteFunction", "CreateFunction", "PutFunctionConcurrency", "PutFunctionEventInvokeConfig"),
    ]
    assert lambda_.get_function_concurrency(FunctionName="wrenla")["ReservedConcurrentExecutions"] == 5
    assert lambda_.list_tags(Resource=arn)["Tags"] == {"wrenla": "wrenla", "cost": "b"}
    assert deploy(account.admin).changed == ()


def test_interrupted_recreation_of_function_is_continued(account: Account, package: Packaging) -> None:
    deploy(account.admin)
    remove_role(account)
    whole = deploy(account.admin, dry_run=True).changed
    assert any("delete function" in line for line in whole)
    assert one_at_a_time(partial(deploy, account.admin), len(whole)) == whole
    assert deploy(account.admin, dry_run=True).changed == ()


def test_recreation_of_function_names_lost_settings(account: Account, package: Packaging) -> None:
    deploy(account.admin)
    remove_role(account)
    vpc = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": [], "VpcId": "vpc-1"}
    Said(account, {"VpcConfig": vpc, "KMSKeyArn": "arn:aws:kms:::key/1", "Layers": []})
    refuse(account, "GetFunctionConcurrency", "AccessDeniedException")
    [line] = [each for each in deploy(account.admin, dry_run=True).changed if "delete function" in each]
    assert line.endswith(
        "this is lost: versions, aliases, permissions, KMSKeyArn, VpcConfig, reserved concurrency (to read "
        "it needs lambda:GetFunctionConcurrency)"
    )


def test_deploy_error_after_deletion_names_options_of_the_deleted_function(
    account: Account, package: Packaging
) -> None:
    deploy(account.admin, DeploySpec(bucket=f"mine-{account.number}", prefix="team/x"))
    remove_role(account)
    refuse(account, "CreateFunction", "CodeStorageExceededException")
    with pytest.raises(DeployError) as raised:
        deploy(account.admin)
    assert str(raised.value).endswith(
        "delete old functions and versions, or ask AWS for more (Service Quotas); function wrenla is deleted "
        f"by now: then run wrenla deploy --function wrenla --bucket mine-{account.number} --prefix team/x, "
        "and as before"
    )


def test_reserved_concurrency_that_cannot_be_put_back_is_told(account: Account, package: Packaging) -> None:
    deploy(account.admin)
    lambda_ = account.admin.client("lambda")
    lambda_.put_function_concurrency(FunctionName="wrenla", ReservedConcurrentExecutions=5)
    remove_role(account)
    refuse(account, "PutFunctionConcurrency", "AccessDeniedException")
    with pytest.raises(DeployError, match="function wrenla has lost its reserved concurrency, which was 5"):
        deploy(account.admin)


def test_a_function_with_another_role_is_not_made_again(account: Account, package: Packaging) -> None:
    iam = account.admin.client("iam")
    own = iam.create_role(RoleName="own", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    deploy(account.admin, DeploySpec(role=own))
    done = deploy(account.admin, DeploySpec(role="")).changed
    assert [line.split(" ")[0] for line in done] == ["create", "allow", "change"]
