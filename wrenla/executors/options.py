"""What can be said of a call."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, field

__all__ = ["CallOptions", "at_least_one"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """How calls are carried out; `Executor.options` says what each of them means."""

    timeout: float | None = None
    deadline: float | None = None
    retries: int = 0
    idempotent: bool = False
    record: bool | None = None
    include_modules: tuple[str, ...] = field(default=())
    exclude_modules: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        for name in ("timeout", "deadline"):
            seconds = getattr(self, name)
            if seconds is None:
                continue
            number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
            if not (number and seconds > 0 and math.isfinite(seconds)):
                raise ValueError(f"{name}={seconds!r}: a number of seconds greater than 0, or None")
        if not hasattr(self.retries, "__index__") or isinstance(self.retries, bool) or self.retries < 0:
            raise ValueError(f"retries={self.retries!r}: a whole number, 0 or more")
        for name in ("include_modules", "exclude_modules"):
            modules = getattr(self, name)
            if isinstance(modules, str) or not all(isinstance(module, str) for module in modules):
                raise TypeError(f"{name}={modules!r}: a list of names of modules")
            object.__setattr__(self, name, tuple(modules))


def at_least_one(name: str, number: int) -> int:
    """Return a number that is to be whole and positive."""
    try:
        if (count := operator.index(number)) >= 1:
            return count
    except TypeError:
        pass
    raise ValueError(f"{name}={number!r}: a whole number of at least 1")
