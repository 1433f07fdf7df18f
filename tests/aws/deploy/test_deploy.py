"""Deploying: what is made, that it is made once, and whose things are left alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from wrenla.aws.connect import connect
from wrenla.aws.deploy import DeploySpec, deploy
from wrenla.aws.error_messages import DeployError
from wrenla.aws.packaging.package import Package

from .conftest import EVERYTHING, Account
from .interruptions import one_at_a_time

Packaging = Callable[[str], Package]

FOREIGN_RULES = [
    {
        "ID": "archive",
        "Filter": {"Prefix": "archive/"},
        "Status": "Enabled",
        "Transitions": [{"Days": 30, "StorageClass": "GLACIER"}],
    },
    {"ID": "old", "Filter": {"Prefix": "old/"}, "Status": "Disabled", "Expiration": {"Days": 1}},
]


def test_first_deploy_makes_all_resources(account: Account, package: Packaging) -> None:
    made = package("code")
    spec = DeploySpec(memory=3008, storage=1024, tags=(("team", "algebra"),), environment={"LEVEL": "3"})
    done = deploy(account.admin, spec)

    bucket = f"wrenla-{account.number}-eu-central-1"
    assert (done.function, done.bucket, done.prefix, done.memory) == ("wrenla", bucket, "wrenla", 3008)
    assert (done.region, done.account) == ("eu-central-1", account.number)
    s3, lambda_, iam, logs = map(account.admin.client, ("s3", "lambda", "iam", "logs"))

    function = lambda_.get_function_configuration(FunctionName="wrenla")
    assert function["FunctionArn"] == done.function_arn
    assert function["Role"] == done.role_arn
    assert function["CodeSha256"] == made.base64
    assert function["Handler"] == "wrenla_handler.lambda_entry.handle"
    assert (function["MemorySize"], function["Timeout"], function["EphemeralStorage"]["Size"]) == (
        3008,
        900,
        1024,
    )
    assert function["Environment"]["Variables"] == {
        "LEVEL": "3",
        "WRENLA_BUCKET": bucket,
        "WRENLA_PREFIX": "wrenla",
        "WRENLA_BUCKET_OWNER": account.number,
    }
    tags = {"wrenla": "wrenla", "team": "algebra"}
    assert lambda_.list_tags(Resource=done.function_arn)["Tags"] == tags
    assert lambda_.get_function_event_invoke_config(FunctionName="wrenla")["MaximumRetryAttempts"] == 0

    assert pairs(s3.get_bucket_tagging(Bucket=bucket)["TagSet"]) == tags
    assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    [rule] = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert rule["ID"] == "wrenla-wrenla-temporaries"
    assert rule["Filter"] == {"Prefix": "wrenla/wrenla-runs/"}
    assert rule["Expiration"] == {"Days": 14}
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
    assert keys(s3, bucket) == [f"deploy/wrenla/{made.sha256}.zip"]

    role = iam.get_role(RoleName=done.role_arn.rpartition("/")[2])["Role"]
    assert pairs(role["Tags"]) == tags
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {
        "Service": "lambda.amazonaws.com"
    }
    [group] = logs.describe_log_groups()["logGroups"]
    assert (group["logGroupName"], group["retentionInDays"]) == ("/aws/lambda/wrenla", 30)


def test_deploying_twice_changes_nothing(account: Account, package: Packaging) -> None:
    first = deploy(account.admin, DeploySpec(memory=2048))
    assert first.changed
    assert account.changes()
    lines: list[str] = []
    second = deploy(account.admin, DeploySpec(memory=2048), tell=lines.append)
    assert (second.changed, lines) == ((), [])
    assert account.changes() == []
    assert second.function_arn == first.function_arn


def test_a_dry_run_changes_nothing_and_says_the_same(account: Account, package: Packaging) -> None:
    lines: list[str] = []
    would = deploy(account.admin, dry_run=True, tell=lines.append)
    assert account.changes() == []
    assert would.changed == tuple(lines)
    assert deploy(account.admin).changed == would.changed


def test_only_what_differs_is_changed(account: Account, package: Packaging) -> None:
    old = package("one")
    deploy(account.admin)
    new = package("two")
    account.changes()
    done = deploy(account.admin, DeploySpec(memory=4096))
    assert [line.split(" ")[0] for line in done.changed] == ["upload", "update", "change", "remove"]
    assert "MemorySize 1769 → 4096" in done.changed[2]
    assert old.sha256 in done.changed[3]
    assert account.changes() == [
        "PutObject",
        "UpdateFunctionCode",
        "UpdateFunctionConfiguration",
        "DeleteObject",
    ]
    assert keys(account.admin.client("s3"), done.bucket) == [f"deploy/wrenla/{new.sha256}.zip"]


def test_every_request_to_the_bucket_names_its_owner(account: Account, package: Packaging) -> None:
    deploy(account.admin)
    package("next")
    deploy(account.admin)
    asked = [call for call in account.calls if call.service == "s3" and call.operation != "CreateBucket"]
    assert len(asked) > 15
    assert {call.parameters.get("ExpectedBucketOwner") for call in asked} == {account.number}


def test_interrupted_deploy_is_continued(account: Account, package: Packaging) -> None:
    """Every deployment is killed after one change: each goes on where the one before was, to the same end."""
    whole = deploy(account.admin, dry_run=True).changed
    assert one_at_a_time(partial(deploy, account.admin), len(whole)) == whole
    assert deploy(account.admin, dry_run=True).changed == ()


def test_in_the_first_region_a_bucket_says_no_region(account: Account, package: Packaging) -> None:
    account.region = "us-east-1"
    session = account._session("a", "b", "")
    assert deploy(session).bucket.endswith("-us-east-1")
    [made] = [call for call in account.calls if call.operation == "CreateBucket"]
    assert "CreateBucketConfiguration" not in made.parameters


def test_a_foreign_bucket_gets_one_rule_and_nothing_else(account: Account, package: Packaging) -> None:
    s3 = account.admin.client("s3")
    where = {"CreateBucketConfiguration": {"LocationConstraint": "eu-central-1"}}
    s3.create_bucket(Bucket=f"theirs-{account.number}", **where)
    s3.put_bucket_lifecycle_configuration(
        Bucket=f"theirs-{account.number}", LifecycleConfiguration={"Rules": FOREIGN_RULES}
    )
    account.changes()
    lines: list[str] = []
    done = deploy(account.admin, DeploySpec(bucket=f"theirs-{account.number}"), tell=lines.append)
    assert done.bucket == f"theirs-{account.number}"
    assert "the bucket is not wrenla's: nothing else in it is changed" in lines[0]
    on_bucket = [each for each in account.changes() if "Bucket" in each or "PublicAccess" in each]
    assert on_bucket == ["PutBucketLifecycleConfiguration"]
    rules = s3.get_bucket_lifecycle_configuration(Bucket=done.bucket)["Rules"]
    assert rules[:2] == FOREIGN_RULES
    assert [rule["ID"] for rule in rules] == ["archive", "old", "wrenla-wrenla-temporaries"]
    assert deploy(account.admin, DeploySpec(bucket=done.bucket)).changed == ()


def test_a_rule_of_ours_that_was_changed_is_set_right_in_its_place(
    account: Account, package: Packaging
) -> None:
    bucket = deploy(account.admin).bucket
    s3 = account.admin.client("s3")
    [ours] = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    rules = [{**ours, "Status": "Disabled"}, *FOREIGN_RULES]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    assert len(deploy(account.admin).changed) == 1
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == [ours, *FOREIGN_RULES]


def test_two_functions_share_a_bucket(account: Account, package: Packaging) -> None:
    one, two = (deploy(account.admin, DeploySpec(function=name)) for name in ("one", "two"))
    assert one.bucket == two.bucket
    assert one.role_arn != two.role_arn
    rules = account.admin.client("s3").get_bucket_lifecycle_configuration(Bucket=one.bucket)["Rules"]
    assert [rule["ID"] for rule in rules] == ["wrenla-one-temporaries", "wrenla-two-temporaries"]
    assert deploy(account.admin, DeploySpec(function="one")).changed == ()


def test_deploy_without_bucket_keeps_the_deployed_one(account: Account, package: Packaging) -> None:
    bucket = f"mine-{account.number}"
    deploy(account.admin, DeploySpec(bucket=bucket))
    done = deploy(account.admin, DeploySpec(memory=2000))
    assert done.bucket == bucket
    assert done.changed == ("change function wrenla: MemorySize 1769 → 2000",)


def test_deploy_without_prefix_keeps_the_deployed_one(account: Account, package: Packaging) -> None:
    bucket = f"mine-{account.number}"
    spec = DeploySpec(bucket=bucket, prefix="team/x")
    deploy(account.admin, spec)
    for forgetful in (DeploySpec(), DeploySpec(bucket=bucket), DeploySpec(prefix="team/x")):
        done = deploy(account.admin, forgetful)
        assert (done.bucket, done.prefix, done.changed) == (bucket, "team/x", ())
    assert connect(account.admin, DeploySpec())[1].prefix == "team/x"


def test_a_function_without_a_prefix_has_the_first_one(account: Account, package: Packaging) -> None:
    deploy(account.admin)
    account.admin.client("lambda").update_function_configuration(
        FunctionName="wrenla", Environment={"Variables": {}}
    )
    assert deploy(account.admin).prefix == "wrenla"


def test_a_role_of_ones_own_is_used_as_it_is(account: Account, package: Packaging) -> None:
    iam = account.admin.client("iam")
    trust = {"Version": "2012-10-17", "Statement": []}
    arn = iam.create_role(RoleName="own", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    account.changes()
    assert deploy(account.admin, DeploySpec(role=arn)).role_arn == arn
    assert {call.service for call in account.calls} == {"s3", "sts", "lambda", "logs"}


def test_the_role_is_bounded(account: Account, package: Packaging) -> None:
    iam = account.admin.client("iam")
    document = json.dumps(EVERYTHING)
    arns = [iam.create_policy(PolicyName=name, PolicyDocument=document)["Policy"]["Arn"] for name in "ab"]
    for arn in arns:
        done = deploy(account.admin, DeploySpec(permissions_boundary=arn))
        role = iam.get_role(RoleName=done.role_arn.rpartition("/")[2])["Role"]
        assert role["PermissionsBoundary"]["PermissionsBoundaryArn"] == arn
    assert len(done.changed) == 1


def test_a_role_that_somebody_widened_is_narrowed_again(account: Account, package: Packaging) -> None:
    name = deploy(account.admin).role_arn.rpartition("/")[2]
    iam = account.admin.client("iam")
    right = iam.get_role_policy(RoleName=name, PolicyName="wrenla")["PolicyDocument"]
    iam.put_role_policy(RoleName=name, PolicyName="wrenla", PolicyDocument=json.dumps(EVERYTHING))
    assert len(deploy(account.admin).changed) == 1
    assert iam.get_role_policy(RoleName=name, PolicyName="wrenla")["PolicyDocument"] == right


def test_deploy_over_resources_of_others_is_refused(account: Account, package: Packaging) -> None:
    iam, lambda_ = account.admin.client("iam"), account.admin.client("lambda")
    trust = {"Version": "2012-10-17", "Statement": []}
    iam.create_role(RoleName="wrenla-taken-eu-central-1", AssumeRolePolicyDocument=json.dumps(trust))
    account.changes()
    with pytest.raises(DeployError, match="wrenla has not made; give the function another name"):
        deploy(account.admin, DeploySpec(function="taken"))
    assert account.changes() == []
    done = deploy(account.admin)
    lambda_.untag_resource(Resource=done.function_arn, TagKeys=["wrenla"])
    account.changes()
    with pytest.raises(DeployError, match="function wrenla: there is one that wrenla has not made"):
        deploy(account.admin)
    assert account.changes() == []


def test_a_function_of_somebody_else_keeps_its_log(account: Account, package: Packaging) -> None:
    """Whose it is comes first: 30 days for its log would delete what is older for good."""
    done = deploy(account.admin)
    lambda_, logs = account.admin.client("lambda"), account.admin.client("logs")
    lambda_.untag_resource(Resource=done.function_arn, TagKeys=["wrenla"])
    lambda_.update_function_configuration(FunctionName="wrenla", Environment={"Variables": {}})
    iam, role = account.admin.client("iam"), done.role_arn.rpartition("/")[2]
    iam.delete_role_policy(RoleName=role, PolicyName="wrenla")
    iam.delete_role(RoleName=role)
    logs.delete_retention_policy(logGroupName="/aws/lambda/wrenla")
    account.changes()
    for dry_run in (True, False):
        with pytest.raises(DeployError, match="function wrenla: there is one that wrenla has not made"):
            deploy(account.admin, dry_run=dry_run)
    assert account.changes() == []
    assert retention(account) is None


def retention(account: Account) -> int | None:
    """Return for how many days the log is kept; None is for ever."""
    [group] = account.admin.client("logs").describe_log_groups()["logGroups"]
    days: int | None = group.get("retentionInDays")
    return days


def test_a_log_that_is_kept_for_ever_stays_so(account: Account, package: Packaging) -> None:
    deploy(account.admin)
    account.admin.client("logs").delete_retention_policy(logGroupName="/aws/lambda/wrenla")
    assert deploy(account.admin).changed == ()
    assert retention(account) is None


def test_a_log_group_that_was_there_before_keeps_what_it_keeps(account: Account, package: Packaging) -> None:
    logs = account.admin.client("logs")
    logs.create_log_group(logGroupName="/aws/lambda/wrenla")
    would = deploy(account.admin, dry_run=True).changed
    done = deploy(account.admin).changed
    assert done == would
    left = (
        "leave log group /aws/lambda/wrenla as it is, since it was there before: it keeps everything for ever"
    )
    assert left in done
    assert retention(account) is None
    assert deploy(account.admin).changed == ()


def test_a_log_group_with_a_time_is_not_mentioned(account: Account, package: Packaging) -> None:
    logs = account.admin.client("logs")
    logs.create_log_group(logGroupName="/aws/lambda/wrenla")
    logs.put_retention_policy(logGroupName="/aws/lambda/wrenla", retentionInDays=7)
    assert not any("log group" in line for line in deploy(account.admin).changed)
    assert retention(account) == 7


def pairs(tags: list[dict[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}


def keys(s3: Any, bucket: str) -> list[str]:
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
