"""Options of a call (retries, timeout, deadline, …), and their checks."""

from __future__ import annotations

import difflib
import math
import numbers
import operator
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from wrenla.units import parse_bytes

__all__ = [
    "NOT_OF_EXECUTORS",
    "OPTIONS",
    "CallOptions",
    "at_least",
    "at_least_one",
    "buffer_size",
    "check_names",
    "finite",
    "memory_bytes",
    "one_of",
    "positive",
    "truth",
    "within",
]

_LARGEST = sys.float_info.max


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """Options of calls; `Executor.options` explains each of them."""

    timeout: float | None = None
    deadline: float | None = None
    retries: int = 0
    idempotent: bool = False
    record: bool | None = None
    logs: Literal["show", "quiet", "stderr"] | None = None
    include_modules: tuple[str, ...] = field(default=())
    exclude_modules: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        for name in ("timeout", "deadline"):
            seconds = getattr(self, name)
            if seconds is not None:
                object.__setattr__(self, name, positive(name, seconds, "a number of seconds"))
        object.__setattr__(self, "retries", at_least(0, "retries", self.retries))
        truth("idempotent", self.idempotent)
        if self.record is not None:
            truth("record", self.record, "True, False or None")
        if self.logs not in (None, "show", "quiet", "stderr"):
            raise ValueError(f"logs={self.logs!r}: 'show', 'quiet' or 'stderr', or None for the setting")
        for name in ("include_modules", "exclude_modules"):
            modules = getattr(self, name)
            listed = isinstance(modules, Iterable) and not isinstance(modules, str)
            modules = tuple(modules) if listed else modules
            if not (listed and all(isinstance(module, str) for module in modules)):
                raise TypeError(f"{name}={modules!r}: a list of names of modules")
            object.__setattr__(self, name, modules)


OPTIONS = tuple(option.name for option in fields(CallOptions))
"""Names of what can be said of a call."""


NOT_OF_EXECUTORS: Mapping[str, str] = {
    **dict.fromkeys(
        ("initializer", "initargs"),
        "let the function make what it needs, once in each worker: functools.cache keeps it there",
    ),
    **dict.fromkeys(OPTIONS, "options of calls are said by executor.options(…)"),
}
"""What others give to an executor, and what to do instead, whatever its kind."""


def check_names(
    owner: str,
    unknown: Iterable[str],
    names: Sequence[str] = OPTIONS,
    *,
    kind: str = "option",
    elsewhere: Mapping[str, str] = {},
) -> None:
    """Refuse names that there are not, whatever their values.

    Parameters
    ----------
    owner : str
        What was called, for the message.
    unknown : iterable of str
    names : sequence of str
        Those that there are.
    kind : str
        What they are.
    elsewhere : mapping of str to str
        Names that other libraries have for such things, and what to say here.

    Examples
    --------
    >>> check_names("options()", ["retry"])
    Traceback (most recent call last):
      ...
    TypeError: options() has no option 'retry'; did you mean 'retries'? there are: timeout, deadline, ...
    """
    for name in unknown:
        near = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        hint = elsewhere.get(name) or f"{hint}there are: {', '.join(names)}"
        raise TypeError(f"{owner} has no {kind} {name!r}; {hint}")


def one_of(name: str, value: Any, other: str, same: Any) -> Any:
    """Return an argument that has a second name, for those who know it from another library.

    Examples
    --------
    >>> one_of("workers", None, "max_workers", 3)
    3
    """
    if value is not None and same is not None:
        raise TypeError(f"{name}={value!r} and {other}={same!r}: they are the same, say one of them")
    return value if same is None else same


def buffer_size(number: Any) -> int | None:
    """Return the argument `buffersize` of `map`, with errors as those of the standard library."""
    if number is None:
        return None
    if isinstance(number, bool) or not hasattr(number, "__index__"):
        raise TypeError(f"buffersize={number!r}: buffersize must be an integer or None")
    if operator.index(number) < 1:
        raise ValueError(f"buffersize={number!r}: a whole number, at least 1; buffersize must be None or > 0")
    return operator.index(number)


def at_least_one(name: str, number: Any) -> int:
    """Return a number that is to be whole and positive."""
    return at_least(1, name, number)


def at_least(least: int, name: str, number: Any) -> int:
    """Return a number that is to be whole, and not below the least one; NumPy's are as good as Python's."""
    if not isinstance(number, bool) and hasattr(number, "__index__"):
        try:
            count = operator.index(number)
        except TypeError:  # an array has the method, too
            count = least - 1
        if count >= least:
            return count
    said = "0 or more" if least == 0 else f"at least {least}"
    if name == "max_workers":  # the standard library's name, and its words
        said += "; max_workers must be greater than 0"
    raise ValueError(f"{name}={number!r}: a whole number, {said}")


def within(
    name: str,
    value: Any,
    what: str = "a number",
    *,
    least: float = -math.inf,
    most: float = _LARGEST,
    above: float = -math.inf,
    whole: bool = False,
) -> Any:
    """Return a number that is to be within limits; infinity is one if `most` is.

    Examples
    --------
    >>> within("workers", 4.0, "a whole number", least=1, whole=True)
    4
    >>> within("share", 2, least=0, most=1)
    Traceback (most recent call last):
      ...
    ValueError: share=2: a number, from 0 to 1
    """
    right = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if right and whole:
        right = math.isfinite(value) and value == int(value)
    if not (right and least <= value <= most and value > above):
        limits = f" greater than {above:,g}" if above > -math.inf else ""
        if least > -math.inf:
            limits = f", at least {least:,g}" if most >= _LARGEST else f", from {least:,g} to {most:,g}"
        raise ValueError(f"{name}={value!r}: {what}{limits}")
    return int(value) if whole else value


def positive(name: str, number: Any, what: str = "a number") -> float:
    """Return a number that is to be finite and greater than 0."""
    if not (_is_finite(number) and number > 0):
        raise ValueError(f"{name}={number!r}: {what} greater than 0, or None")
    return float(number)


def finite(name: str, number: Any, what: str = "a number") -> float:
    """Return a number that may be negative, but neither infinite nor a NaN."""
    if not _is_finite(number):
        raise ValueError(f"{name}={number!r}: {what}, or None")
    return float(number)


def truth(name: str, value: Any, right: str = "True or False") -> bool:
    """Return a truth value that is to be one: what merely counts as true, as the text "no", is a mistake."""
    if not isinstance(value, bool):
        raise TypeError(f"{name}={value!r}: {right}")
    return value


def memory_bytes(name: str, size: Any, example: str = "2 GiB") -> int:
    """Return a number of bytes that is to be positive, given as such or as a text with a unit."""
    count = 0
    if _is_finite(size):
        count = int(size)
    elif isinstance(size, str) and size.strip():
        try:
            count = int(parse_bytes(size))
        except (ValueError, OverflowError):
            count = 0
    if count < 1:
        raise ValueError(f"{name}={size!r}: a number of bytes, at least 1, or a text like {example!r}")
    return count


def _is_finite(number: Any) -> bool:
    return isinstance(number, numbers.Real) and not isinstance(number, bool) and math.isfinite(number)
