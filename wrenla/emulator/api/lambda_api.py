"""Lambda API: authenticate, run invocations, pass the rest to the control plane."""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
import uuid

from wrenla.emulator.api.admin_api import AdminApi
from wrenla.emulator.api.control_plane import REQUEST_LIMIT, ControlPlane
from wrenla.emulator.api.http import Request
from wrenla.emulator.api.responses import Answer, Refusal
from wrenla.emulator.backend.moto_backend import MotoBackend
from wrenla.emulator.backend.signatures import Scope, check_claim, claim_of, verify
from wrenla.emulator.faults import Faults
from wrenla.emulator.metrics import Metrics
from wrenla.emulator.runtime.environment import Call, Outcome
from wrenla.emulator.runtime.functions import Function
from wrenla.emulator.runtime.pool import Pool

__all__ = ["LambdaApi"]

_INVOKE = re.compile(r"/2015-03-31/functions/([^/]+)/invocations/?")
_SYNCHRONOUS = 6 * (1 << 20)
_TAIL = 4096
_NOT_EMULATED = (
    "this emulator runs synchronous invocations only, as wrenla makes them: not InvocationType={kind}"
)
_KEY_DENIED = (
    "Lambda was unable to decrypt the environment variables because KMS access was denied. Please check the "
    "function's KMS key settings. KMS Exception: UnrecognizedClientException KMS Message: The security token "
    "included in the request is invalid."
)


class LambdaApi:
    """Answers requests; any thread may call it.

    Parameters
    ----------
    cloud : MotoBackend
    plane : ControlPlane
    pool : Pool
    faults : Faults
    counts : Metrics
    control : AdminApi
        What is under ``/_emulator``.
    """

    def __init__(
        self,
        cloud: MotoBackend,
        plane: ControlPlane,
        pool: Pool,
        faults: Faults,
        counts: Metrics,
        control: AdminApi,
    ) -> None:
        self._cloud = cloud
        self._plane = plane
        self._pool = pool
        self._faults = faults
        self._counts = counts
        self._control = control
        self._scope = Scope(cloud.region, frozenset({"lambda"}))

    def admit(self, request: Request) -> int:
        """Return how many bytes the body of a request may have, which has not been read yet.

        Raises
        ------
        Refusal
            It is not wanted: nobody is known to have sent it, or it is too long.
        """
        check_claim(request, claim_of(request), self._cloud.secret_of, self._scope)
        limit, refusal = _limit(request)
        chunked = "transfer-encoding" in request.headers  # what comes in chunks does not say how long it is
        if not chunked and int(request.headers.get("content-length") or 0) > limit:
            raise refusal
        return limit

    def handle(self, request: Request) -> Answer | None:
        """Answer a request; None for not at all."""
        try:
            limit, refusal = _limit(request)
            if len(request.body) > limit:  # it came in chunks, and is not there whole
                raise refusal
            key = verify(request, self._cloud.secret_of, self._scope)
            own = request.path.startswith("/_emulator/")
            if self._cloud.enforce_iam and not own:
                self._cloud.check_permission(request)
            found = _INVOKE.fullmatch(request.path) if request.method == "POST" else None
            if found is not None:
                return self._invoke(request, self._plane.find_to_call(found[1], request.query))
            if own:
                return self._control.handle(request, key)
            return self._plane.handle(request)
        except Refusal as refusal:
            return refusal.answer()

    def _invoke(self, request: Request, function: Function) -> Answer | None:
        kind = request.headers.get("x-amz-invocation-type", "RequestResponse")
        _check_payload(request.body)
        if kind == "DryRun":
            return Answer(204)
        if kind != "RequestResponse":
            raise Refusal(400, "InvalidParameterValueException", _NOT_EMULATED.format(kind=kind))
        call = Call(str(uuid.uuid4()), request.body or b"{}", _client_context(request))
        self._counts.add("invocations")
        fault = self._faults.next()
        if fault is not None:
            self._counts.add("faults")
            if fault.kind == "throttle":
                self._counts.add("throttles")
                reason = "ConcurrentInvocationLimitExceeded"
                raise Refusal(429, "TooManyRequestsException", "Rate Exceeded.", reason)
            if fault.kind == "key-denied":
                raise Refusal(502, "KMSAccessDeniedException", _KEY_DENIED)
        place = self._pool.admit(function)
        if fault is not None and fault.kind == "delay":
            time.sleep(fault.seconds)
        outcome = self._pool.run(function, call, place, fault)
        if fault is not None and fault.kind == "drop-connection":
            return None
        return _answer(request, call, outcome)


def _limit(request: Request) -> tuple[int, Refusal]:
    """Return how many bytes the body of a request may have, and how a longer one is refused."""
    operation, limit = "CreateFunction", REQUEST_LIMIT
    if _INVOKE.fullmatch(request.path):
        operation = "InvokeFunction"
        limit = _SYNCHRONOUS
    message = f"Request must be smaller than {limit} bytes for the {operation} operation"
    return limit, Refusal(413, "RequestTooLargeException", message)


def _check_payload(body: bytes) -> None:
    try:
        json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        message = f"Could not parse request body into json: {error}"
        raise Refusal(400, "InvalidRequestContentException", message) from None


def _client_context(request: Request) -> str:
    context = request.headers.get("x-amz-client-context", "")
    try:
        # a header takes Latin-1; as JSON without other characters it always fits
        return json.dumps(json.loads(base64.b64decode(context))) if context else ""
    except (binascii.Error, ValueError, RecursionError):
        message = "Client context must be a valid Base64-encoded JSON object."
        raise Refusal(400, "InvalidRequestContentException", message) from None


def _answer(request: Request, call: Call, outcome: Outcome) -> Answer:
    headers = [
        ("Content-Type", "application/json"),
        ("x-amzn-RequestId", call.id),
        ("X-Amz-Executed-Version", "$LATEST"),
    ]
    if outcome.ending.failed:
        headers.append(("X-Amz-Function-Error", "Unhandled"))
    if request.headers.get("x-amz-log-type") == "Tail":
        headers.append(("X-Amz-Log-Result", base64.b64encode(outcome.log[-_TAIL:]).decode()))
    return Answer(200, tuple(headers), outcome.ending.body)
