"""With `enforce_iam`, a function may do what its role may, and nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from wrenla.aws.deploy import DeploySpec
from wrenla.aws.policies import driver_policy
from wrenla.aws.resolve import resolve
from wrenla.aws.spec import ResolvedSpec
from wrenla.emulator.backend.policies import Asked, allowed
from wrenla.emulator.options import Options
from wrenla.emulator.provision import _TRUST
from wrenla.emulator.runtime.runtime import RUNTIME

from .stand import Stand, package


@pytest.fixture(scope="module")
def strict() -> Iterator[Stand]:
    stand = Stand(Options(os.getpid(), enforce_iam=True))
    yield stand
    stand.close()


def _policy(action: str, resource: str) -> str:
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _role(stand: Stand, name: str, *policies: str) -> str:
    iam = stand.client("iam")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_TRUST)
    for number, policy in enumerate(policies):
        iam.put_role_policy(RoleName=name, PolicyName=f"p{number}", PolicyDocument=policy)
    return str(role["Role"]["Arn"])


@pytest.mark.slow
def test_functions_have_their_roles_permissions(strict: Stand) -> None:
    bucket, other = strict.bucket(), strict.bucket()
    role = _role(strict, "writer", _policy("s3:PutObject", f"arn:aws:s3:::{bucket}*"))
    function = strict.function("stores", role=role)
    assert strict.call(function, {"bucket": bucket, "key": "a/b"}).value == "stored"
    assert strict.call(function, {"bucket": other, "key": "a/b"}).value == "AccessDenied"
    assert strict.call(strict.function("stores", role=_role(strict, "nobody"))).error
    nobody = strict.function("stores", role=_role(strict, "nobody-else"))
    assert strict.call(nobody, {"bucket": bucket, "key": "a/b"}).value == "AccessDenied"


@pytest.mark.slow
def test_functions_call_functions(strict: Stand) -> None:
    target = strict.function("echo")
    arn = f"arn:aws:lambda:us-east-1:{strict.ready.account}:function:{target}"
    may = strict.function("calls", role=_role(strict, "caller", _policy("lambda:InvokeFunction", arn)))
    assert strict.call(may, {"function": target}).value == "from a function"
    may_not = strict.function(
        "calls", role=_role(strict, "other", _policy("lambda:InvokeFunction", f"{arn}x"))
    )
    assert strict.call(may_not, {"function": target}).value == "AccessDeniedException"


def test_users_have_theirs(strict: Stand) -> None:
    iam = strict.client("iam")
    iam.create_user(UserName="guest")
    key = iam.create_access_key(UserName="guest")["AccessKey"]
    session = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name="us-east-1")
    client = strict.client("lambda", session)
    function = strict.function("echo")
    arn = f"arn:aws:lambda:us-east-1:{strict.ready.account}:function:{function}"
    user = f"arn:aws:iam::{strict.ready.account}:user/guest"
    with pytest.raises(ClientError) as caught:
        client.invoke(FunctionName=function, Payload=b"{}")
    error = caught.value.response["Error"]
    assert error["Code"] == "AccessDeniedException"
    assert error["Message"] == (
        f"User: {user} is not authorized to perform: lambda:InvokeFunction on resource: {arn} "
        "because no identity-based policy allows the lambda:InvokeFunction action"
    )
    with pytest.raises(ClientError, match=r"lambda:GetFunction on resource: .*:" + function):
        client.get_function(FunctionName=arn)
    with pytest.raises(ClientError, match="lambda:ListFunctions"):
        client.list_functions()
    assert strict.lambda_.list_functions()["Functions"]
    iam.put_user_policy(
        UserName="guest", PolicyName="p", PolicyDocument=_policy("lambda:InvokeFunction", arn)
    )
    assert client.invoke(FunctionName=function, Payload=b"{}")["StatusCode"] == 200


def test_wrong_keys_are_refused_by_s3_too(strict: Stand) -> None:
    wrong = boto3.Session(strict.ready.key, "wrong", region_name="us-east-1")
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        strict.client("s3", wrong).list_buckets()
    assert "Buckets" in strict.s3.list_buckets()


@pytest.fixture(scope="module")
def driver(strict: Stand) -> tuple[boto3.Session, ResolvedSpec]:
    """Somebody who may do what `wrenla deploy --print-policies` prints for users, and a bucket of theirs."""
    spec = resolve(DeploySpec(), strict.ready.account, "us-east-1", "aws")
    for bucket in (spec.bucket, "foreign"):
        strict.s3.create_bucket(Bucket=bucket)
    strict.s3.put_object(Bucket="foreign", Key="secret", Body=b"x")
    return _user(strict, "driver", driver_policy(spec)), spec


def _user(stand: Stand, name: str, policy: Mapping[str, Any]) -> boto3.Session:
    iam = stand.client("iam")
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name="us-east-1")


@pytest.mark.parametrize(
    ("operation", "arguments", "may"),
    [
        ("put_object", {"Key": "wrenla/x", "Body": b"1"}, True),
        ("put_object", {"Key": "other/x", "Body": b"1"}, False),
        ("list_objects_v2", {"Prefix": "wrenla/"}, True),
        ("list_objects_v2", {"Prefix": "other/"}, False),
        ("list_objects_v2", {}, False),
        ("get_object", {"Bucket": "foreign", "Key": "secret"}, False),
        ("copy_object", {"Key": "wrenla/c", "CopySource": {"Bucket": "foreign", "Key": "secret"}}, False),
        ("delete_objects", {"Delete": {"Objects": [{"Key": "wrenla/x"}]}}, True),
        ("create_multipart_upload", {"Key": "wrenla/m"}, True),
        ("get_bucket_policy", {}, False),
    ],
)
def test_conditions_count(
    strict: Stand,
    driver: tuple[boto3.Session, ResolvedSpec],
    operation: str,
    arguments: dict[str, Any],
    may: bool,
) -> None:
    session, spec = driver
    request = getattr(strict.client("s3", session), operation)
    if may:
        request(**{"Bucket": spec.bucket, **arguments})
        return
    with pytest.raises(ClientError, match="AccessDenied"):
        request(**{"Bucket": spec.bucket, **arguments})


def test_objects_of_others_are_not_deleted(strict: Stand, driver: tuple[boto3.Session, ResolvedSpec]) -> None:
    session, spec = driver
    strict.s3.put_object(Bucket=spec.bucket, Key="other/y", Body=b"1")
    several = {"Objects": [{"Key": "wrenla/y"}, {"Key": "other/y"}]}
    answered = strict.client("s3", session).delete_objects(Bucket=spec.bucket, Delete=several)
    assert {"Key": "other/y", "Code": "AccessDenied", "Message": "Access Denied"} in answered["Errors"]
    assert strict.s3.list_objects_v2(Bucket=spec.bucket, Prefix="other/y")["KeyCount"] == 1


def test_list_bucket_permission_allows_head_bucket(strict: Stand) -> None:
    bucket = strict.bucket()
    policy = json.loads(_policy("s3:ListBucket", f"arn:aws:s3:::{bucket}"))
    client = strict.client("s3", _user(strict, "lister", policy))
    client.head_bucket(Bucket=bucket)
    client.list_objects_v2(Bucket=bucket)
    with pytest.raises(ClientError, match="403"):
        client.head_bucket(Bucket=strict.bucket())


def test_create_function_needs_pass_role(strict: Stand) -> None:
    policy = json.loads(_policy("lambda:*", "*"))
    client = strict.client("lambda", _user(strict, "maker", policy))
    role = strict.role()
    arguments = {"FunctionName": "made", "Runtime": RUNTIME, "Handler": "handlers.echo", "Role": role}
    with pytest.raises(ClientError, match=f"iam:PassRole on resource: {role} because"):
        client.create_function(Code={"ZipFile": package()}, **arguments)
    passing = {
        "Effect": "Allow",
        "Action": "iam:PassRole",
        "Resource": role,
        "Condition": {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}},
    }
    policy["Statement"].append(passing)
    strict.client("iam").put_user_policy(UserName="maker", PolicyName="p", PolicyDocument=json.dumps(policy))
    client.create_function(Code={"ZipFile": package()}, **arguments)
    code = {"S3Bucket": "foreign", "S3Key": "code.zip"}
    with pytest.raises(ClientError, match=r"s3:GetObject on resource: arn:aws:s3:::foreign/code\.zip"):
        client.update_function_code(FunctionName="made", **code)


CONTEXT = {"s3:prefix": "mine/x"}


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"StringEquals": {"s3:prefix": "mine/x"}}, True),
        ({"StringEquals": {"S3:Prefix": ["other", "mine/x"]}}, True),
        ({"StringEquals": {"s3:prefix": "mine/*"}}, False),
        ({"StringLike": {"s3:prefix": "mine/*"}}, True),
        ({"StringNotLike": {"s3:prefix": "mine/*"}}, False),
        ({"StringNotEquals": {"s3:prefix": ["a", "b"]}}, True),
        ({"StringLike": {"s3:prefix": "*", "s3:delimiter": "*"}}, False),
        ({"StringLikeIfExists": {"s3:delimiter": "/"}}, True),
        ({"StringNotEquals": {"s3:delimiter": "/"}}, True),
        ({"Null": {"s3:delimiter": "true"}}, True),
        ({"Null": {"s3:prefix": "true"}}, False),
    ],
)
def test_a_condition(condition: dict[str, Any], holds: bool) -> None:
    asked = Asked("s3:ListBucket", "arn:aws:s3:::b", CONTEXT)
    statement = {"Action": "s3:list*", "Resource": asked.resource, "Condition": condition}
    allow = {"Statement": {"Effect": "Allow", **statement}}
    deny = {"Statement": [{"Effect": "Deny", **statement}]}
    everything = {"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
    assert allowed([allow], asked) is holds
    assert allowed([everything, deny], asked) is not holds


def test_unknown_condition_allows_nothing() -> None:
    condition = {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    asked = Asked("s3:ListBucket", "arn:aws:s3:::b")
    assert not allowed([{"Statement": {**everything, "Condition": condition}}], asked)
    denial = {**everything, "Effect": "Deny", "Condition": condition}
    assert not allowed([{"Statement": [everything, denial]}], asked)


def test_all_but_some() -> None:
    statement = {"Effect": "Allow", "NotAction": "iam:*", "NotResource": "arn:aws:s3:::secret/*"}
    policies = [{"Statement": statement}]
    assert allowed(policies, Asked("s3:GetObject", "arn:aws:s3:::b/x"))
    assert not allowed(policies, Asked("s3:GetObject", "arn:aws:s3:::secret/x"))
    assert not allowed(policies, Asked("iam:GetRole", "*"))
