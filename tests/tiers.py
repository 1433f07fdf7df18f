"""Tiers of tests by what they need: unit, process, cloud.

A unit test starts no process and opens no socket, and is stopped if it does; a test of processes starts some;
a test of the cloud talks to a stand-in of AWS on this machine. A test's tier is what it is marked with, else
what its parameters and fixtures need, else what its folder or file usually is. `slow` and `peers` are marks
beside it: they say how often it runs, not what it needs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

TIERS = ("unit", "process", "cloud")

_CLOUD_FIXTURES = frozenset({"s3_endpoint", "aws_endpoint", "aws", "stand"})

_USUALLY = {
    "process": ("tests/cli", "tests/executors", "tests/dask_", "tests/tooling", "tests/peers", "wrenla"),
    "cloud": ("tests/aws", "tests/emulator", "tests/s3"),
}

_STARTS = frozenset({"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"})

_CONNECTS = frozenset({"socket.bind", "socket.connect"})

_ROOT = f"{Path(__file__).parents[1]}/"

_now: list[str] = []
"""The unit test that runs, if one does."""


def tier_of(item: pytest.Item) -> str:
    """Return the tier of a test."""
    for tier in TIERS:
        if item.get_closest_marker(tier) is not None:
            return tier
    parameters = set(map(str, getattr(getattr(item, "callspec", None), "params", {}).values()))
    if _CLOUD_FIXTURES & set(getattr(item, "fixturenames", ())) or "s3" in parameters:
        return "cloud"
    if "process" in parameters:
        return "process"
    path = str(item.path).removeprefix(_ROOT)
    for tier, places in _USUALLY.items():
        if any(path == place or path.startswith(place + "/") for place in places):
            return tier
    return "unit" if item.get_closest_marker("slow") is None else "process"


@contextmanager
def kept_to(item: pytest.Item) -> Iterator[None]:
    """Let a test do what its tier allows."""
    if item.get_closest_marker("unit") is None:
        yield
        return
    _now.append(item.nodeid)
    try:
        yield
    finally:
        _now.clear()


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if _now and (event in _STARTS or event in _CONNECTS):
        tier = "process" if event in _STARTS else "cloud"
        raise RuntimeError(f"{event} in a unit test: mark it @pytest.mark.{tier} ({_now[0]}, {os.getpid()})")


sys.addaudithook(_refuse)
