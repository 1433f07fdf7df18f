"""The threads that read S3 objects: as many for a hundred stores as for one, and none in the end."""

from __future__ import annotations

import gc
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from wrenla_handler.stores.s3.store import S3Store
from wrenla_handler.stores.urls import open_store
from wrenla_handler.tiles.sources import Sources

CONTENT = bytes(range(256)) * 1000


def readers() -> int:
    return sum(thread.name.startswith("wrenla-s3") for thread in threading.enumerate())


def test_many_stores_have_the_threads_of_one(s3_bucket: str) -> None:
    stores = [S3Store(s3_bucket, f"run{n}", part_bytes=10_000) for n in range(12)]
    for store in stores:
        store.put("key", CONTENT)
        assert store.get("key") == CONTENT
    assert 0 < readers() <= 16
    for store in stores[:-1]:
        store.close()
    assert readers()
    stores[-1].close()
    assert readers() == 0
    assert stores[0].get("key") == CONTENT  # a closed one reads all the same
    assert readers()
    stores[0].close()
    assert readers() == 0


def test_sources_leave_no_thread(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(9 << 20)
    sources = Sources()
    for n in range(3):
        url = f"s3://{s3_bucket}/run{n}"
        open_store(url).put("c/0", content)
        assert len(sources.store(url).get("c/0")) == len(content)
    assert 0 < readers() <= 16
    sources.close()
    assert readers() == 0


def test_stores_that_nobody_closes_hold_nothing_up(s3_bucket: str) -> None:
    for n in range(3):
        store = S3Store(s3_bucket, f"run{n}", part_bytes=50_000)
        store.put("key", CONTENT)
        assert store.get("key") == CONTENT
    del store
    gc.collect()
    other = S3Store(s3_bucket)
    other.close()
    assert readers() == 0


def test_a_store_is_closed_while_others_read(s3_bucket: str) -> None:
    S3Store(s3_bucket).put("key", CONTENT)

    def read(_: int) -> bool:
        store = S3Store(s3_bucket, part_bytes=20_000)
        try:
            return store.get("key") == CONTENT
        finally:
            store.close()

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(read, range(40)))
    assert readers() == 0


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own(s3_bucket: str) -> None:
    store = S3Store(s3_bucket, part_bytes=50_000)
    store.put("key", CONTENT)
    assert store.get("key") == CONTENT
    child = os.fork()
    if child == 0:
        right = False
        try:
            right = readers() == 0 and store.get("key") == CONTENT and readers() > 0
        finally:
            os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    store.close()
    assert readers() == 0


def test_without_threads_parts_are_read_one_after_the_other(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith("wrenla-s3"):
            raise RuntimeError("can't start new thread")
        begin(thread)

    store = S3Store(s3_bucket, part_bytes=50_000)
    store.put("key", CONTENT)
    monkeypatch.setattr(threading.Thread, "start", start)
    assert store.get("key") == CONTENT
    assert readers() == 0
    store.close()
