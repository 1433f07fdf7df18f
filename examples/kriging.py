"""Kriging: a mountain range from scattered measurements, by a dense linear system larger than the memory allowed.

Heights at `n` random points are known. Their covariance matrix K, `n` × `n` and full, is never held as a whole:
its tiles are made where they are used. Solving (K + nugget · I) w = heights and multiplying by the covariances
between any place and the points gives the best linear prediction of the height there (a Gaussian process with
a Matérn 3/2 kernel).

The terrain is the digital elevation model that comes with matplotlib: 344 × 403 heights around the Jacksboro
fault, Tennessee.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import click
import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from dask.utils import format_bytes, parse_bytes
from scipy.spatial.distance import cdist

import wrenla as wl

mpl.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.cbook import get_sample_data  # noqa: E402
from matplotlib.colors import LightSource  # noqa: E402

Array = npt.NDArray[np.float64]

LENGTH = 1.0
"""Kilometres over which heights are alike."""

NUGGET = 1e-4
"""Variance of the measurement error, as a part of the terrain's variance."""


class Terrain(NamedTuple):
    """Heights in metres on a grid, and where each of them is, in kilometres east and south of the corner."""

    heights: Array
    places: Array


def load_terrain() -> Terrain:
    """Read the elevation model that is installed with matplotlib."""
    data = get_sample_data("jacksboro_fault_dem.npz")
    heights = data["elevation"].astype(np.float64)
    north, east = np.indices(heights.shape)
    km = 111.32  # to a degree of latitude
    across = km * np.cos(np.radians((data["ymin"] + data["ymax"]) / 2))
    return Terrain(heights, np.c_[east.ravel() * data["dx"] * across, north.ravel() * data["dy"] * km])


def matern(p: Array, q: Array) -> Callable[[Any, Any], Array]:
    """Return the function that makes any block of the covariance matrix between places p and q."""

    def block(rows: Any, cols: Any) -> Array:
        d = cdist(p[rows], q[cols]) * (3**0.5 / LENGTH)
        return np.exp(-d) * (1 + d)

    return block
