"""Measured rates in the cache folder: measured once, and again where the file does not count."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy

import wrenla as wl
from tests.rates import RATES
from wrenla.executors import measured
from wrenla.executors.measured import function_rates, keep_function_rates, measured_rates
from wrenla_handler.errors import ThreadLimitError
from wrenla_handler.rates import Rates
from wrenla_kernels import scipy_blas_info


class Measure:
    """Stands in for a measurement, and counts."""

    def __init__(self, rates: Rates = RATES) -> None:
        self.calls: list[tuple[str, int, int, int]] = []
        self.rates = rates

    def __call__(self, store: str, workers: int, threads: int, memory: int) -> Rates:
        self.calls.append((store, workers, threads, memory))
        return self.rates


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder of our own, and nothing known."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(measured, "processors", lambda: 8)
    forget()
    yield tmp_path / "cache" / "wrenla"
    forget()


def forget() -> None:
    """Be another process."""
    measured._known.clear()
    measured._software.cache_clear()
    measured._key.cache_clear()


def files(cache: Path) -> list[Path]:
    return sorted(cache.glob("rates-*"))


def test_a_machine_is_measured_once(cache: Path, tmp_path: Path) -> None:
    measure = Measure()
    assert measured_rates(str(tmp_path), 2, 1, 1 << 30, measure) == RATES
    assert measured_rates(str(tmp_path), 2, 1, 1 << 30, measure) == RATES
    forget()
    assert measured_rates(str(tmp_path), 2, 1, 1 << 30, measure) == RATES
    assert measure.calls == [(str(tmp_path), 2, 1, 64 << 20)]
    (file,) = files(cache)
    assert file.name.startswith("rates-")


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "\0" * len(text),
        lambda text: "[]",
        lambda text: '{"key": {}, "rates": {}}',
        lambda text: text.replace('"rates"', '"other"'),
        lambda text: json.dumps({**json.loads(text), "key": "of another machine"}),
        lambda text: json.dumps({**json.loads(text), "rates": {**RATES.plain(), "read": -1}}),
        lambda text: json.dumps({**json.loads(text), "rates": {**RATES.plain(), "read": 10**400}}),
        lambda text: "[" * 100_000,
    ],
    ids=["empty", "cut", "zeros", "list", "keyless", "no rates", "foreign", "negative", "huge", "deep"],
)
def test_a_damaged_or_foreign_file_is_measured_anew(
    damage: Callable[[str], str], cache: Path, tmp_path: Path
) -> None:
    measure = Measure()
    measured_rates(str(tmp_path), 2, 1, 1 << 30, measure)
    (file,) = files(cache)
    whole = file.read_text()
    file.write_text(damage(whole))
    forget()
    assert measured_rates(str(tmp_path), 2, 1, 1 << 30, measure) == RATES
    assert len(measure.calls) == 2
    assert file.read_text() == whole


def test_rates_of_a_busy_machine_are_kept_for_minutes(cache: Path, tmp_path: Path) -> None:
    busy = replace(RATES, mine=0.5)
    measure = Measure(busy)
    for _ in range(2):
        assert measured_rates(str(tmp_path), 2, 1, 1 << 30, measure) == busy
        forget()
    assert len(measure.calls) == 1
    (file,) = files(cache)
    for age in (3600, -3600):  # the clock may have been put back
        os.utime(file, (time.time() - age,) * 2)
        assert measured_rates(str(tmp_path), 2, 1, 1 << 30, measure) == busy
        forget()
    assert len(measure.calls) == 3
    os.utime(file, (0, 0))
    measure.rates = RATES
    measured_rates(str(tmp_path), 2, 1, 1 << 30, measure)
    os.utime(file, (0, 0))
    forget()
    assert measured_rates(str(tmp_path), 2, 1, 1 << 30, measure) == RATES
    assert len(measure.calls) == 4


def test_what_rates_depend_on_is_measured_apart(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = Measure()
    changes: list[Callable[[], object]] = [
        lambda: None,
        lambda: monkeypatch.setattr(measured, "_processor", lambda: "another one"),
        lambda: monkeypatch.setattr(measured, "_FORMAT", 0),
        lambda: monkeypatch.setattr(np, "__version__", "0.1"),
        lambda: monkeypatch.setattr(scipy, "__version__", "0.1"),
        lambda: monkeypatch.setattr(measured, "processors", lambda: 4),
        lambda: monkeypatch.setattr(measured, "device_of", lambda store: 7),
    ]
    for number, change in enumerate(changes, 1):
        change()
        forget()
        for _ in range(2):
            measured_rates(str(tmp_path), 2, 1, 1 << 30, measure)
        assert len(measure.calls) == number
    measured_rates(str(tmp_path), 1, 1, 1 << 30, measure)
    measured_rates(str(tmp_path), 2, 2, 1 << 30, measure)
    measured_rates(str(tmp_path), 2, 2, 4 << 30, measure)
    assert len(files(cache)) == len(measure.calls) == len(changes) + 3


def test_the_core_type_of_blas_is_part_of_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure, info = Measure(), scipy_blas_info()
    for core in ("SkylakeX", "Haswell", "SkylakeX"):
        monkeypatch.setattr(
            measured, "scipy_blas_info", lambda core=core: type(info)("", "0.3", "openblas", core, 1)
        )
        forget()
        measured_rates(str(tmp_path), 2, 1, 1 << 30, measure)
    assert len(measure.calls) == 2


def test_workers_beyond_the_processors_share_them(tmp_path: Path) -> None:
    measure = Measure()
    assert measured_rates(str(tmp_path), 16, 1, 1 << 30, measure) == RATES.shared(2)
    assert measured_rates(str(tmp_path), 8, 1, 1 << 30, measure) == RATES
    assert measured_rates(str(tmp_path), 4, 4, 1 << 30, measure) == RATES.shared(2)
    assert [call[1:3] for call in measure.calls] == [(8, 1), (2, 4)]


@pytest.mark.parametrize("place", ["a file", "/dev/null/nowhere"])
def test_a_cache_folder_that_cannot_be_written_to_is_no_error(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / place) if place == "a file" else place)
    measure = Measure()
    for _ in range(2):
        assert measured_rates(str(tmp_path), 2, 1, 1 << 30, measure) == RATES
    assert len(measure.calls) == 1


@pytest.mark.parametrize("error", [ThreadLimitError("none left"), MemoryError()])
def test_no_threads_or_memory_no_rates(error: Exception, tmp_path: Path) -> None:
    def measure(store: str, workers: int, threads: int, memory: int) -> Rates:
        raise error

    assert measured_rates(str(tmp_path), 2, 1, 1 << 30, measure) is None


def test_threads_that_ask_at_once_measure_once(tmp_path: Path) -> None:
    measure, ready = Measure(), threading.Barrier(4)

    def ask() -> None:
        ready.wait(10)
        assert measured_rates(str(tmp_path), 2, 1, 1 << 30, measure) == RATES

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(measure.calls) == 1


_PROCESS = """
import sys
from tests.rates import RATES
from wrenla.executors.measured import measured_rates
def measure(*_):
    print("ready", flush=True)
    sys.stdin.readline()
    return RATES.at_store(float(sys.argv[1]), 1.0)
