"""Prefix of a deployment: it is not moved, nothing of others is below it, and its objects are told apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wrenla.aws.connect import Clients
from wrenla.aws.error_messages import DeployError
from wrenla.aws.none_if_absent import none_if, tags_of
from wrenla.aws.resolve import variables_of
from wrenla.aws.resources.lifecycle import Lifecycle
from wrenla.aws.spec import FIRST_PREFIX, ResolvedSpec, bucket_args
from wrenla.workspace.ownership import Kinds
from wrenla_handler.stores.base import RUNS

__all__ = ["check_free", "check_not_moved", "kinds_of_objects"]


def check_not_moved(spec: ResolvedSpec, function: Mapping[str, Any] | None) -> None:
    """Refuse another place than the one where a function keeps its objects: what is there would be orphaned.

    Raises
    ------
    DeployError
    """
    variables = variables_of(function)
    bucket, prefix = variables.get("WRENLA_BUCKET"), variables.get("WRENLA_PREFIX") or FIRST_PREFIX
    if bucket and (bucket, prefix) != (spec.bucket, spec.prefix):
        raise DeployError(
            f"function {spec.function} keeps its objects in s3://{bucket}/{prefix}, not in "
            f"s3://{spec.bucket}/{spec.prefix}: leave --bucket and --prefix out, or wrenla destroy it first, "
            "or take another --function"
        )


def check_free(clients: Clients, spec: ResolvedSpec) -> None:
    """Refuse to begin where somebody's objects lie: rules would expire them, and destroy could not tell.

    Raises
    ------
    DeployError
    """
    if spec.bucket == spec.default_bucket:
        return
    if none_if(clients.s3.head_bucket, "404", "NoSuchBucket", "403", **bucket_args(spec)) is None:
        return  # it will be made; or looking for it says more about why one may not
    tags = none_if(clients.s3.get_bucket_tagging, "NoSuchTagSet", "NoSuchBucket", **bucket_args(spec))
    if tags is not None and "wrenla" in tags_of(tags["TagSet"]):
        return
    below = f"{spec.prefix}/"
    used = (
        temporaries.removesuffix(f"{RUNS}/")
        for temporaries in Lifecycle.of(clients, spec).functions().values()
    )
    if any(place and below.startswith(place) for place in used):
        return  # another function of ours, or this one's first deployment was interrupted
    kinds = kinds_of_objects(clients, spec, "AccessDenied", "AccessDeniedException", "403")
    pages = clients.s3.get_paginator("list_objects_v2").paginate(Prefix=below, **bucket_args(spec))
    for key in (entry["Key"] for page in pages for entry in page.get("Contents", ())):
        if kinds.of(key.removeprefix(below)) == "other":
            raise DeployError(
                f"s3://{spec.bucket}/{spec.prefix} is in use: it holds {key}, which is not known to be "
                "wrenla's: take a --prefix below which there is nothing yet"
            )


def kinds_of_objects(clients: Clients, spec: ResolvedSpec, *none: str) -> Kinds:
    """Return what tells apart the objects below the prefix; `none` are codes that mean "there is none"."""
    below = f"{spec.prefix}/"

    def read(key: str) -> bytes | None:
        place = {"Key": f"{below}{key}", **bucket_args(spec)}
        found = none_if(clients.s3.get_object, "NoSuchKey", "404", *none, **place)
        return None if found is None else bytes(found["Body"].read())

    def first(prefix: str) -> str | None:
        place = {"Prefix": f"{below}{prefix}", "MaxKeys": 1, **bucket_args(spec)}
        found = none_if(clients.s3.list_objects_v2, "NoSuchBucket", "404", *none, **place) or {}
        return next((str(entry["Key"]).removeprefix(below) for entry in found.get("Contents", ())), None)

    return Kinds(read, first)
