"""What functions print is shown where their caller prints, and named by their inputs."""

# ruff: noqa: T201

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import wrenla as wl
from wrenla.executors.calls.call import Batch, Call
from wrenla.executors.calls.future import Attempt, Future
from wrenla.executors.calls.live_output import Showing
from wrenla.executors.calls.options import CallOptions
from wrenla_handler.calls.capture import Printed

from .gate import Gate

Capture = pytest.CaptureFixture[str]


def talk(x: Any) -> Any:
    print("out", x)
    print("error", x, file=sys.stderr)
    logging.getLogger("mine").info("quiet")
    return x


def warn(x: int) -> None:
    warnings.warn("careful", stacklevel=1)
    print("warned", x, file=sys.stderr)


def everything() -> None:
    os.write(1, b"from C\n")
    subprocess.run("echo from a program; echo to error >&2", shell=True, check=True)
    print("progress: 1/2\rprogress: 2/2\n", end="")
    print("unfinished", end="")


@pytest.fixture(scope="module")
def one() -> Iterator[wl.LocalExecutor]:
    """One process."""
    with wl.LocalExecutor(1, allowed_mem="300 MiB") as made:
        yield made


@pytest.fixture(scope="module")
def two() -> Iterator[wl.LocalExecutor]:
    """Two processes."""
    with wl.LocalExecutor(2, allowed_mem="300 MiB") as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_left() -> None:
    """These executors outlive a test."""


def test_output_is_shown_on_its_own_stream(one: wl.LocalExecutor, capsys: Capture) -> None:
    assert list(one.map(talk, [1, 2])) == [1, 2]
    assert capsys.readouterr() == ("out 1\nout 2\n", "error 1\nerror 2\n")
    future = one.submit(everything)
    future.result()
    out, error = capsys.readouterr()
    assert out == "from C\nfrom a program\nprogress: 2/2\nunfinished\n"
    assert error == "to error\n"
    assert future.logs.startswith("from C\n")
    future = one.submit(talk, 3)
    future.result()
    assert future.logs == "out 3\nerror 3\nINFO mine: quiet\n", "in order, and all of it"


def test_shown_lines_are_named_by_input(two: wl.LocalExecutor, capsys: Capture) -> None:
    def lines() -> list[str]:
        return sorted(capsys.readouterr().out.splitlines())

    list(two.map(talk, "ab"))
    assert lines() == ["[0] out a", "[1] out b"]
    list(two.map(talk, "abc", chunksize=2))
    assert lines() == ["[0…1] out a", "[0…1] out b", "[2] out c"]
    list(two.map(talk, "a"))
    assert lines() == ["out a"]
    two.submit(talk, "x").result()
    assert lines() == ["out x"]
    two.map_reduce(talk, "ab", len).result()
    assert lines() == ["[0] out a", "[1] out b"]


