"""Runs that end before their time go on where they were."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from tests.waiting import slowed
from wrenla.planning import plan as plan_module
from wrenla.planning.cut import Cut
from wrenla.run.events import Event, RunFinished, RunStarted, TaskFinished, TaskStarted
from wrenla_handler.stores.base import ObjectInfo
from wrenla_handler.stores.local import LocalStore
from wrenla_handler.stores.urls import open_store
from wrenla_handler.tiles.layout import METADATA_KEY

CUTS = [Cut(), Cut("fixed", 1), Cut("fixed", 3), Cut("doubling", 4)]


@pytest.fixture
def matrix(executor: wl.LocalExecutor, tmp_path: Path) -> wl.BigMatrix:
    """A stored positive definite matrix of 7 × 7 tiles."""
    return wl.random((200, 200), tile=32).gram().shift(200.0).save(str(tmp_path / "A"), executor)


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Callable[[Cut], None]:
    """Decide how sums are cut."""

    def decide(wanted: Cut) -> None:
        monkeypatch.setattr(plan_module, "choose_cut", lambda tiles, model: wanted)
        monkeypatch.setattr(plan_module, "_KNOWN", type(plan_module._KNOWN)())

    return decide


def stopping_after(count: int, error: BaseException) -> Callable[[Event], None]:
    """Make a listener that ends the run when some tasks are done."""
    seen: list[Event] = []

    def listen(event: Event) -> None:
        if isinstance(event, TaskFinished):
            seen.append(event)
            if len(seen) == count:
                raise error

    return listen


def started(events: list[Event]) -> RunStarted:
    return next(event for event in events if isinstance(event, RunStarted))


def objects(url: str) -> set[str]:
    return set(open_store(url).list())


def unfinished(url: str) -> set[str]:
    """Return the keys of what a save that was cut short has left, in its own folder."""
    found = (re.fullmatch(r"wrenla-saving/tiles-[0-9a-f]{32}/(.+)", key) for key in objects(url))
    return {match[1] for match in found if match}


@pytest.mark.every_day(4)
@pytest.mark.parametrize(
    "cuts",
    [(a, CUTS[(k + d) % 4]) for k, a in enumerate(CUTS) for d in (0, 1, 3)],
    ids=lambda cuts: f"{cuts[0]}-{cuts[1]}",
)
def test_a_save_goes_on_with_another_cut(
    cuts: tuple[Cut, Cut],
    cut: Callable[[Cut], None],
    matrix: wl.BigMatrix,
    executor: wl.LocalExecutor,
    tmp_path: Path,
    left: Any,
) -> None:
    L, url = matrix.cholesky(), str(tmp_path / "L")
    expected = L.compute(executor)
    cut(cuts[0])
    with pytest.raises(ConnectionAbortedError):
        L.save(url, executor, callbacks=[stopping_after(20, ConnectionAbortedError())])
    before = unfinished(url)
    assert METADATA_KEY not in objects(url)
    cut(cuts[1])
    events: list[Event] = []
    result = L.save(url, executor, callbacks=[events.append])
    np.testing.assert_array_equal(result.compute(executor), expected)
    tiles = {f"c/{i}/{j}" for i in range(7) for j in range(i + 1)}
    done = tiles & before
    assert started(events).tasks - started(events).todo >= len(done) > 0
    assert not done & {
        _key(wl.plan(L, executor=executor), e.task) for e in events if isinstance(e, TaskStarted)
    }
    # nothing of either run is left, neither here nor beside the tiles
    assert left() == []
    assert objects(url) == tiles | {METADATA_KEY}


def _key(plan: Any, p: int) -> str:
    ref = plan.graph.out(p)
    return f"c/{ref.i}/{ref.j}" if not ref.partial else ""


def test_a_long_sum_goes_on_in_the_middle_of_its_tree(
    executor: wl.LocalExecutor, tmp_path: Path, cut: Callable[[Cut], None], left: Any
) -> None:
    """Parts that are added up are gone, and not made again; nor does it matter how parts were cut."""
    B = wl.random((2003, 7), tile=(4, 3)).save(str(tmp_path / "B"), executor)
    G = B.T @ B
    expected = G.compute(executor)
    tasks = wl.plan(G, executor=executor).tasks
    done = 0
    for wanted, stop in ((Cut(), 100), (Cut("fixed", 3), 150), (Cut(), 60)):
        cut(wanted)
        with pytest.raises(ConnectionAbortedError):
            G.compute(executor, callbacks=[stopping_after(stop, ConnectionAbortedError())])
        kept = [key for key in left() if "/c/" in key]
        assert len(kept) < 150, "parts do not pile up"  # of 310 that were made
        done += stop if wanted == Cut() else 0
    cut(Cut())
    events: list[Event] = []
    result = G.compute(executor, callbacks=[events.append])
    np.testing.assert_array_equal(result, expected)
    assert sum(isinstance(event, TaskFinished) for event in events) <= tasks - done
    assert left() == []


def test_a_shortened_tile_is_made_again(
    matrix: wl.BigMatrix, executor: wl.LocalExecutor, tmp_path: Path
) -> None:
    L, url = matrix.cholesky(), str(tmp_path / "L")
    with pytest.raises(ConnectionAbortedError):
        L.save(url, executor, callbacks=[stopping_after(20, ConnectionAbortedError())])
    # what a power cut does to a file that was never synced
    (path,) = (tmp_path / "L").glob("wrenla-saving/tiles-*/c/1/0")
    with open(path, "r+b") as tile:
        tile.truncate(1000)
    events: list[Event] = []
    result = L.save(url, executor, callbacks=[events.append]).compute(executor)
    np.testing.assert_array_equal(result, L.compute(executor))
    plan = wl.plan(L, executor=executor)
    assert "c/1/0" in {_key(plan, event.task) for event in events if isinstance(event, TaskStarted)}


def test_a_partial_sum_that_another_run_drops_while_we_look_is_not_there(
    cut: Callable[[Cut], None],
    matrix: wl.BigMatrix,
    executor: wl.LocalExecutor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cut(Cut("fixed", 1))
    L, url = matrix.cholesky(), str(tmp_path / "L")
    with pytest.raises(ConnectionAbortedError):
        L.save(url, executor, callbacks=[stopping_after(20, ConnectionAbortedError())])
    assert any(key.startswith("partial/") for key in unfinished(url))
    scan = LocalStore.scan

    def scan_too_early(store: LocalStore, prefix: str = "") -> Iterator[ObjectInfo]:
        found = list(scan(store, prefix))
        for info in found:
            if info.key.startswith("partial/"):
                store.delete(info.key)
        return iter(info for info in found if not info.key.startswith("partial/"))

    monkeypatch.setattr(LocalStore, "scan", scan_too_early)
    result = L.save(url, executor).compute(executor)
    np.testing.assert_array_equal(result, L.compute(executor))


def test_a_finished_matrix_is_not_touched(
    matrix: wl.BigMatrix, executor: wl.LocalExecutor, tmp_path: Path
) -> None:
    url = str(tmp_path / "L")
    matrix.cholesky().save(url, executor)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        matrix.shift(1.0).cholesky().save(url, executor)
    before = objects(url)
    events: list[Event] = []
    matrix.cholesky().save(url, executor, callbacks=[events.append])
    assert (events, objects(url)) == ([], before), "it is there already"
    with pytest.raises(ConnectionAbortedError):
        matrix.shift(1.0).cholesky().save(
            url, executor, overwrite=True, callbacks=[stopping_after(3, ConnectionAbortedError())]
        )
    assert objects(url) > before
    np.testing.assert_array_equal(wl.open(url).compute(executor), matrix.cholesky().compute(executor))
    # of another matrix's half-done tiles nothing is taken over
    again = matrix.cholesky().save(url, executor, overwrite=True)
    np.testing.assert_array_equal(again.compute(executor), matrix.cholesky().compute(executor))


@pytest.mark.parametrize("schedule", ["dataflow", "waves"])
def test_ctrl_c_ends_at_once_and_keeps_tiles(
    schedule: str, matrix: wl.BigMatrix, executor: wl.LocalExecutor, left: Any
) -> None:
    slow = wl.map_tiles(lambda tile: time.sleep(0.05) or tile, matrix.cholesky())
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt) as raised:
        slow.compute(executor, schedule=schedule, callbacks=[stopping_after(40, KeyboardInterrupt())])
    assert time.monotonic() - began < slowed(10)
    assert "wrenla clean" in raised.value.__notes__[0]
    kept = sum("/c/" in key for key in left())
    assert kept > 0
    events: list[Event] = []
    result = slow.compute(executor, callbacks=[events.append])
    np.testing.assert_array_equal(result, matrix.cholesky().compute(executor))
    # one that was still in its kernel may have been finished after we looked
    assert started(events).todo <= started(events).tasks - kept
    assert left() == []


def test_ctrl_c_does_not_wait_for_a_long_task(
    matrix: wl.BigMatrix, executor: wl.LocalExecutor, tmp_path: Path
) -> None:
    release = tmp_path / "release"

    def wait(tile: Any) -> Any:
        for _ in range(3000):
            if release.exists():
                return tile
            time.sleep(0.01)
        raise TimeoutError

    slow = wl.map_tiles(wait, matrix)
    seen: list[Event] = []

    def interrupt(event: Event) -> None:
        seen.append(event)
        if sum(isinstance(e, TaskStarted) for e in seen) == 2:
            raise KeyboardInterrupt

    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            slow.compute(executor, callbacks=[interrupt])
        assert time.monotonic() - began < slowed(10)  # the tasks take 30 s
        assert isinstance(seen[-1], RunFinished)
        assert seen[-1].error == "KeyboardInterrupt"
    finally:
        release.touch()


SIGINT_SCRIPT = """
import sys, time
import wrenla as wl

