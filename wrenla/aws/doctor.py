"""Doctor: check that everything which runs on AWS need is there and works."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from wrenla.aws.connect import Clients, connect, whose
from wrenla.aws.error_messages import DeployError, explaining, is_denied, is_not_accepted, lacking
from wrenla.aws.invoking import Invoke, invoking
from wrenla.aws.none_if_absent import ask
from wrenla.aws.regions import region_of
from wrenla.aws.resources.function import find_function
from wrenla.aws.resources.lifecycle import DAYS, Lifecycle
from wrenla.aws.spec import DeploySpec, Site
from wrenla.executors.aws_lambda.handshake import PING, differences
from wrenla_handler.stores.s3.errors import error_status

__all__ = ["Check", "examine"]

_TILE = 8 << 20

_SLOW_CORES = frozenset(
    {"prescott", "core2", "penryn", "dunnington", "nehalem", "sandybridge", "generic", "armv8"}
)
"""What OpenBLAS computes with that takes the processor for an old one, at a fraction of its speed."""

_DEPLOY = "run wrenla deploy"

_BOUNDS = (
    "if it stays (a new role takes a minute), look at what else bounds the role: a permissions boundary, the "
    "organization's policies (SCP), the bucket's policy, the policy of its KMS key"
)


@dataclass(frozen=True, slots=True)
class Check:
    """Result of one check.

    Attributes
    ----------
    name : str
    state : {"ok", "failed", "skipped"}
        Skipped is what something that failed before stands in the way of, or what these credentials need
        not be allowed to do.
    text : str
        What was seen.
    remedy : str
        What to do if it failed; "" if the text says so.
    """

    name: str
    state: Literal["ok", "failed", "skipped"]
    text: str
    remedy: str = ""


class _Wrong(Exception):
    """Something is not as it should be: what, and what to do."""


class _Skipped(Exception):
    """Something cannot be looked at, and need not be: why."""


def examine(session: Any, spec: DeploySpec | None = None, invoke: Invoke | None = None) -> Iterator[Check]:
    """Check a deployment, one thing after the other, and yield what comes out.

    Parameters
    ----------
    session : boto3.Session
    spec : DeploySpec, optional
        Of which the names count.
    invoke : callable, optional
        Instead of Lambda's own way to invoke a function.
    """
    examination = _Examination(session, spec or DeploySpec(), invoke)
    for name in _Examination.CHECKS:
        yield examination.check(name)


class _Examination:
    """The checks, and what they have found for those after them."""

    CHECKS: tuple[str, ...] = (
        "region",
        "network",
        "credentials",
        "function",
        "bucket",
        "clearing up",
        "tile throughput",
        "round trip",
        "function's tile",
        "versions",
        "BLAS",
    )

    _NEEDS: Mapping[str, tuple[str, ...]] = {
        "network": ("region",),
        "credentials": ("region",),
        "function": ("credentials",),
        "bucket": ("credentials",),
        "clearing up": ("bucket", "function"),
        "tile throughput": ("bucket",),
        "round trip": ("function",),
        "function's tile": ("round trip",),
        "versions": ("round trip",),
        "BLAS": ("round trip",),
    }

    _clients: Clients
    _site: Site
    _invoke: Invoke

    def __init__(self, session: Any, spec: DeploySpec, invoke: Invoke | None) -> None:
        self._session, self._given = session, invoke
        self._spec = replace(spec, names_only=True)
        self._fine: set[str] = set()
        self._who: Mapping[str, str] = {}
        self._refused: Exception | None = None
        self._unknown: DeployError | None = None
        self._pong: Mapping[str, Any] = {}
        self._runs: Mapping[str, Callable[[], str]] = dict(
            zip(
                self.CHECKS,
                (
                    self._region,
                    self._network,
                    self._credentials,
                    self._function,
                    self._bucket,
                    self._lifecycle,
                    self._throughput,
                    self._round_trip,
                    self._tile_there,
                    self._versions,
                    self._blas,
                ),
                strict=True,
            )
        )

    def check(self, name: str) -> Check:
        lacking = [need for need in self._NEEDS.get(name, ()) if need not in self._fine]
        if lacking:
            return Check(name, "skipped", f"needs: {', '.join(lacking)}")
        try:
            with explaining():
                text = self._runs[name]()
        except _Skipped as error:
            return Check(name, "skipped", str(error))
        except _Wrong as error:
            return Check(name, "failed", *error.args)
        except DeployError as error:
            return Check(name, "failed", str(error))
        self._fine.add(name)
        return Check(name, "ok", text)

    def _region(self) -> str:
        return region_of(self._session)

    def _network(self) -> str:
        """Call sts:GetCallerIdentity: its error tells the network from the credentials."""
        from botocore import exceptions

        try:
            client = self._session.client("sts", config=_config())
            self._who = client.get_caller_identity()
        except (exceptions.ConnectionError, exceptions.HTTPClientError):
            raise
        except exceptions.ClientError as error:
            if error_status(error)[0] not in (400, 401, 403):
                raise
            self._refused = error
        except exceptions.BotoCoreError as error:
            self._refused = error
            raise _Skipped("without credentials nothing is sent") from error
        return str(client.meta.endpoint_url)

    def _credentials(self) -> str:
        if self._refused is not None:
            raise self._refused
        if not self._who:
            raise _Skipped("needs: network")
        self._connect()
        return f"{self._who['Arn']}, account {self._site.account}"

    def _connect(self) -> None:
        try:
            with explaining():
                self._clients, self._site = connect(self._session, self._spec)
        except DeployError as error:
            if is_not_accepted(error.__cause__):  # not every S3 and emulator checks signatures
                raise
            # It asks for the function, too, which is a line of its own. What the function would have told of
            # bucket and prefix is as for a new one then, or as given.
            self._unknown = error
            made = (self._session.client(name, config=_config()) for name in ("s3", "iam", "lambda", "logs"))
            self._clients, region = Clients(*made), self._session.region_name
            partition = self._session.get_partition_for_region(region)
            self._site = Site(self._spec, self._who["Account"], region, partition)
        self._invoke = self._given or invoking(self._clients.lambda_)

    def _function(self) -> str:
        if self._unknown is not None:
            raise self._unknown
        site = self._site
        found = find_function(self._clients, site)
        if found is None:
            raise _Wrong(
                f"there is no function {site.function} in {site.region}",
                f"{_DEPLOY}, or check --function and --region",
            )
        states = found.get("State", "Active"), found.get("LastUpdateStatus", "Successful")
        if states[0] not in ("Active", "Inactive") or states[1] != "Successful":
            reason = found.get("StateReason") or found.get("LastUpdateStatusReason") or "no reason given"
            raise _Wrong(f"function {site.function} is {'/'.join(states)}: {reason}", _DEPLOY)
        variables = found.get("Environment", {}).get("Variables", {})
        for name, mine in (("bucket", site.bucket), ("prefix", site.prefix)):
            theirs = variables.get(f"WRENLA_{name.upper()}")
            if theirs is None:
                raise _Wrong(
                    f"function {site.function} has no {name}: it is not one that wrenla has made",
                    "check --function, or choose another name with it",
                )
            if theirs != mine:
                raise _Wrong(
                    f"function {site.function} has {name} {theirs}, not {mine}", f"leave --{name} out"
                )
        memory, seconds = found["MemorySize"], found["Timeout"]
        return f"{site.function}: {found.get('Runtime', 'image')}, {memory} MB, {seconds} s"

    def _bucket(self) -> str:
        """List one key: the prefix is all that who runs may look at, so HEAD would be refused."""
        from botocore.exceptions import ClientError

        site = self._site
        if self._unknown is not None and not self._spec.bucket:
            raise _Skipped("which one it is says the function (needs: function, or --bucket)")
        try:
            found = ask(
                self._clients.s3.list_objects_v2,
                "NoSuchBucket",
                Prefix=f"{site.prefix}/",
                MaxKeys=1,
                **whose(site),
            )
        except ClientError as error:
            if not is_denied(error) or "not authorized" in str(error):
                raise
            raise _Wrong(
                f"bucket {site.bucket}: access denied",
                "either another account has it, then choose another name with --bucket, or these credentials "
                f"need s3:ListBucket on {site.bucket_arn} for {site.prefix}/*",
            ) from error
        if found is None:
            what = "--bucket" if self._spec.bucket else "--function and --region"
            raise _Wrong(f"there is no bucket {site.bucket}", f"check {what}, or {_DEPLOY}")
        headers = found["ResponseMetadata"].get("HTTPHeaders", {})
        region = headers.get("x-amz-bucket-region", site.region)  # boto3 has followed S3 to it
        if region != site.region and not self._clients.emulated:
            raise _Wrong(
                f"bucket {site.bucket} is in {region}, the function in {site.region}: "
                "every tile crosses regions, which is slow and is billed",
                f"deploy with --region {region}, or with another --bucket",
            )
        return f"s3://{site.bucket}/{site.prefix}"

    def _lifecycle(self) -> str:
        from botocore.exceptions import ClientError

        try:
            lifecycle = Lifecycle.of(self._clients, self._site)
        except ClientError as error:
            if not is_denied(error):
                raise
            raise _Skipped(
                "only who deploys needs to see the bucket's rules (s3:GetLifecycleConfiguration)"
            ) from error
        if lifecycle.with_ours(self._site) != lifecycle:
            raise _Wrong(f"there is no rule {self._site.lifecycle_rule}: leftovers stay for ever", _DEPLOY)
        return f"what failed runs leave goes after {DAYS} days"

    def _throughput(self) -> str:
        """Put and get one tile from here, below the prefix; functions in the region are faster."""
        from botocore.exceptions import ClientError

        s3, tile = self._clients.s3, os.urandom(_TILE)
        place = {"Key": f"{self._site.temporaries}doctor-{uuid.uuid4().hex}", **whose(self._site)}
        begun = time.perf_counter()
        try:
            s3.put_object(Body=tile, **place)
        except ClientError as error:
            told = str(error)
            if not is_denied(error) or ("not authorized" in told and "s3:PutObject" not in told):
                raise
            raise _Skipped(
                f"only who runs needs to write below {self._site.temporaries} (s3:PutObject)"
            ) from error
        try:
            put = time.perf_counter()
            same = s3.get_object(**place)["Body"].read() == tile
            got = time.perf_counter()
        finally:
            s3.delete_object(**place)
        if not same:
            raise _Wrong("a tile came back with other bytes", "check what stands between here and S3 (proxy)")
        return f"8 MiB from here: {_rates(_TILE, put - begun, got - put)}"

    def _round_trip(self) -> str:
        seconds = []
        for _ in range(2):
            begun = time.perf_counter()
            self._pong = self._invoke(self._site.function, PING)
            seconds.append(time.perf_counter() - begun)
        if self._pong.get("kind") != "pong":
            kind = self._pong.get("kind")
            raise _Wrong(f"the function answers {kind!r} to a ping: it is not of this version", _DEPLOY)
        return "first {:.2f} s, second {:.3f} s".format(*seconds)

    def _tile_there(self) -> str:
        """Let the function itself look for, put, get and delete a tile: what it may, only it can tell."""
        url = f"s3://{self._site.bucket}/{self._site.temporaries.rstrip('/')}"
        found = self._invoke(self._site.function, {**PING, "store": url}).get("store")
        if not isinstance(found, Mapping):
            raise _Wrong("the function did not try its bucket: it is of an earlier version", _DEPLOY)
        if "failed" not in found:
            return f"8 MiB from the function: {_rates(found['nbytes'], found['put'], found['get'])}"
        failed, error, code, said = (str(found.get(key, "")) for key in ("failed", "error", "code", "said"))
        what = f"the function cannot {'look for' if failed == 'look' else failed} a tile"
        if code not in ("AccessDenied", "AllAccessDisabled", "403"):
            raise _Wrong(
                f"{what}: {error}",
                "run wrenla doctor again; in a VPC the function needs an endpoint for S3",
            )
        # S3 says of what is not there that it is denied, unless one may list
        operation = "ListBucket" if failed == "look" else f"{failed.capitalize()}Object"
        text = lacking(operation, said, "its role needs")
        role = self._site.spec.role
        give = f"give the role {role} what it needs" if role else _DEPLOY
        raise _Wrong(f"{what}: access denied; {text}", f"{give}; {_BOUNDS}")

    def _versions(self) -> str:
        """Compare the versions that results and pickles depend on."""
        theirs = {"python": self._pong["python"], **self._pong["packages"]}
        if different := differences(self._pong):
            raise _Wrong("; ".join(different), f"{_DEPLOY}: it takes along what is installed here")
        return ", ".join(f"{name} {version}" for name, version in theirs.items())

    def _blas(self) -> str:
        blas = self._pong["blas"]
        core = str(blas.get("architecture") or "unknown")
        text = f"OpenBLAS {blas.get('version')}, {core} kernels, threads: {blas.get('threads')}"
        if core.lower() in _SLOW_CORES:
            raise _Wrong(
                f"{text}: it does not know the processor and computes slowly",
                "give it a later numpy and scipy here, and deploy again",
            )
        return text


def _config() -> Any:
    from botocore.config import Config

    return Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 3})


def _rates(nbytes: int, put: float, got: float) -> str:
    return f"put {nbytes / 1e6 / put:.0f} MB/s, get {nbytes / 1e6 / got:.0f} MB/s"
