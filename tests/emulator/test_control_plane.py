"""What the control plane refuses, as Lambda does and moto does not."""

from __future__ import annotations

import io
import re
import zipfile
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from wrenla.emulator.provision import _TRUST
from wrenla.emulator.runtime.runtime import ARCHITECTURE, RUNTIME

from .stand import Stand, package


def _refused(stand: Stand, **options: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        stand.function("echo", **options)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def test_packages_are_limited(stand: Stand) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("zeros", "w") as member:
        for _ in range(251):
            member.write(bytes(1 << 20))
    code = file.getvalue()
    wanted = ("InvalidParameterValueException", "Unzipped size must be smaller than 262144000 bytes")
    assert _refused(stand, code=code) == wanted
    bucket = stand.bucket()
    stand.s3.put_object(Bucket=bucket, Key="large.zip", Body=code)
    assert _refused(stand, Code={"S3Bucket": bucket, "S3Key": "large.zip"}) == wanted
    function = stand.function("echo")
    with pytest.raises(ClientError, match="Unzipped size"):
        stand.lambda_.update_function_code(FunctionName=function, S3Bucket=bucket, S3Key="large.zip")
    assert stand.call(function, {"n": 1}).value == {"n": 1}, "it has its old code"


def test_package_that_is_no_zip_is_refused(stand: Stand) -> None:
    assert _refused(stand, code=b"no zip")[1].startswith("Could not unzip uploaded file.")
    bucket = stand.bucket()
    assert "NoSuchKey" in _refused(stand, Code={"S3Bucket": bucket, "S3Key": "nothing.zip"})[1]
    assert "NoSuchBucket" in _refused(stand, Code={"S3Bucket": "nowhere", "S3Key": "nothing.zip"})[1]


def test_code_comes_from_s3(stand: Stand) -> None:
    bucket = stand.bucket()
    stand.s3.put_object(Bucket=bucket, Key="code.zip", Body=package())
    function = stand.function("echo", Code={"S3Bucket": bucket, "S3Key": "code.zip"})
    assert stand.call(function, {"n": 1}).value == {"n": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"Runtime": "python3.8"}, f"the runtime {RUNTIME} only"),
        ({"Architectures": ["arm64" if ARCHITECTURE == "x86_64" else "x86_64"]}, "the architecture"),
        ({"Role": "arn:aws:iam::123456789012:role/nobody"}, "cannot be assumed by Lambda"),
        ({"Environment": {"Variables": {"LEVEL": "x" * 4096}}}, "exceeded the 4KB limit"),
        *(
            ({"Environment": {"Variables": {name: "x"}}}, f"contains reserved keys .*: {name}$")
            for name in (
                "AWS_REGION",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
                "AWS_ACCESS_KEY",
                "_X_AMZN_TRACE_ID",
            )
        ),
        *(
            ({"Environment": {"Variables": {"LEVEL": bad}}}, "no process can have")
            for bad in ("\0", "\ud800")
        ),
    ],
)
def test_configurations_that_do_not_work(stand: Stand, options: dict[str, Any], message: str) -> None:
    kind, text = _refused(stand, **options)
    assert kind == "InvalidParameterValueException"
    assert re.search(message, text)
    if "Role" not in options and "Architectures" not in options:
        function = stand.function("echo")
        with pytest.raises(ClientError, match=message):
            stand.lambda_.update_function_configuration(FunctionName=function, **options)


_NAMES = "[Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"MemorySize": 20_000}, "'20000' at 'memorySize' .* value less than or equal to 10240"),
        ({"MemorySize": 64}, "'64' at 'memorySize' .* value greater than or equal to 128"),
        ({"Timeout": 2000}, "'2000' at 'timeout' .* value less than or equal to 900"),
        ({"Timeout": 0}, "'0' at 'timeout' .* value greater than or equal to 1"),
        ({"Timeout": -1}, "'-1' at 'timeout' .* value greater than or equal to 1"),
        ({"EphemeralStorage": {"Size": 10_241}}, "'10241' at 'ephemeralStorage.size' .* or equal to 10240"),
        ({"EphemeralStorage": {"Size": 511}}, "'511' at 'ephemeralStorage.size' .* or equal to 512"),
        ({"Environment": {"Variables": {"1bad-name": "x"}}}, re.escape(_NAMES)),
        ({"Environment": {"Variables": {"V": "x"}}}, re.escape(_NAMES)),
        ({"Handler": "a b"}, "'a b' at 'handler' .* pattern"),
        ({"Handler": "a.\0"}, "at 'handler' .* pattern"),
        ({"Handler": "a." + "b" * 127}, "at 'handler' .* length less than or equal to 128"),
        ({"MemorySize": 1, "Timeout": 0}, "^2 validation errors detected: .*memorySize.*; .*timeout"),
    ],
)
def test_values_are_within_lambdas_bounds(stand: Stand, options: dict[str, Any], message: str) -> None:
    unchecked = boto3.Session(stand.ready.key, stand.ready.secret, region_name="us-east-1").client(
        "lambda", endpoint_url=stand.ready.lambda_url, config=Config(parameter_validation=False)
    )
    function = stand.function("echo")
    with pytest.raises(ClientError) as caught:
        unchecked.update_function_configuration(FunctionName=function, **options)
    error = caught.value.response["Error"]
    assert (error["Code"], caught.value.response["ResponseMetadata"]["HTTPStatusCode"]) == (
        "ValidationException",
        400,
    )
    assert re.search(message, error["Message"])
    found = stand.lambda_.get_function_configuration(FunctionName=function)
    assert (found["MemorySize"], found["Timeout"]) == (1769, 20)
    with pytest.raises(ClientError, match="ValidationException"):
        unchecked.create_function(
            FunctionName="new",
            Runtime=RUNTIME,
            Role=found["Role"],
            Code={"ZipFile": package()},
            **{"Handler": "handlers.echo", **options},
        )


