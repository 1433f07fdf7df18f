"""Bucket: create it, set its settings and the lifecycle rule."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from wrenla.aws.connect import Clients
from wrenla.aws.error_messages import DeployError
from wrenla.aws.none_if_absent import document, none_if, tags_of
from wrenla.aws.policies import tls_statement
from wrenla.aws.resources.lifecycle import DAYS, Lifecycle
from wrenla.aws.resources.resource import Change, until, until_accepted
from wrenla.aws.spec import ResolvedSpec, bucket_args
from wrenla_handler.aws_errors import error_status

__all__ = ["Bucket", "bucket_exists", "is_ours"]

_BLOCKED = {
    "BlockPublicAcls": True,
    "IgnorePublicAcls": True,
    "BlockPublicPolicy": True,
    "RestrictPublicBuckets": True,
}

_NEW_SECONDS = 60.0
"""How long a bucket that was just made, or is just being changed, may refuse to be changed."""

_ENCRYPTION = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}


def bucket_exists(clients: Clients, spec: ResolvedSpec) -> bool:
    """Tell whether the bucket is there.

    Raises
    ------
    DeployError
        It belongs to another account, or is in another region, or these credentials may not look.
    """
    from botocore.exceptions import ClientError

    try:
        found = none_if(clients.s3.head_bucket, "404", "NoSuchBucket", **bucket_args(spec))
    except ClientError as error:
        if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 403:
            raise DeployError(
                f"bucket {spec.bucket}: access denied; either another account has it, then choose another "
                f"name with --bucket, or these credentials need s3:ListBucket on {spec.bucket_arn}"
            ) from error
        raise
    if found is None:
        return False
    # boto3 has followed S3 to the region that it names; other servers name none, or what they like
    region = found.get("BucketRegion", spec.region)
    if region != spec.region and not clients.emulated:
        raise DeployError(
            f"bucket {spec.bucket} is in {region}, the function in {spec.region}, and Lambda takes code only "
            f"from its own region: give --region {region}, or another --bucket"
        )
    return True


def is_ours(clients: Clients, spec: ResolvedSpec) -> bool:
    """Tell whether wrenla has made the bucket; if not, its settings are its owner's business."""
    if spec.bucket == spec.default_bucket:
        return True  # the name says so
    found = none_if(clients.s3.get_bucket_tagging, "NoSuchTagSet", "NoSuchBucket", **bucket_args(spec))
    return found is not None and "wrenla" in tags_of(found["TagSet"])


class Bucket:
    """The bucket with its settings, if wrenla has made it; of any bucket the lifecycle rule."""

    def __init__(self, clients: Clients, spec: ResolvedSpec) -> None:
        self._clients, self._spec, self._s3 = clients, spec, clients.s3
        self._bucket = bucket_args(spec)

    def plan(self) -> Iterator[Change]:
        for change in self._changes():
            yield replace(change, apply=partial(until_accepted, change.apply, _is_new, _NEW_SECONDS))

    def _changes(self) -> Iterator[Change]:
        spec = self._spec
        there = bucket_exists(self._clients, spec)
        if not there:
            yield Change(f"create bucket {spec.bucket}", self._create)
        ours = not there or is_ours(self._clients, spec)
        if ours:
            yield from self._settings()
        lifecycle = Lifecycle.of(self._clients, spec)
        if (wanted := lifecycle.with_ours(spec)) != lifecycle:
            kept = "" if ours else " (the bucket is not wrenla's: nothing else in it is changed)"
            yield Change(
                f"expire s3://{spec.bucket}/{spec.temporaries} after {DAYS} days{kept}",
                lambda: wanted.put(self._clients, spec),
            )

    def _settings(self) -> Iterator[Change]:
        bucket = self._spec.bucket
        none = "NoSuchBucket"
        found = none_if(self._s3.get_bucket_tagging, none, "NoSuchTagSet", **self._bucket)
        tags = tags_of(found and found["TagSet"])
        # the first function's name stays: it says who has made the bucket
        wanted = {**tags, **self._spec.tags, "wrenla": tags.get("wrenla", self._spec.function)}
        if tags != wanted:
            yield Change(f"tag bucket {bucket}", lambda: self._tag(wanted))
        found = none_if(
            self._s3.get_public_access_block, none, "NoSuchPublicAccessBlockConfiguration", **self._bucket
        )
        if found is None or found["PublicAccessBlockConfiguration"] != _BLOCKED:
            yield Change(f"block public access to bucket {bucket}", self._block)
        found = none_if(
            self._s3.get_bucket_encryption,
            none,
            "ServerSideEncryptionConfigurationNotFoundError",
            **self._bucket,
        )
        if found is None:
            yield Change(f"encrypt what is in bucket {bucket}", self._encrypt)
        if not self._clients.plain_s3:
            found = none_if(self._s3.get_bucket_policy, none, "NoSuchBucketPolicy", **self._bucket)
            policy = document(found["Policy"]) if found else {"Version": "2012-10-17", "Statement": []}
            merged = _with_statement(policy, tls_statement(self._spec.bucket_arn))
            if merged != policy:
                yield Change(
                    f"refuse unencrypted requests to bucket {bucket}",
                    lambda: self._s3.put_bucket_policy(Policy=json.dumps(merged), **self._bucket),
                )

    def _create(self) -> None:
        from botocore.exceptions import ClientError

        region = self._spec.region
        # us-east-1 is where buckets are that say nothing, and must say nothing
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        try:
            self._s3.create_bucket(Bucket=self._spec.bucket, **where)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "BucketAlreadyExists":
                raise DeployError(
                    f"bucket {self._spec.bucket}: another account has it; choose another name with --bucket"
                ) from error
            if code != "BucketAlreadyOwnedByYou":  # somebody else deploys too
                raise
        until(
            lambda: bucket_exists(self._clients, self._spec),
            f"bucket {self._spec.bucket} is made, but not there yet",
            _NEW_SECONDS,
        )

    def _tag(self, tags: Mapping[str, str]) -> None:
        pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
        self._s3.put_bucket_tagging(Tagging={"TagSet": pairs}, **self._bucket)

    def _block(self) -> None:
        self._s3.put_public_access_block(PublicAccessBlockConfiguration=_BLOCKED, **self._bucket)

    def _encrypt(self) -> None:
        self._s3.put_bucket_encryption(ServerSideEncryptionConfiguration=_ENCRYPTION, **self._bucket)


def _is_new(error: Any) -> bool:
    """Tell whether S3 refuses since not all of it knows of the last change yet: the bucket, or a setting."""
    return error_status(error)[1] in ("NoSuchBucket", "OperationAborted")


def _with_statement(policy: Mapping[str, Any], statement: Mapping[str, Any]) -> Mapping[str, Any]:
    statements = policy["Statement"]
    others = [statements] if isinstance(statements, dict) else list(statements)
    kept = [each for each in others if each.get("Sid") != statement["Sid"]]
    return {**policy, "Statement": [*kept, statement]} if statement not in others else policy
