"""The table of faults: ways to go wrong, and what comes of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from wrenla.errors import (
    Lost,
    OutOfMemory,
    RemoteError,
    RemoteTraceback,
    StoreError,
    TimedOut,
    WorkerDied,
)

from .fault_acts import (
    BrokenText,
    Ordinary,
    TwoArguments,
    Unpicklable,
    cannot_store,
    closes_everything,
    closes_its_pipe,
    dies,
    dies_before_the_answer,
    dies_once,
    exits,
    exits_at_once,
    group,
    hangs,
    hangs_and_does_not_listen,
    hangs_once,
    lets_print,
    logs,
    may_not_have_it,
    prints,
    raises,
    raises_twice,
    returns,
    returns_a_lock,
    stands_still,
    wants_too_much,
    with_note,
    writes,
    writes_and_stays,
)
from .faulty_calls import WAIT


@dataclass(frozen=True)
class Row:
    """One way to go wrong, and what comes of it."""

    name: str
    act: Callable[[Path], Any]
    error: type[BaseException] | tuple[type[BaseException], ...] = ()
    match: str = ""
    endings: tuple[str, ...] = ("value",)
    options: dict[str, Any] = field(default_factory=dict)
    value: Any = 1
    check: Callable[[Any], bool] = lambda error: True
    logs: Callable[[str], bool] = lambda text: True
    within: float = WAIT

    def __str__(self) -> str:
        return self.name


def remote(error: Any) -> bool:
    """The error came from another process, and says from where."""
    return isinstance(error.__cause__, RemoteTraceback) and "Traceback" in error.__cause__.text


def remote_error(name: str, message: str) -> Callable[[Any], bool]:
    """The error is a stand-in for what cannot be raised here."""
    return lambda error: (
        (error.type_name.rpartition(".")[2], error.message) == (name, message)
        and "Traceback" in error.traceback_text
        and name in error.traceback_text
    )


def shortened(text: str) -> bool:
    return len(text) < 17_000_000 and "left out" in text and text.endswith("the end\n") and text[0] == "x"


_TWICE: dict[str, Any] = {"retries": 2}
_SAFE: dict[str, Any] = {"idempotent": True}
_RECORD: dict[str, Any] = {"record": True}
_HALF: dict[str, Any] = {"timeout": 0.5}

PROCESS_ROWS = [
    # it dies
    Row(
        "killed",
        dies,
        WorkerDied,
        "SIGKILL",
        ("WorkerDied",),
        logs=lambda text: text == "last words\n",
    ),
    Row("killed once", dies_once, endings=("WorkerDied", "value"), options=_SAFE),
    Row("killed always", dies, WorkerDied, "SIGKILL", ("WorkerDied",) * 3, _SAFE),
    Row("killed after", dies_before_the_answer, WorkerDied, "SIGKILL", ("WorkerDied",)),
    Row("killed after, not recorded", dies_before_the_answer, WorkerDied, "", ("WorkerDied",), _RECORD),
    # it cannot be heard
    Row("pipe closed", closes_its_pipe, Lost, "pipe", ("Lost",)),
    Row("all closed", closes_everything, Lost, "pipe", ("Lost",)),
    Row("garbage", partial(writes, b"garbage!"), Lost, "pipe", ("Lost",)),
    Row("garbage that stays", partial(writes_and_stays, b"garbage!"), Lost, "pipe", ("Lost",)),
    Row("garbage of one byte", partial(writes, b"\x01"), Lost, "pipe", ("Lost",)),
    Row("garbage as frame", partial(writes, b"\0\0\0\5hello"), Lost, "pipe", ("Lost",)),
    Row("garbage as list", partial(writes, b"\0\0\0\2[]"), Lost, "pipe", ("Lost",)),
    Row("garbage of half a frame", partial(writes, b"\3\0\0\0hello"), Lost, "pipe", ("Lost",)),
    # it does not end
    Row("hangs", hangs, TimedOut, "timeout of 0.5 s", ("TimedOut",), _HALF, within=12),
    Row("deaf", hangs_and_does_not_listen, TimedOut, "timeout", ("TimedOut",), _HALF, within=12),
    Row("stopped", stands_still, TimedOut, "timeout", ("TimedOut",), _HALF, within=12),
    Row("past deadline", hangs, TimedOut, "deadline of 3 s", ("TimedOut",), {"deadline": 3.0}, within=12),
    Row(
        "hangs once",
        hangs_once,
        endings=("TimedOut", "value"),
        options=_SAFE | {"timeout": 2.0, "retries": 1},
    ),
    # it raises
    Row(
        "unpicklable exception",
        partial(raises, partial(Unpicklable, "why")),
        RemoteError,
        "why",
        ("RemoteError",),
        check=remote_error("Unpicklable", "why"),
    ),
    Row(
        "two arguments",
        partial(raises, partial(TwoArguments, "this", "that")),
        TwoArguments,
        "this and that",
        ("exception",),
    ),
    Row(
        "broken text",
        partial(raises, BrokenText),
        (BrokenText, RemoteError),
        endings=("exception",),
        check=lambda error: "BrokenText" in error.__cause__.text and remote(error),
    ),
    Row("ordinary", partial(raises, partial(Ordinary, "why")), Ordinary, "why", ("exception",), check=remote),
    Row(
        "note",
        partial(raises, with_note),
        Ordinary,
        "see the note",
        ("exception",),
        check=lambda error: error.__notes__[0] == "a note of mine",
    ),
    Row(
        "group",
        partial(raises, group),
        ExceptionGroup,
        "several",
        ("exception",),
        check=lambda error: [type(e) for e in error.exceptions] == [Ordinary, KeyError],
    ),
    Row(
        "KeyboardInterrupt",
        partial(raises, KeyboardInterrupt),
        RemoteError,
        "KeyboardInterrupt",
        ("RemoteError",),
    ),
    Row(
        "sys.exit",
        exits,
        RemoteError,
        "SystemExit: 3",
        ("RemoteError",),
        check=remote_error("SystemExit", "3"),
    ),
    Row("os._exit", exits_at_once, WorkerDied, "exit status 3", ("WorkerDied",)),
    Row("retries", raises_twice, endings=("exception", "exception", "value"), options=_TWICE),
    Row("no retries", raises_twice, Ordinary, "not yet", ("exception",)),
    Row("idempotent is no retry", raises_twice, Ordinary, "not yet", ("exception",), _SAFE),
    # it needs too much
    Row("too much memory", wants_too_much, OutOfMemory, "", ("OutOfMemory",), {"retries": 3} | _SAFE),
    Row("no more memory", may_not_have_it, OutOfMemory, "", ("OutOfMemory",), {"retries": 3} | _SAFE),
    Row("prints 10 MB", partial(prints, 10**7), logs=lambda text: len(text) == 10**7 + 8),
    Row("lets print 10 MB", lets_print, logs=lambda text: text == "y" * 10**7),
    Row("prints 40 MB", partial(prints, 4 * 10**7), logs=shortened),
    Row("logs", logs, logs=lambda text: text == "WARNING mine: of interest\nnext line\n"),
    Row("returns 20 MB", partial(returns, 20 << 20), value=np.ones(20 << 20, np.uint8)),
    Row(
        "returns a lock",
        returns_a_lock,
        TypeError,
        "pickle",
        ("exception",),
        check=lambda error: "while pickling the result of the call" in error.__notes__,
    ),
    Row(
        "cannot store",
        cannot_store,
        Lost,
        "could not be stored",
        ("Lost",),
        check=lambda error: isinstance(error.__cause__, StoreError),
    ),
]

THREAD_ROWS = [
    Row(
        "unpicklable exception",
        partial(raises, partial(Unpicklable, "why")),
        Unpicklable,
        "why",
        ("exception",),
    ),
    Row("broken text", partial(raises, BrokenText), BrokenText, "", ("exception",)),
    Row("ordinary", partial(raises, partial(Ordinary, "why")), Ordinary, "why", ("exception",)),
    Row("group", partial(raises, group), ExceptionGroup, "several", ("exception",)),
    Row(
        "KeyboardInterrupt",
        partial(raises, KeyboardInterrupt),
        RemoteError,
        "KeyboardInterrupt",
        ("RemoteError",),
    ),
    Row(
        "sys.exit",
        exits,
        RemoteError,
        "SystemExit: 3",
        ("RemoteError",),
        check=remote_error("SystemExit", "3"),
    ),
    Row("retries", raises_twice, endings=("exception", "exception", "value"), options=_TWICE),
    Row("idempotent is no retry", raises_twice, Ordinary, "not yet", ("exception",), _SAFE),
    Row("too much memory", wants_too_much, OutOfMemory, "", ("OutOfMemory",), {"retries": 3} | _SAFE),
    Row("prints 10 MB", partial(prints, 10**7), logs=lambda text: len(text) == 10**7 + 8),
    Row("logs", logs, logs=lambda text: text == "WARNING mine: of interest\nnext line\n"),
    Row("returns 20 MB", partial(returns, 20 << 20), value=np.ones(20 << 20, np.uint8)),
]