_BAD_NAMES = ["../x", "$(id)", "a b", "a/b", "a.b", "ä", "a\n", "a\0", "-;", "", "x" * 65, "a:b:c", "\ud800"]


def test_names_are_as_lambda_has_them(stand: Stand) -> None:
    """Whatever is no name is refused before anything has it."""
    unchecked = boto3.Session(stand.ready.key, stand.ready.secret, region_name="us-east-1").client(
        "lambda", endpoint_url=stand.ready.lambda_url, config=Config(parameter_validation=False)
    )
    before = [each["FunctionName"] for each in stand.lambda_.list_functions()["Functions"]]
    found = {}
    options = {"Runtime": RUNTIME, "Role": stand.role(), "Handler": "a.b", "Code": {"ZipFile": package()}}
    for name in [*_BAD_NAMES, None]:
        with pytest.raises(ClientError) as caught:
            unchecked.create_function(FunctionName=name, **options)
        error = caught.value.response["Error"]
        found[name] = error["Code"]
        assert "at 'functionName' failed to satisfy constraint: Member must" in error["Message"], name
    for name in ("$(id)", "a b", "ä", "x" * 141):
        with pytest.raises(ClientError) as caught:
            unchecked.invoke(FunctionName=name, Payload=b"{}")
        assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert set(found.values()) == {"ValidationException"}
    assert [each["FunctionName"] for each in stand.lambda_.list_functions()["Functions"]] == before
    arn = f"arn:aws:lambda:us-east-1:{stand.ready.account}:function:named"
    assert "by their name only" in _refused(stand, FunctionName=arn)[1]
    name = "-_" + "x" * 62
    stand.function(FunctionName=name)
    assert stand.call(name, {"n": 1}).value == {"n": 1}


def test_bounds_themselves_are_allowed(stand: Stand) -> None:
    variables = {"Variables": {"A1": "x", "long_Name_2": "y"}}
    for memory, timeout, size in ((128, 1, 512), (10_240, 900, 10_240)):
        function = stand.function(
            MemorySize=memory, Timeout=timeout, EphemeralStorage={"Size": size}, Environment=variables
        )
        found = stand.lambda_.get_function_configuration(FunctionName=function)
        assert (found["MemorySize"], found["Timeout"], found["EphemeralStorage"]["Size"]) == (
            memory,
            timeout,
            size,
        )


def test_a_role_must_trust_lambda(stand: Stand) -> None:
    trust = _TRUST.replace("lambda.", "ec2.")
    role = stand.client("iam").create_role(RoleName="of-ec2", AssumeRolePolicyDocument=trust)
    assert "cannot be assumed by Lambda" in _refused(stand, Role=role["Role"]["Arn"])[1]


def test_names_are_taken_once(stand: Stand) -> None:
    function = stand.function("echo")
    assert _refused(stand, FunctionName=function) == (
        "ResourceConflictException",
        f"Function already exist: {function}",
    )


def test_the_rest_is_motos(stand: Stand) -> None:
    function = stand.function("echo", Tags={"a": "b"}, Description="what it is")
    found = stand.lambda_.get_function(FunctionName=function)
    assert found["Tags"] == {"a": "b"}
    assert found["Configuration"]["Description"] == "what it is"
    assert found["Configuration"]["State"] == "Active"
    stand.lambda_.get_waiter("function_active_v2").wait(FunctionName=function)
    names = {each["FunctionName"] for each in stand.lambda_.list_functions()["Functions"]}
    assert function in names
    stand.lambda_.update_function_configuration(FunctionName=function, EphemeralStorage={"Size": 1024})
    assert stand.lambda_.get_function_configuration(FunctionName=function)["EphemeralStorage"] == {
        "Size": 1024
    }


def test_settings_of_the_account(stand: Stand) -> None:
    limits = stand.lambda_.get_account_settings()["AccountLimit"]
    assert limits["ConcurrentExecutions"] == 1000
    assert limits["CodeSizeUnzipped"] == 262_144_000
