"""With `enforce_iam`, a function may do what its role may, and nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import boto3
import pytest
from botocore.exceptions import ClientError

from wrenla.aws.sandbox.furnish import _TRUST
from wrenla.aws.sandbox.options import Options

from .stand import Stand


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
