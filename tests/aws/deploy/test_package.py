"""The package: what goes in, that it is the same bytes again, and that it is built once."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from wrenla.aws.error_messages import DeployError
from wrenla.aws.packaging import package as module
from wrenla.aws.packaging.contents import byte_code
from wrenla.aws.packaging.package import Package, build_package
from wrenla.aws.packaging.target import Target, running_python
from wrenla.aws.packaging.wheels import WheelSpec
from wrenla_handler import calls as call_package

CALLS = Path(call_package.__file__).parent
"""Stands for wrenla itself in most tests: compiling all of it each time takes long."""

Wheels = Mapping[str, Mapping[str, bytes]]
Stub = Callable[..., list[Target]]
NO_MODES: Mapping[str, int] = {}

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

    def use(wheels: Wheels, modes: Mapping[str, int] = NO_MODES) -> list[Target]:
        asked = []

        def download(spec: WheelSpec, target: Target, folder: Path) -> list[Path]:
            asked.append(target)
            for name, members in wheels.items():
                with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w") as archive:
                    for path, data in members.items():
                        entry = zipfile.ZipInfo(path)
                        entry.external_attr = modes.get(path, 0o100664) << 16
                        archive.writestr(entry, data)
            return sorted(folder.glob("*.whl"))

        monkeypatch.setattr(module, "download_wheels", download)
        monkeypatch.setattr(module, "_own_packages", lambda: {"wrenla_handler": CALLS})
        return asked

    return use


def entries(package: Package) -> dict[str, bytes]:
    with zipfile.ZipFile(package.path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_package_has_wheels_and_our_sources(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    assert {"wrenla/linalg.py", "wrenla/executors/base.py", "wrenla_handler/lambda_entry.py"} <= found.keys()
    assert not [name for name in found if name.startswith(("wrenla/emulator", "wrenla/testing"))]
    assert found["alpha.libs/libblas-1234.so.0"] == LIBRARY
    own = {name.split("/")[0] for name in found if not name.startswith(("alpha", "beta", "__pycache__"))}
    version = importlib.metadata.version("wrenla")
    assert own == {"wrenla", "wrenla_handler", "wrenla_kernels", f"wrenla-{version}.dist-info"}
    assert "wrenla_handler/tiles/worker.py" in found
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


def test_programs_stay_programs(stub: Stub, tmp_path: Path) -> None:
    """As pip leaves them: what a wheel brings may start them. And the umask of its builder is not ours."""
    tools = {
        "gamma/binaries/ffmpeg": b"\x7fELF",
        "gamma/binaries/notes.txt": b"",
        "gamma/run.py": b"#!/usr/bin/env python3\n",
        "gamma/_fast.abi3.so": LIBRARY,
        "gamma-1.data/platlib/gamma/helper": b"\x7fELF",
        "gamma-1.dist-info/METADATA": b"Metadata-Version: 2.1\nName: gamma\nVersion: 1\n",
    }
    modes = {
        "gamma/binaries/ffmpeg": 0o100775,
        "gamma/run.py": 0o100700,
        "gamma-1.data/platlib/gamma/helper": 0o100711,
        "gamma/binaries/notes.txt": 0o100600,
        "gamma/_fast.abi3.so": 0o100644,
    }
    stub({"gamma-1": tools}, modes)
    with zipfile.ZipFile(build_package(cache=tmp_path).path) as archive:
        found = {info.filename: info.external_attr >> 16 for info in archive.infolist()}
    programs = {name for name, mode in found.items() if mode == 0o100755}
    assert programs == {"gamma/binaries/ffmpeg", "gamma/run.py", "gamma/_fast.abi3.so", "gamma/helper"}
    assert {mode for name, mode in found.items() if name not in programs} == {0o100644}
    assert any(name.startswith("gamma/__pycache__/run.") for name in found)


def test_package_of_equal_input_has_equal_bytes(stub: Stub, tmp_path: Path) -> None:
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
        "import hashlib, sys; from wrenla.aws.packaging.contents import byte_code\n"
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
    package = build_package(cache=tmp_path)
    found = entries(package)
    assert "beta.py" in found
    assert not any(name.startswith("__pycache__/beta") for name in found)
    assert any(name.startswith("wrenla_handler/__pycache__/") for name in found)
    assert "no room for byte code" in package.remark
    assert build_package(cache=tmp_path).remark == package.remark  # it is said each time, not only when built


def test_package_without_peculiarity_has_no_remark(stub: Stub, tmp_path: Path) -> None:
    stub({"beta-2.5": BETA})
    assert build_package(cache=tmp_path).remark == ""
    other = "3.13" if running_python() != "3.13" else "3.12"
    assert build_package(cache=tmp_path, python=other).remark == ""  # there is none to leave out


def test_package_leaves_out_imports_of_the_driver_only(stub: Stub, tmp_path: Path) -> None:
    about = "Metadata-Version: 2.1\nName: {0}\nVersion: 1\n{1}"
    requires = {"rich": "Requires-Dist: pygments>=2\n", "pygments": "", "beta": ""}
    stub(
        {
            f"{name}-1": {
                f"{name}.py": b"",
                f"{name}-1.dist-info/METADATA": about.format(name, lines).encode(),
            }
            for name, lines in requires.items()
        }
    )
    assert set(build_package(cache=tmp_path).versions) == {"rich", "beta", "wrenla"}
    file = tmp_path / "requirements.txt"
    file.write_text("pygments\n")
    assert set(build_package(cache=tmp_path, requirements=file).versions) == {
        "beta",
        "pygments",
        "rich",
        "wrenla",
    }


def test_too_large_names_the_largest(stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub({"alpha-1.0": {**ALPHA, "alpha/data.bin": b"0" * (3 << 20)}, "beta-2.5": BETA})
    monkeypatch.setattr(module, "_MOST_UNZIPPED", 2 << 20)
    with pytest.raises(DeployError, match=r"Lambda takes 2 MB \(unzipped\); the largest are alpha 3 MB"):
        build_package(cache=tmp_path)
    assert list(tmp_path.glob("package-*")) == []


def test_package_is_built_once_and_logged(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And says what it does, since that takes a minute."""
    asked = stub({"beta-2.5": BETA})
    caplog.set_level("INFO", "wrenla.aws")
    first = build_package(cache=tmp_path)
    said = caplog.messages
    assert [line.split()[0] for line in said] == ["downloading", "packing", "the"]
    assert "packing beta-2.5 (1 of 1)" in said
    assert build_package(cache=tmp_path) == first
    assert caplog.messages == said
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


