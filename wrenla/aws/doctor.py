"""Is everything there that running on AWS needs, and does it work?"""

from __future__ import annotations

import os
import platform
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal

from wrenla.aws.bucket import look_for_bucket
from wrenla.aws.clients import Clients, connect, whose
from wrenla.aws.function import find_function
from wrenla.aws.invoking import PING, Invoke, invoking
from wrenla.aws.lifecycle import DAYS, Lifecycle
from wrenla.aws.refusals import DeployError, explaining
from wrenla.aws.spec import DeploySpec, Site

__all__ = ["Check", "examine"]

_TILE = 8 << 20

_SLOW_CORES = frozenset(
    {"prescott", "core2", "penryn", "dunnington", "nehalem", "sandybridge", "generic", "armv8"}
)
"""What OpenBLAS computes with that takes the processor for an old one, at a fraction of its speed."""

_DEPLOY = "run wrenla deploy"


@dataclass(frozen=True, slots=True)
class Check:
    """What came out of one check.

    Attributes
    ----------
    name : str
    state : {"ok", "failed", "skipped"}
        Skipped is what something that failed before stands in the way of.
    text : str
        What was seen.
    remedy : str
        What to do if it failed.
    """

    name: str
    state: Literal["ok", "failed", "skipped"]
    text: str
    remedy: str = ""


class _Wrong(Exception):
    """Something is not as it should be: what, and what to do."""


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
    try:
        with explaining():
            clients, site = connect(session, spec or DeploySpec())
            who = session.client("sts").get_caller_identity()["Arn"]
    except DeployError as error:
        cause, _, remedy = str(error).partition(": ")
        yield Check("credentials", "failed", cause, remedy)
        for name in ("region", *_Examination.CHECKS):
            yield Check(name, "skipped", "there are no working credentials, or no region")
        return
    yield Check("credentials", "ok", f"{who}, account {site.account}")
    yield Check("region", "ok", site.region)
    examination = _Examination(clients, site, invoke or invoking(clients.lambda_))
    for name in _Examination.CHECKS:
        yield examination.check(name)


class _Examination:
    """The checks that need AWS, and what they have found for those after them."""

    CHECKS: tuple[str, ...] = (
        "bucket",
        "clearing up",
        "tile throughput",
        "function",
        "round trip",
        "versions",
        "BLAS",
    )

    _NEEDS: Mapping[str, str] = {
        "clearing up": "bucket",
        "tile throughput": "bucket",
        "round trip": "function",
        "versions": "round trip",
        "BLAS": "round trip",
    }

    def __init__(self, clients: Clients, site: Site, invoke: Invoke) -> None:
        self._clients, self._site, self._invoke = clients, site, invoke
        self._fine: set[str] = set()
        self._pong: Mapping[str, Any] = {}
        self._runs: Mapping[str, Callable[[], str]] = dict(
            zip(
                self.CHECKS,
                (
                    self._bucket,
                    self._lifecycle,
                    self._throughput,
                    self._function,
                    self._round_trip,
                    self._versions,
                    self._blas,
                ),
                strict=True,
            )
        )

    def check(self, name: str) -> Check:
        need = self._NEEDS.get(name)
        if need is not None and need not in self._fine:
            return Check(name, "skipped", f"needs: {need}")
        try:
            with explaining():
                text = self._runs[name]()
        except _Wrong as error:
            return Check(name, "failed", *error.args)
        except DeployError as error:
            what, _, remedy = str(error).rpartition(": ")
            return Check(name, "failed", what or remedy, remedy if what else "")
        self._fine.add(name)
        return Check(name, "ok", text)

    def _bucket(self) -> str:
        if not look_for_bucket(self._clients, self._site):
            raise _Wrong(f"there is no bucket {self._site.bucket}", f"{_DEPLOY}, or check --region")
        found = self._clients.s3.head_bucket(**whose(self._site))
        region = found.get("BucketRegion", self._site.region)
        if region != self._site.region:
            raise _Wrong(
                f"bucket {self._site.bucket} is in {region}, the function in {self._site.region}: "
                "every tile crosses regions, which is slow and is billed",
                f"deploy with --region {region}, or with another --bucket",
            )
        return f"s3://{self._site.bucket}/{self._site.prefix}"

    def _lifecycle(self) -> str:
        lifecycle = Lifecycle.of(self._clients, self._site)
        if lifecycle.with_ours(self._site) != lifecycle:
            raise _Wrong(f"there is no rule {self._site.lifecycle_rule}: leftovers stay for ever", _DEPLOY)
        return f"what failed runs leave goes after {DAYS} days"

    def _throughput(self) -> str:
        """Put and get one tile from here, below the prefix; functions in the region are faster."""
        s3, tile = self._clients.s3, os.urandom(_TILE)
        place = {"Key": f"{self._site.temporaries}doctor-{uuid.uuid4().hex}", **whose(self._site)}
        begun = time.perf_counter()
        s3.put_object(Body=tile, **place)
        try:
            put = time.perf_counter()
            same = s3.get_object(**place)["Body"].read() == tile
            got = time.perf_counter()
        finally:
            s3.delete_object(**place)
        if not same:
            raise _Wrong("a tile came back with other bytes", "check what stands between here and S3 (proxy)")
        rates = (_TILE / 1e6 / seconds for seconds in (put - begun, got - put))
        return "8 MiB from here: put {:.0f} MB/s, get {:.0f} MB/s".format(*rates)

    def _function(self) -> str:
        found = find_function(self._clients, self._site)
        if found is None:
            raise _Wrong(f"there is no function {self._site.function} in {self._site.region}", _DEPLOY)
        states = found.get("State", "Active"), found.get("LastUpdateStatus", "Successful")
        if states != ("Active", "Successful"):
            reason = found.get("StateReason") or found.get("LastUpdateStatusReason") or "no reason given"
            raise _Wrong(f"function {self._site.function} is {'/'.join(states)}: {reason}", _DEPLOY)
        bucket = found.get("Environment", {}).get("Variables", {}).get("WRENLA_BUCKET")
        if bucket != self._site.bucket:
            raise _Wrong(
                f"function {self._site.function} has bucket {bucket}, not {self._site.bucket}",
                f"{_DEPLOY}, or leave --bucket out",
            )
        memory, seconds = found["MemorySize"], found["Timeout"]
        return f"{self._site.function}: {found.get('Runtime', 'image')}, {memory} MB, {seconds} s"

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

    def _versions(self) -> str:
        """Compare the versions that results and pickles depend on."""
        theirs = {"python": self._pong["python"], **self._pong["packages"]}
        mine = {name: _version(name) for name in theirs}
        different = [
            f"{name} {theirs[name]} there, {mine[name]} here"
            for name in theirs
            if (
                _minor(theirs[name]) != _minor(mine[name]) if name == "python" else theirs[name] != mine[name]
            )
        ]
        if different:
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


def _version(name: str) -> str:
    if name == "python":
        return platform.python_version()
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
