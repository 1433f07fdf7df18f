"""Doctor: check that everything which runs on AWS need is there and works."""

from __future__ import annotations

import os
import statistics
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from wrenla.aws.connect import Clients, connect
from wrenla.aws.error_messages import DeployError, is_denied, lacking, translating
from wrenla.aws.invoking import Invoke, invoking
from wrenla.aws.none_if_absent import none_if
from wrenla.aws.regions import region_of
from wrenla.aws.resolve import resolve
from wrenla.aws.resources.function import find_function
from wrenla.aws.resources.lifecycle import DAYS, Lifecycle
from wrenla.aws.spec import DeploySpec, ResolvedSpec, bucket_args
from wrenla.executors.aws_lambda.handshake import PING
from wrenla.executors.local.doctor import Check
from wrenla.executors.measured import keep_function_rates
from wrenla.executors.transport.versions import differences
from wrenla_handler.aws_errors import error_status, is_not_accepted
from wrenla_handler.machine import processors
from wrenla_handler.rates import Rates
from wrenla_handler.threads import Threads
from wrenla_kernels import OLD_CORES

__all__ = ["Check", "examine"]

_TILE, _TIMES = 8 << 20, 5
"""Bytes of what is put and read, and how often a request is timed."""

_AT_ONCE = 8
"""Emulated functions that are measured at the same time, at most."""

_SLOW_CORES = OLD_CORES | {"generic", "armv8"}
"""Kernels of a processor that is old, or of any: OpenBLAS does not know the one that it runs on."""

_DEPLOY = "run wrenla deploy"

_BOUNDS = (
    "if it stays (a new role takes a minute), look at what else bounds the role: a permissions boundary, the "
    "organization's policies (SCP), the bucket's policy, the policy of its KMS key"
)


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
    for name, run, needs in _CHECKS:
        yield examination.check(name, run, needs)


