"""Every refusal is one line that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore import exceptions
from botocore.exceptions import ClientError

from wrenla.aws import connect as clients_module
from wrenla.aws.connect import connect
from wrenla.aws.deploy import DeploySpec, deploy
from wrenla.aws.error_messages import DeployError, translating
from wrenla.aws.packaging.package import Package
from wrenla.aws.resources import function as function_module
from wrenla.aws.resources import resource as step_module
from wrenla.aws.resources.resource import until
from wrenla.errors import SettingError

from .conftest import Account

Packaging = Callable[[str], Package]


def answer(operation: str, code: str, message: str = "", status: int = 400, **headers: str) -> ClientError:
    metadata = {"HTTPStatusCode": status, "HTTPHeaders": headers}
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}, operation)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            exceptions.NoCredentialsError(),
            "there are no AWS credentials; name a profile",
        ),
        (exceptions.ProfileNotFound(profile="p"), "check AWS_PROFILE (or --profile)"),
        (exceptions.NoRegionError(), "there is no AWS region; set AWS_DEFAULT_REGION, or --region"),
        (exceptions.EndpointConnectionError(endpoint_url="https://x"), "AWS does not answer"),
        (exceptions.SSLError(endpoint_url="https://x", error="CERTIFICATE_VERIFY_FAILED"), "AWS_CA_BUNDLE"),
        (exceptions.SSLError(endpoint_url="https://x", error="EOF"), "AWS does not answer"),
        (exceptions.TokenRetrievalError(provider="sso", error_msg="m"), "have expired"),
        (answer("GetCallerIdentity", "ExpiredToken", status=403), "have expired; renew them"),
        (answer("GetCallerIdentity", "InvalidClientTokenId", status=403), "credentials are not accepted"),
        (answer("GetFunction", "UnrecognizedClientException"), "credentials are not accepted"),
        (answer("GetFunction", "UnrecognizedClientException"), "the region is not enabled for this account"),
        (answer("GetCallerIdentity", "InvalidClientTokenId", status=403), "or the region is not enabled"),
        (answer("DescribeRegions", "AuthFailure", status=401), "or the region is not enabled"),
        (answer("GetFunctionConfiguration", "InvalidSignatureException", "…", 403), "are not accepted"),
        (answer("GetFunctionConfiguration", "IncompleteSignatureException", "…"), "are not accepted"),
        (
            answer(
                "GetFunction",
                "InvalidSignatureException",
                "Signature expired: 1 is now earlier than 2 (7 - 5 min.)",
                403,
            ),
            "GetFunction: this machine's clock is off by more than 5 minutes; set it",
        ),
        (
            answer("GetFunction", "InvalidSignatureException", "Signature not yet current: 1", 403),
            "GetFunction: this machine's clock is off; set it",
        ),
        (answer("Invoke", "KMSAccessDeniedException", "KMS said no", 502), "made again; run wrenla deploy"),
        (
            answer("GetFunctionConfiguration", "500", "<!doctype html>\n<html lang=en>", 500),
            "what answers knows no such region, or is not AWS (500, a page of HTML); check --region",
        ),
        (exceptions.UnknownRegionError(region_name="foo", error_msg="No partition"), "check --region, AWS_"),
        (exceptions.InvalidRegionError(region_name="a b"), "check --region, AWS_DEFAULT_REGION"),
        (
            answer("HeadBucket", "301", **{"x-amz-bucket-region": "eu-west-1"}),
            "region (eu-west-1); set AWS_DEFAULT_REGION or --region",
        ),
        (answer("PutObject", "NoSuchBucket", status=404), "no such bucket; run wrenla deploy"),
        (answer("CreateFunction", "CodeStorageExceededException"), "delete old functions"),
        (answer("CreateBucket", "TooManyBuckets"), "ask AWS for more"),
        (answer("CreateRole", "Throttling"), "run the same command again in a minute"),
        (answer("UpdateFunctionCode", "TooManyRequestsException"), "run the same command again"),
        (
            answer("CreateFunction", "SomethingNew", "it\nbroke"),
            "CreateFunction: AWS answered 400 SomethingNew: it",
        ),
        (
            answer("PutBucketEncryption", "AccessDenied", "Access Denied", 403),
            "s3:PutEncryptionConfiguration",
        ),
        (answer("HeadObject", "403", "Forbidden", 403), "need s3:GetObject"),
        (
            answer(
                "CreateRole",
                "AccessDenied",
                "User: arn:aws:iam::1:user/u is not authorized to perform: iam:CreateRole on resource: "
                "arn:aws:iam::1:role/r because no permissions boundary allows the iam:CreateRole action",
                403,
            ),
            "need iam:CreateRole on arn:aws:iam::1:role/r, which a permissions boundary does not allow",
        ),
        (
            answer(
                "PutObject",
                "AccessDenied",
                "User: arn:aws:iam::1:user/u is not authorized to perform: s3:PutObject on resource: "
                '"arn:aws:s3:::b/k"'
                " with an explicit deny in a resource-based policy",
                403,
            ),
            "need s3:PutObject on arn:aws:s3:::b/k, which a resource-based policy denies expressly",
        ),
    ],
    ids=str,
)
def test_refusal_of_aws_is_one_line(error: Exception, said: str) -> None:
    with pytest.raises(DeployError) as raised, translating():
        raise error
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.__cause__ is error


def test_deploy_without_region_is_refused(account: Account) -> None:
    with pytest.raises(DeployError, match="no AWS region; set AWS_DEFAULT_REGION"):
        deploy(boto3.Session("a", "b"))


def test_a_bucket_of_another_account(account: Account, package: Packaging) -> None:
    """S3 answers 403 when the owner is not the expected one; moto does not look, so its answer is made up."""

    def deny(**_: Any) -> None:
        raise answer("HeadBucket", "403", "Forbidden", 403)

    account.admin.events.register("before-call.s3.HeadBucket", deny)
    with pytest.raises(DeployError, match="another account has it, then choose another name with --bucket"):
        deploy(account.admin, DeploySpec(bucket="theirs"))
    assert account.changes() == []


def test_a_name_that_was_taken_in_between(account: Account, package: Packaging) -> None:
    def taken(**_: Any) -> None:
        raise answer("CreateBucket", "BucketAlreadyExists", status=409)

    account.admin.events.register("before-call.s3.CreateBucket", taken)
    with pytest.raises(DeployError, match="another account has it; choose another name with --bucket"):
        deploy(account.admin)


def refusing(times: int, operation: str, code: str, message: str) -> tuple[Callable[..., None], list[int]]:
    left = [times]

    def refuse(**_: Any) -> None:
        if left[0]:
            left[0] -= 1
            raise answer(operation, code, message)

    return refuse, left


UNKNOWN_ROLES = (
    "The role defined for the function cannot be assumed by Lambda.",
    "Lambda was unable to configure access to your environment variables because the KMS key is invalid for "
    "CreateGrant. Please check your KMS key settings. KMS Exception: InvalidArnException KMS Message: ARN "
    "does not refer to a valid principal: arn:aws:iam::1:role/r",
)


@pytest.mark.parametrize("message", UNKNOWN_ROLES, ids=["assume", "grant"])
def test_a_new_role_is_waited_for(
    account: Account, package: Packaging, monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    monkeypatch.setattr(step_module.time, "sleep", lambda seconds: None)
    refuse, left = refusing(3, "CreateFunction", "InvalidParameterValueException", message)
    account.admin.events.register("before-call.lambda.CreateFunction", refuse)
    assert deploy(account.admin).changed
    assert left == [0]


def test_wait_for_new_role_ends(
    account: Account, package: Packaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(function_module, "_ROLE_SECONDS", 0.0)
    message = UNKNOWN_ROLES[0]
    refuse, _ = refusing(9, "CreateFunction", "InvalidParameterValueException", message)
    account.admin.events.register("before-call.lambda.CreateFunction", refuse)
    with pytest.raises(DeployError, match="cannot be assumed by Lambda"):
        deploy(account.admin)


def test_an_update_that_fails_says_why(
    account: Account, package: Packaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = {"State": "Failed", "StateReason": "the key was disabled"}
    monkeypatch.setattr(function_module, "find_function", lambda *_: failed)
    step = function_module.Function(*clients_module.connect(account.admin, DeploySpec()), package("x"))
    with pytest.raises(DeployError, match="could not set it up: the key was disabled"):
        step._wait()


LITTLE_MEMORY = (
    "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to "
)


@pytest.mark.parametrize("most", ["3008", "2048"])
def test_an_account_that_may_have_little_memory(account: Account, package: Packaging, most: str) -> None:
    refuse, _ = refusing(1, "CreateFunction", "InvalidParameterValueException", LITTLE_MEMORY + most)
    account.admin.events.register("before-call.lambda.CreateFunction", refuse)
    with pytest.raises(DeployError) as raised:
        deploy(account.admin, DeploySpec(memory=4096))
    assert str(raised.value) == (
        f"function wrenla: Lambda refuses 4096 MB; this account may have less memory: --memory {most}, or "
        "ask for more in Service Quotas"
    )
    assert deploy(account.admin, DeploySpec(memory=2048)).changed


def test_an_update_to_more_memory_than_the_account_may_have(account: Account, package: Packaging) -> None:
    deploy(account.admin)
    client = connect(account.admin, DeploySpec())[0].lambda_
    refuse, _ = refusing(
        1, "UpdateFunctionConfiguration", "InvalidParameterValueException", LITTLE_MEMORY + "3008"
    )
    client.meta.events.register("before-call.lambda.UpdateFunctionConfiguration", refuse)
    with pytest.raises(DeployError, match=r"this account may have less memory: --memory 3008, or ask"):
        deploy(account.admin, DeploySpec(memory=4096))


def test_waiting_ends() -> None:
    with pytest.raises(DeployError, match=r"it is not ready after 0.05 s: run the same command again"):
        until(lambda: False, "it is not ready", 0.05, pause=0.02)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"function": "a b"}, "letters, digits"),
        ({"function": "x" * 37}, "up to 36"),
        ({"bucket": "Upper"}, "small letters"),
        ({"prefix": "deploy/x"}, "where the code lies"),
        ({"prefix": "/x"}, "prefix"),
        ({"bucket": ""}, "bucket = ''"),
        ({"prefix": ""}, "prefix = ''"),
        ({"memory": 0}, "Lambda takes 128 to 10240"),
        ({"memory": 64}, "Lambda takes 128 to 10240"),
        ({"timeout": 901}, "Lambda takes 1 to 900"),
        ({"storage": 100}, "Lambda takes 512 to 10240"),
        ({"role": "name"}, "an ARN begins with"),
        ({"tags": (("wrenla", "x"),)}, "wrenla's own tag"),
    ],
)
def test_deploy_of_bad_specification_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        DeploySpec(**options)
