"""The command line as a process: Ctrl-C, kills, pipes, no terminal, completion in Bash."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from tests.waiting import until

N = 600

WRENLA = [sys.executable, "-m", "wrenla"]


@pytest.fixture
def large(folder: Path) -> np.ndarray:
    """A matrix whose factorization into small tiles lasts a few seconds."""
    A = np.random.default_rng(0).standard_normal((N, N))
    K = A @ A.T + N * np.eye(N)
    np.save("large.npy", K)
    return K


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    running = subprocess.Popen(
        [*WRENLA, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


def ended(*arguments: str, **how: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*WRENLA, *arguments], capture_output=True, text=True, check=False, timeout=120, **how
    )  # type: ignore[call-overload,no-any-return]


def tiles(where: str) -> Callable[[], list[Path]]:
    """Return a function that lists the tiles below a folder, but not those of its very beginning."""

    def listed() -> list[Path]:
        found = [path for path in Path(where).rglob("*") if path.name.isdigit() and path.is_file()]
        return found if len(found) > 20 else []

    return listed


def test_interrupted_run_says_how_to_resume_and_does(large: np.ndarray) -> None:
    command = ["matmul", "large.npy", "large.npy", "-o", "P.npy", "--tile", "20", "--no-progress"]
    with started(*command) as running:
        assert until(tiles("store/wrenla-runs"))
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert (running.returncode, out) == (130, "")
    (line,) = err.splitlines()
    assert line.startswith("interrupted: finished tiles are kept in ")
    assert "; to resume: run the same command again; to clean: wrenla clean --store " in line
    assert not list(Path().glob("*P.npy*"))
    kept = {path: path.stat().st_mtime_ns for path in tiles("store/wrenla-runs")()}
    assert kept
    done = ended(*command)
    assert done.returncode == 0, done.stderr
    assert np.allclose(np.load("P.npy"), large @ large)
    assert "nothing to clean" in ended("clean", "--store", "store").stdout


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [1.5, 2.5, 3.5])
def test_interrupted_cluster_ends_in_one_line(large: np.ndarray, seconds: float) -> None:
    command = ["matmul", "large.npy", "large.npy", "-o", "P.npy", "--tile", "20", "--no-progress"]
    running = subprocess.Popen(
        [*WRENLA, *command, "--executor", "dask"], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        time.sleep(seconds)  # its processes start, or have started: a terminal interrupts them, too
        os.killpg(running.pid, signal.SIGINT)
        _, err = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 130, err
    (line,) = err.splitlines()
    assert line.startswith("interrupted")


def test_exit_code_of_an_interrupt_while_a_dataclass_is_made(tmp_path: Path) -> None:
    """One of ten interrupted commands ended by the signal: `python -m` does, after one inside of `exec`."""
    (tmp_path / "interrupted.py").write_text(
        """
import sys
from wrenla.cli.parts.interrupts import Interrupts
try:
    with Interrupts():
        exec("import signal; signal.raise_signal(signal.SIGINT)")
except KeyboardInterrupt:
    pass
