"""Destroying: what goes, what stays, and whose things are left alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from wrenla.aws import destroy as module
from wrenla.aws.deploy import DeploySpec, deploy
from wrenla.aws.destroy import destroy
from wrenla.aws.error_messages import DeployError
from wrenla.aws.packaging.package import Package
from wrenla.workspace.lease import Holder
from wrenla_handler.stores.base import LEASE

from .conftest import EVERYTHING, Account
from .interruptions import one_at_a_time

Packaging = Callable[[str], Package]

RUN = "wrenla-runs/0123456789abcdef01234567"


def what_is_there(account: Account) -> dict[str, list[str]]:
    """Return all that an account holds."""
    s3, lambda_, iam, logs = map(account.admin.client, ("s3", "lambda", "iam", "logs"))
    buckets = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    return {
        "buckets": buckets,
        "objects": [
            entry["Key"] for name in buckets for entry in s3.list_objects_v2(Bucket=name).get("Contents", [])
        ],
        "functions": [each["FunctionName"] for each in lambda_.list_functions()["Functions"]],
        "roles": [role["RoleName"] for role in iam.list_roles()["Roles"]],
        "logs": [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]],
    }


def put(account: Account, bucket: str, *keys: str) -> None:
    for key in keys:
        body = b'{"attributes": {"wrenla": {}}}' if key.endswith("/zarr.json") else b"x"
        if f"/{LEASE}" in key:
            body = Holder("somebody", note={"run": key.split("/")[-3]}).encode()
        account.admin.client("s3").put_object(Bucket=bucket, Key=key, Body=body)


def make_bucket(account: Account, name: str) -> Any:
    s3 = account.admin.client("s3")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": account.region})
    return s3


def test_destroy_with_data_leaves_nothing(account: Account, package: Packaging) -> None:
    bucket = deploy(account.admin).bucket
    put(account, bucket, "wrenla/m/zarr.json", "wrenla/m/c/0/0", f"wrenla/{RUN}/{LEASE}00000000")
    lines: list[str] = []
    assert destroy(account.admin, data=True, tell=lines.append) == tuple(lines)
    assert lines == [
        f"delete 3 objects in s3://{bucket}/wrenla/ (2 of matrices, 1 temporary)",
        f"remove the lifecycle rule wrenla-wrenla-temporaries from bucket {bucket}",
        f"delete 1 object in s3://{bucket}/deploy/wrenla/",
        f"delete bucket {bucket}",
        "delete log group /aws/lambda/wrenla",
        "delete function wrenla",
        "delete role wrenla-wrenla-eu-central-1",  # the function does not work with another of this name
    ]
    assert what_is_there(account) == {"buckets": [], "objects": [], "functions": [], "roles": [], "logs": []}
    assert destroy(account.admin, data=True) == ()


def test_matrices_stay_without_data(account: Account, package: Packaging) -> None:
    bucket = deploy(account.admin).bucket
    put(account, bucket, "wrenla/m/zarr.json")
    destroy(account.admin)
    assert what_is_there(account) == {
        "buckets": [bucket],
        "objects": ["wrenla/m/zarr.json"],
        "functions": [],
        "roles": [],
        "logs": [],
    }
    assert destroy(account.admin) == ()
    deploy(account.admin)  # over what has stayed
    assert "wrenla/m/zarr.json" in what_is_there(account)["objects"]


def test_a_dry_run_says_the_same_and_changes_nothing(account: Account, package: Packaging) -> None:
    put(account, deploy(account.admin).bucket, "wrenla/m/zarr.json")
    before = what_is_there(account)
    account.changes()
    would = destroy(account.admin, data=True, dry_run=True)
    assert account.changes() == []
    assert what_is_there(account) == before
    assert destroy(account.admin, data=True) == would


def test_objects_go_in_batches(account: Account, package: Packaging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH", 3)
    bucket = deploy(account.admin).bucket
    put(account, bucket, "wrenla/m/zarr.json", *(f"wrenla/m/c/{number}" for number in range(7)))
    account.calls.clear()
    assert any("8 objects" in line for line in destroy(account.admin, data=True))
    assert what_is_there(account)["buckets"] == []
    batches = [call for call in account.calls if call.operation == "DeleteObjects"]
    assert [len(call.parameters["Delete"]["Objects"]) for call in batches] == [3, 3, 2, 1]


def test_a_foreign_bucket_stays_with_what_is_not_ours(account: Account, package: Packaging) -> None:
    bucket = f"theirs-{account.number}"
    s3 = make_bucket(account, bucket)
    rules = [{"ID": "old", "Filter": {"Prefix": "old/"}, "Status": "Enabled", "Expiration": {"Days": 1}}]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    put(account, bucket, "their/own", "wrenla/m/zarr.json")
    deploy(account.admin, DeploySpec(bucket=bucket))
    destroy(account.admin, data=True)  # the function says which bucket it is
    assert what_is_there(account)["buckets"] == [bucket]
    assert what_is_there(account)["objects"] == ["their/own"]
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == rules


def test_a_bucket_with_more_in_it_stays(account: Account, package: Packaging) -> None:
    one = deploy(account.admin, DeploySpec(function="one"))
    deploy(account.admin, DeploySpec(function="two", prefix="second"))
    put(account, one.bucket, "wrenla/m/zarr.json", "second/m/zarr.json")
    lines = destroy(account.admin, DeploySpec(function="one"), data=True)
    assert f"keep bucket {one.bucket}, since there is more in it" in lines
    left = what_is_there(account)
    assert left["functions"] == ["two"]
    assert [key for key in left["objects"] if not key.startswith("deploy/two/")] == ["second/m/zarr.json"]
    [rule] = account.admin.client("s3").get_bucket_lifecycle_configuration(Bucket=one.bucket)["Rules"]
    assert rule["ID"] == "wrenla-two-temporaries"


def test_the_prefix_is_the_functions(account: Account, package: Packaging) -> None:
    bucket = f"shared-{account.number}"
    make_bucket(account, bucket)
    deploy(account.admin, DeploySpec(bucket=bucket, prefix="team/x"))
    put(account, bucket, "wrenla/theirs", "team/x/m/zarr.json", "team/xy/theirs")
    destroy(account.admin, data=True)
    assert what_is_there(account)["objects"] == ["team/xy/theirs", "wrenla/theirs"]


@pytest.mark.parametrize("beside", ["wrenla", "wrenla/b"])
def test_matrices_that_another_function_has_too_stay(
    account: Account, package: Packaging, beside: str
) -> None:
    bucket = deploy(account.admin, DeploySpec(function="a")).bucket
    deploy(account.admin, DeploySpec(function="b", prefix=beside))
    put(account, bucket, "wrenla/m/zarr.json")
    account.changes()
    for dry_run in (True, False):
        with pytest.raises(DeployError) as raised:
            destroy(account.admin, DeploySpec(function="a"), data=True, dry_run=dry_run)
        assert str(raised.value) == (
            f"function b has its matrices in s3://{bucket}/{beside}/ too: destroy it first "
            f"(wrenla destroy --function b --bucket {bucket}), or leave --data out"
        )
    assert account.changes() == []
    destroy(account.admin, DeploySpec(function="b", bucket=bucket))  # as it says
    destroy(account.admin, DeploySpec(function="a"), data=True)
    assert what_is_there(account)["buckets"] == []


def test_without_data_another_functions_prefix_is_of_no_concern(account: Account, package: Packaging) -> None:
    for name in ("a", "b"):
        deploy(account.admin, DeploySpec(function=name))
    destroy(account.admin, DeploySpec(function="a"))
    assert what_is_there(account)["functions"] == ["b"]
    assert deploy(account.admin, DeploySpec(function="b")).changed == ()


def test_a_prefix_around_ours_is_of_no_concern(account: Account, package: Packaging) -> None:
    bucket = deploy(account.admin, DeploySpec(function="b", prefix="team")).bucket
    deploy(account.admin, DeploySpec(function="a", prefix="team/x"))
    put(account, bucket, "team/m/zarr.json", "team/x/m/zarr.json")
    destroy(account.admin, DeploySpec(function="a"), data=True)
    assert "team/m/zarr.json" in what_is_there(account)["objects"]
    assert "team/x/m/zarr.json" not in what_is_there(account)["objects"]


def test_code_of_another_function_without_a_rule_tells_of_it(account: Account, package: Packaging) -> None:
    bucket = deploy(account.admin, DeploySpec(function="a")).bucket
    deploy(account.admin, DeploySpec(function="b", prefix="elsewhere"))
    s3 = account.admin.client("s3")
    s3.delete_bucket_lifecycle(Bucket=bucket)
    with pytest.raises(DeployError, match=f"function b may have its matrices in s3://{bucket}/wrenla/ too: "):
        destroy(account.admin, DeploySpec(function="a"), data=True)


def test_code_that_is_not_wrenlas_tells_of_nothing(account: Account, package: Packaging) -> None:
    bucket = f"theirs-{account.number}"
    make_bucket(account, bucket)
    put(account, bucket, "deploy/prod/app.zip", "deploy/readme", f"deploy/{'0' * 64}.zip")
    deploy(account.admin, DeploySpec(bucket=bucket))
    destroy(account.admin, data=True)
    assert len(what_is_there(account)["objects"]) == 3


def test_a_rule_that_was_rewritten_may_be_for_the_same_prefix(account: Account, package: Packaging) -> None:
    bucket = deploy(account.admin, DeploySpec(function="a")).bucket
    s3 = account.admin.client("s3")
    [ours] = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    tag = {"Key": "k", "Value": "v"}
    more = {"ID": "wrenla-b-temporaries", "Filter": {"And": {"Prefix": "x/", "Tags": [tag]}}}
    rules = [ours, {**more, "Status": "Enabled", "Expiration": {"Days": 1}}]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    with pytest.raises(DeployError, match="function b may have"):
        destroy(account.admin, DeploySpec(function="a"), data=True)


def test_failed_destroy_is_continued_by_the_same_call(account: Account, package: Packaging) -> None:
    """The function, which alone knows bucket and prefix, goes after what is in them, and then its role."""
    bucket = f"mine-{account.number}"
    deploy(account.admin, DeploySpec(bucket=bucket, prefix="team/x"))
    put(account, bucket, "team/x/m/zarr.json")
    make_bucket(account, other := f"wrenla-{account.number}-eu-central-1")
    put(account, other, "wrenla/theirs")
    planned = destroy(account.admin, data=True, dry_run=True)
    assert planned[-2:] == ("delete function wrenla", "delete role wrenla-wrenla-eu-central-1")
    assert one_at_a_time(partial(destroy, account.admin, data=True), len(planned)) == planned
    assert what_is_there(account) == {
        "buckets": [other],
        "objects": ["wrenla/theirs"],
        "functions": [],
        "roles": [],
        "logs": [],
    }


def test_objects_written_during_destroy_go_at_the_next_call(account: Account, package: Packaging) -> None:
    bucket = deploy(account.admin).bucket

    def tell(line: str) -> None:
        if line.startswith("delete bucket"):
            put(account, bucket, f"wrenla/{RUN}/run.json", f"wrenla/{RUN}/{LEASE}00000000")

    with pytest.raises(DeployError, match=r"DeleteBucket: there is something in it.*run the same command"):
        destroy(account.admin, data=True, tell=tell)
    destroy(account.admin, data=True)
    assert what_is_there(account) == {"buckets": [], "objects": [], "functions": [], "roles": [], "logs": []}


def test_a_log_group_of_others_stays(account: Account, package: Packaging) -> None:
    deploy(account.admin)
    group = "/aws/lambda/wrenla"
    account.admin.client("logs").untag_log_group(logGroupName=group, tags=["wrenla"])
    assert f"keep log group {group}, since wrenla has not made it" in destroy(account.admin)
    assert what_is_there(account)["logs"] == [group]


def test_a_role_of_ones_own_stays(account: Account, package: Packaging) -> None:
    iam = account.admin.client("iam")
    document = json.dumps({"Version": "2012-10-17", "Statement": []})
    arn = iam.create_role(RoleName="own", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    deploy(account.admin, DeploySpec(role=arn))
    destroy(account.admin)
    assert what_is_there(account)["roles"] == ["own"]


def test_a_role_that_is_left_alone_does_not_lead_to_another_bucket(
    account: Account, package: Packaging
) -> None:
    """The function is gone, and with it which bucket it was; the default one may have others' matrices."""
    deploy(account.admin, DeploySpec(bucket=f"mine-{account.number}"))
    make_bucket(account, other := f"wrenla-{account.number}-eu-central-1")
    put(account, other, "wrenla/theirs")
    iam, name = account.admin.client("iam"), "wrenla-wrenla-eu-central-1"
    arn = iam.create_policy(PolicyName="extra", PolicyDocument=json.dumps(EVERYTHING))["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    for _ in range(2):  # at the second time without its own policy
        with pytest.raises(DeployError, match="somebody has attached extra to it"):
            destroy(account.admin, data=True)
    iam.detach_role_policy(RoleName=name, PolicyArn=arn)
    assert destroy(account.admin, data=True) == (f"delete role {name}",)
    assert what_is_there(account)["objects"] == ["wrenla/theirs"]


def test_a_role_to_which_others_have_attached_policies(account: Account, package: Packaging) -> None:
    iam = account.admin.client("iam")
    name = deploy(account.admin).role_arn.rpartition("/")[2]
    iam.put_role_policy(RoleName=name, PolicyName="more", PolicyDocument=json.dumps(EVERYTHING))
    arn = iam.create_policy(PolicyName="extra", PolicyDocument=json.dumps(EVERYTHING))["Policy"]["Arn"]
    iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    with pytest.raises(DeployError, match=f"role {name}: somebody has attached extra to it; detach"):
        destroy(account.admin)
    iam.detach_role_policy(RoleName=name, PolicyArn=arn)
    destroy(account.admin)
    assert what_is_there(account)["roles"] == []


def test_a_function_of_others_is_not_deleted(account: Account, package: Packaging) -> None:
    done = deploy(account.admin)
    account.admin.client("lambda").untag_resource(Resource=done.function_arn, TagKeys=["wrenla"])
    account.changes()
    with pytest.raises(DeployError, match="wrenla has not made it; check --function"):
        destroy(account.admin, data=True)
    assert account.changes() == []


def test_destroy_without_deployment_does_nothing(account: Account) -> None:
    assert destroy(account.admin, data=True) == ()
