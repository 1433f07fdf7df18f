"""Help of commands, their examples and documents, and the page about them."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

import wrenla as wl
from tests.tooling.test_docs import blocks
from wrenla.cli.main import COMMANDS, main
from wrenla.cli.parts.command import Command

from .conftest import Wrenla, document

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "command-line.md"

ON_AWS = ("deploy", "destroy", "logs", "emulator")
"""Their examples run in tests/aws/deploy and tests/emulator."""

_ELSEWHERE = re.compile(r"s3://|--executor|wrenla demo|wrenla (doctor|ls)$")
"""Examples that need AWS or a cluster, or last; the demo's first one runs below."""


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield each command and its words."""
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from ((f"{name} {each}", below) for each, below in command.commands.items())
        else:
            yield name, command


def examples() -> list[str]:
    return [
        line
        for name, command in commands()
        if isinstance(command, Command) and name not in ON_AWS
        for line in command.examples
        if not _ELSEWHERE.search(line)
    ]


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_every_command_has_help_with_examples(name: str, wrenla: Wrenla) -> None:
    command = dict(commands())[name]
    assert isinstance(command, Command)
    assert command.examples
    assert all(line.startswith(f"wrenla {name}") for line in command.examples)
    result = wrenla(*name.split(), "-h")
    assert result.exit_code == 0
    for line in command.examples:
        assert f"  {line}\n" in result.output
    assert ("--json" in result.output, "--debug" in result.output) == (True, True)
    if " " not in name:
        assert command.short_help == COMMANDS[name]


@pytest.mark.parametrize("words", [(), ("plan",)])
def test_help_is_shown_where_no_command_is_named(words: tuple[str, ...], wrenla: Wrenla) -> None:
    result = wrenla(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == wrenla(*words, "--help").stdout


def test_all_local_commands_are_among_the_examples() -> None:
    ran = {" ".join(line.split()[1:3]) for line in examples()}
    names = [name for name, _ in commands() if name not in (*ON_AWS, "demo")]
    assert [name for name in names if not any(f"{each} ".startswith(f"{name} ") for each in ran)] == []


@pytest.mark.parametrize("line", examples())
def test_example_runs(line: str, wrenla: Wrenla) -> None:
    result = wrenla(*shlex.split(line)[1:])
    assert result.exit_code == 0, result.stderr
    assert result.stdout or "counts.jsonl" in line
    if "--json" in line and "wrenla map" not in line:
        document(result)


def test_help_loads_no_arrays(wrenla: Wrenla) -> None:
    """Whatever help is asked for: one process that imports every command's module."""
    script = """
import sys
from click.testing import CliRunner
from wrenla.cli.main import COMMANDS, main
for arguments in [["--help"], ["version"], *([name, "--help"] for name in COMMANDS), ["plan", "solve", "-h"]]:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
unwanted = "numpy scipy dask distributed boto3 botocore rich zarr matplotlib asyncio"
print(*sorted(set(unwanted.split()) & sys.modules.keys()))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_commands_of_the_page_run(wrenla: Wrenla) -> None:
    for block in blocks(PAGE):
        if block.language == "python":
            exec(block.text, {})
        for line in block.text.splitlines() if block.language == "sh" else ():
            result = wrenla(*shlex.split(line)[1:])
            assert result.exit_code == 0, f"{line}: {result.stderr}"
    assert np.allclose(np.load("K.npy") @ np.load("x.npy"), np.load("b.npy"))


def test_page_names_all_commands_and_codes() -> None:
    text = PAGE.read_text()
    rows = " ".join(line for line in text.splitlines() if line.startswith("| `"))
    assert [name for name, _ in commands() if f"`{name}" not in rows] == []
    assert set(re.findall(r"^\| (\d+) \|", text, re.MULTILINE)) == {"0", "1", "2", "3", "4", "5", "130"}


def keys_on_the_page(command: str) -> set[str]:
    """Return the keys that the page's table has of a command's document."""
    table = PAGE.read_text().partition("| command | keys |")[2]
    (row,) = re.findall(rf"^\| `{command}` \| (.*) \|$", table, re.MULTILINE)
    return set(re.findall(r"`(\w+)`", row))


@pytest.mark.parametrize(
    "text",
    [
        *("solve A.npy b.npy -o x.npy", "cp A.npy x.zarr", "plan cholesky 500", "ls .", "clean", "settings"),
        *("version", "doctor local"),
    ],
)
def test_documents_have_the_keys_of_the_page(text: str, wrenla: Wrenla) -> None:
    said = document(wrenla(*text.split(), "--json"))
    assert said.keys() == keys_on_the_page(text.split()[0])


def test_documents_of_matrices_have_the_keys_of_the_page(wrenla: Wrenla) -> None:
    wrenla("cp", "A.npy", "stored")
    known = [document(wrenla("info", url, "--json")).keys() for url in ("A.npy", "A.zarr", "stored")]
    npy, zarr, stored = known
    of_all = {"url", "kind", "shape", "dtype", "nbytes"}
    assert npy == of_all | {"order"}
    assert zarr == of_all | {"chunks", "format"}
    assert set().union(*known) == keys_on_the_page("info")
    assert stored >= of_all
    output = document(wrenla("cp", "A.npy", "x.zarr", "--json"))["output"]
    text = PAGE.read_text()
    sentence = text[text.index("`output` has") : text.index("`map` and")]
    assert output.keys() | {"output", "npy", "wrenla"} == set(re.findall(r"`(\w+)`", sentence))


def test_document_of_the_demo(wrenla: Wrenla) -> None:
    line = next(command.examples[0] for name, command in commands() if name == "demo")
    result = wrenla(*shlex.split(line)[1:], "--no-progress", "--json")
    said = document(result)
    assert said.keys() == keys_on_the_page("demo")
    assert said["passed"] is True
    assert said["rms_error"] < said["rms_of_mean"]
    assert result.stderr == ""


def test_info_says_which_tiles_are_missing(wrenla: Wrenla, folder: Path) -> None:
    wrenla("cp", "A.npy", "stored", "--tile", "20")
    (folder / "stored/c/0/1").unlink()
    result = wrenla("info", "stored", "--json")
    assert result.exit_code == 1
    assert document(result)["missing_tiles"] == ["c/0/1"]


def test_home_stands_for_its_name_in_every_path(
    wrenla: Wrenla, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell leaves "~" as it is behind "=", and in quotes."""
    monkeypatch.setenv("HOME", str(folder))
    for line in (
        "solve ~/K.npy ~/b.npy -o ~/x.npy --record=~/r.jsonl --report=~/r.html",
        "cp ~/x.npy ~/y.zarr",
        "plan cholesky ~/K.npy --draw=~/dag.svg",
        "report ~/r.jsonl -o ~/s.html",
        "info ~/x.npy",
    ):
        result = wrenla(*line.split())
        assert result.exit_code == 0, result.output
    for name in ("x.npy", "r.jsonl", "r.html", "y.zarr", "dag.svg", "s.html"):
        assert (folder / name).exists(), name
    wl.from_npy("~/x.npy").to_npy("~/z.npy")
    assert (folder / "z.npy").is_file()


