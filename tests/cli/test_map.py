"""`wrenla map`: what it prints, what it says of failures, and how it ends."""

from __future__ import annotations

import functools
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import wrenla as wl
from tests.waiting import slowed
from wrenla.cli.main import main
from wrenla.cli.map import _outcomes
from wrenla.cli.parts.inputs import Input, check_usage
from wrenla_handler.calls.chunk import Chunk
from wrenla_handler.stores.urls import open_store

SCRIPT = """
import sys, time
import {helper}
from {helper} import twice

table = [1, 2]
NAMES = dict(one=1)

class Point:
    def __init__(self, x):
        self.x = x
    def __str__(self):
        return f"Point({{self.x}})"

def double(x):
    return twice(int(x))

def point(x):
    return Point({helper}.twice(x))

def echo(x):
    return x

def record(x):
    return {{"x": x, "n": len(x), "é": None}}

def slow_if_first(x):
    time.sleep(1.0 if x == "1" else 0)
    return x

def numbers(x):
    import numpy as np
    return np.arange(int(x))

def exits(x):
    import os
    if x == "2":
        os._exit(3)
    return x

def sleep(x):
    time.sleep(float(x))
    return "slept"

def sleep_and_say(x):
    import os
    open(x, "w").write(str(os.getpid()))
    time.sleep(300)

def sometimes(x):
    import wrenla as wl
    if wl.store().put(f"seen/{{x}}", b"", create=True):
        raise OSError("at first")
    return x

lock = sys.stdout  # which cannot be pickled
def with_lock(x):
    return lock.fileno()

def words(reader):
    return reader.key, sum(len(line.split()) for line in reader.lines())

if __name__ == "__main__":
    raise SystemExit("must not run")
"""

numbers = itertools.count()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a script, a module beside it and inputs; work is done elsewhere."""
    helper = f"helper_of_cli_map_{next(numbers)}"  # modules stay imported
    (tmp_path / f"{helper}.py").write_text("def twice(x):\n    return 2 * x\n")
    (tmp_path / "s.py").write_text(SCRIPT.format(helper=helper))
    (tmp_path / "in.txt").write_text("1\n2\n\n3\n")
    (tmp_path / "bad.txt").write_text("1\n\nx\n3\n")
    monkeypatch.setenv("WRENLA_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("WRENLA_WORKERS", "2")
    return tmp_path


def wrenla_map(folder: Path, function: str, *arguments: str | Path, stdin: str | bytes = "") -> Result:
    """Run in this process."""
    target = function if ":" in function else f"{folder / 's.py'}:{function}"
    result = CliRunner().invoke(main, ["map", target, *map(str, arguments)], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "wrenla", "map", *map(str, arguments)]


# what it prints


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--workers", "1"),
        ("--kind", "thread"),
        ("--chunksize", "2"),
        ("--chunksize", "2", "--keep-going", "--kind", "thread"),
        ("--timeout", "60", "--deadline", "100", "--retries", "1", "--idempotent"),
    ],
)
def test_map_command_prints_one_line_per_input(folder: Path, options: tuple[str, ...]) -> None:
    result = wrenla_map(folder, "double", folder / "in.txt", *options)
    assert (result.stdout, result.stderr, result.exit_code) == ("2\n4\n6\n", "", 0)


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_map_command_prints_function_output_to_standard_error(folder: Path, kind: str) -> None:
    (folder / "talk.py").write_text("def talk(x):\n    print('said', x)\n    return 10 / int(x)\n")
    (folder / "zero.txt").write_text("1\n\n0\n2\n")
    run = functools.partial(
        wrenla_map, folder, f"{folder / 'talk.py'}:talk", folder / "zero.txt", "--keep-going"
    )
    result = run("--kind", kind, "--workers", "2")
    assert result.stdout == "10.0\n5.0\n"
    lines = sorted(result.stderr.splitlines())
    assert lines[1:4] == ["[line 1] said 1", "[line 3] said 0", "[line 4] said 2"]
    assert lines[4] == "line 3 ('0'): ZeroDivisionError: division by zero"
    result = run("--kind", kind, "--workers", "1", "--quiet")
    assert (result.stdout, "said" in result.stderr) == ("10.0\n5.0\n", False)


def test_lines_are_passed_as_they_are(folder: Path) -> None:
    lines = [" a ", "\t", "é 漢字", "'", "x" * 100_000]
    result = wrenla_map(folder, "echo", "-", stdin="\n\n".join(lines))
    assert result.stdout == "".join(f"{line}\n" for line in lines)


def test_classes_of_the_script_and_modules_beside_it_travel(folder: Path) -> None:
    assert wrenla_map(folder, "point", folder / "in.txt").stdout == "Point(11)\nPoint(22)\nPoint(33)\n"


def test_map_command_prints_json(folder: Path) -> None:
    result = wrenla_map(folder, "record", folder / "in.txt", "--json")
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"x": x, "n": 1, "é": None} for x in "123"
    ]
    assert wrenla_map(folder, "numbers", folder / "in.txt", "--json").stdout == "[0]\n[0, 1]\n[0, 1, 2]\n"
    result = wrenla_map(folder, "point", folder / "in.txt", "--json")
    assert result.exit_code == 1
    assert "line 1 ('1'): TypeError: the result contains a Point, which JSON does not know" in result.stderr


def test_map_command_shows_progress(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal by itself, elsewhere if the setting says so; it goes to standard error."""
    assert wrenla_map(folder, "echo", "-", stdin="1\n2\n3\n").stderr == ""
    monkeypatch.setenv("WRENLA_PROGRESS", "true")
    for more in ((), ("--chunksize", "2")):
        done = wrenla_map(folder, "echo", "-", *more, stdin="1\n2\n3\n")
        assert done.stdout.splitlines() == ["1", "2", "3"]
        first, *_, last = done.stderr.splitlines()
        assert first.startswith("wrenla: calls of echo on ")
        assert last.startswith("wrenla: 3/3 calls, in ")


