"""Runs contestants in processes of their own, in turn, and compares their medians.

A contestant is a function in `benchmarks.contestants` that prints one JSON line. It has a process of its own
because OpenBLAS with several threads was seen to end in a segmentation fault for some sizes, and because one
that ran before leaves caches, threads and memory behind.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

from benchmarks.figure import Figure


@dataclass
class Contestant:
    """What one contestant reached over several runs."""

    name: str
    runs: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return statistics.median(run["seconds"] for run in self.runs) if self.runs else float("nan")

    @property
    def median_run(self) -> dict[str, Any]:
        """The run whose time is the (lower) median: its profile belongs to the quoted figure."""
        return sorted(self.runs, key=lambda run: float(run["seconds"]))[(len(self.runs) - 1) // 2]


def run_once(name: str, arguments: dict[str, Any], timeout: float, module: str) -> dict[str, Any] | str:
    """Return what a contestant printed, or why it did not."""
    command = [sys.executable, "-m", module, name, json.dumps(arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=dict(os.environ))
    except subprocess.TimeoutExpired:
        return f"no answer within {timeout:.0f} s"
    if done.returncode < 0:
        return f"ended by {signal.Signals(-done.returncode).name}"
    if done.returncode:
        return done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}"
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def compete(
    names: list[str],
    arguments: dict[str, Any],
    *,
    rounds: int,
    timeout: float = 600,
    module: str = "benchmarks.contestants",
) -> dict[str, Contestant]:
    """Run some contestants in turn, round after round."""
    contestants = {name: Contestant(name) for name in names}
    for number in range(rounds):
        for name, contestant in contestants.items():
            outcome = run_once(name, arguments, timeout, module)
            if isinstance(outcome, str):
                contestant.failures.append(outcome)
                print(f"    round {number + 1}: {name}: {outcome}", flush=True)
            else:
                contestant.runs.append(outcome)
                text = f"{outcome['seconds']:.3g} s" + (f" on {outcome['core']}" if "core" in outcome else "")
                if "residual" in outcome:
                    text += f", residual {outcome['residual']:.2g}"
                print(f"    round {number + 1}: {name}: {text}", flush=True)
    return contestants


def ratio(work: str, ours: Contestant, peer: Contestant, must: float, goal: float) -> list[Figure]:
    """Return our speed over a peer's, if both ran, and on the same core type."""
    if not (ours.runs and peer.runs):
        why = "; ".join(ours.failures[:1] + peer.failures[:1])
        print(f"  {work}: no figure against {peer.name}: {why}")
        return []
    cores = {run["core"] for run in ours.runs + peer.runs}
    if len(cores) > 1:
        print(f"  {work}: not valid against {peer.name}: OpenBLAS ran on {' and '.join(sorted(cores))}")
        return []
    for run in ours.runs + peer.runs:
        assert run["residual"] <= 1, run  # NaN fails
    note = f"{ours.seconds:.2f} s against {peer.seconds:.2f} s on {cores.pop()}"
    return [Figure(work, f"wrenla / {peer.name}", peer.seconds / ours.seconds, must, goal, note=note)]


def show_profile(contestant: Contestant) -> None:
    """Say where the worker-seconds of the median run went."""
    if not contestant.runs:
        return
    run = contestant.median_run
    parts = []
    for name, spent in run["profile"].items():
        if isinstance(spent, dict):
            parts.append(f"{name} {spent['seconds']:.2f} s ({spent['gflops']:.0f} GFLOP/s)")
        else:
            parts.append(f"{name} {spent:.2f} s")
    print(f"  {contestant.name}, tile {run.get('tile', '-')}, worker-seconds: {', '.join(parts)}")
