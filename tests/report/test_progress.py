"""What a run shows: a bar on a terminal, lines elsewhere, nothing when piped unless asked."""

from __future__ import annotations

import io
import os
import pty
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rich.console import Console

import wrenla as wl
from tests.waiting import until
from wrenla.planning.cost_model import ExecutorModel
from wrenla.planning.plan import Plan, make_plan
from wrenla.progress_bar import pictures as showing
from wrenla.report import progress
from wrenla.report.progress import progress_listener
from wrenla.run.events import (
    Event,
    Listener,
    RunFinished,
    RunStarted,
    TaskFinished,
    TaskRetried,
    TaskStarted,
    Totals,
    WaveStarted,
)
from wrenla_handler.tiles.worker import Report

SHOW_CURSOR = "\x1b[?25h"
HIDE_CURSOR = "\x1b[?25l"


def screen(terminal: bool = True) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=terminal, width=100, legacy_windows=False), out


def started(tasks: int = 120, todo: int = 120, flops: float = 1.2e11) -> RunStarted:
    return RunStarted("run", tasks, todo, 5, flops, 2, time.time())


def finished(error: str = "") -> RunFinished:
    return RunFinished("run", 2.0, error, Totals(), time.time())


def tasks_done(count: int, flops: float = 1e9) -> Iterator[Event]:
    for p in range(count):
        yield TaskStarted(p, "gemm", 1, time.time())
        yield TaskFinished(p, "gemm", flops, Report(bytes_read=1 << 20, bytes_written=1 << 19), time.time())


def tell(listener: Listener | None, *events: Event) -> None:
    assert listener is not None
    for event in events:
        listener(event)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "wrenla-progress"]


def test_bar_on_a_terminal() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, color_system="standard")
    with progress_listener(True, console) as listener:
        tell(listener, started(), WaveStarted(0, 3, 0.0), *tasks_done(120), finished())
    text = out.getvalue()
    assert "\x1b[32m━" in text, "with few colours, too, it looks full"
    assert "120/120 tasks, in 2.00 s, 60 GFLOP/s, 120 MiB read, 60 MiB written" in text
    assert text.count(HIDE_CURSOR) == text.count(SHOW_CURSOR) == 1
    assert text.endswith(SHOW_CURSOR)


def test_bar_moves_while_the_run_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(showing, "_BAR_EVERY", 0.01)
    console, out = screen()
    with progress_listener(True, console) as listener:
        tell(listener, started(), *tasks_done(60))
        deadline = time.monotonic() + 10
        while "60/120 tasks" not in out.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert re.search(r"60/120 tasks, \d+:\d\d left", out.getvalue())
        tell(listener, finished())


def test_lines_without_a_terminal() -> None:
    console, out = screen(terminal=False)
    with progress_listener(True, console) as listener:
        tell(listener, started(), *tasks_done(120), finished())
    assert out.getvalue().splitlines() == [
        "wrenla: 120 tasks on 2 workers, 120 GFLOP in all",
        "wrenla: 120/120 tasks, in 2.00 s, 60 GFLOP/s, 120 MiB read, 60 MiB written",
    ]


def test_lines_come_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(showing, "_LINES_EVERY", 0.02)
    console, out = screen(terminal=False)
    with progress_listener(True, console) as listener:
        tell(listener, started(), *tasks_done(3))
        deadline = time.monotonic() + 10
        while out.getvalue().count("3/120 tasks") < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        tell(listener, finished())
    assert out.getvalue().count("3/120 tasks") >= 2


def test_dumb_terminals_get_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    console, out = screen()
    with progress_listener(True, console) as listener:
        tell(listener, started(), finished())
    assert "\x1b" not in out.getvalue()
    assert "120 tasks" in out.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_false_shows_nothing(terminal: bool) -> None:
    console, out = screen(terminal)
    with progress_listener(False, console) as listener:
        assert listener is None
    assert out.getvalue() == ""


