"""Options of one evaluation."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from wrenla.config import Settings, settings
from wrenla.errors import SettingError
from wrenla.report.progress import progress_listener
from wrenla.report.record import recording
from wrenla.run.events import Listener

__all__ = ["Options"]

_ELSEWHERE = {
    "workers": "an executor has it: wrenla.LocalExecutor(workers=…), or WRENLA_WORKERS",
    "allowed_mem": "an executor has it: wrenla.LocalExecutor(allowed_mem=…), or WRENLA_ALLOWED_MEM",
    "blas_threads": "an executor has it: wrenla.LocalExecutor(blas_threads=…), or WRENLA_BLAS_THREADS",
    "prices": "an executor has it: wrenla.LambdaExecutor(prices=…), or WRENLA_PRICES",
    "store": "WRENLA_STORE says where temporaries go",
    "tile": "whatever makes a matrix has it, such as wrenla.random(shape, tile=…)",
}
"""Settings that an evaluation cannot have for itself, and where they are made."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of one evaluation: settings, listeners of its events, and a file for its report."""

    settings: Settings
    callbacks: tuple[Listener, ...] = ()
    report: str | os.PathLike[str] | None = None

    @classmethod
    def of(
        cls,
        *,
        callbacks: Iterable[Listener] = (),
        report: str | os.PathLike[str] | None = None,
        **arguments: Any,
    ) -> Options:
        """Return the settings in force, some replaced by arguments.

        Raises
        ------
        SettingError
            A setting is unknown, or is not one of an evaluation: others belong to executors and matrices.
        TypeError
            A callback cannot be called.
        """
        told = tuple(callbacks) if isinstance(callbacks, Iterable) else (callbacks,)
        for callback in told:
            if not callable(callback):
                raise TypeError(f"callbacks={callbacks!r}: functions of one event, as [print]")
        for name in arguments.keys() & _ELSEWHERE.keys():
            raise SettingError(f"argument: {name} is not a setting of one evaluation; {_ELSEWHERE[name]}")
        if isinstance(record := arguments.get("record"), os.PathLike):
            arguments["record"] = os.fspath(record)
        return cls(settings(**arguments), told, report)

    @contextmanager
    def listeners(self) -> Iterator[list[Listener]]:
        """Hand out the listeners of events."""
        with ExitStack() as stack:
            found = list(self.callbacks)
            record = self.settings.record
            if self.report is not None:
                from wrenla.report.reporting import reporting

                found.append(stack.enter_context(reporting(self.report, record)))
            elif record:
                found.append(stack.enter_context(recording(record)))
            if (bar := stack.enter_context(progress_listener(self.settings.progress))) is not None:
                found.append(bar)
            yield found
