"""Control plane of Lambda: check requests, then let moto answer them."""

from __future__ import annotations

import base64
import binascii
import http.client
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from wrenla.emulator.api.checks import check_configuration, check_name, check_new_name, invalid
from wrenla.emulator.api.http import Request
from wrenla.emulator.api.pending_state import Transition, refused_creation
from wrenla.emulator.api.responses import Answer, Refusal, as_json
from wrenla.emulator.backend.moto_backend import MotoBackend
from wrenla.emulator.faults import Faults, Operation
from wrenla.emulator.metrics import Metrics
from wrenla.emulator.runtime.code import UNZIPPED, CodeStore
from wrenla.emulator.runtime.function_config import FunctionConfig
from wrenla.emulator.runtime.functions import Function
from wrenla.emulator.runtime.pool import Pool

__all__ = ["REQUEST_LIMIT", "ControlPlane"]

REQUEST_LIMIT = 70_167_211
_ZIPPED = 52_428_800
_TOO_LARGE = f"Request must be smaller than {REQUEST_LIMIT} bytes for the CreateFunction operation"
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"}


class ControlPlane:
    """Functions, and the requests that change them.

    Parameters
    ----------
    cloud : MotoBackend
    code : CodeStore
    pool : Pool
        Where environments are ended that are of yesterday.
    limit : int
        The account's concurrency.
    faults : Faults
    counts : Metrics
    """

    def __init__(
        self, cloud: MotoBackend, code: CodeStore, pool: Pool, limit: int, faults: Faults, counts: Metrics
    ) -> None:
        self._cloud = cloud
        self._code = code
        self._pool = pool
        self._limit = limit
        self._faults = faults
        self._counts = counts
        self._functions: dict[str, Function] = {}
        self._folders: dict[str, Path] = {}
        pool.reserve(self._reserved)

    def find(self, name: str, query: str) -> Function:
        """Return a function by what stands in a path: its name or ARN, quoted.

        Raises
        ------
        Refusal
        """
        check_name(unquote(name))
        parts = unquote(name).split(":")
        rest = parts[parts.index("function") + 1 :] if "function" in parts else parts
        qualifier = rest[1] if len(rest) > 1 else unquote(query.partition("Qualifier=")[2].partition("&")[0])
        found = self._functions.get(rest[0]) if rest else None
        if found is None or qualifier not in ("", "$LATEST"):
            arn = f"arn:aws:lambda:{self._cloud.region}:{self._cloud.account}:function:{':'.join(rest)}"
            raise Refusal(404, "ResourceNotFoundException", f"Function not found: {arn}")
        if found.transition is not None and not found.transition.lasts and not found.transition.fails:
            found.transition = None
            self._learn()
        return found

    def find_to_call(self, name: str, query: str) -> Function:
        """Return a function that may be called, see `find`."""
        found = self.find(name, query)
        if found.transition is not None:
            found.transition.check_call()
        return found

    def handle(self, request: Request) -> Answer:
        """Answer a request.

        Raises
        ------
        Refusal
        """
        if request.method == "GET" and re.fullmatch(r"/[\d-]+/account-settings/?", request.path):
            return self._settings()
        found = re.fullmatch(r"/[\d-]+/functions/?([^/]*)/?(code|configuration)?/?", request.path)
        changes: dict[str, Any] = {}
        if found is not None and request.method in ("POST", "PUT"):
            changes = _parse(request.body)
            self._check(changes, new=not found[1])
            if not found[1] or found[2] == "code":
                self._check_code(changes.get("Code", changes))
            operation: Operation = "update" if found[1] else "creation"
            transition = self._begin(operation, found[1], changes)
            answer = self._forward(request)
            if answer.status < 300:
                self._finish(found[1] or changes["FunctionName"], operation, transition, changes)
        else:
            answer = self._forward(request)
            if request.method != "GET" and answer.status < 300:
                self._learn()
        return self._with_status(answer)

    def _begin(self, operation: Operation, name: str, changes: dict[str, Any]) -> Transition | None:
        """Return what becomes of a change, or refuse it."""
        if operation == "update":
            function = self.find(name, "")
            if function.transition is not None:
                function.transition.check_update(function.config.arn)
        fault = self._faults.next_change(operation)
        if fault is not None:
            self._counts.add("faults")
        refused = refused_creation(fault, changes.get("Role", ""))
        if refused is not None:
            raise refused
        return Transition.of(operation, fault)

    def _finish(
        self, name: str, operation: Operation, transition: Transition | None, changes: dict[str, Any]
    ) -> None:
        if operation == "creation":
            self._learn()
            self.find(name, "").transition = transition
            return
        function = self.find(name, "")
        self._cloud.configure(function.config.name, changes)
        function.transition = transition
        self._learn()

    def _with_status(self, answer: Answer) -> Answer:
        """Add the state of functions that are not ready to an answer that names them."""
        unready = {
            name: status
            for name, function in list(self._functions.items())
            if function.transition is not None and (status := function.transition.status())
        }
        if not unready or not answer.body.startswith(b"{"):
            return answer
        content = json.loads(answer.body)
        for told in (content, content.get("Configuration", {}), *content.get("Functions", ())):
            told.update(unready.get(told.get("FunctionName", ""), {}))
        return Answer(answer.status, answer.headers, json.dumps(content).encode())

    def _check(self, changes: dict[str, Any], new: bool) -> None:
        if new:
            check_new_name(changes)
            name = changes["FunctionName"]
            if name in self._functions:
                raise Refusal(409, "ResourceConflictException", f"Function already exist: {name}")
        check_configuration(changes)
        if "Role" in changes and not self._cloud.role_exists(changes["Role"]):
            raise invalid("The role defined for the function cannot be assumed by Lambda.")

    def _check_code(self, code: dict[str, Any]) -> None:
        """Unpack a package before moto has it: it would take whatever comes."""
        if "ZipFile" in code:
            try:
                package = base64.b64decode(code["ZipFile"], validate=True)
            except (binascii.Error, ValueError):
                raise invalid("Could not unzip uploaded file.") from None
            if len(package) > _ZIPPED:
                raise Refusal(413, "RequestTooLargeException", _TOO_LARGE)
        elif "S3Bucket" in code and "S3Key" in code:
            package = self._cloud.object(code["S3Bucket"], code["S3Key"])
        else:
            raise invalid("Please provide a source for function code.")
        self._code.take(package)

    def _forward(self, request: Request) -> Answer:
        """Hand a request to moto as it is: it may check the signature, too."""
        connection = http.client.HTTPConnection(*self._cloud.address)
        try:
            connection.putrequest(request.method, request.target, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers.items():
                if name not in ("connection", "transfer-encoding", "content-length", "expect"):
                    connection.putheader(name, value)
            connection.putheader(*self._cloud.passing)
            connection.putheader("Content-Length", str(len(request.body)))
            connection.endheaders(request.body)
            got = connection.getresponse()
            headers = tuple((name, value) for name, value in got.getheaders() if name.lower() not in _HOP)
            return Answer(got.status, headers, got.read())
        finally:
            connection.close()

    def _learn(self) -> None:
        """Ask moto for all functions, and end the environments of those that have changed."""
        known = set()
        for found, package in self._cloud.functions():
            config = self._config(found, package)
            known.add(config.name)
            function = self._functions.setdefault(config.name, Function(config))
            reserved = found["Reserved"]
            function.reserved = None if reserved is None else int(reserved)
            with function.lock:
                # With the lock of `Pool._execute`: an environment of the old configuration either lies idle
                # here, or is ended there.
                keeps_old = function.transition is not None and function.transition.keeps_old
                if function.config != config and not keeps_old:
                    function.config = config
                    idle, function.idle = function.idle, []
                else:
                    idle = []
            self._pool.retire(idle)
        for name in self._functions.keys() - known:
            function = self._functions.pop(name)
            with function.lock:
                function.deleted = True
                idle, function.idle = function.idle, []
            self._pool.retire(idle)

    def _config(self, found: dict[str, Any], package: bytes) -> FunctionConfig:
        sha256 = found["CodeSha256"]
        if sha256 not in self._folders:
            self._folders[sha256] = self._code.take(package)
        return FunctionConfig(
            name=found["FunctionName"],
            arn=found["FunctionArn"],
            handler=found["Handler"],
            runtime=found["Runtime"],
            role=found["Role"],
            memory=int(found["MemorySize"]),
            timeout=int(found["Timeout"]),
            ephemeral=int(found["EphemeralStorage"]["Size"]),
            variables=dict(found.get("Environment", {}).get("Variables", {})),
            code=self._folders[sha256],
            code_sha256=sha256,
        )

    def _reserved(self) -> int:
        return sum(function.reserved or 0 for function in list(self._functions.values()))

    def _settings(self) -> Answer:
        limit = {
            "TotalCodeSize": 80_530_636_800,
            "CodeSizeUnzipped": UNZIPPED,
            "CodeSizeZipped": _ZIPPED,
            "ConcurrentExecutions": self._limit,
            "UnreservedConcurrentExecutions": self._limit - self._reserved(),
        }
        return as_json(
            200,
            {
                "AccountLimit": limit,
                "AccountUsage": {"TotalCodeSize": 0, "FunctionCount": len(self._functions)},
            },
        )


def _parse(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "SerializationException", str(error)) from None
    return parsed if isinstance(parsed, dict) else {}
