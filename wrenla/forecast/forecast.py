"""Forecast: a plan with what it was made from, so that it can be compared, simulated and drawn."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from wrenla.errors import PlanError
from wrenla.evaluate.evaluation import model_of, plan_of
from wrenla.executors.base import Executor, check_executor
from wrenla.executors.default import default_executor
from wrenla.forecast.draw import drawn
from wrenla.forecast.engine import Engine, engine_of
from wrenla.forecast.html import plan_page
from wrenla.forecast.options import Asked, Options, options_of
from wrenla.forecast.retile import main_tile, retiled
from wrenla.forecast.simulate import simulate
from wrenla.forecast.simulation import Simulation
from wrenla.planning.cost_model import ExecutorModel
from wrenla.planning.cut import Cut
from wrenla.planning.expression import Node
from wrenla.planning.plan import Plan
from wrenla.run.scheduler import Schedule
from wrenla.units import parse_bytes
from wrenla.whole_file import whole_file

__all__ = ["Forecast", "forecast"]


@dataclass(frozen=True, eq=False, repr=False)
class Forecast(Plan):
    """The plan of a computation, as `wl.plan` returns it.

    Attributes
    ----------
    asked : tuple of Node
        The expressions as they were given.
    engine : Engine
        What it was made for, if that is no executor.

    See Also
    --------
    Plan : its numbers.
    """

    asked: tuple[Node, ...] = field(default=())
    engine: Engine = field(default=Engine())

    def simulate(
        self, engine: Engine | Executor | None = None, *, schedule: Schedule = "dataflow"
    ) -> Simulation:
        """Return the course of a run on an engine, by the scheduler of real runs. Nothing is computed.

        Of a procedure it is the first attempt: see `follows`.

        Parameters
        ----------
        engine : Engine or Executor, optional
            By default what the plan was made for.
        schedule : {"dataflow", "waves"}

        Raises
        ------
        PlanError
            With failures, a task has failed too often.

        Examples
        --------
        >>> import wrenla as wl
        >>> plan = wl.plan(wl.random((4000, 4000), tile=500).gram())
        >>> many = plan.simulate(wl.Engine(workers=64, flops_per_second=20e9, bytes_per_second=75e6))
        >>> few = plan.simulate(wl.Engine(workers=4, flops_per_second=20e9, bytes_per_second=75e6))
        >>> many.seconds < few.seconds
        True
        """
        chosen = self.engine if engine is None else engine_of(engine)
        return simulate(self, chosen.filled(self.model.typical), schedule)

    def _repr_html_(self) -> str:
        """Return the plan for a notebook: its lines, and how many tasks each wave has."""
        return plan_page(self)

    def draw(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return a picture of the tasks as SVG, and write it to a file: a column a wave, a colour a kernel.

        Parameters
        ----------
        path : str or path, optional
            Such as "dag.svg". A picture that is there is replaced.

        Raises
        ------
        ValueError
            The path does not end in .svg.
        PlanError
            There are more than 1,000 tasks.

        Examples
        --------
        >>> import wrenla as wl
        >>> wl.plan(wl.eye(60, tile=20).shift(1.0).cholesky()).draw().count("<title>task ")
        6
        """
        if path is not None and Path(path).suffix.lower() != ".svg":
            raise ValueError(f"draw: {os.fspath(path)!r}: the picture is SVG; name the file *.svg")
        text = drawn(self)
        if path is not None:
            with whole_file(path) as file:
                file.write(text.encode())
        return text

    def options(
        self,
        *,
        tile: Sequence[int] | None = None,
        cut: Sequence[str] | None = None,
        workers: Sequence[int] | None = None,
        memory: Sequence[int | str] | None = None,
        make: Callable[[int], Any] | None = None,
    ) -> Options:
        """Return this plan beside others, and which of them is best.

        Without arguments one thing at a time is different: larger and smaller tiles, other cuts, and, where
        workers cost something, more and fewer of them. With arguments: every combination of what they name.
        Inputs are planned as if they were in other tiles; `BigMatrix.rechunk` and ``tile=`` make them so.
        What is made of parts that are tiles, as LU is, has to be made anew for each: by `make`.

        Parameters
        ----------
        tile : sequence of int, optional
            Edges of tiles.
        cut : sequence of str, optional
            How sums are cut: "none", "8" (groups of 8 products) or "doubling 8".
        workers : sequence of int, optional
        memory : sequence of int or str, optional
            Bytes that a worker may use, e.g. "2 GiB". Of a function on AWS Lambda all its memory, which its
            speed and its price follow.
        make : callable, optional
            Called with an edge of tiles; returns the BigMatrix, or a list of them, with inputs in such tiles.

        Returns
        -------
        Options
            A sequence of `Option`; printed, a table.

        Raises
        ------
        PlanError
            Other tiles were asked for, and the expression cannot be had in them without `make`.
        ValueError
            A choice makes no sense.

        Examples
        --------
        >>> import numpy
        >>> import wrenla as wl
        >>> options = wl.plan(wl.random((4096, 4096), tile=128).gram()).options(tile=[128, 512])
        >>> options.recommended.tile
        512
        >>> make = lambda tile: wl.random((2048, 2048), tile=tile).solve(numpy.ones(2048))
        >>> [option.tile for option in wl.plan(make(256)).options(tile=[256, 512], make=make)]
        [256, 512]
        """
        old = main_tile(self.asked)

        def planned(edge: int, chosen: Cut | None, model: ExecutorModel) -> Plan:
            if edge == old:
                nodes: Sequence[Node] = self.asked
            elif make is not None:
                found = make(edge)
                nodes = [each._node for each in (found if isinstance(found, list | tuple) else [found])]
            else:
                try:
                    nodes = retiled(self.asked, old, edge)
                except ValueError as error:
                    raise PlanError(
                        f"this cannot be planned in tiles of {edge} as it is ({error}): pass make=, a "
                        "function that makes it anew with an edge of tiles, such as "
                        "lambda tile: wl.from_function(f, shape, tile=tile).solve(b)"
                    ) from error
            return plan_of(nodes, model, chosen)

        allowed = None if memory is None else [int(parse_bytes(each)) for each in memory]
        numbers = (_positive(*each) for each in (("tile", tile), ("workers", workers), ("memory", allowed)))
        return options_of(self, old, Asked(cut, *numbers), planned)


def _positive(name: str, numbers: Sequence[int] | None) -> list[int] | None:
    """Return some numbers, each a whole one and at least 1."""
    if numbers is None:
        return None
    found = [numbers] if isinstance(numbers, int) else list(numbers)
    for number in found:
        if isinstance(number, bool) or int(number) != number or number < 1:
            raise ValueError(f"{name}={numbers!r}: whole numbers, at least 1")
    return [int(number) for number in found]


def forecast(nodes: Sequence[Node], executor: Executor | Engine | None) -> Forecast:
    """Return the plan for some results, with what it was made from."""
    engine = executor if isinstance(executor, Engine) else Engine()
    if isinstance(executor, Engine):
        model = engine.model(default_executor().model)
    else:
        model = model_of(check_executor(executor) or default_executor(), nodes, ask=True)
    plan = plan_of(nodes, model)
    plan.check()
    known: dict[str, Any] = {each.name: getattr(plan, each.name) for each in fields(Plan)}
    return Forecast(**known, asked=tuple(nodes), engine=engine)
