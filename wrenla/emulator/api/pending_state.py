"""Pending state of functions just created or updated, as on AWS; here only on demand."""

from __future__ import annotations

import time
from dataclasses import dataclass

from wrenla.emulator.api.responses import Refusal
from wrenla.emulator.faults import Fault, Operation

__all__ = ["Transition", "refused_creation"]

_CANNOT = "The operation cannot be performed at this time."
_REFUSED = {
    "role-unknown": "The role defined for the function cannot be assumed by Lambda.",
    "grant-refused": (
        "Lambda was unable to configure access to your environment variables because the KMS key is invalid "
        "for CreateGrant. Please check your KMS key settings. KMS Exception: InvalidArnException KMS "
        "Message: ARN does not refer to a valid principal: {role}"
    ),
}


def refused_creation(fault: Fault | None, role: str) -> Refusal | None:
    """Return how Lambda refuses to create a function whose role is too new, if that is the fault."""
    message = _REFUSED.get(fault.kind) if fault is not None else None
    if message is None:
        return None
    return Refusal(400, "InvalidParameterValueException", message.format(role=role))


@dataclass(frozen=True, slots=True)
class Transition:
    """Pending state of a function that was created or updated.

    Parameters
    ----------
    operation : {"creation", "update"}
    until : float
        When it is over, by the monotonic clock.
    fails : bool
        Whether it has been in vain then.
    """

    operation: Operation
    until: float
    fails: bool

    @staticmethod
    def of(operation: Operation, fault: Fault | None) -> Transition | None:
        """Return what a fault makes of an operation, None if the function is ready at once."""
        if fault is None or fault.kind not in ("pending", "update-failed"):
            return None
        return Transition(operation, time.monotonic() + fault.seconds, fault.kind == "update-failed")

    @property
    def lasts(self) -> bool:
        """Whether it is not over."""
        return time.monotonic() < self.until

    @property
    def keeps_old(self) -> bool:
        """Whether calls run with what the function was before."""
        return self.operation == "update" and (self.fails or self.lasts)

    def status(self) -> dict[str, str]:
        """Return the state fields of the function's configuration now."""
        if self.lasts:
            name = "State" if self.operation == "creation" else "LastUpdateStatus"
            status, code = ("Pending" if name == "State" else "InProgress"), "Creating"
            reason = "The function is being created."  # of an update, too
        elif self.fails:
            name, status, code = "LastUpdateStatus", "Failed", "InternalError"
            reason = "We encountered an internal error. Please try again."
        else:
            return {}
        return {name: status, f"{name}Reason": reason, f"{name}ReasonCode": code}

    def check_call(self) -> None:
        """Raise what a call is refused with while there is no function to run."""
        if self.lasts and self.operation == "creation":
            state = "The function is currently in the following state: Pending"
            raise Refusal(409, "ResourceConflictException", f"{_CANNOT} {state}")

    def check_update(self, arn: str) -> None:
        """Raise what another update is refused with while this lasts."""
        self.check_call()
        if self.lasts:
            why = f"An update is in progress for resource: {arn}"
            raise Refusal(409, "ResourceConflictException", f"{_CANNOT} {why}")
