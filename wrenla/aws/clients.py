"""Clients of AWS's services, and where they lead."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from wrenla.aws.asking import ask
from wrenla.aws.refusals import DeployError
from wrenla.aws.spec import DeploySpec, Site

__all__ = ["Clients", "connect", "whose"]


@dataclass(frozen=True, slots=True)
class Clients:
    """Clients of the services that a deployment uses.

    Attributes
    ----------
    emulated : bool
        The function does not run at AWS (which speaks https only) but in a sandbox on this machine.
    plain_s3 : bool
        The bucket is reached without encryption, as only S3 servers other than AWS's allow.
    """

    s3: Any
    iam: Any
    lambda_: Any
    logs: Any

    @property
    def emulated(self) -> bool:
        return _is_plain(self.lambda_)

    @property
    def plain_s3(self) -> bool:
        return _is_plain(self.s3)


def connect(session: Any, spec: DeploySpec) -> tuple[Clients, Site]:
    """Make the clients, and find out whose account this is.

    Endpoints are boto3's own settings: ``AWS_ENDPOINT_URL``, ``AWS_ENDPOINT_URL_LAMBDA``, …. Bucket and
    prefix are the function's where `spec` does not name them.

    Raises
    ------
    DeployError
        There is no region.
    """
    from botocore.config import Config

    region = session.region_name
    if not region:
        raise DeployError("there is no region: give --region, or set AWS_DEFAULT_REGION")
    config = Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 6})
    made = {name: session.client(name, config=config) for name in ("s3", "iam", "lambda", "logs", "sts")}
    account = made["sts"].get_caller_identity()["Account"]
    partition = session.get_partition_for_region(region)
    clients = Clients(made["s3"], made["iam"], made["lambda"], made["logs"])
    if not (spec.bucket and spec.prefix):
        spec = _completed(clients.lambda_, spec)
    return clients, Site(spec, account, region, partition)


def _completed(client: Any, spec: DeploySpec) -> DeploySpec:
    """Return what to deploy with bucket and prefix of the function, if there is one.

    Who forgets `--bucket` or `--prefix` shall neither lose his matrices nor hit those of somebody else.
    """
    found = ask(client.get_function_configuration, "ResourceNotFoundException", FunctionName=spec.function)
    variables = (found or {}).get("Environment", {}).get("Variables", {})
    return replace(
        spec,
        bucket=spec.bucket or variables.get("WRENLA_BUCKET", ""),
        prefix=spec.prefix or variables.get("WRENLA_PREFIX", ""),
    )


def whose(site: Site) -> dict[str, str]:
    """Return what goes with every request to the bucket: a name may come to belong to somebody else."""
    return {"Bucket": site.bucket, "ExpectedBucketOwner": site.account}


def _is_plain(client: Any) -> bool:
    return str(client.meta.endpoint_url).startswith("http:")