def test_map_command_unordered_prints_results_as_they_end(folder: Path) -> None:
    assert wrenla_map(folder, "slow_if_first", folder / "in.txt").stdout == "1\n2\n3\n"
    assert wrenla_map(folder, "slow_if_first", folder / "in.txt", "--unordered").stdout == "2\n3\n1\n"


def test_map_command_writes_output_file(folder: Path) -> None:
    result = wrenla_map(folder, "double", folder / "in.txt", "--output", folder / "out.txt")
    assert (result.output, result.exit_code) == ("", 0)
    assert (folder / "out.txt").read_text() == "2\n4\n6\n"


def test_map_command_without_inputs_prints_nothing(folder: Path) -> None:
    result = wrenla_map(folder, "double", "-", stdin="\n\n")
    assert (result.output, result.exit_code) == ("", 0)


def test_objects(folder: Path) -> None:
    texts = folder / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("one two\nthree\n")
    (texts / "b.txt").write_text("four\n")
    (texts / "c.csv").write_text("5\n")
    result = wrenla_map(folder, "words", "--objects", texts, "--pattern", "*.txt", "--json")
    assert result.stdout == '["a.txt", 3]\n["b.txt", 1]\n'
    result = wrenla_map(folder, "words", "--objects", texts, "--chunk", "8 B", "--json")
    assert result.stdout == '["a.txt", 2]\n["a.txt", 1]\n["b.txt", 1]\n["c.csv", 1]\n'
    result = wrenla_map(folder, "double", "--objects", texts, "--keep-going")
    assert result.stderr.startswith(f"object 1 (StoredObject('{texts.as_uri()}"[:80])
    assert result.stderr.endswith("Error: 3 inputs failed\n")


def test_objects_on_s3(folder: Path, s3_bucket: str) -> None:
    store = open_store(f"s3://{s3_bucket}/texts")
    store.put("a.txt", b"one two\nthree\n")
    store.close()
    result = wrenla_map(folder, "words", "--objects", f"s3://{s3_bucket}/texts", "--kind", "process")
    assert result.stdout == "('a.txt', 3)\n"


def test_retries(folder: Path) -> None:
    result = wrenla_map(folder, "sometimes", folder / "in.txt", "--workers", "2")
    assert (result.exit_code, result.stderr) == (1, "Error: line 1 ('1'): OSError: at first\n")
    result = wrenla_map(folder, "sometimes", folder / "in.txt", "--workers", "2", "--retries", "1")
    assert (result.exit_code, result.stdout) == (0, "1\n2\n3\n")


# failures


@pytest.mark.parametrize("options", [(), ("--chunksize", "2"), ("--chunksize", "9"), ("--kind", "thread")])
def test_map_command_ends_at_first_failure(folder: Path, options: tuple[str, ...]) -> None:
    result = wrenla_map(folder, "double", folder / "bad.txt", *options)
    assert result.exit_code == 1
    assert result.stdout == "2\n"
    assert result.stderr == ("Error: line 3 ('x'): ValueError: invalid literal for int() with base 10: 'x'\n")


