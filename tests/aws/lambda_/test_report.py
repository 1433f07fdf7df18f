"""A report of a run on Lambda: tasks by environment, their memory, what they cost."""

from __future__ import annotations

from pathlib import Path

import wrenla as wl
from tests.report.engines import check_report


def test_report_of_a_run_on_lambda(executor: wl.LambdaExecutor, tmp_path: Path) -> None:
    check_report(executor, tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert "<dt>cost</dt><dd>$0.0" in text
