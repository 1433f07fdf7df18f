"""Options: plans of one computation with other tiles, cuts, workers and memory, side by side."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

from wrenla.errors import PlanError
from wrenla.executors.aws_lambda.function_model import MEMORIES, with_memory
from wrenla.planning.cost_model import ExecutorModel
from wrenla.planning.cut import Cut
from wrenla.planning.plan import Plan
from wrenla.units import format_bytes, format_dollars, format_time

__all__ = ["Asked", "Option", "Options", "options_of"]

_NEAR = 1.02
"""Plans whose seconds differ by less than this are equally fast, as far as a model can tell."""

_MOST_TASKS = 500_000
"""Tasks beyond which a plan takes too long to be made only for comparison."""


@dataclass(frozen=True, slots=True)
class Option:
    """A plan among others.

    Attributes
    ----------
    tile : int
        Edge of the input's tiles.
    cut : str
        How sums are cut into tasks.
    workers : int
    bytes_allowed, bytes_projected : int
        Memory that a worker may use, and that the largest task needs.
    tasks : int
    seconds, dollars : float
        As predicted.
    fits : bool
        Whether the largest task fits into a worker.
    current, recommended : bool
        Whether it is the plan as it is; whether it is the best one.
    """

    tile: int
    cut: str
    workers: int
    bytes_allowed: int
    bytes_projected: int
    tasks: int
    seconds: float
    dollars: float
    fits: bool
    current: bool = False
    recommended: bool = False


class Options(Sequence[Option]):
    """Some plans side by side; printed as a table, the recommended one marked.

    That is the one with the least seconds × dollars, or, where nothing costs anything, the fastest; of plans
    that are equally good within 2 % the current one, or else the one with fewest tasks.
    """

    def __init__(self, options: Iterable[Option]) -> None:
        self._options = _marked(list(options))

    def __getitem__(self, index: Any) -> Any:
        return self._options[index]

    def __len__(self) -> int:
        return len(self._options)

    @property
    def recommended(self) -> Option | None:
        """The best one; None if none fits."""
        return next((option for option in self._options if option.recommended), None)

    def to_json(self, indent: int | None = None) -> str:
        """Return the table as JSON: a list of objects with the attributes of `Option`."""
        return json.dumps([asdict(option) for option in self._options], indent=indent)

    def __str__(self) -> str:
        table = [_TITLES, *map(_cells, self._options)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        return "\n".join(
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in table
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(title)}</th>" for title in _TITLES)
        rows = "".join(
            ("<tr style='font-weight:bold'>" if option.recommended else "<tr>")
            + "".join(f"<td>{html.escape(cell)}</td>" for cell in _cells(option))
            + "</tr>"
            for option in self._options
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


_TITLES = ["", "tile", "sums", "workers", "allowed", "needed", "tasks", "time", "cost"]


def _cells(option: Option) -> list[str]:
    mark = "recommended" if option.recommended else "current" if option.current else ""
    if option.recommended and option.current:
        mark = "current, recommended"
    return [
        mark if option.fits else "does not fit",
        f"{option.tile:,}",
        option.cut,
        f"{option.workers:,}",
        format_bytes(option.bytes_allowed),
        format_bytes(option.bytes_projected),
        f"{option.tasks:,}",
        format_time(option.seconds),
        format_dollars(option.dollars) if option.dollars else "-",
    ]


def _marked(options: list[Option]) -> list[Option]:
    """Return the options with the best of them marked."""

    def price(option: Option) -> float:
        return option.seconds * (option.dollars or 1.0)

    fitting = [option for option in options if option.fits]
    if not fitting:
        return options
    least = min(map(price, fitting))
    good = [option for option in fitting if price(option) <= _NEAR * least]
    best = min(good, key=lambda option: (not option.current, option.tasks, price(option)))
    return [replace(option, recommended=option is best) for option in options]


@dataclass(frozen=True, slots=True)
class Asked:
    """Choices that are to be compared; None: those around the plan as it is, one kind at a time."""

    cut: Sequence[str] | None = None
    tile: Sequence[int] | None = None
    workers: Sequence[int] | None = None
    memory: Sequence[int] | None = None

    def around(self, tile: int, cut: Cut, model: ExecutorModel) -> Iterator[_Choice]:
        """Yield the choices, the present one first."""
        megabytes = model.function.memory if model.function else 0
        now = _Choice(tile, None, model.workers, None)
        yield now
        if all(each is None for each in (self.tile, self.cut, self.workers, self.memory)):
            for edge in (tile // 4, tile // 2, tile * 2, tile * 4):
                if edge >= 32:
                    yield replace(now, tile=edge)
            for other in dict.fromkeys((Cut(), Cut("fixed", 4), Cut("fixed", 16), Cut("doubling", 16))):
                if other != cut:
                    yield replace(now, cut=other)
            if model.dollars_per_second:
                for factor in (0.25, 0.5, 2, 4):
                    yield replace(now, workers=max(1, round(model.workers * factor)))
            for other_memory in (megabytes // 2, megabytes * 2):
                if other_memory in MEMORIES:
                    yield replace(now, memory=other_memory << 20)
            return
        cuts: list[Cut | None] = [None] if self.cut is None else [*map(_cut, self.cut)]
        memories: Sequence[int | None] = self.memory or [None]
        for edge, chosen, workers, memory in product(
            self.tile or [tile], cuts, self.workers or [model.workers], memories
        ):
            yield _Choice(edge, chosen, workers, memory)


@dataclass(frozen=True, slots=True)
class _Choice:
    tile: int
    cut: Cut | None
    workers: int
    memory: int | None

    def model(self, model: ExecutorModel) -> ExecutorModel:
        """Return a model with other workers and memory."""
        model = model.with_workers(self.workers)
        if self.memory is None:
            return model
        if model.function:
            return with_memory(model, self.memory >> 20)
        return replace(model, allowed_bytes=self.memory)


def _cut(text: str) -> Cut:
    """Return the cut that a text names: "none", "8" or "doubling 8"."""
    found = re.fullmatch(r"none|(doubling )?([1-9][0-9]*)", str(text))
    if found is None:
        raise ValueError(f"cut={text!r}: 'none', a number of products such as '8', or 'doubling 8'")
    doubling, size = found.groups()
    return Cut() if size is None else Cut("doubling" if doubling else "fixed", int(size))


def options_of(
    plan: Plan, tile: int, asked: Asked, planned: Callable[[int, Cut | None, ExecutorModel], Plan]
) -> Options:
    """Return plans side by side.

    Parameters
    ----------
    plan : Plan
        As it is.
    tile : int
        Edge of its input's tiles.
    asked : Asked
    planned : callable
        Makes the plan with an edge of tiles, a cut and a model; a PlanError if it cannot be made.
    """
    model = plan.model
    found: dict[tuple[object, ...], Option] = {}
    for choice in asked.around(tile, plan.cut, model):
        many = choice.tile < tile and plan.tasks * (tile / choice.tile) ** 3 > _MOST_TASKS
        if many and asked.tile is None:
            continue  # what somebody has asked for is planned, however long that takes
        other = choice.model(model)
        try:
            made = planned(choice.tile, choice.cut, other)
        except PlanError:
            if asked.tile is not None or not found:
                raise
            continue  # nobody has asked for it
        option = Option(
            choice.tile,
            str(made.cut),
            choice.workers,
            other.allowed_bytes,
            made.projected,
            made.tasks,
            made.seconds,
            made.dollars,
            made.projected <= other.allowed_bytes,
            current=not found,
        )
        # cuts that nobody has asked for are others only if the tasks are
        sums = made.graph.stop.tobytes() if asked.cut is None else option.cut
        found.setdefault((option.tile, sums, option.workers, option.bytes_allowed), option)
    return Options(found.values())
