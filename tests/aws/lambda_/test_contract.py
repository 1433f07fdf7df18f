"""Contract of executors, run against the function of the Lambda emulator."""

from __future__ import annotations

from wrenla.testing import ExecutorTests


class TestLambdaExecutor(ExecutorTests):
    """Of the fixture `executor` of this folder."""
