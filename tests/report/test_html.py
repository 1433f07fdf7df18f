"""A report is one file that loads nothing, runs only our script, and replaces no file of anybody else."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from tests.report.records import MadeUp
from wrenla.errors import RecordError
from wrenla.report.page import data as page_data
from wrenla.report.page.data import safe_json
from wrenla.report.page.html import page, write_report
from wrenla.report.runs import labels

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&\"'"


class Parsed(HTMLParser):
    """The tags of a page, and the texts of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.ids: dict[str, str] = {}
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.scripts[0])
        return found


def columns(data: dict[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    packed = data["bars"]
    raw = zlib.decompress(base64.b64decode(packed["bytes"]))
    kinds, size = {"f": "<f4", "i": "<i4"}, 4 * packed["rows"]
    return {
        name: np.frombuffer(raw[n * size : (n + 1) * size], kinds[kind])
        for n, (name, kind) in enumerate(packed["columns"])
    }


def small() -> MadeUp:
    made = MadeUp().begin().task(0, 0.0, read=0.5).task(1, 0.0, worker="thread 2", compute=0.5)
    return made.task(2, 1.5, after=0, kernel="potrf", tile=(3, 2, 0)).end(3.0)


def test_page_has_every_task_and_names_its_parts() -> None:
    parsed = Parsed(page(small().solved(3.0).runs()))
    bars = columns(parsed.data)
    assert bars["task"].tolist() == [0, 2, 1]  # those of a lane together
    assert bars["start"].tolist() == pytest.approx([0.0, 1.5, 0.0])
    assert bars["row"].tolist() == [0, 3, 0]
    assert (bars["flags"] & 1).tolist() == [1, 1, 0]  # the critical path
    assert bars["kernel"].tolist() == [0, 1, 0]
    assert parsed.data["kernels"] == ["gemm", "potrf"]
    found = {attributes.get("id") for tag, attributes in parsed.tags if tag == "section"}
    assert found == {
        "bound",
        "plan",
        "workers",
        "parallelism-section",
        "throughput-section",
        "kernels",
        "slow",
        "solutions",
    }
    heads = [tag for tag, _ in parsed.tags if tag == "h1"]
    assert len(heads) == 1


def test_page_loads_nothing_and_runs_its_own_script_only() -> None:
    parsed = Parsed(page(small().runs()))
    loading = [
        (tag, attributes) for tag, attributes in parsed.tags if attributes.keys() & {"src", "href", "srcset"}
    ]
    assert [attributes["href"] for _, attributes in loading] == ["#bound"]
    assert not {tag for tag, _ in parsed.tags} & {"link", "iframe", "img", "object", "embed", "base"}
    (policy,) = [a["content"] for tag, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    digest = base64.b64encode(hashlib.sha256(parsed.scripts[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_texts_from_outside_are_texts() -> None:
    made = MadeUp().begin(executor=EVIL, plan={"title": f"plan for {EVIL}"})
    made.task(0, 0.0, kernel=EVIL, worker=EVIL).fault(1, 1.0, 2.0, EVIL).end(
        3.0, error=f"Error: {EVIL}\n{EVIL}"
    )
    text = page(made.runs())
    parsed = Parsed(text)
    assert len(parsed.scripts) == 2
    assert "img" not in {tag for tag, _ in parsed.tags}
    assert [name for _, attributes in parsed.tags for name in attributes if name.startswith("on")] == []
    assert parsed.data["kernels"] == [EVIL]
    assert text.count("&lt;/script&gt;") >= 4
    solved = MadeUp().begin().end(1.0).solved(1.0, method=EVIL, fallbacks=[EVIL], why=EVIL, shape=[EVIL])
    with pytest.raises(ValueError):
        page(solved.runs())
    solved = MadeUp().begin().end(1.0).solved(1.0, method=EVIL, fallbacks=[EVIL], why=EVIL)
    assert len(Parsed(page(solved.runs())).scripts) == 2


def test_numerical_reports_are_told_in_words() -> None:
    made = MadeUp().begin().end(1.0).solved(1.0, refinements=1, fallbacks=["LU in float32: it stalled"])
    text = page(made.solved(1.0, columns=3, growth=None, rcond=None).runs())
    assert "100 × 100, float64, one right-hand side" in text
    assert "100 × 100, float64, 3 right-hand sides" in text
    for words in ("<dd>1 step</dd>", "<dd>none needed</dd>", "<dd>LU in float32: it stalled</dd>"):
        assert words in text
    assert "rcond about 2.5e-07" in text
    assert "rcond about –" in text
    assert text.count("<dt>growth</dt>") == 1


def test_a_run_that_failed_is_not_compared_with_its_plan() -> None:
    ended = page(MadeUp().begin().task(0, 0.0).end(20.0).runs())
    assert '<span class="warn">2.00 ×</span>' in ended
    failed = page(MadeUp().begin().task(0, 0.0).end(20.0, error="LinAlgError: no").runs())
    assert "2.00 ×" not in failed


def test_memory_near_its_limit_is_marked() -> None:
    def of(part: float) -> str:
        return page(
            MadeUp().begin().task(0, 0.0, memory=(50 << 20) + round(part * (200 << 20))).end(9.0).runs()
        )

    assert '<span class="good">70 % of allowed</span>' in of(0.7)
    assert '<span class="warn">90 % of allowed</span>' in of(0.9)


def test_a_run_has_no_limit_of_dollars() -> None:
    made = MadeUp().begin(plan={"dollars": {"compute": 0.1}}).task(0, 0.0).end(1.0, dollars=0.2)
    text = page(made.runs())
    assert re.search(r">\$0\.10</td><td[^>]*>no limit for a run</td><td[^>]*>\$0\.20</td>", text)


def test_json_in_a_script_cannot_end_it() -> None:
    text = safe_json({"a": "</script><!-- & \u2028"})
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"a": "</script><!-- & \u2028"}


@pytest.mark.parametrize(
    "made",
    [
        MadeUp(),
        MadeUp().begin(),
        MadeUp().begin().end(0.0),
        MadeUp().begin(plan={"seconds": 0.0}).task(0, 0.0, compute=0.0, flops=0.0).end(0.0),
        MadeUp().begin().task(0, 0.0, compute=1e-9).end(1e-9),
        MadeUp().begin().fault(0, 0.0, 1.0, "").end(2.0, error="x"),
        MadeUp().begin(workers=1000, memory=0).task(0, 0.0, memory=0, before=0, worker="").end(1.0),
    ],
)
def test_odd_records_have_a_page(made: MadeUp) -> None:
    data = Parsed(page(made.runs())).data
    assert data["seconds"] >= 0.0


def test_many_tasks_share_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_data, "MOST_BARS", 10)
    made = MadeUp().begin()
    for n in range(24):
        made.task(n, float(n // 2), worker=f"thread {n % 2}", memory=n << 20)
    text = page(made.end(12.0).runs())
    bars = columns(Parsed(text).data)
    assert bars["count"].tolist() == [3, 3, 3, 3] * 2
    assert bars["compute"].tolist() == [3.0] * 8
    assert bars["memory"].max() == 23 << 20
    assert "each bar stands for up to 3" in text


def test_a_page_of_100_000_tasks_is_below_10_megabytes() -> None:
    rng = np.random.default_rng(0)
    made, starts = MadeUp().begin(workers=100), np.zeros(100)
    for n, took in enumerate(rng.exponential(1.0, 20_000)):
        made.task(n, float(starts[n % 100]), read=0.1 * took, compute=took, worker=f"p{n % 100}, thread 1")
        starts[n % 100] += 1.1 * took
    text = page(made.end(float(starts.max())).runs())
    fixed = len(page(small().runs()))
    assert fixed < 150_000
    assert fixed + 5 * (len(text) - fixed) < 10_000_000


def test_gaps_are_marked_as_waiting_where_no_task_was_ready() -> None:
    made = MadeUp().begin(workers=2).task(0, 0.0, compute=2.0)
    made.task(1, 2.0, after=0, worker="thread 2")  # it has waited, and thread 1 waits behind its only task
    made.task(2, 4.0, submitted=3.0, after=1, worker="thread 2")  # it was ready, and the thread idle
    made.end(6.0).begin(7.0, workers=2).task(0, 7.0, worker="thread 2")
    bars = columns(Parsed(page(made.end(8.0).runs())).data)
    marks = dict(
        zip(zip(bars["run"].tolist(), bars["task"].tolist(), strict=True), bars["flags"] & 12, strict=True)
    )
    assert marks == {(0, 0): 8, (0, 1): 4, (0, 2): 8, (1, 0): 0}


def test_short_names_of_lanes() -> None:
    assert labels(small().runs()) == ["worker 1", "worker 2"]
    made = MadeUp().begin()
    for n, worker in enumerate(["a, thread 1", "a, thread 2", "b, thread 1"]):
        made.task(n, 0.0, worker=worker)
    assert labels(made.end(1.0).runs()) == ["worker 1.1", "worker 1.2", "worker 2"]


# files


def test_report_of_a_record_stands_beside_it(tmp_path: Path) -> None:
    record = small().write(tmp_path / "run.jsonl")
    assert wl.write_report(record) == tmp_path / "run.html"
    first = (tmp_path / "run.html").read_text()
    assert write_report(str(record), tmp_path / "new" / "report.html").read_text() == first
    wl.read_report(record).save(tmp_path / "run.html")  # over the report that is there
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "run.html", "run.jsonl"]


def test_report_replaces_a_report_only(tmp_path: Path) -> None:
    record = small().write(tmp_path / "run.jsonl")
    other = tmp_path / "thesis.html"
    other.write_text("<!doctype html><title>years of work</title>")
    with pytest.raises(RecordError, match="no report of wrenla, and stays"):
        write_report(record, other)
    with pytest.raises(RecordError, match="no report of wrenla, and stays"):
        write_report(record, record)
    assert "years of work" in other.read_text()
    (tmp_path / "empty").touch()
    assert write_report(record, tmp_path / "empty").stat().st_size > 50_000


@pytest.mark.parametrize("bad", ["file/report.html", ".", "folder/"])
def test_report_in_a_place_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    record = small().write(tmp_path / "run.jsonl")
    with pytest.raises(RecordError, match=r"cannot be written: |is a folder: name a file in it"):
        write_report(record, bad)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "run.jsonl"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_report_in_a_folder_of_somebody_else(tmp_path: Path) -> None:
    record = small().write(tmp_path / "run.jsonl")
    (tmp_path / "theirs").mkdir(mode=0o500)
    with pytest.raises(RecordError, match="Permission denied"):
        write_report(record, tmp_path / "theirs" / "report.html")


def test_licence_of_the_charts_is_in_the_package() -> None:
    folder = Path(page_data.__file__).parent / "assets"
    assert "MIT" in (folder / "uPlot.LICENSE").read_text()
    version = re.search(r"uPlot \(v([\d.]+)\)", (folder / "uPlot.iife.min.js").read_text())
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    assert version is not None
    assert f"UPLOT := {version[1]}\n" in makefile
