"""A store of its own and a small executor for each test, and a way to force how sums are cut."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from wrenla import LocalExecutor
from wrenla.planning import plan as plan_module
from wrenla.planning.cut import Cut
from wrenla_handler.stores.memory import MemoryStore

ForceCut = Callable[[Cut], None]
Workers = Callable[[int], LocalExecutor]


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Temporaries in a store that is this test's alone; whatever this machine has set does not count."""
    name = f"test-{uuid.uuid4().hex}"
    for key, value in {
        "STORE": f"memory://{name}",
        "WORKERS": "2",
        "ALLOWED_MEM": "512 MiB",
        "BLAS_THREADS": "1",
        "TILE": "0",
        "SCHEDULE": "dataflow",
        "PROGRESS": "false",
        "MAX_COMPUTE_BYTES": "1 GiB",
    }.items():
        monkeypatch.setenv(f"WRENLA_{key}", value)
    yield name
    MemoryStore.drop(name)


@pytest.fixture
def place(own_settings: str) -> Callable[[str], str]:
    """Make addresses for matrices of this test."""
    return lambda name: f"memory://{own_settings}/saved/{name}"


@pytest.fixture(scope="session")
def workers() -> Iterator[Workers]:
    """Executors by their number of workers, made when they are first asked for."""
    made: dict[int, LocalExecutor] = {}

    def get(number: int) -> LocalExecutor:
        if number not in made:
            made[number] = LocalExecutor(number, allowed_mem="256 MiB")
        return made[number]

    yield get
    for executor in made.values():
        executor.shutdown()


@pytest.fixture
def force_cut(monkeypatch: pytest.MonkeyPatch) -> Iterator[ForceCut]:
    """Let every plan of this test cut its sums as it says."""

    def force(cut: Cut) -> None:
        plan_module._KNOWN.clear()
        monkeypatch.setattr(plan_module, "choose_cut", lambda tiles, model: cut)

    yield force
    plan_module._KNOWN.clear()
