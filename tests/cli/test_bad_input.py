"""Bad input: each ends with one line that names the remedy, with its exit code, and leaves nothing behind."""

from __future__ import annotations

import builtins
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wrenla.errors import OutOfMemory, TransientStoreError

from .conftest import Wrenla

ROWS: list[tuple[str, int, str]] = [
    # what is not there, or is no matrix
    ("solve Anpy b.npy -o x.npy", 2, "Anpy: there is no such file or folder; did you mean 'A.npy'?"),
    ("cp nothing/at-all x.npy", 2, "nothing/at-all: there is no such file or folder"),
    ("solve A.npy nothing -o x.npy", 2, "nothing: there is no such file or folder"),
    (
        "solve lines.txt b.npy -o x.npy",
        1,
        "this is not a .npy file (it begins with b'one tw'): numpy",
    ),
    ("solve all.npz b.npy -o x.npy", 1, "this is a .npz archive"),
    ("solve . b.npy -o x.npy", 1, "there is no matrix here"),
    ("solve group.zarr b.npy -o x.npy", 1, "take one of them, as group.zarr/K"),
    ("info group.zarr", 1, "take one of them, as group.zarr/K"),
    ("cp cube.npy x.npy", 1, "a matrix or a vector is needed, not an array of 3 dimensions"),
    ("info cube.npy", 1, "an array of 3 dimensions is no matrix"),
    ("cp text.npy x.npy", 1, "<U1"),
    ("solve s3://bucket/A.npy b.npy -o x.npy", 2, "fetch it by `aws s3 cp s3://bucket/A.npy .`"),
    ("solve gs://bucket/A b.npy -o x.npy", 2, "use a folder's path, file:///folder, s3://bucket/prefix"),
    # shapes and dtypes
    ("solve rectangular.npy b.npy -o x.npy", 1, "the matrix must be square, not (40, 7)"),
    ("solve b.npy b.npy -o x.npy", 1, "the matrix must be square, not (40,)"),
    ("solve A.npy short.npy -o x.npy", 1, "40 equations, but a right-hand side of shape (7,)"),
    ("cholesky rectangular.npy -o L.zarr", 1, "the matrix must be square, not (40, 7)"),
    ("matmul A.npy short.npy -o x.npy", 1, "the inner lengths 40 and 7 differ"),
    ("matmul A.npy A.npy -o x.npy --trans-a X", 2, "'N', 'T', 'C'"),
    ("cp Z.npy x.npy --dtype float64", 1, "complex128 to float64 would drop the imaginary part"),
    ("cp Z.npy x.npy --dtype float32", 1, "Z.npy: complex128 to float32 would drop"),
    ("solve A.npy half.npy -o x.npy", 1, "half.npy: dtype float16 is not one of"),
    ("cp half.npy x.npy --dtype float32", 1, "in Python: numpy.save(new, numpy.load(old).astype('float32'))"),
    (
        "cp number.npy x.npy",
        1,
        "number.npy: a matrix or a vector is needed, not an array of 0 dimensions, (), ",
    ),
    ("cp cube.npy x.npy", 1, "save one matrix of a stack by numpy.save"),
    ("info damaged.zarr", 1, "damaged.zarr: its description is damaged, it is not JSON"),
    ("solve damaged.zarr b.npy -o x.npy", 1, "copy it again from where it came from"),
    ("info group.zarr", 1, "there is: K"),
    ("info text.npy", 1, "text.npy: an array of <U1 is no matrix of numbers"),
    ("report damaged.jsonl", 1, "damaged.jsonl: damaged: an event in it is not whole (KeyError: "),
    ("cholesky lower.zarr -o L", 1, "or in Python by wl.linalg.CholeskyFactor(wl.open(url)).solve(b)"),
    ("solve factor.zarr b.npy -o x", 1, "solve with A itself, or in Python by wl.open_factor(url).solve(b)"),
    ("solve A.npy b.npy -o x.npy --shift nan", 2, "'--shift': 'nan': a finite number is needed"),
    # numbers
    (
        "solve singular.npy b.npy -o x.npy",
        3,
        "has a zero on its diagonal, entry 5 (from 0; there may be others)",
    ),
    (
        "solve singular.npy b.npy -o x.npy --assume-a pos",
        3,
        "look at its data there. --shift C",
    ),
    ("cholesky indefinite.npy -o L.zarr", 3, "not positive definite"),
    ("cholesky indefinite.npy -o new.npy", 3, "not positive definite"),
    ("solve nan.npy b.npy -o x.npy", 3, "column 4 (counted from 0) of the matrix holds NaN"),
    (
        "solve A.npy b.npy -o x.npy --assume-a pos",
        3,
        "holds the data, say --no-check",
    ),
    # outputs
    ("solve A.npy b.npy -o x.csv", 2, ".csv is not written: name it .npy, or .zarr or a folder"),
    ("solve A.npy b.npy -o A.npy", 2, "A.npy: there is something already; --overwrite replaces it"),
    ("solve A.npy b.npy -o A.zarr", 2, "it is never replaced: remove it yourself, or save elsewhere"),
    ("solve A.npy b.npy -o x.npy --record ./x.npy", 2, "--record ./x.npy: the result goes there"),
    ("solve A.npy b.npy -o x.npy --report x.npy", 2, "--report x.npy: the result goes there"),
    ("cp A.npy x.zarr --record x.zarr/run.jsonl", 2, "the result goes there: name another place"),
    ("solve A.npy b.npy -o .", 2, "there is something already"),
    ("solve A.npy b.npy -o nowhere/x.npy", 2, "there is no folder nowhere; make it first"),
    ("solve A.npy b.npy -o words.py", 2, "this is a file: name a folder, or a file *.npy"),
    ("solve A.npy b.npy -o s3://bucket/x.npy", 2, "leave the suffix out for a Zarr array"),
    ("cp A.npy memory://x", 2, "it would be gone at the command's end"),
    ("cp K.zarr K.zarr --overwrite", 2, "--overwrite replaces matrices only"),
    # options
    ("solve A.npy b.npy", 2, "Missing option '-o' / '--output'. (wrenla solve --help)"),
    ("solve A.npy -o x.npy", 2, "Missing argument 'B'. (wrenla solve --help)"),
    ("solve A.npy b.npy -o x.npy --assume-a posi", 2, "is not one of 'gen', 'sym', 'her', 'pos'"),
    ("solve A.npy b.npy -o x.npy --nope", 2, "No such option"),
    ("solve A.npy b.npy -o x.npy --executor spark", 2, "'spark' is no executor: write local, dask"),
    ("solve A.npy b.npy -o x.npy --executor dask:", 2, "'dask:' is no executor"),
    ("solve A.npy b.npy -o x.npy --executor local:8", 2, "'local:8' is no executor"),
    ("solve A.npy b.npy -o x.npy --max-dollars 1", 2, "--max-dollars is for --executor lambda"),
    (
        "solve A.npy b.npy -o x.npy --executor lambda --allowed-mem 1GB",
        2,
        "wrenla deploy --memory MB",
    ),
    ("solve A.npy b.npy -o x.npy --tile 0", 2, "write its edge, 512, or rows and columns, 512x256"),
    ("solve A.npy b.npy -o x.npy --allowed-mem lots", 2, "write 2000000, 500 MB or 8 GiB"),
    ("solve A.npy b.npy -o x.npy --allowed-mem 1MB", 2, "is too little for 2 workers"),
    ("plan cholesky 40000 --tile 20000 --allowed-mem 1GiB", 1, "use --tile 2400 or smaller"),
    ("plan cholesky 400 --functions 1769 --allowed-mem 1GB", 2, "it follows from --functions"),
    ("plan solve 300x200 300", 1, "the matrix must be square, not (300, 200)"),
    ("plan cholesky 500 --draw A.npy", 2, "'--draw': A.npy: name it *.svg"),
    ("plan cholesky 500 --draw dag.png", 2, "'--draw': dag.png: name it *.svg"),
    ("plan cholesky 500 --draw nowhere/dag.svg", 2, "there is no folder nowhere; make it first"),
    ("demo --picture x.foo", 2, "'--picture': x.foo: name it *.png, "),
    ("demo --picture A.npy/x.png", 2, "A.npy/x.png: A.npy is no folder"),
    ("report nofile.jsonl", 2, "nofile.jsonl: there is no such file"),
    ("report A.npy", 1, "A.npy is no record of a run: make one by --record run.jsonl"),
    ("solve A.npy b.npy -o x.npy --report A.npy", 1, "--report 'A.npy': a file is there that is no report"),
    ("solve A.npy b.npy -o x.npy --record A.npy", 1, "--record 'A.npy': a file is there that is no record"),
    ("report .", 2, ".: this is a folder: name a record in it, as the newest, '"),
    ("report group.zarr", 2, "name a record in it; there is no *.jsonl"),
    ("info Anpy", 2, "Anpy: there is no such file or folder; did you mean 'A.npy'?"),
    ("solve A.npy b.npy -o x.npy --precision mixed --method rbt", 2, "leave --method rbt out"),
    ("slove A.npy b.npy", 2, "there is no command 'slove'; did you mean 'solve'?"),
    ("plan qr A.npy", 2, "No such command 'qr'"),
    ("--nope", 2, "No such option"),
    ("demo --points 200000", 2, "more than there are; at most 138631 of the 138632 heights can be taken"),
]


