"""Who may do what: under enforcement, with exactly our policies, and with each permission taken away."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from wrenla.aws.deploy import DeploySpec, deploy
from wrenla.aws.destroy import destroy
from wrenla.aws.error_messages import DeployError
from wrenla.aws.packaging.package import Package
from wrenla.aws.policies import (
    deployer_policy,
    destroyer_policy,
    driver_policy,
    role_maker_policy,
    role_policy,
)
from wrenla.aws.resolve import resolve
from wrenla.aws.spec import ResolvedSpec

from .conftest import Account
from .enforcement import Asked, allowed

Packaging = Callable[[str], Package]

SPEC = resolve(DeploySpec(), "123456789012", "eu-central-1", "aws")


def resolved(account: Account, **options: Any) -> ResolvedSpec:
    return resolve(DeploySpec(**options), account.number, account.region, "aws")


def actions_of(policy: Mapping[str, Any]) -> list[str]:
    return [action for statement in policy["Statement"] for action in statement["Action"]]


def together(*policies: Mapping[str, Any] | None) -> dict[str, Any]:
    statements = [each for policy in policies if policy is not None for each in policy["Statement"]]
    return {"Version": "2012-10-17", "Statement": statements}


def first_deployer_policy(spec: ResolvedSpec) -> dict[str, Any]:
    """Return what the first deployment needs, which makes the role."""
    return together(deployer_policy(spec), role_maker_policy(spec))


def without(policy: Mapping[str, Any], action: str) -> dict[str, Any]:
    """Return a policy without one action; a statement that loses its only one gets a harmless one."""
    changed = copy.deepcopy(dict(policy))
    for statement in changed["Statement"]:
        statement["Action"] = [each for each in statement["Action"] if each != action] or ["s3:GetBucketCORS"]
    return changed


# deploying

NEEDED = (
    *("lambda:GetFunctionConfiguration", "s3:ListBucket", "s3:CreateBucket"),
    *("s3:GetBucketTagging", "s3:PutBucketTagging"),
    *("s3:GetBucketPublicAccessBlock", "s3:PutBucketPublicAccessBlock"),
    *("s3:GetEncryptionConfiguration", "s3:PutEncryptionConfiguration"),
    *("s3:GetLifecycleConfiguration", "s3:PutLifecycleConfiguration"),
    *("iam:GetRole", "iam:CreateRole", "iam:TagRole", "iam:GetRolePolicy", "iam:PutRolePolicy"),
    *("logs:DescribeLogGroups", "logs:CreateLogGroup", "logs:TagResource", "logs:PutRetentionPolicy"),
    *("s3:PutObject", "lambda:CreateFunction", "lambda:TagResource", "iam:PassRole", "s3:GetObject"),
    *("lambda:GetFunctionEventInvokeConfig", "lambda:PutFunctionEventInvokeConfig", "lambda:ListTags"),
)
"""What a first deployment needs, as it comes to need it."""

NEEDED_ELSEWHERE = {
    "lambda:DeleteFunction": "a function whose role is gone",
    "lambda:GetFunctionConcurrency": "a function whose role is gone",
    "lambda:PutFunctionConcurrency": "a function whose role is gone",
    "lambda:InvokeFunction": "wrenla doctor",
    "lambda:UpdateFunctionCode": "second deployment",
    "lambda:UpdateFunctionConfiguration": "second deployment",
    "logs:FilterLogEvents": "wrenla logs",
    "s3:AbortMultipartUpload": "an upload that breaks off",
    "s3:DeleteObject": "second deployment",
    "s3:GetBucketPolicy": "endpoints with https",
    "s3:PutBucketPolicy": "endpoints with https",
}
"""The other actions of the policy, and what needs them."""


def test_the_deployers_policy_is_enough(account: Account, package: Packaging) -> None:
    account.enforced()
    spec = resolved(account)
    deployer = account.user("deployer", first_deployer_policy(spec))
    assert len(deploy(deployer).changed) == 12
    # from now on without the rights of an administrator
    account.change("deployer", deployer_policy(spec))
    assert deploy(deployer).changed == ()
    package("second")
    assert len(deploy(deployer, DeploySpec(memory=2000)).changed) == 4
    assert deploy(deployer, DeploySpec(memory=2000)).changed == ()
    account.changes()
    with pytest.raises(DeployError, match=r"need logs:ListTagsForResource"):
        destroy(deployer)
    assert account.changes() == []
    account.change("deployer", together(deployer_policy(spec), destroyer_policy(spec)))
    assert len(destroy(deployer, data=True)) == 6
    assert destroy(deployer, data=True) == ()


def test_without_any_action_one_line_names_it(account: Account, package: Packaging) -> None:
    """Deployments that lack one action each: every one comes just as far as the one after it needs."""
    account.enforced()
    policy = first_deployer_policy(resolved(account))
    deployer = account.user("deployer", policy)
    assert sorted([*NEEDED, *NEEDED_ELSEWHERE]) == sorted(actions_of(policy))
    for action in NEEDED:
        account.change("deployer", without(policy, action))
        message = refusal(deployer)
        assert message is not None, action
        assert action in message
        assert "\n" not in message
        assert "--print-policies" in message or "--bucket" in message


def refusal(session: Any, **options: Any) -> str | None:
    try:
        deploy(session, **options)
    except DeployError as error:
        return str(error)
    return None


def test_an_update_without_an_action(account: Account, package: Packaging) -> None:
    account.enforced()
    policy = deployer_policy(resolved(account))
    deploy(account.admin)
    deployer = account.user("deployer", policy)
    package("second")
    for action in ("lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration", "s3:DeleteObject"):
        account.change("deployer", without(policy, action))
        message = refusal(deployer, spec=DeploySpec(memory=2000))
        assert message is not None
        assert action in message


DESTROYING = (
    *(
        "logs:ListTagsForResource",
        "s3:GetObject",
        "s3:DeleteObject",
        "s3:PutLifecycleConfiguration",
        "s3:DeleteBucket",
    ),
    *("logs:DeleteLogGroup", "lambda:DeleteFunction", "iam:ListRolePolicies", "iam:DeleteRolePolicy"),
    *("iam:ListAttachedRolePolicies", "iam:DeleteRole"),
)
"""What destroying needs that only looking does not, as it comes to need it."""


def test_destroying_without_an_action_goes_on_once_it_is_there(account: Account, package: Packaging) -> None:
    """Without bucket and prefix, which the function still knows, however far it has come."""
    account.enforced()
    options = {"bucket": f"mine-{account.number}", "prefix": "team/x"}
    spec = resolved(account, **options)
    bucket = deploy(account.admin, DeploySpec(**options)).bucket  # type: ignore[arg-type]
    s3 = account.admin.client("s3")
    s3.put_object(Bucket=bucket, Key="team/x/wrenla-runs/doctor-" + 32 * "0", Body=b"x")
    s3.put_object(Bucket=bucket, Key="team/x/m/zarr.json", Body=b'{"attributes": {"wrenla": {}}}')
    policy = together(deployer_policy(spec), destroyer_policy(spec))
    destroyer = account.user("destroyer", policy)
    # without the other one it says less
    assert set(actions_of(destroyer_policy(spec))) - {"s3:GetBucketVersioning"} <= set(DESTROYING)
    for action in DESTROYING:
        account.change("destroyer", without(policy, action))
        with pytest.raises(DeployError, match=f"need {action}"):
            destroy(destroyer, data=True)
    account.change("destroyer", policy)
    assert destroy(destroyer, data=True) == ("delete role wrenla-wrenla-eu-central-1",)


def test_a_deployer_touches_no_other_deployment(account: Account, package: Packaging) -> None:
    account.enforced()
    deployer = account.user("deployer", first_deployer_policy(resolved(account)))
    deploy(deployer)
    with pytest.raises(DeployError, match="need"):
        deploy(deployer, DeploySpec(function="other"))
    destroy(account.admin)
    with pytest.raises(DeployError, match="need"):
        deploy(deployer, DeploySpec(bucket=f"other-{account.number}"))


# the function's role


def role_requests(bucket: str) -> dict[str, tuple[bool, Callable[[Any], object]]]:
    """Return what a function may try, and whether it may do it."""

    def s3(operation: str, **arguments: Any) -> Callable[[Any], object]:
        return lambda session: getattr(session.client("s3"), operation)(**arguments)

    def other(service: str, operation: str, **arguments: Any) -> Callable[[Any], object]:
        return lambda session: getattr(session.client(service), operation)(**arguments)

    tile, code = {"Bucket": bucket, "Key": "wrenla/m/c/0/0"}, {"Bucket": bucket, "Key": "deploy/wrenla/x.zip"}
    beside = {"Bucket": bucket, "Key": "wrenlax/m"}
    stream = {"logGroupName": "/aws/lambda/wrenla", "logStreamName": "s"}
    events = [{"timestamp": 1_700_000_000_000, "message": "m"}]
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    return {
        "put a tile": (True, s3("put_object", Body=b"x", **tile)),
        "get a tile": (True, s3("get_object", **tile)),
        "ask for a tile's size": (True, s3("head_object", **tile)),
        "list its prefix": (True, s3("list_objects_v2", Bucket=bucket, Prefix="wrenla/m/")),
        "list its prefix whole": (True, s3("list_objects_v2", Bucket=bucket, Prefix="wrenla/")),
        "list what begins as its prefix": (False, s3("list_objects_v2", Bucket=bucket, Prefix="wrenla")),
        "list another's": (False, s3("list_objects_v2", Bucket=bucket, Prefix="wrenla-of-another/")),
        "delete a tile": (True, s3("delete_object", **tile)),
        "delete many": (
            True,
            s3("delete_objects", Bucket=bucket, Delete={"Objects": [{"Key": tile["Key"]}]}),
        ),
        "make a log stream": (True, other("logs", "create_log_stream", **stream)),
        "write its log": (True, other("logs", "put_log_events", logEvents=events, **stream)),
        "replace the code": (False, s3("put_object", Body=b"x", **code)),
        "read the code": (False, s3("get_object", **code)),
        "delete the code": (False, s3("delete_object", **code)),
        "delete many elsewhere": (
            False,
            s3(
                "delete_objects",
                Bucket=bucket,
                Delete={"Objects": [{"Key": tile["Key"]}, {"Key": code["Key"]}]},
            ),
        ),
        "write beside its prefix": (False, s3("put_object", Body=b"x", **beside)),
        "read beside its prefix": (False, s3("get_object", **beside)),
        "write to another bucket": (False, s3("put_object", Body=b"x", Bucket="elsewhere", Key="wrenla/x")),
        "list all": (False, s3("list_objects_v2", Bucket=bucket)),
        "list the code": (False, s3("list_objects_v2", Bucket=bucket, Prefix="deploy/")),
        "list an empty prefix": (False, s3("list_objects_v2", Bucket=bucket, Prefix="")),
        "list beside its prefix": (False, s3("list_objects_v2", Bucket=bucket, Prefix="wrenlax")),
        "list buckets": (False, s3("list_buckets")),
        "make a bucket": (False, s3("create_bucket", Bucket="another-bucket")),
        "delete the bucket": (False, s3("delete_bucket", Bucket=bucket)),
        "read the bucket's policy": (False, s3("get_bucket_policy", Bucket=bucket)),
        "let leftovers stay": (False, s3("delete_bucket_lifecycle", Bucket=bucket)),
        "open the bucket": (False, s3("delete_public_access_block", Bucket=bucket)),
        "widen its rights": (
            False,
            other(
                "iam",
                "put_role_policy",
                RoleName="wrenla-wrenla-eu-central-1",
                PolicyName="wrenla",
                PolicyDocument=json.dumps(role_policy(SPEC)),
            ),
        ),
        "make a role": (False, other("iam", "create_role", RoleName="r", AssumeRolePolicyDocument=trust)),
        "read its role": (False, other("iam", "get_role", RoleName="wrenla-wrenla-eu-central-1")),
        "make a key": (False, other("iam", "create_access_key", UserName="administrator")),
        "take a role": (
            False,
            other(
                "sts", "assume_role", RoleArn="arn:aws:iam::123456789012:role/any", RoleSessionName="session"
            ),
        ),
        "invoke itself": (False, other("lambda", "invoke", FunctionName="wrenla", Payload=b"{}")),
        "change its memory": (
            False,
            other("lambda", "update_function_configuration", FunctionName="wrenla", MemorySize=10240),
        ),
        "change its code": (
            False,
            other(
                "lambda", "update_function_code", FunctionName="wrenla", S3Bucket=bucket, S3Key=tile["Key"]
            ),
        ),
        "delete itself": (False, other("lambda", "delete_function", FunctionName="wrenla")),
        "write another log": (
            False,
            other("logs", "create_log_stream", logGroupName="/aws/lambda/other", logStreamName="s"),
        ),
        "make a log group": (False, other("logs", "create_log_group", logGroupName="/aws/lambda/other")),
        "read logs": (False, other("logs", "filter_log_events", logGroupName="/aws/lambda/wrenla")),
        "delete its log": (False, other("logs", "delete_log_group", logGroupName="/aws/lambda/wrenla")),
    }


def test_the_role_can_what_it_must_and_nothing_else(account: Account, package: Packaging) -> None:
    account.enforced()
    done = deploy(account.admin)
    function = account.role(done.role_arn)
    refused = {"AccessDenied", "AccessDeniedException", "403"}
    wrong = []
    for name, (may, attempt) in role_requests(done.bucket).items():
        try:
            answer = attempt(function)
            errors = answer.get("Errors", []) if isinstance(answer, dict) else []
            outcome = errors[0]["Code"] if errors else "done"
        except ClientError as error:
            outcome = error.response["Error"]["Code"]
        if (outcome in refused) == may or (may and outcome != "done"):
            wrong.append((name, outcome))
    assert wrong == []


# the policies themselves


def asks(action: str, resource: str, prefix: str | None = None) -> Asked:
    return Asked(action, resource, {} if prefix is None else {"s3:prefix": prefix})


BUCKET = "arn:aws:s3:::wrenla-123456789012-eu-central-1"


@pytest.mark.parametrize(
    ("asked", "may"),
    [
        (asks("s3:GetObject", f"{BUCKET}/wrenla/m/c/0/0"), True),
        (asks("s3:ListBucket", BUCKET, "wrenla/m/"), True),
        (asks("s3:ListBucket", BUCKET, "wrenla/"), True),
        (asks("s3:ListBucket", BUCKET), False),
        (asks("s3:ListBucket", BUCKET, ""), False),
        (asks("s3:ListBucket", BUCKET, "wrenla"), False),
        (asks("s3:ListBucket", BUCKET, "wrenla-of-another/"), False),
        (asks("s3:ListBucket", BUCKET, "wrenlax/"), False),
        (asks("s3:PutObject", f"{BUCKET}/deploy/wrenla/x.zip"), False),
        (asks("lambda:InvokeFunction", f"{SPEC.function_arn}"), True),
        (asks("lambda:InvokeFunction", f"{SPEC.function_arn}:1"), True),
        (asks("lambda:InvokeFunction", f"{SPEC.function_arn}x"), False),
        (asks("lambda:GetFunctionConfiguration", SPEC.function_arn), True),
        (asks("lambda:UpdateFunctionCode", SPEC.function_arn), False),
        (asks("iam:PassRole", SPEC.role_arn), False),
    ],
)
def test_policy_of_runners_has_few_rights(asked: Asked, may: bool) -> None:
    assert allowed([driver_policy(SPEC)], asked) is may


def test_passing_the_role_is_for_lambda_only() -> None:
    policy = deployer_policy(SPEC)
    for service, may in {"lambda.amazonaws.com": True, "ec2.amazonaws.com": False}.items():
        asked = Asked("iam:PassRole", SPEC.role_arn, {"iam:PassedToService": service})
        assert allowed([policy], asked) is may


def test_with_a_role_of_ones_own_nobody_makes_roles() -> None:
    spec = resolve(
        DeploySpec(role="arn:aws:iam::123456789012:role/own"), "123456789012", "eu-central-1", "aws"
    )
    assert role_maker_policy(spec) is None
    for policy in (deployer_policy(spec), destroyer_policy(spec)):
        assert [action for action in actions_of(policy) if action.startswith("iam:")] in (
            [],
            ["iam:PassRole"],
        )


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_every_arn_is_of_the_partition(partition: str) -> None:
    spec = resolve(DeploySpec(), "123456789012", "region-1", partition)
    for policy in (
        role_policy(spec),
        driver_policy(spec),
        first_deployer_policy(spec),
        destroyer_policy(spec),
    ):
        assert {arn.split(":")[1] for arn in resources(policy)} == {partition}


def resources(policy: Mapping[str, Any]) -> Iterator[str]:
    for statement in policy["Statement"]:
        yield from statement["Resource"]


def test_no_policy_of_a_role_or_a_driver_has_a_wildcard_for_actions_or_all_resources() -> None:
    for policy in (
        role_policy(SPEC),
        driver_policy(SPEC),
        first_deployer_policy(SPEC),
        destroyer_policy(SPEC),
    ):
        assert not any("*" in action for action in actions_of(policy))
        assert "*" not in set(resources(policy))