def test_unasked_nothing_without_a_terminal() -> None:
    console, out = screen(terminal=False)
    with progress_listener(None, console) as listener:
        assert listener is None
    assert out.getvalue() == ""


def test_unasked_nothing_for_a_short_run() -> None:
    console, out = screen()
    with progress_listener(None, console) as listener:
        tell(listener, started(), *tasks_done(120), finished())
    assert out.getvalue() == ""


def test_unasked_a_bar_for_a_long_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(showing, "_PATIENCE", 0.01)
    console, out = screen()
    with progress_listener(None, console) as listener:
        tell(listener, started())
        deadline = time.monotonic() + 10
        while not out.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
        tell(listener, *tasks_done(120), finished())
    assert "120/120 tasks" in out.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_a_resumed_run_says_so(terminal: bool) -> None:
    console, out = screen(terminal)
    with progress_listener(True, console) as listener:
        tell(listener, started(todo=86), *tasks_done(86), finished())
    text = out.getvalue()
    assert "resuming: 34 of 120 tiles are there already" in text
    assert "120/120 tasks" in text


@pytest.mark.parametrize("terminal", [True, False])
def test_retries_are_shown(terminal: bool) -> None:
    console, out = screen(terminal)
    retry = TaskRetried(7, 1, "TransientStoreError: s3://bucket: slow down\nand more", 0.2, 0.0)
    with progress_listener(True, console) as listener:
        tell(listener, started(), retry, retry, retry, *tasks_done(120), finished())
    assert "tried again 3 times, last after TransientStoreError: s3://bucket: slow down" in out.getvalue()
    assert "and more" not in out.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_a_failure_ends_the_picture(terminal: bool) -> None:
    console, out = screen(terminal)
    with progress_listener(True, console) as listener:
        tell(listener, started(), *tasks_done(5), finished("NotPositiveDefiniteError: minor 3"))
    text = out.getvalue()
    assert "5/120 tasks, failed after 2.00 s" in text
    assert "NotPositiveDefiniteError: minor 3" in text
    assert not terminal or text.endswith(SHOW_CURSOR)


def test_the_bar_ends_if_the_run_never_says_that_it_did() -> None:
    console, out = screen()

    def interrupted() -> None:
        with progress_listener(True, console) as listener:
            tell(listener, started(), *tasks_done(5))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert out.getvalue().endswith(SHOW_CURSOR)


def test_runs_of_one_evaluation_have_one_picture() -> None:
    console, out = screen(terminal=False)
    with progress_listener(True, console) as listener:
        tell(listener, started(), *tasks_done(120), finished(), started(todo=20), *tasks_done(20), finished())
    first, *notes, last = out.getvalue().splitlines()
    assert first.startswith("wrenla: 120 tasks")
    assert "resuming: 100 of 240 tiles" in "".join(notes)
    assert last.startswith("wrenla: 240/240 tasks, in 4.00 s")


def test_tasks_of_an_attempt_that_was_given_up_are_not_waited_for() -> None:
    console, out = screen(terminal=False)
    with progress_listener(True, console) as listener:
        tell(listener, started(), TaskStarted(119, "potrf", 1, 0.0), *tasks_done(5), finished("error"))
        tell(listener, started(), *tasks_done(5))
        assert listener._counts.details()[1] == "0 of 2 workers busy"  # type: ignore[union-attr]
        tell(listener, *tasks_done(115), finished())
    assert out.getvalue().splitlines()[-1].startswith("wrenla: 125/125 tasks, in 4.00 s")


def test_a_run_with_nothing_to_do() -> None:
    console, out = screen(terminal=False)
    with progress_listener(True, console) as listener:
        tell(listener, started(tasks=0, todo=0, flops=0.0), finished())
    assert "0/0 tasks, in 2.00 s, 0 B read, 0 B written" in out.getvalue()


def test_a_closed_pipe_does_not_hurt_the_run() -> None:
    console, out = screen(terminal=False)
    out.close()
    with progress_listener(True, console) as listener:
        tell(listener, started(), *tasks_done(120), finished())


