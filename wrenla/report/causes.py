"""Causes: rules that say what bounded runs, and what to change; docs/guide/report.md lists them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wrenla.report.compare import comparison, peak_memory, stragglers
from wrenla.report.runs import Runs
from wrenla.report.shares import Chain, chains, shares
from wrenla.units import counted, format_bytes, format_time

__all__ = ["NEAR_ALLOWED", "Finding", "bound", "first_line", "notes"]

_MOST = 0.5
"""Part of the workers' time from which computing alone bounded a run; below it, something else did, too."""

_WIDE = 2.0
"""Times as many workers as there were that could have been busy: then there were too few."""

NEAR_ALLOWED = 0.8
"""Part of the allowed memory from which a peak is worth saying."""

_OFF = 1.5
"""Times as long as planned, or as short, from which a prediction was wrong."""

_CLOCK = 0.05
"""Seconds by which a worker's clock may be off without a word."""

_THROTTLED = re.compile(
    r"throttl|slow ?down|toomanyrequests|rate exceeded|reduce your request rate|\b(429|503)\b", re.I
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One cause: a word for it, what was seen, and what to change ("" if nothing is to be)."""

    kind: str
    text: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class _Seen:
    runs: Runs
    parts: Mapping[str, float]
    paths: Sequence[Chain]

    @property
    def workers(self) -> int:
        return max(run.workers for run in self.runs.runs)

    @property
    def local(self) -> bool:
        return any(run.memory for run in self.runs.runs)

    @property
    def on_lambda(self) -> bool:
        return any(run.executor.startswith("LambdaExecutor") for run in self.runs.runs)

    @property
    def in_memory(self) -> bool:
        return all(run.plan.get("bytes_in_memory") for run in self.runs.runs)

    @property
    def width(self) -> float:
        """Workers that tasks would have kept busy on average: their time over that of the longest chain."""
        longest = sum(path.busy for path in self.paths)
        return float(self.runs.tasks.seconds.sum()) / longest if longest else 0.0

    def percent(self, *names: str) -> str:
        return f"{100 * sum(self.parts[name] for name in names):.0f} %"


def bound(runs: Runs) -> Finding:
    """Return what bounded the runs of a record: the first rule that applies."""
    ended = _ended_early(runs)
    if ended is not None:
        return ended
    if not runs.runs:
        return Finding(
            "nothing",
            "Nothing had to be run: the result was there already, or is only put together of what is there "
            "(transposes, parts, sums entry by entry).",
        )
    parts = shares(runs)
    seen = _Seen(runs, parts, chains(runs))
    others: dict[str, Callable[[_Seen], Finding]] = {
        "failures": _failures,
        "starting": _starting,
        "handing over": _handing_over,
        "waiting": _waiting,
        "making": _making,
        "reading": _reading,
        "writing": _writing,
        "driver": _driver,
    }
    most = max(others, key=lambda name: parts[name])
    if parts["computing"] >= _MOST:
        return _computing(seen)
    if parts["computing"] >= parts[most]:
        second = others[most](seen)
        return Finding(
            "compute",
            f"Computing: the {counted(seen.workers, 'worker')} computed for {seen.percent('computing')} of "
            "their time, more than for anything else.",
            f"What comes next can be changed. {second.text} {second.advice}",
        )
    return others[most](seen)


def _ended_early(runs: Runs) -> Finding | None:
    """Return why runs, or the record, ended before there was a result; None if there is one."""
    last = runs.runs[-1] if runs.runs else None
    error = runs.failure
    took = format_time(runs.seconds)
    if error:
        below = "The whole error is below" + (", with how to go on." if "\n  to " in error else ".")
        if error.startswith("KeyboardInterrupt"):
            when = f" after {took}" if last else " before a run began"
            return Finding("interrupted", f"It was interrupted{when}.", f"{_goes_on(runs)} {below}")
        where = f" in task {last.failed}" if last and last.failed else ""
        text = f"The run failed after {took}{where}:" if last else "It failed before a run began:"
        return Finding("failed", f"{text} {first_line(error)}", below)
    if last is None and runs.error is None:
        return Finding(
            "unfinished",
            "The record has no run yet: it is still being planned, or its process ended meanwhile.",
            "If that has ended, run the same script again.",
        )
    if any(run.error is None for run in runs.runs):
        return Finding(
            "unfinished",
            f"The record ends {took} after the first run began, and before the last one ended: that is still "
            "at work, or its process was killed, or the disk of the record is full.",
            f"If it is not at work, r{_goes_on(runs)[1:]}",
        )
    return None


def _goes_on(runs: Runs) -> str:
    if any(run.plan.get("bytes_in_memory") for run in runs.runs):
        return (
            "Run the same script again: tiles that were in memory are made again (set WRENLA_STORE to a "
            "folder to keep them)."
        )
    return "Run the same script again: it goes on with the tiles that are in the store."


def _computing(seen: _Seen) -> Finding:
    text = f"computed for {seen.percent('computing')} of their time"
    if not seen.local and seen.width >= _WIDE * seen.workers:
        return Finding(
            "too few workers",
            f"Too few workers: the {seen.workers:,} {text}, and there was work for {seen.width:,.0f}.",
            f"Use up to {seen.width:,.0f} workers: the run would take nearly as much less time, at the "
            "same cost.",
        )
    wide = seen.width >= _WIDE * seen.workers
    return Finding(
        "compute",
        f"Computing: the {counted(seen.workers, 'worker')} {text}.",
        f"This is as it should be. There was work for {seen.width:,.0f} workers: more processors, or a "
        "cluster, would make it faster."
        if wide
        else "This is as it should be. Faster processors would help; more workers only with smaller tiles "
        "(tile=).",
    )


def _failures(seen: _Seen) -> Finding:
    part, faults, refused = seen.percent("failures"), seen.runs.faults, _counted(seen.runs, "throttles")
    attempts, again = len(faults) + refused, _counted(seen.runs, "retries")
    if (sum(_is_throttled(fault.error) for fault in faults) + refused) * 2 > attempts:
        return Finding(
            "throttling",
            f"Throttling: the store or service refused requests, and {part} of the workers' time went to "
            f"waiting before {counted(attempts, 'another attempt', 'other attempts')}.",
            "Use fewer workers or larger tiles, so that there are fewer requests by the second; or have "
            "the limit raised.",
        )
    if again > len(faults):
        count = counted(again, "message with tasks", "messages with tasks")
        return Finding(
            "failures",
            f"Failures: {part} of the workers' time went to {count} that no worker answered, sent again.",
            "Look into the logs of workers: they may lack memory, or a function of yours ends their process.",
        )
    commonest = Counter(first_line(fault.error) for fault in faults).most_common(1)
    return Finding(
        "failures",
        f"Failures: {part} of the workers' time went to "
        f"{counted(len(faults), 'attempt that failed', 'attempts that failed')}, most often with "
        f"“{commonest[0][0] if commonest else '?'}”.",
        "Look at the list of failed attempts below: what fails again and again is worth mending first.",
    )


def _starting(seen: _Seen) -> Finding:
    count = _counted(seen.runs, "cold_starts")
    return Finding(
        "cold starts",
        f"Cold starts: {seen.percent('starting')} of the workers' time passed until "
        f"{counted(count, 'new environment', 'new environments')} had begun.",
        "Use fewer workers for so short a run, or run again while they are warm (some minutes).",
    )


def _handing_over(seen: _Seen) -> Finding:
    median = format_time(float(np.median(seen.runs.tasks.seconds))) if len(seen.runs.tasks) else "no time"
    return Finding(
        "handing over",
        f"Handing over: for {seen.percent('handing over')} of the workers' time a task was ready, and had "
        f"not reached a worker. Tasks are short: half of them take less than {median}.",
        "Use larger tiles (tile=), so that there are fewer and longer tasks"
        + ("." if seen.local else ", or run it on this machine (LocalExecutor)."),
    )


def _waiting(seen: _Seen) -> Finding:
    path = max(seen.paths, key=lambda found: found.seconds)
    whole = seen.runs.runs[seen.paths.index(path)]
    many = len(path.tasks)
    chain = f"{many:,} tasks that follow each other took" if many > 1 else "The longest task took"
    text = (
        f"The critical path: for {seen.percent('waiting')} of their time the "
        f"{counted(seen.workers, 'worker')} waited for tiles that others computed. {chain} "
        f"{format_time(path.seconds)} of {format_time(whole.end - whole.start)}."
    )
    if any(run.waves for run in seen.runs.runs):
        return Finding("critical path", text, 'Use schedule="dataflow": a wave waits for its slowest task.')
    enough = max(1, round(seen.width))
    fewer = f" {counted(enough, 'worker')} would do nearly as well." if enough < seen.workers else ""
    return Finding(
        "critical path",
        text,
        f"More workers would not help.{fewer} Smaller tiles (tile=) make the chain shorter; for a general "
        "system "
        'so does method="rbt".',
    )


def _making(seen: _Seen) -> Finding:
    return Finding(
        "making",
        f"Making tiles: {seen.percent('making')} of the workers' time went to making tiles of what is in no "
        "store: functions (from_function), random numbers, arrays of this process.",
        "Let functions work on whole tiles (NumPy), and save a matrix that is used again (A.save). Where a "
        "tile is made more than once, more memory (allowed_mem=) keeps it at hand.",
    )


def _reading(seen: _Seen) -> Finding:
    rate = _rate(seen, "read")
    return Finding(
        "reading",
        f"Reading: {seen.percent('reading')} of the workers' time went to waiting for tiles from the store"
        + (f", {format_bytes(rate)}/s for each reader." if rate else "."),
        "Use larger tiles (tile=), which are read less often, or allow more memory (allowed_mem=), so that "
        f"more of them stay at hand{'' if seen.in_memory else '; or a faster store'}."
        + (" On Lambda more memory also brings a faster network." if seen.on_lambda else ""),
    )


def _writing(seen: _Seen) -> Finding:
    faster = " or a faster store (the setting store)" + (": a local disk, or memory://" if seen.local else "")
    return Finding(
        "writing",
        f"Writing: {seen.percent('writing')} of the workers' time went to writing tiles to the store, "
        f"{format_bytes(_rate(seen, 'written'))}/s for each writer.",
        f"Use larger tiles (tile=){'; temporary tiles are in memory already' if seen.in_memory else faster}.",
    )


def _driver(seen: _Seen) -> Finding:
    count = len(seen.runs.runs)
    return Finding(
        "driver",
        f"The driver: for {seen.percent('driver')} of the workers' time there was no task at all"
        + (
            f", between {count:,} runs and after the last tasks." if count > 1 else ": before and after them."
        ),
        "The problem is small for so many workers: use fewer, or compute it in memory with SciPy."
        if seen.runs.seconds < 1
        else "Compute several results together (wl.compute(x, y)), and save what is large in place of "
        "gathering it.",
    )


def notes(runs: Runs) -> list[Finding]:
    """Return what else is worth saying, beside `bound`."""
    found: list[Finding] = []
    peak = peak_memory(runs)
    if peak is not None and peak.measured and peak.allowed and peak.measured > NEAR_ALLOWED * peak.allowed:
        found.append(
            Finding(
                "memory",
                f"A worker process used {format_bytes(peak.measured)}, "
                f"{100 * peak.measured / peak.allowed:.0f} % of the {format_bytes(peak.allowed)} allowed.",
                "Tiles at hand take what tasks do not need, and give way. Beyond 100 %, use smaller tiles "
                "(tile=), or allow more (allowed_mem=) if the machine has it.",
            )
        )
    late = stragglers(runs)
    if len(late):
        worst = int(late[0])
        found.append(
            Finding(
                "stragglers",
                f"{counted(len(late), 'task took', 'tasks took')} more than three times as long as is usual "
                f"for the kernel; the worst, {runs.kernels[runs.tasks.kernel[worst]]} number "
                f"{runs.tasks.task[worst]:,}, {format_time(float(runs.tasks.seconds[worst]))}.",
                "Where they are on one worker, that machine is slow or shared; where they are at one time, "
                "the store or the network was.",
            )
        )
    if runs.faults:
        count, throttled = len(runs.faults), sum(_is_throttled(fault.error) for fault in runs.faults)
        how = "" if count == 1 else "all " if throttled == count else f"{throttled:,} of them "
        how = f", {how}by throttling" if throttled else ""
        found.append(
            Finding("retries", f"{counted(count, 'attempt')} failed{how}; another attempt followed each.")
        )
    if again := _counted(runs, "retries"):
        sent = f"{counted(again, 'message')} with tasks"
        found.append(Finding("retries", f"Sent again, as workers died or did not answer: {sent}."))
    if refused := _counted(runs, "throttles"):
        waited = sum(float(run.calls.get("backoff", 0.0)) for run in runs.runs)
        found.append(
            Finding(
                "throttling",
                f"The service refused {counted(refused, 'invocation')}, which waited {format_time(waited)} "
                "before it took them.",
            )
        )
    if cold := _counted(runs, "cold_starts"):
        found.append(Finding("cold starts", f"{counted(cold, 'environment', 'environments')} started cold."))
    found += _of_plans(runs)
    if runs.shifted > _CLOCK:
        found.append(
            Finding(
                "clock",
                f"A worker's clock was off by up to {format_time(runs.shifted)}: its tasks were moved in "
                "between their submission and their end as the driver saw them.",
            )
        )
    return found


def _of_plans(runs: Runs) -> list[Finding]:
    found = []
    there = sum(run.tasks - run.todo for run in runs.runs)
    if there:
        whole = sum(run.tasks for run in runs.runs)
        found.append(Finding("resumed", f"{there:,} of {whole:,} tiles were there already, or not needed."))
    elif runs.complete:
        time = next((row for row in comparison(runs) if row.name == "time"), None)
        ratio = None if time is None else time.ratio
        if ratio and time is not None and not 1 / _OFF <= ratio <= _OFF:
            assert time.predicted is not None
            assert time.measured is not None
            part = f"{ratio:.1f} times as long as" if ratio > 1 else f"{100 * ratio:.0f} % of"
            text = (
                f"It took {format_time(time.measured)}, {part} the {format_time(time.predicted)} of the plan."
            )
            advice = "A plan expects the rates of executor.measured(), and a machine that does nothing else."
            found.append(Finding("prediction", text, advice if ratio > 1 else ""))
    return found


def _rate(seen: _Seen, way: str) -> float:
    tasks = seen.runs.tasks
    if way == "read":
        return float(tasks.bytes_read.sum()) / max(float(tasks.read.sum()), 1e-9)
    return float(tasks.bytes_written.sum()) / max(float(tasks.write.sum()), 1e-9)


def _counted(runs: Runs, name: str) -> int:
    return sum(int(run.calls.get(name, 0)) for run in runs.runs)


def _is_throttled(error: str) -> bool:
    return _THROTTLED.search(error) is not None


def first_line(text: str) -> str:
    """Return the first line, cut where it is too long for a sentence."""
    line = text.strip().splitlines()[0] if text.strip() else "no reason is known"
    return line if len(line) <= 240 else f"{line[:239].rpartition(' ')[0] or line[:239]}…"
