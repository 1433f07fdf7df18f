"""Infinity on a diagonal: divided by, it would leave numbers that look like a solution."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import wrenla as wl
from wrenla.linalg import NotFiniteError

N = 12

POS: dict[str, Callable[[wl.BigMatrix], object]] = {
    "cholesky": lambda A: A.cholesky().compute(),
    "factor": lambda A: wl.linalg.cho_factor(A).solve(np.ones(N)).compute(),
    "inv": lambda A: wl.linalg.inv(A).compute(),
    "det": lambda A: wl.linalg.det(A).compute(),
    "slogdet": lambda A: A.slogdet().sign.compute(),
    "rcond": wl.linalg.rcond,
    "solve": lambda A: A.solve(np.ones(N)).compute(),
}


@pytest.mark.parametrize("where", [0, 6, 11])
@pytest.mark.parametrize("what", POS)
def test_infinity_on_the_diagonal_of_a_positive_definite_matrix(what: str, where: int) -> None:
    a = 2 * np.eye(N)
    a[where, where] = np.inf
    with pytest.raises(NotFiniteError, match=f"column {where} "):
        POS[what](wl.from_array(a, tile=5, structure="pos"))


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("lower", [True, False])
def test_infinity_on_the_diagonal_of_a_triangle(lower: bool, value: float) -> None:
    a = np.eye(N)
    a[7, 7] = value
    T = wl.from_array(a, tile=5, structure="lower" if lower else "upper")
    for made in (T.solve(np.ones(N)), wl.linalg.inv(T), wl.linalg.solve_triangular(a, a, lower=lower)):
        with pytest.raises(NotFiniteError, match="column 7 "):
            made.compute()