@pytest.mark.parametrize("options", [(), ("--chunksize", "2"), ("--chunksize", "9"), ("--kind", "thread")])
@pytest.mark.parametrize("order", [(), ("--unordered",)])
def test_keep_going(folder: Path, options: tuple[str, ...], order: tuple[str, ...]) -> None:
    result = wrenla_map(folder, "double", folder / "bad.txt", "--keep-going", *options, *order)
    assert result.exit_code == 1
    assert sorted(result.stdout.splitlines()) == ["2", "6"]
    assert result.stderr == (
        "line 3 ('x'): ValueError: invalid literal for int() with base 10: 'x'\nError: 1 input failed\n"
    )


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_traceback(folder: Path, kind: str) -> None:
    result = wrenla_map(folder, "double", folder / "bad.txt", "--traceback", "--kind", kind)
    assert 's.py", line ' in result.stderr
    assert "in double" in result.stderr
    assert result.stderr.endswith("'x'\n")


def test_a_worker_that_dies_fails_its_input_only(folder: Path) -> None:
    result = wrenla_map(folder, "exits", folder / "in.txt", "--keep-going")
    assert (result.stdout, result.exit_code) == ("1\n3\n", 1)
    assert result.stderr.startswith("line 2 ('2'): WorkerDied: ")
    result = wrenla_map(folder, "exits", folder / "in.txt", "--keep-going", "--chunksize", "2")
    assert (result.stdout, result.exit_code) == ("3\n", 1)
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == [
        "line 1 ('1')",
        "line 2 ('2')",
        "Error",
    ]


def test_timeout(folder: Path) -> None:
    (folder / "in.txt").write_text("0\n300\n0\n")
    began = time.monotonic()
    result = wrenla_map(folder, "sleep", folder / "in.txt", "--timeout", "0.5", "--keep-going")
    assert time.monotonic() - began < slowed(20)
    assert (result.stdout, result.exit_code) == ("slept\nslept\n", 1)
    assert result.stderr.startswith("line 2 ('300'): TimedOut: ")


def test_map_command_ends_running_calls_at_failure(folder: Path) -> None:
    (folder / "in.txt").write_text("x\n300\n300\n")
    began = time.monotonic()
    result = wrenla_map(folder, "sleep", folder / "in.txt", "--workers", "2")
    assert time.monotonic() - began < slowed(20)
    assert result.stderr.startswith("Error: line 1 ('x'): ValueError")


def test_long_inputs_are_cut_in_messages(folder: Path) -> None:
    result = wrenla_map(folder, "double", "-", stdin="y" * 1000)
    assert f"line 1 ('{'y' * 79}…): ValueError" in result.stderr


def test_map_command_names_unpicklable_object(folder: Path) -> None:
    result = wrenla_map(folder, "with_lock", folder / "in.txt", "--kind", "process")
    assert result.exit_code == 1
    assert "the function cannot be sent to workers: " in result.stderr
    assert "--kind thread" in result.stderr
    assert len(result.stderr.splitlines()) == 1


# wrong usage


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["s.py", "in.txt"], "'s.py' names no function: write SCRIPT.py:FUNCTION"),
        (["s.py:", "in.txt"], "names no function"),
        (["s.py:a b", "in.txt"], "names no function"),
        (["t.py:double", "in.txt"], "there is no script 't.py'"),
        (["there/s.py:double", "in.txt"], "there is no script 'there/s.py'; there is none"),
        (["s.py:duoble", "in.txt"], "s.py has no function 'duoble'; did you mean 'double'?"),
        (["s.py:zzz", "in.txt"], "s.py has no function 'zzz'; there is: Point, double"),
        (["s.py:table", "in.txt"], "'table' in s.py cannot be called, it is of type list"),
        (["s.py:double", "input.txt"], "there is no file 'input.txt' to take inputs from"),
        (["s.py:double", "s3://bucket/x"], "add --objects"),
        (["s.py:double", "."], ". is a folder: add --objects"),
        (["s.py:double", "in.txt", "--chunk", "5"], "--chunk is about objects: add --objects"),
        (["s.py:double", "in.txt", "--pattern", "*"], "--pattern is about objects: add --objects"),
        (["s.py:double", "-", "--objects"], "not standard input"),
        (["s.py:double", "nowhere", "--objects"], "there are no objects here"),
        (["s.py:double", "gs://bucket/x", "--objects"], "there is no store of kind 'gs'"),
        (["s.py:double", ".", "--objects", "--chunk", "0"], "64 MiB"),
        (["s.py:double", ".", "--objects", "--pattern", "*.zip"], "no object's key matches '*.zip'"),
        (["s.py:double", "in.txt", "--workers", "0"], "--workers"),
        (["s.py:double", "in.txt", "--workers", "1000000"], "use fewer workers"),
        (["s.py:double", "in.txt", "--kind", "fibre"], "--kind"),
        (["s.py:double", "in.txt", "--timeout", "0"], "'--timeout': 0.0 is not in the range x>0"),
        (["s.py:double", "in.txt", "--timeout", "nan"], "timeout"),
        (["s.py:double", "in.txt", "--chunksize", "0"], "--chunksize"),
        (["s.py:double", "in.txt", "-o", "in.txt"], "would overwrite the inputs"),
        (["s.py:double", "in.txt", "-o", "no/such/folder"], "no/such/folder: there is no folder no/such"),
        (["raises.py:f", "in.txt"], "raises.py, line 2: loading the script failed: ZeroDivisionError"),
        (["syntax.py:f", "in.txt"], "loading the script failed: SyntaxError"),
        (["exits.py:f", "in.txt"], "exits.py ended itself (2) when it was loaded: let what only a program"),
        (["s.py:double"], "Missing argument 'INPUTS'"),
    ],
)
def test_wrong_usage_ends_with_2(
    folder: Path, arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "raises.py").write_text("def f(x): return x\n1 / 0\n")
    (folder / "syntax.py").write_text("def f(x: return x\n")
    (folder / "exits.py").write_text("def f(x): return x\nraise SystemExit(2)\n")
    monkeypatch.chdir(folder)
    path = list(sys.path)
    result = CliRunner().invoke(main, ["map", *arguments])
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert sys.path == path
    assert (folder / "in.txt").read_text() == "1\n2\n\n3\n"