def one_line(result: Any) -> str:
    """Return the line on standard error."""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: "), line
    assert "Traceback" not in line
    return str(line)


@pytest.mark.parametrize(("text", "code", "said"), ROWS, ids=[row[0] for row in ROWS])
def test_bad_input(text: str, code: int, said: str, wrenla: Wrenla, folder: Path) -> None:
    before = sorted(os.listdir())
    result = wrenla(*text.split())
    assert (result.exit_code, result.stdout) == (code, ""), result.stderr
    assert said in one_line(result)
    assert [name for name in sorted(os.listdir()) if name not in [*before, "store", "config"]] == []


@pytest.mark.parametrize(
    "text",
    [
        "solve Anpy b.npy -o x",
        "solve --json",
        "cholesky indefinite.npy -o L",
        "settings --foo --json",
        "nosuch --json",
        "plan --json",
        "plan nosuch --json",
        "map words.py:count nosuch.txt",
    ],
)
def test_errors_are_documents_too(text: str, wrenla: Wrenla) -> None:
    result = wrenla(*text.split(), *([] if "--json" in text else ["--json"]))
    (line,) = result.stdout.splitlines()
    error = json.loads(line)["error"]
    assert error.keys() == {"type", "message", "exit_code"}
    assert one_line(result) == f"Error: {error['message']}"
    assert result.exit_code == error["exit_code"]