print(measured_rates(sys.argv[2], 1, 1, 1 << 30, measure).read)
"""


def test_of_two_processes_the_second_waits_for_what_the_first_finds(cache: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    processes = list[subprocess.Popen[str]]()
    try:
        for number in (1, 2):
            arguments = [sys.executable, "-c", _PROCESS, str(number), str(tmp_path)]
            pipe = subprocess.PIPE
            process = subprocess.Popen(arguments, stdin=pipe, stdout=pipe, text=True, env=environment)
            processes.append(process)
            if number == 1:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
        first, second = processes
        time.sleep(0.2)
        assert second.poll() is None
        assert [each.communicate("\n", timeout=60)[0] for each in (first, second)] == ["1.0\n", "1.0\n"]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_nobody_waits_long_for_another_process(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "_PATIENCE", 0.1)
    cache.mkdir(parents=True)
    with open(cache / "rates.lock", "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert measured_rates(str(tmp_path), 2, 1, 1 << 30, Measure()) == RATES


def test_rates_of_functions_are_kept_by_memory(cache: Path) -> None:
    arn = "arn:aws:lambda:us-east-1:123456789012:function:wrenla"
    assert function_rates(arn, 1769) is None
    keep_function_rates(arn, 1769, RATES)
    assert function_rates(arn, 1769) == RATES
    assert function_rates(arn, 2048) is None


# executors


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Measure:
    """Counts measurements, which are turned on."""
    measure = Measure()

    def measured_here(store: str, workers: int, threads: int, allowed: int) -> Rates | None:
        return measured_rates(store, workers, threads, allowed, measure)

    monkeypatch.setattr("wrenla.executors.local.executor.measured_rates", measured_here)
    monkeypatch.setenv("WRENLA_MEASURE", "true")
    return measure


def test_plans_and_runs_measure_once_and_choices_never(counted: Measure) -> None:
    with wl.LocalExecutor(workers=2) as executor:
        A = wl.random((40, 40), seed=1)  # tiles are chosen
        assert executor.model.rates is None
        assert counted.calls == []
        assert wl.plan(A @ A, executor=executor).model.rates == RATES
        (A @ A).compute(executor)
        assert wl.plan(A.cholesky(), executor=executor).seconds > 0
    assert len(counted.calls) == 1


def test_a_run_follows_the_plan_that_was_shown(counted: Measure, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the same one: nothing is planned twice."""
    with wl.LocalExecutor(workers=2) as executor:
        A = wl.random((40, 40), tile=10, seed=1)
        wl.plan(A @ A, executor=executor)
        monkeypatch.setattr("wrenla.planning.plan.choose_cut", lambda *_: pytest.fail("planned again"))
        (A @ A).compute(executor)


def test_measuring_can_be_turned_off(counted: Measure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRENLA_MEASURE", "off")
    with wl.LocalExecutor(workers=2) as executor:
        assert executor.measured() == executor.model
        assert "not measured: 60 GFLOP/s" in str(executor.measured())
    assert counted.calls == []


def test_a_model_shows_its_rates(counted: Measure) -> None:
    with wl.LocalExecutor(workers=2) as executor:
        text = str(executor.measured())
    assert text.startswith("2 workers, each of them as measured beside the others:\n")
    assert "  gemm        10 GFLOP/s    10\n" in text
    assert "  task        0.1 ms" in text


def test_import_measures_nothing(cache: Path, tmp_path: Path) -> None:
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "WRENLA_MEASURE": "true", "PYTHONPATH": path}
    script = "import wrenla, wrenla.linalg, wrenla.matrices.matrix; A = wrenla.eye(4); print(A.shape)"
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, timeout=60)
    assert not cache.exists()
