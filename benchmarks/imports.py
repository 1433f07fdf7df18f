"""Imports: processor time and modules of `import wrenla` and what scripts use; how long commands take."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks.figure import Figure

PEER = "import numpy, scipy.linalg"

_CASES = {
    PEER: PEER,
    "import wrenla": "import wrenla",
    "a map: wl.LocalExecutor": "import wrenla as wl; wl.LocalExecutor",
    "a matrix: wl.from_array": "import wrenla as wl; wl.from_array, wl.compute",
    "all names of wrenla": "from wrenla import *; linalg",
    "a command: wrenla.cli": "import wrenla.cli.main",
    "a worker process: wrenla_handler.worker_process": "import wrenla_handler.worker_process",
    "a cold function: wrenla_handler.lambda_entry": "import wrenla_handler.lambda_entry",
}

_COMMANDS = ("--help", "version", "solve --help")

_MEASURED = """
import time, sys, json
before = time.process_time(), len(sys.modules)
{code}
print(json.dumps([time.process_time() - before[0], len(sys.modules) - before[1]]))
"""


def figures(rounds: int) -> list[Figure]:
    """Start interpreters in turn, and compare medians."""
    with tempfile.TemporaryDirectory(prefix="wrenla-bench-") as byte_code:
        return _figures(max(5, 3 * rounds), _environment(byte_code))


def _environment(byte_code: str) -> dict[str, str]:
    """Return variables by which modules are compiled once, also where this is not wanted for the tree."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": byte_code}
    environment["OPENBLAS_NUM_THREADS"] = "1"  # threads that wait are no imports
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def _figures(times: int, environment: dict[str, str]) -> list[Figure]:
    runs: dict[str, list[tuple[float, int]]] = {name: [] for name in _CASES}
    for number in range(-1, times):  # the first round makes the byte code
        for name, code in _CASES.items():
            command = [sys.executable, "-c", _MEASURED.format(code=code)]
            run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            seconds, modules = json.loads(run.stdout.splitlines()[-1])
            if number >= 0:
                runs[name].append((seconds, modules))
    medians = {name: statistics.median(seconds for seconds, _ in all_) for name, all_ in runs.items()}
    for name, seconds in medians.items():
        print(f"  {name}: {seconds:.3f} s of processor time, {runs[name][0][1]} modules")
    peer = medians[PEER]
    found = []
    for name, must in (("import wrenla", 0.4), ("all names of wrenla", 0.4)):
        note = f"{medians[name] / peer:.2f} × {PEER} ({peer:.3f} s)"
        found.append(
            Figure(name, "processor time of the import", medians[name], must, must / 2, "s", True, note)
        )
        modules = float(runs[name][0][1])
        if name == "import wrenla":
            found.append(Figure(name, "modules", modules, 350, 250, "", True))
    return found + [_whole_process(command, times, environment) for command in _COMMANDS]


def _whole_process(command: str, times: int, environment: dict[str, str]) -> Figure:
    """Return the time from the start of a command to its end, as whoever has typed it waits."""
    seconds = []
    called = [sys.executable, "-m", "wrenla", *command.split()]
    for _ in range(1 + times):
        start = time.perf_counter()
        subprocess.run(called, env=environment, capture_output=True, check=True)
        seconds.append(time.perf_counter() - start)
    del seconds[0]  # which has made the byte code
    median = statistics.median(seconds)
    print(f"  wrenla {command}: {median:.3f} s")
    return Figure(f"wrenla {command}", "seconds of the whole process", median, 0.3, 0.15, "s", True)
