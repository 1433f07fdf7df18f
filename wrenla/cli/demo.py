"""`wrenla demo`: a mountain range from scattered heights, by a system larger than the memory allowed."""

from __future__ import annotations

import os
from pathlib import Path

import click

from wrenla.cli.parts.command import Command, document, told
from wrenla.cli.parts.files import OutputFile
from wrenla.cli.parts.params import Memory, Place
from wrenla.cli.parts.running import Running, executor_option
from wrenla.units import counted, format_bytes

__all__ = ["demo"]

PICTURES = (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".eps")
"""What matplotlib writes, and others show: known before it is loaded."""


@click.command(
    cls=Command,
    short_help="Reconstruct a mountain range within little memory.",
    examples=(
        "wrenla demo --points 500 --picture small.png",
        "wrenla demo",
        "wrenla demo --executor dask --picture on-dask.png",
    ),
)
@click.option(
    "--points",
    type=click.IntRange(min=2),
    default=12_000,
    show_default=True,
    help="Measured points: the order of the system.",
)
@click.option(
    "--memory",
    type=Memory(),
    default="256 MiB",
    show_default=True,
    metavar="BYTES",
    help="Memory that all workers may use.",
)
@executor_option
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which points.")
@click.option(
    "--picture",
    type=OutputFile(*PICTURES, makes_folder=True),
    default="out/kriging.png",
    show_default=True,
    help="File to draw: *.png, *.pdf, *.svg, …; replaced if it is there.",
)
@click.option("--progress/--no-progress", default=True, help="Show progress on standard error.")
@click.pass_context
def demo(
    context: click.Context,
    /,
    points: int,
    memory: int,
    place: Place,
    seed: int,
    picture: str,
    progress: bool,
) -> None:
    """Predict a mountain range from some of its heights, by a dense system larger than the memory allowed.

    Shows the plan, the progress, and how good the solution is; ends with 1 if it is not. Needs matplotlib,
    which has the heights and draws the picture (the extra wrenla[demo]).
    """
    import numpy as np

    from wrenla.demo.kriging import draw, load_terrain, peak_memory, predict

    terrain = load_terrain()
    truth = terrain.heights.ravel()
    if points >= truth.size:
        raise click.UsageError(
            f"--points {points}: more than there are; at most {truth.size - 1} of the {truth.size} heights "
            "can be taken"
        )
    known, held_out = np.split(np.random.default_rng(seed).permutation(truth.size), [points])
    size, allowed = format_bytes(8 * points**2), format_bytes(memory)
    told(f"{truth.size:,} heights from {points:,} of them: a dense system of {size}, {allowed} allowed")

    with _running(place, memory).executor() as executor, peak_memory() as peak:
        found = predict(
            terrain.places, terrain.places[known], truth[known], executor, tell=told, progress=progress
        )
        peak_bytes, workers = peak(), executor.workers
    peak_mib = f"{peak_bytes / 2**20:.0f} MiB{'' if place.kind == 'local' else ' in this process'}"

    error = np.sqrt(np.mean((found.heights - truth)[held_out] ** 2))
    of_mean = np.sqrt(np.mean((truth[known].mean() - truth)[held_out] ** 2))
    rate = (points**3 / 3 + 2 * points**2) / found.seconds_to_solve / 1e9
    speed = f"{rate:.0f}" if rate >= 10 else f"{rate:.2g}"
    places = f"{held_out.size:,}"
    passed = bool(found.backward_error < 16)
    verdict = "passed" if passed else "FAILED"
    on = counted(workers, "worker")
    told(f"""
  solve       {found.seconds_to_solve:.1f} s, {speed} GFLOP/s on {on}, with making the matrix
  check       ‖Ax − b‖∞ / (u (‖A‖∞ ‖x‖∞ + ‖b‖∞) n) = {found.backward_error:.2g} < 16: {verdict}
  prediction  {found.seconds_to_predict:.1f} s for {truth.size:,} places
  memory      {peak_mib} at the peak, {allowed} allowed, {size} the matrix
  error       {error:.1f} m (RMS) at {places} held-out places, {of_mean:.1f} m when predicting the mean""")
    title = (
        f"{truth.size:,} heights predicted from {points:,}, {error:.0f} m off (their mean: {of_mean:.0f} m)\n"
        f"a dense system of {size} solved in {found.seconds_to_solve:.1f} s, {peak_mib} of memory used"
    )
    draw(Path(picture), terrain, known, found.heights, title)
    told(f"  picture     {picture}")
    document(
        {
            "points": points,
            "places": truth.size,
            "workers": workers,
            "solve_seconds": found.seconds_to_solve,
            "predict_seconds": found.seconds_to_predict,
            "gflops": rate,
            "hpl": found.backward_error,
            "passed": passed,
            "peak_bytes": peak_bytes,
            "allowed_bytes": memory,
            "matrix_bytes": 8 * points**2,
            "rms_error": error,
            "rms_of_mean": of_mean,
            "picture": picture,
        }
    )
    context.exit(0 if passed else 1)


def _running(place: Place, memory: int) -> Running:
    """Return where to compute: `memory` is that of all workers; on Lambda it is the deployment's."""
    match place.kind:
        case "lambda":
            return Running(place)
        case "dask":
            workers = len(os.sched_getaffinity(0))
            return Running(place, workers, memory // workers)
        case _:
            return Running(place, allowed_mem=memory)
