"""`wrenla map`: inputs, functions and results that cannot be taken as they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.settings import own_settings_in
from wrenla.cli.main import main

SCRIPT = """
import math

notfn = 5

def none(x):
    return x

def echo(x):
    return x

def nan(x):
    import numpy as np
    return {"a": [float("nan"), 1.5, -math.inf], "b": np.array([np.nan, 2])}

def around(x):
    found = []
    found.append(found)
    return found

def lone(x):
    return "a\\ud800" if x == "2" else x

def name_of_file(x):
    return "caf\\udce9"

class Plain:
    def __init__(self, x):
        pass

class Shown(Plain):
    def __repr__(self):
        return "shown"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a script and inputs."""
    own_settings_in(tmp_path, monkeypatch, store="store")
    monkeypatch.setenv("WRENLA_WORKERS", "1")
    monkeypatch.chdir(tmp_path)
    Path("s.py").write_text(SCRIPT)
    Path("in.txt").write_text("1\n2\n3\n")
    Path("latin").write_bytes(b"ok\n\ncaf\xe9\n")
    return tmp_path


def wrenla_map(*arguments: str, stdin: bytes = b"") -> Result:
    result = CliRunner().invoke(main, ["map", *arguments, "--kind", "thread"], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            "in.txt",
            "in.txt is not a folder: choose objects by their names, with --objects . --pattern in.txt",
        ),
        ("*.txt", "--objects . --pattern '*.txt'"),
        ("./a b/*", "--objects './a b' --pattern '*'"),
        ("s3://bucket/a/*.txt", "--objects s3://bucket/a --pattern '*.txt'"),
    ],
)
def test_an_object_in_place_of_a_folder(url: str, said: str, s3_bucket: str) -> None:
    result = wrenla_map("s.py:echo", "--objects", url.replace("bucket", s3_bucket))
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].endswith(said.replace("bucket", s3_bucket))
    assert "wl." not in result.stderr


def test_timeouts_are_greater_than_0() -> None:
    assert CliRunner().invoke(main, ["map", "--help"]).output.count("[x>0]") == 2
    for option in ("--timeout", "--deadline"):
        result = wrenla_map("s.py:echo", "in.txt", option, "0")
        assert result.exit_code == 2
        assert f"'{option}': 0.0 is not in the range x>0" in result.stderr


# functions


def test_only_names_that_are_nearly_the_same_are_offered() -> None:
    result = wrenla_map("s.py:notfn", "in.txt")
    assert "'notfn' in s.py cannot be called, it is of type int; there is: Shown, " in result.stderr
    assert "; there is: Shown, " in wrenla_map("s.py:nothing", "in.txt").stderr
    assert "; did you mean 'echo'?" in wrenla_map("s.py:ecoh", "in.txt").stderr


def test_a_class_whose_objects_print_as_an_address() -> None:
    result = wrenla_map("s.py:Plain", "in.txt")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "'Plain' in s.py is a class whose objects print as nothing but an address: " in result.stderr
    assert wrenla_map("s.py:Shown", "in.txt").stdout == "shown\n" * 3


# text


def test_lines_end_as_on_any_system() -> None:
    """Of a file and of standard input alike, with a mark at the beginning, and without a last end."""
    for data, encoding in (
        (b"1\r\n\r\n2\r\n3", "utf-8"),
        (b"1\r2\r3\r", "utf-8"),
        (b"\xef\xbb\xbf1\n2\n3\n", "utf-8"),
        ("1\r\n2\r\n3\r\n".encode("utf-16"), "utf-16"),
        (b"1\r\n2\n3", "cp1252"),
    ):
        Path("in.txt").write_bytes(data)
        for inputs in ("in.txt", "-"):
            result = wrenla_map("s.py:echo", inputs, "--encoding", encoding, "--json", stdin=data)
            assert result.stdout == '"1"\n"2"\n"3"\n', (data, inputs, result.stderr)
    assert wrenla_map("s.py:echo", "-", stdin=b"").stdout == ""


@pytest.mark.parametrize(("inputs", "name"), [("latin", "latin"), ("-", "standard input")])
def test_input_line_that_is_no_text_is_refused(inputs: str, name: str) -> None:
    result = wrenla_map("s.py:echo", inputs, stdin=Path("latin").read_bytes())
    assert result.exit_code == 1
    assert result.stderr == (
        f"Error: {name}, line 3: byte 0xe9 at character 4 is not utf-8: name the encoding of the inputs, "
        "as --encoding latin-1\n"
    )


def test_lines_in_another_encoding() -> None:
    assert wrenla_map("s.py:echo", "latin", "--encoding", "latin-1").stdout == "ok\ncafé\n"
    Path("wide").write_bytes("é\nx\n".encode("utf-16"))
    assert wrenla_map("s.py:echo", "wide", "--encoding", "utf-16").stdout == "é\nx\n"
    result = wrenla_map("s.py:echo", "latin", "--encoding", "utf-16")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert result.stderr.startswith("Error: latin, after line 0: not utf-16: ")


@pytest.mark.parametrize("name", ["bogus", "rot13", "hex", ""])
def test_unknown_encoding_is_refused(name: str) -> None:
    result = wrenla_map("s.py:echo", "in.txt", "--encoding", name)
    assert result.exit_code == 2
    assert f"{name!r} is no encoding of text: write utf-8, latin-1" in result.stderr


@pytest.mark.parametrize("output", [(), ("-o", "out")])
def test_result_that_cannot_be_encoded_is_an_error(output: tuple[str, ...]) -> None:
    result = wrenla_map("s.py:lone", "in.txt", *output)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: line 2 ('2'): UnicodeEncodeError: ")
    assert len(result.stderr.splitlines()) == 1
    result = wrenla_map("s.py:lone", "in.txt", "--keep-going", *output)
    assert (Path("out").read_text() if output else result.stdout) == "1\n3\n"


def test_results_are_replaced_only_if_asked_and_by_whole_ones() -> None:
    Path("out").write_text("old\n")
    refused = wrenla_map("s.py:echo", "in.txt", "-o", "out")
    assert (refused.exit_code, "--overwrite replaces it" in refused.stderr) == (2, True)
    for more in ((), ("--overwrite",)):
        target = "new" if not more else "out"
        assert wrenla_map("s.py:lone", "in.txt", "-o", target, *more).exit_code == 1
    assert (Path("out").read_text(), Path("new").exists()) == ("old\n", False)
    assert wrenla_map("s.py:echo", "in.txt", "-o", "out", "--overwrite").exit_code == 0
    assert Path("out").read_text() == "1\n2\n3\n"
    assert sorted(path.name for path in Path().iterdir() if path.name.startswith(".out")) == []
    assert wrenla_map("s.py:echo", "in.txt", "-o", "/dev/null").exit_code == 0
    assert Path("/dev/null").is_char_device()


def test_names_of_files_come_out_as_their_bytes() -> None:
    assert wrenla_map("s.py:name_of_file", "in.txt", "-o", "out").exit_code == 0
    assert Path("out").read_bytes() == b"caf\xe9\n" * 3


# JSON


def test_json_knows_no_nan() -> None:
    result = wrenla_map("s.py:nan", "in.txt", "--json")
    (line, *_) = result.stdout.splitlines()
    assert json.loads(line) == {"a": [None, 1.5, None], "b": [None, 2.0]}
    assert not {"NaN", "Infinity"} & set(line.replace(",", " ").split())
    assert "NaN and infinity are null" in " ".join(CliRunner().invoke(main, ["map", "--help"]).output.split())


def test_circular_result_is_no_json() -> None:
    result = wrenla_map("s.py:around", "in.txt", "--json")
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: line 1 ('1'): ValueError: Circular reference detected\n",
    )
