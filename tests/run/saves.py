"""What tests of saving share: matrices made by tasks, runs that are cut short, leases of the dead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import wrenla as wl
from wrenla.run.events import Event, TaskFinished
from wrenla.workspace.lease import Holder
from wrenla_handler.stores.base import LEASE, SAVING
from wrenla_handler.stores.urls import open_store

FIRST = f"{SAVING}/{LEASE}00000000"
SIDE, TILE = 4, 8
N = SIDE * TILE

WITHOUT_S3 = pytest.mark.parametrize(
    "url", ["file", "memory", pytest.param("s3", marks=pytest.mark.slow)], indirect=True
)
"""For what a stand-in of S3 takes long for: `make test-slow` and `make test-s3` run it on S3."""


def full(value: float) -> wl.BigMatrix:
    """Return a matrix of 4 × 4 tiles that is made by tasks."""
    return wl.from_function(lambda i, j: np.full((len(i), len(j)), value), (N, N), tile=TILE)


def objects(url: str) -> set[str]:
    return set(open_store(url).list())


def values(url: str, executor: wl.Executor) -> list[float]:
    return np.unique(wl.open(url).compute(executor)).tolist()


def stop_after(count: int, error: BaseException) -> Callable[[Event], None]:
    done: list[Event] = []

    def listen(event: Event) -> None:
        if isinstance(event, TaskFinished):
            done.append(event)
            if len(done) == count:
                raise error

    return listen


def whole(separator: str = "/") -> set[str]:
    return {"zarr.json", *(separator.join(("c", str(i), str(j))) for i in range(SIDE) for j in range(SIDE))}


def dead(url: str) -> None:
    """Let a lease that was given back look like that of a process that was killed."""
    store = open_store(url)
    for key in list(store.list(f"{SAVING}/{LEASE}")):
        holder = Holder.decode(bytes(store.get(key)))
        assert holder is not None
        store.put(key, replace(holder, ended=False, boot="another").encode())
