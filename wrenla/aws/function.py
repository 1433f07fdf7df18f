"""The function itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from wrenla.aws.asking import ask
from wrenla.aws.clients import Clients
from wrenla.aws.code import code_key
from wrenla.aws.package import Package
from wrenla.aws.refusals import DeployError
from wrenla.aws.spec import Site
from wrenla.aws.step import Change, until

__all__ = ["Function", "find_function"]

_HANDLER = "wrenla_handler.app.handle"
_NONE = "ResourceNotFoundException"

_ROLE_SECONDS = 90.0
"""A new role is known everywhere after some 10 s."""

_READY_SECONDS = 300.0


def find_function(clients: Clients, site: Site) -> Any:
    """Return the function's configuration, or None."""
    return ask(clients.lambda_.get_function_configuration, _NONE, FunctionName=site.function)


class Function:
    """The function: code, configuration, tags, and that Lambda runs no failed call again by itself."""

    def __init__(self, clients: Clients, site: Site, package: Package) -> None:
        self._lambda, self._clients, self._site, self._package = clients.lambda_, clients, site, package

    def look(self) -> Iterator[Change]:
        name, spec = self._site.function, self._site.spec
        found = find_function(self._clients, self._site)
        if found is None:
            what = f"Python {self._site.python}, {spec.arch}, {spec.memory} MB, {spec.timeout} s"
            yield Change(f"create function {name} ({what})", self._create)
        else:
            yield from self._settings(found)
        found = ask(self._lambda.get_function_event_invoke_config, _NONE, FunctionName=name)
        if found is None or found.get("MaximumRetryAttempts") != 0:
            yield Change(
                f"let Lambda not run failed calls of {name} again",
                lambda: self._lambda.put_function_event_invoke_config(
                    FunctionName=name, MaximumRetryAttempts=0
                ),
            )

    def _settings(self, found: Mapping[str, Any]) -> Iterator[Change]:
        name = self._site.function
        tags = self._lambda.list_tags(Resource=self._site.function_arn)["Tags"]
        if "wrenla" not in tags:
            raise DeployError(
                f"function {name}: there is one that wrenla has not made; choose another name with --function"
            )
        if not self._site.tags.items() <= tags.items():
            yield Change(
                f"tag function {name}",
                lambda: self._lambda.tag_resource(Resource=self._site.function_arn, Tags=self._site.tags),
            )
        arch = [self._site.spec.arch]
        if found["CodeSha256"] != self._package.base64 or found.get("Architectures", ["x86_64"]) != arch:
            yield Change(f"update the code of function {name}", self._update_code)
        different = _differences(found, self._configuration())
        if different:
            yield Change(f"change function {name}: {', '.join(different)}", self._update_configuration)

    def _configuration(self) -> dict[str, Any]:
        spec, site = self._site.spec, self._site
        return {
            "Runtime": f"python{site.python}",
            "Handler": _HANDLER,
            "Role": site.role_arn,
            "Description": "Runs tile tasks and calls of wrenla; made by wrenla deploy",
            "Timeout": spec.timeout,
            "MemorySize": spec.memory,
            "EphemeralStorage": {"Size": spec.storage},
            "Environment": {
                "Variables": {
                    **spec.environment,
                    "WRENLA_BUCKET": site.bucket,
                    "WRENLA_PREFIX": site.prefix,
                    "WRENLA_BUCKET_OWNER": site.account,
                }
            },
        }

    def _code(self) -> dict[str, Any]:
        return {"S3Bucket": self._site.bucket, "S3Key": code_key(self._site, self._package)}

    def _create(self) -> None:
        self._as_soon_as_the_role_works(
            lambda: self._lambda.create_function(
                FunctionName=self._site.function,
                Code=self._code(),
                PackageType="Zip",
                Architectures=[self._site.spec.arch],
                Tags=self._site.tags,
                **self._configuration(),
            )
        )
        self._wait()

    def _update_code(self) -> None:
        self._wait()
        self._lambda.update_function_code(
            FunctionName=self._site.function, Architectures=[self._site.spec.arch], **self._code()
        )
        self._wait()

    def _update_configuration(self) -> None:
        self._wait()
        self._as_soon_as_the_role_works(
            lambda: self._lambda.update_function_configuration(
                FunctionName=self._site.function, **self._configuration()
            )
        )
        self._wait()

    def _as_soon_as_the_role_works(self, call: Callable[[], object]) -> None:
        """Call again as long as Lambda does not know of a role that was made a moment ago."""
        from botocore.exceptions import ClientError

        deadline, pause = time.monotonic() + _ROLE_SECONDS, 1.0
        while True:
            try:
                call()
                return
            except ClientError as error:
                unknown = "cannot be assumed" in str(error) or "assume the role" in str(error)
                if not unknown or time.monotonic() + pause > deadline:
                    raise
            time.sleep(pause)
            pause = min(1.5 * pause, 8.0)

    def _wait(self) -> None:
        """Wait until the function is there, and the last change to it is done.

        Raises
        ------
        DeployError
            Lambda says that it failed, and why; or it takes too long.
        """

        def ready() -> bool:
            found = find_function(self._clients, self._site) or {}
            states = found.get("State", "Active"), found.get("LastUpdateStatus", "Successful")
            if "Failed" in states:
                reason = found.get("StateReason") or found.get("LastUpdateStatusReason") or "no reason given"
                raise DeployError(f"function {self._site.function}: Lambda could not set it up: {reason}")
            return states == ("Active", "Successful")

        until(ready, f"function {self._site.function} is not ready", _READY_SECONDS)


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Name what differs, with both values if they are short. Values of variables are not shown."""
    different = []
    for key, value in wanted.items():
        now = found.get(key)
        if key == "Environment":
            if (now or {}).get("Variables", {}) != value["Variables"]:
                different.append("environment")
        elif now != value:
            different.append(f"{key} {now} → {value}" if isinstance(value, int) else key)
    return different
