"""Connect to AWS: make the clients, and fill in unspecified options from the deployed function."""

from __future__ import annotations

import re
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from wrenla.aws.error_messages import DeployError, explaining
from wrenla.aws.none_if_absent import ask, tags_of
from wrenla.aws.packaging.build_cache import default_folder, digest, replacing
from wrenla.aws.regions import region_of
from wrenla.aws.resources.lifecycle import Lifecycle
from wrenla.aws.spec import AS_DEPLOYED, FIRST_PREFIX, DeploySpec, Site, whose
from wrenla.workspace.ownership import Kinds
from wrenla_handler.stores import RUNS

__all__ = ["Clients", "check_place", "connect", "reader", "site_without_rights", "whose"]

_REQUIREMENTS = "DEPLOYED_REQUIREMENTS"
"""Variable of the function that remembers its requirements; `WRENLA_…` would be a setting over there."""

_OWN = frozenset({"WRENLA_BUCKET", "WRENLA_BUCKET_OWNER", "WRENLA_PREFIX", _REQUIREMENTS})

_MOST_VARIABLES = 3800
"""Bytes that variables may take: Lambda's 4 KB with room for those of ours that say where things are."""

_NOT_TO_BE_KEPT = re.compile(
    r"://[^/\s]*@"  # a password
    r"|(?:^|\s|@\s*)(?:\.|/|file:)|^(?!\s*#)(?!.*://).*\.whl\b",  # a file of this machine
    re.M,
)

_HASH_ONLY = "sha256:"

_NONE = "ResourceNotFoundException"
_DENIED = ("AccessDenied", "AccessDeniedException", "403")


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


def connect(session: Any, spec: DeploySpec) -> tuple[Clients, Site]:
    """Make the clients, and find out whose account this is, and what of `spec` is as deployed.

    Endpoints are boto3's own settings: ``AWS_ENDPOINT_URL``, ``AWS_ENDPOINT_URL_LAMBDA``, ….

    Raises
    ------
    DeployError
        There is no region; or, unless `spec` is only of names: the function has another place than the
        named one, or there is none yet and somebody's objects are in its place, or what is as deployed
        cannot be known.
    """
    from botocore.config import Config

    region = region_of(session)
    config = Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 6})
    made = {name: session.client(name, config=config) for name in ("s3", "iam", "lambda", "logs", "sts")}
    account = made["sts"].get_caller_identity()["Account"]
    site = Site(spec, account, region, session.get_partition_for_region(region))
    clients = Clients(made["s3"], made["iam"], made["lambda"], made["logs"])
    none = (_NONE, *_DENIED) if _both_named(spec) else (_NONE,)
    found = ask(clients.lambda_.get_function_configuration, *none, FunctionName=site.function)
    site = replace(site, spec=_completed(site, found))
    if not spec.names_only:
        check_place(site, found)
        if not _variables(site, found).get("WRENLA_BUCKET"):
            _check_free(clients, site)
    return clients, site


def site_without_rights(session: Any, spec: DeploySpec) -> tuple[Site, str]:
    """Return where a deployment stands as far as it can be known, and why it cannot if so.

    Placeholders in capitals stand for account and region. Policies are printed for those who have no
    permission yet.
    """
    try:
        with explaining():
            return connect(session, replace(spec, names_only=True))[1], ""
    except DeployError as error:
        why = str(error)
    region, account, partition = session.region_name or "REGION", "ACCOUNT", "aws"
    if session.region_name:
        with suppress(DeployError), explaining():
            partition = session.get_partition_for_region(region)
            account = session.client("sts").get_caller_identity()["Account"]
    site = Site(spec, account, region, partition)
    return replace(site, spec=_completed(site, None)), why


def check_place(site: Site, found: Mapping[str, Any] | None) -> None:
    """Refuse another place than the one where a function keeps its objects: what is there would be orphaned.

    Raises
    ------
    DeployError
    """
    variables = _variables(site, found)
    bucket = variables.get("WRENLA_BUCKET", "")
    prefix = variables.get("WRENLA_PREFIX") or FIRST_PREFIX
    if bucket and (bucket, prefix) != (site.bucket, site.prefix):
        raise DeployError(
            f"function {site.function} keeps its objects in s3://{bucket}/{prefix}, not in "
            f"s3://{site.bucket}/{site.prefix}: leave --bucket and --prefix out, or wrenla destroy it first, "
            "or take another --function"
        )


def reader(clients: Clients, site: Site, *none: str) -> Kinds:
    """Return what tells apart the objects below the prefix; `none` are codes that mean "there is none"."""

    def read(key: str) -> bytes | None:
        place = {"Key": f"{site.prefix}/{key}", **whose(site)}
        found = ask(clients.s3.get_object, "NoSuchKey", "404", *none, **place)
        return None if found is None else bytes(found["Body"].read())

    def first(prefix: str) -> str | None:
        below = f"{site.prefix}/"
        place = {"Prefix": f"{below}{prefix}", "MaxKeys": 1, **whose(site)}
        found = ask(clients.s3.list_objects_v2, "NoSuchBucket", "404", *none, **place) or {}
        return next((str(entry["Key"]).removeprefix(below) for entry in found.get("Contents", ())), None)

    return Kinds(read, first)


