"""What only a store in a folder has to do: maps, folders, full disks, killed writers."""

from __future__ import annotations

import errno
import fcntl
import gc
import mmap
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wrenla_handler.errors import StoreError, TransientStoreError
from wrenla_handler.stores import atomic_files
from wrenla_handler.stores.local import LocalStore

MEGABYTE = bytes(range(256)) * 4096


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def store(root: Path) -> LocalStore:
    return LocalStore(root)


@pytest.fixture(params=["unnamed", "named"])
def any_store(
    request: pytest.FixtureRequest, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> LocalStore:
    """A store where the file system has unnamed files, and one where it has not."""
    if request.param == "named":
        refuse_unnamed_files(monkeypatch, errno.EOPNOTSUPP)
    return store


def refuse_unnamed_files(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    really_open = os.open

    def open_(path: str, flags: int, *args: Any, **options: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(code, os.strerror(code))
        return really_open(path, flags, *args, **options)

    monkeypatch.setattr(os, "open", open_)


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def maps_of(folder: Path) -> int:
    return Path("/proc/self/maps").read_text().count(str(folder))


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_local_store_makes_no_folder_before_first_put(store: LocalStore, root: Path) -> None:
    store.delete("c/0")
    assert list(store.list()) == []
    assert not store.exists("c/0")
    assert not root.exists()


def test_large_objects_are_mapped_and_the_maps_released(store: LocalStore, root: Path) -> None:
    store.put("tile", MEGABYTE)
    files = open_files()
    views = [store.get("tile"), store.get("tile", 5000), store.get("tile", 4096, 800_000)]
    assert maps_of(root) == 3
    # A part of a view keeps the map alive.
    views = [view[1:] for view in views]
    gc.collect()
    assert maps_of(root) == 3
    assert views[1] == MEGABYTE[5001:]
    views.clear()
    gc.collect()
    assert maps_of(root) == 0
    assert open_files() <= files  # others may be closed meanwhile


def test_small_objects_are_copied(store: LocalStore, root: Path) -> None:
    store.put("tile", MEGABYTE)
    views = [store.get("tile", 17, 17 + 65_535), store.get("tile", len(MEGABYTE) - 100)]
    assert maps_of(root) == 0
    assert views[0] == MEGABYTE[17 : 17 + 65_535]
    assert views[1] == MEGABYTE[-100:]


def test_writing_leaves_no_file_open(any_store: LocalStore) -> None:
    any_store.put("a", b"", create=True)
    files = open_files()
    any_store.put("a", b"again", create=True)
    any_store.put("a", b"anew")
    any_store.put("b/c", b"first", create=True)
    with pytest.raises(StoreError):
        any_store.put("a/b", b"")
    assert open_files() <= files  # others may be closed meanwhile


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EINVAL, errno.EISDIR])
def test_file_systems_without_unnamed_files(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    refuse_unnamed_files(monkeypatch, code)
    assert store.put("c/0/0", MEGABYTE, create=True)
    assert not store.put("c/0/0", b"late", create=True)
    assert store.put("c/0/1", b"second", create=True)
    assert store.get("c/0/0") == MEGABYTE
    assert files_below(root) == ["c/0/0", "c/0/1"]


def test_without_proc_files_are_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "isdir", lambda path: False)
    store = LocalStore(root)
    monkeypatch.undo()
    monkeypatch.delattr(os, "O_TMPFILE")
    assert store.put("c/0", b"content", create=True)
    assert not store.put("c/0", b"late", create=True)
    assert files_below(root) == ["c/0"]


@pytest.mark.parametrize("create", [False, True])
def test_a_full_disk_leaves_nothing(
    any_store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch, create: bool
) -> None:
    really_write = os.write
    room = 300_000

    def write(descriptor: int, data: memoryview) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = really_write(descriptor, data[:room])
        room -= written
        return written

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(StoreError, match=r"^file:///.*/root: c/0/1: No space left on device$") as caught:
        any_store.put("c/0/1", MEGABYTE, create=create)
    assert not isinstance(caught.value, TransientStoreError)
    assert files_below(root) == []
    assert not any_store.exists("c/0/1")


def test_writes_in_pieces_are_put_together(any_store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    really_write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: really_write(descriptor, data[:100_001]))
    any_store.put("created", MEGABYTE, create=True)
    any_store.put("replaced", MEGABYTE)
    assert any_store.get("created") == MEGABYTE
    assert any_store.get("replaced") == MEGABYTE


WRITER = """
import os, signal, sys
from wrenla_handler.stores.local import LocalStore

root, create, unnamed = sys.argv[1], sys.argv[2] == "create", sys.argv[3] == "unnamed"
store = LocalStore(root)
store.put("c/0/0", b"whole")
store._unnamed_files = unnamed
really_write = os.write

def write(descriptor, data):
    really_write(descriptor, data[:1000])
    os.kill(os.getpid(), signal.SIGKILL)

os.write = write
store.put("c/0/1", bytes(100_000), create=create)
"""


@pytest.mark.process
@pytest.mark.parametrize("unnamed", ["unnamed", "named"])
@pytest.mark.parametrize("create", ["create", "replace"])
def test_a_writer_killed_in_mid_write_leaves_no_object(
    store: LocalStore, root: Path, create: str, unnamed: str
) -> None:
    writer = subprocess.run([sys.executable, "-c", WRITER, str(root), create, unnamed], check=False)
    assert writer.returncode == -signal.SIGKILL
    assert list(store.list()) == ["c/0/0"]
    assert not store.exists("c/0/1")
    if (create, unnamed) == ("create", "unnamed"):
        assert files_below(root) == ["c/0/0"]
    assert store.put("c/0/1", b"second try", create=True)
    assert list(store.list("c/0/")) == ["c/0/0", "c/0/1"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(store: LocalStore, root: Path) -> None:
    root.mkdir(mode=0o500)
    with pytest.raises(StoreError, match=r"/root: c/0: Permission denied$"):
        store.put("c/0", b"", create=True)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EIO])
