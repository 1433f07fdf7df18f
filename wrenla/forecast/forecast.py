"""Forecast: a plan with what it was made from, so that it can be compared, simulated and drawn."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

from wrenla.errors import PlanError
from wrenla.evaluate.evaluation import model_of, plan_of
from wrenla.executors.base import Executor, check_executor
from wrenla.executors.calls.options import within
from wrenla.executors.default import default_executor
from wrenla.forecast.draw import drawn
from wrenla.forecast.engine import Engine
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

_BYTES = 1 << 20
"""A smaller number for a function's memory is one of megabytes: no function has a single one."""


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
            By default what the plan was made for. What an engine does not name is as in the plan; one that
            names no speed has the plan's seconds for each task. For an executor the same is planned anew.
        schedule : {"dataflow", "waves"}

        Raises
        ------
        PlanError
            A task does not fit into a worker; with failures, a task has failed too often.
        ValueError, TypeError
            There is no such schedule; `engine` is none.

        Examples
        --------
        >>> import wrenla as wl
        >>> plan = wl.plan(wl.random((4000, 4000), tile=500).gram())
        >>> many = plan.simulate(wl.Engine(workers=64, flops_per_second=20e9, bytes_per_second=75e6))
        >>> few = plan.simulate(wl.Engine(workers=4, flops_per_second=20e9, bytes_per_second=75e6))
        >>> many.seconds < few.seconds
        True
        """
        if schedule not in get_args(Schedule):
            raise ValueError(f"schedule={schedule!r}: {' or '.join(map(repr, get_args(Schedule)))}")
        if isinstance(engine, Executor):
            model = model_of(engine, self.asked, ask=True)
            plan = plan_of(self.asked, model, self.cut)
            plan.check()
            return simulate(plan, Engine(), schedule)
        chosen = self.engine if engine is None else engine
        if not isinstance(chosen, Engine):
            raise TypeError(f"engine={engine!r}: a wl.Engine(…), an executor, or None for the plan's own")
        self.check(chosen.model(self.model))
        return simulate(self, chosen, schedule)

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
            with whole_file(Path(path).expanduser()) as file:
                file.write(text.encode())
        return text

    def options(
        self,
        *,
        tile: int | Sequence[int] | None = None,
        cut: int | str | Sequence[int | str] | None = None,
        workers: int | Sequence[int] | None = None,
        memory: int | str | Sequence[int | str] | None = None,
        make: Callable[[int], Any] | None = None,
    ) -> Options:
        """Return this plan beside others, and which of them is best.

        Without arguments one thing at a time is different: larger and smaller tiles, other cuts if they make
        other tasks, and, where workers cost something, more and fewer of them. With arguments: every
        combination of what they name. Inputs are planned as if they were in other tiles, those with tiles as
        the largest one has; the others stay as they are. `BigMatrix.rechunk` and ``tile=`` make them so. What
        is made of parts that are tiles, as LU is, has to be made anew for each: by `make`.

        Parameters
        ----------
        tile : int or sequence of int, optional
            Edges of tiles.
        cut : int or str, or sequence of such, optional
            How sums are cut: "none", "8" (groups of 8 products) or "doubling 8".
        workers : int or sequence of int, optional
        memory : int or str, or sequence of such, optional
            Bytes that a worker may use, e.g. "2 GiB". Of a function on AWS Lambda all its memory, which its
            speed and its price follow, in AWS's megabytes of 2**20 bytes: 1769 or "1769 MB".
        make : callable, optional
            Called with an edge of tiles; returns the BigMatrix with inputs in such tiles, or a list, tuple or
            dict of them, as `wl.plan` takes.

        Returns
        -------
        Options
            A sequence of `Option`; printed, a table.

        Raises
        ------
        PlanError
            Other tiles were asked for, and the expression cannot be had in them without `make`.
        ValueError, TypeError
            A choice makes no sense; `make` is no function, or makes no matrix, or one of another shape.

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
                nodes = _nodes(found := make(edge))
                if not nodes:
                    raise TypeError(
                        f"make({edge}) returned {found!r}: a BigMatrix, or a list or dict of them"
                    )
                _check_same(nodes, self.asked, edge)
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

        if make is not None and not callable(make):
            raise TypeError(f"make={make!r}: a function that is called with an edge of tiles")
        cuts = None if cut is None else list(map(str, _several(cut)))
        memories = None if memory is None else _several(memory)
        if memories and self.model.function:
            memories = list(map(_of_function, memories))
        memories = _counts("memory", memories)
        return options_of(
            self,
            old,
            Asked(cuts, _counts("tile", tile), _counts("workers", workers), memories),
            planned,
        )


def _several(values: Any) -> list[Any]:
    """Return one value, or some of them, as a list."""
    return [values] if isinstance(values, str) or not isinstance(values, Iterable) else list(values)


def _of_function(memory: Any) -> int:
    """Return the bytes of a function's memory, which may be in the megabytes of AWS."""
    if isinstance(memory, str):
        return parse_bytes(re.sub(r"(?i)([kmgt])b$", r"\1iB", memory.strip()))
    found: int = within("memory", memory, "a whole number", least=1, whole=True)
    return found << 20 if found < _BYTES else found


def _counts(name: str, values: Any) -> list[int] | None:
    """Return some numbers, or texts with units if they are of memory, each a whole one and at least 1."""
    if values is None:
        return None
    found = []
    for value in _several(values):
        number = parse_bytes(value) if name == "memory" and isinstance(value, str) else value
        found.append(within(name, number, "a whole number", least=1, whole=True))
    return found


def _nodes(found: Any) -> list[Node]:
    """Return the expressions behind nested lists, tuples and dicts of matrices; none for anything else."""
    if isinstance(found, list | tuple | dict):
        parts = [_nodes(each) for each in (found.values() if isinstance(found, dict) else found)]
        return [node for part in parts for node in part] if all(parts) else []
    node = getattr(found, "_node", None)
    return [node] if isinstance(node, Node) else []


def _check_same(nodes: Sequence[Node], asked: Sequence[Node], edge: int) -> None:
    """Refuse results of other shapes than those that were asked for: a smaller problem would look better."""
    shapes, wanted = ([node.grid.shape[: node.ndim] for node in each] for each in (nodes, asked))
    if shapes != wanted:
        raise ValueError(
            f"make({edge}) returned matrices of the shapes {shapes}, not {wanted}: that is another problem"
        )


def _described(engine: Engine) -> ExecutorModel:
    """Return the cost model that an engine describes, with the default executor's numbers if it needs any."""
    if not (unnamed := engine.unnamed):
        return engine.model()
    executor = default_executor()
    measured = unnamed & {"flops_per_second", "bytes_per_second", "latency"}
    return engine.model(executor.measured().typical if measured else executor.model)


def forecast(nodes: Sequence[Node], executor: Executor | Engine | None, saved: bool = False) -> Forecast:
    """Return the plan for some results, which may be `saved`, with what it was made from."""
    engine = executor if isinstance(executor, Engine) else Engine()
    if engine.numbers:
        model = _described(engine)
    else:
        given = None if isinstance(executor, Engine) else check_executor(executor)
        model = model_of(given or default_executor(), nodes, ask=True)
    plan = plan_of(nodes, model, saved=saved)
    plan.check()
    known: dict[str, Any] = {each.name: getattr(plan, each.name) for each in fields(Plan)}
    return Forecast(**known, asked=tuple(nodes), engine=engine)
