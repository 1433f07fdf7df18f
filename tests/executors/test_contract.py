"""Contract of executors, run against processes and threads of this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import wrenla as wl
from wrenla.testing import ExecutorTests


class TestLocalExecutors(ExecutorTests):
    """Both kinds."""

    @pytest.fixture
    def executor(self, shared: wl.LocalExecutor) -> wl.LocalExecutor:
        return shared

    @pytest.fixture(params=["process", "thread"])
    def fresh(self, request: pytest.FixtureRequest, nothing_left: None) -> Iterator[wl.LocalExecutor]:
        with wl.LocalExecutor(2, request.param, allowed_mem="600 MiB") as made:
            yield made
