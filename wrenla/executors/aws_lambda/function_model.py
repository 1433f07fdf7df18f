"""Cost model of a function on AWS Lambda, by its memory."""

from __future__ import annotations

from dataclasses import dataclass, replace

from wrenla.array_like import flag
from wrenla.executors.aws_lambda.prices import Prices
from wrenla.executors.calls.options import within
from wrenla.planning.cost_model import ExecutorModel
from wrenla_handler.lambda_entry import threads_of

__all__ = ["MEMORIES", "FunctionSpec", "with_memory"]

MEMORIES = range(128, 10_241)
"""Megabytes that a function may have."""

_STORAGE = range(512, 10_241)
"""Megabytes of ``/tmp`` that a function may have."""

_TIMEOUT = 900
"""Seconds that AWS lets a call last."""

_RUNTIME = 224 << 20
"""Bytes of a function's memory that Python, NumPy, SciPy and boto3 take, and BLAS's buffers."""

_LONGEST, _SHARE = 120.0, 0.8
"""Seconds that a tile task may last by the plan, or part of the function's time limit if that is less."""

_FLOPS = 30e9
"""Of one processor of Lambda's, in double precision: what OpenBLAS reaches on half a core with AVX2."""


_COLD_START, _AT_ONCE, _PER_SECOND = 2.0, 1000, 100.0
"""Seconds of a cold start; functions that start at once, and in each further second."""


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """Function on AWS Lambda, as far as its speed and its price are concerned.

    Attributes
    ----------
    memory, storage : int
        Megabytes of memory, and of ``/tmp``.
    timeout : float
        Seconds that one call may last.
    arm : bool
        Whether its processors are AWS's own, at their lower price.
    prices : Prices

    Raises
    ------
    ValueError, TypeError
        There is no such function; these are no prices.
    """

    memory: int
    prices: Prices
    timeout: float = 900
    arm: bool = False
    storage: int = 512

    def __post_init__(self) -> None:
        for name, sizes in (("memory", MEMORIES), ("storage", _STORAGE)):
            limits = {"least": sizes[0], "most": sizes[-1]}
            size = within(name, getattr(self, name), "a whole number of megabytes", whole=True, **limits)
            object.__setattr__(self, name, size)
        within("timeout", self.timeout, "a number of seconds", above=0)
        within("timeout", self.timeout, "a number of seconds", least=0, most=_TIMEOUT)
        flag(self.arm, "arm")
        if not isinstance(self.prices, Prices):
            raise TypeError(f"prices={self.prices!r}: wl.Prices(…), or None for those of the settings")

    def memory_for(self, nbytes: int) -> int | None:
        """Return the least megabytes of a function whose tasks need so many bytes, None if none has them."""
        least = max(MEMORIES[0], -(-(nbytes + _RUNTIME) >> 20))
        return least if least in MEMORIES else None

    def model(self, workers: int) -> ExecutorModel:
        """Return the model of so many calls at a time.

        A processor for each 1,769 MB, 75 MB/s to and from S3 whatever the memory, 30 ms for an invocation and
        2 s for a cold start, 1,000 of them at once and 100 more in each second.
        """
        prices, allowed = self.prices, max(1, (self.memory << 20) - _RUNTIME)
        return ExecutorModel(
            workers=workers,
            flops_per_second=_FLOPS * min(threads_of(self.memory), self.memory / 1769),
            bytes_per_second=75e6,
            latency=0.03,
            longest_task=min(_LONGEST, _SHARE * self.timeout),
            allowed_bytes=allowed,
            cache_bytes=allowed + (self.storage << 20),
            worthwhile=0.25,
            dollars_per_second=prices.per_second(self.memory, arm=self.arm, storage=self.storage),
            dollars_per_invocation=prices.invocation,
            dollars_per_put=prices.put,
            dollars_per_get=prices.get,
            dollars_per_gb_month=prices.gb_month,
            cold_start=_COLD_START,
            initial_workers=_AT_ONCE,
            workers_per_second=_PER_SECOND,
            function=self,
        )


def with_memory(model: ExecutorModel, memory: int) -> ExecutorModel:
    """Return the model of a function with other megabytes of memory, which its speed and price follow.

    What was measured of kernels and memory follows its processors; S3, and what a task takes, stay the same.
    """
    spec: FunctionSpec = replace(model.function, memory=memory)
    old, new = model.function.model(model.workers), spec.model(model.workers)
    faster, rates = new.flops_per_second / old.flops_per_second, model.rates
    if rates is not None:
        shared = rates.shared(1 / faster).at_store(rates.read, rates.written)
        rates = replace(shared, task=rates.task, tile=rates.tile, handing=rates.handing)
    dearer = new.dollars_per_second / old.dollars_per_second if old.dollars_per_second else 1.0
    return replace(
        model,
        allowed_bytes=new.allowed_bytes,
        cache_bytes=new.cache_bytes,
        flops_per_second=model.flops_per_second * faster,
        dollars_per_second=model.dollars_per_second * dearer,
        rates=rates,
        function=spec,
    )