def test_package_built_by_many_threads_is_one(stub: Stub, tmp_path: Path) -> None:
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
    """The newest stays, what may be in use, and what others put there; what a killed build has left goes."""
    stub({"beta-2.5": BETA})
    now = time.time()
    strange = [tmp_path / name for name in ("mine.zip", "package-mine.zip", ".package-x.zip.1.part")]
    written = [tmp_path / f".package-{20 * 'a'}.zip.{age}.part" for age in (60, 7200)]
    for path in (*strange, *written):
        path.touch()
        os.utime(path, (now - 7200, now - 7200))
    os.utime(written[0], (now - 60, now - 60))
    ages = [5000, 4000, 300, 3000]  # seconds since the last use
    built = []
    for number, age in enumerate(ages):
        monkeypatch.setattr(module, "_own_about", lambda number=number: {"about": str(number).encode()})
        built.append(build_package(cache=tmp_path).path)
        os.utime(built[-1], (now - age, now - age))
    build_package(cache=tmp_path)  # found, and so used again: the last
    monkeypatch.setattr(module, "_own_about", lambda: {"about": b"new"})
    last = build_package(cache=tmp_path).path
    assert {*tmp_path.glob("package-*.zip")} == {built[2], built[3], last, strange[1]}
    assert [path.exists() for path in written] == [True, False]
    assert all(path.exists() for path in strange)
    assert {path.stem for path in tmp_path.glob("*.json")} == {built[2].stem, built[3].stem, last.stem}
