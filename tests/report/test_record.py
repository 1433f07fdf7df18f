"""A record has what happened, event by event, and survives what a run does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla.errors import RecordError, SettingError
from wrenla.report.record import VERSION, read_record, recording
from wrenla.run.events import Event, TaskFinished, TaskStarted

N, T = 60, 20


@pytest.fixture
def A() -> wl.BigMatrix:
    rng = np.random.default_rng(0)
    return wl.from_array(rng.standard_normal((N, N)) + N * np.eye(N), tile=T)


def named(events: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == name]


def test_record_has_every_event_with_all_fields(A: wl.BigMatrix, tmp_path: Path) -> None:
    told: list[Event] = []
    A.solve(np.ones(N)).compute(record=tmp_path / "run.jsonl", callbacks=[told.append])
    events = read_record(tmp_path / "run.jsonl")
    assert [event["event"] for event in events] == [
        *(type(event).__name__ for event in told),
        "RecordFinished",
    ]
    assert events.pop()["error"] == ""
    assert [event["time"] for event in events] == [event.time for event in told]
    (started,), (solved,) = named(events, "RunStarted"), named(events, "Solved")
    plan = started["plan"]
    assert (started["tasks"], plan["tasks"], plan["workers"]) == (
        plan["tasks"],
        len(named(events, "TaskFinished")),
        started["workers"],
    )
    assert sum(plan["tasks_by_wave"]) == plan["tasks"]
    assert "LocalExecutor" in started["executor"]
    assert (solved["kind"], solved["report"]["shape"]) == ("SolveReport", [N, N])
    for line, event in zip(named(events, "TaskFinished"), filter(_is_finished, told), strict=True):
        assert isinstance(event, TaskFinished)
        assert (line["task"], line["flops"]) == (event.task, event.flops)
        assert line["report"]["began"] == event.report.began
        assert line["report"]["worker"] == event.report.worker
    for line, event in zip(named(events, "TaskStarted"), filter(_is_started, told), strict=True):
        assert isinstance(event, TaskStarted)
        assert (line["after"], line["wave"], tuple(line["tile"])) == (event.after, event.wave, event.tile)


def test_tasks_that_nobody_needs_are_not_told_as_there(tmp_path: Path) -> None:
    B = wl.from_array(np.random.default_rng(0).random((4 * N, 4 * N)), tile=N)
    wl.linalg.slogdet(B).logabsdet.compute(record=tmp_path / "run.jsonl")
    runs = named(read_record(tmp_path / "run.jsonl"), "RunStarted")
    assert runs[0]["plan"]["tasks"] > runs[0]["todo"], "there are none: take another example"
    assert [run["tasks"] for run in runs] == [run["todo"] for run in runs]
    assert str(wl.read_report(tmp_path / "run.jsonl")).startswith("A number, float64, from 240 × 240")


def _is_finished(event: Event) -> bool:
    return isinstance(event, TaskFinished)


def _is_started(event: Event) -> bool:
    return isinstance(event, TaskStarted)


def test_every_run_of_an_evaluation_is_in_one_record(A: wl.BigMatrix, tmp_path: Path) -> None:
    x = A.solve(np.ones(N), precision="mixed")
    x.compute(record=tmp_path / "run.jsonl")
    events = read_record(tmp_path / "run.jsonl")
    assert len(named(events, "RunStarted")) == len(named(events, "RunFinished")) > 1
    assert len(named(events, "Solved")) == 1


@pytest.mark.parametrize("way", ["compute", "persist", "save", "wl.compute"])
def test_solutions_are_reported_whatever_becomes_of_them(A: wl.BigMatrix, tmp_path: Path, way: str) -> None:
    x, record = A.solve(np.ones(N)), tmp_path / "run.jsonl"
    match way:
        case "compute":
            x.compute(record=record)
        case "persist":
            x.persist(record=record)
        case "save":
            x.save(str(tmp_path / "x"), record=record)
        case "wl.compute":
            wl.compute(x, A @ A, record=record)
    assert len(named(read_record(record), "Solved")) == 1


def test_setting_names_a_folder_for_records(
    A: wl.BigMatrix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRENLA_RECORD", f"{tmp_path}/records/")
    (A @ A).compute()
    (A.T @ A).compute()
    files = list((tmp_path / "records").iterdir())
    assert len(files) == 2
    assert all(named(read_record(file), "RunFinished") for file in files)


def test_record_of_failed_run_says_why(tmp_path: Path) -> None:
    singular = wl.from_array(-np.eye(N), tile=T)
    with pytest.raises(wl.LinAlgError):
        singular.cholesky().compute(record=tmp_path / "run.jsonl")
    (finished,) = named(read_record(tmp_path / "run.jsonl"), "RunFinished")
    assert "NotPositiveDefiniteError" in finished["error"]


def test_record_of_an_error_that_is_no_text(tmp_path: Path) -> None:
    def caf(rows: Any, cols: Any) -> Any:
        raise ValueError("no caf\udce9")  # as of a file whose name is no UTF-8

    with pytest.raises(ValueError, match="no caf\udce9"):
        wl.from_function(caf, (N, N), tile=T).gram().compute(record=tmp_path / "run.jsonl")
    (finished,) = named(read_record(tmp_path / "run.jsonl"), "RunFinished")
    assert finished["error"].startswith("ValueError: no caf\\udce9")


def test_record_has_the_notes_of_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRENLA_STORE", f"{tmp_path}/runs")

    def fails(i: Any, j: Any) -> Any:
        if i[0] == 40:
            raise RuntimeError("no data")
        return np.add.outer(i, 1.0 * j)

    with pytest.raises(RuntimeError):
        wl.from_function(fails, (N, N), tile=T).gram().compute(
            record=tmp_path / "run.jsonl", report=tmp_path / "r.html"
        )
    events = read_record(tmp_path / "run.jsonl")
    (finished,) = named(events, "RunFinished")
    assert finished["error"].startswith("RuntimeError: no data\nwhile making rows 40:60")
    assert finished["task"] in {event["task"] for event in named(events, "TaskStarted")}
    page = (tmp_path / "r.html").read_text()
    for text in (
        "wrenla clean --store",
        "to resume: run the same script",
        "in task ",
        "while making rows 40:60",
    ):
        assert text in page
        assert text in events[-1]["error"] or text == "in task "


def test_record_replaces_a_record_only(A: wl.BigMatrix, tmp_path: Path) -> None:
    record = tmp_path / "run.jsonl"
    (A @ A).compute(record=record)
    (A.T @ A).compute(record=record)
    assert len(named(read_record(record), "RunStarted")) == 1
    other = tmp_path / "thesis.tex"
    other.write_text("\\begin{document}")
    with pytest.raises(RecordError, match="no record of wrenla, and stays"):
        (A @ A).compute(record=other)
    assert other.read_text() == "\\begin{document}"


@pytest.mark.process
def test_a_file_takes_one_process_at_a_time(A: wl.BigMatrix, tmp_path: Path) -> None:
    record = tmp_path / "run.jsonl"
    (A @ A).compute(record=record)
    before = record.read_bytes()
    hold = "import fcntl, sys; file = open(sys.argv[1], 'ab'); fcntl.flock(file, fcntl.LOCK_EX); "
    hold += "print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", hold, record], stdin=PIPE, stdout=PIPE) as another:
        assert another.stdout is not None
        assert another.stdout.readline() == b"1\n"
        with pytest.raises(RecordError, match="another evaluation is writing this file"):
            (A @ A).compute(record=record)
        assert record.read_bytes() == before
        another.communicate(b"\n")
    with recording(record) as recorder:
        assert recorder._file is not None
        child = os.dup(recorder._file.fileno())  # as a forked process has it, and keeps it
    try:
        (A @ A).compute(record=record)
    finally:
        os.close(child)


def test_a_file_takes_one_evaluation_at_a_time(A: wl.BigMatrix, tmp_path: Path) -> None:
    record = tmp_path / "run.jsonl"
    with recording(record) as another:
        with pytest.raises(RecordError, match=r"another evaluation is writing.*record='records/'"):
            (A @ A).compute(record=tmp_path / "." / "run.jsonl")
        for _ in range(2):
            (A @ A).compute(record=f"{tmp_path}/records/")
        another(TaskStarted(0, "gemm", 1, 0.0))
    assert [event["event"] for event in read_record(record)] == ["TaskStarted", "RecordFinished"], (
        "it is whole"
    )
    assert len(list((tmp_path / "records").iterdir())) == 2
    (A @ A).compute(record=record)  # one after the other


@pytest.mark.parametrize("option", ["record", "report"])
def test_addresses_are_refused(
    A: wl.BigMatrix, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for where in ("s3://bucket/x.jsonl", Path("s3://bucket/x.jsonl"), "s3://bucket/", "memory://x"):
        with pytest.raises(RecordError, match=r"is an address.*a file of this machine"):
            (A @ A).compute(**{option: where})
    assert list(tmp_path.iterdir()) == []


def test_record_in_a_place_that_cannot_be_written(A: wl.BigMatrix, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match=r"record=.*cannot be written: "):
        (A @ A).compute(record=tmp_path / "file" / "run.jsonl")
    with pytest.raises(SettingError, match="record"):
        (A @ A).compute(record=3)


def test_record_of_a_killed_run_lacks_the_line_that_was_cut(A: wl.BigMatrix, tmp_path: Path) -> None:
    record = tmp_path / "run.jsonl"
    (A @ A).compute(record=record)
    whole = read_record(record)
    record.write_bytes(record.read_bytes()[:-20])
    assert read_record(record) == whole[:-1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no record of a run: make one by"),
        ("{}\n", "is no record"),
        ("[1]\n", "is no record"),
        (
            json.dumps({"event": "wrenla record", "version": VERSION + 1}) + "\n",
            f"this wrenla reads {VERSION}",
        ),
        (json.dumps({"event": "wrenla record", "version": VERSION}) + "\n{}\n", "line 2: damaged"),
        (json.dumps({"event": "wrenla record", "version": VERSION}) + "\n\x00\n", "line 2: damaged"),
    ],
)
def test_bad_records_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad").write_text(text)
    with pytest.raises(RecordError, match=message):
        read_record(tmp_path / "bad")
    with pytest.raises(RecordError, match="No such file"):
        read_record(tmp_path / "none")


def test_full_disk_ends_the_record_and_not_the_run(A: wl.BigMatrix, caplog: pytest.LogCaptureFixture) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    (A @ A).compute(record="/dev/full")
    assert "the record of this run ends here" in caplog.text


@pytest.mark.parametrize("bad", [3, "print", [3], [None]])
def test_callbacks_that_cannot_be_called(A: wl.BigMatrix, bad: Any) -> None:
    with pytest.raises(TypeError, match=r"callbacks=.*functions of one event"):
        A.compute(callbacks=bad)
