"""Admin API of the emulator under ``/_emulator``: metrics, logs, faults."""

from __future__ import annotations

import json

from wrenla.emulator.api.http import Request
from wrenla.emulator.api.responses import Answer, Refusal, as_json
from wrenla.emulator.backend.logs import Logs
from wrenla.emulator.backend.moto_backend import MotoBackend
from wrenla.emulator.faults import Fault, Faults
from wrenla.emulator.metrics import Metrics

__all__ = ["AdminApi"]


class AdminApi:
    """Answers whoever has the keys that the emulator handed out.

    Parameters
    ----------
    cloud : MotoBackend
    faults : Faults
    counts : Metrics
    logs : Logs
    """

    def __init__(self, cloud: MotoBackend, faults: Faults, counts: Metrics, logs: Logs) -> None:
        self._cloud = cloud
        self._faults = faults
        self._counts = counts
        self._logs = logs

    def handle(self, request: Request, key: str) -> Answer:
        """Answer a request."""
        if key != self._cloud.key:
            raise Refusal(403, "AccessDeniedException", "Only the emulator's own keys may ask this.")
        match request.method, request.path:
            case "PUT", "/_emulator/faults":
                try:
                    self._faults.set([Fault.of(rule) for rule in json.loads(request.body)])
                except (ValueError, TypeError) as error:
                    raise Refusal(400, "InvalidParameterValueException", str(error)) from None
                return as_json(200, {})
            case "GET", "/_emulator/counts":
                return as_json(200, self._counts.read())
            case "GET", "/_emulator/logs":
                self._logs.flush()
                return as_json(200, self._logs.recent())
        raise Refusal(
            404, "ResourceNotFoundException", f"The emulator has no {request.method} {request.path}"
        )
