"""Counting the words of a folder of text: the right numbers, in little memory wherever it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import wrenla as wl

MIB = 1 << 20
HAMLET = "to be or not to be that is the question whether 'tis nobler in the mind to suffer"
WORDS = HAMLET.split()

SCRIPT = """
import json, sys
from collections import Counter
import wrenla as wl

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))

def count(reader):
    words = Counter()
    for line in reader.lines():
        words.update(line.split())
    return words, peak()

def merge(results):
    words = Counter()
    for each, _ in results:
        words.update(each)
    return words, max([seen for _, seen in results] + [peak()])

if __name__ == "__main__":
    folder, way, chunk = sys.argv[1:]
    with wl.LocalExecutor(2) as executor:
        readers = wl.objects(folder, pattern="*.txt", chunk=chunk)
        if way == "map":
            words, children = merge(list(executor.map(count, readers)))
        else:
            words, children = executor.map_reduce(count, readers, merge, fan_in=4).result()
        json.dump({"words": words, "children": children, "driver": peak()}, sys.stdout)
"""


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRENLA_STORE", str(tmp_path / "store"))


@pytest.fixture
def texts(tmp_path: Path) -> Iterator[Path]:
    """An empty folder, whose files do not stay until the end of all tests."""
    folder = tmp_path / "texts"
    folder.mkdir()
    yield folder
    for path in folder.iterdir():
        path.unlink()


def block(nbytes: int) -> tuple[bytes, Counter[str]]:
    """Return a text of about so many bytes, and its words."""
    lines, at, size = [], 0, 0
    while size < nbytes:
        count = 1 + at % 30
        lines.append(" ".join(WORDS[(at + k * (at % 7 + 1)) % len(WORDS)] for k in range(count)) + "\n")
        size += len(lines[-1])
        at += 1
    return "".join(lines).encode(), Counter("".join(lines).split())


def write(path: Path, text: bytes, times: int) -> None:
    with path.open("wb") as file:
        for _ in range(times):
            file.write(text)
        file.write(b"the end")  # without a line's end


def run(folder: Path, way: str, chunk: str) -> tuple[Counter[str], int, int]:
    """Count in a process of its own; return words, and the peak memory of the driver and of its workers."""
    script = folder.parent / "words.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), str(folder), way, chunk], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return Counter(found["words"]), found["driver"], found["children"]


def expected(words: Counter[str], times: int, files: int) -> Counter[str]:
    return Counter({word: count * times for word, count in words.items()}) + Counter(the=files, end=files)


def test_word_count(texts: Path) -> None:
    text, words = block(40_000)
    for number in range(12):
        write(texts / f"{number:02}.txt", text, number)
    (texts / "not.csv").write_text("the the the")

    def count(reader: wl.StoredObject) -> Counter[str]:
        return Counter(word for line in reader.lines() for word in line.split())

    with wl.LocalExecutor(2) as executor:
        for chunk in (None, "64 kiB", 10_007):
            found = executor.map(count, wl.objects(texts, pattern="*.txt", chunk=chunk))
            assert sum(found, Counter()) == expected(words, 66, 12)
        reduced = executor.map_reduce(
            count, wl.objects(texts, pattern="*.txt", chunk="64 kiB"), lambda counts: sum(counts, Counter())
        )
        assert reduced.result() == expected(words, 66, 12)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["map", "map_reduce"])
def test_memory_is_bounded(texts: Path, way: str) -> None:
    """Forty megabytes in one file: neither the driver nor a worker keeps a notable part of it."""
    text, words = block(64 << 10)
    write(texts / "small.txt", text, 1)
    _, driver, children = run(texts, way, "16 MiB")
    times = 40 * MIB // len(text)
    write(texts / "large.txt", text, times)
    found, driver_large, children_large = run(texts, way, "16 MiB")
    assert found == expected(words, times + 1, 2)
    assert driver_large - driver < 16 * MIB
    assert children_large - children < 24 * MIB


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("way", ["map", "map_reduce"])
def test_a_gigabyte(texts: Path, way: str) -> None:
    text, words = block(MIB)
    times = 48 * MIB // len(text)
    for number in range(16):
        write(texts / f"{number:02}.txt", text, times)
    large = 256 * MIB // len(text)
    write(texts / "large.txt", text, large)
    assert sum(os.path.getsize(path) for path in texts.iterdir()) > 990 * MIB
    found, driver, children = run(texts, way, "32 MiB")
    assert found == expected(words, 16 * times + large, 17)
    assert driver < 250 * MIB
    assert children < 250 * MIB