def _check_free(clients: Clients, site: Site) -> None:
    """Refuse to begin where somebody's objects lie: rules would expire them, and destroy could not tell."""
    if site.bucket == site.default_bucket:
        return
    if ask(clients.s3.head_bucket, "404", "NoSuchBucket", "403", **whose(site)) is None:
        return  # it will be made; or looking for it says more about why one may not
    tags = ask(clients.s3.get_bucket_tagging, "NoSuchTagSet", "NoSuchBucket", **whose(site))
    if tags is not None and "wrenla" in tags_of(tags["TagSet"]):
        return
    below = f"{site.prefix}/"
    used = (
        temporaries.removesuffix(f"{RUNS}/")
        for temporaries in Lifecycle.of(clients, site).functions().values()
    )
    if any(place and below.startswith(place) for place in used):
        return  # another function of ours, or this one's first deployment was interrupted
    kinds = reader(clients, site, *_DENIED)
    pages = clients.s3.get_paginator("list_objects_v2").paginate(Prefix=below, **whose(site))
    for key in (entry["Key"] for page in pages for entry in page.get("Contents", ())):
        if kinds.of(key.removeprefix(below)) == "other":
            raise DeployError(
                f"s3://{site.bucket}/{site.prefix} is in use: it holds {key}, which is not known to be "
                "wrenla's: take a --prefix below which there is nothing yet"
            )


def _completed(site: Site, found: Mapping[str, Any] | None) -> DeploySpec:
    """Return what to deploy with all that is left open as the function has it.

    Who forgets an option shall neither lose his matrices, hit those of somebody else, nor undo what he has
    once set: what errors recommend is the plain command.
    """
    spec, now = site.spec, found or {}
    variables = _variables(site, found)
    role = spec.role
    if role is None:
        role = "" if now.get("Role", site.made_role_arn) == site.made_role_arn else str(now["Role"])
        if role and spec.permissions_boundary:
            raise DeployError(
                f"function {site.function} works as {role}, and a boundary is for a role that is made: "
                "give --role '' too, or leave --permissions-boundary out"
            )
    known = replace(
        spec,
        bucket=spec.bucket or variables.get("WRENLA_BUCKET", ""),
        prefix=spec.prefix or variables.get("WRENLA_PREFIX", ""),
        memory=spec.memory or now.get("MemorySize", 1769),
        timeout=spec.timeout or now.get("Timeout", 900),
        storage=spec.storage or now.get("EphemeralStorage", {}).get("Size", 512),
        arch=spec.arch or now.get("Architectures", ["x86_64"])[0],
        role=role,
    )
    if spec.names_only:
        return known
    if spec.environment is AS_DEPLOYED:
        theirs = {name: value for name, value in variables.items() if name not in _OWN}
    else:
        theirs = dict(spec.environment)
    file, note = _requirements(site, variables.get(_REQUIREMENTS, ""), theirs)
    return replace(known, requirements=file, environment={**theirs, **note})


def _requirements(site: Site, note: str, variables: Mapping[str, str]) -> tuple[Path | None, dict[str, str]]:
    """Return the file of requirements, and the variable by which the function remembers them.

    Raises
    ------
    DeployError
        The file cannot be read; or none is given, and those that the function has could not be kept in it.
    """
    before = _text_of(note)
    file = site.spec.requirements
    if file is None:
        if before is None:
            raise DeployError(
                f"function {site.function} has requirements that could not be remembered, since they name "
                "files of one machine, or a password, or are too long: give --requirements FILE again, or "
                "--no-requirements"
            )
        return (_restored(before), {_REQUIREMENTS: note}) if before else (None, {})
    try:
        text = file.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise DeployError(f"requirements {file}: {getattr(error, 'strerror', None) or error}") from None
    if not any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines()):
        return None, {}
    if text != before:  # the same text may be packed in other bytes by another zlib
        note = b64encode(zlib.compress(text.encode(), 9)).decode()
        size = sum(len(f"{name}{value}".encode()) for name, value in variables.items())
        if _NOT_TO_BE_KEPT.search(text) or size + len(note) > _MOST_VARIABLES:
            note = _HASH_ONLY + sha256(text.encode()).hexdigest()
    return file, {_REQUIREMENTS: note}


def _text_of(note: str) -> str | None:
    """Return the requirements that a function remembers, "" for none, None if they were not kept."""
    try:
        return zlib.decompress(b64decode(note, validate=True)).decode() if note else ""
    except (ValueError, zlib.error):
        return None


def _restored(text: str) -> Path:
    """Write remembered requirements to where pip can read them; what fails here, building says."""
    folder = default_folder()
    path = folder / f"requirements-{digest(text)}.txt"
    if not path.exists():
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(path) as new:
                new.write_bytes(text.encode())
    return path


def _variables(site: Site, found: Mapping[str, Any] | None) -> Mapping[str, str]:
    """Return the variables of a function.

    Raises
    ------
    DeployError
        Lambda gives everything but these to who may not decrypt them. To take that for "none" would lead to
        the default bucket.
    """
    environment = (found or {}).get("Environment") or {}
    if environment.get("Error") and not _both_named(site.spec):
        key = (found or {}).get("KMSKeyArn") or "the key that they are encrypted with"
        other = ", or give both --bucket and --prefix" if site.spec.names_only else ""
        raise DeployError(
            f"function {site.function}: its variables, which say where its objects are, cannot be read: "
            f"these credentials need kms:Decrypt on {key}{other}"
        )
    variables: Mapping[str, str] = environment.get("Variables") or {}
    return variables


def _both_named(spec: DeploySpec) -> bool:
    """Tell whether bucket and prefix, and no more is needed, do not depend on what is deployed."""
    return spec.names_only and bool(spec.bucket and spec.prefix)


def _is_plain(client: Any) -> bool:
    return str(client.meta.endpoint_url).startswith("http:")