def test_logs_option_chooses_where_output_is_shown(
    one: wl.LocalExecutor, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet, on_error = ("", ""), ("", "out 1\nerror 1\n")
    ways: list[tuple[Callable[[], Any], tuple[str, str]]] = [
        (lambda: one.options(logs="quiet").submit(talk, 1).result(), quiet),
        (lambda: list(one.map(talk, [1], logs="quiet")), quiet),
        (lambda: list(one.map(talk, [1], logs="stderr")), on_error),
    ]
    for way, expected in ways:
        way()
        found = capsys.readouterr()
        assert (found.out, sorted(found.err)) == (expected[0], sorted(expected[1]))
    monkeypatch.setenv("WRENLA_LOGS", "quiet")
    one.submit(talk, 1).result()
    assert capsys.readouterr() == ("", "")
    one.options(logs="show").submit(talk, 1).result()
    assert capsys.readouterr().out == "out 1\n"
    with pytest.raises(ValueError, match="logs='loud': 'show', 'quiet' or 'stderr'"):
        one.options(logs="loud")  # type: ignore[arg-type]


def test_output_is_shown_while_the_call_runs(one: wl.LocalExecutor, tmp_path: Any, capsys: Capture) -> None:
    gate = Gate(tmp_path / "gate")

    def wait() -> None:
        print("before")
        gate.wait()
        print("after")

    future = one.submit(wait)
    seen, until = "", time.monotonic() + 30
    while "before\n" not in seen and time.monotonic() < until:
        seen += capsys.readouterr().out
        time.sleep(0.01)
    assert (seen, future.done()) == ("before\n", False)
    gate.open()
    future.result(timeout=30)
    assert capsys.readouterr().out == "after\n"
    assert future.logs == "before\nafter\n"


def test_streams_that_cannot_be_written(one: wl.LocalExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    for stream in (None, closed, object(), narrow):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stream)
            patch.setattr(sys, "stderr", stream)
            assert one.submit(talk, "ü").result() == "ü"
            assert (wl.eye(2).compute(one, progress=True) == wl.eye(2).compute(one)).all()
    assert narrow.buffer.getvalue() == b"out \\xfc\nerror \\xfc\n"  # type: ignore[attr-defined]


def test_threads_print_here(capsys: Capture) -> None:
    with wl.LocalExecutor(1, "thread", allowed_mem="300 MiB") as threads:
        future = threads.submit(talk, 1)
        future.result()
        assert capsys.readouterr() == ("out 1\n", "error 1\n")
        assert future.logs == "out 1\nerror 1\n"
        threads.options(logs="quiet").submit(talk, 1).result()
        assert capsys.readouterr() == ("", "")
    with wl.LocalExecutor(2, "thread", allowed_mem="300 MiB", logs="stderr") as threads:
        list(threads.map(talk, "ab"))
        out, error = capsys.readouterr()
        assert (out, sorted(error.splitlines())) == (
            "",
            ["[0] error a", "[0] out a", "[1] error b", "[1] out b"],
        )


def test_a_warning_is_shown_once(two: wl.LocalExecutor, capsys: Capture) -> None:
    list(two.map(warn, range(8)))
    lines = capsys.readouterr().err.splitlines()
    assert sum("UserWarning: careful" in line for line in lines) == 1
    assert sum("stacklevel=1" in line for line in lines) == 1
    assert sum("warned" in line for line in lines) == 8


def test_much_output_is_bounded(capsys: Capture) -> None:
    class Alone:
        def alone(self) -> bool:
            return True

    owner = Alone()
    showing = Showing(2, owner.alone)
    call, attempt = Call(Future("calls-1"), CallOptions(), "f", None, None, Batch(1)), Attempt(1, 0.0)
    for _ in range(40):
        showing.live(call, attempt, "o", b"x" * 99_999 + b"\n")
    printed = Printed([("o", (b"x" * 99_999 + b"\n") * 41), ("e", b"late\n")])
    showing.end(call, attempt, printed, lost=False)
    out, error = capsys.readouterr()
    assert len(out) < 1_300_000
    assert out.endswith("[0] (more than 1024 KiB were printed here: the rest is not shown)\n")
    assert error == ""
    copy = Attempt(2, 0.0, copy=True)
    showing.live(call, copy, "o", b"twice\n")
    showing.end(call, copy, Printed([("o", b"twice\n")]), lost=True)
    assert capsys.readouterr() == ("", "")


def test_flags_of_the_interpreter_reach_workers(tmp_path: Any) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, warnings\nimport wrenla as wl\n"
        "def seen(): return sys.warnoptions, sys._xoptions, sys.flags.optimize, sys.flags.no_user_site\n"
        "def warn(): warnings.warn('loud')\n"
        "with wl.LocalExecutor(1, allowed_mem='300 MiB') as executor:\n"
        "    assert executor.submit(seen).result() == seen(), seen()\n"
        "    print(type(executor.submit(warn).exception()).__name__)\n"
    )
    flags = ["-W", "error::UserWarning", "-X", "utf8", "-X", "importtime", "-O", "-s"]
    ran = subprocess.run([sys.executable, *flags, str(script)], capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.returncode) == ("UserWarning\n", 0), ran.stderr
