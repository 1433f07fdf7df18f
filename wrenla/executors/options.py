"""What can be said of a call."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

__all__ = ["CallOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """How calls are carried out; `Executor.options` says what each of them means."""

    timeout: float | None = None
    deadline: float | None = None
    retries: int = 0
    idempotent: bool = False
    record: bool = False
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
        if isinstance(self.retries, bool) or not isinstance(self.retries, int) or self.retries < 0:
            raise ValueError(f"retries={self.retries!r}: a whole number, 0 or more")
        for name in ("include_modules", "exclude_modules"):
            modules = getattr(self, name)
            if isinstance(modules, str) or not all(isinstance(module, str) for module in modules):
                raise TypeError(f"{name}={modules!r}: a list of names of modules")
            object.__setattr__(self, name, tuple(modules))
