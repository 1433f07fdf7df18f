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
    "StructureError",
    "ThreadLimitError",
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
            f"(row and column {self.minor - 1}, counted from 0), so the matrix is singular or indefinite; "
            "if it should not be, look at its data there. A.shift(c), which adds c to the diagonal, "
            "makes it so, but is another problem (ridge regression, regularization), whose solution differs"
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


class StructureError(LinAlgError):
    """A matrix does not have the structure that it is said to have.

    Parameters
    ----------
    claim : str
        What is said of it: "pos", "hermitian", "lower", "upper" or "diagonal".
    i, j : int
        Row and column (counted from 0, over the whole matrix) of an entry that contradicts.
    value, mate : float or complex
        Entries (i, j) and (j, i); of a triangular matrix, the entry and 0.
    """

    def __init__(self, claim: str, i: int, j: int, value: complex, mate: complex) -> None:
        super().__init__(claim, i, j, value, mate)
        self.claim, self.i, self.j, self.value, self.mate = claim, i, j, value, mate

    def __str__(self) -> str:
        entry = f"entry ({self.i}, {self.j}) is {self.value}"
        if self.claim in ("hermitian", "pos"):
            said = "positive definite" if self.claim == "pos" else "Hermitian (symmetric)"
            wrong = (
                f"{entry}, not real"
                if self.i == self.j
                else f"{entry}, entry ({self.j}, {self.i}) is {self.mate}"
            )
            remedy = "(A + A.H) / 2 is Hermitian; if only the lower triangle holds the data, say check=False"
        else:
            said = self.claim if self.claim == "diagonal" else f"{self.claim} triangular"
            wrong = f"{entry}, not zero"
            part = {"lower": "A.tril()", "upper": "A.triu()"}.get(self.claim, "the diagonal")
            remedy = f"{part} is; if what stands elsewhere does not count, say check=False"
        return f"the matrix is said to be {said}, but is not: {wrong} (rows and columns from 0); {remedy}"
