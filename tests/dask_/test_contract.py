"""`DaskExecutor` keeps the contract of executors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import wrenla as wl
from wrenla.testing import ExecutorTests


class TestDaskExecutor(ExecutorTests):
    """On a cluster of two processes; those that end it have one of their own."""

    @pytest.fixture
    def executor(self, shared: wl.DaskExecutor) -> wl.DaskExecutor:
        return shared

    @pytest.fixture
    def fresh(self, client: object, nothing_left: None) -> Iterator[wl.DaskExecutor]:
        with wl.DaskExecutor(client) as made:
            yield made
