"""Errors that a worker can raise; the driver raises the same classes again.

Every class pickles by its arguments, so an error looks the same on both sides of a process boundary.
"""

from __future__ import annotations

import numpy as np

__all__ = [
    "EventError",
    "IntegrityError",
    "LinAlgError",
    "MetadataError",
    "MissingTileError",
    "NotAMatrixError",
    "NotPositiveDefiniteError",
    "SingularMatrixError",
    "StaleMatrixError",
    "StoreError",
    "TransientStoreError",
    "TruncatedTileError",
    "WrenlaError",
]


class WrenlaError(Exception):
    """Base of every error that wrenla raises on purpose."""


class StoreError(WrenlaError, OSError):
    """A store could not do what was asked of it; the message names the store and the key."""


class TransientStoreError(StoreError):
    """A store failed in a way that the same request may not fail again: it is worth a retry."""


class IntegrityError(StoreError):
    """Some bytes are not those that their sender wrote: they do not have the hash that came with them."""


class EventError(WrenlaError, ValueError):
    """A function was sent something that it does not understand, most likely by another version of wrenla."""


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


class LinAlgError(WrenlaError, np.linalg.LinAlgError):
    """A numerical failure: the matrix does not have the property that the algorithm needs."""


class NotPositiveDefiniteError(LinAlgError):
    """A leading minor of a matrix is not positive definite.

    Parameters
    ----------
    minor : int
        Order of the first leading minor (counted from 1, over the whole matrix) that is not
        positive definite, as ``info`` of LAPACK's ``potrf``.
    """

    def __init__(self, minor: int) -> None:
        super().__init__(minor)
        self.minor = minor

    def __str__(self) -> str:
        return (
            f"the leading minor of order {self.minor} is not positive definite "
            f"(row and column {self.minor - 1}, counted from 0); "
            "if the matrix should be, add a small multiple of the identity: A.shift(c)"
        )


class SingularMatrixError(LinAlgError):
    """A triangular matrix has a zero on its diagonal.

    Parameters
    ----------
    index : int
        Row and column of one (counted from 0, over the whole matrix).
    """

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index

    def __str__(self) -> str:
        return f"the triangular matrix is singular: entry {self.index} of the diagonal is zero"
