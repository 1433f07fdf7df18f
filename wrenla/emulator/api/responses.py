"""Responses of the Lambda API in AWS's form, errors above all."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass

__all__ = ["Answer", "Refusal", "as_json"]


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers and body of an answer."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


def as_json(status: int, content: object, *headers: tuple[str, str]) -> Answer:
    """Return an answer in JSON."""
    own = ("Content-Type", "application/json"), ("x-amzn-RequestId", str(uuid.uuid4()))
    return Answer(status, (*own, *headers), json.dumps(content).encode())


class Refusal(Exception):
    """A request is answered with an error.

    Parameters
    ----------
    status : int
    kind : str
        Name of the error in the service's model, such as ``ResourceNotFoundException``.
    message : str
    reason : str
        Of a throttled call.
    """

    def __init__(self, status: int, kind: str, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.reason = reason

    def answer(self) -> Answer:
        """Return what is sent."""
        content = {"Type": "User", "message": self.message, "Message": self.message}
        headers = [("x-amzn-ErrorType", self.kind)]
        if self.status == 429:
            content["Reason"] = self.reason
            headers.append(("Retry-After", "1"))
        return as_json(self.status, content, *headers)
