"""CPython's own tests of `concurrent.futures`, those of the interpreter that runs this, on our executors.

They are imported from its `test` package, which some distributions leave out, or keep apart.
"""

from __future__ import annotations

import concurrent.futures
import fnmatch
import importlib
import importlib.util
import inspect
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import wrenla as wl
from tests.settings import own_settings_in

pytestmark = [
    pytest.mark.peers,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),  # what its tests do is up to them
]

_PACKAGE = "test.test_concurrent_futures"

_KINDS = {"ThreadPool": "thread", "ProcessPoolSpawn": "process"}
"""Which of its classes are run on which kind of worker. We have neither forks nor a server of them."""

_POOLS = {"thread": "ThreadPoolExecutor", "process": "ProcessPoolExecutor"}

_NO_INITIALIZER = "there is no initializer: functools.cache keeps in a worker what a function has made"
_OF_ITS_OWN = "the test looks into a private attribute of the standard library's pools"
_ONE_WORKER_DIES = "a worker that dies takes one call with it, as WorkerDied, not the whole pool"
_SYSTEM_EXIT = "SystemExit in a function is a RemoteError: raised again, it would end the program"
_UNREADABLE = "what cannot be unpickled is the error of that call, as it was raised; the pool goes on"
_NO_SEMAPHORES = "semaphores of multiprocessing cannot travel: our workers are not its children"

DIFFERENCES = {
    "test_init.*FailingInitializerTest.*": _NO_INITIALIZER,
    "test_init.*InitializerTest.*": _NO_INITIALIZER,
    "test_init.FailingInitializerResourcesTest.*": _NO_INITIALIZER,
}
"""Tests that do not pass, and why not. See docs/map.md."""


def found() -> Iterator[tuple[str, ModuleType, type[unittest.TestCase], str, str]]:
    """Yield id, module, class, method and kind of each test."""
    if importlib.util.find_spec("test") is None or importlib.util.find_spec(_PACKAGE) is None:
        return
    package = importlib.import_module(_PACKAGE)
    paths = [Path(folder) for folder in getattr(package, "__path__", [])]
    names = sorted(path.stem for folder in paths for path in folder.glob("test_*.py"))
    for name in names or [""]:
        module = importlib.import_module(f"{_PACKAGE}.{name}") if name else package
        for title, case in sorted(vars(module).items()):
            if not (inspect.isclass(case) and issubclass(case, unittest.TestCase)):
                continue
            kind = next((kind for prefix, kind in _KINDS.items() if title.startswith(prefix)), "")
            if not kind and (hasattr(case, "executor_type") or title != "FutureTests"):
                continue
            for method in unittest.defaultTestLoader.getTestCaseNames(case):
                yield f"{name or 'test_concurrent_futures'}.{title}.{method}", module, case, method, kind


TESTS = {name: rest for name, *rest in found()}

if not TESTS:
    pytest.skip(f"this Python has no {_PACKAGE}", allow_module_level=True)


def pool(kind: str) -> type[wl.LocalExecutor]:
    """Return our executor under the standard library's name, with its arguments."""

    class Pool(wl.LocalExecutor):
        def __init__(self, max_workers: int | None = None, **arguments: Any) -> None:
            arguments.pop("mp_context", None)
            super().__init__(max_workers=max_workers, kind=kind, allowed_mem="1 GiB", **arguments)  # type: ignore[arg-type]

    Pool.__name__ = _POOLS[kind]
    return Pool


_IN_A_PROCESS = """
import concurrent.futures, sys, wrenla
def _pool(kind):
    def pool(max_workers=None, mp_context=None):
        return wrenla.LocalExecutor(max_workers=max_workers, kind=kind, allowed_mem="1 GiB")
    return pool
concurrent.futures.ThreadPoolExecutor = _pool("thread")
concurrent.futures.ProcessPoolExecutor = _pool("process")
"""


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType, str], None]:
    """Put our classes in the place of the standard library's."""
    own_settings_in(tmp_path, monkeypatch, store="store")

    def replace(module: ModuleType, kind: str) -> None:
        if hasattr(module, "assert_python_ok"):
            run = module.assert_python_ok
            monkeypatch.setattr(
                module,
                "assert_python_ok",
                lambda *args, **env: run(*args[:-1], _IN_A_PROCESS + args[-1], **env),
            )
        for name in _POOLS.values():
            monkeypatch.setattr(concurrent.futures, name, pool(kind))
        if kind == "":
            util = importlib.import_module(f"{_PACKAGE}.util")
            for each in (module, util, concurrent.futures):
                monkeypatch.setattr(each, "Future", wl.Future)

    return replace


@pytest.mark.parametrize("name", TESTS)
def test_it_passes_or_differs_as_documented(name: str, ours: Callable[[ModuleType, str], None]) -> None:
    module, case, method, kind = TESTS[name]
    ours(module, kind)
    if kind:
        case = type(case.__name__, (case,), {"executor_type": pool(kind), "__module__": case.__module__})
    result = unittest.TestResult()
    case(method).run(result)
    why = next((why for glob, why in DIFFERENCES.items() if fnmatch.fnmatch(name, glob)), None)
    wrong = [text for _, text in [*result.failures, *result.errors]]
    if wrong and why is None:
        pytest.fail("\n".join(wrong), pytrace=False)
    if wrong:
        pytest.xfail(str(why))
    if result.skipped:
        pytest.skip(result.skipped[0][1])
    assert why is None, f"it passes now: take it from DIFFERENCES and from docs/map.md ({why})"
