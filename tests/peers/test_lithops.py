"""Lithops' functional tests, those of the package if it is installed (extra `bench`), on our executors."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers.like_lithops import FunctionExecutor, Storage
from tests.settings import own_settings_in

lithops = pytest.importorskip("lithops")

of_calls = pytest.importorskip("lithops.tests.test_call_async")
of_maps = pytest.importorskip("lithops.tests.test_map")
of_reductions = pytest.importorskip("lithops.tests.test_map_reduce")
of_storage = pytest.importorskip("lithops.tests.test_storage")

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("default")]

DIFFERENCES = {
    "test_url_processing": "wl.objects reads folders and S3; a function may read any other address itself",
}
"""Tests that do not pass, and why not."""


@pytest.fixture(scope="module", autouse=True)
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Put our classes in the place of Lithops', and words from here in the place of its texts."""

    def read(url: str) -> io.BytesIO:
        return io.BytesIO(f"{url} one\ntwo three\n".encode() * 50_000)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_LITHOPS_STORAGE", str(tmp_path_factory.mktemp("lithops")))
        patch.setattr(lithops, "FunctionExecutor", FunctionExecutor)
        patch.setattr(lithops, "Storage", Storage)
        patch.setattr(pytest, "lithops_config", {}, raising=False)
        for module in (of_reductions, of_storage):
            patch.setattr(module, "extract_storage_config", lambda config: config)
        patch.setattr("urllib.request.urlopen", read)
        yield


@pytest.fixture(autouse=True)
def one_test(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Say what differs; functions that ask for calls themselves run in threads."""
    name = request.node.originalname
    if name in DIFFERENCES:
        request.applymarker(pytest.mark.xfail(reason=DIFFERENCES[name], strict=True))
    storage = os.environ["TEST_LITHOPS_STORAGE"]
    own_settings_in(tmp_path, monkeypatch, store="store")
    monkeypatch.setenv("TEST_LITHOPS_STORAGE", storage)
    monkeypatch.setattr(FunctionExecutor, "kind", "thread" if "lithops" in name else "process")
    yield
    for each in list(FunctionExecutor.opened):
        each.executor.shutdown()


class TestCalls(of_calls.TestCallAsync):
    """`call_async`."""


class TestMaps(of_maps.TestMap):
    """`map`."""


class TestReductions(of_reductions.TestMapReduce):
    """`map_reduce`, of values and of objects."""


class TestStorage(of_storage.TestStorage):
    """Stores."""
