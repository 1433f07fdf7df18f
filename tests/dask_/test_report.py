"""A report of a run on a Dask cluster: tasks by worker, and the memory of its processes."""

from __future__ import annotations

from pathlib import Path

import wrenla as wl
from tests.report.engines import check_report


def test_report_of_a_run_on_dask(executor: wl.DaskExecutor, tmp_path: Path) -> None:
    check_report(executor, tmp_path)
