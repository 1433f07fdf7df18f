"""What all tests and doctests share: a store of their own, and no settings of whoever runs them."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator

import pytest

# Before NumPy is loaded. Tests run beside each other, and matrices are small: threads of the BLAS that wait
# for each other cost seven times the processor time. A test of threads asks for as many as it needs.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

_folder = tempfile.mkdtemp(prefix="wrenla-tests-")


def pytest_configure() -> None:
    for name in [name for name in os.environ if name.startswith("WRENLA_")]:
        del os.environ[name]
    os.environ["WRENLA_STORE"] = os.path.join(_folder, "store")
    os.environ["WRENLA_MEASURE"] = "false"  # a second for each process, and other numbers each time
    os.environ["XDG_CONFIG_HOME"] = os.path.join(_folder, "config")


def pytest_unconfigure() -> None:
    default = sys.modules.get("wrenla.executors.default")
    if default is not None:
        default._close()
    shutil.rmtree(_folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def _two_workers_in_doctests(request: pytest.FixtureRequest) -> Iterator[None]:
    """What an example prints must not depend on the machine."""
    if isinstance(request.node, pytest.DoctestItem):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("WRENLA_WORKERS", "2")
            yield
    else:
        yield