def slow(tile):
    time.sleep(0.04)
    return tile + 1

def say(event):
    if type(event).__name__ == "TaskFinished":
        print("done", flush=True)

matrix = wl.open(sys.argv[1])
wl.map_tiles(slow, matrix).save(sys.argv[2], callbacks=[say])
print("finished", flush=True)
"""


@pytest.mark.process
def test_sigint_ends_a_script_and_says_how_to_go_on(
    matrix: wl.BigMatrix, executor: wl.LocalExecutor, tmp_path: Path, left: Any
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SIGINT_SCRIPT)
    command = [sys.executable, str(script), str(tmp_path / "A"), str(tmp_path / "B")]
    environment = {**os.environ, "WRENLA_WORKERS": "2"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    for _ in range(5):
        assert process.stdout.readline() == "done\n"
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, err = process.communicate(timeout=20)
    assert time.monotonic() - began < slowed(10)
    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in err
    assert "to resume: run the same script again" in err
    assert f"wrenla clean --store {tmp_path / 'runs'}" in err
    tiles = sum(key.startswith("c/") for key in unfinished(str(tmp_path / "B")))
    assert tiles >= 5
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True, timeout=60)
    assert done.stdout.count("done") == 49 - tiles
    assert left() == []
    np.testing.assert_array_equal(wl.open(tmp_path / "B").compute(executor), matrix.compute(executor) + 1)


@pytest.mark.slow
def test_sigint_at_any_moment(matrix: wl.BigMatrix, executor: wl.LocalExecutor, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SIGINT_SCRIPT)
    command = [sys.executable, str(script), str(tmp_path / "A"), str(tmp_path / "B")]
    rng = np.random.default_rng(0)
    for _ in range(15):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        with process:
            time.sleep(rng.uniform(0.3, 1.2))  # while it imports, plans, takes its lease, runs
            process.send_signal(signal.SIGINT)
            began = time.monotonic()
            out, _ = process.communicate(timeout=20)
            assert time.monotonic() - began < slowed(10)
            if "finished" in out:
                break
            assert process.returncode in (-signal.SIGINT, 1)
    else:
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    np.testing.assert_array_equal(wl.open(tmp_path / "B").compute(executor), matrix.compute(executor) + 1)
