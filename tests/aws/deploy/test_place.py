"""Where a deployment keeps its objects: it is not moved, nothing of others is there, and only ours goes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla.aws import destroy as destroy_module
from wrenla.aws.deploy import DeploySpec, deploy
from wrenla.aws.destroy import destroy
from wrenla.aws.error_messages import DeployError
from wrenla.aws.packaging.package import Package
from wrenla.workspace.lease import Holder
from wrenla.workspace.ownership import Kinds
from wrenla_handler.stores.base import LEASE, RUNS, SAVING
from wrenla_handler.stores.urls import open_store

from .conftest import EVERYTHING, Account
from .test_destroy import RUN, make_bucket, put, what_is_there

Packaging = Callable[[str], Package]

FOREIGN_ARRAY = b'{"zarr_format": 3, "node_type": "array", "attributes": {}}'


def objects(account: Account) -> list[str]:
    return [key for key in what_is_there(account)["objects"] if not key.startswith("deploy/")]


def versioned_bucket(account: Account) -> str:
    s3 = make_bucket(account, name := f"versioned-{account.number}")
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


# a deployment is not moved


@pytest.mark.parametrize("named", [{"bucket": "new"}, {"prefix": "new"}, {"bucket": "new", "prefix": "new"}])
def test_deploy_to_another_bucket_or_prefix_is_refused(
    account: Account, package: Packaging, named: dict[str, str]
) -> None:
    bucket = deploy(account.admin, DeploySpec(prefix="old")).bucket
    put(account, bucket, "old/m/zarr.json")
    before = what_is_there(account)
    package("next")
    account.changes()
    spec = DeploySpec(**named)  # type: ignore[arg-type]
    for dry_run in (True, False):
        with pytest.raises(DeployError) as raised:
            deploy(account.admin, spec, dry_run=dry_run)
        assert str(raised.value).startswith(f"function wrenla keeps its objects in s3://{bucket}/old, not in")
        assert "or wrenla destroy it first, or take another --function" in str(raised.value)
        # the function alone knows where they are
        with pytest.raises(DeployError, match=f"keeps its objects in s3://{bucket}/old"):
            destroy(account.admin, spec, data=True, dry_run=dry_run)
    assert account.changes() == []
    assert what_is_there(account) == before


# nothing of others is there


def test_a_prefix_in_use_is_refused(account: Account, package: Packaging) -> None:
    make_bucket(account, bucket := f"company-{account.number}")
    put(account, bucket, "experiments/2019/raw.csv")
    account.changes()
    spec = DeploySpec(bucket=bucket, prefix="experiments")
    for dry_run in (True, False):
        with pytest.raises(DeployError) as raised:
            deploy(account.admin, spec, dry_run=dry_run)
        assert str(raised.value) == (
            f"s3://{bucket}/experiments is in use: it holds experiments/2019/raw.csv, which is not known to "
            "be wrenla's: take a --prefix below which there is nothing yet"
        )
    assert account.changes() == []
    deploy(account.admin, DeploySpec(bucket=bucket, prefix="experiments-too"))


@pytest.mark.parametrize("key", ["p/runs/2019.csv", "p/runs/r/lease", "p/zarr.json", "p/a/c/0/0", "p/"])
def test_prefix_with_lookalike_objects_is_in_use(account: Account, package: Packaging, key: str) -> None:
    s3 = make_bucket(account, bucket := f"company-{account.number}")
    s3.put_object(Bucket=bucket, Key=key, Body=FOREIGN_ARRAY)
    with pytest.raises(DeployError, match="is in use"):
        deploy(account.admin, DeploySpec(bucket=bucket, prefix="p"))


def test_prefix_of_earlier_deployment_is_taken_over(account: Account, package: Packaging) -> None:
    make_bucket(account, bucket := f"mine-{account.number}")
    spec = DeploySpec(bucket=bucket, prefix="p")
    deploy(account.admin, spec)
    put(account, bucket, "p/m/zarr.json", "p/m/c/0/0", f"p/{RUN}/run.json", f"p/{RUN}/{LEASE}00000000")
    destroy(account.admin)
    deploy(account.admin, spec)
    assert len(objects(account)) == 4


def test_a_prefix_that_another_function_of_ours_has(account: Account, package: Packaging) -> None:
    make_bucket(account, bucket := f"mine-{account.number}")
    deploy(account.admin, DeploySpec(function="a", bucket=bucket, prefix="p"))
    put(account, bucket, "p/notes.txt")
    for prefix in ("p", "p/b"):
        deploy(account.admin, DeploySpec(function=f"b{len(prefix)}", bucket=bucket, prefix=prefix))


def test_prefix_with_unreadable_objects_counts_as_in_use(account: Account, package: Packaging) -> None:
    make_bucket(account, bucket := f"mine-{account.number}")
    put(account, bucket, "p/m/zarr.json")
    account.enforced()
    statements = [*EVERYTHING["Statement"], {"Effect": "Deny", "Action": "s3:GetObject", "Resource": "*"}]
    user = account.user("u", {"Version": "2012-10-17", "Statement": statements})
    with pytest.raises(DeployError, match=r"is in use: it holds p/m/zarr\.json"):
        deploy(user, DeploySpec(bucket=bucket, prefix="p"))


# only what is ours goes


def test_destroy_keeps_foreign_objects(account: Account, package: Packaging) -> None:
    s3, bucket = account.admin.client("s3"), deploy(account.admin).bucket
    put(account, bucket, "wrenla/m/zarr.json", "wrenla/m/c/0/0")
    put(account, bucket, f"wrenla/{RUN}/run.json", f"wrenla/{RUN}/{LEASE}00000003")
    half = f"wrenla/half/{SAVING}"
    put(
        account,
        bucket,
        f"{half}/{LEASE}00000000",
        f"{half}/tiles-{'a' * 32}/partial/0/0/4",
        "wrenla/half/c/0",
    )
    theirs = ["wrenla/2019/raw.csv", "wrenla/m/notes", "wrenla/theirs/c/0/0", "wrenla/theirs/zarr.json"]
    theirs += [
        f"wrenla/{RUN[:-1]}8/run.json",
        f"wrenla/{RUN[:-1]}9/{LEASE}00000000",
        f"wrenla/{RUN}/model.pt",
    ]
    theirs.sort()
    for key in theirs:
        s3.put_object(Bucket=bucket, Key=key, Body=FOREIGN_ARRAY)
    planned = destroy(account.admin, data=True, dry_run=True)
    where = f"s3://{bucket}/wrenla/"
    assert planned[:2] == (
        f"delete 7 objects in {where} (5 of matrices, 2 temporary)",
        f"keep 7 objects in {where} that wrenla has not written, as 2019/raw.csv",
    )
    assert f"keep bucket {bucket}, since there is more in it" in planned
    assert destroy(account.admin, data=True) == planned
    assert what_is_there(account)["objects"] == theirs
    assert what_is_there(account)["functions"] == []


def test_destroy_keeps_foreign_objects_beside_packages(account: Account, package: Packaging) -> None:
    bucket = deploy(account.admin).bucket
    put(account, bucket, "deploy/wrenla/notes.txt")
    destroy(account.admin, data=True)
    assert what_is_there(account)["objects"] == ["deploy/wrenla/notes.txt"]


def test_objects_left_by_interrupted_destroy_are_still_ours(
    account: Account, package: Packaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of half a matrix nothing would tell whose it is: its description goes last."""
    monkeypatch.setattr(destroy_module, "_BATCH", 1)
    bucket = deploy(account.admin).bucket
    put(account, bucket, "wrenla/m/zarr.json", "wrenla/m/c/0/0", "wrenla/m/c/1/0", "wrenla/m/z/zarr.json")
    delete = destroy_module._delete_batch

    def once(*arguments: Any) -> None:
        delete(*arguments)
        raise KeyboardInterrupt

    while objects(account):
        monkeypatch.setattr(destroy_module, "_delete_batch", once)
        with contextlib.suppress(KeyboardInterrupt):
            destroy(account.admin, data=True)
    monkeypatch.undo()


