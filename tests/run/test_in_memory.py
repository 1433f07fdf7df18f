"""Short runs keep temporary tiles in memory: within its bounds, to the same bits, and nothing is left."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import wrenla as wl
from tests.run.test_resume import stopping_after
from wrenla.cli.main import main
from wrenla.errors import LinAlgError
from wrenla.evaluate import evaluation
from wrenla.planning import cost_model
from wrenla.planning.plan import plans_bytes
from wrenla.run.events import Event, RunFinished, RunStarted, TaskFinished
from wrenla_handler.errors import StoreError
from wrenla_handler.stores.room import Room, rooms_bytes, spill_rooms
from wrenla_handler.stores.urls import open_store

N, TILE = 160, 32
TILE_BYTES = 8 * TILE**2


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The default store for temporaries, as nobody has chosen one."""
    monkeypatch.delenv("WRENLA_STORE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return str(tmp_path / "cache" / "wrenla")


@pytest.fixture(autouse=True)
def nothing_in_memory(root: str) -> Iterator[None]:
    assert left_in_memory() == 0
    yield
    assert left_in_memory() == 0, "nothing stays in memory"


def left_in_memory() -> int:
    """Return what stays, also when there is no garbage; a collection takes a tenth of a second."""
    if rooms_bytes():
        gc.collect()
    return rooms_bytes()


def general() -> wl.BigMatrix:
    return wl.random((N, N), tile=TILE, seed=1)


def positive() -> wl.BigMatrix:
    return general().gram().shift(float(N))


def tiles(root: str) -> list[str]:
    return [key for key in open_store(root).list() if "/c/" in key or "/partial/" in key]


def totals(events: list[Event]) -> list[Any]:
    """Sums over the runs that do not depend on the order of tasks."""
    ended = [event.totals for event in events if isinstance(event, RunFinished)]
    return [(each.flops, each.bytes_written, each.retries) for each in ended]


WAYS = {
    "cholesky": lambda executor, **kw: positive().cholesky().compute(executor, **kw),
    "solve": lambda executor, **kw: general().solve(np.ones(N)).compute(executor, **kw),
    "lu": lambda executor, **kw: wl.linalg.lu_factor(general()).lu.compute(executor, **kw),
    "function": lambda executor, **kw: (
        wl.from_function(np.add.outer, (N, N), tile=TILE).gram().compute(executor, **kw)
    ),
}


@pytest.mark.parametrize("what", WAYS)
def test_short_run_in_memory_is_the_run_in_a_folder(
    what: str, executor: wl.LocalExecutor, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: set[str] = set()
    most = 0

    def look(event: Event) -> None:
        nonlocal most
        found.update(tiles(root))
        most = max(most, rooms_bytes())
        seen.append(event)

    seen: list[Event] = []
    x = WAYS[what](executor, callbacks=[look])
    assert found == set()
    assert most > 0
    gc.collect()
    assert (rooms_bytes(), list(open_store(root).list())) == (0, [])
    monkeypatch.setenv("WRENLA_STORE", str(tmp_path / "chosen"))
    events: list[Event] = []
    np.testing.assert_array_equal(x, WAYS[what](executor, callbacks=[events.append]))
    assert totals(seen) == totals(events)


def test_plan_says_where_temporary_tiles_go(
    executor: wl.LocalExecutor, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = wl.plan(positive().cholesky(), executor=executor)
    assert plan.room == plan.bytes_written
    assert "temporary  in memory, up to" in str(plan)
    monkeypatch.setenv("WRENLA_STORE", str(tmp_path / "chosen"))
    chosen = wl.plan(positive().cholesky(), executor=executor)
    assert chosen.room == 0
    assert "temporary  in the store" in str(chosen)
    assert (chosen.tasks, chosen.seconds, chosen.cut) == (plan.tasks, plan.seconds, plan.cut)


def test_long_run_is_in_the_folder(
    executor: wl.LocalExecutor, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost_model, "_SHORT", 0.0)
    assert wl.plan(positive().cholesky(), executor=executor).room == 0
    with pytest.raises(KeyboardInterrupt):
        positive().cholesky().compute(executor, callbacks=[stopping_after(5, KeyboardInterrupt())])
    assert len(tiles(root)) >= 5
    positive().cholesky().compute(executor)


def test_room_and_tasks_fit_into_the_allowed_memory(root: str) -> None:
    """Of large tiles: they leave no room, or less than what all tiles would take."""
    with wl.LocalExecutor(2, allowed_mem="400 MiB") as executor:
        for edge in (256, 1024, 2048, 2432):
            A = wl.random((8 * edge, 8 * edge), tile=edge)
            plan, allowed = wl.plan(A.gram(), executor=executor), executor.model.allowed_bytes
            assert plan.room <= executor.model.tile_bytes
            assert plan.room + 2 * plan.projected <= 2 * allowed
            assert plan.room_beside(plan.room) <= max(0, executor.model.tile_bytes - plan.room)
        assert plan.room < executor.model.tile_bytes


@pytest.mark.usefixtures("no_kept_plans")
def test_cache_leaves_the_memory_that_tiles_may_take(executor: wl.LocalExecutor, root: str) -> None:
    plan = wl.plan(positive().cholesky(), executor=executor)
    limits = set()
    positive().cholesky().compute(
        executor, callbacks=[lambda _: limits.add(executor.home.cache.limit + plans_bytes())]
    )
    assert limits == {executor._for_tiles - 2 * plan.projected - plan.room}


@pytest.mark.parametrize("room", [1, 3, 10])
def test_tiles_beyond_the_room_go_to_the_folder(
    room: int, executor: wl.LocalExecutor, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = general().solve(np.ones(N)).compute(executor)
    small = replace(executor.model, tile_bytes=room * TILE_BYTES)
    monkeypatch.setattr(evaluation, "model_of", lambda *_: small)
    held, outside = set(), set()

    def look(_: Event) -> None:
        held.add(rooms_bytes())
        outside.update(tiles(root))

    np.testing.assert_array_equal(general().solve(np.ones(N)).compute(executor, callbacks=[look]), expected)
    assert max(held) <= room * TILE_BYTES
    assert outside
    assert list(open_store(root).list()) == []


class Failed(Exception):
    pass


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Failed()], ids=["interrupt", "failure"])
def test_run_cut_short_leaves_nothing_and_says_so(
    error: BaseException, executor: wl.LocalExecutor, root: str
) -> None:
    with pytest.raises(type(error)) as raised:
        general().solve(np.ones(N)).compute(executor, callbacks=[stopping_after(9, error)])
    note = "\n".join(raised.value.__notes__)
    assert note.startswith("no tiles are kept; they were in memory")
    assert note.endswith("to begin again: run the same script again")
    assert "WRENLA_STORE" in note
    assert "clean" not in note
    assert rooms_bytes() == 0
    of_runs = [key for key in executor.home.cache._tiles if " " in key[0]]
    assert of_runs == [], "the cache holds none of its tiles either"
    assert list(open_store(root).list()) == []


def test_numerical_failure_leaves_nothing(executor: wl.LocalExecutor, root: str) -> None:
    with pytest.raises(LinAlgError):
        general().gram().shift(-1e4).cholesky().compute(executor)
    assert (rooms_bytes(), list(open_store(root).list())) == (0, [])


def test_save_cut_short_goes_on_at_its_address(executor: wl.LocalExecutor, root: str, tmp_path: Path) -> None:
    L = positive().cholesky()
    for clean in (True, False):
        with pytest.raises(KeyboardInterrupt) as raised:
            L.save(tmp_path / "L", executor, callbacks=[stopping_after(25, KeyboardInterrupt())])
        note = raised.value.__notes__[-1]
        assert note.startswith(
            f"finished tiles are kept in {open_store(tmp_path / 'L').url}\n  except those in memory"
        )
        assert f"clean --store {root}" in note
        assert rooms_bytes() == 0
        assert tiles(root) == []
        if clean:  # the run's folder says where it has saved
            done = CliRunner().invoke(main, ["clean", "--store", root], catch_exceptions=False)
            assert f"partly in {open_store(tmp_path / 'L').url}" in done.output
    events: list[Event] = []
    L.save(tmp_path / "L", executor, callbacks=[events.append])
    begun = next(event for event in events if isinstance(event, RunStarted))
    assert begun.todo < begun.tasks
    np.testing.assert_array_equal(wl.open(tmp_path / "L").compute(executor), L.compute(executor))
    assert list(open_store(root).list()) == []


def test_persisted_tiles_are_in_the_store(executor: wl.LocalExecutor, root: str) -> None:
    X = positive().cholesky().persist(executor)
    assert rooms_bytes() == 0
    assert len(tiles(root)) == 15
    del X
    gc.collect()
    assert list(open_store(root).list()) == []


def test_kept_factor_stays_in_memory_as_long_as_it_is_used(executor: wl.LocalExecutor, root: str) -> None:
    factor = wl.linalg.lu_factor(general())
    x = factor.solve(np.ones(N)).compute(executor)
    held = rooms_bytes()
    assert N * N * 8 <= held <= 4 * N * N * 8, "the factor, and no temporary tile"
    events: list[Event] = []
    y = factor.solve(np.ones(N)).compute(executor, callbacks=[events.append])
    np.testing.assert_array_equal(x, y)
    assert "getrf" not in {event.kernel for event in events if isinstance(event, TaskFinished)}
    assert rooms_bytes() == held
    del factor
    gc.collect()
    assert (rooms_bytes(), list(open_store(root).list())) == (0, [])


def test_kept_factor_makes_room_for_tasks_that_need_its_memory(executor: wl.LocalExecutor, root: str) -> None:
    factor = wl.linalg.lu_factor(general())
    x = factor.solve(np.ones(N)).compute(executor)
    with executor.session({}, executor._for_tiles // 2 - TILE_BYTES):
        assert rooms_bytes() <= 2 * TILE_BYTES
    assert tiles(root)
    np.testing.assert_array_equal(x, factor.solve(np.ones(N)).compute(executor))
    spill_rooms(0)
    np.testing.assert_array_equal(x, factor.solve(np.ones(N)).compute(executor))
    del factor
    gc.collect()
    assert list(open_store(root).list()) == []


@pytest.mark.parametrize("other", [False, True], ids=["same", "other"])
def test_run_in_memory_goes_on_with_tiles_in_the_folder(
    other: bool, executor: wl.LocalExecutor, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a run that was killed when a folder was chosen, or when it was a long one."""
    monkeypatch.setenv("WRENLA_STORE", root)
    L = positive().cholesky()
    with pytest.raises(KeyboardInterrupt):
        L.compute(executor, callbacks=[stopping_after(20, KeyboardInterrupt())])
    assert tiles(root)
    monkeypatch.delenv("WRENLA_STORE")
    x = L.solve(np.ones(N)) if other else L
    events: list[Event] = []
    found = x.compute(executor, callbacks=[events.append])
    begun = next(event for event in events if isinstance(event, RunStarted))
    assert begun.todo < begun.tasks - 3
    np.testing.assert_array_equal(found, x.compute(executor))
    if not other:
        assert list(open_store(root).list()) == []


def test_long_step_finds_what_a_short_one_has_in_memory(
    executor: wl.LocalExecutor, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also tiles that nobody keeps, as those of what was only looked at."""
    G = general().gram()
    todo: list[int] = []

    def look(event: Event) -> None:
        if isinstance(event, RunStarted):
            todo.append(event.todo)

    options = evaluation.Options.of(callbacks=[look])
    with evaluation._evaluating([G._node], executor, options) as steps:
        with steps.run([G._node], []) as ((gram,), _):
            assert rooms_bytes() > 0
        monkeypatch.setattr(cost_model, "_SHORT", 0.0)
        with steps.run([(G @ np.ones(N))._node], []) as ((found,), _):
            assert tiles(root), "it is in the folder itself"
    np.testing.assert_allclose(found, gram @ np.ones(N))
    assert todo[1] < todo[0]
    assert list(open_store(root).list()) == []


def test_run_cut_short_beside_a_kept_factor_leaves_only_that(executor: wl.LocalExecutor, root: str) -> None:
    factor = wl.linalg.lu_factor(general())
    with pytest.raises(Failed):
        (factor.solve(np.ones(N)) * 2).compute(executor, callbacks=[fail_in_last_run])
    gc.collect()
    x = factor.solve(np.ones(N)).compute(executor)
    np.testing.assert_allclose(general().compute(executor) @ x, np.ones(N), atol=1e-8)
    del factor
    gc.collect()
    assert (rooms_bytes(), list(open_store(root).list())) == (0, [])


def fail_in_last_run(event: Event) -> None:
    if isinstance(event, TaskFinished) and event.kernel.startswith("trsm"):
        raise Failed


def test_a_full_disk_fails_no_run_that_needs_the_memory_of_a_factor(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    A, b = general(), np.ones(N)
    with wl.LocalExecutor(workers=2, allowed_mem="64 MiB") as executor:
        factor = wl.linalg.lu_factor(A)
        first = factor.solve(b).compute(executor)
        assert rooms_bytes() > 0

        def full(self: Any, *_: Any, **__: Any) -> bool:
            raise StoreError("no space left on device")

        monkeypatch.setattr(Room, "spill", full)
        monkeypatch.setattr("wrenla.executors.local.executor.spill_rooms", lambda most: spill_rooms(0))
        assert np.array_equal(factor.solve(b).compute(executor), first)
        assert "stay in memory" in caplog.text
        del factor
