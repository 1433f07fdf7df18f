"""Executors, a place for what they store, and the certainty that nothing of either is left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cloudpickle
import pytest

import wrenla as wl
from tests.processes import children, open_files
from tests.settings import own_settings_in
from tests.waiting import until
from wrenla.executors.local.process_channels import ProcessTransport
from wrenla_handler.stores.urls import open_store

from .gate import Gate


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's settings but ours, and a place of our own for what is stored."""
    own_settings_in(tmp_path, monkeypatch, store="store")


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[], list[str]]:
    """What is in the store now, leases aside."""
    return lambda: [key for key in open_store(tmp_path / "store").list() if "/wrenla-lease/" not in key]


@pytest.fixture(autouse=True)
def nothing_left(own_settings: None, tmp_path: Path) -> Iterator[None]:
    """No thread, process, open file or object outlives a test."""
    threads, files, processes = set(threading.enumerate()), open_files(), children()
    yield
    until(lambda: not left(threads, files, processes, tmp_path))
    assert left(threads, files, processes, tmp_path) == []


def left(threads: set[threading.Thread], files: set[str], processes: set[int], folder: Path) -> list[object]:
    """What is there now and was not there before."""
    return [
        *(set(threading.enumerate()) - threads),
        *(open_files() - files),
        *(children() - processes),
        *open_store(folder / "store").list(),
    ]


@pytest.fixture(scope="module")
def by_value(request: pytest.FixtureRequest) -> Iterator[None]:
    """Functions of tests of faults travel as those of a script do, so that workers need not import them."""
    from . import fault_acts, faulty_calls

    modules = (request.module, fault_acts, faulty_calls)
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    yield
    for module in modules:
        cloudpickle.unregister_pickle_by_value(module)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """What holds calls up for as long as a test likes; in the end it is open."""
    made = Gate(tmp_path / "gate")
    yield made
    made.open()


@pytest.fixture(params=["process", "thread"])
def executor(request: pytest.FixtureRequest, nothing_left: None) -> Iterator[wl.LocalExecutor]:
    """Two workers of each kind."""
    with wl.LocalExecutor(2, request.param, allowed_mem="600 MiB") as made:
        yield made


@pytest.fixture
def processes(nothing_left: None) -> Iterator[wl.LocalExecutor]:
    """Two worker processes."""
    with wl.LocalExecutor(2, allowed_mem="600 MiB") as made:
        yield made


@pytest.fixture(scope="module", params=["process", "thread"])
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[wl.LocalExecutor]:
    """Two workers of each kind, at work before the tests begin."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WRENLA_STORE", str(tmp_path_factory.mktemp("shared")))
        made = wl.LocalExecutor(2, request.param, allowed_mem="600 MiB")
        made.store()
        # with a function of the module if there is one: to load it a worker has to import the module
        list(made.map(getattr(request.module, "slow", time.sleep), [0.3] * 4))
        transport = made.calls.transport
        # on a busy machine one worker may be done with all of them while the other one still starts
        while isinstance(transport, ProcessTransport) and sum(c.has_child for c in transport.channels) < 2:
            list(made.map(time.sleep, [0.3] * 4))
    yield made
    made.shutdown()
