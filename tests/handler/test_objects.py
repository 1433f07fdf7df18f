"""Objects as inputs: what is listed, what is read of them, and that each line is read once."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import re
import shutil
import tracemalloc
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wrenla as wl
from wrenla_handler.calls.objects import StoredObject
from wrenla_handler.errors import StoreError
from wrenla_handler.stores.base import Store
from wrenla_handler.stores.memory import MemoryStore
from wrenla_handler.stores.s3.client import shared_client
from wrenla_handler.stores.urls import open_store

MIB = 1 << 20
TEXTS = {"b.txt": b"one\ntwo\n", "a.txt": b"three", "deep/c.csv": b"1,2\n", "empty": b""}


@pytest.fixture
def texts(store: Store) -> Store:
    for key, data in TEXTS.items():
        store.put(key, data)
    return store


def count_bytes(reader: StoredObject) -> tuple[str, int]:
    return reader.key, sum(len(line.encode()) for line in reader.lines())


# listing


def test_objects_are_sorted_readers(texts: Store) -> None:
    readers = list(wl.objects(texts.url))
    assert [reader.key for reader in readers] == ["a.txt", "b.txt", "deep/c.csv", "empty"]
    assert {reader.key: reader.read() for reader in readers} == TEXTS
    assert [reader.nbytes for reader in readers] == [5, 8, 4, 0]
    assert readers[2].url == f"{texts.url}/deep/c.csv"
    assert all(isinstance(reader, wl.StoredObject) for reader in readers)


@pytest.mark.parametrize(
    ("pattern", "keys"),
    [
        ("*.txt", ["a.txt", "b.txt"]),
        ("*.csv", ["deep/c.csv"]),
        ("deep/*", ["deep/c.csv"]),
        ("[ab].t?t", ["a.txt", "b.txt"]),
        ("empty", ["empty"]),
        ("*", ["a.txt", "b.txt", "deep/c.csv", "empty"]),
    ],
)
def test_pattern(texts: Store, pattern: str, keys: list[str]) -> None:
    assert [reader.key for reader in wl.objects(texts.url, pattern=pattern)] == keys


@pytest.mark.parametrize("chunk", [3, "3", "3 B", 3.0])
def test_chunks_cover_each_object_once(texts: Store, chunk: int | str) -> None:
    readers = list(wl.objects(texts.url, chunk=chunk))
    for key, data in TEXTS.items():
        parts = [reader for reader in readers if reader.key == key]
        assert b"".join(part.read() for part in parts) == data
        assert all(part.nbytes <= 3 for part in parts)
    assert [(reader.start, reader.stop) for reader in readers if reader.key == "b.txt"] == [
        (0, 3),
        (3, 6),
        (6, 8),
    ]


@pytest.mark.parametrize("chunk", [0, -1, "0 MiB", "-3", "much", True, ""])
def test_chunk_must_be_positive(texts: Store, chunk: int | str) -> None:
    with pytest.raises(ValueError, match="64 MiB"):
        wl.objects(texts.url, chunk=chunk)


def test_objects_of_empty_address_is_file_not_found(store: Store) -> None:
    with pytest.raises(FileNotFoundError, match="there are no objects here"):
        wl.objects(store.url)
    with pytest.raises(FileNotFoundError, match="there are no objects here"):
        wl.objects(store.url, pattern="*.txt")


def test_objects_without_match_is_an_error(texts: Store) -> None:
    with pytest.raises(FileNotFoundError, match=r"'\*\.json'; there is, for example, 'a\.txt'"):
        wl.objects(texts.url, pattern="*.json")


def test_the_address_of_an_object(texts: Store) -> None:
    with pytest.raises(FileNotFoundError, match=r"an object, not a folder: .*pattern='a\.txt'"):
        wl.objects(f"{texts.url}/a.txt")


def test_an_address_with_wildcards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_text("x")
    monkeypatch.chdir(tmp_path)
    for address, folder, pattern in (
        ("*.py", ".", "*.py"),
        (f"{tmp_path}/*/a[12].txt", str(tmp_path), "*/a[12].txt"),
        (f"{tmp_path.as_uri()}/%41*", tmp_path.as_uri(), "A*"),
    ):
        with pytest.raises(FileNotFoundError) as caught:
            wl.objects(address)
        assert str(caught.value).endswith(f"take wl.objects({folder!r}, pattern={pattern!r})")
    assert [reader.key for reader in wl.objects(".", pattern="*.py")] == ["a.py"]


def test_an_object_with_wildcards_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "a[1].txt").write_text("x")
    with pytest.raises(FileNotFoundError, match=r"an object, not a folder: .*pattern='a\[\[\]1\]\.txt'"):
        wl.objects(tmp_path / "a[1].txt")
    assert len(list(wl.objects(tmp_path, pattern="a[[]1].txt"))) == 1


@pytest.mark.parametrize("url", [5, None, b"texts", ["texts"]])
def test_objects_of_bad_address_is_refused(url: Any) -> None:
    with pytest.raises(TypeError, match="^" + re.escape(f"url={url!r}: the address of a folder")):
        wl.objects(url)


def test_objects_with_bad_pattern_is_refused(texts: Store) -> None:
    with pytest.raises(TypeError, match=r"^pattern=3: a text like '\*\.txt', or None"):
        wl.objects(texts.url, pattern=3)  # type: ignore[arg-type]


def test_an_object_with_a_blank_in_its_name(tmp_path: Path) -> None:
    (tmp_path / "a b.txt").write_text("x")
    (reader,) = wl.objects(tmp_path)
    assert reader.url.endswith("/a%20b.txt")
    assert reader.read() == b"x"
    with pytest.raises(FileNotFoundError, match=r"pattern='a b\.txt'"):
        wl.objects(tmp_path / "a b.txt")


def test_there_is_no_such_bucket(s3_bucket: str) -> None:
    with pytest.raises(StoreError, match="there is no such bucket"):
        wl.objects(f"s3://{s3_bucket}-not-there/texts")


def test_listing_is_lazy(texts: Store) -> None:
    readers = wl.objects(texts.url, pattern="*.txt")
    assert next(readers).key == "a.txt"
    texts.put("b.txt", b"changed since")
    assert next(readers).nbytes == len(b"changed since")


# reading


def test_readers_are_small_and_travel(texts: Store) -> None:
    reader = next(wl.objects(texts.url, pattern="b*", chunk=5))
    data = pickle.dumps(reader)
    assert len(data) < 1000
    again = pickle.loads(data)
    assert again == reader
    assert (again.read(), list(again.lines())) == (b"one\nt", ["one\n", "two\n"])


def test_repr_says_which_part(texts: Store) -> None:
    (whole,) = wl.objects(texts.url, pattern="b*")
    assert repr(whole) == f"StoredObject('{texts.url}/b.txt')"
    part = next(wl.objects(texts.url, pattern="b*", chunk=5))
    assert repr(part) == f"StoredObject('{texts.url}/b.txt', 0:5 of 8)"


def test_open_is_a_binary_file(store: Store) -> None:
    data = bytes(range(256)) * 4096
    store.put("data", data)
    _, part, _ = wl.objects(store.url, chunk=400_000)
    expected = io.BytesIO(data[400_000:800_000])
    with part.open() as file:
        assert file.readable()
        assert file.seekable()
        assert not file.writable()
        for step in (
            lambda f: f.read(10),
            lambda f: f.read(300_000),
            lambda f: (f.seek(5), f.readline()),
            lambda f: (f.seek(-7, io.SEEK_END), f.read(100)),
            lambda f: f.read(1),
            lambda f: (f.seek(123), f.seek(7, io.SEEK_CUR), f.tell(), f.read()),
            lambda f: (f.seek(10**9), f.read(), f.read(1)),
        ):
            assert step(file) == step(expected)
        with pytest.raises(ValueError, match="before the beginning"):
            file.raw.seek(-1)
        with pytest.raises(ValueError, match="whence"):
            file.raw.seek(0, 7)
    with pytest.raises(ValueError, match="closed"):
        file.read(1)
    with pytest.raises(ValueError, match="closed"):
        file.raw.readall()


def test_open_goes_into_other_readers(store: Store) -> None:
    store.put("text.gz", gzip.compress(b"a line\n" * 1000))
    (reader,) = wl.objects(store.url)
    with reader.open() as file, gzip.open(file, "rt") as text:
        assert sum(len(line) for line in text) == 7000


def test_empty_objects(texts: Store) -> None:
    (reader,) = wl.objects(texts.url, pattern="empty", chunk=1)
    with reader.open() as file:
        assert (reader.nbytes, reader.read(), file.read(), list(reader.lines())) == (0, b"", b"", [])


def test_vanished_object_is_an_error_that_names_it(texts: Store) -> None:
    reader = next(wl.objects(texts.url, pattern="b*"))
    texts.delete("b.txt")
    for read in (reader.read, lambda: list(reader.lines()), lambda: reader.open().read(1)):
        with pytest.raises(StoreError, match=r"b\.txt: there is no such object; "):
            read()


def test_shortened_object_is_an_error(texts: Store) -> None:
    reader = next(wl.objects(texts.url, pattern="b*"))
    texts.put("b.txt", b"one\n")
    for read in (reader.read, lambda: list(reader.lines()), lambda: reader.open().read()):
        with pytest.raises(StoreError, match="ends at byte 4, but had 8 bytes when it was listed"):
            read()


def test_memory_of_another_process_is_explained() -> None:
    name = uuid.uuid4().hex
    reader = StoredObject(f"memory://{name}", "a", 0, 1, 1)
    try:
        with pytest.raises(StoreError, match="use threads, or a folder"):
            reader.read()
    finally:
        MemoryStore.drop(name)


# lines


@settings(max_examples=300, deadline=None)
@given(
    text=st.lists(
        st.sampled_from(["a", "\n", "\r\n", "\r", "é", "漢字", "𝄞", "\u2028", " ", "\x0b", "long" * 9])
    ),
    chunk=st.integers(1, 40),
)
def test_each_line_belongs_to_one_part(text: list[str], chunk: int) -> None:
    data = "".join(text).encode()
    space = MemoryStore()
    space.put("t", data)
    parts = list(wl.objects(space.url, chunk=chunk))
    lines = [list(part.lines()) for part in parts]
    expected = list(io.TextIOWrapper(io.BytesIO(data), "utf-8", newline="\n"))
    assert [line for part in lines for line in part] == expected
    assert [line for whole in wl.objects(space.url) for line in whole.lines()] == expected
    begins, at = [], 0
    for line in expected:
        begins.append(at)
        at += len(line.encode())
    for part, found in zip(parts, lines, strict=True):
        assert len(found) == sum(part.start <= begin < part.stop for begin in begins)


def test_lines_in_every_store(store: Store) -> None:
    """Lines of about 100 kB: maps, and several requests, are in play."""
    expected = [f"{number} " * 15_000 + "é\n" for number in range(30)]
    store.put("t", "".join(expected).encode())
    parts = wl.objects(store.url, chunk="300 kB")
    assert [line for part in parts for line in part.lines()] == expected


def test_a_line_longer_than_many_parts(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"a\n" + b"x" * (11 * MIB) + b"\nb\n")
    counts = [[len(line) for line in part.lines()] for part in wl.objects(tmp_path, chunk="1 MiB")]
    assert counts == [[2, 11 * MIB + 1], *([] for _ in range(10)), [2]]


def test_encodings(store: Store) -> None:
    store.put("t", "é\nü\n".encode("latin-1"))
    (reader,) = wl.objects(store.url)
    assert list(reader.lines("latin-1")) == ["é\n", "ü\n"]
    assert list(reader.lines(errors="replace")) == ["�\n", "�\n"]
    with pytest.raises(UnicodeDecodeError, match=r"in the line that begins at byte 0 of .*/t"):
        list(reader.lines())
    for encoding in ("utf-16", "utf-32-le", "cp037"):
        with pytest.raises(ValueError, match="does not end with the byte 10"):
            reader.lines(encoding)
    with pytest.raises(LookupError):
        reader.lines("no such encoding")


def test_a_mark_at_the_beginning(store: Store) -> None:
    store.put("t", "a\n\ufeffb\n".encode("utf-8-sig"))
    (whole,) = wl.objects(store.url)
    assert list(whole.lines("utf-8-sig")) == ["a\n", "\ufeffb\n"]
    parts = wl.objects(store.url, chunk=5)
    assert [line for part in parts for line in part.lines("utf-8-sig")] == ["a\n", "\ufeffb\n"]


def test_memory_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "t"
    with path.open("wb") as file:
        for _ in range(64):
            file.write((b"x" * 1023 + b"\n") * 1024)
    (reader,) = wl.objects(tmp_path)
    tracemalloc.start()
    try:
        assert sum(1 for _ in reader.lines()) == 64 * 1024
        with reader.open() as opened:
            assert sum(len(piece) for piece in iter(lambda: opened.read(MIB), b"")) == 64 * MIB
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        path.unlink()
    assert peak < 16 * MIB


# mapped over


@pytest.mark.cloud
@pytest.mark.parametrize("kind", ["process", "thread"])
def test_objects_are_inputs_of_map(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRENLA_STORE", str(tmp_path / "temporary"))
    urls = [str(tmp_path / "texts"), f"s3://{request.getfixturevalue('s3_bucket')}/texts"]
    if kind == "thread":
        urls.append(f"memory://{uuid.uuid4().hex}/texts")
    with wl.LocalExecutor(2, kind=kind) as executor:  # type: ignore[arg-type]
        for url in urls:
            store = open_store(url)
            for key, data in TEXTS.items():
                store.put(key, data)
            found = list(executor.map(count_bytes, wl.objects(url)))
            assert found == [(key, len(TEXTS[key])) for key in sorted(TEXTS)]
            parts: dict[str, int] = {}
            for key, count in executor.map(count_bytes, wl.objects(url, chunk=2), ordered=False):
                parts[key] = parts.get(key, 0) + count
            assert parts == {key: len(data) for key, data in TEXTS.items()}
            store.close()
    if kind == "thread":
        MemoryStore.drop(urls[-1].split("/")[2])


# names that are no keys, and links


def test_objects_with_bad_names_or_links_are_refused_by_name(tmp_path: Path) -> None:
    """Never left out without a word; what a pattern does not ask for may be there."""
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "deep/a.txt").write_text("a")
    (tmp_path / "nowhere.txt").symlink_to(tmp_path / "no such file")  # nobody could read that
    (tmp_path / f".{32 * 'a'}.tmp").write_text("half an object of ours")
    os.mkfifo(tmp_path / "pipe")
    odd: dict[str, Callable[[Path], Any]] = {
        "caf\udce9.txt": lambda path: path.write_text("x"),
        "a\nb.txt": lambda path: path.write_text("x"),
        "deep/er/\x7f.txt": lambda path: path.write_text("x"),
        ".half.tmp": lambda path: path.write_text("theirs"),
        "caf\udce9/": lambda path: (path.mkdir(), (path / "x.txt").write_text("x")),
        "link.txt": lambda path: path.symlink_to(tmp_path / "deep/a.txt"),
        "deep/link/": lambda path: path.symlink_to(tmp_path / "deep/er"),
    }
    for name, make in odd.items():
        path = tmp_path / name.rstrip("/")
        make(path)
        for pattern in (None, "*.tmp" if name.endswith(".tmp") else "*.txt"):
            with pytest.raises(StoreError, match=re.escape(f"cannot all be passed: {name!r}: ")):
                wl.objects(tmp_path, pattern=pattern)
        assert [reader.key for reader in wl.objects(tmp_path, pattern="deep/a*")] == ["deep/a.txt"]
        assert [*open_store(tmp_path).list()] == ["deep/a.txt"]
        if name == "caf\udce9/":
            shutil.rmtree(path)
        else:
            path.unlink()
    for number in range(7):
        (tmp_path / f"{number}\n").write_text("x")
    with pytest.raises(
        StoreError, match=r"'4\\n': its name has a control character; … \(7 in all\)\. Rename"
    ):
        wl.objects(tmp_path)


def test_keys_on_s3_that_no_store_takes(s3_bucket: str) -> None:
    for key in ("t/a.txt", "t/b\x7f.txt", "t/folder/", "t/z\x7f.txt"):
        shared_client().put_object(Bucket=s3_bucket, Key=key, Body=b"" if key.endswith("/") else b"x")
    url = f"s3://{s3_bucket}/t"
    for pattern, key in ((None, "b\x7f.txt"), ("z*", "z\x7f.txt")):
        with pytest.raises(StoreError, match=re.escape(f"passed: {key!r}: ")):
            list(wl.objects(url, pattern=pattern))
    assert [reader.key for reader in wl.objects(url, pattern="a*")] == ["a.txt"]


def test_many_paths_in_place_of_a_folder() -> None:
    with pytest.raises(TypeError, match=r"executor\.map\(f, paths\)$") as caught:
        wl.objects([f"data/{number}.json" for number in range(5000)])  # type: ignore[arg-type]
    assert len(str(caught.value)) < 300
