"""Costs: dollars of a run by what it takes, and how many tasks go to a worker together to make it less."""

from __future__ import annotations

from collections.abc import Mapping

from wrenla.planning.cost_model import GB_MONTH, ExecutorModel
from wrenla.units import format_dollars

__all__ = ["cost_in_words", "costs", "tasks_together"]

_LARGEST_BATCH = 64
"""Tasks of one batch at most: more would be too much to lose, and to wait for."""


def tasks_together(mean: float, worthwhile: float) -> int:
    """Return how many tasks of some seconds, on average, are worth being handed to a worker, at most."""
    return max(1, min(_LARGEST_BATCH, int(worthwhile / max(1e-6, mean))))


def costs(
    model: ExecutorModel, *, busy: float, invocations: int, puts: int, gets: int, byte_seconds: float
) -> dict[str, float]:
    """Return dollars for compute, requests and storage, and in all.

    Parameters
    ----------
    model : ExecutorModel
        With its prices.
    busy : float
        Seconds of all workers together.
    invocations : int
        How often something is handed to a worker.
    puts, gets : int
        Requests to the store.
    byte_seconds : float
        Bytes in the store, summed over time.
    """
    parts = {
        "compute": busy * model.dollars_per_second + invocations * model.dollars_per_invocation,
        "requests": puts * model.dollars_per_put + gets * model.dollars_per_get,
        "storage": byte_seconds / GB_MONTH * model.dollars_per_gb_month,
    }
    return {**parts, "total": sum(parts.values())}


def cost_in_words(cost: Mapping[str, float]) -> str:
    """Return the parts of some costs."""
    return ", ".join(f"{name} {format_dollars(value)}" for name, value in cost.items() if name != "total")