def test_objects_of_saving_are_known_as_ours(tmp_path: Any) -> None:
    A = wl.from_array(np.eye(6), tile=4)
    A.save(str(tmp_path / "a"))
    A.save(str(tmp_path / "deep/c"))
    wl.from_array(np.ones(6), tile=4).save(str(tmp_path / "v"))
    store = open_store(tmp_path)

    def read(key: str) -> bytes | None:
        try:
            return bytes(store.get(key))
        except KeyError:
            return None

    def first(prefix: str) -> str | None:
        return next(store.list(prefix), None)

    kinds = Kinds(read, first)
    found = {key: kinds.of(key) for key in store.list()}
    assert len(found) == 2 * 5 + 3
    assert set(found.values()) == {"matrix"}
    others = ("notes", "a/notes", "a/c/x", "c/0/0", "runs/x", "x/zarr.json", f"{RUN}/run.json")
    assert {kinds.of(key) for key in others} == {"other"}
    for run in (RUN, f"x/{RUN}-0123abcd", f"{RUNS}/calls-0123456789ab"):
        store.put(f"{run}/{LEASE}00000002", Holder("x", note={"run": run.rpartition("/")[2]}).encode())
        kinds = Kinds(read, first)
        own = (f"results/{32 * 'a'}-0-x", "data/x") if "calls-" in run else (f"{24 * 'a'}/c/0/0", "run.json")
        keys = (*own, f"functions/{64 * 'a'}", f"{LEASE}00000002", f"{LEASE}00000002-count")
        assert {kinds.of(f"{run}/{key}") for key in keys} == {"temporary"}
        assert {kinds.of(f"{run}/{key}") for key in ("a", "model.pt", "lease/0", "c/0/0")} == {"other"}
    assert kinds.of(f"x/{RUNS}/doctor-{32 * '0'}") == "temporary"
    store.close()


