"""BLAS threads: how many SciPy's BLAS uses, and for which processor it was chosen."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from threadpoolctl import ThreadpoolController

from wrenla_kernels.pointers import cython_blas

__all__ = ["OLD_CORES", "BlasInfo", "blas_threads", "core_type_warning", "scipy_blas_info"]

# Names of the same symbol: in SciPy's wheels, and everywhere else.
_BLAS_SYMBOLS = ("scipy_dgemm_", "dgemm_")

# What OpenBLAS calls the processors whose kernels use what; newer ones than these use at least as much.
OLD_CORES = frozenset(
    {
        *("katmai", "prescott", "core2", "penryn", "dunnington", "atom", "nehalem", "barcelona"),  # SSE
        *("sandybridge", "bulldozer", "piledriver", "steamroller"),  # AVX
    }
)
_AVX2_CORES = frozenset({"haswell", "excavator", "zen"})
_AVX512_FLAGS = frozenset({"avx512f", "avx512dq", "avx512bw", "avx512vl"})


@dataclass(frozen=True, slots=True)
class BlasInfo:
    """The BLAS that SciPy, and so every kernel, computes with.

    Attributes
    ----------
    filepath
        The shared library; "" if it is unknown.
    version
        Its version; None if it does not tell.
    internal_api
        "openblas", "mkl", "blis", "flexiblas"; "unknown" if its threads cannot be set.
    architecture
        The processor whose kernels it chose; None if it does not tell.
    threads
        How many threads a call uses now.
    """

    filepath: str
    version: str | None
    internal_api: str
    architecture: str | None
    threads: int


def scipy_blas_info() -> BlasInfo:
    """Return which BLAS SciPy computes with.

    Examples
    --------
    >>> scipy_blas_info().threads >= 1
    True
    """
    library = _scipy_blas()
    if library is None:
        return BlasInfo(_blas_path(), None, "unknown", None, 1)
    facts = library.info()
    return BlasInfo(
        filepath=facts["filepath"],
        version=facts["version"],
        internal_api=facts["internal_api"],
        architecture=facts.get("architecture"),
        threads=facts["num_threads"],
    )


@contextmanager
def blas_threads(n: int) -> Iterator[None]:
    """Limit the threads of SciPy's BLAS while the block runs.

    The number belongs to the library, not to the Python thread: it holds for all threads of the process.
    Blocks may nest and may run in several threads at once. The one entered last of those still open decides,
    and when none is open any more the number is what it was before the first.

    NumPy brings a BLAS of its own in its wheels, which is left alone; where both share one library (conda,
    distributions), it is limited for both. Does nothing if the library's threads cannot be set. An
    OpenBLAS that was built with OpenMP keeps the number for each thread: enter the block where the work is.

    Parameters
    ----------
    n
        Number of threads, at least 1.

    Raises
    ------
    ValueError
        If `n` is below 1.

    Examples
    --------
    >>> with blas_threads(1):
    ...     scipy_blas_info().threads
    1
    """
    if n < 1:
        raise ValueError(f"BLAS needs at least one thread, not {n}")
    library = _scipy_blas()
    if library is None:
        yield
        return
    limit = _LIMITS.enter(library, n)
    try:
        yield
    finally:
        _LIMITS.leave(library, limit)


class _Limits:
    """The blocks that are open, and the number of threads before the first of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: list[tuple[object, int]] = []
        self._before = 0

    def enter(self, library: Any, n: int) -> object:
        with self._lock:
            if not self._open:
                self._before = library.get_num_threads()
            token = object()
            self._open.append((token, n))
            # With the lock held: the number is the library's, for all threads, and is that of the last entry.
            _set(library, n)
            return token

    def leave(self, library: Any, token: object) -> None:
        with self._lock:
            self._open = [entry for entry in self._open if entry[0] is not token]
            _set(library, self._open[-1][1] if self._open else self._before)


def _set(library: Any, n: int) -> None:
    """Set the number of threads, whichever thread asks.

    From version 3.8 on threadpoolctl lets one Python thread control OpenBLAS, the first that has set a limit,
    and ignores all others without a word as long as that lives: then kernels of a run that was begun in
    another one would take all processors each, and round otherwise. Who may set what is our business here.
    """
    clear = getattr(type(library), "clear_controlling_thread", None)
    if clear is not None:
        clear(force=True)
    library.set_num_threads(n)
    if clear is not None:
        clear(force=True)  # others find nobody in control, and may set theirs


_LIMITS = _Limits()


@cache
def _scipy_blas() -> Any | None:
    """Return the threadpoolctl controller of SciPy's BLAS, or None if there is none."""
    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    path = _blas_path()
    for library in libraries:
        if os.path.realpath(library.filepath) == path:
            return library
    # SciPy may be linked to a thin libblas.so that calls the real one: without another it must be that.
    return libraries[0] if len(libraries) == 1 else None


class _DlInfo(ctypes.Structure):
    _fields_ = (
        ("dli_fname", ctypes.c_char_p),
        ("dli_fbase", ctypes.c_void_p),
        ("dli_sname", ctypes.c_char_p),
        ("dli_saddr", ctypes.c_void_p),
    )


@cache
def _blas_path() -> str:
    """Return the file that SciPy's dgemm comes from, asking the dynamic linker; "" if it does not know."""
    module = ctypes.CDLL(cython_blas.__file__)
    linker = ctypes.CDLL(None)
    for name in _BLAS_SYMBOLS:
        # Looks through the libraries that the module is linked to, not through all that are loaded.
        symbol = getattr(module, name, None)
        found = _DlInfo()
        if symbol and linker.dladdr(ctypes.cast(symbol, ctypes.c_void_p), ctypes.byref(found)):
            return os.path.realpath(os.fsdecode(found.dli_fname))
    return ""


def core_type_warning() -> str | None:
    """Tell if OpenBLAS took this processor for a lesser one, which may cost half its speed.

    Returns
    -------
    str or None
        A sentence with the remedy. None if all is well, if somebody has chosen it (OPENBLAS_CORETYPE), and
        where it cannot be known: with other libraries, other processors, other systems than Linux.

    Examples
    --------
    >>> warning = core_type_warning()
    >>> warning is None or "OPENBLAS_CORETYPE" in warning
    True
    """
    info = scipy_blas_info()
    if info.internal_api != "openblas" or info.architecture is None or "OPENBLAS_CORETYPE" in os.environ:
        return None
    return _core_type_warning(info.architecture, _cpu_flags())


def _core_type_warning(architecture: str, flags: frozenset[str]) -> str | None:
    chosen = architecture.lower()
    if flags >= _AVX512_FLAGS and chosen in OLD_CORES | _AVX2_CORES:
        instructions, expected = "AVX-512", "SkylakeX"
    elif "avx2" in flags and chosen in OLD_CORES:
        instructions, expected = "AVX2", "Haswell"
    else:
        return None
    return (
        f"OpenBLAS runs its {architecture} kernels, although this processor has {instructions}: "
        f"set OPENBLAS_CORETYPE={expected} before Python starts."
    )


def _cpu_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line for line in lines if line.startswith("flags")), "").split())
