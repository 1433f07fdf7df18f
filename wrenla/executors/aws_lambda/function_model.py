"""Cost model of a function on AWS Lambda, by its memory."""

from __future__ import annotations

from dataclasses import replace

from wrenla.executors.aws_lambda.prices import Prices
from wrenla.planning.cost_model import ExecutorModel
from wrenla_handler.lambda_entry import threads_of

__all__ = ["MEMORIES", "function_model", "memory_of", "with_memory"]

MEMORIES = range(128, 10_241)
"""Megabytes that a function may have."""

_RUNTIME = 224 << 20
"""Bytes of a function's memory that Python, NumPy, SciPy and boto3 take, and BLAS's buffers."""

_LONGEST, _SHARE = 120.0, 0.8
"""Seconds that a tile task may last by the plan, or part of the function's time limit if that is less."""

_FLOPS = 30e9
"""Of one processor of Lambda's, in double precision: what OpenBLAS reaches on half a core with AVX2."""


def function_model(
    workers: int,
    memory: int,
    *,
    timeout: float = 900,
    arm: bool = False,
    storage: int = 512,
    prices: Prices,
) -> ExecutorModel:
    """Return the model of so many calls at a time of a function with some megabytes of memory.

    A processor for each 1,769 MB, 75 MB/s to and from S3 whatever the memory, 30 ms for an invocation.

    Parameters
    ----------
    workers : int
    memory, storage : int
        Megabytes of memory, and of ``/tmp``.
    timeout : float
        Seconds that one call may last.
    arm : bool
    prices : Prices
    """
    return ExecutorModel(
        workers=workers,
        flops_per_second=_FLOPS * min(threads_of(memory), memory / 1769),
        bytes_per_second=75e6,
        latency=0.03,
        longest_task=min(_LONGEST, _SHARE * timeout),
        allowed_bytes=max(1, (memory << 20) - _RUNTIME),
        worthwhile=0.25,
        dollars_per_second=prices.per_second(memory, arm=arm, storage=storage),
        dollars_per_invocation=prices.invocation,
        dollars_per_put=prices.put,
        dollars_per_get=prices.get,
        dollars_per_gb_month=prices.gb_month,
    )


def memory_of(model: ExecutorModel) -> int:
    """Return the megabytes of the function that a model is of; 0 if it is of none."""
    return (model.allowed_bytes + _RUNTIME) >> 20 if model.dollars_per_invocation else 0


def with_memory(model: ExecutorModel, memory: int) -> ExecutorModel:
    """Return the model of a function with other megabytes of memory, which its speed and price follow."""
    before = memory_of(model)
    old, new = (min(threads_of(mb), mb / 1769) for mb in (before, memory))
    return replace(
        model,
        allowed_bytes=max(1, (memory << 20) - _RUNTIME),
        flops_per_second=model.flops_per_second * new / old,
        dollars_per_second=model.dollars_per_second * memory / before,
    )
