"""Floor of the Lambda emulator: what a call takes without wrenla, which benchmarks of calls subtract."""

from __future__ import annotations

import contextlib
import io
import statistics
import threading
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection

from wrenla.emulator import LambdaEmulator
from wrenla.emulator.api.http import Request
from wrenla.emulator.backend.signatures import sign
from wrenla.emulator.runtime.runtime import ARCHITECTURE, RUNTIME
from wrenla.errors import WrenlaError

__all__ = ["Floor", "measure"]


@dataclass(frozen=True, slots=True)
class Floor:
    """Times of calls to a function that does nothing.

    Parameters
    ----------
    calls, concurrency : int
    median, slowest : float
        Seconds that one call takes its caller.
    per_call : float
        Seconds for all calls, divided by their number: what the machine can do.
    """

    calls: int
    concurrency: int
    median: float
    slowest: float
    per_call: float


def _trivial_package() -> bytes:
    """Return the zip of a function that returns its event; its handler is ``trivial.handler``."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        member = zipfile.ZipInfo("trivial.py")
        member.external_attr = 0o644 << 16
        archive.writestr(member, "def handler(event, context):\n    return event\n")
    return file.getvalue()


def measure(aws: LambdaEmulator, calls: int = 400, concurrency: int = 8, payload: bytes = b"{}") -> Floor:
    """Call a function that returns its event many times, through connections that stay open.

    Parameters
    ----------
    aws : LambdaEmulator
    calls, concurrency : int
    payload : bytes
        JSON.

    Raises
    ------
    WrenlaError
        A call fails.
    """
    session = aws.session()
    keys = session.get_credentials()
    credentials = keys.access_key, keys.secret_key, aws.region
    url, function = aws.lambda_url, f"{aws.function}-floor"
    client = session.client("lambda")
    with contextlib.suppress(client.exceptions.ResourceConflictException):  # it is there already
        client.create_function(
            FunctionName=function,
            Runtime=RUNTIME,
            Role=aws.role,
            Handler="trivial.handler",
            Code={"ZipFile": _trivial_package()},
            MemorySize=1769,
            Architectures=[ARCHITECTURE],
        )
    host = url.removeprefix("http://")
    path = f"/2015-03-31/functions/{function}/invocations"
    times: list[float] = []
    ready = threading.Barrier(concurrency + 1)

    def work(count: int, warm: int) -> None:
        connection = HTTPConnection(host, timeout=120)
        try:
            call = _caller(connection, host, path, payload, credentials)
            for _ in range(warm):
                call()
            ready.wait()
            for _ in range(count):
                begun = time.perf_counter()
                call()
                times.append(time.perf_counter() - begun)
        except BaseException:
            ready.abort()
            raise
        finally:
            connection.close()

    with ThreadPoolExecutor(concurrency) as threads:
        shares = [calls // concurrency + (number < calls % concurrency) for number in range(concurrency)]
        futures = [threads.submit(work, share, 5) for share in shares]
        try:
            ready.wait()
        except threading.BrokenBarrierError:
            for future in futures:
                future.result()
        begun = time.perf_counter()
        for future in futures:
            future.result()
        took = time.perf_counter() - begun
    return Floor(calls, concurrency, statistics.median(times), max(times), took / calls)


def _caller(
    connection: HTTPConnection, host: str, path: str, payload: bytes, credentials: tuple[str, str, str]
) -> Callable[[], None]:
    def call() -> None:
        headers = {"host": host, "x-amz-date": time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())}
        headers["Authorization"] = sign(Request("POST", path, headers, payload), *credentials)
        connection.request("POST", path, payload, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200 or answer.getheader("X-Amz-Function-Error"):
            raise WrenlaError(f"a call of the measurement failed with status {answer.status}: {text[:500]!r}")

    return call