def test_debug_shows_the_traceback(wrenla: Wrenla) -> None:
    result = wrenla("solve", "singular.npy", "b.npy", "-o", "x.npy", "--debug")
    assert result.exit_code == 3
    assert result.stderr.startswith("Traceback (most recent call last)")
    assert result.stderr.splitlines()[-1].startswith("Error: the matrix is singular")


def _lacking(*names: str) -> Callable[..., Any]:
    """Return an `__import__` for which some packages are not there."""
    real = builtins.__import__

    def fake(name: str, *others: Any, **more: Any) -> Any:
        if name.partition(".")[0] in names:
            raise ImportError(f"No module named {name!r}")
        return real(name, *others, **more)

    return fake


@pytest.mark.parametrize(
    ("text", "package", "extra"),
    [
        ("solve A.zarr b.npy -o x.npy", "zarr", "wrenla[zarr]"),
        ("info A.zarr", "zarr", "wrenla[zarr]"),
        ("solve A.npy b.npy -o x.npy --executor dask", "distributed", "wrenla[distributed]"),
        ("demo --points 50", "matplotlib", "wrenla[demo]"),
    ],
)
def test_missing_extra(
    text: str, package: str, extra: str, wrenla: Wrenla, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builtins, "__import__", _lacking(package))
    result = wrenla(*text.split())
    assert result.exit_code == 1
    assert f"pip install '{extra}'" in one_line(result)
    assert not Path("x.npy").exists()