class _Examination:
    """The checks, and what they have found for those after them."""

    _clients: Clients
    _spec: ResolvedSpec
    _invoke: Invoke

    def __init__(self, session: Any, spec: DeploySpec, invoke: Invoke | None) -> None:
        self._session, self._given = session, invoke
        self._named = spec
        self._fine: set[str] = set()
        self._who: Mapping[str, str] = {}
        self._refused: Exception | None = None
        self._unknown: DeployError | None = None
        self._pong: Mapping[str, Any] = {}
        self._deployed = "", 0
        self._handing = 0.0
        self._of_driver: dict[str, Any] = {}

    def check(self, name: str, run: Callable[[_Examination], str], needs: Iterable[str]) -> Check:
        lacking = [need for need in needs if need not in self._fine]
        if lacking:
            return Check(name, "skipped", f"needs: {', '.join(lacking)}")
        try:
            with translating():
                text = run(self)
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
        return f"{self._who['Arn']}, account {self._spec.account}"

    def _connect(self) -> None:
        try:
            with translating():
                self._clients, self._spec = connect(self._session, self._named)
        except DeployError as error:
            if is_not_accepted(error.__cause__):  # not every S3 and emulator checks signatures
                raise
            # It asks for the function, too, which is a line of its own. What the function would have told of
            # bucket and prefix is as for a new one then, or as given.
            self._unknown = error
            made = (self._session.client(name, config=_config()) for name in ("s3", "iam", "lambda", "logs"))
            self._clients, region = Clients(*made), self._session.region_name
            partition = self._session.get_partition_for_region(region)
            self._spec = resolve(self._named, self._who["Account"], region, partition)
        self._invoke = self._given or invoking(self._clients.lambda_)

    def _function(self) -> str:
        if self._unknown is not None:
            raise self._unknown
        spec = self._spec
        found = find_function(self._clients, spec)
        if found is None:
            raise _Wrong(
                f"there is no function {spec.function} in {spec.region}",
                f"{_DEPLOY}, or check --function and --region",
            )
        states = found.get("State", "Active"), found.get("LastUpdateStatus", "Successful")
        if states[0] not in ("Active", "Inactive") or states[1] != "Successful":
            reason = found.get("StateReason") or found.get("LastUpdateStatusReason") or "no reason given"
            raise _Wrong(f"function {spec.function} is {'/'.join(states)}: {reason}", _DEPLOY)
        variables = found.get("Environment", {}).get("Variables", {})
        for name, mine in (("bucket", spec.bucket), ("prefix", spec.prefix)):
            theirs = variables.get(f"WRENLA_{name.upper()}")
            if theirs is None:
                raise _Wrong(
                    f"function {spec.function} has no {name}: it is not one that wrenla has made",
                    "check --function, or choose another name with it",
                )
            if theirs != mine:
                raise _Wrong(
                    f"function {spec.function} has {name} {theirs}, not {mine}", f"leave --{name} out"
                )
        memory, seconds = found["MemorySize"], found["Timeout"]
        self._deployed = found["FunctionArn"], memory
        return f"{spec.function}: {found.get('Runtime', 'image')}, {memory} MB, {seconds} s"

    def _bucket(self) -> str:
        """List one key: the prefix is all that who runs may look at, so HEAD would be refused."""
        from botocore.exceptions import ClientError

        spec = self._spec
        if self._unknown is not None and not self._named.bucket:
            raise _Skipped("which one it is says the function (needs: function, or --bucket)")
        try:
            found = none_if(
                self._clients.s3.list_objects_v2,
                "NoSuchBucket",
                Prefix=f"{spec.prefix}/",
                MaxKeys=1,
                **bucket_args(spec),
            )
        except ClientError as error:
            if not is_denied(error) or "not authorized" in str(error):
                raise
            raise _Wrong(
                f"bucket {spec.bucket}: access denied",
                "either another account has it, then choose another name with --bucket, or these credentials "
                f"need s3:ListBucket on {spec.bucket_arn} for {spec.prefix}/*",
            ) from error
        if found is None:
            what = "--bucket" if self._named.bucket else "--function and --region"
            raise _Wrong(f"there is no bucket {spec.bucket}", f"check {what}, or {_DEPLOY}")
        headers = found["ResponseMetadata"].get("HTTPHeaders", {})
        region = headers.get("x-amz-bucket-region", spec.region)  # boto3 has followed S3 to it
        if region != spec.region and not self._clients.emulated:
            raise _Wrong(
                f"bucket {spec.bucket} is in {region}, the function in {spec.region}: "
                "every tile crosses regions, which is slow and is billed",
                f"deploy with --region {region}, or with another --bucket",
            )
        return f"s3://{spec.bucket}/{spec.prefix}"

    def _lifecycle(self) -> str:
        from botocore.exceptions import ClientError

        try:
            lifecycle = Lifecycle.of(self._clients, self._spec)
        except ClientError as error:
            if not is_denied(error):
                raise
            raise _Skipped(
                "only who deploys needs to see the bucket's rules (s3:GetLifecycleConfiguration)"
            ) from error
        if lifecycle.with_ours(self._spec) != lifecycle:
            raise _Wrong(f"there is no rule {self._spec.lifecycle_rule}: leftovers stay for ever", _DEPLOY)
        return f"what failed runs leave goes after {DAYS} days"

    def _throughput(self) -> str:
        """Put and get one tile from here, below the prefix; functions in the region are faster."""
        from botocore.exceptions import ClientError

        s3, tile = self._clients.s3, os.urandom(_TILE)
        place = {"Key": f"{self._spec.temporaries}doctor-{uuid.uuid4().hex}", **bucket_args(self._spec)}
        begun = time.perf_counter()
        try:
            s3.put_object(Body=tile, **place)
        except ClientError as error:
            told = str(error)
            if not is_denied(error) or ("not authorized" in told and "s3:PutObject" not in told):
                raise
            raise _Skipped(
                f"only who runs needs to write below {self._spec.temporaries} (s3:PutObject)"
            ) from error
        try:
            put = time.perf_counter()
            same = s3.get_object(**place)["Body"].read() == tile
            got = time.perf_counter()
            request = _typical(lambda: s3.get_object(Range="bytes=0-7", **place)["Body"].read())
            sent, gathered = _TILE / (put - begun), _TILE / (got - put)
            self._of_driver = {"request": request, "sent": sent, "gathered": gathered}
        finally:
            s3.delete_object(**place)
        if not same:
            raise _Wrong("a tile came back with other bytes", "check what stands between here and S3 (proxy)")
        return f"8 MiB from here: {_rates(_TILE, put - begun, got - put)}"

    def _round_trip(self) -> str:
        begun = time.perf_counter()
        self._pong = self._invoke(self._spec.function, PING)
        first = time.perf_counter() - begun
        if self._pong.get("kind") != "pong":
            kind = self._pong.get("kind")
            raise _Wrong(f"the function answers {kind!r} to a ping: it is not of this version", _DEPLOY)
        self._handing = _typical(lambda: self._invoke(self._spec.function, PING))
        return f"first {first:.2f} s, then {self._handing:.3f} s"

    def _tile_there(self) -> str:
        """Let the function look for, put, get and delete a tile, to test its rights, and keep its rates."""
        url = f"s3://{self._spec.bucket}/{self._spec.temporaries.rstrip('/')}"
        self._asked(PING)  # all of them are there before one is measured
        answer = self._asked({**PING, "store": url})
        found = answer.get("store")
        if not isinstance(found, Mapping):
            raise _Wrong("the function did not try its bucket: it is of an earlier version", _DEPLOY)
        if "failed" not in found:
            text = f"8 MiB from the function: {_rates(found['nbytes'], found['put'], found['get'])}"
            if not (measured := answer.get("rates")):
                return text
            written, read = (found["nbytes"] / found[name] for name in ("put", "get"))
            rates = Rates.from_plain(measured).at_store(read, written).behind(self._handing)
            rates = replace(rates, **self._of_driver)
            keep_function_rates(*self._deployed, rates)
            return f"{text}, {rates.curve('gemm').flops / 1e9:.3g} GFLOP/s: plans count with that"
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
        role = self._spec.role
        give = f"give the role {role} what it needs" if role else _DEPLOY
        raise _Wrong(f"{what}: access denied; {text}", f"{give}; {_BOUNDS}")

    def _asked(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ask the function; an emulated one as often at once as it runs at once: they share a machine."""
        count = min(_AT_ONCE, processors()) if self._clients.emulated else 1
        with Threads(count, "wrenla-doctor") as pool:
            asked = [pool.submit(self._invoke, self._spec.function, event) for _ in range(count)]
        # the function may be limited to fewer at a time: one answer is enough
        answered = [each for each in asked if each.exception() is None]
        return (answered or asked)[0].result()

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


_CHECKS: tuple[tuple[str, Callable[[_Examination], str], tuple[str, ...]], ...] = (
    ("region", _Examination._region, ()),
    ("network", _Examination._network, ("region",)),
    ("credentials", _Examination._credentials, ("region",)),
    ("function", _Examination._function, ("credentials",)),
    ("bucket", _Examination._bucket, ("credentials",)),
    ("clearing up", _Examination._lifecycle, ("bucket", "function")),
    ("tile throughput", _Examination._throughput, ("bucket",)),
    ("round trip", _Examination._round_trip, ("function",)),
    ("function's tile", _Examination._tile_there, ("round trip",)),
    ("versions", _Examination._versions, ("round trip",)),
    ("BLAS", _Examination._blas, ("round trip",)),
)
"""Checks in their order: name, what runs it, and which others must have gone well before."""


def _config() -> Any:
    from botocore.config import Config

    return Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 3})


def _typical(work: Callable[[], object]) -> float:
    """Return the median of the seconds of some repetitions."""
    spent = []
    for _ in range(_TIMES):
        begun = time.perf_counter()
        work()
        spent.append(time.perf_counter() - begun)
    return statistics.median(spent)


def _rates(nbytes: int, put: float, got: float) -> str:
    return f"put {nbytes / 1e6 / put:.0f} MB/s, get {nbytes / 1e6 / got:.0f} MB/s"
