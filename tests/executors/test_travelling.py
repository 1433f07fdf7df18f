"""What cannot travel: errors that say which argument it is, that it is the result, or where objects are."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import wrenla as wl
from wrenla.errors import ReachError
from wrenla.executors.transport.reachable import ReachingPickler
from wrenla.executors.transport.scratch import ScratchSpace
from wrenla_handler.serialize.blobs import dump
from wrenla_handler.stores.base import Reach
from wrenla_handler.stores.urls import open_store, reach_of

LOCK = threading.Lock()


class Two:
    """Takes two."""

    def __call__(self, a: Any, b: Any = 0) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("act", "note"),
    [
        (lambda e: e.submit(pow, 2, LOCK), "it is argument 2, <unlocked _th"),
        (lambda e: e.submit(dict, a=1, b={"x": LOCK}), "it is item 'x' of argument 'b', <unlocked _th"),
        (lambda e: list(e.map(abs, [1, LOCK])), "it is argument 1, <unlocked _th"),
        (
            lambda e: list(e.map(pow, [1, 2, 3], [1, 2, LOCK], chunksize=3)),
            "it is argument 2 of input 3 of the chunk, <unlocked _th",
        ),
        (lambda e: e.map_reduce(abs, [LOCK], sum), "it is argument 1, <unlocked _th"),
        (lambda e: e.submit_many(abs, [LOCK]), "it is argument 1, <unlocked _th"),
    ],
)
def test_an_argument_that_cannot_be_pickled(
    processes: wl.LocalExecutor, act: Callable[[Any], Any], note: str
) -> None:
    with pytest.raises(TypeError, match=r"cannot pickle '_thread\.lock' object") as caught:
        act(processes)
    first, second = caught.value.__notes__
    assert first.startswith("while pickling the arguments of a call of ")
    assert second.startswith(note)
    assert ", that cannot travel to another process: make it inside the function, or use threads" in second
    assert "\n" not in second


@pytest.mark.parametrize("chunksize", [1, 2])
@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: (n for n in range(x)), "cannot pickle 'generator' object; return list(…) of it"),
        (lambda x: [1, (n for n in range(x))], "cannot pickle 'generator' object; return list(…) of it"),
        (lambda x: {"lock": threading.Lock()}, "cannot pickle '_thread.lock' object; it is of type dict"),
    ],
)
def test_a_result_that_cannot_be_pickled(
    processes: wl.LocalExecutor, function: Callable[[int], Any], message: str, chunksize: int
) -> None:
    with pytest.raises(TypeError) as caught:
        list(processes.map(function, [3], chunksize=chunksize))
    assert str(caught.value) == f"the result cannot be sent back: {message}"
    assert "while pickling the result of the call" in caught.value.__notes__


def test_an_error_of_pickling_that_is_somebody_elses(processes: wl.LocalExecutor) -> None:
    class Own:
        def __reduce__(self) -> Any:
            raise LookupError("of its own")

    with pytest.raises(LookupError, match=r"^of its own") as caught:
        processes.submit(lambda: Own()).result()
    assert "while pickling the result of the call" in caught.value.__notes__
    assert "in __reduce__" in str(caught.value.__cause__)


def test_threads_return_what_they_like() -> None:
    with wl.LocalExecutor(1, "thread") as threads:
        assert list(threads.submit(lambda: (n for n in range(3))).result()) == [0, 1, 2]


# readers


@pytest.fixture
def in_memory() -> Iterator[str]:
    """Address of a store that other processes cannot see, with one object."""
    url = f"memory://{uuid.uuid4().hex}"
    open_store(url).put("a", b"x")
    yield url
    open_store(url).delete("a")


WAYS: list[Callable[[Any, Any], Any]] = [
    lambda e, readers: list(e.map(len, readers)),
    lambda e, readers: list(e.map(len, readers, chunksize=5)),
    lambda e, readers: e.submit(len, next(readers)),
    lambda e, readers: e.submit(dict, a=[{"deep": (1, next(readers))}]),
    lambda e, readers: e.map_reduce(len, readers, sum),
    lambda e, readers: e.submit(_reading(next(readers))),
]
"""All the ways in which a reader gets to a worker."""


def _reading(reader: Any) -> Callable[[], bytes]:
    return lambda: bytes(reader.read())


@pytest.mark.parametrize("way", WAYS)
def test_readers_of_memory_are_refused(
    processes: wl.LocalExecutor, in_memory: str, way: Callable[[Any, Any], Any]
) -> None:
    with pytest.raises(ReachError) as caught:
        way(processes, wl.objects(in_memory))
    assert str(caught.value).startswith(
        f"{in_memory}/a: worker processes cannot see the memory of this one: "
    )
    assert processes.stats().submitted == 0


def test_other_machines_see_shared_folders_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a").write_text("y")
    (reader,) = wl.objects(tmp_path / "texts")
    monkeypatch.setenv("WRENLA_STORE", str(tmp_path / "calls"))
    scratch = ScratchSpace("calls-0123456789ab", Reach.SHARED)
    with pytest.raises(ReachError, match=r"texts/a: .*other machines.*WRENLA_SHARED_FOLDERS"):
        dump([reader], ReachingPickler, modules=set(), reach=Reach.SHARED, reach_of=reach_of)
    with pytest.raises(ReachError, match=r"calls: .*other machines.*WRENLA_SHARED_FOLDERS"):
        scratch.send([bytes(100)], "arguments", inline=0)
    monkeypatch.setenv("WRENLA_SHARED_FOLDERS", str(tmp_path))
    assert dump([reader], ReachingPickler, modules=set(), reach=Reach.SHARED, reach_of=reach_of)
    (blob,) = scratch.send([bytes(100)], "arguments", inline=0)
    assert scratch.fetch(blob.key) == bytes(100)
    scratch.close()
    with pytest.raises(ReachError, match=r"functions on AWS"):
        dump([reader], ReachingPickler, modules=set(), reach=Reach.ANYWHERE, reach_of=reach_of)


def test_readers_that_are_seen(processes: wl.LocalExecutor, in_memory: str, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a").write_text("y")
    assert list(processes.map(lambda reader: reader.read(), wl.objects(tmp_path / "texts"))) == [b"y"]
    with wl.LocalExecutor(1, "thread") as threads:
        assert list(threads.map(lambda reader: reader.read(), wl.objects(in_memory))) == [b"x"]
