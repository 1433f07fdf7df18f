"""What is printed: taken from a file, each time what is new."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator

import pytest

from wrenla_handler.calls.capture import CopiedOutput, FileOutput, take_file


@pytest.fixture
def descriptor() -> Iterator[int]:
    """A file as a worker's standard output is."""
    with tempfile.TemporaryFile() as file:
        fcntl.fcntl(file, fcntl.F_SETFL, os.O_APPEND)
        yield file.fileno()


def test_take_without_output_is_empty(descriptor: int) -> None:
    assert FileOutput(descriptor).take() == b""


def test_take_returns_output_since_last_take(descriptor: int) -> None:
    output = FileOutput(descriptor)
    for text in (b"one\n", b"two\n" * 1000, b"\xff\0"):
        os.write(descriptor, text)
        assert output.take() == text
        assert output.take() == b""
    assert os.fstat(descriptor).st_size == 0


def test_take_flushes_the_streams_first(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = (open(os.dup(descriptor), "w", buffering=1 << 20) for _ in range(2))  # noqa: SIM115
    with out, err:
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        print("to one", end=";")  # noqa: T201
        print("to the other", end=";", file=sys.stderr)  # noqa: T201
        assert FileOutput(descriptor).take() == b"to one;to the other;"


@pytest.mark.process
def test_take_has_output_of_child_programs(descriptor: int) -> None:
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


def test_take_of_large_file_keeps_beginning_and_end(descriptor: int) -> None:
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


# a copy of what Python writes, where the host keeps it as well


def host(monkeypatch: pytest.MonkeyPatch) -> tuple[io.StringIO, io.StringIO]:
    """Return what the host has; both streams are restored in the end."""
    real = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", real[0])
    monkeypatch.setattr(sys, "stderr", real[1])
    return real


def test_both_streams_are_copied_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = host(monkeypatch)
    output = CopiedOutput()
    print("one")  # noqa: T201
    print("two", file=sys.stderr)  # noqa: T201
    sys.stdout.writelines(["th", "ree\n"])
    assert output.take() == b"one\ntwo\nthree\n"
    assert output.take() == b""
    assert (streams[0].getvalue(), streams[1].getvalue()) == ("one\nthree\n", "two\n")


def test_copied_stream_passes_other_attributes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    host(monkeypatch)
    output = CopiedOutput()
    assert not sys.stdout.isatty()
    sys.stdout.flush()
    assert sys.stdout.getvalue() == ""  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        sys.stdout.nothing  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(TypeError):
        sys.stdout.write(b"bytes")  # type: ignore[arg-type]
    sys.stdout.write("\ud800 and more")
    assert output.take() == b"\\ud800 and more"


def test_copied_output_keeps_beginning_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = host(monkeypatch)
    output = CopiedOutput()
    print("the beginning")  # noqa: T201
    for _ in range(60):
        print("x" * 999_999)  # noqa: T201
    print("the end")  # noqa: T201
    text = output.take()
    assert len(text) < 17_000_000
    assert text.startswith(b"the beginning\n")
    assert text.endswith(b"\nthe end\n")
    assert b"bytes of output left out" in text
    assert output.take() == b""
    print("again")  # noqa: T201
    assert output.take() == b"again\n"
    assert len(streams[0].getvalue()) > 60_000_000


def test_one_huge_line(monkeypatch: pytest.MonkeyPatch) -> None:
    host(monkeypatch)
    output = CopiedOutput()
    print("a" * 40_000_000 + "z")  # noqa: T201
    text = output.take()
    assert (text[:1], text[-2:]) == (b"a", b"z\n")
    assert len(text) < 17_000_000


def test_from_several_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    host(monkeypatch)
    output, taken = CopiedOutput(), []
    threads = [
        threading.Thread(target=lambda: [print("line") for _ in range(2000)])  # noqa: T201
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        taken.append(output.take())
    taken.append(output.take())
    text = b"".join(taken)
    assert text.count(b"line") == text.count(b"\n") == 8000


class Sink(logging.Handler):
    """As AWS's runtime logs: to a channel of its own, not to a stream."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


class Stream(Sink):
    """As its emulators do: to standard output."""

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        sys.stdout.write(f"{self.lines[-1]}\n")


@pytest.mark.parametrize("kind", [Sink, Stream, None])
def test_log_record_is_copied_once(kind: type[Sink] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    there = [] if kind is None else [kind()]
    monkeypatch.setattr(root, "handlers", list(there))
    monkeypatch.setattr(root, "level", logging.INFO)
    root.manager._clear_cache()  # type: ignore[attr-defined]
    streams = host(monkeypatch)
    output = CopiedOutput()
    output.log(root)
    logging.getLogger("mine").info("of %s", "interest")
    print("and more")  # noqa: T201
    logging.getLogger("mine").debug("of none")
    assert output.take() == b"INFO mine: of interest\nand more\n"
    if there:
        assert there[0].lines == ["of interest"]
    else:
        assert streams[1].getvalue() == "INFO mine: of interest\n"
    root.manager._clear_cache()  # type: ignore[attr-defined]
