"""Rates of a worker that nobody has measured."""

from __future__ import annotations

from wrenla_handler.rates import CURVES, PASSES, Curve, Rates

RATES = Rates(
    tuple(Curve(n * 1e10, 10.0 * n) for n in range(1, len(CURVES) + 1)),
    (2.0, 1.0, 2.0, 1.0),
    *[n * 1e9 for n in range(1, len(PASSES) + 1)],
    task=1e-4,
    tile=1e-5,
    start=0.01,
)
