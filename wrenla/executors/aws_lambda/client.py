"""Client of one function on AWS Lambda: configuration, invocation, meaning of its answers."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from wrenla.errors import (
    CallError,
    EventError,
    Lost,
    NeverStarted,
    OutOfMemory,
    ServiceError,
    Throttled,
    TimedOut,
    WorkerDied,
    WrenlaError,
)
from wrenla.executors.aws_lambda.interruptible import Connections, allow_open_files
from wrenla_handler.aws_errors import THROTTLED, error_message, error_status, in_line, remedy
from wrenla_handler.stores.s3.credentials import renewing_session
from wrenla_handler.stores.s3.keep_alive import keep_alive

__all__ = ["MOST_SENT", "Billing", "Function", "FunctionFacts", "Reply"]

MOST_SENT = 6 * 1024 * 1024
"""Bytes that Lambda takes as one request."""

_SPARE = 30.0
"""Seconds for which an answer is awaited past the function's own limit: a cold start is not part of it."""

_REPORT = re.compile(
    r"^REPORT RequestId: \S+\tDuration: (?P<duration>[\d.]+) ms\tBilled Duration: (?P<billed>[\d.]+) ms\t"
    r"Memory Size: (?P<size>\d+) MB\tMax Memory Used: (?P<peak>\d+) MB"
    r"(?:\s+Init Duration: (?P<init>[\d.]+) ms)?",
    re.MULTILINE,
)
_OURS = re.compile(r"^(?:START|END|REPORT|INIT_\w+) RequestId: .*\n?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class FunctionFacts:
    """A function as it is deployed.

    Attributes
    ----------
    name, arn, account, region, runtime : str
    memory : int
        Megabytes.
    timeout : int
        Seconds.
    arm : bool
        Its processor is AWS's own.
    bucket, prefix : str
        Where it may read and write.
    storage : int
        Megabytes of ``/tmp``.
    """

    name: str
    arn: str
    account: str
    region: str
    runtime: str
    memory: int
    timeout: int
    arm: bool
    bucket: str
    prefix: str
    storage: int = 512


@dataclass(frozen=True, slots=True)
class Billing:
    """Billing of an invocation by its log: seconds, those of a cold start, memory, and output."""

    billed: float = 0.0
    init: float = 0.0
    peak: int = 0
    full: bool = False
    output: str = ""

    @classmethod
    def of(cls, tail: str) -> Billing:
        """Read the tail of a log.

        Examples
        --------
        >>> Billing.of(
        ...     "REPORT RequestId: 1\\tDuration: 1.5 ms\\tBilled Duration: 2 ms\\tMemory Size: 128 MB\\t"
        ...     "Max Memory Used: 40 MB\\n"
        ... ).billed
        0.002
        """
        reports = list(_REPORT.finditer(tail))
        if not reports:
            return cls(output=tail)
        found = reports[-1]  # functions may print what they like
        return cls(
            float(found["billed"]) / 1000,
            float(found["init"] or 0) / 1000,
            int(found["peak"]) << 20,
            int(found["peak"]) >= int(found["size"]),
            _OURS.sub("", tail),
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """Reply of an invocation: the function's answer, or the error in its place."""

    body: bytes
    error: WrenlaError | None
    billing: Billing


class Function:
    """A deployed function. May be used by many threads, each of which has one invocation at a time.

    Parameters
    ----------
    name : str
    session : boto3.Session, optional
        By default boto3's own settings; credentials may be renewed while it is in use.
    connections : int
        Invocations at the same time.
    """

    def __init__(self, name: str, session: Any = None, connections: int = 1) -> None:
        from botocore.config import Config

        self.name = name
        with self._translated():
            self._session = session or renewing_session()
        self.facts = self._read(Config(retries={"mode": "standard", "total_max_attempts": 4}))
        self._client: Any = self._new_client(
            Config(
                connect_timeout=10,
                read_timeout=self.facts.timeout + _SPARE,
                max_pool_connections=connections,
                # what may be tried again only the queue of calls can tell
                retries={"mode": "standard", "total_max_attempts": 1},
            )
        )
        keep_alive(self._client)
        allow_open_files(connections)
        self._lines = Connections(self._client)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def invoke(self, payload: bytes, told: threading.Event | None = None) -> Reply:
        """Invoke the function and wait for its answer.

        Parameters
        ----------
        payload : bytes
        told : threading.Event, optional
            Whoever calls `hang_up` sets it before: so it works before there is a connection, too.

        Raises
        ------
        Throttled, NeverStarted
            The function surely has not begun.
        Lost
            It may have begun.
        ServiceError
            AWS refuses to invoke it, for the reason that the message tells.
        """
        # Before there is a connection: a `hang_up` that comes until then finds nothing to cut, and `told`
        # stops us.
        self._lines.take(told)
        try:
            with self._translated():
                response = self._client.invoke(FunctionName=self.name, LogType="Tail", Payload=payload)
                body = response["Payload"].read()
        finally:
            self._lines.free()
        billing = Billing.of(_text(response.get("LogResult", "")))
        failed = response.get("FunctionError")
        return Reply(body, _ending(body, billing, self.facts) if failed else None, billing)

    def hang_up(self, thread: threading.Thread) -> None:
        """Break the connection on which a thread waits for an answer, if it does. The function runs on."""
        self._lines.cut(thread)

    def _new_client(self, config: Any) -> Any:
        with self._translated():
            return self._session.client("lambda", config=config)

    def _read(self, config: Any) -> FunctionFacts:
        client = self._new_client(config)
        try:
            with self._translated("lambda:GetFunctionConfiguration"):
                found = client.get_function_configuration(FunctionName=self.name)
        finally:
            client.close()
        _, _, _, region, account, *_ = found["FunctionArn"].split(":")
        environment = found.get("Environment", {})
        if "Error" in environment:  # which would pass for a function without a bucket
            why = in_line(environment["Error"].get("Message", ""))
            raise ServiceError(
                f"{self.name}: its variables cannot be read: {why}; the credentials need kms:Decrypt on the "
                "function's key"
            )
        variables = environment.get("Variables", {})
        return FunctionFacts(
            found["FunctionName"],
            found["FunctionArn"],
            account,
            region,
            found.get("Runtime", ""),
            found["MemorySize"],
            found["Timeout"],
            "arm64" in found.get("Architectures", ()),
            variables.get("WRENLA_BUCKET", ""),
            variables.get("WRENLA_PREFIX", ""),
            found.get("EphemeralStorage", {}).get("Size", 512),
        )

    @contextmanager
    def _translated(self, action: str = "lambda:InvokeFunction") -> Iterator[None]:
        """Turn boto3's errors into ours, with their cause unless the message says all of it."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            refusal = self._refusal(error, action)
            raise refusal from None if isinstance(refusal, ServiceError) else error
        except BotoCoreError as error:
            broken = self._broken(error)
            raise broken from None if isinstance(broken, ServiceError) else error

    def _refusal(self, error: Any, action: str) -> WrenlaError:
        status, code = error_status(error)
        message = error_message(error)
        if status == 429 or code in THROTTLED:
            return Throttled(f"{self.name}: AWS Lambda does not take more calls now: {message}")
        if status == 413:
            code = "RequestTooLargeException"
        about_function = _REMEDIES.get(code, "").format(action=action, region=self._session.region_name)
        if text := remedy(error) or about_function:
            return ServiceError(f"{self.name}: {text}")
        if code.startswith(_UNUSABLE):  # with status 502, and for good
            return ServiceError(
                f"{self.name}: the function cannot start: {code}: {message}; run: wrenla deploy"
            )
        kind = Lost if status >= 500 else ServiceError
        return kind(f"{self.name}: AWS Lambda answered {status} {code}: {message}")

    def _broken(self, error: Exception) -> WrenlaError:
        from botocore import exceptions

        reason = in_line(error)
        match error:
            case _ if general := remedy(error):
                return ServiceError(general)
            case (
                exceptions.EndpointConnectionError()
                | exceptions.ConnectTimeoutError()
                | exceptions.ProxyConnectionError()
            ):
                return NeverStarted(f"{self.name}: AWS Lambda cannot be reached: {reason}")
            case (
                exceptions.ConnectionError()
                | exceptions.HTTPClientError()
                | exceptions.IncompleteReadError()
                | exceptions.ResponseStreamingError()
            ):
                return Lost(f"{self.name}: the connection broke after the call was sent: {reason}")
        return ServiceError(f"{self.name}: {reason}")


_UNUSABLE = ("KMS", "InvalidRuntime", "InvalidZipFile", "InvalidSubnet", "InvalidSecurityGroup", "EFS")

_REMEDIES = {
    "ResourceNotFoundException": (
        "there is no such function in {region}; check name and region (AWS_DEFAULT_REGION), "
        "or make it: wrenla deploy"
    ),
    "AccessDeniedException": "access denied; the credentials need {action} on this function",
    "RequestTooLargeException": (
        "the request is larger than the 6 MB that AWS Lambda takes; pass large values through "
        "executor.broadcast or wrenla.store()"
    ),
}


def _ending(body: bytes, billing: Billing, facts: FunctionFacts) -> WrenlaError:
    """Return the error for a function that ended without an answer of ours."""
    try:
        found = json.loads(body)
        kind, message = str(found.get("errorType", "")), in_line(found.get("errorMessage", ""))
    except (ValueError, AttributeError):
        kind, message = "", in_line(body[:200].decode("utf-8", "replace"))
    where = f"{facts.name} ({facts.memory} MB)"
    if "Task timed out after" in message or kind == "Emulator.Timedout":
        return TimedOut(
            f"{where}: still running at the function's own limit of {facts.timeout} s: do less in one call, "
            "or allow more (wrenla deploy --timeout)"
        )
    if kind == "Runtime.OutOfMemory" or ("signal: killed" in message and billing.full):
        return OutOfMemory(
            f"{where}: killed for using more memory than it has: do less in one call, or give it more "
            "(wrenla deploy --memory)"
        )
    if kind.startswith("Runtime.") and kind not in ("Runtime.ExitError", "Runtime.Unknown"):
        return ServiceError(
            f"{where}: the deployed function cannot start: {kind}: {message}; run: wrenla deploy"
        )
    if kind == "EventError":
        return EventError(message)
    if kind == "Function.ResponseSizeTooLarge":
        return CallError(f"{where}: what it answered is larger than the 6 MB that AWS Lambda hands on")
    return WorkerDied(f"{where}: it ended while it had the call: {kind}: {message}".rstrip(": "))


def _text(encoded: str) -> str:
    """Return the tail of a log, "" if it cannot be read."""
    try:
        return base64.b64decode(encoded).decode("utf-8", "replace")
    except ValueError:
        return ""