def test_other_failures_name_store_and_key(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    store.put("c/0", b"")

    def fail(*args: Any, **options: Any) -> Any:
        raise OSError(code, os.strerror(code))

    for name in ("open", "stat", "unlink", "scandir"):
        monkeypatch.setattr(os, name, fail)
    calls: list[Callable[[str], Any]] = [
        store.get,
        store.size,
        store.exists,
        store.delete,
        lambda key: store.put(key, b"", create=True),
        lambda prefix: list(store.list(prefix)),
    ]
    for call in calls:
        with pytest.raises(StoreError) as caught:
            call("c/0")
        assert str(caught.value) == f"{root.as_uri()}: c/0: {os.strerror(code)}"


@pytest.mark.parametrize("create", [False, True])
def test_a_folder_is_not_overwritten(any_store: LocalStore, root: Path, create: bool) -> None:
    any_store.put("c/0/0", b"")
    with pytest.raises(StoreError, match=r"/root: c/0: Is a directory$"):
        any_store.put("c/0", b"", create=create)
    with pytest.raises(StoreError, match=r"/root: c/0/0/0: Not a directory$"):
        any_store.put("c/0/0/0", b"", create=create)
    assert files_below(root) == ["c/0/0"]


def test_remove_empty_folders_keeps_those_with_files(store: LocalStore, root: Path) -> None:
    for key in ("a/b/c", "a/d/e", "f"):
        store.put(key, b"")
    for key in ("a/b/c", "f"):
        store.delete(key)
    (root / "theirs").mkdir()
    assert (root / "a/b").is_dir()
    ours = re.compile("a(/.)?").fullmatch
    store.remove_empty_folders(lambda path: ours(path) is not None, root=True)
    assert sorted(path.name for path in root.rglob("*")) == ["a", "d", "e", "theirs"]
    store.delete("a/d/e")
    (root / "theirs").rmdir()
    store.remove_empty_folders(lambda path: ours(path) is not None)
    assert root.exists()
    for _ in range(2):
        store.remove_empty_folders(lambda path: ours(path) is not None, root=True)
        assert not root.exists()
    assert store.put("a/b/c", b"", create=True)


def test_remove_empty_folders_removes_what_was_half_written(store: LocalStore, root: Path) -> None:
    store.put("a/b/c", b"")
    store.delete("a/b/c")
    (root / "theirs").mkdir()
    temporary = f".{32 * '0'}.tmp"
    for folder in ("", "a", "a/b", "theirs"):
        (root / folder / temporary).write_bytes(b"half")
        (root / folder / ".0123.tmp").write_bytes(b"somebody else's")
    store.remove_empty_folders(lambda path: path != "theirs")
    left = sorted(str(path.relative_to(root)) for path in root.rglob(temporary))
    assert left == [f"theirs/{temporary}"]
    assert len(list(root.rglob(".0123.tmp"))) == 4


@pytest.mark.parametrize("create", [False, True])
def test_put_writes_again_what_was_removed_half_written(
    any_store: LocalStore, root: Path, create: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, times = os.close, []

    def close(descriptor: int) -> None:
        really(descriptor)
        if len(times) < 3 and any(root.rglob(".*.tmp")):
            times.append(descriptor)
            any_store.remove_empty_folders(lambda path: True)

    monkeypatch.setattr(os, "close", close)
    assert any_store.put("a/b/c", b"whole", create=create)
    assert bytes(any_store.get("a/b/c")) == b"whole"
    assert files_below(root) == ["a/b/c"]


def test_list_passes_over_what_is_no_key(store: LocalStore, root: Path) -> None:
    store.put("c/0", b"")
    (root / "c/.0123.tmp").write_bytes(b"half")
    (root / "c/line\nbreak").write_bytes(b"")
    assert list(store.list()) == ["c/0"]


def test_files_get_the_usual_permissions(any_store: LocalStore, root: Path) -> None:
    before = os.umask(0o027)
    try:
        any_store.put("created", b"", create=True)
        any_store.put("replaced", b"")
    finally:
        os.umask(before)
    assert (root / "created").stat().st_mode & 0o777 == 0o640
    assert (root / "replaced").stat().st_mode & 0o777 == 0o640


def test_folder_that_is_removed_before_one_is_made_in_it_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a run that ends while another thread begins the same one."""
    real, removed = os.mkdir, []

    def mkdir(name: str, *args: Any, **options: Any) -> None:
        if name == "inner" and not removed:
            removed.append(name)
            os.rmdir(tmp_path / "wrenla-runs" / "outer")
        real(name, *args, **options)

    monkeypatch.setattr(os, "mkdir", mkdir)
    assert LocalStore(tmp_path / "wrenla-runs" / "outer").put("inner/key", b"x", create=True)
    assert removed
    assert list(LocalStore(tmp_path / "wrenla-runs").list()) == ["outer/inner/key"]


# past the page cache


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 3 * 4096 + 5, len(MEGABYTE)])
@pytest.mark.parametrize("shift", [0, 1])
def test_direct_writes_are_whole(any_store: LocalStore, size: int, shift: int, root: Path) -> None:
    """From whatever address: what cannot go past the page cache goes through it."""
    pages = mmap.mmap(-1, size + 4096)
    pages[shift : shift + size] = MEGABYTE[:size]
    with memoryview(pages)[shift : shift + size] as data:
        for create, durable in ((True, False), (False, True), (False, False)):
            assert any_store.put("k", data, create=create, durable=durable, direct=True)
            assert bytes(any_store.get("k")) == MEGABYTE[:size]
        assert not any_store.put("k", data, create=True, direct=True)
    assert files_below(root) == ["k"]


@pytest.mark.parametrize("where", ["flag", "first", "later"])
def test_where_there_is_no_way_past_the_page_cache(
    where: str, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_write, really_fcntl, calls = os.write, fcntl.fcntl, list[int]()

    def fcntl_(descriptor: int, command: int, argument: int = 0) -> int:
        if where == "flag" and argument & os.O_DIRECT:
            raise OSError(errno.EINVAL, "no such flag")
        return really_fcntl(descriptor, command, argument)

    def write(descriptor: int, data: memoryview) -> int:
        if really_fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            calls.append(len(data))
            if where == "first" or len(calls) > 1:
                raise OSError(errno.EINVAL, "not these data")
            return really_write(descriptor, data[: 1 << 16])
        return really_write(descriptor, data)

    monkeypatch.setattr(atomic_files.fcntl, "fcntl", fcntl_)
    monkeypatch.setattr(atomic_files.os, "write", write)
    pages = mmap.mmap(-1, len(MEGABYTE) + 9)
    pages[:] = MEGABYTE + bytes(9)
    assert store.put("k", memoryview(pages), create=True, direct=True)
    assert bytes(store.get("k")) == MEGABYTE + bytes(9)
    assert len(calls) == {"flag": 0, "first": 1, "later": 2}[where]


def test_a_full_disk_is_an_error_past_the_page_cache_too(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(descriptor: int, data: memoryview) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic_files.os, "write", write)
    with pytest.raises(StoreError, match="No space left"):
        store.put("k", MEGABYTE, create=True, direct=True)
    assert files_below(root) == []
