"""The package: what goes in, that it is the same bytes again, and that it is built once."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from wrenla.aws import package as module
from wrenla.aws.contents import byte_code
from wrenla.aws.package import Package, build_package
from wrenla.aws.refusals import DeployError
from wrenla.aws.target import Target, here, lambda_target, running_python
from wrenla.aws.wheels import Wanted, _explained, wanted
from wrenla.errors import SettingError
from wrenla_handler import call as call_package

CALLS = Path(call_package.__file__).parent
"""Stands for wrenla itself in most tests: compiling all of it each time takes long."""

Wheels = Mapping[str, Mapping[str, bytes]]
Stub = Callable[[Wheels], list[Target]]

LIBRARY = bytes(range(256)) * 99

ALPHA: Mapping[str, bytes] = {
    "alpha/__init__.py": b"from alpha.core import one\n",
    "alpha/core.py": b"import alpha.kept.tests.data as data\n\ndef one():\n    return 1\n",
    "alpha/core.pyi": b"def one() -> int: ...\n",
    "alpha/fast.cpython-311-x86_64-linux-gnu.so": LIBRARY,
    "alpha/table.json": b"{}",
    "alpha/tests/__init__.py": b"",
    "alpha/tests/test_core.py": b"import alpha.tests\n",
    "alpha/tests/big.npy": b"0" * 999,
    "alpha/inner/test/check.py": b"",
    "alpha/testing/helpers.py": b"x = 1\n",
    "alpha/kept/tests/data.py": b"y = 2\n",
    "alpha/template.py": b"def {{name}}(:\n",
    "alpha/__pycache__/core.cpython-311.pyc": b"stale",
    "alpha.libs/libblas-1234.so.0": LIBRARY,
    "alpha-1.0.data/purelib/alpha_extra.py": b"z = 3\n",
    "alpha-1.0.data/scripts/alpha": b"#!python\n",
    "alpha-1.0.data/data/share/man/alpha.1": b"",
    "alpha-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: alpha\nVersion: 1.0\n",
    "alpha-1.0.dist-info/entry_points.txt": b"",
    "alpha-1.0.dist-info/RECORD": b"",
    "alpha-1.0.dist-info/licenses/LICENSE": b"",
}
BETA: Mapping[str, bytes] = {
    "beta.py": b"VALUE = 1\n",
    "beta-2.5.dist-info/METADATA": b"Metadata-Version: 2.1\nName: beta\nVersion: 2.5\n",
}


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Stub:
    """Replace pip: it "downloads" the wheels that it is given, and notes for what they were wanted."""

    def use(wheels: Wheels) -> list[Target]:
        asked = []

        def download(wants: Wanted, target: Target, folder: Path) -> list[Path]:
            asked.append(target)
            for name, members in wheels.items():
                with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w") as archive:
                    for path, data in members.items():
                        archive.writestr(path, data)
            return sorted(folder.glob("*.whl"))

        monkeypatch.setattr(module, "download_wheels", download)
        monkeypatch.setattr(module, "_own_packages", lambda: {"wrenla_handler": CALLS})
        return asked

    return use


def entries(package: Package) -> dict[str, bytes]:
    with zipfile.ZipFile(package.path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_what_goes_in(stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own_packages = module._own_packages
    stub({"alpha-1.0": ALPHA, "beta-2.5": BETA})
    monkeypatch.setattr(module, "_own_packages", own_packages)
    package = build_package(cache=tmp_path)
    found = entries(package)
    theirs = {name for name in found if name.startswith(("alpha", "beta")) and "__pycache__" not in name}
    assert theirs == {
        "alpha/__init__.py",
        "alpha/core.py",
        "alpha/fast.cpython-311-x86_64-linux-gnu.so",
        "alpha/table.json",
        "alpha/testing/helpers.py",
        "alpha/kept/tests/data.py",
        "alpha/template.py",
        "alpha.libs/libblas-1234.so.0",
        "alpha_extra.py",
        "alpha-1.0.dist-info/METADATA",
        "alpha-1.0.dist-info/entry_points.txt",
        "beta.py",
        "beta-2.5.dist-info/METADATA",
    }
    assert found["alpha/fast.cpython-311-x86_64-linux-gnu.so"] == LIBRARY
    assert found["alpha.libs/libblas-1234.so.0"] == LIBRARY
    own = {name.split("/")[0] for name in found if not name.startswith(("alpha", "beta", "__pycache__"))}
    version = importlib.metadata.version("wrenla")
    assert own == {"wrenla", "wrenla_handler", "wrenla_kernels", f"wrenla-{version}.dist-info"}
    assert "wrenla_handler/worker.py" in found
    assert "wrenla/py.typed" in found
    assert package.versions == {"alpha": "1.0", "beta": "2.5", "wrenla": version}
    assert package.unzipped == sum(map(len, found.values()))


def test_figures_and_hashes(stub: Stub, tmp_path: Path) -> None:
    stub({"beta-2.5": BETA})
    package = build_package(cache=tmp_path)
    data = package.path.read_bytes()
    assert package.sha256 == hashlib.sha256(data).hexdigest()
    assert package.zipped == len(data)
    with zipfile.ZipFile(package.path) as archive:
        infos = archive.infolist()
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    assert {oct(info.external_attr >> 16) for info in infos} == {"0o100644"}
    assert len({info.filename for info in infos}) == len(infos)


def test_the_same_bytes_again(stub: Stub, tmp_path: Path) -> None:
    """In whatever order the wheel has its members, and with other strings' hashes."""
    stub({"alpha-1.0": ALPHA, "beta-2.5": BETA})
    first = build_package(cache=tmp_path / "1")
    stub({"beta-2.5": BETA, "alpha-1.0": dict(reversed(ALPHA.items()))})
    second = build_package(cache=tmp_path / "2")
    assert first.path.read_bytes() == second.path.read_bytes()
    assert (first.sha256, first.base64, first.versions) == (second.sha256, second.base64, second.versions)


