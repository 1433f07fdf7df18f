"""A map and a linear system on AWS Lambda: on the one that this machine plays, unless you say otherwise.

python examples/on_lambda.py          on this machine; nothing can reach a real account
python examples/on_lambda.py --aws    on the function that `wrenla deploy` has made in your account
"""

from __future__ import annotations

import contextlib
import logging
import time

import click
import numpy as np

import wrenla as wl
from wrenla.emulator import LambdaEmulator

N, TILE, WORKERS = 1536, 384, 4


@click.command()
@click.option(
    "--aws", "real", is_flag=True, help="On the function that `wrenla deploy` has made: it costs a cent."
)
def main(real: bool) -> None:
    """Run a map and a solve on AWS Lambda, and say what they cost.

    Without --aws that is a Lambda which this machine plays: nothing can reach a real account.
    """
    logging.basicConfig(format="%(message)s")
    logging.getLogger("wrenla.aws").setLevel(
        logging.INFO
    )  # says what is being done: it takes a minute at first
    place = contextlib.nullcontext() if real else LambdaEmulator(memory=1769)
    start = time.perf_counter()
    with place as emulator, wl.LambdaExecutor(concurrency=WORKERS, max_dollars=0.20) as executor:
        print(f"{executor}, ready after {time.perf_counter() - start:.1f} s")
        if emulator is not None and emulator.missing:
            print(f"not as on AWS: {'; '.join(emulator.missing)}")
        map_functions(executor)
        solve_system(executor)
        stats = executor.stats()
        print(
            f"cost        ${executor.spent:.6f} at AWS's prices: {stats.attempts} invocations, "
            f"{stats.billed:.1f} s billed, {stats.cold_starts} cold starts"
        )


def map_functions(executor: wl.LambdaExecutor) -> None:
    """Call a function for each of a hundred numbers."""
    widths = np.linspace(0.1, 100, 100)
    start = time.perf_counter()
    norms = list(executor.map(lambda b: np.linalg.norm(np.random.normal(0, b, 1000)), widths))
    print(
        f"map         {len(set(norms))} different results of 100 calls, {time.perf_counter() - start:.1f} s"
    )


def solve_system(executor: wl.LambdaExecutor) -> None:
    """Solve a dense positive definite system that a function makes, tile by tile, where it is needed."""
    places = np.random.default_rng(0).random((N, 2))

    def covariance(rows, cols):  # type: ignore[no-untyped-def]
        distance = np.linalg.norm(places[rows][:, None] - places[cols], axis=2)
        return (1 + 9 * distance) * np.exp(-9 * distance)

    K = wl.from_function(covariance, (N, N), tile=TILE, structure="pos").shift(1e-3)
    b = np.sin(9 * places[:, 0])
    x = K.solve(b)
    print(wl.plan(x, executor=executor))
    start = time.perf_counter()
    weights = x.compute(executor)
    print(f"solve       {time.perf_counter() - start:.1f} s")
    A = covariance(np.arange(N), np.arange(N)) + 1e-3 * np.eye(N)
    norm = np.abs(A).sum(axis=1).max()
    u = np.finfo(float).eps / 2
    error = np.abs(A @ weights - b).max() / (u * (norm * np.abs(weights).max() + np.abs(b).max()) * N)
    verdict = "passed" if error < 16 else "FAILED"
    print(f"check       ‖Ax − b‖∞ / (u (‖A‖∞ ‖x‖∞ + ‖b‖∞) n) = {error:.1e} < 16: {verdict}")
    if not error < 16:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
