"""`LambdaEmulator`: the Lambda emulator as a context manager."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self, get_args

from wrenla.aws.deploy import DeploySpec
from wrenla.emulator.client import EmulatorProcess
from wrenla.emulator.faults import Fault
from wrenla.emulator.metrics import COUNTED
from wrenla.emulator.options import Isolation, MemoryGuard, Options, Ready
from wrenla.emulator.provision import deploy_package, deploy_wrenla
from wrenla.emulator.runtime.runtime import ARCHITECTURE, RUNTIME
from wrenla.errors import WrenlaError

__all__ = ["LambdaEmulator"]

logger = logging.getLogger("wrenla.aws")

_REMOVED = (
    *("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_CA_BUNDLE"),
    *("AWS_ENDPOINT_URL_IAM", "AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS"),
    *("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"),
)
"""Variables that would lead elsewhere."""

_UNRESERVED = 100
"""Calls at a time that AWS keeps for functions which have none reserved."""


class LambdaEmulator:
    """Lambda emulator: a Lambda on this machine that behaves like the real one, limits and failures included.

    Inside the ``with`` block the environment variables of AWS point to it, and to an S3 beside it, so that no
    call can reach a real account; behind it they are as they were. Linux only; needs ``wrenla[emulator]``.
    The first start builds the package of the function, which takes a minute or two; the logger ``wrenla.aws``
    says at level INFO what is being done.

    Parameters
    ----------
    function : str
        Name of the function.
    memory : int
        MB; also buys processor time, one processor for 1,769.
    timeout : int
        Seconds that a call may take.
    concurrency : int, optional
        Reserved for the function: more calls at a time are refused with status 429.
    account_concurrency : int
        Calls at a time of all functions together; 100 of them cannot be reserved.
    isolation : {"auto", "bubblewrap", "plain"}
        How functions are kept apart from this machine.
    memory_guard : {"auto", "cgroup", "watcher"}
        What holds them to their memory.
    deploy : bool
        Whether to deploy wrenla's own handler; without, there is no function until somebody makes one.
    environment : mapping, optional
        Environment variables of the function.
    enforce_iam : bool
        Whether policies of users and roles are enforced, conditions on text, ARNs and truth values included:
        for the function, its role's. Policies of buckets, and who may assume a role, are not.
    package : path, optional
        A zip to run instead of wrenla's handler.
    handler : str
        Module and function in `package`.
    runtime : str, optional
        Such as ``python3.11``; that of this Python is all there is.
    storage : int
        MB of ``/tmp``.
    port : int
        Of the Lambda API; 0 for one that is free.
    region : str

    Attributes
    ----------
    function, bucket, prefix, role : str
        What was deployed, and where it may keep objects.
    variables : dict
        The environment variables that point to it.
    removed : tuple of str
        Those that would lead elsewhere, and are not there inside.
    lambda_url, s3_url, region : str
    isolation, memory_guard : str
        What "auto" has come to.
    missing : tuple of str
        Protection that the real Lambda has and this one has not, in words.

    Raises
    ------
    ValueError
        An argument is out of its range.
    WrenlaError
        It cannot be had on this machine; the message says why.

    Examples
    --------
    >>> with LambdaEmulator() as aws:  # doctest: +SKIP
    ...     boto3.client("lambda").invoke(FunctionName=aws.function, Payload=b"{}")
    """

    def __init__(
        self,
        *,
        function: str = "wrenla",
        memory: int = 1769,
        timeout: int = 60,
        concurrency: int | None = None,
        account_concurrency: int = 1000,
        isolation: Isolation = "auto",
        memory_guard: MemoryGuard = "auto",
        deploy: bool = True,
        environment: Mapping[str, str] | None = None,
        enforce_iam: bool = False,
        package: str | os.PathLike[str] | None = None,
        handler: str = "",
        runtime: str | None = None,
        storage: int = 512,
        port: int = 0,
        region: str = "us-east-1",
    ) -> None:
        if (package is None) != (not handler):
            raise ValueError("package and handler go together: handler='module.function' is in the zip")
        if runtime not in (None, RUNTIME):
            raise ValueError(f"runtime={runtime!r}: the emulator has {RUNTIME} only, that of this Python")
        _check_choice("isolation", isolation, get_args(Isolation))
        _check_choice("memory_guard", memory_guard, get_args(MemoryGuard))
        _check_number("memory", memory, 128, 10_240)
        _check_number("timeout", timeout, 1, 900)
        _check_number("storage", storage, 512, 10_240)
        _check_number("port", port, 0, 65_535)
        _check_number("account_concurrency", account_concurrency, 1)
        if concurrency is not None:
            why = f", for {_UNRESERVED} of account_concurrency={account_concurrency} cannot be reserved"
            _check_number("concurrency", concurrency, 1, account_concurrency - _UNRESERVED, why)
        self.function = function
        self.bucket = self.prefix = self.role = ""
        self.region = region
        self._spec = DeploySpec(
            function=function,
            memory=memory,
            timeout=timeout,
            storage=storage,
            arch=ARCHITECTURE,
            environment=dict(environment or {}),
        )
        self.removed = _REMOVED
        self._concurrency = concurrency
        self._deploy = deploy
        self._package, self._handler = package, handler
        self._options = Options(
            os.getpid(), isolation, memory_guard, account_concurrency, enforce_iam, region, port
        )
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        _check_machine()
        logger.info("starting a Lambda and an S3 on this machine")
        with contextlib.ExitStack() as undo:
            self._emulator = EmulatorProcess(self._options)
            undo.callback(self._emulator.close)
            ready = self._emulator.ready
            self.lambda_url, self.s3_url = ready.lambda_url, ready.s3_url
            self.isolation, self.memory_guard = ready.isolation, ready.memory_guard
            self.missing = ready.missing
            self.variables = _variables(ready, self.region)
            # Before the function is made: deploying finds the emulator by these variables.
            undo.enter_context(_environment(self.variables))
            self._provision()
            # Last: whatever fails above ends what has been started.
            self._stack = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def pid(self) -> int:
        """Number of the emulator's process."""
        return self._emulator.ready.pid

    def session(self) -> Any:
        """Return a boto3 session of its own, with the emulator's keys."""
        import boto3

        ready = self._emulator.ready
        return boto3.Session(ready.key, ready.secret, region_name=self.region)

    def faults(self, *rules: Fault | Mapping[str, Any]) -> None:
        """Make some of the calls from now on go wrong; without rules, none.

        Parameters
        ----------
        rules : Fault or mapping
            The first that hits a call decides. See `Fault`.

        Examples
        --------
        >>> aws.faults({"kind": "kill-after", "calls": [2]}, {"kind": "delay", "first": 3})  # doctest: +SKIP
        """
        self._emulator.ask("PUT", "/_emulator/faults", [asdict(Fault.of(rule)) for rule in rules])

    def counts(self) -> dict[str, int]:
        """Return how often things have happened.

        Returns
        -------
        dict
            ``invocations`` that were asked for, ``executions`` that have ended, ``cold_starts``,
            ``throttles`` and ``faults``.
        """
        found: dict[str, int] = self._emulator.ask("GET", "/_emulator/counts")
        return dict.fromkeys(COUNTED, 0) | found

    def logs(self) -> str:
        """Return the newest megabyte of all functions' logs; they are in CloudWatch Logs, too."""
        return str(self._emulator.ask("GET", "/_emulator/logs"))

    def check(self) -> None:
        """Raise an error if the emulator has ended by itself, which it does not."""
        self._emulator.check()

    def _provision(self) -> None:
        """Make the function."""
        if self._package is not None:
            package = Path(self._package)
            self.bucket, self.role = deploy_package(self.session(), self._spec, package, self._handler)
        elif self._deploy:
            deployed = deploy_wrenla(self.session(), self._spec)
            self.bucket, self.prefix, self.role = deployed.bucket, deployed.prefix, deployed.role_arn
        else:
            return
        if self._concurrency is not None:
            self.session().client("lambda").put_function_concurrency(
                FunctionName=self.function, ReservedConcurrentExecutions=self._concurrency
            )


