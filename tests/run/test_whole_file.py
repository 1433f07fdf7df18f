"""Files are there whole or not at all, and only files are replaced."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import wrenla as wl
from wrenla.whole_file import whole_file

A = wl.from_array(np.arange(6.0).reshape(2, 3), tile=2)


def test_after_an_error_the_old_file_stands(tmp_path: Path) -> None:
    place = tmp_path / "x"
    place.write_text("old")
    with pytest.raises(TypeError), whole_file(place) as file:
        file.writelines([b"new", None])  # type: ignore[list-item]  # after some of it is written
    assert place.read_text() == "old"
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.process
@pytest.mark.parametrize("old", ["", "old"])
def test_a_killed_process_leaves_nothing(tmp_path: Path, old: str) -> None:
    place = tmp_path / "x"
    if old:
        place.write_text(old)
    script = (
        "import os, signal, sys\n"
        "from wrenla.whole_file import whole_file\n"
        "with whole_file(sys.argv[1]) as file:\n"
        "    file.write(b'new')\n"
        "    file.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(place)], timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert [path.read_text() for path in tmp_path.iterdir()] == ([old] if old else [])


def test_on_a_file_system_without_unnamed_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def without(path: str, flags: int, *of: int, **named: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return real(path, flags, *of, **named)

    monkeypatch.setattr(os, "open", without)
    place = tmp_path / "x"
    for text in (b"1", b"2"):
        with whole_file(place) as file:
            file.write(text)
            assert len(os.listdir(tmp_path)) == (1 if text == b"1" else 2)
        assert place.read_bytes() == text
    with pytest.raises(ZeroDivisionError), whole_file(place):
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == ["x"]


def test_others_may_read_as_the_system_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with whole_file(tmp_path / "x"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "x").symlink_to("data/y")  # which is not there yet
    for text in ("1", "2"):
        with whole_file(tmp_path / "x") as file:
            file.write(text.encode())
        assert (tmp_path / "x").is_symlink()
        assert (tmp_path / "data/y").read_text() == text


@pytest.mark.parametrize(
    "write",
    [
        lambda place: A.to_npy(place, overwrite=True),
        lambda place: A.gram().compute(report=place),
        lambda place: whole_file(place).__enter__(),
    ],
    ids=["npy", "report", "file"],
)
def test_devices_and_pipes_stay(write: Callable[[Path], object], tmp_path: Path) -> None:
    """As root, to replace /dev/null takes it from all programs."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for place in (pipe, link):
        with pytest.raises((OSError, wl.errors.RecordError), match="not a file"):
            write(place)
        assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe"]
