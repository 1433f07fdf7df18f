"""CPython's own tests of `concurrent.futures`, those of the interpreter that runs this, on our executors.

They are imported from its `test` package, which some distributions leave out, or keep apart.
"""

from __future__ import annotations

import concurrent.futures
import fnmatch
import importlib
import importlib.util
import inspect
import logging
import os
import signal
import threading
import unittest
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

import wrenla as wl
from tests.processes import alive
from tests.settings import own_settings_in
from tests.waiting import until
from wrenla.errors import RemoteTraceback, WorkerDied

pytestmark = [
    pytest.mark.peers,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("default"),  # what its tests do is up to them
]

_PACKAGE = "test.test_concurrent_futures"

_KINDS = {"ThreadPool": "thread", "ProcessPoolSpawn": "process"}
"""Which of its classes are run on which kind of worker. We have neither forks nor a server of them."""

_POOLS = {"thread": "ThreadPoolExecutor", "process": "ProcessPoolExecutor"}

_INITIALIZER = "there is no initializer: functools.cache keeps in a worker what a function has made"
_ONE_CALL = "a worker that dies takes one call with it, and not the pool"
_SYSTEM_EXIT = "SystemExit in a function is a RemoteError: raised again, it would end the program"
_UNREADABLE = "what cannot be loaded is the error of that call, as it was raised; the pool goes on"
_UNPICKLABLE = "an argument that cannot be pickled is an error of `submit` itself"
_NOT_INHERITED = "locks and managers of multiprocessing do not travel: our workers do not inherit them"
_AT_EXIT = "calls can be submitted until the program ends, from handlers of atexit, too"
_INSIDE = "it is about the inside of the standard library's pool"
_OTHER_DEFAULTS = "by default there is a worker for each processor, and threads have names of their own"

DIFFERENCES = {
    "test_init.*InitializerTest.*": _INITIALIZER,
    "test_deadlock.*.test_error_at_task_pickle": _UNPICKLABLE,
    "test_deadlock.*.test_shutdown_deadlock_pickle": _UNPICKLABLE,
    "test_deadlock.*.test_error_at_task_unpickle": _UNREADABLE,
    "test_deadlock.*.test_error_during_result_unpickle_in_result_handler": _UNREADABLE,
    "test_deadlock.*.test_exit_during_result_unpickle_in_result_handler": _SYSTEM_EXIT,
    "test_deadlock.*.test_exit_during_func_exec_on_worker": _SYSTEM_EXIT,
    "test_deadlock.*.test_exit_during_result_pickle_on_worker": _SYSTEM_EXIT,
    "test_process_pool.*.test_killed_child": _ONE_CALL,
    "test_process_pool.*.test_max_tasks_per_child_defaults_to_spawn_context": _INSIDE,
    "test_process_pool.*.test_python_finalization_error": _INSIDE,
    "test_process_pool.*.test_ressources_gced_in_workers": _NOT_INHERITED,
    "test_process_pool.*.test_saturation": _NOT_INHERITED,
    "test_shutdown.ProcessPool*.test_processes_terminate": _NOT_INHERITED,
    "test_shutdown.*.test_submit_after_interpreter_shutdown": _AT_EXIT,
    "test_shutdown.*.test_thread_names_*": _OTHER_DEFAULTS,
    "test_thread_pool.*.test_default_workers": _OTHER_DEFAULTS,
}
"""Tests that do not pass, and why not: docs/guide/map.md says the same to users."""


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


TESTS = {name: (module, case, method, kind) for name, module, case, method, kind in found()}

if not TESTS:
    pytest.skip(f"this Python has no {_PACKAGE}", allow_module_level=True)


