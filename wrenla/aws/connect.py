"""Connect to AWS: make the clients, and resolve a spec by the function that is deployed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from wrenla.aws.error_messages import DeployError, translating
from wrenla.aws.none_if_absent import none_if
from wrenla.aws.regions import region_of
from wrenla.aws.resolve import resolve
from wrenla.aws.spec import DeploySpec, ResolvedSpec

__all__ = ["Clients", "connect", "connect_without_rights"]


@dataclass(frozen=True, slots=True)
class Clients:
    """Clients of the services that a deployment uses.

    Attributes
    ----------
    emulated : bool
        The function does not run at AWS (which speaks https only) but in an emulator on this machine.
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


def connect(session: Any, spec: DeploySpec, *, deploying: bool = False) -> tuple[Clients, ResolvedSpec]:
    """Make the clients, find out whose account this is, and fill in what `spec` leaves open.

    Endpoints are boto3's own settings: ``AWS_ENDPOINT_URL``, ``AWS_ENDPOINT_URL_LAMBDA``, ….

    Parameters
    ----------
    session : boto3.Session
    spec : DeploySpec
    deploying : bool, optional
        All of `spec` counts. Otherwise names do, and one who names bucket and prefix need not be allowed to
        look at the function.

    Raises
    ------
    DeployError
        There is no region, or what is as deployed cannot be known.
    """
    from botocore.config import Config

    region = region_of(session)
    config = Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 6})
    made = {name: session.client(name, config=config) for name in ("s3", "iam", "lambda", "logs", "sts")}
    account = made["sts"].get_caller_identity()["Account"]
    clients = Clients(made["s3"], made["iam"], made["lambda"], made["logs"])
    named = spec.bucket is not None and spec.prefix is not None and not deploying
    denied = ("AccessDenied", "AccessDeniedException", "403") if named else ()
    found = none_if(
        clients.lambda_.get_function_configuration,
        *("ResourceNotFoundException", *denied),
        FunctionName=spec.function,
    )
    # Lambda gives everything but the variables to who may not decrypt them. To take that for "none" would
    # lead to the default bucket.
    if not named and ((found or {}).get("Environment") or {}).get("Error"):
        key = found.get("KMSKeyArn") or "the key that they are encrypted with"
        other = "" if deploying else ", or give both --bucket and --prefix"
        raise DeployError(
            f"function {spec.function}: its variables, which say where its objects are, cannot be read: "
            f"these credentials need kms:Decrypt on {key}{other}"
        )
    return clients, resolve(spec, account, region, session.get_partition_for_region(region), found)


def connect_without_rights(session: Any, spec: DeploySpec) -> tuple[ResolvedSpec, str]:
    """Return a spec as resolved as it can be known, and why it is not as deployed if so.

    Placeholders in capitals stand for account and region. Policies are printed for those who have no
    permission yet.
    """
    try:
        with translating():
            return connect(session, spec)[1], ""
    except DeployError as error:
        why = str(error)
    region, account, partition = session.region_name or "REGION", "ACCOUNT", "aws"
    if session.region_name:
        with suppress(DeployError), translating():
            partition = session.get_partition_for_region(region)
            account = session.client("sts").get_caller_identity()["Account"]
    return resolve(spec, account, region, partition), why


def _is_plain(client: Any) -> bool:
    return str(client.meta.endpoint_url).startswith("http:")
