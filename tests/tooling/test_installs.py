"""What a fresh install gets: exact versions of everything, a Python that works, a copy that is noticed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYTHONS = ("3.11", "3.12", "3.13")


def pins() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [Requirement(line.partition(" # ")[0]) for line in lines if not line.startswith("#")]


def test_constraints_pin_every_dependency_once_on_each_python() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = [Requirement(line) for group in groups for line in group]
    needed = {canonicalize_name(each.name): each for each in wanted}
    del needed["wrenla"]  # extras that take others along
    for python in PYTHONS:
        here = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": "linux"}
        versions: dict[str, list[str]] = {}
        for pin in pins():
            if pin.marker is None or pin.marker.evaluate(here):
                (only,) = pin.specifier
                assert re.fullmatch(r"==[^*]+", str(only)), pin
                versions.setdefault(canonicalize_name(pin.name), []).append(only.version)
        assert {name for name, found in versions.items() if len(found) > 1} == set()
        missing = needed.keys() - versions.keys()
        assert not missing, f"{sorted(missing)}: run `make constraints UPGRADE=`"
        for name, requirement in needed.items():
            assert requirement.specifier.contains(versions[name][0]), f"{requirement}: `make constraints`"


def test_constraints_name_no_place() -> None:
    """They are for whoever installs wrenla: no index, no path of the machine that made them."""
    assert not re.search(r"^\s*-|://|@ |/(home|root|tmp)/", (ROOT / "constraints.txt").read_text(), re.M)


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def find_python(folder: Path, *wanted: str) -> subprocess.CompletedProcess[str]:
    bin = folder / "bin"
    bin.mkdir(parents=True, exist_ok=True)
    for tool in ("ls", "sort", "head", "cat"):
        if not (bin / tool).exists():
            (bin / tool).symlink_to(str(shutil.which(tool)))
    return subprocess.run(
        [str(shutil.which("sh")), str(ROOT / "tools/find-python.sh"), *wanted],
        env={"PATH": str(bin), "PYENV_ROOT": str(folder / "pyenv")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_python_is_taken_only_if_it_starts(tmp_path: Path) -> None:
    """Shims of pyenv fail, an old one ends with 1: the next is tried, of two patches the newest."""
    program(tmp_path / "bin/python3.12", "echo 'pyenv: python3.12: command not found' >&2; exit 127")
    program(tmp_path / "bin/python3", "exit 1")
    none = find_python(tmp_path, "3.12", "python3")
    assert (none.returncode, none.stdout) == (1, "")
    for said in ("3.12 python3", "PYTHON=", "pyenv install"):
        assert said in none.stderr
    for patch in ("3.12.9", "3.12.10"):
        program(tmp_path / f"pyenv/versions/{patch}/bin/python", f"echo {patch}")
    assert find_python(tmp_path, "3.11", "3.12", "python3").stdout == "3.12.10\n"
    program(tmp_path / "bin/python3.12", f'exec {sys.executable} "$@"')
    assert find_python(tmp_path, "3.12").stdout == f"{sys.executable}\n"  # from PATH before pyenv's


def test_temporary_files_are_in_memory_if_there_is_room_and_go_at_the_end(tmp_path: Path) -> None:
    def folder_of(memory: Path, kilobytes: int, variables: Mapping[str, str] = MappingProxyType({})) -> str:
        leave = "'TMPDIR' in os.environ and tempfile.mkstemp()"
        code = f"import os, sys, tempfile; {leave}; print(tempfile.gettempdir()); sys.exit(3)"
        done = subprocess.run(
            ["sh", str(ROOT / "tools/in-memory.sh"), str(memory), str(kilobytes), sys.executable, "-c", code],
            env={name: value for name, value in os.environ.items() if name != "TMPDIR"} | dict(variables),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (3, "")
        return done.stdout.strip()

    memory, elsewhere = tmp_path / "memory", tmp_path / "elsewhere"
    memory.mkdir()
    elsewhere.mkdir()
    assert Path(folder_of(memory, 1)).parent == memory
    assert list(memory.iterdir()) == []
    assert folder_of(memory, 1, {"TMPDIR": str(elsewhere)}) == str(elsewhere)
    usual = folder_of(tmp_path / "none", 1)
    assert folder_of(memory, 10**12) == usual
    assert not usual.startswith(str(tmp_path))
    assert list(memory.iterdir()) == []


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_notices_that_an_editable_install_was_replaced(tmp_path: Path) -> None:
    """`pip install .` copies wrenla into .venv: what is edited afterwards would not count."""
    about = tmp_path / "lib/python3.12/site-packages/wrenla-0.1.0.dist-info/direct_url.json"
    about.parent.mkdir(parents=True)

    def installs() -> bool:
        command = ["make", "-n", "demo", f"VENV={tmp_path}"]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        return "pip install" in run.stdout

    for name in (".made", ".dev"):  # in this order: the stamp of what was installed is not the older one
        (tmp_path / name).touch()
    assert installs()  # wrenla is not there
    about.touch()
    os.utime(about, (0, 0))
    assert not installs()
    about.touch()
    future = (tmp_path / ".dev").stat().st_mtime + 1
    os.utime(about, (future, future))
    assert installs()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_another_python_makes_another_environment(tmp_path: Path) -> None:
    def makes(python: str) -> bool:
        command = ["make", "-n", f"{tmp_path}/.made", f"VENV={tmp_path}", f"PYTHON={python}"]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        return "-m venv" in run.stdout

    (tmp_path / ".made").write_text(f"{sys.executable}\n")
    assert [makes(python) for python in ("", sys.executable, "/another/python")] == [False, False, True]
