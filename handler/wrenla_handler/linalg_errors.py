"""Numerical errors, apart from the others: they need NumPy, and a worker starts in half the time without.

Every class pickles by its arguments, as those of `wrenla_handler.errors`.
"""

from __future__ import annotations

import numpy as np

from wrenla_handler.errors import WrenlaError

__all__ = [
    "LinAlgError",
    "NotFiniteError",
    "NotPositiveDefiniteError",
    "SingularMatrixError",
    "StructureError",
]


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


class NotFiniteError(LinAlgError, ValueError):
    """A matrix that is factored, or a right-hand side, holds NaN or infinity.

    Parameters
    ----------
    column : int
        The first column where they are (counted from 0, over the whole matrix).
    what : {"matrix", "right-hand side"}
    """

    def __init__(self, column: int, what: str = "matrix") -> None:
        super().__init__(column, what)
        self.column, self.what = column, what

    def __str__(self) -> str:
        place = f"column {self.column} (counted from 0) of the {self.what} holds NaN or infinity"
        if self.what != "matrix":
            return f"{place}: look at its data there"
        return (
            f"{place}, or its elimination has overflowed: look at its data there; divide a matrix of very "
            "large numbers by the largest"
        )


class SingularMatrixError(LinAlgError):
    """A triangular matrix, or a triangular factor, has a zero on its diagonal.

    Parameters
    ----------
    index : int
        Row and column of one (counted from 0, over the whole matrix).
    """

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index

    def __str__(self) -> str:
        return (
            "the matrix is singular: the triangle that is solved with (the matrix itself, or a factor of it) "
            f"has a zero on its diagonal, entry {self.index} (from 0; there may be others)"
        )


class StructureError(LinAlgError):
    """A matrix does not have its claimed structure.

    Parameters
    ----------
    claim : str
        What is said of it: "pos", "hermitian", "symmetric", "lower", "upper" or "diagonal".
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
        if self.claim in ("hermitian", "pos", "symmetric"):
            said = {"pos": "positive definite", "hermitian": "Hermitian (symmetric)"}.get(
                self.claim, "symmetric"
            )
            wrong = (
                f"{entry}, not real"
                if self.i == self.j
                else f"{entry}, entry ({self.j}, {self.i}) is {self.mate}"
            )
            mean = "(A + A.T) / 2 is symmetric" if self.claim == "symmetric" else "(A + A.H) / 2 is Hermitian"
            remedy = f"{mean}; if only the lower triangle holds the data, say check=False"
        else:
            said = self.claim if self.claim == "diagonal" else f"{self.claim} triangular"
            wrong = f"{entry}, not zero"
            part = {"lower": "A.tril()", "upper": "A.triu()"}.get(self.claim, "the diagonal")
            remedy = f"{part} is; if what stands elsewhere does not count, say check=False"
        return f"the matrix is said to be {said}, but is not: {wrong} (rows and columns from 0); {remedy}"
