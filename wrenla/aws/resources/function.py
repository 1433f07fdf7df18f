"""Lambda function: create, update, recreate."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from wrenla.aws.connect import Clients
from wrenla.aws.error_messages import DeployError, translating
from wrenla.aws.none_if_absent import none_if
from wrenla.aws.packaging.package import Package
from wrenla.aws.packaging.requirements import VARIABLE
from wrenla.aws.resources.code_upload import code_key
from wrenla.aws.resources.resource import Change, until, until_accepted
from wrenla.aws.spec import ResolvedSpec
from wrenla_handler.aws_errors import error_status

__all__ = ["Function", "MarkForRecreation", "find_function", "has_code", "our_function", "reason_to_recreate"]

_HANDLER = "wrenla_handler.lambda_entry.handle"
_NONE = "ResourceNotFoundException"

_ROLE_SECONDS = 90.0
"""A new role is known everywhere after some 10 s."""

_READY_SECONDS = 300.0

_MARK = "wrenla-made-again"
"""Tag of a function whose role was gone: a deployment that is interrupted does not forget it."""

_NEW_ROLE = re.compile("cannot be assumed|assume the role|invalid for CreateGrant")
"""How Lambda says that it does not know a role yet; its key for variables is granted to the role."""

_NOT_KEPT = ("DeadLetterConfig", "FileSystemConfigs", "KMSKeyArn", "Layers", "VpcConfig")
"""What others may have set on the function, that an update leaves alone, and that a new role may not use."""


def find_function(clients: Clients, spec: ResolvedSpec) -> Any:
    """Return the function's configuration, or None."""
    return none_if(clients.lambda_.get_function_configuration, _NONE, FunctionName=spec.function)


def our_function(clients: Clients, spec: ResolvedSpec) -> Any:
    """Return the function's configuration with its tags under "Tags", or None.

    Raises
    ------
    DeployError
        There is one that wrenla has not made.
    """
    found = find_function(clients, spec)
    if found is None:
        return None
    tags = clients.lambda_.list_tags(Resource=spec.function_arn)["Tags"]
    if "wrenla" not in tags:
        raise DeployError(
            f"function {spec.function}: there is one that wrenla has not made; choose another name with "
            "--function"
        )
    return {**found, "Tags": tags}


def has_code(function: Mapping[str, Any]) -> str | None:
    """Return the hash of the code that a function has; None if it has to be sent whatever it is."""
    failed = "Failed" in _states(function) or _MARK in function["Tags"]
    return None if failed else str(function["CodeSha256"])


def reason_to_recreate(function: Mapping[str, Any]) -> str:
    """Return why an update cannot mend the function; "" if it can."""
    if _MARK in function["Tags"]:
        # What decrypts the variables is granted to the role that was, not to one of the same name.
        return "its role was gone, and it does not work with a new one"
    if _states(function)[0] == "Failed":
        return f"Lambda could not set it up: {_reason(function)}"
    return ""


class MarkForRecreation:
    """Mark for recreation: a tag, set before the role is made again, as nothing shows it afterwards."""

    def __init__(self, clients: Clients, spec: ResolvedSpec, function: Mapping[str, Any]) -> None:
        self._lambda, self._spec, self._function = clients.lambda_, spec, function

    def plan(self) -> Iterator[Change]:
        name, arn = self._spec.function, self._spec.function_arn
        if _MARK not in self._function["Tags"]:
            yield Change(
                f"note that function {name} has to be made again, since its role is gone",
                lambda: self._lambda.tag_resource(Resource=arn, Tags={_MARK: "role"}),
            )


