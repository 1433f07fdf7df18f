"""The matrices that the fault tables factor, 6 × 6 tiles with ragged ones at the edges."""

from __future__ import annotations

import numpy as np

import wrenla as wl

TILE, N = 24, 6
n = TILE * N - 5


def matrix() -> wl.BigMatrix:
    """Its function is a closure: this module is nowhere but here."""

    def entries(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        return 0.9 ** abs(i[:, None] - j)

    return wl.from_function(entries, (n, n), TILE, structure="pos")


def general() -> wl.BigMatrix:
    """Its rows are exchanged across all tiles."""
    return wl.random((n, n), tile=TILE, seed=1)
