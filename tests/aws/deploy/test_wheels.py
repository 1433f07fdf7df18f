"""Which wheels a package is made of: which versions, for which machine, and which are left out."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from wrenla.aws.error_messages import DeployError
from wrenla.aws.packaging.target import here, lambda_target, running_python
from wrenla.aws.packaging.wheels import _DRIVER_ONLY, WheelSpec, _explained, parsed, select_wheels, wheel_spec
from wrenla.errors import SettingError

HERE = here(running_python(), "x86_64")


def test_versions_are_those_installed_here() -> None:
    pins = wheel_spec(None, HERE).pins
    for name in (
        "numpy",
        "scipy",
        "boto3",
        "botocore",
        "cloudpickle",
        "msgspec",
        "rich",
        "click",
        "threadpoolctl",
    ):
        assert pins[name] == importlib.metadata.version(name)
    assert not pins.keys() & {"wrenla", "moto", "pytest", "awslambdaric", "distributed", "zarr"}


def test_requirements_of_the_user(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(
        "# comment\nzarr>=3 ; python_version > '3'\nnot-installed-here==1\nxxhash \\\n    --hash=sha256:0\n"
        "pytest; sys_platform == 'win32'\n"
    )
    spec = wheel_spec(file, HERE)
    assert spec.pins["zarr"] == importlib.metadata.version("zarr")
    assert "xxhash" in spec.pins
    assert not spec.pins.keys() & {"not-installed-here", "pytest"}
    assert spec.digest != wheel_spec(None, HERE).digest
    for line in ("-r other.txt", "--requirement=other.txt", "-c pins.txt", "-e ."):
        file.write_text(f"{line}\n")
        with pytest.raises(DeployError, match="write every requirement into this one file"):
            wheel_spec(file, HERE)
    with pytest.raises(DeployError, match="No such file"):
        wheel_spec(tmp_path / "none.txt", HERE)


def test_a_wheel_of_ones_own_counts_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file, wheel = Path("requirements.txt"), Path("own-1-py3-none-any.whl")
    file.write_text("./own-1-py3-none-any.whl\n")
    digests = set()
    for content in (b"1", b"2"):
        wheel.write_bytes(content)
        digests.add(wheel_spec(file, HERE).digest)
    assert len(digests) == 2


def test_targets() -> None:
    old, new = lambda_target("3.11", "x86_64"), lambda_target("3.12", "arm64")
    assert (old.glibc, new.glibc) == ((2, 26), (2, 34))
    assert "manylinux_2_28_x86_64" not in set(old.tags())
    assert {"manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_26_x86_64"} <= set(old.tags())
    assert {"manylinux_2_34_aarch64", "manylinux_2_28_aarch64", "manylinux2014_aarch64"} <= set(new.tags())
    assert here("3.11", "x86_64").glibc >= (2, 17)
    for wrong in ("3.10", "3", "python3.12"):
        with pytest.raises(SettingError, match="write a minor version"):
            lambda_target(wrong, "x86_64")
    with pytest.raises(SettingError, match="Lambda has x86_64 and arm64"):
        lambda_target("3.12", "aarch64")


@pytest.mark.parametrize(
    ("output", "python", "message"),
    [
        (
            "ERROR: Could not find a version that satisfies the requirement numpy==2.4.6 (from versions: 2)\n"
            "ERROR: No matching distribution found for numpy==2.4.6\n",
            "3.11",
            "there is no wheel of numpy 2.4.6 for Python 3.11 on x86_64 with glibc 2.26: use Python 3.12 or",
        ),
        (
            "ERROR: No matching distribution found for pandas==9\n",
            "3.12",
            "there is no wheel of pandas 9 for Python 3.12 on x86_64 with glibc 2.34: install a version here",
        ),
        (
            "ERROR: Cannot install cloudpickle==3.0.0 and cloudpickle==3.1.2 because these package versions "
            "have conflicting dependencies.\nERROR: ResolutionImpossible: for help visit …\n",
            "3.12",
            "r.txt: cloudpickle==3.0.0 and cloudpickle==3.1.2 contradict each other",
        ),
        ("/venv/bin/python: No module named pip\n", "3.12", "-m ensurepip"),
        (
            "WARNING: x\nERROR: Could not fetch URL …: timed out\n",
            "3.12",
            "could not download the packages: Could",
        ),
    ],
)
def test_failure_of_pip_is_one_line(output: str, python: str, message: str) -> None:
    spec = WheelSpec({"numpy": "2.4.6"}, Path("r.txt"), "")
    said = _explained(output, spec, lambda_target(python, "x86_64"))
    assert message in said
    assert "\n" not in said


# what is needed of what pip has downloaded

OWN: Mapping[str, Sequence[str]] = {
    "boto3": ["botocore"],
    "botocore": [],
    "click": [],
    "markdown_it_py": ["mdurl~=0.1"],
    "mdurl": [],
    "pygments": [],
    "rich": ["markdown-it-py (>=2.2.0)", "pygments (>=2.13.0,<3.0.0)", 'ipywidgets>=7 ; extra == "jupyter"'],
}
"""As wrenla requires them, directly or not."""

NEEDED = {"boto3", "botocore", "rich"}


def names(folder: Path, more: Mapping[str, Sequence[str]], *lines: str) -> set[str]:
    """Return what is taken of `OWN` and of what a user's requirements have brought."""
    folder.mkdir(exist_ok=True)
    wheels = []
    for name, requires in {**OWN, **more}.items():
        wheels.append(folder / f"{name}-1.0-py3-none-any.whl")
        with zipfile.ZipFile(wheels[-1], "w") as archive:
            about = [
                "Metadata-Version: 2.1",
                f"Name: {name}",
                *(f"Requires-Dist: {each}" for each in requires),
            ]
            archive.writestr(
                f"{name}-1.0.dist-info/METADATA", "\n".join([*about, "", "Requires-Dist: click"])
            )
    return {
        wheel.name.split("-")[0]
        for wheel in select_wheels(wheels, WheelSpec({}, None, "", parsed(lines)), HERE)
    }