def test_an_event_costs_less_than_20_microseconds() -> None:
    console, _ = screen()
    events = list(tasks_done(20_000))
    with progress_listener(True, console) as listener:
        tell(listener, started(tasks=20_000, todo=20_000))
        began = time.thread_time()  # what others do meanwhile does not count
        tell(listener, *events)
        seconds = time.thread_time() - began
        tell(listener, finished())
    assert seconds / len(events) < 20e-6


@pytest.mark.parametrize(
    ("n", "text"),
    [(0, "0 B"), (999, "999 B"), (1023, "0.999 KiB"), (5 << 30, "5 GiB"), (3 << 50, "3 PiB")],
)
def test_bytes_are_short(n: int, text: str) -> None:
    assert progress._bytes(n) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0:00"), (59.7, "1:00"), (61, "1:01"), (7384, "2:03:04")]
)
def test_clock(seconds: float, text: str) -> None:
    assert showing.clock(seconds) == text


def test_lines_of_a_real_run(capsys: pytest.CaptureFixture[str]) -> None:
    wl.random((200, 200), tile=64).gram().shift(1.0).cholesky().compute(progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "wrenla: 20 tasks on" in captured.err
    assert "20/20 tasks, in" in captured.err


def test_nothing_of_a_real_run_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    wl.eye(4).cholesky().compute()
    wl.eye(4).cholesky().compute(progress=False)
    assert capsys.readouterr() == ("", "")


@pytest.mark.process
def test_ctrl_c_gives_the_terminal_back(tmp_path: Path) -> None:
    script = """
        import time
        import numpy as np, wrenla as wl

        def slow(rows, cols):
            time.sleep(0.2)
            return np.ones((len(rows), len(cols)))

        (2 * wl.from_function(slow, (64, 64), tile=2)).persist(progress=True)
    """
    main, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stderr=terminal,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm", "WRENLA_STORE": str(tmp_path), "WRENLA_WORKERS": "2"},
    )
    os.close(terminal)
    try:
        text = b""
        interrupted = False
        while True:
            try:
                chunk = os.read(main, 4096)
            except OSError:  # Linux's way to say that nobody holds the other end any more
                break
            text += chunk
            if not interrupted and re.search(rb"[1-9]/1,024 tasks", text):
                process.send_signal(signal.SIGINT)
                interrupted = True
        assert process.wait(timeout=30) != 0
    finally:
        process.kill()
        process.wait()
        os.close(main)
    shown = text.decode()
    assert "KeyboardInterrupt" in shown
    assert shown.count(HIDE_CURSOR) == shown.count(SHOW_CURSOR) == 1


class ZMQInteractiveShell:
    """What Jupyter's kernel has; it is known by its name."""


class Cell:
    """What IPython shows below a cell, and changes."""

    def __init__(self) -> None:
        self.shown: list[dict[str, str]] = []
        self.identified = False

    def display(self, what: Any, *, display_id: bool) -> Cell:
        self.identified = display_id
        self.update(what)
        return self

    def update(self, what: Any) -> None:
        self.shown.append({"text/plain": repr(what), "text/html": what._repr_html_()})


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    """Make this process a notebook's kernel."""
    kernel, displaying, made = ModuleType("IPython"), ModuleType("IPython.display"), Cell()
    kernel.get_ipython = ZMQInteractiveShell  # type: ignore[attr-defined]
    displaying.display = made.display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    monkeypatch.setitem(sys.modules, "IPython.display", displaying)
    return made


