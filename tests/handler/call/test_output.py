"""What is printed: taken from a file, each time what is new."""

from __future__ import annotations

import fcntl
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import pytest

from wrenla_handler.call.output import FileOutput, take_file


@pytest.fixture
def descriptor() -> Iterator[int]:
    """A file as a worker's standard output is."""
    with tempfile.TemporaryFile() as file:
        fcntl.fcntl(file, fcntl.F_SETFL, os.O_APPEND)
        yield file.fileno()


def test_nothing_was_printed(descriptor: int) -> None:
    assert FileOutput(descriptor).take() == b""


def test_each_time_what_is_new(descriptor: int) -> None:
    output = FileOutput(descriptor)
    for text in (b"one\n", b"two\n" * 1000, b"\xff\0"):
        os.write(descriptor, text)
        assert output.take() == text
        assert output.take() == b""
    assert os.fstat(descriptor).st_size == 0


def test_what_is_in_the_streams_is_flushed_first(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = (open(os.dup(descriptor), "w", buffering=1 << 20) for _ in range(2))  # noqa: SIM115
    with out, err:
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        print("to one", end=";")  # noqa: T201
        print("to the other", end=";", file=sys.stderr)  # noqa: T201
        assert FileOutput(descriptor).take() == b"to one;to the other;"


def test_what_a_program_prints_is_kept_too(descriptor: int) -> None:
    subprocess.run([sys.executable, "-c", "print('from a program')"], stdout=descriptor, check=True)
    assert FileOutput(descriptor).take() == b"from a program\n"


@pytest.mark.parametrize("stream", [None, io.StringIO(), "closed", object()])
def test_streams_that_a_function_has_replaced(
    stream: object, descriptor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if stream == "closed":
        stream = io.StringIO()
        stream.close()
    os.write(descriptor, b"still here")
    monkeypatch.setattr(sys, "stdout", stream)
    assert FileOutput(descriptor).take() == b"still here"


def test_of_too_much_the_beginning_and_the_end_are_kept(descriptor: int) -> None:
    piece = b"x" * (1 << 20)
    os.write(descriptor, b"first")
    for _ in range(20):
        os.write(descriptor, piece)
    os.write(descriptor, b"last")
    text = take_file(descriptor)
    assert text.startswith(b"first")
    assert text.endswith(b"last")
    assert len(text) < (16 << 20) + 100
    left_out = (20 << 20) + 9 - (16 << 20)
    assert f"{left_out} bytes of output left out".encode() in text
    assert take_file(descriptor) == b""