def test_the_drivers_own_are_left_out(tmp_path: Path) -> None:
    assert names(tmp_path, {}) == NEEDED


@pytest.mark.parametrize(
    ("more", "lines", "also"),
    [
        ({}, ["click"], {"click"}),
        ({}, ["Markdown_It.Py >= 3"], {"markdown_it_py", "mdurl"}),
        ({}, ["./wheels/pygments-1.0-py3-none-any.whl"], {"pygments"}),
        ({}, ["https://example.org/a-b/mdurl-1.0-py3-none-any.whl#sha256=0"], {"mdurl"}),
        ({}, ["rich"], {"markdown_it_py", "mdurl", "pygments"}),
        ({"flask": ["Click>=8.1.3"]}, ["flask"], {"flask", "click"}),
        ({"flask": ["click"]}, ["--find-links=wheels"], {"flask", "click"}),
        (
            {"a": ["b"], "b": ["rich; python_version > '3'"]},
            ["a"],
            {"a", "b", "markdown_it_py", "mdurl", "pygments"},
        ),
        ({"pandas": ["numpy", 'click>=8 ; extra == "tools"']}, ["pandas"], {"pandas"}),
        ({"pandas": ['click>=8 ; extra == "tools"']}, ["pandas[tools]>=2"], {"pandas", "click"}),
        (
            {"a": ["pandas[tools]"], "pandas": ["click; extra == 'tools'"]},
            ["a"],
            {"a", "pandas", "click"},
        ),
        ({"a": ["b"], "b": ["a"]}, ["a"], {"a", "b"}),
        ({"own": ["click; extra == 'x'"]}, ["./own-1.0-py3-none-any.whl[x]"], {"own", "click"}),
        ({"a": ["click; sys_platform == 'win32'"]}, ["a"], {"a"}),
        ({"a": ["click; platform_machine == 'x86_64'"]}, ["a"], {"a", "click"}),
        (
            {"pandas": ['click; extra == "tools"', 'pygments; extra == "web"']},
            ["pandas[web]"],
            {"pandas", "pygments"},
        ),
        (
            {"own": []},
            ["own @ https://example.org/own-1.0-py3-none-any.whl", "click  # a comment"],
            {"own", "click"},
        ),
        ({"own": []}, ["own==1.0 --hash=sha256:0", "click; python_version < '3'"], {"own"}),
    ],
)
def test_wheels_required_by_the_user_are_kept(
    more: Mapping[str, Sequence[str]], lines: Sequence[str], also: set[str], tmp_path: Path
) -> None:
    assert names(tmp_path, more, *lines) == NEEDED | also


def test_wrenla_does_without_them() -> None:
    """Without what is left out wrenla computes and prints, and the handler nothing of wrenla itself."""
    modules = [name.replace("markdown-it-py", "markdown_it") for name in [*_DRIVER_ONLY, "mdurl"]]
    script = f"""
import sys
sys.modules.update(dict.fromkeys({modules!r}))  # as if they were not installed
import wrenla_handler.lambda_entry, wrenla_handler.tiles.worker, wrenla_handler.calls
assert not {{"wrenla", "rich"}} & set(sys.modules)
import numpy as np, wrenla as wl
A = wl.random((30, 30), tile=10, seed=1)
B = (A @ A.T).shift(30.0)
assert "tasks" in str(wl.plan(B.cholesky()))
with wl.LocalExecutor(1, kind="thread") as executor:
    assert B.solve(np.ones(30)).compute(executor).shape == (30,)
    stored = executor.map(lambda x: wl.store().put(str(x), b"") and not wl.cancelled(), range(2))
    assert list(stored) == [True, True]
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