class Function:
    """The function: code, configuration, tags, and no retries by Lambda itself.

    Parameters
    ----------
    role_was_gone : bool, optional
        What is known before `MarkForRecreation` is applied, as it never is if nothing shall be changed.
    """

    def __init__(
        self, clients: Clients, spec: ResolvedSpec, package: Package, *, role_was_gone: bool = False
    ) -> None:
        self._lambda, self._clients, self._spec, self._package = clients.lambda_, clients, spec, package
        self._role_was_gone = role_was_gone

    def plan(self) -> Iterator[Change]:
        name, spec = self._spec.function, self._spec
        self._settle()
        found, again = our_function(self._clients, self._spec), False
        what = f"Python {self._spec.python}, {spec.arch}, {spec.memory} MB, {spec.timeout} s"
        if found is None:
            yield Change(f"create function {name} ({what})", self._create)
        else:
            if self._role_was_gone:
                found["Tags"] = {**found["Tags"], _MARK: "role"}
            why = reason_to_recreate(found)
            again = why != ""
            yield from self._recreation(found, why, what) if again else self._settings(found)
        found = none_if(self._lambda.get_function_event_invoke_config, _NONE, FunctionName=name)
        # it goes with the function, also when nothing shall be changed and the function is still there
        if again or found is None or found.get("MaximumRetryAttempts") != 0:
            yield Change(
                f"let Lambda not run failed calls of {name} again",
                lambda: self._lambda.put_function_event_invoke_config(
                    FunctionName=name, MaximumRetryAttempts=0
                ),
            )

    def _settings(self, found: Mapping[str, Any]) -> Iterator[Change]:
        name = self._spec.function
        if not self._spec.tags.items() <= found["Tags"].items():
            yield Change(
                f"tag function {name}",
                lambda: self._lambda.tag_resource(Resource=self._spec.function_arn, Tags=self._spec.tags),
            )
        if _states(found)[1] == "Failed":
            # The configuration first: that is what updates mostly fail by, and then the code would too.
            why = f"since its last update failed: {_reason(found)}"
            yield Change(
                f"send the configuration of function {name} again, {why}", self._update_configuration
            )
            yield Change(f"send the code of function {name} again", self._update_code)
            return
        arch = [self._spec.arch]
        if found["CodeSha256"] != self._package.base64 or found.get("Architectures", ["x86_64"]) != arch:
            yield Change(f"update the code of function {name}", self._update_code)
        different = _differences(found, self._configuration())
        if different:
            yield Change(f"change function {name}: {', '.join(different)}", self._update_configuration)

    def _recreation(self, found: Mapping[str, Any], why: str, what: str) -> Iterator[Change]:
        """Yield how to delete the function and create it, with what others have set on it if that can be."""
        name, spec = self._spec.function, self._spec
        lost = ["versions", "aliases", "permissions", *(key for key in _NOT_KEPT if _is_set(found.get(key)))]
        reserved, known = self._reserved()
        if not known:
            lost.append("reserved concurrency (to read it needs lambda:GetFunctionConcurrency)")
        kept = "tags" if reserved is None else f"tags and reserved concurrency {reserved}"
        tags = {
            key: value
            for key, value in found["Tags"].items()
            if key != _MARK and not key.startswith("aws:")  # which nobody but AWS may set
        }
        yield Change(
            f"delete function {name} and create it again with its {kept} ({what}, "
            f"s3://{spec.bucket}/{spec.prefix}), since {why}; of what else it had this is lost: "
            f"{', '.join(lost)}",
            lambda: self._recreate(tags, reserved),
        )

    def _reserved(self) -> tuple[int | None, bool]:
        """Return the reserved concurrency, None if there is none, and whether that is known."""
        found = none_if(
            self._lambda.get_function_concurrency, "AccessDeniedException", FunctionName=self._spec.function
        )
        return (found or {}).get("ReservedConcurrentExecutions"), found is not None

    def _configuration(self) -> dict[str, Any]:
        spec = self._spec
        return {
            "Runtime": f"python{spec.python}",
            "Handler": _HANDLER,
            "Role": spec.role_arn,
            "Description": "Runs tile tasks and calls of wrenla; made by wrenla deploy",
            "Timeout": spec.timeout,
            "MemorySize": spec.memory,
            "EphemeralStorage": {"Size": spec.storage},
            "Environment": {
                "Variables": {
                    **spec.environment,
                    **({VARIABLE: spec.remembered} if spec.remembered else {}),
                    "WRENLA_BUCKET": spec.bucket,
                    "WRENLA_PREFIX": spec.prefix,
                    "WRENLA_BUCKET_OWNER": spec.account,
                }
            },
        }

    def _code(self) -> dict[str, Any]:
        return {"S3Bucket": self._spec.bucket, "S3Key": code_key(self._spec, self._package)}

    def _create(self) -> None:
        self._send_new(self._spec.tags)
        self._wait()

    def _send_new(self, tags: Mapping[str, str]) -> None:
        self._send(
            lambda: self._lambda.create_function(
                FunctionName=self._spec.function,
                Code=self._code(),
                PackageType="Zip",
                Architectures=[self._spec.arch],
                Tags=tags,
                **self._configuration(),
            )
        )

    def _recreate(self, tags: Mapping[str, str], reserved: int | None) -> None:
        name, spec = self._spec.function, self._spec
        none_if(self._lambda.delete_function, _NONE, FunctionName=name)
        until(
            lambda: find_function(self._clients, spec) is None,
            f"function {name} is deleted, but still there",
            _READY_SECONDS,
        )
        # what only the function knew is told, since it may be gone for good now
        place = f"--function {name} --bucket {spec.bucket} --prefix {spec.prefix}"
        with _adding(f"function {name} is deleted by now: then run wrenla deploy {place}, and as before"):
            self._send_new({**tags, **spec.tags})
        if reserved is None:
            self._wait()
            return
        with _adding(f"function {name} has lost its reserved concurrency, which was {reserved}"):
            self._wait()
            self._lambda.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=reserved)

    def _update_code(self) -> None:
        self._settle()
        self._lambda.update_function_code(
            FunctionName=self._spec.function, Architectures=[self._spec.arch], **self._code()
        )
        self._wait()

    def _update_configuration(self) -> None:
        self._settle()
        self._send(
            lambda: self._lambda.update_function_configuration(
                FunctionName=self._spec.function, **self._configuration()
            )
        )
        self._wait()

    def _send(self, call: Callable[[], object]) -> None:
        """Create or change the function, as soon as Lambda knows of a role that was made a moment ago."""
        from botocore.exceptions import ClientError

        try:
            until_accepted(call, lambda error: _NEW_ROLE.search(str(error)) is not None, _ROLE_SECONDS)
        except ClientError as error:
            codes = ("InvalidParameterValueException", "ValidationException")
            if error_status(error)[1] not in codes or "memorysize" not in str(error).lower():
                raise
            found = re.search(r"less than or equal to (\d+)", str(error))
            most = found[1] if found else "3008"
            raise DeployError(
                f"function {self._spec.function}: Lambda refuses {self._spec.memory} MB; this account "
                f"may have less memory: --memory {most}, or ask for more in Service Quotas"
            ) from error

    def _settle(self) -> None:
        """Wait until nothing is being done to the function, if there is one, however the last of it ended."""

        def settled() -> bool:
            state, update = _states(find_function(self._clients, self._spec) or {})
            return state != "Pending" and update != "InProgress"

        until(settled, f"function {self._spec.function} is still being changed", _READY_SECONDS)

    def _wait(self) -> None:
        """Wait until the last change to the function is done.

        Raises
        ------
        DeployError
            Lambda says that it failed, and why; or it takes too long.
        """
        self._settle()
        found = find_function(self._clients, self._spec) or {}
        if "Failed" in _states(found):
            raise DeployError(
                f"function {self._spec.function}: Lambda could not set it up: {_reason(found)}: set that "
                "right, then run the same command again"
            )


@contextmanager
def _adding(text: str) -> Iterator[None]:
    """Add a hint to the message of a refusal."""
    try:
        with translating():
            yield
    except DeployError as error:
        raise DeployError(f"{error}; {text}") from error


def _states(found: Mapping[str, Any]) -> tuple[str, str]:
    """Return the state of a function and that of its last update.

    Inactive, which is what a function becomes that is not called for weeks, is as good as Active.
    """
    return found.get("State", "Active"), found.get("LastUpdateStatus", "Successful")


def _reason(found: Mapping[str, Any]) -> str:
    keys = ["StateReason", "LastUpdateStatusReason"]
    if _states(found)[0] != "Failed":
        keys.reverse()
    return next((" ".join(found[key].split()) for key in keys if found.get(key)), "it gives no reason")


def _is_set(value: Any) -> bool:
    """Tell whether a setting has a value: some are present and empty."""
    return any(value.values()) if isinstance(value, Mapping) else bool(value)


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
