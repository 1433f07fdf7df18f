"""Samples of parameter sets, and what costs of tests are printed."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.sampling import EVERY_DAY, mark_slow, sample

SETS = [
    {"side": side, "op": op, "dtype": dtype} for side, op, dtype in itertools.product("LR", "NTCR", (1, 2, 3))
]


@pytest.mark.parametrize("number", [1, 4, 8, 12, 23])
def test_sample_has_each_value_and_the_number_asked_for(number: int) -> None:
    chosen = [SETS[k] for k in sample(SETS, number)]
    assert len(chosen) == max(number, 4)
    for name in SETS[0]:
        assert {each[name] for each in chosen} == {each[name] for each in SETS}


def test_sample_of_a_number_has_no_more() -> None:
    for number in (1, 2, 5):
        assert len(sample(SETS, number, each=False)) == number


def test_sample_as_large_as_a_square_has_all_pairs_of_the_two_longest_parameters() -> None:
    chosen = [SETS[k] for k in sample(SETS, 13)]
    assert len({(each["op"], each["dtype"]) for each in chosen}) == 12
    assert len({(each["op"], each["side"]) for each in chosen}) == 8


def test_sample_of_single_values_is_all_of_them() -> None:
    calls = [{"call": lambda: 1} for _ in range(9)]
    assert sample(calls, 2) == list(range(9))
    assert sample(SETS[:3], 50) == [0, 1, 2]


class Item:
    """A parameter set of a test, as pytest has it."""

    def __init__(self, function: str, k: int, *marks: Any) -> None:
        self.nodeid = f"{function}[{k}]"
        self.callspec = self
        self.params = SETS[k]
        self.marks = {mark.name: mark for mark in marks}

    def get_closest_marker(self, name: str) -> Any:
        return self.marks.get(name)

    def add_marker(self, name: str) -> None:
        self.marks[name] = getattr(pytest.mark, name)


def daily(*marks: Any) -> int:
    """Return how many parameter sets of a function with these marks are not slow."""
    items: list[Any] = [Item("test", k, *marks) for k in range(len(SETS))]
    mark_slow(items)
    return sum("slow" not in item.marks for item in items)


def test_parameter_sets_beyond_the_number_are_slow() -> None:
    assert daily(pytest.mark.unit.mark) == EVERY_DAY
    assert daily(pytest.mark.unit.mark, pytest.mark.every_day(5).mark) == 5
    assert daily(pytest.mark.cloud.mark, pytest.mark.every_day(6).mark) == 6
    assert daily(pytest.mark.process.mark) == len(SETS)


@pytest.mark.process
def test_costs_name_the_file_that_uses_most(tmp_path: Path) -> None:
    """Seconds of a test travel from the processes of pytest-xdist with its reports."""
    (tmp_path / "conftest.py").write_text(
        "from tests.costs import Costs\n"
        "def pytest_configure(config): config.pluginmanager.register(Costs(1))\n"
    )
    (tmp_path / "test_costly.py").write_text(
        "import time\ndef test_it():\n    end = time.process_time() + 0.3\n"
        "    while time.process_time() < end: pass\n"
    )
    (tmp_path / "test_cheap.py").write_text("def test_it(): pass\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "pytest", "-q", "-n", "1", "-p", "no:hypothesispytest"]
    environment = {**os.environ, "PYTHONPATH": root}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stdout
    assert "processor seconds: 0 in tests" in ran.stdout
    (line,) = [line for line in ran.stdout.splitlines() if "test_c" in line]
    assert line.split()[1:] == ["1", "tests", "test_costly.py"]
    assert float(line.split()[0]) >= 0.3