def test_list_has_files_and_matrices(wrenla: Wrenla) -> None:
    wrenla("cp", "A.npy", "stored", "--tile", "20")
    found = {entry["name"]: entry for entry in document(wrenla("ls", ".", "--json"))["matrices"]}
    assert {found[name]["kind"] for name in ("A.npy", "stored", "A.zarr")} == {"npy", "wrenla", "zarr"}
    assert (found["stored"]["shape"], found["stored"]["tiles"]) == ([40, 40], 4)
    assert "`wrenla cp` copies" in found["A.zarr"]["why"]
    assert (found["A.zarr"]["shape"], found["A.zarr"]["dtype"]) == ([40, 40], "float64")
    assert (found["group.zarr"]["kind"], found["group.zarr/K"]["shape"]) == ("group", [40, 40])
    said = wrenla("ls", ".").stdout
    assert "40 × 40  float64  Zarr array of another layout" in said
    assert "a group of arrays" in said
    assert "damaged.zarr not readable: " in " ".join(said.split())
    assert "/group.zarr/NAME" in found["group.zarr"]["why"]


def test_report_of_a_triangle_is_null(wrenla: Wrenla) -> None:
    said = document(wrenla("solve", "L.npy", "b.npy", "-o", "x.npy", "--assume-a", "lower", "--json"))
    assert said["report"] is None
    assert np.allclose(np.load("L.npy") @ np.load("x.npy"), np.load("b.npy"))


def test_version_in_text_and_as_json(wrenla: Wrenla) -> None:
    assert wrenla("version").stdout == f"wrenla {wl.__version__}\n"
    said: dict[str, Any] = json.loads(wrenla("version", "--json").stdout)
    assert said["numpy"] == np.__version__
    assert f"numpy       {np.__version__}\n" in wrenla("version", "--verbose").stdout


def test_doctor_of_this_machine_says_the_remedy(wrenla: Wrenla) -> None:
    fine = wrenla("doctor", "local")
    assert (fine.exit_code, "failed" in fine.stdout) == (0, False), fine.stdout
    broken = wrenla("doctor", "local", env={"WRENLA_STORE": "/proc/nothing"})
    assert broken.exit_code == 1
    lines = broken.stdout.splitlines()
    (number,) = (each for each, line in enumerate(lines) if line.startswith("failed   store"))
    assert lines[number + 1].strip() == "→ set WRENLA_STORE to a folder or bucket that you may write"
