"""Every error that wrenla raises on purpose."""

from __future__ import annotations

from wrenla_handler.errors import (
    LinAlgError,
    MetadataError,
    MissingTileError,
    NotAMatrixError,
    NotPositiveDefiniteError,
    SingularMatrixError,
    StoreError,
    TransientStoreError,
    TruncatedTileError,
    WrenlaError,
)

__all__ = [
    "LinAlgError",
    "MetadataError",
    "MissingTileError",
    "NotAMatrixError",
    "NotPositiveDefiniteError",
    "PlanError",
    "ReachError",
    "SettingError",
    "SingularMatrixError",
    "StaleMatrixError",
    "StoreError",
    "TooLargeError",
    "TransientStoreError",
    "TruncatedTileError",
    "WrenlaError",
]


class PlanError(WrenlaError, ValueError):
    """A plan cannot be carried out on this executor; the message says what would fit."""


class ReachError(WrenlaError, ValueError):
    """An executor's workers cannot see a store or an array."""


class SettingError(WrenlaError, ValueError):
    """A setting is unknown or has no usable value."""


class StaleMatrixError(WrenlaError, ValueError):
    """A stored matrix was overwritten after it was opened."""


class TooLargeError(WrenlaError, MemoryError):
    """A matrix is too large to be brought into memory whole."""
