"""Kriging: a mountain range from scattered heights, by a dense linear system larger than the memory allowed.

Heights y are measured at n random points. The covariance matrix K of the terrain between these points is
n × n and full; it is never held as a whole, its tiles are made where they are used. With weights x that solve

    (K + nugget · I) x = y − mean(y)

the best linear prediction of the height at any place is mean(y) + k x, where k are the covariances between
that place and the points: a Gaussian process with a Matérn 3/2 kernel. The terrain is the elevation model
that comes with matplotlib, 344 × 403 heights around the Jacksboro fault in Tennessee.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

import wrenla as wl
from wrenla.whole_file import whole_file

__all__ = [
    "Array",
    "Indices",
    "Prediction",
    "Terrain",
    "draw",
    "load_terrain",
    "matern",
    "peak_memory",
    "predict",
]

Array: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.intp]

LENGTH = 1.0
"""Kilometres within which heights are alike."""

NUGGET = 1e-4
"""Variance of the measurement error, as a part of the terrain's own."""


class Terrain(NamedTuple):
    """Heights in metres on a grid, the kilometres from column to column and row to row, all places."""

    heights: Array
    spacing: Array
    places: Array


class Prediction(NamedTuple):
    """Predicted heights, and how they were found."""

    heights: Array
    backward_error: float
    seconds_to_solve: float
    seconds_to_predict: float


def load_terrain() -> Terrain:
    """Read the elevation model that is installed with matplotlib.

    Raises
    ------
    ImportError
        matplotlib is not there.
    """
    try:
        from matplotlib import cbook
    except ImportError:
        raise ImportError(
            "the demo needs matplotlib, for the heights and the picture: pip install 'wrenla[demo]'"
        ) from None
    with np.load(cbook.get_sample_data("jacksboro_fault_dem.npz", asfileobj=False)) as data:
        heights = data["elevation"].astype(np.float64)
        latitude = np.radians((data["ymin"] + data["ymax"]) / 2)
        spacing = 111.32 * np.array([data["dx"] * np.cos(latitude), data["dy"]])  # 111.32 km to a degree
    south, east = np.indices(heights.shape)
    return Terrain(heights, spacing, np.stack([east.ravel(), south.ravel()], axis=1) * spacing)


def matern(p: Array, q: Array) -> Callable[[Indices, Indices], Array]:
    """Return the function that makes any block of the covariance matrix between the places p and q."""

    def block(rows: Indices, cols: Indices) -> Array:
        d: Array = cdist(p[rows], q[cols]) * (np.sqrt(3) / LENGTH)
        return np.exp(-d) * (1 + d)

    return block


def predict(
    places: Array,
    points: Array,
    y: Array,
    executor: wl.Executor,
    *,
    tell: Callable[[str], None] = print,
    progress: bool | None = True,
) -> Prediction:
    """Predict the heights at some places from the heights at some points.

    Parameters
    ----------
    places, points : ndarray, (m, 2) and (n, 2)
        Kilometres east and south.
    y : ndarray, (n,)
        Metres.
    executor : Executor
    tell : callable
        Gets the plan, and the report of the solution.
    progress : bool, optional
        As in `BigMatrix.compute`.
    """
    n, tile = len(y), max(64, min(768, len(y) // 16))
    b = y - y.mean()
    A = wl.from_function(matern(points, points), (n, n), tile, structure="pos").shift(NUGGET)
    solution = A.solve(b)
    tell(f"\n{wl.plan(solution, executor=executor)}\n")
    start = time.perf_counter()
    x = solution.compute(executor, progress=progress)
    solved = time.perf_counter()
    tell(f"\n{solution.report}\n")

    # the criterion of the LINPACK benchmark: a stable method stays below 16
    residual, norm_A = wl.compute((A @ x - b).norm(np.inf), A.norm(np.inf), executor=executor)
    backward_error = residual / (2**-53 * (norm_A * abs(x).max() + abs(b).max()) * n)

    checked = time.perf_counter()
    k = wl.from_function(matern(places, points), (len(places), n), (1024, tile))
    heights = y.mean() + (k @ x).compute(executor, progress=progress)
    return Prediction(heights, backward_error, solved - start, time.perf_counter() - checked)


@contextmanager
def peak_memory() -> Iterator[Callable[[], int]]:
    """Hand out a function that returns how many bytes more than at the beginning were in use at worst."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = peak = resident()
    over = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.002):
            peak = max(peak, resident())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lambda: peak - before
    finally:
        over.set()
        thread.join()


def draw(path: Path, terrain: Terrain, known: Indices, predicted: Array, title: str) -> None:
    """Draw the measured points, the predicted and the true terrain, and the difference."""
    from matplotlib import colors
    from matplotlib.figure import Figure

    truth, spacing = terrain.heights, terrain.spacing
    width, height = spacing * truth.shape[::-1]
    greens_to_snow = ["#1d4a3a", "#4f8150", "#a3b86c", "#e3d59a", "#c49a6c", "#8f6148", "#f3ece4"]
    cmap = colors.LinearSegmentedColormap.from_list("mountains", greens_to_snow)
    norm = colors.Normalize(*np.percentile(truth, [0.5, 99.8]))
    sun = colors.LightSource(azdeg=315, altdeg=40)

    def show(ax: Any, title: str, image: Array, **options: Any) -> Any:
        ax.set_title(title, fontsize=12)
        return ax.imshow(image, extent=(0, width, 0, height), interpolation="bilinear", **options)

    def relief(z: Array) -> Array:
        dx, dy = 1000 * spacing
        return sun.shade(z, cmap, norm, "soft", vert_exag=2.5, dx=dx, dy=dy)

    figure = Figure(figsize=(11.2, 10.8), dpi=130, layout="constrained")
    (upper, lower) = figure.subplots(2, 2, sharex=True, sharey=True)
    show(upper[0], "measured", np.full((1, 1, 3), 0.95))
    east, south = terrain.places[known].T
    label = f"{len(known):,} points, {len(known) / truth.size:.0%} of the heights"
    points = upper[0].scatter(east, height - south, 2.4, truth.flat[known], cmap=cmap, norm=norm, label=label)
    upper[0].legend(loc="lower right", markerscale=3, framealpha=0.9, edgecolor="none", fontsize=9)
    show(upper[1], "predicted", relief(predicted.reshape(truth.shape)))
    show(lower[0], "true", relief(truth))
    difference = predicted.reshape(truth.shape) - truth
    off = show(lower[1], "predicted − true", difference, cmap="RdBu_r", vmin=-60, vmax=60)
    bar: dict[str, Any] = {"extend": "both", "shrink": 0.9, "aspect": 30, "pad": 0.02}
    figure.colorbar(points, ax=upper, label="height, metres", **bar)
    figure.colorbar(off, ax=lower, label="difference, metres", **bar)
    figure.supxlabel("kilometres", fontsize=10)
    figure.suptitle(title, fontsize=13)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        figure.savefig(file, format=path.suffix[1:])
