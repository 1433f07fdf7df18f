"""Costs of tests: processor seconds by file, printed at the end of a run with `--costs=15`.

Seconds of a clock depend on all that runs beside a test; those of a processor hardly do. Processes count once
they have ended: a server that many tests share is in none of them.
"""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Generator
from typing import Any

import pytest


def processor_seconds() -> float:
    """Return what this process and those that it has started and that have ended have used."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


class Costs:
    """Plugin that adds up what each file's tests have used, here or in processes of pytest-xdist."""

    def __init__(self, lines: int) -> None:
        self.lines = lines
        self._seconds: Counter[str] = Counter()
        self._tests: Counter[str] = Counter()
        self._before = processor_seconds()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, Any, Any]:
        """Note what was used since the report before; the report takes it to the process that sums it up."""
        report = yield
        now = processor_seconds()
        report.processor_seconds, self._before = now - self._before, now
        return report

    def pytest_runtest_logstart(self) -> None:
        """Leave out what lies between two tests, such as reading them."""
        self._before = processor_seconds()

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Add what a part of a test has used to its file."""
        file = report.nodeid.partition("::")[0]
        self._seconds[file] += report.processor_seconds
        self._tests[file] += report.when == "call"

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the files that have used most."""
        terminalreporter.section(f"processor seconds: {self._seconds.total():.0f} in tests")
        for file, seconds in self._seconds.most_common(self.lines):
            terminalreporter.write_line(f"{seconds:8.1f}  {self._tests[file]:4d} tests  {file}")
