"""Contract of executors, run against the function of the Lambda emulator."""

from __future__ import annotations

import pytest

from wrenla.testing import ExecutorTests


@pytest.mark.slow  # each of its parts is tested on the emulator in its own file, too
class TestLambdaExecutor(ExecutorTests):
    """Of the fixture `executor` of this folder."""
