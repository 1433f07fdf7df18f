"""A bucket that is not ready yet, and one that is elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from wrenla.aws.connect import Clients, connect
from wrenla.aws.deploy import DeploySpec, deploy
from wrenla.aws.destroy import destroy
from wrenla.aws.error_messages import DeployError
from wrenla.aws.packaging.package import Package
from wrenla.aws.resources import bucket as module
from wrenla.aws.resources import resource as step_module
from wrenla.aws.resources.bucket import bucket_exists

from .conftest import Account

Packaging = Callable[[str], Package]

SETTINGS = (
    *("PutBucketTagging", "PutPublicAccessBlock", "PutBucketEncryption"),
    "PutBucketLifecycleConfiguration",
)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses, none of which is made."""
    made: list[float] = []
    monkeypatch.setattr(step_module.time, "sleep", made.append)
    return made


def refusing(account: Account, times: int, operation: str, code: str) -> list[int]:
    """Refuse an operation some times from when the bucket is made; return how often it still will be."""
    left = [0]
    events = connect(account.admin, DeploySpec())[0].s3.meta.events

    def begin(**_: Any) -> None:
        left[0] = times

    def refuse(**_: Any) -> None:
        if left[0]:
            left[0] -= 1
            status = {"HTTPStatusCode": 409 if code == "OperationAborted" else 404}
            raise ClientError({"Error": {"Code": code}, "ResponseMetadata": status}, operation)

    events.register("after-call.s3.CreateBucket", begin)
    events.register(f"before-call.s3.{operation}", refuse)
    return left


@pytest.mark.parametrize("operation", SETTINGS)
@pytest.mark.parametrize("code", ["NoSuchBucket", "OperationAborted"])
def test_a_new_bucket_is_given_time(
    account: Account, package: Packaging, slept: list[float], operation: str, code: str
) -> None:
    left = refusing(account, 3, operation, code)
    changed = deploy(account.admin).changed
    assert left == [0]
    assert len(slept) == 3
    assert len(changed) == 12
    assert deploy(account.admin).changed == ()


def test_a_new_bucket_is_waited_for(account: Account, package: Packaging, slept: list[float]) -> None:
    left = refusing(account, 2, "HeadBucket", "404")
    deploy(account.admin)
    assert (left, len(slept)) == ([0], 2)


@pytest.mark.parametrize(
    ("operation", "code", "said"),
    [
        ("HeadBucket", "404", r"bucket wrenla-.* is made, but not there yet after 0\.01 s: run the same"),
        ("PutBucketTagging", "NoSuchBucket", "there is no such bucket"),
        (
            "PutBucketTagging",
            "OperationAborted",
            "somebody else is changing the bucket; run the same command",
        ),
    ],
)
def test_wait_for_new_bucket_ends(
    account: Account,
    package: Packaging,
    monkeypatch: pytest.MonkeyPatch,
    operation: str,
    code: str,
    said: str,
) -> None:
    monkeypatch.setattr(module, "_NEW_SECONDS", 0.01)
    refusing(account, 9, operation, code)
    with pytest.raises(DeployError, match=said):
        deploy(account.admin)


@pytest.fixture
def elsewhere(account: Account, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket in another region, which matters to Lambda, and not to what stands in for it here."""
    monkeypatch.setattr(Clients, "emulated", property(lambda self: False))
    where = {"CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}}
    s3 = account.admin.client("s3", region_name="eu-west-1")
    s3.create_bucket(Bucket=f"far-{account.number}", **where)
    account.changes()
    return f"far-{account.number}"


def test_a_bucket_in_another_region(account: Account, package: Packaging, elsewhere: str) -> None:
    for dry_run in (True, False):
        with pytest.raises(DeployError) as raised:
            deploy(account.admin, DeploySpec(bucket=elsewhere), dry_run=dry_run)
        assert str(raised.value) == (
            f"bucket {elsewhere} is in eu-west-1, the function in eu-central-1, and Lambda takes code only "
            "from its own region: give --region eu-west-1, or another --bucket"
        )
    with pytest.raises(DeployError, match="give --region eu-west-1"):
        destroy(account.admin, DeploySpec(bucket=elsewhere))
    assert account.changes() == []


def test_a_stand_in_for_lambda_takes_code_from_everywhere(
    account: Account, elsewhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Clients, "emulated", property(lambda self: True))
    assert bucket_exists(*connect(account.admin, DeploySpec(bucket=elsewhere)))
