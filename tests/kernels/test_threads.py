"""Threads of SciPy's BLAS: limited, restored, and nobody else's."""

import threading

import pytest
from threadpoolctl import ThreadpoolController

from wrenla_kernels import blas_threads, core_type_warning, scipy_blas_info
from wrenla_kernels.threads import _core_type_warning

AVX512 = frozenset({"avx2", "avx512f", "avx512dq", "avx512bw", "avx512vl"})


def threads_of_all():
    return {library.filepath: library.num_threads for library in ThreadpoolController().lib_controllers}


@pytest.fixture(autouse=True)
def before():
    """Skip where threads cannot be set, and see that every test leaves all numbers as they were."""
    if scipy_blas_info().internal_api == "unknown":
        pytest.skip("the threads of this BLAS cannot be set")
    with blas_threads(2):  # tests have one thread otherwise
        numbers = threads_of_all()
        assert numbers[scipy_blas_info().filepath] == 2
        yield numbers
        assert threads_of_all() == numbers


def test_only_scipys_library_is_limited(before):
    mine = scipy_blas_info().filepath
    others = {path: number for path, number in before.items() if path != mine}
    with blas_threads(1):
        during = threads_of_all()
    assert during.pop(mine) == 1
    assert during == others


def test_the_innermost_block_decides():
    with blas_threads(2):
        with blas_threads(1):
            assert scipy_blas_info().threads == 1
        assert scipy_blas_info().threads == 2


def test_an_error_restores():
    with pytest.raises(KeyError), blas_threads(1):
        raise KeyError


def test_blocks_that_overlap_in_threads():
    first_in, second_in, first_out = threading.Event(), threading.Event(), threading.Event()
    seen = []

    def first():
        with blas_threads(1):
            first_in.set()
            second_in.wait()
        first_out.set()

    worker = threading.Thread(target=first)
    worker.start()
    first_in.wait()
    with blas_threads(2):
        second_in.set()
        first_out.wait()
        seen.append(scipy_blas_info().threads)
    worker.join()
    assert seen == [2]


def test_a_block_holds_in_whichever_thread_it_is():
    """From 3.8 on threadpoolctl lets only the first thread that has set a limit set another."""
    with blas_threads(1):
        assert scipy_blas_info().threads == 1
    seen = []

    def work():
        for count in (1, 2):
            with blas_threads(count):
                seen.append(scipy_blas_info().threads)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert seen == [1, 2]
    with blas_threads(1):
        assert scipy_blas_info().threads == 1


def test_others_may_limit_threads_after_us():
    """Also in other threads, as scikit-learn does."""
    with blas_threads(1):
        pass
    (library,) = [
        each
        for each in ThreadpoolController().select(user_api="blas").lib_controllers
        if each.filepath == scipy_blas_info().filepath
    ]
    seen = []

    def work():
        with ThreadpoolController().limit(limits=1, user_api="blas"):
            seen.append(library.get_num_threads())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert seen == [1]


def test_many_blocks_at_once():
    def work():
        for n in range(200):
            with blas_threads(1 + n % 2):
                pass

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def test_no_threads_are_too_few():
    with pytest.raises(ValueError, match="at least one"), blas_threads(0):
        pass


def test_info_names_the_library():
    info = scipy_blas_info()
    assert info.filepath in threads_of_all()
    assert info.threads >= 1


@pytest.mark.parametrize(
    ("architecture", "flags", "expected"),
    [
        ("Haswell", AVX512, "SkylakeX"),
        ("Zen", AVX512, "SkylakeX"),
        ("Nehalem", AVX512, "SkylakeX"),
        ("Nehalem", frozenset({"avx2"}), "Haswell"),
        ("Sandybridge", frozenset({"avx", "avx2"}), "Haswell"),
        ("SkylakeX", AVX512, None),
        ("SapphireRapids", AVX512, None),
        ("Haswell", AVX512 - {"avx512vl"}, None),
        ("Zen", frozenset({"avx2"}), None),
        ("Nehalem", frozenset({"sse4_2"}), None),
        ("neoversen1", frozenset(), None),
    ],
)
def test_lesser_core_types_are_told(architecture, flags, expected):
    warning = _core_type_warning(architecture, flags)
    if expected is None:
        assert warning is None
    else:
        assert warning is not None
        assert f"OPENBLAS_CORETYPE={expected}" in warning
        assert architecture in warning


def test_this_machine_gets_a_sentence_or_nothing():
    assert core_type_warning() is None or "OPENBLAS_CORETYPE" in core_type_warning()
