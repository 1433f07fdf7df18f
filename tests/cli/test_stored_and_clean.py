"""The command line: what it prints, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from click.testing import CliRunner, Result

import wrenla as wl
from tests.settings import forget_settings
from wrenla.cli.main import COMMANDS, main
from wrenla.evaluate.cleaning import leftovers
from wrenla.workspace.workspace import Workspace

RUN, NODE = 24 * "0", 24 * "a"


def wrenla(*arguments: str | Path, env: dict[str, str] | None = None) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], env=env)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def failed_run(root: Path | str, name: str = RUN) -> Path:
    """Leave behind what an interrupted run does, and return its folder."""
    folder = Workspace(str(root), name)
    folder.store.put(f"{NODE}/c/0/0", bytes(1 << 20))
    folder.close()
    return Path(root) / "wrenla-runs" / name


def test_help_names_every_command() -> None:
    text = wrenla("--help").output
    for name in ("clean", "info", "settings", "--version"):
        assert name in text


def test_help_of_commands_is_not_cut() -> None:
    listed = wrenla("--help").output.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in listed] == sorted(COMMANDS)  # one line for each
    assert [line for line in listed if not line.endswith(".") or line.endswith(("...", "…"))] == []


@pytest.mark.parametrize("command", ["clean", "info", "settings"])
def test_every_command_has_help(command: str) -> None:
    result = wrenla(command, "-h")
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 5


def test_version() -> None:
    assert wrenla("--version").output.split()[-1] == wl.__version__


def test_command_runs_as_a_module() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "wrenla", "--version"], capture_output=True, text=True, check=True
    )
    assert run.stdout.startswith("wrenla, version")


# clean


def test_clean_removes_what_a_failed_run_left(tmp_path: Path) -> None:
    folder = failed_run(tmp_path)
    result = wrenla("clean", "--store", tmp_path)
    assert result.exit_code == 0
    assert f"{RUN}  2 objects, 1.00 MiB" in result.output
    assert "removed 2 objects, 1.00 MiB of 1 run" in result.output
    assert not folder.exists()


def test_clean_says_when_there_is_nothing(tmp_path: Path) -> None:
    assert "nothing to clean" in wrenla("clean", "--store", tmp_path).output
    # of a setting, whoever writes there first makes the folder
    result = wrenla("clean", env={"WRENLA_STORE": str(tmp_path / "not" / "there")})
    assert (result.exit_code, "nothing to clean" in result.output) == (0, True)


@pytest.mark.parametrize("command", [("clean", "--store"), ("ls",)])
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nodir", "nodir: there is no such folder"),
        ("/nonexist/x", "/nonexist/x: there is no such folder"),
        ("file:///nonexist", "file:///nonexist: there is no such folder"),
        ("script.py", "script.py: this is not a folder"),
        ("wrenla-123/wrenla", "there is no such folder; on S3 it would be s3://wrenla-123/wrenla"),
    ],
)
def test_command_with_mistyped_address_fails(
    command: tuple[str, ...], url: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "script.py").write_text("")
    result = wrenla(*command, url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1] == f"Error: {url}: {said.removeprefix(f'{url}: ')}"


def test_commands_on_empty_address_print_that_nothing_is_there(tmp_path: Path, s3_bucket: str) -> None:
    for url in (str(tmp_path), f"s3://{s3_bucket}/nothing"):
        assert wrenla("clean", "--store", url).output == f"{url}: nothing to clean\n"
        assert "no matrices" in wrenla("ls", url).output


def test_commands_print_one_object_in_singular(tmp_path: Path) -> None:
    folder = Workspace(str(tmp_path), RUN)
    folder.close()
    assert f"{RUN}  1 object, " in (output := wrenla("clean", "--store", tmp_path).output)
    assert "removed 1 object, " in output
    assert output.endswith(" of 1 run\n")
    wl.eye(8).save(str(tmp_path / "A"))
    assert "  1 tile  " in wrenla("ls", tmp_path).output
    assert "  1 tile, " in wrenla("info", tmp_path / "A").output


def test_dry_run_removes_nothing(tmp_path: Path) -> None:
    folder = failed_run(tmp_path)
    result = wrenla("clean", "--store", tmp_path, "--dry-run")
    assert "would remove 2 objects" in result.output
    assert (folder / NODE / "c/0/0").exists()


def test_clean_keeps_what_is_younger(tmp_path: Path) -> None:
    folder = failed_run(tmp_path)
    for age in ("2h", "1d", "90m", "30 s", "3600"):
        assert "nothing to clean" in wrenla("clean", "--store", tmp_path, "--older-than", age).output
    assert folder.exists()


def test_clean_removes_what_is_older(tmp_path: Path) -> None:
    folder = failed_run(tmp_path)
    for path in folder.rglob("*"):
        os.utime(path, (time.time() - 7200, time.time() - 7200))
    assert "nothing to clean" in wrenla("clean", "--store", tmp_path, "--older-than", "3h").output
    result = wrenla("clean", "--store", tmp_path, "--older-than", "1h")
    assert "left 2h" in result.output
    assert not folder.exists()


def test_clean_never_touches_a_run_at_work_or_a_saved_matrix(tmp_path: Path) -> None:
    wl.eye(8).save(str(tmp_path / "A"))
    folder = Workspace(str(tmp_path), RUN)
    try:
        folder.store.put(f"{NODE}/c/0/0", b"tile")
        assert "nothing to clean" in wrenla("clean", "--store", tmp_path).output
        assert folder.store.exists(f"{NODE}/c/0/0")
    finally:
        folder.remove()
    assert np.array_equal(wl.open(str(tmp_path / "A")).compute(), np.eye(8))


def test_clean_skips_run_that_is_being_resumed(tmp_path: Path) -> None:
    failed_run(tmp_path)
    (leftover,) = leftovers(str(tmp_path))
    folder = Workspace(str(tmp_path), RUN)
    try:
        assert folder.key == RUN
        assert leftover.remove() == 0
        assert folder.store.exists(f"{NODE}/c/0/0")
    finally:
        folder.remove()


def test_clean_uses_the_setting(tmp_path: Path) -> None:
    failed_run(tmp_path)
    result = wrenla("clean", env={"WRENLA_STORE": str(tmp_path)})
    assert f"{tmp_path}: removed" in result.output


def test_clean_shows_the_cache_of_packages_and_empties_it(tmp_path: Path) -> None:
    folder = tmp_path / "wrenla/packages"
    folder.mkdir(parents=True)
    names = [f"package-{20 * 'a'}.zip", f"package-{20 * 'a'}.json", f"wheels-{20 * 'b'}.zip"]
    for name in (*names, "notes.txt"):
        (folder / name).write_bytes(bytes(1 << 20))
    env = {"XDG_CACHE_HOME": str(tmp_path), "WRENLA_STORE": str(tmp_path / "store")}
    size = f"{folder}: {{}}3.00 MiB of packages for AWS Lambda in 3 files{{}}"
    for arguments, before, after in (
        ((), "", ": a cache; --packages removes it"),
        (("--packages", "--dry-run"), "would remove ", ""),
        (("--packages", "--store", str(tmp_path)), "removed ", ""),
    ):
        assert {*names, "notes.txt"} == {path.name for path in folder.iterdir()}
        assert "packages" not in wrenla("clean", "--store", tmp_path, env=env).output
        assert "no packages" in wrenla("clean", "--packages", "--older-than", "1h", env=env).output
        assert wrenla("clean", *arguments, env=env).output.splitlines()[0] == size.format(before, after)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_clean_refuses_what_is_no_duration(tmp_path: Path) -> None:
    for text in ("soon", "3x", "-1", "1h30m", ""):
        result = wrenla("clean", "--store", tmp_path, f"--older-than={text}")
        assert result.exit_code == 2
        assert "2h, 1d" in result.stderr


# info


def test_info_describes_a_matrix(tmp_path: Path) -> None:
    wl.random((100, 70), tile=32, dtype="complex64").save(str(tmp_path / "A"))
    result = wrenla("info", tmp_path / "A")
    assert result.exit_code == 0
    assert [line.split(maxsplit=1)[1] for line in result.output.splitlines()[1:-1]] == [
        "100 × 70",
        "complex64",
        "general",
        "32 × 32, 8.00 KiB each",
        "4 × 3",
        "12 tiles, 96.00 KiB",
    ]
    assert result.output.splitlines()[-1].endswith("54.69 KiB")


def test_info_of_triangles_vectors_and_numbers(tmp_path: Path) -> None:
    S = wl.random((64, 64), tile=16).gram().shift(1.0)
    matrices = {"lower": (S.cholesky(), 10), "upper": (S.cholesky(upper=True), 10), "pos": (S, 16)}
    for name, (A, tiles) in matrices.items():
        A.save(str(tmp_path / name))
        output = wrenla("info", tmp_path / name).output
        assert f"{name}\n" in output
        assert f"{tiles} tiles" in output
    wl.random(100, tile=32).save(str(tmp_path / "vector"))
    assert "4 tiles" in wrenla("info", tmp_path / "vector").output
    S.trace().save(str(tmp_path / "number"))
    assert "a number" in wrenla("info", tmp_path / "number").output
    wl.from_sparse(scipy.sparse.eye_array(100), tile=32).save(str(tmp_path / "sparse"))
    assert (
        "absent     12 tiles without entries\n  there      4 tiles"
        in wrenla("info", tmp_path / "sparse").output
    )
    wl.zeros((0, 5)).save(str(tmp_path / "empty"))
    assert "0 tiles" in wrenla("info", tmp_path / "empty").output


def test_info_finds_missing_tiles(tmp_path: Path) -> None:
    wl.random((64, 64), tile=16).save(str(tmp_path / "A"))
    (tmp_path / "A/c/1/2").unlink()
    result = wrenla("info", tmp_path / "A")
    assert result.exit_code == 1
    assert "15 tiles" in result.stdout
    assert "1 of 16 tiles are missing, e.g. c/1/2" in result.stderr


def test_info_where_there_is_no_matrix(tmp_path: Path) -> None:
    result = wrenla("info", tmp_path / "nothing")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "there is no such file or folder" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_info_of_an_unfinished_matrix(tmp_path: Path) -> None:
    wl.random((64, 64), tile=16).save(str(tmp_path / "A"))
    (tmp_path / "A/zarr.json").unlink()
    result = wrenla("info", tmp_path / "A")
    assert result.exit_code == 1
    assert "16 tiles of an unfinished one are there" in result.stderr


def test_info_of_another_layout(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    zarr.create_array(str(tmp_path / "z"), shape=(8, 8), chunks=(4, 4), dtype="f8")
    result = wrenla("info", tmp_path / "z")
    assert result.exit_code == 0
    assert [line.split(maxsplit=1) for line in result.output.splitlines()[1:]] == [
        ["kind", "zarr"],
        ["shape", "8 × 8"],
        ["dtype", "float64"],
        ["chunks", "4 × 4"],
        ["as", "array   512 B"],
    ]


def test_info_of_an_address_of_no_known_kind() -> None:
    result = wrenla("info", "gs://bucket/A")
    assert result.exit_code == 2
    assert "s3://bucket/prefix" in result.stderr


def test_info_and_clean_on_s3(s3_bucket: str) -> None:
    root = f"s3://{s3_bucket}"
    wl.random((8, 8), tile=4).save(f"{root}/A")
    failed_run(root)
    assert "4 tiles, 512 B" in wrenla("info", f"{root}/A").output
    assert f"{root}: removed 2 objects, 1.00 MiB of 1 run" in wrenla("clean", "--store", root).output
    assert "4 tiles, 512 B" in wrenla("info", f"{root}/A").output
    result = wrenla("info", f"{root}-not-there/A")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1


# settings


def test_settings_say_where_they_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    forget_settings(monkeypatch)
    (tmp_path / "wrenla.toml").write_text('tile = 512\nallowed_mem = "2 GiB"\n')
    lines = {
        line.split()[0]: line for line in wrenla("settings", env={"WRENLA_WORKERS": "3"}).output.splitlines()
    }
    assert lines["workers"].split() == ["workers", "3", "WRENLA_WORKERS"]
    assert lines["tile"].split() == ["tile", "512", str(tmp_path / "wrenla.toml")]
    assert "2.00 GiB" in lines["allowed_mem"]
    assert lines["blas_threads"].split() == ["blas_threads", "1", "default"]
    assert lines["progress"].endswith("default")
    assert lines["schedule"].split()[1] == "dataflow"


def test_settings_of_others_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    forget_settings(monkeypatch)
    path = tmp_path / "wrenla.toml"
    path.write_text("tile = 512\n")
    path.chmod(0o666)
    lines = wrenla("settings").output.splitlines()
    assert (
        f"ignored: {path}: everybody may write it: chmod o-w it, or set WRENLA_… variables instead" in lines
    )
    assert [line.split()[-1] for line in lines if line.startswith("tile ")] == ["default"]


def test_settings_that_are_wrong_end_with_2() -> None:
    result = wrenla("settings", env={"WRENLA_TIEL": "3"})
    assert result.exit_code == 2
    assert "did you mean 'tile'?" in result.stderr
