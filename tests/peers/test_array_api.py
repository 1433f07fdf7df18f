"""The Array API's own tests of linear algebra, `array-api-tests`, against `array_api_namespace`.

They are no package: the environment variable ARRAY_API_TESTS names a folder that they were cloned into.
ARRAY_API_TESTS_EXAMPLES says how many examples are tried, a tenth of them where entries are looked at.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers import array_api_namespace
from tests.settings import own_settings_in

pytestmark = [pytest.mark.peers, pytest.mark.timeout(3600)]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

SELECTED = (
    "linalg or linear_algebra or test_func_signature and (matmul or matrix_transpose or tensordot or vecdot)"
)
"""The extension, and the functions of it that are in the main namespace, too."""

FILES = ("test_linalg", "test_signatures", "test_has_names")

HOW = (
    "git clone --recurse-submodules https://github.com/data-apis/array-api-tests; pip install ndindex "
    "pytest-json-report; ARRAY_API_TESTS=array-api-tests make test-peers"
)


@pytest.fixture
def suite() -> Path:
    folder = os.environ.get("ARRAY_API_TESTS")
    missing = [name for name in ("ndindex", "pytest_jsonreport") if importlib.util.find_spec(name) is None]
    if folder is None or missing:
        pytest.skip(f"array-api-tests is not there{f', nor {missing}' if missing else ''}: {HOW}")
    found = Path(folder).resolve()
    if not (found / "array-api" / "src").is_dir():
        pytest.fail(f"ARRAY_API_TESTS={folder} is no clone of array-api-tests with its submodule: {HOW}")
    return found


def test_official_tests_pass_or_are_known(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_settings_in(tmp_path, monkeypatch, store="store")
    monkeypatch.setenv("ARRAY_API_TESTS_MODULE", array_api_namespace.__name__)
    monkeypatch.setenv("ARRAY_API_TESTS_VERSION", array_api_namespace.__array_api_version__)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (ROOT, ROOT / "handler", ROOT / "kernels"))))
    options = (
        *("-q", "--tb=short", "-p", array_api_namespace.__name__, "-p", "no:cacheprovider", "-W", "ignore"),
        *("--disable-deadline", "--hypothesis-derandomize", "-o", "xfail_strict=true"),
        *("--xfails-file", str(HERE / "array_api_xfails.txt"), "-k", SELECTED),
        *("--max-examples", os.environ.get("ARRAY_API_TESTS_EXAMPLES", "100")),
    )
    files = [str(suite / "array_api_tests" / f"{name}.py") for name in FILES]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *files, *options],
        cwd=suite,
        capture_output=True,
        text=True,
        timeout=3000,
        check=False,
    )
    sys.stdout.write(done.stdout)  # who has answered, and how many passed: shown by -rP
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    counts = {what: int(n) for n, what in re.findall(r"(\d+) (passed|skipped|xfailed)", done.stdout)}
    known = [line for line in (HERE / "array_api_xfails.txt").read_text().splitlines() if "::" in line]
    assert counts["xfailed"] == len(known)
    assert counts["passed"] >= 3 * len(array_api_namespace.answers)  # one of each file for each function
    answered = re.findall(r"^(\w+): wrenla (\d+), NumPy (\d+)", done.stdout, re.MULTILINE)
    assert {name for name, *_ in answered} == array_api_namespace.answers.keys()
    for name, ours, theirs in answered:
        assert int(ours) > int(theirs), name