class _Pool(wl.LocalExecutor):
    """Ours, as the tests make and look into the standard library's."""

    def __init__(self, max_workers: int | None = None, **arguments: Any) -> None:
        for name in ("mp_context", "thread_name_prefix"):
            arguments.pop(name, None)
        kind = "thread" if type(self).__name__.startswith("Thread") else "process"
        super().__init__(max_workers=max_workers, kind=kind, allowed_mem="1 GiB", **arguments)  # type: ignore[arg-type]
        self._max_workers = self.workers
        self.opened.add(self.calls)

    opened: ClassVar[weakref.WeakSet[Any]] = weakref.WeakSet()

    @property
    def _threads(self) -> set[threading.Thread]:
        return set(self.calls._threads.values())

    @property
    def _processes(self) -> dict[int, Any]:
        children = [channel._child for channel in self.calls.transport.channels if channel.has_child]  # type: ignore[attr-defined]
        return {child.pid: _Process(child.pid) for child in children}

    @property
    def _executor_manager_thread(self) -> _Joined:
        return _Joined(self.calls)

    @property
    def _call_queue(self) -> _Joined:
        return _Joined(self.calls)


class _Process:
    def __init__(self, pid: int) -> None:
        self.pid = pid

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def join(self) -> None:
        assert until(lambda: not alive(self.pid))


class _Joined:
    """What has to come to its end when the pool is forgotten."""

    def __init__(self, calls: Any) -> None:
        self._calls = calls

    def join(self) -> None:
        assert until(lambda: self._calls._state.closed and self._calls._is_gone())

    join_thread = join


def pool(kind: str) -> type[_Pool]:
    """Return our executor under the standard library's name."""
    return type(_POOLS[kind], (_Pool,), {})


_IN_A_PROCESS = """
import concurrent.futures, multiprocessing, wrenla
def _pool(kind):
    def pool(max_workers=None, mp_context=None):
        return wrenla.LocalExecutor(max_workers=max_workers, kind=kind, allowed_mem="1 GiB")
    return pool
wrenla.LocalExecutor  # it is imported when it is used, and uses the real ThreadPoolExecutor
concurrent.futures.ThreadPoolExecutor = _pool("thread")
concurrent.futures.ProcessPoolExecutor = _pool("process")
"""


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[ModuleType, str], None]]:
    """Put our classes in the place of the standard library's."""
    own_settings_in(tmp_path, monkeypatch, store="store")

    def replace(module: ModuleType, kind: str) -> None:
        monkeypatch.setattr(logging.root, "handlers", [])  # some look at what is logged where nobody listens
        if not kind:
            util = importlib.import_module(f"{_PACKAGE}.util")
            for each in (module, util, concurrent.futures):
                monkeypatch.setattr(each, "Future", wl.Future)
            return
        if hasattr(module, "assert_python_ok"):
            run = module.assert_python_ok
            monkeypatch.setattr(
                module,
                "assert_python_ok",
                lambda *args, **env: run(*args[:-1], _IN_A_PROCESS + args[-1], **env),
            )
        if hasattr(module, "BrokenProcessPool"):
            monkeypatch.setattr(module, "BrokenProcessPool", WorkerDied)
        monkeypatch.setattr("concurrent.futures.process._RemoteTraceback", RemoteTraceback)
        for sort, title in _POOLS.items():
            monkeypatch.setattr(concurrent.futures, title, pool(sort))

    yield replace
    for calls in list(_Pool.opened):  # of a test that has failed
        calls.stop(grace=0.0)
        calls.shutdown()


def _primed(case: Any) -> Any:
    """Return a test whose first call has begun when it is submitted."""

    def set_up(self: Any) -> None:
        case.setUp(self)
        submit = self.executor.submit

        def begun(*args: Any) -> Any:
            self.executor.submit = submit
            future = submit(*args)
            assert until(lambda: future.running() or future.done())
            return future

        self.executor.submit = begun

    return type(case.__name__, (case,), {"setUp": set_up, "__module__": case.__module__})


@pytest.mark.parametrize("name", TESTS, ids=list(TESTS))
def test_cpythons_test_passes_or_differs_as_documented(
    name: str, ours: Callable[[ModuleType, str], None]
) -> None:
    module, case, method, kind = TESTS[name]
    ours(module, kind)
    if kind:
        case = type(case.__name__, (case,), {"executor_type": pool(kind), "__module__": case.__module__})
        if method == "test_cancel_futures":  # it wants one of the calls to have begun by then
            case = _primed(case)
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
    assert why is None, f"it passes now: take it from DIFFERENCES and from docs/guide/map.md ({why})"
