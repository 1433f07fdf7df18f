"""Prices of AWS for invocations, requests and storage."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from typing import Any

from wrenla.config import settings
from wrenla.errors import SettingError
from wrenla.executors.calls.options import within

__all__ = ["Prices", "default_prices"]

_FREE_STORAGE = 512
"""Megabytes of storage that every function has for nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Dollars, without free tier, discounts and transfer; by default those of the table ``prices.toml``.

    Attributes
    ----------
    gb_second_x86, gb_second_arm : float
        One gigabyte of a function's memory for one second, by its processor.
    invocation : float
    storage_gb_second : float
        One gigabyte of a function's temporary storage (``/tmp``) for one second, beyond the first 512 MB.
    put, get : float
        One request to S3.
    gb_month : float
        One gigabyte in S3 for 30 days.
    date, region, source : str
        When and where these are the prices, and where they were found.

    Raises
    ------
    ValueError
        A price is no number of dollars.

    Examples
    --------
    >>> f"{Prices().call(seconds=1.0, memory=1769, arm=False):.8f}"
    '0.00002899'
    >>> Prices().region
    'us-east-1'
    """

    gb_second_x86: float = None  # type: ignore[assignment]
    gb_second_arm: float = None  # type: ignore[assignment]
    invocation: float = None  # type: ignore[assignment]
    storage_gb_second: float = None  # type: ignore[assignment]
    put: float = None  # type: ignore[assignment]
    get: float = None  # type: ignore[assignment]
    gb_month: float = None  # type: ignore[assignment]
    date: str = ""
    region: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        for name in (*_NUMBERS, *_WORDS):
            value = getattr(self, name)
            if value is not None:
                _check(name, value)
        own = any(getattr(self, name) is not None for name in _NUMBERS)
        for name, value in _table().items():
            if name in _NUMBERS:
                if getattr(self, name) is None:
                    object.__setattr__(self, name, value)
            elif not own and not getattr(self, name):  # what is said of the table holds for the table
                object.__setattr__(self, name, value)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Prices:
        """Return the prices in a TOML file of the form of ours, ``wrenla/executors/aws_lambda/prices.toml``.

        Raises
        ------
        SettingError
            It cannot be read, or a price is missing, unknown or no number; the message says which.
        """
        try:
            with open(os.path.expanduser(path), "rb") as file:
                return cls(**_checked(tomllib.load(file), os.fspath(path)))
        except OSError as error:
            raise SettingError(f"prices {os.fspath(path)!r}: {error.strerror or error}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingError(f"prices {os.fspath(path)!r}: {error}") from None

    def per_second(self, memory: int, *, arm: bool, storage: int = _FREE_STORAGE) -> float:
        """Return the price per second of a function by its megabytes of memory and storage."""
        of_memory = memory / 1024 * (self.gb_second_arm if arm else self.gb_second_x86)
        return of_memory + max(0, storage - _FREE_STORAGE) / 1024 * self.storage_gb_second

    def call(self, seconds: float, memory: int, *, arm: bool, storage: int = _FREE_STORAGE) -> float:
        """Return the price of one call by its billed seconds."""
        return self.invocation + seconds * self.per_second(memory, arm=arm, storage=storage)


def default_prices() -> Prices:
    """Return the prices of the settings, or those that come with wrenla."""
    path = settings().prices
    return Prices.read(path) if path else Prices()


_WORDS = ("date", "region", "source")
_NUMBERS = tuple(field.name for field in fields(Prices) if field.name not in _WORDS)


@cache
def _table() -> dict[str, Any]:
    """Return the prices that come with wrenla."""
    text = resources.files(__package__).joinpath("prices.toml").read_text("utf-8")
    return _checked(tomllib.loads(text), "prices.toml")


def _checked(table: dict[str, Any], place: str) -> dict[str, Any]:
    """Return a table's prices and words by name; none may be missing."""
    tables = {name: part for name, part in table.items() if isinstance(part, dict)}
    found = {name: table[name] for name in table if name not in tables}
    for part in tables.values():
        found.update(part)
    for name in (*_WORDS, *_NUMBERS):
        if name not in found:
            raise SettingError(f"prices {place!r}: no {name!r}; there are {', '.join((*_WORDS, *_NUMBERS))}")
    for name, value in found.items():
        if name not in _WORDS and name not in _NUMBERS:
            raise SettingError(f"prices {place!r}: unknown {name!r}; there are {', '.join(_NUMBERS)}")
        try:
            _check(name, value)
        except ValueError as error:
            raise SettingError(f"prices {place!r}: {error}") from None
    return found


def _check(name: str, value: Any) -> None:
    """Raise ValueError if a value cannot be what has such a name."""
    if name in _NUMBERS:
        within(name, value, "a number of dollars", least=0)
    elif not isinstance(value, str):
        raise ValueError(f"{name}={value!r}: a text")
