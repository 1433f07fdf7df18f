"""Limit of open files: raised for the emulator, Lambda's for functions."""

from __future__ import annotations

import os
import resource

from wrenla.emulator.options import Options

from .stand import Stand


def test_the_emulator_raises_its_limit_and_functions_have_lambdas() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 30, hard))
    try:
        few = Stand(Options(os.getpid(), isolation="plain", memory_guard="watcher"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        assert resource.prlimit(few.ready.pid, resource.RLIMIT_NOFILE) == (hard, hard)
        assert few.call(few.function("open_files")).value == [1024, 1024]
    finally:
        few.close()
