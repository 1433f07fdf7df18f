"""Errors that a worker can raise; the driver raises the same classes again.

Every class pickles by its arguments, so an error looks the same on both sides of a process boundary.
"""

from __future__ import annotations

__all__ = [
    "EventError",
    "IntegrityError",
    "MetadataError",
    "MissingTileError",
    "NotAMatrixError",
    "StaleMatrixError",
    "StoreError",
    "ThreadLimitError",
    "TransientStoreError",
    "TruncatedTileError",
    "WrenlaError",
]


class WrenlaError(Exception):
    """Base of every error that wrenla raises on purpose."""


class StoreError(WrenlaError, OSError):
    """A request to a store failed; the message names the store and the key."""


class TransientStoreError(StoreError):
    """A store failed in passing: a retry of the same request may succeed."""


class IntegrityError(StoreError):
    """Some bytes are not those that their sender wrote: they do not have the hash that came with them."""


class EventError(WrenlaError, ValueError):
    """A function got an event that it does not understand, most likely from another version of wrenla."""


class ThreadLimitError(WrenlaError, RuntimeError):
    """The system starts no more threads; the message names the limits that may be the cause."""


class NotAMatrixError(WrenlaError, FileNotFoundError):
    """There is no stored matrix at the address."""


class MetadataError(WrenlaError, ValueError):
    """There is a stored array at the address, but not one that wrenla can read in place."""


class StaleMatrixError(WrenlaError, ValueError):
    """A stored matrix was overwritten, or changed, after it was opened."""


class MissingTileError(StoreError):
    """A tile that the matrix's structure does not declare to be zero is not there."""


class TruncatedTileError(StoreError):
    """A tile's object does not have the number of bytes that the layout asks for."""