def test_why_a_script_cannot_be_loaded(folder: Path) -> None:
    (folder / "raises.py").write_text("def f(x): return x\n1 / 0\n")
    result = wrenla_map(folder, f"{folder / 'raises.py'}:f", folder / "in.txt", "--traceback")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr


def test_wrong_settings_end_with_2(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRENLA_WORKERS", "many")
    result = wrenla_map(folder, "double", folder / "in.txt")
    assert result.exit_code == 2
    assert "WRENLA_WORKERS" in result.stderr or "workers = 'many'" in result.stderr


def test_help() -> None:
    text = CliRunner().invoke(main, ["map", "--help"]).output
    for part in ("wrenla map words.py:count --objects", "not empty", "--keep-going", "--json", "__main__"):
        assert part in text
    assert "map" in CliRunner().invoke(main, ["--help"]).output


# as a program


def test_inputs_are_taken_as_results_are(folder: Path) -> None:
    """Of a million inputs few are in memory."""
    taken = 0

    def endless() -> Iterator[Input]:
        nonlocal taken
        for taken in itertools.count(1):
            yield Input("line", taken, taken)

    with wl.LocalExecutor(2, "thread") as executor:
        for chunksize, ordered in ((1, True), (1, False), (7, True), (1000, False)):
            taken = 0
            chunk = Chunk(str, 0, True) if chunksize > 1 else None
            found = _outcomes(executor, str, chunk, endless(), chunksize, ordered=ordered)
            for seen, outcome in enumerate(itertools.islice(found, 3000), 1):
                assert outcome.value == str(outcome.input.value)
                assert taken - seen <= max(110, 8 * chunksize)
            found.close()  # type: ignore[attr-defined]
            executor.calls.stop()


def test_standard_input_and_output(folder: Path) -> None:
    run = subprocess.run(
        command("s.py:double", "-", "--chunksize", "500"),
        input="".join(f"{i}\n" for i in range(20_000)),
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == "".join(f"{2 * i}\n" for i in range(20_000))


@pytest.mark.parametrize(("inputs", "closed"), [("-", "stdin"), (__file__, "stdout")])
def test_closed_streams_are_named(inputs: str, closed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, closed, None)
    with pytest.raises(click.UsageError, match=r"standard (in|out)put is closed: name a file"):
        check_usage(inputs, None, False, None, None)
    check_usage(__file__, "out.txt", False, None, None)


def test_a_reader_that_has_enough(folder: Path) -> None:
    (folder / "in.txt").write_text("".join(f"{i}\n" for i in range(100_000)))
    run = subprocess.Popen(
        command("s.py:double", "in.txt"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder
    )
    assert run.stdout is not None
    assert run.stdout.readline() == b"0\n"
    run.stdout.close()
    assert run.stderr is not None
    assert run.stderr.read() == b""
    run.stderr.close()
    assert run.wait(60) == 1


@pytest.mark.parametrize("options", [(), ("--workers", "1"), ("--kind", "thread")])
def test_ctrl_c_ends_it_and_its_workers(folder: Path, options: tuple[str, ...]) -> None:
    (folder / "in.txt").write_text("pid\n")
    run = subprocess.Popen(
        command("s.py:sleep_and_say", "in.txt", *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not ((folder / "pid").exists() and (folder / "pid").read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=30)
    finally:
        run.kill()
        run.communicate()
    assert (run.returncode, out, err) == (130, b"", b"interrupted\n")
    worker = int((folder / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
    assert [path for path in folder.glob("store/**/*") if path.is_file()] == []