def test_byte_code_is_the_same_in_every_process() -> None:
    source = "def f(x):\n    'doc'\n    return x in {'a', 'b', 'c'}, frozenset, __name__, 'f', ('a', 1.5)\n"
    script = (
        "import hashlib, sys; from wrenla.aws.contents import byte_code\n"
        f"print(hashlib.sha256(byte_code('m.py', {source.encode()!r})[1]).hexdigest())"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    made = byte_code("m.py", source.encode())
    assert made is not None
    assert run.stdout.strip() == hashlib.sha256(made[1]).hexdigest()


def test_python_takes_the_byte_code(stub: Stub, tmp_path: Path) -> None:
    stub({"beta-2.5": BETA})
    package = build_package(cache=tmp_path / "cache")
    with zipfile.ZipFile(package.path) as archive:
        archive.extractall(tmp_path / "task")
    (tmp_path / "task/beta.py").write_text("VALUE = 2\n")  # which unchecked byte code does not notice
    path = [str(tmp_path / "task")]
    script = f"import sys; sys.path[:] = {path!r}; import beta; print(beta.VALUE, beta.__file__)"
    run = subprocess.run([sys.executable, "-ISB", "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["1", str(tmp_path / "task/beta.py")]


def test_for_another_python_there_is_no_byte_code(stub: Stub, tmp_path: Path) -> None:
    asked = stub({"beta-2.5": BETA})
    other = "3.13" if running_python() != "3.13" else "3.12"
    package = build_package(python=other, arch="arm64", cache=tmp_path)
    assert not any("__pycache__" in name for name in entries(package))
    assert asked == [Target(other, "arm64", (2, 34))]


def test_without_room_byte_code_stays_out(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub({"beta-2.5": BETA})
    monkeypatch.setattr(module, "_MOST_UNZIPPED", module._RESERVED + len(b"".join(BETA.values())) + 50)
    found = entries(build_package(cache=tmp_path))
    assert "beta.py" in found
    assert not any(name.startswith("__pycache__/beta") for name in found)
    assert any(name.startswith("wrenla_handler/__pycache__/") for name in found)


def test_too_large_names_the_largest(stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub({"alpha-1.0": {**ALPHA, "alpha/data.bin": b"0" * (3 << 20)}, "beta-2.5": BETA})
    monkeypatch.setattr(module, "_MOST_UNZIPPED", 2 << 20)
    with pytest.raises(DeployError, match=r"Lambda takes 2 MB \(unzipped\); the largest are alpha 3 MB"):
        build_package(cache=tmp_path)
    assert list(tmp_path.glob("package-*")) == []


def test_it_is_built_once(stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = stub({"beta-2.5": BETA})
    first = build_package(cache=tmp_path)
    assert build_package(cache=tmp_path) == first
    monkeypatch.setattr(module, "_own_about", lambda: {"wrenla-9.dist-info/METADATA": b"changed"})
    second = build_package(cache=tmp_path)
    assert second.sha256 != first.sha256
    assert len(asked) == 1  # another wrenla needs no other wheels
    build_package(cache=tmp_path, arch="arm64")
    assert len(asked) == 2


def test_a_damaged_cache_is_mended(stub: Stub, tmp_path: Path) -> None:
    stub({"beta-2.5": BETA})
    first = build_package(cache=tmp_path)
    notes = first.path.with_suffix(".json")
    for damage in (
        lambda: first.path.write_bytes(b"short"),
        first.path.unlink,
        lambda: notes.write_text("{"),
        lambda: notes.write_text(json.dumps({"path": 1})),
    ):
        damage()
        assert build_package(cache=tmp_path) == first
        assert hashlib.sha256(first.path.read_bytes()).hexdigest() == first.sha256


def test_many_at_once(stub: Stub, tmp_path: Path) -> None:
    stub({"alpha-1.0": ALPHA, "beta-2.5": BETA})
    found: list[Package] = []
    threads = [threading.Thread(target=lambda: found.append(build_package(cache=tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(map(str, found))) == 1
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".zip", ".zip"]


def test_old_packages_are_forgotten(stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub({"beta-2.5": BETA})
    monkeypatch.setattr(module, "_KEPT", 2)
    for number in range(4):
        monkeypatch.setattr(module, "_own_about", lambda number=number: {"about": str(number).encode()})
        last = build_package(cache=tmp_path)
        os.utime(last.path, (number, number))
    assert len(list(tmp_path.glob("package-*.zip"))) == 2
    assert last.path.exists()


# what is wanted, and for which machine


def test_versions_are_those_installed_here() -> None:
    pins = wanted(None).pins
    for name in ("numpy", "scipy", "boto3", "botocore", "cloudpickle", "dask", "click", "threadpoolctl"):
        assert pins[name] == importlib.metadata.version(name)
    assert not pins.keys() & {"wrenla", "moto", "pytest", "awslambdaric", "distributed", "zarr"}


def test_requirements_of_the_user(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("# comment\nzarr>=3 ; python_version > '3'\nnot-installed-here==1\n")
    wants = wanted(file)
    assert wants.pins["zarr"] == importlib.metadata.version("zarr")
    assert "not-installed-here" not in wants.pins
    assert wants.digest != wanted(None).digest
    for line in ("-r other.txt", "--requirement=other.txt", "-c pins.txt", "-e ."):
        file.write_text(f"{line}\n")
        with pytest.raises(DeployError, match="write every requirement into this one file"):
            wanted(file)
    with pytest.raises(DeployError, match="No such file"):
        wanted(tmp_path / "none.txt")


def test_a_wheel_of_ones_own_counts_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file, wheel = Path("requirements.txt"), Path("own-1-py3-none-any.whl")
    file.write_text("./own-1-py3-none-any.whl\n")
    digests = set()
    for content in (b"1", b"2"):
        wheel.write_bytes(content)
        digests.add(wanted(file).digest)
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
def test_what_pip_says_in_one_line(output: str, python: str, message: str) -> None:
    wants = Wanted({"numpy": "2.4.6"}, Path("r.txt"), "")
    said = _explained(output, wants, lambda_target(python, "x86_64"))
    assert message in said
    assert "\n" not in said


# the real wheels


OTHERS = [
    *(
        "wrenla",
        "wrenla.cli",
        "numpy",
        "numpy.f2py",
        "numpy.testing",
        "scipy.linalg",
        "scipy.special",
        "boto3",
    ),
    *("scipy.sparse.linalg", "scipy.stats", "scipy.optimize", "dask", "dask.array", "cloudpickle", "yaml"),
]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Package:
    return build_package(target=here(running_python(), "x86_64"), cache=tmp_path_factory.mktemp("cache"))


@pytest.mark.slow
def test_a_clean_interpreter_imports_it(real: Package, tmp_path: Path) -> None:
    with zipfile.ZipFile(real.path) as archive:
        archive.extractall(tmp_path)
        handler = [name for name in archive.namelist() if name.startswith("wrenla_handler/")]
    modules = [
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in handler
        if name.endswith(".py")
    ]
    names = [*modules, *OTHERS]
    script = f"""
import importlib, importlib.metadata, sys
before = list(sys.path)
sys.path[:] = [p for p in before if "site-packages" not in p] + [{str(tmp_path)!r}]
for name in {names!r}:
    importlib.import_module(name)
import numpy as np, scipy.linalg, boto3, dask, wrenla as wl
assert all({str(tmp_path)!r} in m.__file__ for m in (np, scipy.linalg, boto3, dask, wl))
assert importlib.metadata.version("numpy") == {importlib.metadata.version("numpy")!r} == np.__version__
a = np.eye(3) + 1
assert np.allclose(scipy.linalg.cholesky(a, lower=True) @ scipy.linalg.cholesky(a), a)
boto3.client("s3", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
"""
    run = subprocess.run([sys.executable, "-ISB", "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.slow
def test_its_numbers(real: Package) -> None:
    assert 100e6 < real.unzipped <= 250 << 20
    assert real.versions["numpy"] == importlib.metadata.version("numpy")
    assert "awslambdaric" not in real.versions
    with zipfile.ZipFile(real.path) as archive:
        names = archive.namelist()
        libraries = [name for name in names if name.startswith("numpy") and ".so" in name]
        for name in libraries:
            installed = importlib.metadata.distribution("numpy").locate_file(name)
            assert Path(str(installed)).read_bytes() == archive.read(name)
    assert libraries
    assert not any("/tests/" in name and name.startswith("numpy/") for name in names)
    assert any(name.startswith("numpy/f2py/") for name in names)


@pytest.mark.slow
def test_a_second_build_elsewhere_has_the_same_bytes(real: Package, tmp_path: Path) -> None:
    again = build_package(target=here(running_python(), "x86_64"), cache=tmp_path)
    if again.path.name == real.path.name:  # nobody has changed wrenla in between
        assert again.sha256 == real.sha256
