"""Running computations: the options that say where and how, and the executor that they describe."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import click

from wrenla.cli.parts.command import with_options
from wrenla.cli.parts.interrupts import held_back
from wrenla.cli.parts.params import Memory, Place, PlaceType
from wrenla.cli.parts.text import one_line

if TYPE_CHECKING:
    from wrenla.executors.base import Executor
    from wrenla.executors.local.executor import LocalExecutor

__all__ = ["Running", "executor_option", "local_executor", "place_options", "running_options"]

_NEVER = "520w"
"""As Dask writes it: ten years."""

executor_option = click.option(
    "--executor",
    "place",
    type=PlaceType(),
    default="local",
    show_default=True,
    metavar="WHERE",
    help="local, threads of this process; dask[:ADDRESS], or a cluster of processes on this machine; "
    "lambda[:FUNCTION].",
)

place_options = with_options(
    executor_option,
    click.option(
        "--workers", type=click.IntRange(min=1), metavar="N", help="Tasks at a time.  [default: the setting]"
    ),
    click.option(
        "--allowed-mem",
        type=Memory(),
        metavar="BYTES",
        help="Memory that all workers may use, as '8 GiB'; with dask, each.  [default: the setting]",
    ),
)
"""Options that say where: a plan needs them, too."""

running_options = with_options(
    place_options,
    click.option(
        "--schedule",
        type=click.Choice(["dataflow", "waves"]),
        help="Each task as soon as its inputs are there, or wave by wave.",
    ),
    click.option(
        "--progress/--no-progress",
        default=None,
        help="Show progress on standard error.  [default: on a terminal, if it lasts]",
    ),
    click.option(
        "--record",
        type=click.Path(dir_okay=True),
        metavar="FILE",
        help="Keep the events of the run there, for `wrenla report`.  [default: the setting]",
    ),
    click.option(
        "--report",
        type=click.Path(dir_okay=False),
        metavar="FILE.html",
        help="Write a report of the run there: what bounded it, what each worker did when.",
    ),
    click.option(
        "--max-dollars",
        type=click.FloatRange(min=0, min_open=True),
        metavar="X",
        help="With lambda: spend no more than that.",
    ),
)
"""Options of commands that compute."""


@dataclass(frozen=True, slots=True)
class Running:
    """Values of the options that say where and how to compute.

    Attributes
    ----------
    place : Place
    workers, allowed_mem : int or None
        None: the setting.
    schedule, progress, record, report
        As in `BigMatrix.compute`.
    max_dollars : float or None
    """

    place: Place
    workers: int | None = None
    allowed_mem: int | None = None
    schedule: Literal["dataflow", "waves"] | None = None
    progress: bool | None = None
    record: str | None = None
    report: str | None = None
    max_dollars: float | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Options of `compute`, `persist` and `save`."""
        names = ("schedule", "progress", "record", "report")
        given = {name: getattr(self, name) for name in names}
        return {name: value for name, value in given.items() if value is not None}

    @contextmanager
    def executor(self) -> Iterator[Executor]:
        """Make the executor, and end it behind the block."""
        if self.max_dollars is not None and self.place.kind != "lambda":
            raise click.UsageError(f"--max-dollars is for --executor lambda; {self.place} costs nothing")
        with ExitStack() as stack:
            match self.place.kind:
                case "lambda":
                    found = self._on_lambda()
                case "dask":
                    found = self._on_dask(stack)
                case _:
                    found = local_executor(self.workers, self.allowed_mem, "thread")
            stack.enter_context(found)  # where none is named, too
            yield found

    def _on_lambda(self) -> Executor:
        import wrenla as wl

        if self.allowed_mem is not None:
            raise click.UsageError(
                "--allowed-mem: on Lambda it is the deployment's: wrenla deploy --memory MB sets it"
            )
        return wl.LambdaExecutor(
            self.place.rest or "wrenla", concurrency=self.workers, max_dollars=self.max_dollars
        )

    def _on_dask(self, stack: ExitStack) -> Executor:
        import wrenla as wl

        try:
            import dask
            import distributed
        except ImportError:
            raise ImportError("--executor dask needs Dask: pip install 'wrenla[distributed]'") from None
        address = self.place.rest or dask.config.get("scheduler-address", None)
        if address:
            return wl.DaskExecutor(address, allowed_mem=self.allowed_mem, workers=self.workers)
        # So long after a death Dask looks whether the worker is back, and else ends its nanny for good: also
        # if it has been back since, and has died again just now. Nannies of this process need no such look.
        stack.enter_context(dask.config.set({"distributed.deploy.lost-worker-timeout": _NEVER}))
        with held_back():  # a cluster that is half made, or whose workers have gone, ends in many lines
            cluster: Any = distributed.LocalCluster(  # type: ignore[no-untyped-call]
                self.workers or len(os.sched_getaffinity(0)),
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",
            )
        return wl.DaskExecutor(stack.enter_context(cluster), allowed_mem=self.allowed_mem)


def local_executor(
    workers: int | None, allowed_mem: int | None = None, kind: Literal["process", "thread"] = "process"
) -> LocalExecutor:
    """Return an executor on this machine; what is not said is as the settings have it.

    Raises
    ------
    click.UsageError
        The values do not go together.
    """
    from wrenla.config import settings
    from wrenla.errors import SettingError
    from wrenla.executors.local.executor import LocalExecutor

    now = settings()
    workers, memory = workers or now.workers or None, allowed_mem or now.allowed_mem or None
    try:
        return LocalExecutor(workers, kind, allowed_mem=memory, blas_threads=now.blas_threads)
    except SettingError:
        raise
    except ValueError as error:
        raise click.UsageError(one_line(error)) from error
