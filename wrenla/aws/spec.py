"""Deployment spec: the options, and the names that follow from them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wrenla.aws.packaging.target import running_python
from wrenla.errors import SettingError
from wrenla.executors.aws_lambda.names import BUCKET, BUCKET_RULE
from wrenla_handler.stores import RUNS

__all__ = ["AS_DEPLOYED", "FIRST_PREFIX", "DeploySpec", "Deployment", "Site", "whose"]

_FUNCTION = re.compile(r"[A-Za-z0-9_-]{1,36}")
_PREFIX = re.compile(r"[A-Za-z0-9!_.()-]+(/[A-Za-z0-9!_.()-]+)*")
_CODE = "deploy"
FIRST_PREFIX = "wrenla"

AS_DEPLOYED: Mapping[str, str] = {}
"""Variables that nobody has named, which is not the same as none: it is this very object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploySpec:
    """Specification of a deployment.

    What is left out stays as it is deployed: a deployment is changed by naming what shall be different. What
    "at first" says below is for a function that is not there yet.

    Attributes
    ----------
    function : str
        Name of the function: two of different names do not disturb each other.
    bucket : str
        At first ``wrenla-<account>-<region>``. One that exists, and that wrenla has not made, keeps its
        settings; only a lifecycle rule is added. A deployment cannot be moved: another bucket or prefix than
        the function has is refused.
    prefix : str
        What keys of tiles begin with: all that the function may touch. At first ``wrenla``. In a bucket that
        wrenla has not made, nothing but matrices of wrenla may be below it.
    memory, timeout, storage : int
        MB (1,769 are one processor), seconds, MB of ``/tmp``. 0 is as deployed, at first 1769, 900 and 512.
    arch : {"", "x86_64", "arm64"}
        "" is as deployed, at first x86_64.
    requirements : Path or None
        What else functions need. None is as deployed; an empty file, as ``Path(os.devnull)``, is nothing.
    role : str or None
        ARN of a role to use, "" for one that is made. None is as deployed, at first one that is made.
    permissions_boundary : str
        ARN of a policy that the role which is made is bounded by. A boundary that it has stays.
    tags : tuple of pairs
        For everything that is made; others stay.
    python : str
        Minor version; always this one's by default, since functions travel as byte code.
    environment : mapping
        More variables of the function, these and no others. `AS_DEPLOYED`, the default, keeps what it has.
    names_only : bool
        For what deploys nothing, as a look: function, bucket and prefix count, and may be others than those
        of a deployment.
    """

    function: str = "wrenla"
    bucket: str = ""
    prefix: str = ""
    memory: int = 0
    timeout: int = 0
    storage: int = 0
    arch: str = ""
    requirements: Path | None = None
    role: str | None = None
    permissions_boundary: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    python: str = ""
    environment: Mapping[str, str] = field(default_factory=lambda: AS_DEPLOYED)
    names_only: bool = False

    def __post_init__(self) -> None:
        if not _FUNCTION.fullmatch(self.function):
            raise SettingError(f"function = {self.function!r}: up to 36 letters, digits, '-' and '_'")
        if self.bucket and not BUCKET.fullmatch(self.bucket):
            raise SettingError(f"bucket = {self.bucket!r}: {BUCKET_RULE}")
        right = _PREFIX.fullmatch(self.prefix) and self.prefix.split("/")[0] != _CODE
        if self.prefix and not right:
            raise SettingError(
                f"prefix = {self.prefix!r}: letters, digits, '-', '_', '.' and '/' between them; "
                f"{_CODE!r} is where the code lies"
            )
        for name, low, high in (("memory", 128, 10240), ("timeout", 1, 900), ("storage", 512, 10240)):
            if getattr(self, name) and not low <= getattr(self, name) <= high:
                raise SettingError(f"{name} = {getattr(self, name)}: Lambda takes {low} to {high}")
        for name in ("role", "permissions_boundary"):
            value = getattr(self, name)
            if value and not value.startswith("arn:"):
                raise SettingError(f"{name} = {value!r}: an ARN begins with 'arn:'")
        if any(key == "wrenla" or key.startswith("aws:") for key, _ in self.tags):
            raise SettingError(
                "tags: 'wrenla' is wrenla's own tag, and those that begin with 'aws:' are AWS's"
            )


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is deployed.

    Attributes
    ----------
    changed : tuple of str
        What this deployment has done, or with `dry_run` would do; empty if all was there already.
    """

    function: str
    function_arn: str
    bucket: str
    prefix: str
    role_arn: str
    region: str
    account: str
    memory: int
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Site:
    """Where a deployment stands, and what its parts are called.

    Attributes
    ----------
    spec : DeploySpec
        With nothing left open that is deployed.
    partition : str
        ``aws``, ``aws-cn`` or ``aws-us-gov``: it begins every ARN.
    """

    spec: DeploySpec
    account: str
    region: str
    partition: str

    @property
    def function(self) -> str:
        return self.spec.function

    @property
    def function_arn(self) -> str:
        return self.arn("lambda", f"function:{self.function}")

    @property
    def bucket(self) -> str:
        return self.spec.bucket or self.default_bucket

    @property
    def default_bucket(self) -> str:
        return f"wrenla-{self.account}-{self.region}"

    @property
    def bucket_arn(self) -> str:
        return f"arn:{self.partition}:s3:::{self.bucket}"

    @property
    def prefix(self) -> str:
        return self.spec.prefix or FIRST_PREFIX

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
        return self.spec.role or self.made_role_arn

    @property
    def log_group(self) -> str:
        return f"/aws/lambda/{self.function}"

    @property
    def log_group_arn(self) -> str:
        return self.arn("logs", f"log-group:{self.log_group}")

    @property
    def python(self) -> str:
        return self.spec.python or running_python()

    @property
    def tags(self) -> dict[str, str]:
        return {"wrenla": self.function, **dict(self.spec.tags)}

    @property
    def tag_list(self) -> list[dict[str, str]]:
        return [{"Key": key, "Value": value} for key, value in self.tags.items()]

    def arn(self, service: str, resource: str) -> str:
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"


def whose(site: Site) -> dict[str, str]:
    """Return what goes with every request to the bucket: a name may come to belong to somebody else."""
    return {"Bucket": site.bucket, "ExpectedBucketOwner": site.account}