def test_a_notebook_has_a_bar_that_changes(
    cell: Cell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_listener(None) as listener:  # what is short leaves nothing below its cell
        tell(listener, started(), *tasks_done(120), finished())
    assert cell.shown == []
    monkeypatch.setattr(showing, "_PATIENCE_OF_NOTEBOOKS", 0.01)
    monkeypatch.setattr(showing, "_NOTEBOOKS_EVERY", 0.01)
    with progress_listener(None) as listener:
        tell(listener, started(), *tasks_done(3))
        assert until(lambda: any("3/120 tasks" in each["text/plain"] for each in list(cell.shown)))
        tell(listener, TaskRetried(4, 1, "Lost: <b>", 0.1, 0.0), *tasks_done(117), finished())
    assert cell.identified
    assert '<progress max="120" value="3"' in next(
        each["text/html"] for each in cell.shown if "3/120 tasks" in each["text/plain"]
    )
    last = cell.shown[-1]
    assert last["text/plain"].startswith("wrenla: 120/120 tasks, in 2.00 s")
    assert '<progress max="120" value="120"' in last["text/html"]
    assert all("<b>" not in each["text/html"] for each in cell.shown)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys, "stderr", None)
    with progress_listener(True) as listener:
        assert listener is None


def a_plan(A: wl.BigMatrix | None = None, **model: float) -> Plan:
    node = (wl.random((400, 400), tile=100).gram() if A is None else A)._node
    return make_plan([node], replace(ExecutorModel(2, 1e9, 1e9, 0.0, 60.0, 1 << 40), **model))[0]


def begun(plan: Plan) -> RunStarted:
    return RunStarted("run", plan.tasks, plan.tasks, plan.waves, plan.flops, 2, time.time(), plan)


def test_second_line_tells_wave_workers_kernels_and_dollars() -> None:
    plan = a_plan(dollars_per_second=0.1)
    console, out = screen()
    with progress_listener(True, console) as listener:
        tell(listener, begun(plan))
        for p in range(6):
            tell(listener, TaskStarted(p, "syrk", 1, time.time(), 2))
        for p in range(4):
            tell(listener, TaskFinished(p, "syrk", 1e6, Report(compute_seconds=2.0), time.time()))
        deadline = time.monotonic() + 10
        wanted = f"wave 3 of {plan.waves}, 2 of 2 workers busy, $0.80 so far, syrk 4/4"
        while wanted not in out.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert wanted in out.getvalue()
        tell(listener, TaskRetried(4, 1, "Lost: it", 0.1, 0.0), finished())
    assert "about $0.8" in out.getvalue()


def test_waves_of_a_resumed_run_are_counted_as_in_the_plan() -> None:
    plan = a_plan(wl.random((400, 400), tile=100).gram().cholesky())
    assert plan.waves > 3
    console, out = screen(terminal=False)
    with progress_listener(True, console) as listener:
        left = RunStarted("run", plan.tasks, 1, 1, plan.flops, 1, time.time(), plan)  # of one wave only
        tell(listener, left, TaskStarted(plan.tasks - 1, "syrk", 1, time.time(), plan.waves - 1))
        assert listener is not None
        deadline = time.monotonic() + 10
        while f"wave {plan.waves} of {plan.waves}" not in out.getvalue() and time.monotonic() < deadline:
            time.sleep(0.05)
    assert f"wave {plan.waves} of {plan.waves}, 1 of 1 worker busy" in out.getvalue()
    assert "1 task on 1 worker," in out.getvalue()


def test_time_left_is_the_plans_and_then_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = a_plan()
    counts = progress._Counts(begun(plan))
    now = counts.began
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    assert counts.seconds_left == pytest.approx(plan.seconds_at_once)
    heavy = int(plan.graph.seconds.argmax())
    counts.task_ends(TaskFinished(heavy, "gemm", 1.0, Report(), 0.0))
    share = float(plan.graph.seconds[heavy]) / plan.work
    now += 10.0
    assert counts.seconds_left == pytest.approx(10.0 * (1 - share) / share)  # not by the number of tasks


def test_rate_of_now_is_that_of_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = progress._Counts(begun(a_plan()))
    now = counts.began
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    for _ in range(40):
        now += 1.0
        counts.flops += 1e9
        counts.words()
    for _ in range(6):
        now += 1.0
        counts.flops += 5e9
        counts.words()
    assert counts._lately()[0] == pytest.approx(5e9)
    assert "5 GFLOP/s (mean 1.52 GFLOP/s)" in ", ".join(counts.words())
