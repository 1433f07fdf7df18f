"""Every error that wrenla raises on purpose."""

from __future__ import annotations

import concurrent.futures

from wrenla_handler.calls.failure import RemoteError, RemoteTraceback
from wrenla_handler.errors import (
    EventError,
    IntegrityError,
    MetadataError,
    MissingTileError,
    NotAMatrixError,
    StaleMatrixError,
    StoreError,
    ThreadLimitError,
    TransientStoreError,
    TruncatedTileError,
    WrenlaError,
)
from wrenla_handler.linalg_errors import (
    LinAlgError,
    NotFiniteError,
    NotPositiveDefiniteError,
    SingularMatrixError,
    StructureError,
)

__all__ = [
    "CallError",
    "Cancelled",
    "ChangedArrayError",
    "EventError",
    "IntegrityError",
    "LinAlgError",
    "Lost",
    "MetadataError",
    "MissingTileError",
    "NestedCallError",
    "NeverStarted",
    "NotAMatrixError",
    "NotFiniteError",
    "NotPositiveDefiniteError",
    "OutOfMemory",
    "OverBudget",
    "PlanError",
    "ReachError",
    "RecordError",
    "RemoteError",
    "RemoteTraceback",
    "SaveConflictError",
    "ServiceError",
    "SettingError",
    "SingularMatrixError",
    "StaleMatrixError",
    "StoreError",
    "StructureError",
    "ThreadLimitError",
    "Throttled",
    "TimedOut",
    "TooLargeError",
    "TransientStoreError",
    "TruncatedTileError",
    "VersionError",
    "WorkerDied",
    "WrenlaError",
]


class PlanError(WrenlaError, ValueError):
    """A plan cannot be carried out on this executor; the message says what would fit."""


class CallError(WrenlaError):
    """A call ended without its function having returned or raised; the class names the cause."""


class Throttled(CallError):
    """The service refused the call, or could not be reached, again and again: it has not begun."""


class OutOfMemory(CallError, MemoryError):
    """The function needed more memory than its worker may use. Not tried again: it would need it again."""


class TimedOut(CallError, TimeoutError):
    """An attempt ran longer than its `timeout`, or past the call's `deadline`."""


class WorkerDied(CallError):
    """The worker ended while it had the call, which may have had effects."""


class NeverStarted(CallError):
    """The function surely has not begun: no worker started, or the deadline passed in the queue."""


class Lost(CallError):
    """The connection to the worker broke after the call was sent: whether it ran is not known."""


class Cancelled(CallError, concurrent.futures.CancelledError):
    """The call was running when its executor was stopped."""


class NestedCallError(WrenlaError, RuntimeError):
    """A function called the executor that it runs on: such calls would wait for themselves."""


class OverBudget(CallError):
    """The call was not begun, since `max_dollars` have been spent."""


class ServiceError(WrenlaError):
    """AWS has refused something; the message says what to do."""


class VersionError(WrenlaError):
    """Driver and function have different versions of Python or packages; deploy again."""


class ReachError(WrenlaError, ValueError):
    """An executor's workers cannot see a store or an array."""


class SettingError(WrenlaError, ValueError):
    """A setting is unknown or has no usable value."""


class RecordError(WrenlaError, ValueError):
    """A record of runs cannot be read, or cannot be written where it should be."""


class SaveConflictError(WrenlaError, FileExistsError):
    """Another process saves at the same address, or has taken it over; nothing of the two is mixed."""


class ChangedArrayError(StaleMatrixError):
    """An array that is too large to be copied was changed after a matrix was made of it."""


class TooLargeError(WrenlaError, MemoryError):
    """A matrix is too large to be brought into memory whole."""
