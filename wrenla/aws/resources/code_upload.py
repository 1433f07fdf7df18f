"""Upload of the package to the bucket. Lambda takes at most 50 MB directly, and any size from S3."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wrenla.aws.connect import Clients
from wrenla.aws.none_if_absent import none_if
from wrenla.aws.packaging.package import Package
from wrenla.aws.resources.resource import Change
from wrenla.aws.spec import ResolvedSpec, bucket_args

__all__ = ["OldCode", "UploadedCode", "code_key", "functions_with_code", "uploaded"]

_KEY = re.compile(r"[^/]+/([^/]+)/[0-9a-f]{64}\.zip")


def code_key(spec: ResolvedSpec, package: Package) -> str:
    """Return the key of a package: its content's hash, so that what is there is right."""
    return f"{spec.code_prefix}{package.sha256}.zip"


def uploaded(clients: Clients, spec: ResolvedSpec) -> list[str]:
    """Return the keys of all packages of the function."""
    return _keys(clients, spec, spec.code_prefix)


def functions_with_code(clients: Clients, spec: ResolvedSpec) -> set[str]:
    """Return the functions, ours or not, of which there are packages in the bucket."""
    found = map(_KEY.fullmatch, _keys(clients, spec, spec.all_code))
    return {key[1] for key in found if key}


def _keys(clients: Clients, spec: ResolvedSpec, prefix: str) -> list[str]:
    pages = clients.s3.get_paginator("list_objects_v2").paginate(Prefix=prefix, **bucket_args(spec))
    found = none_if(lambda: list(pages), "NoSuchBucket") or ()
    return [entry["Key"] for page in found for entry in page.get("Contents", ())]


class UploadedCode:
    """The package that the function is to have."""

    def __init__(self, clients: Clients, spec: ResolvedSpec, package: Package, current: str | None) -> None:
        self._clients, self._spec, self._package, self._current = clients, spec, package, current

    def plan(self) -> Iterator[Change]:
        if self._current == self._package.base64:
            return  # the function has it already
        key = code_key(self._spec, self._package)
        if key not in uploaded(self._clients, self._spec):
            size = f"{self._package.zipped / 1e6:.0f} MB, {self._package.unzipped / 1e6:.0f} unzipped"
            remark = f": {self._package.remark}" if self._package.remark else ""
            yield Change(f"upload s3://{self._spec.bucket}/{key} ({size}){remark}", lambda: self._upload(key))

    def _upload(self, key: str) -> None:
        self._clients.s3.upload_file(
            str(self._package.path),
            self._spec.bucket,
            key,
            ExtraArgs={"ExpectedBucketOwner": self._spec.account},
        )


class OldCode:
    """Packages that the function had before."""

    def __init__(self, clients: Clients, spec: ResolvedSpec, package: Package) -> None:
        self._clients, self._spec, self._package = clients, spec, package

    def plan(self) -> Iterator[Change]:
        for key in filter(_KEY.fullmatch, uploaded(self._clients, self._spec)):
            if key != code_key(self._spec, self._package):
                yield Change(
                    f"remove s3://{self._spec.bucket}/{key}, which was the code before",
                    lambda key=key: self._clients.s3.delete_object(  # type: ignore[misc]
                        Key=key, **bucket_args(self._spec)
                    ),
                )
