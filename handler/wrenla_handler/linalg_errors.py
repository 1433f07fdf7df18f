"""Errors of numerics, apart from the others: they need NumPy, and a worker starts in half the time without.

Every class pickles by its arguments, as those of `wrenla_handler.errors`.
"""

from __future__ import annotations

import numpy as np

from wrenla_handler.errors import WrenlaError

__all__ = ["LinAlgError", "NotPositiveDefiniteError", "SingularMatrixError"]


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
