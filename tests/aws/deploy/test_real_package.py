"""The package of the real wheels: it can be imported, and it is the same bytes again."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from wrenla.aws.packaging.package import Package, build_package
from wrenla.aws.packaging.target import here, running_python

ONLY_THE_DRIVERS = {"click", "markdown_it_py", "mdurl", "packaging", "pygments"}

OTHERS = [
    *("numpy", "numpy.f2py", "numpy.testing", "scipy.linalg", "scipy.special", "scipy.sparse.linalg"),
    *("scipy.stats", "scipy.optimize", "boto3", "cloudpickle", "msgspec", "rich.live"),
]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Package:
    return build_package(target=here(running_python(), "x86_64"), cache=tmp_path_factory.mktemp("cache"))


@pytest.mark.slow
def test_a_clean_interpreter_imports_it(real: Package, tmp_path: Path) -> None:
    with zipfile.ZipFile(real.path) as archive:
        archive.extractall(tmp_path)
        own = [name for name in archive.namelist() if name.startswith("wrenla") and name.endswith(".py")]
    # all but the command line, for which nothing is there
    modules = [
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in own
        if not name.startswith("wrenla/cli") and not name.endswith("__main__.py")
    ]
    assert {
        "wrenla",
        "wrenla.report.progress",
        "wrenla_handler.lambda_entry",
        "wrenla_kernels.threads",
    } <= set(modules)
    names = [*modules, *OTHERS]
    script = f"""
import importlib, importlib.metadata, sys
before = list(sys.path)
sys.path[:] = [p for p in before if "site-packages" not in p] + [{str(tmp_path)!r}]
for name in {names!r}:
    importlib.import_module(name)
import numpy as np, scipy.linalg, boto3, rich, wrenla as wl
assert all({str(tmp_path)!r} in m.__file__ for m in (np, scipy.linalg, boto3, rich, wl))
assert importlib.metadata.version("numpy") == {importlib.metadata.version("numpy")!r} == np.__version__
a = np.eye(3) + 1
assert np.allclose(scipy.linalg.cholesky(a, lower=True) @ scipy.linalg.cholesky(a), a)
boto3.client("s3", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
"""
    run = subprocess.run([sys.executable, "-ISB", "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.slow
def test_real_package_fits_into_lambda(real: Package) -> None:
    assert 100e6 < real.unzipped <= 250 << 20
    assert real.versions["numpy"] == importlib.metadata.version("numpy")
    assert not real.versions.keys() & {"awslambdaric", *ONLY_THE_DRIVERS}
    assert real.remark == ""
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
