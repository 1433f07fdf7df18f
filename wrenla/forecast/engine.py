"""Engine: the workers that a simulated run has, with what slows real ones down."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from typing import Any

from wrenla.executors.aws_lambda.function_model import FunctionSpec
from wrenla.executors.aws_lambda.prices import Prices, default_prices
from wrenla.executors.calls.options import within
from wrenla.planning.cost_model import ExecutorModel

__all__ = ["Engine"]

_LARGEST = 1e15
"""Beyond all seconds and dollars, and below what overflows when it is added up."""


_KINDS: tuple[tuple[tuple[str, ...], str, dict[str, Any]], ...] = (
    (("workers", "initial_workers", "allowed_bytes"), "a whole number", {"whole": True, "least": 1}),
    (("cache_bytes",), "a whole number", {"whole": True, "least": 0}),
    (
        (
            *("flops_per_second", "bytes_per_second", "total_bytes_per_second"),
            *("workers_per_second", "requests_per_second"),
        ),
        "a number",
        {"least": 1e-6, "most": math.inf},
    ),
    (("overlap", "failures", "stragglers"), "a number", {"least": 0, "most": 1}),
    (
        (
            *("latency", "cold_start", "dispatch", "longest_task", "worthwhile"),
            *("dollars_per_second", "dollars_per_invocation", "dollars_per_put", "dollars_per_get"),
            "dollars_per_gb_month",
        ),
        "a number",
        {"least": 0, "most": _LARGEST},
    ),
    (("straggler_factor",), "a number", {"least": 1, "most": _LARGEST}),
    (("seed",), "a whole number", {"whole": True}),
)
"""What parameters have to be: names, and what `within` takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Engine of a planned or simulated run: workers, speeds, limits, prices, failures.

    What is not named is that of the plan, or, in a plan, that of the default executor.

    Parameters
    ----------
    workers : int, optional
        Tasks that run at the same time, at most.
    flops_per_second : float, optional
        Of one worker, in real double precision operations, whatever the kernel.
    bytes_per_second : float, optional
        Between one worker and the store, each way. Where it is named, arrays of this process count as read
        from that store.
    total_bytes_per_second : float
        Between all workers together and the store.
    latency : float, optional
        Seconds that each task costs beside its work.
    dispatch : float
        Seconds of the driver for each task; it sends one after the other.
    overlap : float
        Share of the reading that goes on while kernels run, as far as they last long enough; 0 to 1.
    cold_start : float, optional
        Seconds before a worker's first task; they cost what others do, as on AWS Lambda since 2025-08-01.
    initial_workers : int, optional
        Workers that can start at once; all of them if neither the engine nor the plan says it.
    workers_per_second : float, optional
        Further workers that can start in a second, as a service lets a function grow.
    requests_per_second : float
        Requests that the store takes: more have to wait.
    failures : float
        Probability that an attempt at a task fails, at any moment of it; it is tried again, as in a real run.
    stragglers, straggler_factor : float
        Probability that a task is slow, and how many times as long it takes then.
    allowed_bytes : int, optional
        Memory that a worker may use.
    cache_bytes : int, optional
        Bytes that a worker has for its task and for tiles that it keeps at hand, in memory and on its disk:
        it need not ask the store for them again. 0: it asks for each tile that it reads.
    longest_task : float, optional
        Seconds that one task may last, for plans: a simulation runs the tasks that the plan has.
    worthwhile : float, optional
        Seconds of work below which tasks go to a worker together.
    dollars_per_second, dollars_per_invocation, dollars_per_put, dollars_per_get : float, optional
        Of a worker while it works, of handing something to it, and of requests to the store.
    dollars_per_gb_month : float, optional
        Of a gigabyte in the store for 30 days.
    function : FunctionSpec, optional
        The function on AWS Lambda that it is, as `aws_lambda` says.
    seed : int
        Of what happens by chance: the same engine always gives the same simulation.

    Raises
    ------
    ValueError
        A number makes no sense.

    Examples
    --------
    >>> Engine(workers=64, flops_per_second=1e12, bytes_per_second=2e9).workers
    64
    """

    workers: int | None = None
    flops_per_second: float | None = None
    bytes_per_second: float | None = None
    total_bytes_per_second: float = math.inf
    latency: float | None = None
    dispatch: float = 0.0
    overlap: float = 0.0
    cold_start: float | None = None
    initial_workers: int | None = None
    workers_per_second: float | None = None
    requests_per_second: float = math.inf
    failures: float = 0.0
    stragglers: float = 0.0
    straggler_factor: float = 4.0
    allowed_bytes: int | None = None
    cache_bytes: int | None = None
    longest_task: float | None = None
    worthwhile: float | None = None
    dollars_per_second: float | None = None
    dollars_per_invocation: float | None = None
    dollars_per_put: float | None = None
    dollars_per_get: float | None = None
    dollars_per_gb_month: float | None = None
    function: FunctionSpec | None = field(default=None, repr=False)
    seed: int = 0

    def __post_init__(self) -> None:
        defaults = {each.name: each.default for each in fields(self)}
        for names, what, limits in _KINDS:
            for name in names:
                value = getattr(self, name)
                if value is None and defaults[name] is None:
                    continue
                object.__setattr__(self, name, within(name, value, what, **limits))
        if self.failures == 1:
            raise ValueError("failures=1: no task would ever end")

    @classmethod
    def aws_lambda(
        cls,
        workers: int = 100,
        memory: int = 1769,
        *,
        prices: Prices | None = None,
        arm: bool = False,
        timeout: float = 900,
        storage: int = 512,
        **more: Any,
    ) -> Engine:
        """Return the engine that a function on AWS Lambda is, without asking AWS.

        Parameters
        ----------
        workers : int
            Calls at the same time. Accounts have 1,000 at first, and more when they ask for them.
        memory : int
            Megabytes of the function.
        prices : Prices, optional
            By default those of the settings.
        arm : bool
            Its processors are AWS's own, at their lower price; they count as fast as others.
        timeout : float
            Seconds that one call may last.
        storage : int
            Megabytes of ``/tmp``.
        **more
            Other parameters of `Engine`.

        Notes
        -----
        Each 1,769 MB are a processor of 30 GFLOP/s, S3 gives each worker 75 MB/s, an invocation takes 30 ms
        and a cold start 2 s, all of which counts as billed; 1,000 workers start at once, and 100 more in each
        second.

        Examples
        --------
        >>> import wrenla as wl
        >>> engine = wl.Engine.aws_lambda(workers=3000, memory=3538)
        >>> plan = wl.plan(wl.zeros((200_000, 200_000), tile=4096).shift(1.0).cholesky(), executor=engine)
        >>> plan.dollars > 1
        True
        """
        within("workers", workers, "a whole number", least=1, whole=True)  # None is another engine's
        prices = default_prices() if prices is None else prices
        known = FunctionSpec(memory, prices, timeout, arm, storage).model(workers)
        names = {each.name for each in fields(cls)}
        model = {each.name: getattr(known, each.name) for each in fields(known) if each.name in names}
        return cls(**{**model, **more})

    def filled(self, model: ExecutorModel) -> Engine:
        """Return the engine with the numbers of a model where it has none of its own."""
        mine = {each.name for each in fields(self) if getattr(self, each.name) is None}
        known: dict[str, Any] = {each.name: getattr(model, each.name) for each in fields(model)}
        found = replace(self, **{name: known[name] for name in mine & known.keys()})
        return found if found.initial_workers else replace(found, initial_workers=found.workers)

    @property
    def unnamed(self) -> set[str]:
        """Names of what a cost model needs and the engine leaves open."""
        optional = {"initial_workers", "function", "cache_bytes"}
        return {each.name for each in fields(self) if getattr(self, each.name) is None} - optional

    @property
    def numbers(self) -> dict[str, Any]:
        """Numbers of a cost model that it names."""
        known = {each.name for each in fields(ExecutorModel)}
        mine = {each.name: value for each in fields(self) if (value := getattr(self, each.name)) is not None}
        return {name: mine[name] for name in mine.keys() & known}

    def model(self, base: ExecutorModel | None = None) -> ExecutorModel:
        """Return the cost model for plans: that of the engine, and what it does not name from another one."""
        numbers = self.numbers
        if self.function is not None or self.bytes_per_second is not None:  # a store that all workers share
            numbers["uploads"] = True
        return (
            ExecutorModel(**numbers) if base is None else replace(base, tile_bytes=0, processors=0, **numbers)
        )