sys.exit(130)
"""
    )
    done = subprocess.run([sys.executable, "-m", "interrupted"], cwd=tmp_path, timeout=60)
    assert done.returncode == 130


def test_killed_run_goes_on(large: np.ndarray) -> None:
    command = ["cholesky", "large.npy", "-o", "L.zarr", "--tile", "20", "--no-progress"]
    with started(*command) as running:
        assert until(tiles("L.zarr"))
        running.kill()
        running.communicate()
    assert ended("info", "L.zarr").returncode == 1
    kept = {path.name for path in Path("L.zarr").rglob("*")}
    assert kept
    before = time.time()
    done = ended(*command)
    assert done.returncode == 0, done.stderr
    written = [path.stat().st_mtime for path in Path("L.zarr/c").rglob("*") if path.is_file()]
    assert min(written) < before < max(written)
    assert ended("cp", "L.zarr", "factor.npy").returncode == 0
    assert np.allclose(np.load("factor.npy"), np.linalg.cholesky(large))


def has_unnamed_file(pid: int) -> bool:
    """Tell whether a process writes a file in this folder that has no name yet."""
    here = f"{Path.cwd()}/#"
    with suppress(FileNotFoundError):  # one that it has closed meanwhile
        return any(os.readlink(file).startswith(here) for file in Path(f"/proc/{pid}/fd").iterdir())
    return False


def test_killed_run_leaves_no_half_file(folder: Path) -> None:
    np.lib.format.open_memmap("long.npy", "w+", np.float64, (8_000_000,)).flush()
    ended("cp", "long.npy", "stored", "--tile", "1000000")
    there = sorted(os.listdir())
    with started("cp", "stored", "copy.npy") as running:
        assert until(lambda: has_unnamed_file(running.pid))
        running.kill()
        running.communicate()
    assert sorted(os.listdir()) == there
    assert ended("cp", "stored", "copy.npy").returncode == 0
    assert np.load("copy.npy", mmap_mode="r").shape == (8_000_000,)


def test_works_without_a_terminal_and_with_closed_streams(folder: Path) -> None:
    bare = {
        name: value for name, value in os.environ.items() if name not in ("TERM", "HOME", "LANG", "LC_ALL")
    }
    done = ended("solve", "A.npy", "b.npy", "-o", "x.npy", env=bare, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    shell = f"exec {sys.executable} -m wrenla solve A.npy b.npy -o y2.npy <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", shell], check=False).returncode == 0
    assert np.array_equal(np.load("y2.npy"), np.load("x.npy"))


def test_reader_that_has_enough_ends_it_quietly(folder: Path) -> None:
    shell = f"{sys.executable} -m wrenla ls . | head -n 1"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1


def test_failure_whose_document_nobody_reads_keeps_its_exit_code(folder: Path) -> None:
    shell = f"{sys.executable} -m wrenla info nothing --json | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "Error: nothing: there is no such file or folder\n")


COMPLETE = r"""
compopt() { OPTION=$2; }
eval "$(_WRENLA_COMPLETE=bash_source wrenla)"
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_wrenla_completion wrenla
printf '%s\n' "${COMPREPLY[@]}" "option=$OPTION"
"""


def completed(folder: Path, *words: str) -> list[str]:
    """Return what Bash offers behind some words; it cuts words at colons, as on a command line."""
    program = folder / "bin" / "wrenla"  # as pip makes one
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!{sys.executable}\nfrom wrenla.cli.main import main\nmain()\n")
    program.chmod(0o755)
    done = subprocess.run(
        [str(shutil.which("bash")), "--norc", "-c", COMPLETE, "bash", *words],
        env={**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_bash_completes_commands_options_and_values(folder: Path) -> None:
    assert completed(folder, "wrenla", "ch") == ["cholesky", "option="]
    assert completed(folder, "wrenla", "plan", "") == ["cholesky", "matmul", "solve", "option="]
    assert completed(folder, "wrenla", "solve", "A.npy", "b.npy", "--prec") == ["--precision", "option="]
    assert completed(folder, "wrenla", "solve", "--precision", "m") == ["mixed", "option="]
    assert completed(folder, "wrenla", "solve", "--executor", "la") == ["lambda", "option="]


def test_bash_completes_nothing_and_says_nothing_of_unknown_commands(folder: Path) -> None:
    assert completed(folder, "wrenla", "nosuch", "--ver") == ["--version", "option="]
    assert completed(folder, "wrenla", "plan", "nosuch", "x") == ["option="]


def test_unknown_completion_is_wrong_usage() -> None:
    done = ended("info", env={**os.environ, "_WRENLA_COMPLETE": "foo"})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "Error: _WRENLA_COMPLETE=foo: write bash_source, zsh_source or fish_source, or unset it\n"
    )


def test_bash_completes_paths(folder: Path) -> None:
    for words in (
        ("map", "wor"),
        ("map", "words.py:count", "li"),
        ("solve", "A.n"),
        ("info", ""),
        ("cp", "A.npy", "so"),
        ("solve", "A", "b", "-o", "x"),
    ):
        assert completed(folder, "wrenla", *words) == ["option=default"]


@pytest.mark.slow
@pytest.mark.cloud
def test_bash_completes_addresses_on_s3(s3_bucket: str, folder: Path) -> None:
    assert ended("cp", "A.npy", f"s3://{s3_bucket}/some/A").returncode == 0
    assert ended("cp", "b.npy", f"s3://{s3_bucket}/b").returncode == 0
    begun = s3_bucket[:-2]
    assert f"//{s3_bucket}/" in completed(folder, "wrenla", "info", "s3", ":", f"//{begun}")
    assert completed(folder, "wrenla", "info", "s3", ":", f"//{s3_bucket}/") == [
        f"//{s3_bucket}/b/",
        f"//{s3_bucket}/some/",
        "option=nospace",
    ]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_scripts(shell: str) -> None:
    script = "from wrenla.cli.main import main; main(prog_name='wrenla')"
    environment = {**os.environ, "_WRENLA_COMPLETE": f"{shell}_source"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "_wrenla_completion" in done.stdout
    environment |= {"_WRENLA_COMPLETE": f"{shell}_complete", "COMP_WORDS": "wrenla ch", "COMP_CWORD": "1"}
    if shell == "fish":
        environment["COMP_CWORD"] = "ch"
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert "cholesky" in done.stdout
