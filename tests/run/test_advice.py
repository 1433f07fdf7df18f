"""What is said when a save ends in the middle is true: where tiles are, how to go on, how to clean."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import wrenla as wl
from tests.run.saves import WITHOUT_S3, stop_after
from wrenla.cli.main import main
from wrenla.run.events import Event, RunStarted
from wrenla_handler.stores.urls import open_store

N, TILE = 80, 20
B = np.random.default_rng(0).standard_normal((N, N))
POS = B @ B.T + N * np.eye(N)


def memory_map(folder: Path) -> np.memmap:
    np.save(folder / "pos.npy", POS)
    mapped = np.load(folder / "pos.npy", mmap_mode="r")
    assert isinstance(mapped, np.memmap)
    return mapped


def added(i: np.ndarray, j: np.ndarray) -> np.ndarray:
    return np.add.outer(i, j) * 1.0


# what is in the middle when five tasks are done, and where
MATRICES: dict[str, Callable[[Path], wl.BigMatrix]] = {
    "from_array": lambda folder: wl.from_array(POS.copy(), tile=TILE),
    "memmap": lambda folder: wl.from_array(memory_map(folder), tile=TILE, structure="pos").cholesky(),
    "from_function": lambda folder: wl.from_function(
        lambda i, j: np.add.outer(i, j) * 1.0, (N, N), tile=TILE
    ),
    "expression": lambda folder: wl.from_array(POS, tile=TILE, structure="pos").solve(B),
}


def objects(url: str) -> set[str]:
    with closing(open_store(url)) as store:
        return set(store.list())


@WITHOUT_S3
def test_the_advice_of_a_save_works(
    url: str, executor: wl.LocalExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = f"{url.rpartition('/')[0]}/te mp"
    monkeypatch.setenv("WRENLA_STORE", root)
    for what, make in MATRICES.items():
        if what == "memmap" or not url.startswith("s3"):  # in a stand-in each request takes a while
            expected = make(tmp_path).compute(executor)
            for overwrite in (False, True):
                resumed(lambda make=make: make(tmp_path), expected, f"{url}-{what}", overwrite, executor)
                cleaned(make(tmp_path), root, f"{url}-{what}-{overwrite}", overwrite, executor)
                assert objects(root) == set(), "nothing is left"


def interrupted(x: wl.BigMatrix, url: str, executor: wl.Executor, overwrite: bool) -> str:
    """Begin to save, with overwrite=True in place of another matrix, and return what is said at the end."""
    if overwrite:
        wl.zeros((N, N), tile=TILE).save(url, executor, overwrite=True)
    with pytest.raises(KeyboardInterrupt) as raised:
        x.save(url, executor, callbacks=[stop_after(5, KeyboardInterrupt())], overwrite=overwrite)
    (note,) = raised.value.__notes__
    first, *_ = note.splitlines()
    first = first.removeprefix("finished tiles are kept in ").removesuffix(" until this process ends")
    tiles = [key for place in first.split(" and ") for key in objects(place) if re.search(r"\bc[./]\d", key)]
    old = 16 if any(place == open_store(url).url for place in first.split(" and ")) and overwrite else 0
    assert len(tiles) - old >= 5, "tiles are where it says"
    if overwrite:
        np.testing.assert_array_equal(wl.open(url).compute(executor), 0)
    return str(note)


def resumed(
    make: Callable[[], wl.BigMatrix], expected: object, url: str, overwrite: bool, executor: wl.Executor
) -> None:
    assert "to resume: " in interrupted(make(), url, executor, overwrite)
    events: list[Event] = []
    saved = make().save(url, executor, overwrite=overwrite, callbacks=[events.append])
    begun = next(event for event in events if isinstance(event, RunStarted))
    assert begun.tasks - begun.todo >= 5
    np.testing.assert_array_equal(saved.compute(executor), expected)


def cleaned(x: wl.BigMatrix, root: str, url: str, overwrite: bool, executor: wl.Executor) -> None:
    note = interrupted(x, url, executor, overwrite)
    command = re.search(r"to clean: +wrenla (.+)", note)
    assert (command is None) == url.startswith("memory")
    words = shlex.split(command[1]) if command else ["clean", "--store", root]
    dry = CliRunner().invoke(main, [*words, "--dry-run"], catch_exceptions=False)
    done = CliRunner().invoke(main, words, catch_exceptions=False)
    assert (dry.exit_code, done.exit_code) == (0, 0)
    assert dry.output.split("would remove")[1] == done.output.split("removed")[1]
    assert f"partly in {open_store(url).url}" in done.output
    if overwrite:
        np.testing.assert_array_equal(wl.open(url).compute(executor), 0)
    assert len(objects(url)) == 17 * overwrite