# buckets with versioning


def test_temporaries_do_not_stay_as_old_versions(account: Account, package: Packaging) -> None:
    bucket = versioned_bucket(account)
    deploy(account.admin, DeploySpec(bucket=bucket))
    [rule] = account.admin.client("s3").get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
    assert rule["Filter"] == {"Prefix": "wrenla/wrenla-runs/"}
    assert deploy(account.admin).changed == ()


def test_destroying_says_that_old_versions_stay(account: Account, package: Packaging) -> None:
    bucket = versioned_bucket(account)
    deploy(account.admin, DeploySpec(bucket=bucket))
    put(account, bucket, "wrenla/m/zarr.json")
    line = f"keep old versions of 2 objects, since bucket {bucket} has versioning"
    assert line in destroy(account.admin, data=True)
    assert what_is_there(account)["functions"] == []


def test_a_bucket_of_ours_that_keeps_old_versions_does_not_hold_up_the_rest(
    account: Account, package: Packaging
) -> None:
    bucket = deploy(account.admin).bucket
    account.admin.client("s3").put_bucket_versioning(
        Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    put(account, bucket, "wrenla/m/zarr.json")
    assert f"keep bucket {bucket}, since old versions are in it" in destroy(account.admin, data=True)
    left = what_is_there(account)
    assert (left["buckets"], left["objects"], left["functions"], left["roles"]) == ([bucket], [], [], [])


def test_destroy_without_get_bucket_versioning_names_the_permission(
    account: Account, package: Packaging
) -> None:
    make_bucket(account, bucket := f"mine-{account.number}")
    account.enforced()
    statements = [
        *EVERYTHING["Statement"],
        {"Effect": "Deny", "Action": "s3:GetBucketVersioning", "Resource": "*"},
    ]
    user = account.user("u", {"Version": "2012-10-17", "Statement": statements})
    deploy(user, DeploySpec(bucket=bucket))
    said = [line for line in destroy(user) if "old versions" in line]
    assert said == [
        f"keep old versions of 1 object, if bucket {bucket} has versioning: to see that needs "
        "s3:GetBucketVersioning"
    ]
