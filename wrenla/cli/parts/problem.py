"""Problem: one computation behind two commands, of which one runs it and the other shows its plan."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from wrenla.cli.parts.command import Command, document, told, with_options
from wrenla.cli.parts.files import OutputFile
from wrenla.cli.parts.operands import operand
from wrenla.cli.parts.params import Address, Shape, TileType
from wrenla.cli.parts.results import Output, output_option, overwrite_option
from wrenla.cli.parts.running import Running, place_options, running_options
from wrenla.cli.parts.text import warnings_in_one_line

if TYPE_CHECKING:
    from wrenla.executors.base import Executor
    from wrenla.matrices.matrix import BigMatrix

__all__ = ["Problem"]

_MANY = 100_000
"""Tiles of a matrix from which a plan may take half a minute."""

_IN_A_PLAN = """\
Show the plan of `wrenla {name}`: nothing is computed.

A matrix that is not there yet is given by its shape: 40000 is a square one (as B of solve, one right-hand
side), 40000x500 any other.
"""


_OF_PLANS = (
    click.option("--compare", is_flag=True, help="Set it beside plans with other tiles, cuts and workers."),
    click.option("--simulate", is_flag=True, help="Play the run through, with cold starts and limits."),
    click.option(
        "--draw", type=OutputFile(".svg"), metavar="FILE.svg", help="Draw the tasks of a small plan."
    ),
    click.option(
        "--functions",
        type=click.IntRange(128, 10_240),
        metavar="MB",
        help="Plan for --workers functions of AWS Lambda with so much memory, which need not be there.",
    ),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Computation that can be run, and of which a plan can be shown.

    Attributes
    ----------
    name : str
        Of both commands.
    operands : tuple of str
        Names of the matrices; "vector" is one that may be a vector.
    made : callable
        Makes the lazy result: gets the matrices by position, options by name.
    options : sequence of decorators
        Of `made`.
    help, short_help : str
    runs, plans : tuple of str
        Examples of the two commands.
    without_report : str
        What is said of a result that was computed and has no report.
    """

    name: str
    operands: tuple[str, ...]
    made: Callable[..., BigMatrix]
    options: Sequence[Callable[[Any], Any]]
    help: str
    short_help: str
    runs: tuple[str, ...]
    plans: tuple[str, ...]
    without_report: str = ""

    def command(self) -> Command:
        """Return the command that runs it."""
        options = [output_option, *self.options, overwrite_option, running_options]
        return self._made(self._run, options, self.help, self.runs)

    def plan_command(self) -> Command:
        """Return the command that shows its plan."""
        options = [*self.options, place_options, *_OF_PLANS]
        return self._made(self._show, options, _IN_A_PLAN.format(name=self.name), self.plans)

    def _run(self, output: str, overwrite: bool, **values: Any) -> None:
        running = _running(values)
        target = Output(output, overwrite, running)
        with running.executor() as executor, warnings_in_one_line() as warned:
            result = self._result(values, executor)
            start = time.perf_counter()
            kept = target.write(result, executor, running)
            seconds = time.perf_counter() - start
            report = kept.report
            if report is not None:
                told(str(report))
            elif self.without_report and not target.was_there:
                told(self.without_report)
            told(target.line(kept, seconds))
            document(
                {
                    "command": self.name,
                    "output": target.document(kept),
                    "report": None if report is None else asdict(report),
                    "seconds": seconds,
                    "executor": repr(executor),
                    "warnings": warned,
                }
            )

    def _show(
        self, compare: bool, simulate: bool, draw: str | None, functions: int | None, **values: Any
    ) -> None:
        import wrenla as wl

        running = _running(values)
        engine = None
        if functions is not None:
            if running.place.kind != "local":
                raise click.UsageError(f"--functions plans for what is not there; {running.place} is")
            if running.allowed_mem is not None:
                raise click.UsageError("--allowed-mem: of functions it follows from --functions")
            engine = wl.Engine.aws_lambda(running.workers or 100, functions)
            running = replace(running, workers=None)  # those that read, here
        with running.executor() as executor:
            where: Any = engine or executor
            result = self._result(values, executor, shapes=True)
            _warn_of_many(result)
            found = wl.plan(result, executor=where)
            told(str(found))
            shown: dict[str, Any] = {"plan": found.summary()}
            if compare:
                options = found.options()
                told(f"\n{options}")
                shown["options"] = [asdict(option) for option in options]
            if simulate:
                simulation = found.simulate()
                told(f"\n{simulation}")
                shown["simulation"] = simulation.summary()
            if draw is not None:
                found.draw(draw)
                told(f"\n{draw}: a picture of the tasks")
                shown["drawing"] = draw
            document({"command": self.name, "executor": repr(where), **shown})

    def _result(self, values: dict[str, Any], executor: Executor, *, shapes: bool = False) -> BigMatrix:
        """Return the result, not computed, of matrices that are there; or else, if wanted, of shapes."""
        tile, options, matrices = values["tile"], dict(values), []
        for name in ("tile", *self.operands):
            del options[name]
        for name in self.operands:
            address = values[name]
            shape = Shape.of(address) if shapes and not os.path.exists(address) else None
            if shape is None:
                matrices.append(operand(address, executor, tile))
                continue
            matrices.append(
                _formula(shape, tile, is_vector=name == "vector" and not set("x×,") & set(address))
            )
            if "check" in options:
                options["check"] = False  # nobody has said what the numbers are
        return self.made(*matrices, **options)

    def _made(
        self,
        function: Callable[..., None],
        options: Sequence[Callable[[Any], Any]],
        text: str,
        examples: tuple[str, ...],
    ) -> Command:
        letters = zip(self.operands, "AB", strict=False)
        arguments = [click.argument(name, type=Address(), metavar=letter) for name, letter in letters]
        tile = click.option(
            "--tile",
            type=TileType(),
            metavar="N",
            help="Edge of a tile, or its rows and columns as 512x256.  [default: chosen, or as stored]",
        )

        def call(**values: Any) -> None:  # click notes its options on it
            function(**values)

        make = click.command(self.name, cls=Command, help=text, short_help=self.short_help, examples=examples)
        return make(with_options(*arguments, *options, tile)(call))


def _warn_of_many(result: BigMatrix) -> None:
    """Say that a plan takes a while, before it does."""
    from wrenla.planning.canonical import topological

    grids = (node.grid.counts for node in topological([result._node]))
    rows, cols = max(grids, key=lambda counts: counts[0] * counts[1])
    if rows * cols > _MANY:
        click.echo(f"planning {rows:,} × {cols:,} tiles: larger ones (--tile) are planned faster", err=True)


def _running(values: dict[str, Any]) -> Running:
    """Take the options of running out of all options."""
    names = [name for name in Running.__dataclass_fields__ if name in values]
    return Running(**{name: values.pop(name) for name in names})


def _formula(shape: Shape, tile: Any, *, is_vector: bool) -> BigMatrix:
    import wrenla as wl

    return wl.random(shape.rows if is_vector else (shape.rows, shape.columns), tile=tile)
