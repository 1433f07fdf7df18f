"""The BLAS pointers: what there is, what there is not, and that they leave the GIL alone."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from wrenla_kernels import DTYPES, gemm
from wrenla_kernels.pointers import blas, lapack, scalar


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_pointers_are_loaded_once(dtype):
    for name in ("gemm", "herk", "trsm"):
        assert blas(name, dtype) is blas(name, str(dtype))
    assert lapack("potrf", dtype) is lapack("potrf", dtype)


def test_unknown_routine_or_dtype_is_refused():
    with pytest.raises(TypeError, match="int64"):
        blas("gemm", np.int64)
    with pytest.raises(LookupError, match="dnonesuch"):
        blas("nonesuch", np.float64)
    with pytest.raises(TypeError):
        scalar(1j, np.float64)


def calls_with_python_in_their_middle(call, repetitions=5):
    """Return in how many calls another thread got to run Python between a quarter and three quarters of it.

    A call that holds the GIL lets others run at its ends only.
    """
    awake = []
    done = threading.Event()

    def wake_up():
        while not done.wait(0.001):
            awake.append(time.perf_counter())

    sleeper = threading.Thread(target=wake_up)
    sleeper.start()
    spans = []
    try:
        for _ in range(repetitions):
            start = time.perf_counter()
            call()
            spans.append((start, time.perf_counter()))
    finally:
        done.set()
        sleeper.join()
    middles = [((3 * start + end) / 4, (start + 3 * end) / 4) for start, end in spans]
    return sum(any(left < moment < right for moment in awake) for left, right in middles)


def test_python_runs_while_gemm_does():
    a = np.ones((1500, 1500), order="F")
    c = np.zeros_like(a, order="F")
    assert calls_with_python_in_their_middle(lambda: gemm(1, a, "N", a, "N", c)) >= 3


@pytest.mark.process
def test_scipy_is_whole_although_the_package_was_not_loaded():
    script = """
import sys
from wrenla_kernels.pointers import cython_blas, cython_lapack
assert "scipy.linalg" not in sys.modules
import scipy.linalg
assert scipy.linalg.cython_blas is cython_blas and scipy.linalg.cython_lapack is cython_lapack
print(*scipy.linalg.solve([[2.0, 0.0], [0.0, 4.0]], [2.0, 8.0]))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "1.0 2.0\n"


BESIDE_US = {
    "imported already": "import scipy.linalg",
    "another thread imports it": """
import importlib.util, threading
make = importlib.util.module_from_spec
def and_another_thread(spec):
    importlib.util.module_from_spec = make
    module = make(spec)
    thread = threading.Thread(target=__import__, args=("scipy.linalg",))
    thread.start()
    thread.join()
    return module
importlib.util.module_from_spec = and_another_thread
""",
    "an importer of its own": """
import scipy
from importlib.machinery import PathFinder
where, scipy.__path__ = list(scipy.__path__), []
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.startswith("scipy."):
            return PathFinder.find_spec(name, path or where, target)
sys.meta_path.insert(0, Finder)
""",
}


@pytest.mark.process
@pytest.mark.parametrize("beside", BESIDE_US)
def test_a_scipy_that_is_not_ours_alone(beside):
    script = f"""
import sys
{BESIDE_US[beside]}
from wrenla_kernels.pointers import cython_blas, cython_lapack
import scipy.linalg
assert scipy.linalg.cython_blas is cython_blas and scipy.linalg.cython_lapack is cython_lapack
print(*scipy.linalg.solve([[2.0, 0.0], [0.0, 4.0]], [2.0, 8.0]))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("1.0 2.0\n", "")
