"""What is passed to the executor on Lambda and cannot be right: refused before AWS is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest

import wrenla as wl
from tests.executors.test_travelling import WAYS
from wrenla.aws.deploy import DeploySpec
from wrenla.errors import ReachError, SettingError
from wrenla.executors.aws_lambda.names import check_bucket, check_function

from .conftest import Make
from .stub import Endpoint


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"max_dollars": "2"}, ValueError, "max_dollars='2': a number greater than 0, or None"),
        ({"max_dollars": True}, ValueError, "max_dollars=True: a number greater than 0"),
        ({"max_dollars": float("nan")}, ValueError, "max_dollars=nan: a number greater than 0"),
        ({"prices": 3}, TypeError, "prices=3: wl.Prices(…), or None for those of the settings"),
        ({"prices": wl.Prices}, TypeError, "prices=<class "),
        ({"session": 3}, TypeError, "session=3: a boto3.Session, or None for boto3's own settings"),
        ({"session": boto3.Session}, TypeError, "session=<class 'boto3.session.Session'>: a boto3.Session"),
        ({"function": ""}, ValueError, "function='': the name of a function"),
        ({"function": "a b"}, ValueError, "function='a b': the name of a function"),
        ({"function": None}, ValueError, "function=None: the name of a function"),
        ({"bucket": "Bad_B"}, ValueError, "bucket='Bad_B': the name alone, 3 to 63 small letters, digits"),
        ({"bucket": "s3://bucket"}, ValueError, "bucket='s3://bucket': the name alone"),
        ({"bucket": ""}, ValueError, "bucket='': the name alone"),
        ({"concurrency": "4"}, ValueError, "concurrency='4': a whole number, at least 1"),
        ({"concurrency": True}, ValueError, "concurrency=True: a whole number, at least 1"),
    ],
)
def test_wrong_arguments(
    arguments: dict[str, Any], kind: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:9")  # where nobody answers
    with pytest.raises(kind) as caught:
        wl.LambdaExecutor(**arguments)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "wrenla",
        "my_function-2:live",
        "wrenla:$LATEST",
        "123456789012:function:wrenla",
        "arn:aws:lambda:us-east-1:123456789012:function:wrenla",
        "arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:wrenla:7",
    ],
)
def test_names_of_functions(name: str) -> None:
    check_function(name)


def test_deployments_and_executors_have_one_rule_for_buckets() -> None:
    for name in ("abc", "wrenla-123-eu-central-1", "a.b.c"):
        check_bucket(name)
        DeploySpec(bucket=name)
    for name in ("ab", "Bad_B", "-abc", "a" * 64):
        with pytest.raises(ValueError, match="3 to 63 small letters"):
            check_bucket(name)
        with pytest.raises(SettingError, match="3 to 63 small letters"):
            DeploySpec(bucket=name)


@pytest.mark.parametrize("way", WAYS)
def test_readers_of_a_folder_are_refused(
    way: Callable[[Any, Any], Any], stub: Endpoint, make: Make, tmp_path: Path
) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("x")
    executor = make(concurrency=2)
    with pytest.raises(ReachError) as caught:
        way(executor, wl.objects(tmp_path / "texts"))
    assert str(caught.value) == (
        f"{(tmp_path / 'texts' / 'a.txt').as_uri()}: functions on AWS cannot see it: copy the objects to S3, "
        'and take wl.objects("s3://bucket/prefix")'
    )
    assert stub.asked == []
    assert executor.stats().submitted == 0


def test_readers_of_s3_travel(stub: Endpoint, make: Make, s3_bucket: str) -> None:
    executor = make(concurrency=1)
    store = executor.store()
    store.put("texts/a.txt", b"x")
    readers = wl.objects(f"{store.url}/texts")
    assert list(executor.map(lambda reader: reader.read(), readers, timeout=30)) == [b"x"]
    store.close()
