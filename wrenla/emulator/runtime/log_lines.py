"""Log lines that Lambda itself writes: START, END, REPORT."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass

__all__ = ["RESPONSE_LIMIT", "Ending", "exited", "iso_now", "report", "timed_out", "too_large"]

RESPONSE_LIMIT = 6 * (1 << 20) + 100
"""Bytes that a response may have."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Ending of a call: its answer, and its line of the log.

    Parameters
    ----------
    body : bytes
        What the caller gets.
    failed : bool
        Whether it is told as a function's error.
    status : str
        What the REPORT adds.
    lines : str
        What the log says before END.
    """

    body: bytes
    failed: bool = False
    status: str = ""
    lines: str = ""


def exited(call: str, code: int, out_of_memory: bool) -> Ending:
    """Return the ending of a call whose process has ended."""
    how = f"exit status {code}" if code >= 0 else f"signal: {_SIGNALS.get(-code, f'signal {-code}')}"
    why = f"Runtime exited with error: {how}" if code else "Runtime exited without providing a reason"
    kind = "Runtime.OutOfMemory" if out_of_memory else "Runtime.ExitError"
    message = f"RequestId: {call} Error: {why}"
    return Ending(
        # AWS names the want of memory in the REPORT only
        json.dumps({"errorType": "Runtime.ExitError", "errorMessage": message}).encode(),
        True,
        f"\tStatus: error\tError Type: {kind}",
        f"{message}\nRuntime.ExitError\n",
    )


_SIGNALS = {
    4: "illegal instruction",
    6: "aborted",
    7: "bus error",
    8: "floating point exception",
    9: "killed",
}
_SIGNALS |= {11: "segmentation fault", 15: "terminated"}


def timed_out(call: str, seconds: int) -> Ending:
    """Return the ending of a call that took too long."""
    what = f"Task timed out after {seconds:.2f} seconds"
    body = {"errorType": "Emulator.Timedout", "errorMessage": f"RequestId: {call} Error: {what}"}
    return Ending(json.dumps(body).encode(), True, "\tStatus: timeout", f"{iso_now()} {call} {what}\n\n")


def too_large() -> Ending:
    """Return the ending of a call whose response is too large."""
    message = f"Response payload size exceeded maximum allowed payload size ({RESPONSE_LIMIT} bytes)."
    kind = "Function.ResponseSizeTooLarge"
    return Ending(
        json.dumps({"errorMessage": message, "errorType": kind}).encode(),
        True,
        f"\tStatus: error\tError Type: {kind}",
    )


def report(call: str, duration: float, initial: float | None, memory: int, used: int, ending: Ending) -> str:
    """Return the REPORT of a call.

    Parameters
    ----------
    call : str
    duration, initial : float
        Milliseconds of the call and of the initialisation before it; the latter is billed, too.
    memory, used : int
        MB.
    ending : Ending
    """
    billed = math.ceil(duration) + (math.ceil(initial) if initial is not None else 0)
    first = "" if initial is None else f"\tInit Duration: {initial:.2f} ms"
    return (
        f"END RequestId: {call}\n"
        f"REPORT RequestId: {call}\tDuration: {duration:.2f} ms\tBilled Duration: {billed} ms"
        f"\tMemory Size: {memory} MB\tMax Memory Used: {used} MB{first}{ending.status}\t\n"
    )


def init_report(milliseconds: float, phase: str, status: str, kind: str) -> str:
    """Return the line about an initialisation that failed."""
    why = f"\tError Type: {kind}" if kind else ""
    return f"INIT_REPORT Init Duration: {milliseconds:.2f} ms\tPhase: {phase}\tStatus: {status}{why}\n"


def iso_now() -> str:
    """Return the time as Lambda writes it."""
    seconds = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"
