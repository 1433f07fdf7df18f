"""Kinds of arguments that several commands take."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from wrenla.cli.parts.text import one_line
from wrenla.units import parse_bytes

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["Address", "Duration", "Finite", "Memory", "Place", "PlaceType", "Shape", "TileType"]

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}

_SHAPE = re.compile(r"(\d+(?:\.\d+)?(?:e\d+)?)(?:\s*[x×,]\s*(\d+(?:\.\d+)?(?:e\d+)?))?")

_PAIR = re.compile(r"(\d+)(?:\s*[x×,]\s*(\d+))?")


class Duration(click.ParamType[float]):
    """Seconds, or a number with the unit s, m, h or d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        found = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([smhd]?)", value.strip())
        if found is None:
            self.fail(f"{value!r} is no duration: write seconds, or 90s, 30m, 2h, 1d", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


class Finite(click.ParamType[float]):
    """A number that is not NaN or infinity."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            found = float(value)
        except ValueError:
            self.fail(f"{value!r} is no number", param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value!r}: a finite number is needed", param, ctx)
        return found


class Address(click.ParamType[str]):
    """A file, a folder, file:///folder, s3://bucket/prefix or memory://name."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        # Here: stores need a tenth of a second.
        from wrenla_handler.stores.urls import open_store

        try:
            open_store(value).close()
        except ValueError as error:
            self.fail(one_line(error), param, ctx)
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[Any]]:
        from wrenla.cli.parts.completion import complete_matrix

        return list(complete_matrix(incomplete))


class Memory(click.ParamType[int]):
    """Bytes, as a number or as "8 GiB"."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            found = parse_bytes(value)
        except (ValueError, OverflowError) as error:
            self.fail(one_line(error), param, ctx)
        if found < 1:
            self.fail(f"{value!r}: more than no memory is needed", param, ctx)
        return found


class TileType(click.ParamType["int | tuple[int, int]"]):
    """Edge of a tile, or its rows and columns as 512x256."""

    name = "tile"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | tuple[int, int]:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        found = _PAIR.fullmatch(value.strip())
        if found is None or 0 in (lengths := [int(each) for each in found.groups() if each]):
            self.fail(f"{value!r} is no tile: write its edge, 512, or rows and columns, 512x256", param, ctx)
        return lengths[0] if len(lengths) == 1 else (lengths[0], lengths[1])


class Shape(NamedTuple):
    """Shape of a matrix that is not there."""

    rows: int
    columns: int

    @classmethod
    def of(cls, text: str) -> Shape | None:
        """Return the shape that a text stands for: 1000, 1e3 or 1000x200; None if it is none.

        Examples
        --------
        >>> Shape.of("1000"), Shape.of("3e1x4"), Shape.of("A.npy")
        (Shape(rows=1000, columns=1000), Shape(rows=30, columns=4), None)
        """
        found = _SHAPE.fullmatch(text)
        if found is None:
            return None
        lengths = [float(each) for each in found.groups() if each]
        if not all(length.is_integer() for length in lengths):
            return None
        return cls(int(lengths[0]), int(lengths[-1]))


class Place(NamedTuple):
    """Kind of an executor, and which one of that kind."""

    kind: str
    rest: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.rest}" if self.rest else self.kind


class PlaceType(click.ParamType[Place]):
    """Executor: local, dask, dask:ADDRESS, lambda or lambda:FUNCTION."""

    name = "executor"
    _kinds = ("local", "dask", "lambda")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Place:
        if isinstance(value, Place):
            return value
        kind, colon, rest = value.partition(":")
        if kind not in self._kinds or (colon and not rest) or (rest and kind == "local"):
            self.fail(
                f"{value!r} is no executor: write local, dask or dask:tcp://host:8786, lambda or lambda:NAME",
                param,
                ctx,
            )
        return Place(kind, rest)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[Any]]:
        from click.shell_completion import CompletionItem

        return [CompletionItem(kind) for kind in self._kinds if kind.startswith(incomplete)]
