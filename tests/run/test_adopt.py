"""What a dead run has finished is found by another one that needs it, and by nobody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from tests.run.saves import stop_after
from wrenla.evaluate.cleaning import clean
from wrenla.planning import plan as plan_module
from wrenla.planning.cut import Cut
from wrenla.run.events import Event, RunStarted
from wrenla.workspace.lease import Holder
from wrenla_handler.errors import StoreError
from wrenla_handler.stores.base import LEASE, RUNS
from wrenla_handler.stores.local import LocalStore
from wrenla_handler.stores.memory import MemoryStore
from wrenla_handler.stores.urls import open_store

N, TILE = 200, 32
B1, B2 = (np.random.default_rng(seed).standard_normal((N, 3)) for seed in (1, 2))


@pytest.fixture(params=["file", "memory"])  # S3 is tried with Lambda, and by the contract of stores
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "file":
        yield str(tmp_path / "m")
    else:
        yield f"memory://{tmp_path.name}/m"
        MemoryStore.drop(tmp_path.name)


@pytest.fixture
def K(url: str, executor: wl.LocalExecutor, monkeypatch: pytest.MonkeyPatch) -> wl.BigMatrix:
    """A positive definite matrix of 7 × 7 tiles, in the kind of store where temporaries go as well."""
    monkeypatch.setenv("WRENLA_STORE", store_beside(url))
    return wl.random((N, N), tile=TILE, seed=0).gram().shift(float(N)).save(url, executor)


def solution(A: wl.BigMatrix, b: Any) -> wl.BigMatrix:
    """Return the solution of A x = b by Cholesky and two substitutions; what looks at it has tasks, too."""
    L = A.cholesky()
    return L.H.solve(L.solve(b))


def store_beside(url: str) -> str:
    return f"{url.rpartition('/')[0]}/runs"


def kill(x: wl.BigMatrix, executor: wl.Executor, after: int) -> None:
    """Begin to compute something, and end in the middle."""
    with pytest.raises(ConnectionAbortedError):
        x.compute(executor, callbacks=[stop_after(after, ConnectionAbortedError())])


def run(x: wl.BigMatrix, executor: wl.Executor) -> tuple[Any, int]:
    """Compute something, and return it and how many tiles were there before."""
    events: list[Event] = []
    result = x.compute(executor, callbacks=[events.append])
    begun = next(event for event in events if isinstance(event, RunStarted))
    return result, begun.tasks - begun.todo


def tiles(url: str, array: str = "") -> list[str]:
    """Return the tiles in the store for temporaries, of one array or of all."""
    with closing(open_store(f"{store_beside(url)}/{RUNS}")) as store:
        return [key for key in store.list() if "/c/" in key and array in key]


def test_factor_of_dead_run_is_adopted_by_other_expressions(
    K: wl.BigMatrix, url: str, executor: wl.LocalExecutor
) -> None:
    name = K.cholesky()._node.key
    others: dict[str, Callable[[], wl.BigMatrix]] = {
        "another right-hand side": lambda: solution(K, B2),
        "a vector": lambda: solution(K, B2[:, 0]),
        "a determinant": lambda: wl.linalg.slogdet(K)[1],
        "the factor": lambda: K.cholesky(),
        "a factor that is kept": lambda: wl.linalg.cho_factor(K).solve(B2),
        "a part of it": lambda: K.cholesky()[40:100, 20:60],
        "more after it": lambda: K.cholesky().T @ B2,
    }
    solved = solution(K, B1).compute(executor)
    expected = {what: make().compute(executor) for what, make in others.items()}
    assert tiles(url) == []
    kill(K.cholesky(), executor, 10)
    result, found = run(solution(K, B1), executor)
    np.testing.assert_array_equal(result, solved)
    assert found > 5
    with closing(open_store(store_beside(url))) as store:
        assert list(store.list()) == [], "who has lost all its tiles to others goes as well"
    for what, make in others.items():
        kill(solution(K, B1), executor, 20)
        there = len(tiles(url, name))
        assert there > 8, what
        result, found = run(make(), executor)
        np.testing.assert_array_equal(result, expected[what], err_msg=what)
        assert found > 0, what
        # what was taken over went with the run, and the rest is for whoever began it
        assert len(tiles(url, name)) < there, what
        result, _ = run(solution(K, B1), executor)
        np.testing.assert_array_equal(result, solved, err_msg=what)
        assert tiles(url) == [], what


def test_factors_of_dead_general_solve_are_adopted(
    K: wl.BigMatrix, url: str, executor: wl.LocalExecutor
) -> None:
    """Bundles too: a panel and its pivots lie in one object, a column of exchanged rows in another."""
    A = K[:, ::-1]
    solved, other = A.solve(B1).compute(executor), A.solve(B2).compute(executor)
    for after in (10, 40, 90):
        kill(A.solve(B1), executor, after)
        result, found = run(A.solve(B2), executor)
        np.testing.assert_array_equal(result, other)
        assert found > 0
        kill(A.solve(B1), executor, after)
        result, found = run(A.solve(B1), executor)
        np.testing.assert_array_equal(result, solved)
        assert found > 0
        assert tiles(url) == []


def test_save_adopts_tiles_of_dead_solve(K: wl.BigMatrix, url: str, executor: wl.LocalExecutor) -> None:
    name, expected = K.cholesky()._node.key, K.cholesky().compute(executor)
    kill(solution(K, B1), executor, 20)
    there = len(tiles(url, name))
    events: list[Event] = []
    L = K.cholesky().save(f"{url}-L", executor, callbacks=[events.append])
    begun = next(event for event in events if isinstance(event, RunStarted))
    assert begun.tasks - begun.todo == there > 8
    np.testing.assert_array_equal(L.compute(executor), expected)
    assert tiles(url, name) == []
    with closing(open_store(f"{url}-L")) as store:
        assert not any("wrenla" in key for key in store.list())


@pytest.fixture
def made(tmp_path: Path, executor: wl.LocalExecutor) -> wl.BigMatrix:
    """The same matrix in a folder."""
    return wl.random((N, N), tile=TILE, seed=0).gram().shift(float(N)).save(tmp_path / "m", executor)


def test_tiles_of_dead_adopter_are_adopted_again(
    made: wl.BigMatrix, tmp_path: Path, executor: wl.LocalExecutor, left: Callable[[], list[str]]
) -> None:
    url, name = str(tmp_path / "m"), made.cholesky()._node.key
    expected = solution(made, B1).compute(executor)
    kill(solution(made, B1), executor, 12)
    before = len(tiles(url, name))
    kill(solution(made, B2), executor, 6)
    after = len(tiles(url, name))
    assert after > before
    # each script finds its own and the other's
    result, found = run(solution(made, B1), executor)
    np.testing.assert_array_equal(result, expected)
    assert found >= after
    assert tiles(url, name) == []
    assert sum(count for _, count in clean(str(tmp_path / "runs"))) > 0  # the rest of the other one
    assert left() == []


def test_cuts_of_sums_do_not_matter(
    made: wl.BigMatrix, tmp_path: Path, executor: wl.LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = solution(made, B2).compute(executor)
    cuts = [Cut(), Cut("fixed", 1), Cut("fixed", 3), Cut("doubling", 4)]
    for first, second in zip(cuts, [*cuts[2:], *cuts[:2]], strict=True):
        for chosen, x in ((first, solution(made, B1)), (second, solution(made, B2))):
            monkeypatch.setattr(plan_module, "choose_cut", lambda tiles, model, chosen=chosen: chosen)
            monkeypatch.setattr(plan_module, "_KNOWN", type(plan_module._KNOWN)())
            if chosen is first:
                kill(x, executor, 25)
            else:
                result, found = run(x, executor)
                assert found > 0
                np.testing.assert_array_equal(result, expected, err_msg=f"{first} {second}")
        list(clean(str(tmp_path / "runs")))


def test_tiles_of_other_work_or_owner_are_not_adopted(
    made: wl.BigMatrix, tmp_path: Path, executor: wl.LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, name = tmp_path / "runs", made.cholesky()._node.key
    kill(solution(made, B1), executor, 20)
    (lease,) = root.glob(f"{RUNS}/*/{LEASE}*")
    text, folder = lease.read_bytes(), lease.parents[1]
    holder = Holder.decode(text)
    assert holder is not None
    tile = folder / name / "c/0/0"

    def found(x: wl.BigMatrix) -> int:
        result, count = run(x, executor)
        assert np.isfinite(result).all()
        return count

    assert found(solution(made.shift(1.0), B1)) == 0, "another matrix"
    assert found(solution(made.rechunk(40), B1)) == 0, "other tiles"
    assert found(solution(made.astype("float32"), B1)) == 0, "other numbers"
    assert found(solution(wl.random((N, N), tile=TILE, seed=0).gram(), B1)) == 0, "another expression"
    # whose owner is at work, and whose owner nobody can see from here: to watch takes longer than the work
    lives = replace(Holder.mine(holder.owner, holder.note))
    for other in (lives, replace(holder, ended=False, boot="another")):
        lease.write_bytes(other.encode())
        with monkeypatch.context() as patch:
            patch.setattr("wrenla.workspace.lease._held", {holder.owner})
            assert found(solution(made, B2)) == 0
    lease.write_bytes(text)
    # what is shorter than it was written
    whole = tile.read_bytes()
    tile.write_bytes(whole[:1000])
    count = len(tiles(str(tmp_path / "m"), name))
    assert 0 < found(solution(made, B2)) < count
    assert tile.exists(), "and it stays where it is"


def test_a_store_that_fails_is_no_reason_to_fail(
    made: wl.BigMatrix, executor: wl.LocalExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = solution(made, B2).compute(executor)

    def fail(store: LocalStore, source: LocalStore, key: str, new: str, owner: str = "") -> bool:
        raise StoreError("no more links")

    def vanish(store: LocalStore, source: LocalStore, key: str, new: str, owner: str = "") -> bool:
        raise KeyError(key)

    for broken in (fail, vanish):
        kill(solution(made, B1), executor, 5)  # the second one goes on with what the first one has left
        with monkeypatch.context() as patch:
            patch.setattr(LocalStore, "copy_from", broken)
            result, found = run(solution(made, B2), executor)
        np.testing.assert_array_equal(result, expected)
        assert found == 0


def test_a_factor_that_is_kept_outlives_a_run_that_was_cut_short(
    made: wl.BigMatrix, executor: wl.LocalExecutor, left: Callable[[], list[str]]
) -> None:
    expected = wl.linalg.cho_factor(made).solve(B1).compute(executor)
    factor = wl.linalg.cho_factor(made)
    factor.solve(B2).compute(executor)
    kept = left()
    with pytest.raises(KeyboardInterrupt) as raised:
        factor.solve(B1).compute(executor, callbacks=[stop_after(5, KeyboardInterrupt())])
    (note,) = raised.value.__notes__
    first, *_ = note.splitlines()
    assert all(len(list(open_store(url).list())) > 5 for url in first.split("kept in ")[1].split(" and "))
    raised.value.with_traceback(None)
    del raised, factor  # as at the end of the script
    assert set(kept) - {key for key in kept if LEASE in key} <= set(left())
    events: list[Event] = []
    again = wl.linalg.cho_factor(made)
    np.testing.assert_array_equal(again.solve(B1).compute(executor, callbacks=[events.append]), expected)
    (begun,) = (event for event in events if isinstance(event, RunStarted))
    tiles = made.grid[0]
    assert 0 < begun.todo < 2 * tiles < begun.tasks, "the factor is there, and some of the solution"
    del again
    assert left() == [], "and after a run that has ended well it goes as ever"


def test_each_tile_is_adopted_by_one_of_many_runs(
    made: wl.BigMatrix, tmp_path: Path, executor: wl.LocalExecutor, left: Callable[[], list[str]]
) -> None:
    """They share one process: what a run holds, another one of the same process leaves alone, too."""
    sides = [np.random.default_rng(seed).standard_normal(N) for seed in range(6)]
    expected = [solution(made, side).compute(executor) for side in sides]
    kill(solution(made, B1), executor, 20)
    there = len(tiles(str(tmp_path / "m")))
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda side: run(solution(made, side), executor), sides))
    for (result, _), right in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result, right)
    assert 0 < sum(found for _, found in results) <= there
    list(clean(str(tmp_path / "runs")))
    assert left() == []
