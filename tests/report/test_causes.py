"""Rules that say what bounded a run: each on a record that is made up so that it applies."""

from __future__ import annotations

import pytest

from tests.report.records import MadeUp
from wrenla.report.causes import bound, notes
from wrenla.report.page.task_tables import errors_section

MiB = 1 << 20


def busy(
    *, read: float = 0.0, make: float = 0.0, write: float = 0.0, local: bool = True, wide: int = 2
) -> MadeUp:
    """Two workers that are never idle, with tasks that wait for nobody."""
    executor = "LocalExecutor(workers=2)" if local else "LambdaExecutor('wrenla')"
    made = MadeUp().begin(workers=2, executor=executor, memory=50 * MiB if local else 0)
    parts = {"read": read, "make": make, "compute": 1.0 - read - make - write, "write": write}
    for n in range(2 * wide):
        where = {"worker": f"p{n % 2}, thread 1", "after": n - 2 if wide == 2 and n >= 2 else -1}
        made.task(n, float(n // 2), **parts, submitted=float(n // 2), **where)
    return made.end(float(wide))


def chain(*, workers: int = 4, waves: bool = False) -> MadeUp:
    """One task after the other on many workers."""
    made = MadeUp().begin(workers=workers, plan={"seconds": 5.0})
    for n in range(5):
        if waves:
            made.wave(n, float(n))
        made.task(n, float(n), after=n - 1, wave=n)
    return made.end(5.0)


def one_after_the_other(gap: float) -> MadeUp:
    """One worker, and tasks that are ready long before they reach it."""
    made = MadeUp().begin(workers=1, memory=0, executor="DaskExecutor('tcp://…')")
    for n in range(5):
        made.task(n, gap + n * (1.0 + gap), submitted=0.0)
    return made.end(5 * (1.0 + gap))


def ends_with_a_short_task() -> MadeUp:
    """One worker, and six tasks that wait for nobody: 5.04 s of work, the longest takes one second."""
    made = MadeUp().begin(workers=1, plan={"seconds": 5.0})
    for n in range(6):
        made.task(n, float(n), compute=1.0 if n < 5 else 0.04, submitted=0.0)
    return made.end(5.05)


def faulty(error: str) -> MadeUp:
    made = MadeUp().begin(workers=1)
    for n in range(3):
        made.fault(n, 4.0 * n, 4.0 * n + 2.9, error)
        made.task(n, 4.0 * n + 3.0, attempt=2)
    return made.end(12.0)


def cold() -> MadeUp:
    made = MadeUp().begin(workers=2, memory=0, executor="LambdaExecutor('wrenla')")
    for n in (0, 1):
        made.task(n, 5.0, submitted=0.0, worker=f"p{n}, thread 1")
    return made.end(6.0, cold_starts=2)


def refused(cold_starts: int = 0) -> MadeUp:
    """Two workers whose tasks an executor has offered again and again, without a failed attempt."""
    made = MadeUp().begin(workers=2, memory=0, executor="LambdaExecutor('wrenla')")
    for n in range(4):
        made.task(n, 5.0 + n // 2, submitted=0.0, worker=f"p{n % 2}, thread 1")
    return made.end(7.0, throttles=9, backoff=8.0, cold_starts=cold_starts)


def lost() -> MadeUp:
    """Workers that die with their tasks, which are sent again."""
    made = MadeUp().begin(workers=2, memory=0, executor="DaskExecutor(…)")
    for n in range(4):
        made.task(n, 5.0 + n // 2, submitted=0.0, worker=f"p{n % 2}, thread 1")
    return made.end(7.0, retries=2, lost=9.0)


def driver() -> MadeUp:
    return MadeUp().begin(workers=1).task(0, 0.0).end(1.0).begin(4.0, workers=1).task(0, 4.0).end(5.0)


@pytest.mark.parametrize(
    ("made", "kind", "text", "advice"),
    [
        (
            busy(),
            "compute",
            "the 2 workers computed for 100 % of their time",
            "more workers only with smaller",
        ),
        (busy(wide=9), "compute", "computed for 100 %", "There was work for 18 workers"),
        (ends_with_a_short_task(), "compute", "computed for 100 %", "There was work for 5 workers"),
        (busy(wide=9, local=False), "too few workers", "there was work for 18", "Use up to 18 workers"),
        (busy(read=0.7), "reading", "Reading: 70 %", "larger tiles"),
        (busy(read=0.7, local=False), "reading", "Reading: 70 %", "On Lambda more memory"),
        (busy(make=0.7, read=0.1), "making", "Making tiles: 70 %", "save a matrix that is used again"),
        (busy(write=0.7), "writing", "Writing: 70 %", "a faster store"),
        (
            chain(),
            "critical path",
            "5 tasks that follow each other took 5.00 s of 5.00 s",
            "1 worker would do",
        ),
        (chain(workers=1), "compute", "the 1 worker computed", "as it should be"),
        (chain(waves=True), "critical path", "waited for tiles", 'schedule="dataflow"'),
        (one_after_the_other(3.0), "handing over", "half of them take less than 1.00 s", "larger tiles"),
        (
            faulty("TransientStoreError: connection reset"),
            "failures",
            "3 attempts that failed",
            "list of failed",
        ),
        (faulty("TransientStoreError: SlowDown"), "throttling", "before 3 other attempts", "fewer workers"),
        (faulty("Throttled: Rate Exceeded."), "throttling", "refused requests", "the limit raised"),
        (
            refused(),
            "throttling",
            "57 % of the workers' time went to waiting before 9",
            "fewer workers",
        ),
        (refused(cold_starts=2), "throttling", "before 9 other attempts", "the limit raised"),
        (lost(), "failures", "2 messages with tasks that no worker answered", "may lack memory"),
        (cold(), "cold starts", "until 2 new environments had begun", "fewer workers for so short a run"),
        (driver(), "driver", "between 2 runs", "Compute several results together"),
        (
            MadeUp().begin().task(0, 0.0).end(2.0, error="LinAlgError: not positive\ndefinite"),
            "failed",
            "The run failed after 2.00 s: LinAlgError: not positive",
            "The whole error is below.",
        ),
        (
            MadeUp().begin().handed_out(7, 0.0).end(2.0, error="RuntimeError: no data\nwhile", task=7),
            "failed",
            "The run failed after 2.00 s in task gemm 7, tile (7, 0): RuntimeError: no data",
            "The whole error is below.",
        ),
        (
            MadeUp().begin().end(2.0, error="OSError: x").over(2.1, "OSError: x\nkept\n  to resume: …"),
            "failed",
            "The run failed after 2.00 s: OSError: x",
            "below, with how to go on.",
        ),
        (
            MadeUp().begin().task(0, 0.0).end(2.0, error="KeyboardInterrupt"),
            "interrupted",
            "It was interrupted after 2.00 s.",
            "it goes on with the tiles that are in the store",
        ),
        (
            MadeUp().begin(plan={"bytes_in_memory": 1}).end(2.0, error="KeyboardInterrupt"),
            "interrupted",
            "It was interrupted",
            "tiles that were in memory are made again",
        ),
        (
            MadeUp().begin().end(2.0).over(2.5, "MemoryError"),
            "failed",
            "The run failed after 2.00 s: MemoryError",
            "below",
        ),
        (MadeUp().over(2.5, "KeyboardInterrupt"), "interrupted", "before a run began", "same script"),
        (MadeUp().over(2.5, "ValueError: x"), "failed", "before a run began: ValueError: x", "below"),
        (
            MadeUp().begin().task(0, 0.0),
            "unfinished",
            "The record ends 1.00 s after the first run began, and before the last one ended: that",
            "If it is not at work, run the same script again",
        ),
        (MadeUp(), "unfinished", "The record has no run yet", "If that has ended, run the same script"),
        (MadeUp().over(0.1), "nothing", "Nothing had to be run", ""),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_what_bounded_the_run(made: MadeUp, kind: str, text: str, advice: str) -> None:
    found = bound(made.runs())
    assert found.kind == kind
    assert text in found.text
    assert advice in found.advice


def kinds(made: MadeUp) -> dict[str, str]:
    return {note.kind: f"{note.text} {note.advice}" for note in notes(made.runs())}


def test_a_plain_run_has_no_notes() -> None:
    assert kinds(MadeUp().begin(plan={"seconds": 4.0}).task(0, 0.0).end(5.0)) == {}


def test_memory_above_80_percent_of_what_is_allowed_is_said() -> None:
    def used(part: float) -> MadeUp:
        peak = round(part * 200 * MiB) + 50 * MiB
        return MadeUp().begin(plan={"seconds": 1.0}).task(0, 0.0, memory=peak).end(1.0)

    assert "memory" not in kinds(used(0.79))
    assert "used 162.00 MiB, 81 % of the 200.00 MiB allowed" in kinds(used(0.81))["memory"]


def test_stragglers_retries_and_cold_starts_are_counted() -> None:
    made = MadeUp().begin(plan={"seconds": 20.0}).fault(3, 3.0, 3.0, "Throttled: 429")
    for n in range(10):
        made.task(n, float(n), compute=5.0 if n == 9 else 1.0, attempt=1 + (n == 3))
    found = kinds(made.end(15.0, cold_starts=2))
    assert found.keys() == {"stragglers", "retries", "cold starts"}
    assert "1 task took more than three times" in found["stragglers"]
    assert "gemm number 9, 5.00 s" in found["stragglers"]
    assert "1 attempt failed, by throttling; another attempt followed each." in found["retries"]
    assert "2 environments started cold" in found["cold starts"]


@pytest.mark.parametrize(
    ("errors", "text"),
    [
        (["429", "503"], "2 attempts failed, all by throttling;"),
        (["429", "reset"], "2 attempts failed, 1 of them by throttling;"),
        (["reset", "reset"], "2 attempts failed; another"),
    ],
)
def test_throttled_attempts_are_counted_among_those_that_failed(errors: list[str], text: str) -> None:
    made = MadeUp().begin(plan={"seconds": 20.0})
    for n, error in enumerate(errors):
        made.fault(n, 1.0 * n, 1.0 * n + 0.1, error).task(n, n + 0.2, attempt=2)
    assert kinds(made.end(15.0))["retries"].startswith(text)


def test_refusals_that_the_executor_has_absorbed_are_counted() -> None:
    found = kinds(refused())["throttling"]
    assert found.startswith("The service refused 9 invocations, which waited 8.00 s before")


def test_the_longest_of_shares_is_the_verdict() -> None:
    found = bound(busy(read=0.3, write=0.24).runs())
    assert found.kind == "compute"
    assert "computed for 46 % of their time, more than for anything else" in found.text
    assert "Reading: 30 %" in found.advice


def test_time_is_that_of_the_evaluation_with_what_lies_between_its_runs() -> None:
    made = MadeUp().begin(workers=1, plan={"seconds": 2.0}).task(0, 0.0).end(1.0)
    made.begin(4.0, workers=1, plan={"seconds": 2.0}).task(0, 4.0).end(5.0)
    assert "prediction" not in kinds(made), "5 s of 4: its two runs took 2 s, the rest is the driver's"


def test_wrong_predictions_are_named_unless_a_part_was_there() -> None:
    slow = MadeUp().begin(plan={"seconds": 2.0}).task(0, 0.0).end(6.0)
    assert "It took 6.00 s, 3.0 times as long as the 2.00 s" in kinds(slow)["prediction"]
    fast = MadeUp().begin(plan={"seconds": 9.0}).task(0, 0.0).end(3.0)
    assert "It took 3.00 s, 33 % of the 9.00 s of the plan" in kinds(fast)["prediction"]
    resumed = MadeUp().begin(plan={"seconds": 9.0}, tasks=10, todo=4).task(0, 0.0).end(3.0)
    assert kinds(resumed) == {"resumed": "6 of 10 tiles were there already, or not needed. "}


def test_an_attempt_that_was_given_up_is_no_failure() -> None:
    made = MadeUp().begin(workers=1, plan={"seconds": 1.0}).task(0, 0.0).handed_out(1, 1.0)
    made.end(1.1, error="NotPositiveDefiniteError: x", task=1)
    again = made.begin(1.1, workers=1, plan={"seconds": 1.0}).task(0, 1.1).end(2.1)
    assert bound(again.runs()).kind == "compute", "as far as the record goes"
    assert bound(again.over(2.2).runs()).kind == "compute"
    assert errors_section(again.runs()) == ""
    assert "prediction" not in kinds(again)
    made.events[-1]["error"] = "OSError: disk"
    found = bound(made.runs())
    assert (found.kind, "OSError: disk" in found.text) == ("failed", True)
    assert "OSError: disk" in errors_section(made.runs())


@pytest.mark.parametrize("part", ["read", "write"])
def test_no_faster_store_is_advised_where_tiles_are_in_memory(part: str) -> None:
    made = busy(**{part: 0.8})  # type: ignore[arg-type]
    assert "faster store" in bound(made.runs()).advice
    made.events[0]["plan"]["bytes_in_memory"] = 1
    assert "faster store" not in bound(made.runs()).advice


def test_a_clock_that_is_wrong_is_named() -> None:
    made = MadeUp().begin(plan={"seconds": 2.0}).task(0, 0.0, clock=-7.0).end(2.0)
    assert "off by up to 7.00 s" in kinds(made)["clock"]
