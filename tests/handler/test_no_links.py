"""A store in a folder opens nothing through a link, and takes nothing but files for objects."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from wrenla_handler.errors import StoreError
from wrenla_handler.stores import folders
from wrenla_handler.stores.base import RUNS, SAVING
from wrenla_handler.stores.local import LocalStore

KEYS = ("a/b/c", "a/b", "a")


@pytest.fixture(params=["openat2", "step by step"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a kernel that opens a path without links at once, and on one that does not."""
    monkeypatch.setattr(folders, "_openat2_missing", [] if request.param == "openat2" else [True])


def every_way(store: LocalStore, key: str) -> None:
    for use in (
        lambda: store.get(key),
        lambda: store.size(key),
        lambda: store.exists(key),
        lambda: store.put(key, b"x"),
        lambda: store.put(key, b"x", create=True),
    ):
        with pytest.raises(StoreError, match="is a symbolic link, and links inside a store are not followed"):
            use()


def test_links_at_any_height(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    (theirs / "b").mkdir(parents=True)
    (theirs / "b" / "c").write_text("mine")
    for number, link in enumerate(KEYS):
        root = tmp_path / str(number)
        (root / link).parent.mkdir(parents=True, exist_ok=True)
        to = {"a/b/c": theirs / "b" / "c", "a/b": theirs / "b", "a": theirs}[link]
        (root / link).symlink_to(to)
        store = LocalStore(root)
        store.put("z", b"")
        every_way(store, "a/b/c")
        assert list(store.list()) == ["z"]
        with pytest.raises(StoreError, match="symbolic link"):
            store.move("z", "a/b/c")
        for source, key, target, new in ((store, "a/b/c", store, "y"), (store, "z", store, "a/b/c")):
            with pytest.raises(StoreError, match="symbolic link"):
                target.copy_from(source, key, new)
        if link != "a/b/c":
            with pytest.raises(StoreError, match="symbolic link"):
                store.delete("a/b/c")
        else:
            store.delete("a/b/c")
        store.remove_empty_folders(lambda path: True, root=True)
        assert (root / link).is_symlink()
        assert (theirs / "b" / "c").read_text() == "mine"


def test_a_root_may_be_a_link_but_not_a_run_s_folder(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    store = LocalStore(tmp_path / "link" / "m")
    store.put("a/b", b"x")
    assert (tmp_path / "disk" / "m" / "a" / "b").read_bytes() == b"x"
    for name in (RUNS, SAVING):
        (tmp_path / name).symlink_to(tmp_path / "disk")
        every_way(LocalStore(tmp_path / name / "x"), "m/a/b")
        with pytest.raises(StoreError, match="symbolic link"):
            list(LocalStore(tmp_path / name).list())


@pytest.mark.process
def test_pipe_or_socket_is_no_object(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for key in ("fifo", "socket"):
            for use in (lambda k=key: store.get(k), lambda k=key: store.put(k, b"", create=True)):
                with pytest.raises(
                    StoreError, match="is a pipe, a socket or a device, not a file: remove it"
                ):
                    use()
            store.delete(key)
        assert list(store.list()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"fifo", "socket"}
