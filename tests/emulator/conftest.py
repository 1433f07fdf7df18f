"""Emulators for these tests: each is started once."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator

import pytest

from wrenla.emulator.isolation.cgroups import find_groups
from wrenla.emulator.options import Isolation, MemoryGuard, Options

from .stand import Stand

if sys.platform != "linux":
    pytest.skip("the emulator needs Linux", allow_module_level=True)


def _stand(isolation: Isolation, guard: MemoryGuard) -> Iterator[Stand]:
    if isolation == "bubblewrap" and shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    if guard == "cgroup" and find_groups() is None:
        pytest.skip("no control group may be made here")
    stand = Stand(Options(os.getpid(), isolation=isolation, memory_guard=guard))
    yield stand
    stand.close()


@pytest.fixture(scope="package")
def stand() -> Iterator[Stand]:
    """The best protection that there is."""
    yield from _stand("auto", "auto")


@pytest.fixture(scope="package")
def plain() -> Iterator[Stand]:
    """The least protection."""
    yield from _stand("plain", "watcher")


@pytest.fixture(params=["best", "plain"])
def either(request: pytest.FixtureRequest) -> Stand:
    """Both, one after the other."""
    found: Stand = request.getfixturevalue("stand" if request.param == "best" else "plain")
    return found


@pytest.fixture(autouse=True)
def _no_faults(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    for name in {"stand", "plain"} & set(request.fixturenames):
        request.getfixturevalue(name).faults()