def test_no_right_to_write(wrenla: Wrenla, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may run as root, who may do all."""
    (folder / "locked").mkdir()
    monkeypatch.setattr(os, "access", lambda path, _: not str(path).endswith("locked"))
    for output in ("locked/x.npy", "locked/x.zarr", "locked/new/x.zarr"):
        result = wrenla("solve", "A.npy", "b.npy", "-o", output)
        assert result.exit_code == 4
        assert f"{output}: you may not write in " in one_line(result)
    assert list((folder / "locked").iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (TransientStoreError("s3://b: S3 did not answer"), 5, "s3://b: S3 did not answer"),
        (OutOfMemory("the function needed more"), 1, "the function needed more"),
        (PermissionError(13, "Permission denied", "A.npy"), 4, "Permission denied"),
        (KeyError("x"), 1, "KeyError: 'x' (--debug shows where)"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_exit_codes_of_what_happens_on_the_way(
    error: BaseException, code: int, said: str, wrenla: Wrenla, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        error.add_note("tiles are kept in /store\n  to resume: run the same script again")
        raise error

    monkeypatch.setattr("wrenla.cli.parts.problem.operand", fail)
    result = wrenla("solve", "A.npy", "b.npy", "-o", "x.npy")
    (line,) = result.stderr.splitlines()
    assert result.exit_code == code
    assert said in line
    assert line.endswith("; tiles are kept in /store; to resume: run the same command again") or code == 130
    assert "to resume: run the same command again" in line


@pytest.mark.cloud
def test_executor_that_does_not_answer(wrenla: Wrenla) -> None:
    with socket.socket() as taken:  # nobody listens there
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        _refused_at(address, wrenla)


def _refused_at(address: str, wrenla: Wrenla) -> None:
    result = wrenla("solve", "A.npy", "b.npy", "-o", "x.npy", "--executor", f"dask:{address}")
    assert result.exit_code == 1
    assert f"'{address}': no Dask scheduler answers there" in one_line(result)


@pytest.mark.cloud
@pytest.mark.parametrize(
    "text",
    ["deploy --dry-run", "ls", "logs", "destroy --dry-run", "solve A.npy b.npy -o x --executor lambda"],
)
def test_no_region_is_wrong_usage(text: str, wrenla: Wrenla, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "nowhere")
    result = wrenla(*text.split())
    assert result.exit_code == 2
    assert "there is no AWS region" in one_line(result)


def test_files_that_may_not_be_read_or_written(wrenla: Wrenla, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Any, *_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.access", lambda *_: False)
    for text in (
        "map words.py:count lines.txt -o new.txt",
        "plan cholesky 500 --draw dag.svg",
        "matmul A.npy b.npy -o x.npy",
    ):
        result = wrenla(*text.split())
        assert (result.exit_code, "you may not write in" in one_line(result)) == (4, True)
    monkeypatch.setattr("wrenla.report.record.open", refuse, raising=False)
    result = wrenla("report", "run.jsonl")
    assert (result.exit_code, one_line(result)) == (4, "Error: run.jsonl: Permission denied")


def test_full_disk_has_no_number_but_a_remedy(wrenla: Wrenla, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device", "x.npy")

    monkeypatch.setattr("wrenla.matrices.matrix.BigMatrix.to_npy", fail)
    said = one_line(wrenla("matmul", "A.npy", "b.npy", "-o", "x.npy"))
    assert said.startswith("Error: x.npy: No space left on device; free some on the disk of the result")


def test_what_is_logged_is_a_warning_too(wrenla: Wrenla) -> None:
    result = wrenla("matmul", "A.npy", "b.npy", "-o", "x.npy", "--record", "/dev/full", "--json")
    assert result.exit_code == 0
    (warning,) = json.loads(result.stdout)["warnings"]
    assert result.stderr == f"Warning: {warning}\n"
    assert warning.startswith("the record of this run ends here")


@pytest.mark.cloud
def test_no_credentials(wrenla: Wrenla, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    for text in ("solve s3://bucket-xy/A b.npy -o x.npy", "info s3://bucket-xy/A", "ls s3://bucket-xy"):
        result = wrenla(*text.split())
        assert result.exit_code == 4
        assert "there are no AWS credentials; name a profile" in one_line(result)
