"""compute(report=…) writes a report however the run ends, and read_report has it as an object."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from tests.report.engines import check_report
from tests.report.records import MadeUp
from tests.report.test_html import Parsed, columns
from wrenla.errors import RecordError
from wrenla.report import reporting
from wrenla.report.page import html
from wrenla.report.record import read_record
from wrenla.run.events import Event, TaskStarted

N, T = 60, 20


@pytest.fixture
def A() -> wl.BigMatrix:
    rng = np.random.default_rng(0)
    return wl.from_array(rng.standard_normal((N, N)) + N * np.eye(N), tile=T)


@pytest.fixture(autouse=True)
def temporaries(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder: Path = tmp_path_factory.mktemp("temporaries")
    monkeypatch.setattr(reporting.tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("way", ["compute", "persist", "save", "wl.compute"])
def test_every_way_to_compute_writes_a_report(
    A: wl.BigMatrix, tmp_path: Path, temporaries: Path, way: str
) -> None:
    x, report = A.solve(np.ones(N)), tmp_path / "report.html"
    match way:
        case "compute":
            x.compute(report=report)
        case "persist":
            x.persist(report=str(report))
        case "save":
            x.save(str(tmp_path / "x"), report=report)
        case "wl.compute":
            wl.compute(x, A @ A, report=report)
    text = report.read_text()
    assert "Solution of a system of 60 × 60" in text
    assert "LU with partial pivoting" in text
    assert list(temporaries.iterdir()) == []


def test_report_and_record_at_the_same_time(A: wl.BigMatrix, tmp_path: Path) -> None:
    A.solve(np.ones(N), precision="mixed").compute(report=tmp_path / "r.html", record=tmp_path / "run.jsonl")
    events = read_record(tmp_path / "run.jsonl")
    finished = [event for event in events if event["event"] == "TaskFinished"]
    runs = [event for event in events if event["event"] == "RunStarted"]
    data = Parsed((tmp_path / "r.html").read_text()).data
    assert len(data["runs"]) == len(runs) > 1
    assert sorted(columns(data)["task"]) == sorted(event["task"] for event in finished)


def test_report_and_record_are_two_files(A: wl.BigMatrix, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="are the same file: name two"):
        (A @ A).compute(report=tmp_path / "r.html", record=f"{tmp_path}/./r.html")
    assert list(tmp_path.iterdir()) == []


def test_report_of_a_record_in_a_folder(A: wl.BigMatrix, tmp_path: Path) -> None:
    (A @ A).compute(report=tmp_path / "r.html", record=f"{tmp_path}/records/")
    assert len(list((tmp_path / "records").iterdir())) == 1
    assert len(Parsed((tmp_path / "r.html").read_text()).data["runs"]) == 1


def test_a_run_that_fails_has_a_report(tmp_path: Path) -> None:
    with pytest.raises(wl.LinAlgError):
        wl.from_array(-np.eye(N), tile=T).cholesky().compute(report=tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert 'data-kind="failed"' in text
    assert "NotPositiveDefiniteError" in text


def test_an_interrupted_run_has_a_report(A: wl.BigMatrix, tmp_path: Path) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, TaskStarted) and event.task == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        (A @ A).compute(report=tmp_path / "r.html", callbacks=[interrupt])
    assert "KeyboardInterrupt" in (tmp_path / "r.html").read_text()


def test_what_is_there_already_has_a_report_that_says_so(A: wl.BigMatrix, tmp_path: Path) -> None:
    A.persist().persist(report=tmp_path / "r.html")
    assert "Nothing had to be run" in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize(
    ("bad", "error"),
    [(3, TypeError), (True, TypeError), ("", TypeError), ("file/r.html", RecordError), ("f/", RecordError)],
)
def test_a_bad_place_is_refused_before_the_work_begins(
    A: wl.BigMatrix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: Any, error: type[Exception]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    told: list[Event] = []
    with pytest.raises(error, match="report="):
        (A @ A).compute(report=bad, callbacks=[told.append])
    assert told == []
    page = tmp_path / "page.html"
    page.write_text("mine")
    with pytest.raises(RecordError, match="no report of wrenla, and stays"):
        (A @ A).compute(report=page, callbacks=[told.append])
    assert (told, page.read_text()) == ([], "mine")


def test_a_report_that_cannot_be_made_costs_no_result(
    A: wl.BigMatrix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    replace = os.replace

    def full(name: Any, place: Any, **how: Any) -> None:
        if str(place).endswith(".html"):
            raise OSError(28, "No space left on device")
        replace(name, place, **how)

    monkeypatch.setattr(html.os, "replace", full)
    with caplog.at_level(logging.WARNING, "wrenla.report"):
        assert A.trace().compute(report=tmp_path / "r.html") == pytest.approx(A.compute().trace())
    assert "no report: RecordError: " in caplog.text
    assert "No space left on device" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_cannot_be_read_again_costs_no_result(
    A: wl.BigMatrix, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    A.trace().compute(report=tmp_path / "r.html", record="/dev/null")
    assert "the record /dev/null is no file" in caplog.text


def test_report_of_threads_of_this_process(tmp_path: Path) -> None:
    with wl.LocalExecutor(workers=2, allowed_mem="1 GiB") as executor:
        check_report(executor, tmp_path)


# as an object


def test_text_of_a_report(tmp_path: Path) -> None:
    made = MadeUp().begin().task(0, 0.0).task(1, 0.0, worker="thread 2").end(1.0)
    report = wl.read_report(made.write(tmp_path / "run.jsonl"))
    assert report.bound == "compute"
    assert report.shares["computing"] == pytest.approx(1.0)
    lines = str(report).splitlines()
    assert lines[0] == "100 × 100, float64"
    assert lines[1].startswith("  bound by")
    assert any(line.split() == ["time", "1.00", "s,", "10.00", "s", "predicted"] for line in lines)
    assert any(line.endswith("200 B, 0.98 KiB predicted (at most)") for line in lines), lines
    assert repr(report) == str(report)


@pytest.mark.parametrize("kind", ["timeline", "parallelism", "throughput", "kernels"])
def test_figures_for_papers(tmp_path: Path, kind: Any) -> None:
    figure_module = pytest.importorskip("matplotlib.figure")
    made = (
        MadeUp()
        .begin()
        .task(0, 0.0, read=0.5, write=0.5)
        .task(1, 2.0, make=0.25, compute=0.75, after=0, kernel="potrf", worker="thread 2")
    )
    report = wl.read_report(made.end(3.0).write(tmp_path / "run.jsonl"))
    figure = report.figure(kind)
    figure.savefig(tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").stat().st_size > 5000
    (ax, *_) = figure.axes
    match kind:
        case "timeline":
            drawn = [bars.get_paths() for bars in ax.collections]
            spans = [
                [(path.vertices[:, 0].min(), np.ptp(path.vertices[:, 0])) for path in bars] for bars in drawn
            ]
            assert spans == [
                [(0.0, 0.5)],
                [(2.0, 0.25)],
                [(0.5, 1.0), (2.25, 0.75)],
                [(1.5, 0.5)],
                [(0.0, 2.0), (2.0, 1.0)],
            ]
            assert [label.get_text() for label in ax.get_yticklabels()] == ["worker 1", "worker 2"]
        case "kernels":
            assert [label.get_text() for label in ax.get_xticklabels()] == ["gemm", "potrf"]
        case _:
            assert ax.get_xlim() == (0.0, 3.0)
    mine = figure_module.Figure().subplots()
    assert report.figure(kind, mine) is mine.figure


def test_figures_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = wl.read_report(MadeUp().begin().end(1.0).write(tmp_path / "run.jsonl"))
    with pytest.raises(ValueError, match="figure\\('gantt'\\): there are 'timeline'"):
        report.figure("gantt")  # type: ignore[arg-type]
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="wrenla\\[plot\\]"):
        report.figure()


def test_bad_records_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text(json.dumps({"a": 1}))
    whole = MadeUp().begin().task(0, 0.0).end(1.0).write(tmp_path / "run.jsonl").read_text()
    for number, (there, instead) in enumerate(
        [('"time":', '"when":'), ('"run": "r"', '"ran": 1'), ('"read_seconds": 0.0', '"read_seconds": "a"')]
    ):
        damaged = tmp_path / f"{number}.jsonl"
        damaged.write_text(whole.replace(there, instead))
        for read in (wl.read_report, wl.write_report):
            with pytest.raises(RecordError, match="damaged: an event in it is not whole"):
                read(damaged)  # type: ignore[operator]
    for read in (wl.read_report, wl.write_report):
        with pytest.raises(RecordError, match="is no record of a run"):
            read(tmp_path / "bad")  # type: ignore[operator]