def _check_number(name: str, value: int, least: int, most: int | None = None, why: str = "") -> None:
    if not isinstance(value, int) or value < least or (most is not None and value > most):
        many = f"{least} or more" if most is None else f"from {least} to {most}"
        allowed = (
            "none can be had" if most is not None and most < least else f"it takes a whole number {many}"
        )
        raise ValueError(f"{name}={value!r}: {allowed}{why}")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name}={value!r}: it takes {', '.join(map(repr, choices))}")


def _check_machine() -> None:
    if platform.system() != "Linux":
        raise WrenlaError(f"the Lambda emulator needs Linux, and this is {platform.system()}")
    try:
        import awslambdaric
        import moto
        import werkzeug
    except ImportError as error:
        raise WrenlaError(f"the Lambda emulator: {error}: pip install 'wrenla[emulator]'") from None
    del awslambdaric, moto, werkzeug


def _variables(ready: Ready, region: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": ready.s3_url,
        "AWS_ENDPOINT_URL_S3": ready.s3_url,
        "AWS_ENDPOINT_URL_LAMBDA": ready.lambda_url,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_ACCESS_KEY_ID": ready.key,
        "AWS_SECRET_ACCESS_KEY": ready.secret,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, and restore what was there; and boto3's own session, which has read them."""
    import boto3

    session, boto3.DEFAULT_SESSION = boto3.DEFAULT_SESSION, None
    names = {*variables, *_REMOVED}
    before = {name: os.environ.get(name) for name in names}
    for name in _REMOVED:
        os.environ.pop(name, None)
    os.environ.update(variables)
    try:
        yield
    finally:
        boto3.DEFAULT_SESSION = session
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
