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

import click
import numpy as np
import numpy.typing as npt
from matplotlib import cbook, colors
from matplotlib.figure import Figure
from scipy.spatial.distance import cdist

import wrenla as wl
from wrenla.units import format_bytes, parse_bytes

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
    """Read the elevation model that is installed with matplotlib."""
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


def predict(places: Array, points: Array, y: Array, executor: wl.Executor) -> Prediction:
    """Predict the heights at some places from the heights y at some points."""
    n, tile = len(y), max(64, min(768, len(y) // 16))
    b = y - y.mean()
    A = wl.from_function(matern(points, points), (n, n), tile, structure="pos").shift(NUGGET)
    solution = A.solve(b)
    click.echo(f"\n{wl.plan(solution, executor=executor)}\n")
    start = time.perf_counter()
    x = solution.compute(executor, progress=True)
    solved = time.perf_counter()
    click.echo(f"\n{solution.report}\n")

    # the criterion of the LINPACK benchmark: a stable method stays below 16
    residual, norm_A = wl.compute((A @ x - b).norm(np.inf), A.norm(np.inf), executor=executor)
    backward_error = residual / (2**-53 * (norm_A * abs(x).max() + abs(b).max()) * n)

    checked = time.perf_counter()
    k = wl.from_function(matern(places, points), (len(places), n), (1024, tile))
    heights = y.mean() + (k @ x).compute(executor, progress=True)
    return Prediction(heights, backward_error, solved - start, time.perf_counter() - checked)


@contextmanager
def executor_of(kind: str, memory: str) -> Iterator[wl.Executor]:
    """Hand out this machine's threads, or a Dask cluster of this machine's processes, as executor."""
    if kind == "local":
        with wl.LocalExecutor(allowed_mem=memory) as executor:
            yield executor
        return
    import distributed

    workers = len(os.sched_getaffinity(0))
    each = parse_bytes(memory) // workers
    with (
        distributed.LocalCluster(workers, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
        wl.DaskExecutor(cluster, allowed_mem=each) as executor,
    ):
        yield executor


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
    figure.savefig(path)


@click.command()
@click.option("--points", default=12_000, show_default=True, help="Measured points: the order of the system.")
@click.option("--memory", default="256 MiB", show_default=True, help="Memory that all workers may use.")
@click.option(
    "--executor",
    "kind",
    type=click.Choice(["local", "dask"]),
    default="local",
    show_default=True,
    help="Where to compute: threads of this process, or a Dask cluster of processes on this machine.",
)
@click.option("--seed", default=0, show_default=True, help="Which points are measured.")
@click.option("--picture", default="out/kriging.png", show_default=True, help="File to draw.")
def main(points: int, memory: str, kind: str, seed: int, picture: str) -> None:
    """Predict a mountain range from some of its heights, by a dense system larger than the memory allowed."""
    terrain = load_terrain()
    truth = terrain.heights.ravel()
    known, held_out = np.split(np.random.default_rng(seed).permutation(truth.size), [points])
    size = format_bytes(8 * points**2)
    click.echo(f"{truth.size:,} heights from {points:,} of them: a dense system of {size}, {memory} allowed")

    with executor_of(kind, memory) as executor, peak_memory() as peak:
        found = predict(terrain.places, terrain.places[known], truth[known], executor)
        peak_mib, workers = f"{peak() / 2**20:.0f} MiB", executor.workers
        if kind == "dask":
            peak_mib += " in this process"

    error = np.sqrt(np.mean((found.heights - truth)[held_out] ** 2))
    of_mean = np.sqrt(np.mean((truth[known].mean() - truth)[held_out] ** 2))
    rate = (points**3 / 3 + 2 * points**2) / found.seconds_to_solve / 1e9
    places = f"{held_out.size:,}"
    verdict = "passed" if found.backward_error < 16 else "FAILED"
    click.echo(f"""
  solve       {found.seconds_to_solve:.1f} s, {rate:.0f} GFLOP/s on {workers} workers, with making the matrix
  check       ‖Ax − b‖∞ / (u (‖A‖∞ ‖x‖∞ + ‖b‖∞) n) = {found.backward_error:.2g} < 16: {verdict}
  prediction  {found.seconds_to_predict:.1f} s for {truth.size:,} places
  memory      {peak_mib} at the peak, {memory} allowed, {size} the matrix
  error       {error:.1f} m (RMS) at {places} held-out places, {of_mean:.1f} m when predicting the mean""")
    title = (
        f"{truth.size:,} heights predicted from {points:,}, {error:.0f} m off (their mean: {of_mean:.0f} m)\n"
        f"a dense system of {size} solved in {found.seconds_to_solve:.1f} s, {peak_mib} of memory used"
    )
    draw(Path(picture), terrain, known, found.heights, title)
    click.echo(f"  picture     {picture}")
    raise SystemExit(verdict == "FAILED")


if __name__ == "__main__":
    main()
