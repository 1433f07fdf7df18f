"""Kinds of arguments that several commands take."""

from __future__ import annotations

import re
from typing import Any

import click

from wrenla.cli.text import one_line
from wrenla_handler.stores.urls import open_store

__all__ = ["Address", "Duration"]

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


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


class Address(click.ParamType[str]):
    """A folder, file:///folder, s3://bucket/prefix or memory://name."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            open_store(value).close()
        except ValueError as error:
            self.fail(one_line(error), param, ctx)
        return str(value)
