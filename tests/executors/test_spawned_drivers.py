"""Drivers that multiprocessing has spawned, and scripts that `runpy` runs: what they define travels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import multiprocessing
import runpy
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import wrenla as wl
{own_module}

executor = None


@dataclass
class Point:
    x: int


class Mine(Exception):
    pass


def double(point):
    return Point(helper.twice(point.x))


def fails(point):
    raise Mine("mine")


def block(rows, columns):
    return double(Point(1)).x * np.ones((len(rows), len(columns)))


def begins():
    global executor
    executor = wl.LocalExecutor(1, allowed_mem="300 MiB")


def asks(n):
    with executor:
        (found,) = executor.map(double, [Point(n)])
        error = executor.submit(fails, Point(n)).exception(timeout=60)
        shared = executor.submit(double, executor.broadcast(Point(n))).result(timeout=60)
        matrix = wl.from_function(block, (4, 4), tile=2).compute(executor)
        return type(found) is Point, found.x, type(error) is Mine, str(error), shared == found, matrix.sum()


if __name__ == "__main__":
    for way in sys.argv[1:]:
        context = multiprocessing.get_context(way)
        with ProcessPoolExecutor(1, mp_context=context, initializer=begins) as pool:
            print(__name__, *pool.submit(asks, 4).result(timeout=100))

if __name__ == "run by somebody":
    begins()
    print(__name__, *asks(4))
"""

SAID = " True 8 True mine True 32.0\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, own_module in (("script.py", "import helper"), ("package/script.py", "from . import helper")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(SCRIPT.format(own_module=own_module))
        (tmp_path / name).with_name("helper.py").write_text("def twice(x):\n    return 2 * x\n")
    (tmp_path / "package/__init__.py").touch()
    return tmp_path


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["script.py", "spawn"], ["__main__"]),
        (["-m", "package.script", "forkserver"], ["__main__"]),
        (
            ["-c", "import runpy; runpy.run_path('script.py', run_name='run by somebody')"],
            ["run by somebody"],
        ),
    ],
    ids=["file", "module", "runpy"],
)
def test_definitions_of_script_travel_from_spawned_driver(
    command: list[str], said: list[str], folder: Path
) -> None:
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=150, check=False
    )
    assert done.stdout == "".join(name + SAID for name in said), done.stderr
