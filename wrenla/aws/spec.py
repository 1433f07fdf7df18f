"""Deployment spec: the options, and the names that follow from them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wrenla.aws.packaging.target import running_python
from wrenla.errors import SettingError
from wrenla.executors.aws_lambda.names import BUCKET, BUCKET_RULE
from wrenla_handler.stores.base import RUNS

__all__ = ["FIRST_PREFIX", "DeploySpec", "Deployment", "ResolvedSpec", "bucket_args"]

_FUNCTION = re.compile(r"[A-Za-z0-9_-]{1,36}")
_PREFIX = re.compile(r"[A-Za-z0-9!_.()-]+(/[A-Za-z0-9!_.()-]+)*")
_CODE = "deploy"
FIRST_PREFIX = "wrenla"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploySpec:
    """Specification of a deployment.

    None stands for all that is not said: it stays as it is deployed, and a deployment is changed by naming
    what shall be different. What "at first" says below is for a function that is not there yet.

    Attributes
    ----------
    function : str
        Name of the function: two of different names do not disturb each other.
    bucket : str, optional
        At first ``wrenla-<account>-<region>``. One that exists, and that wrenla has not made, keeps its
        settings; only a lifecycle rule is added. A deployment cannot be moved: another bucket or prefix than
        the function has is refused.
    prefix : str, optional
        What keys of tiles begin with: all that the function may touch. At first ``wrenla``. In a bucket that
        wrenla has not made, nothing but matrices of wrenla may be below it.
    memory, timeout, storage : int, optional
        MB (1,769 are one processor), seconds, MB of ``/tmp``. At first 1769, 900 and 512.
    arch : {"x86_64", "arm64"}, optional
        At first x86_64.
    requirements : Path, optional
        What else functions need, at first nothing; nothing is an empty file, as ``Path(os.devnull)``.
    role : str, optional
        ARN of a role to use, "" for one that is made. At first one that is made.
    permissions_boundary : str, optional
        ARN of a policy that the role which is made is bounded by. A boundary that it has stays.
    tags : tuple of pairs
        For everything that is made; others stay.
    environment : mapping, optional
        More variables of the function, these and no others.
    """

    function: str = "wrenla"
    bucket: str | None = None
    prefix: str | None = None
    memory: int | None = None
    timeout: int | None = None
    storage: int | None = None
    arch: str | None = None
    requirements: Path | None = None
    role: str | None = None
    permissions_boundary: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    environment: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if not _FUNCTION.fullmatch(self.function):
            raise SettingError(f"function = {self.function!r}: up to 36 letters, digits, '-' and '_'")
        if self.bucket is not None and not BUCKET.fullmatch(self.bucket):
            raise SettingError(f"bucket = {self.bucket!r}: {BUCKET_RULE}")
        prefix = self.prefix
        if prefix is not None and (not _PREFIX.fullmatch(prefix) or prefix.split("/")[0] == _CODE):
            raise SettingError(
                f"prefix = {self.prefix!r}: letters, digits, '-', '_', '.' and '/' between them; "
                f"{_CODE!r} is where the code lies"
            )
        for name, low, high in (("memory", 128, 10240), ("timeout", 1, 900), ("storage", 512, 10240)):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise SettingError(f"{name} = {value}: Lambda takes {low} to {high}")
        for name in ("role", "permissions_boundary"):
            value = getattr(self, name)
            if value and not value.startswith("arn:"):
                raise SettingError(f"{name} = {value!r}: an ARN begins with 'arn:'")
        if any(key == "wrenla" or key.startswith("aws:") for key, _ in self.tags):
            raise SettingError(
                "tags: 'wrenla' is wrenla's own tag, and those that begin with 'aws:' are AWS's"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedSpec:
    """Specification with nothing left open, and the names of its parts. Defaults are those "at first".

    Attributes
    ----------
    role : str
        ARN of a role to use, "" for one that is made.
    permissions_boundary : str
        "" leaves the one that the role has.
    requirements : Path or None
        None is nothing, or what the function remembers (`remembered`).
    remembered : str
        The function's note of its requirements.
    tags : mapping
        The named ones, and wrenla's own.
    python : str
        Minor version: this one's, since functions travel as byte code.
    partition : str
        ``aws``, ``aws-cn`` or ``aws-us-gov``: it begins every ARN.
    """

    account: str
    region: str
    partition: str
    function: str
    bucket: str
    prefix: str = FIRST_PREFIX
    memory: int = 1769
    timeout: int = 900
    storage: int = 512
    arch: str = "x86_64"
    role: str = ""
    permissions_boundary: str = ""
    requirements: Path | None = None
    remembered: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str]
    python: str = field(default_factory=running_python)

    @property
    def function_arn(self) -> str:
        return self.arn("lambda", f"function:{self.function}")

    @property
    def default_bucket(self) -> str:
        return f"wrenla-{self.account}-{self.region}"

    @property
    def bucket_arn(self) -> str:
        return f"arn:{self.partition}:s3:::{self.bucket}"

    @property
    def code_prefix(self) -> str:
        """Prefix of packages: outside `prefix`, since a writer of tiles must not replace the code."""
        return f"{self.all_code}{self.function}/"

    @property
    def all_code(self) -> str:
        """Prefix of the packages of all functions with this bucket."""
        return f"{_CODE}/"

    @property
    def temporaries(self) -> str:
        return f"{self.prefix}/{RUNS}/"

    @property
    def lifecycle_rule(self) -> str:
        return f"wrenla-{self.function}-temporaries"

    @property
    def role_name(self) -> str:
        """Name of the role that is made; roles belong to no region, functions do."""
        return f"wrenla-{self.function}-{self.region}"

    @property
    def made_role_arn(self) -> str:
        """ARN of the role that is made, whether it is used or not."""
        return f"arn:{self.partition}:iam::{self.account}:role/{self.role_name}"

    @property
    def role_arn(self) -> str:
        return self.role or self.made_role_arn

    @property
    def log_group(self) -> str:
        return f"/aws/lambda/{self.function}"

    @property
    def log_group_arn(self) -> str:
        return self.arn("logs", f"log-group:{self.log_group}")

    def arn(self, service: str, resource: str) -> str:
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment(ResolvedSpec):
    """Deployment as it is on AWS.

    Attributes
    ----------
    changed : tuple of str
        What this deployment has done, or with `dry_run` would do; empty if all was there already.
    """

    changed: tuple[str, ...]


def bucket_args(spec: ResolvedSpec) -> dict[str, str]:
    """Return what goes with every request to the bucket: a name may come to belong to somebody else."""
    return {"Bucket": spec.bucket, "ExpectedBucketOwner": spec.account}
