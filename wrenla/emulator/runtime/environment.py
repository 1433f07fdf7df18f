"""Execution environment: initialized, invoked, frozen, thawed, ended."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
import uuid
from dataclasses import dataclass

from wrenla.emulator.faults import Fault
from wrenla.emulator.runtime import log_lines
from wrenla.emulator.runtime.function_config import FunctionConfig
from wrenla.emulator.runtime.launcher import Launcher
from wrenla.emulator.runtime.log_lines import Ending
from wrenla.emulator.runtime.process import RuntimeProcess
from wrenla.emulator.runtime.runtime_api import Event, RuntimeApi

__all__ = ["Call", "Environment", "Outcome"]

_INIT_LIMIT = 10.0
"""Seconds that an initialisation may take before the call begins."""

_LOG_LIMIT = 4 << 20
"""Bytes of output that are kept of one call."""


@dataclass(frozen=True, slots=True)
class Call:
    """One invocation.

    Parameters
    ----------
    id : str
    payload : bytes
    client_context : str
        JSON, or nothing.
    """

    id: str
    payload: bytes
    client_context: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of a call.

    Parameters
    ----------
    ending : Ending
    log : bytes
        All that the log has of it.
    """

    ending: Ending
    log: bytes


class Environment:
    """A process that runs one call at a time.

    Parameters
    ----------
    config : FunctionConfig
    host : Launcher

    Attributes
    ----------
    alive : bool
        Whether it can take another call.
    """

    def __init__(self, config: FunctionConfig, host: Launcher) -> None:
        self.config = config
        self.name = uuid.uuid4().hex
        self.alive = True
        self._host = host
        self._api = RuntimeApi()
        self._process: RuntimeProcess | None = None
        self._log = bytearray()
        self._closing = threading.Lock()
        self._over = False

    def run(self, call: Call, fault: Fault | None = None) -> Outcome:
        """Run a call; if it leaves the environment dead, it must still be closed."""
        self._log.clear()
        initial = None
        if self._process is None:
            initial = self._initialise()
        self._collect()
        self._say(f"START RequestId: {call.id} Version: $LATEST\n")
        begun = time.monotonic()
        ending = self._invoke(call, begun + self.config.timeout, fault)
        duration = (time.monotonic() - begun) * 1000
        if ending.status == "\tStatus: timeout":
            duration = self.config.timeout * 1000.0
        memory = self.config.memory
        peak = self._process.peak() >> 20 if self._process is not None else 0
        used = memory if "OutOfMemory" in ending.status else min(memory, peak)
        self._collect()
        self._say(ending.lines)
        self._say(log_lines.report(call.id, duration, initial, memory, used, ending))
        return Outcome(ending, bytes(self._log))

    def usable(self) -> bool:
        """Tell whether the process is still there."""
        return self.alive and self._process is not None and not self._process.has_ended()

    def kill(self) -> None:
        """End the process, from any thread; whoever has the environment closes it."""
        with self._closing:
            self.alive = False
            self._over = True
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """Free all that it had."""
        self.kill()
        self._stop()
        self._api.close()
        shutil.rmtree(self._host.folder / f"tmp-{self.name}", ignore_errors=True)

    def _initialise(self) -> float | None:
        """Start the process; return the milliseconds it took, None if it failed and has to be done again."""
        begun = time.monotonic()
        event = self._start(begun + _INIT_LIMIT)
        took = (time.monotonic() - begun) * 1000
        if event.kind == "next":
            return took
        self._collect()
        self._report_init(event, took, "init")
        self._stop()
        return None

    def _start(self, until: float) -> Event:
        """Start a process, and wait until it can be called or has failed."""
        with self._closing:
            # With the lock held until there is a process: a `kill` that comes meanwhile finds it.
            if self._over:
                return Event("exit")
            self._process = self._host.spawn(self.config, self.name, self._api.address)
        self._api.attach(self._process)
        self._watch(True)
        event = self._api.wait(until)
        if event.kind == "init error":
            self._api.confirm(202)
        if event.kind == "next":
            self._process.find_runtime()
            if self._process.group is not None:
                self._process.group.limit_processor(self.config.memory / 1769)
        return event

    def _stop(self) -> None:
        process = self._process
        if process is None:
            return
        self._api.detach()
        if self._host.watcher is not None:
            self._host.watcher.forget(process)  # before its number can be another's
        with self._closing:
            # With the lock held: once it has been waited for, `kill` might strike another process of that
            # number.
            self._process = None
            process.close()

    def _invoke(self, call: Call, deadline: float, fault: Fault | None) -> Ending:
        if self._process is None:  # Lambda initialises once more, now on the call's time
            begun = time.monotonic()
            event = self._start(deadline)
            if event.kind != "next":
                self.alive = False
                self._collect()
                self._report_init(event, (time.monotonic() - begun) * 1000, "invoke")
                return self._failed(call, event)
        assert self._process is not None
        self._watch(True)
        self._process.thaw()
        if fault is not None and fault.kind == "kill-before":
            self._process.kill()
            return self._failed(call, Event("exit"))
        self._deliver(call, deadline)
        if fault is not None and fault.kind == "kill-during":
            self._api.wait(min(deadline, time.monotonic() + fault.seconds))
            self._process.kill()
            return self._failed(call, Event("exit"))
        ending = self._finish(call, deadline)
        if fault is not None and fault.kind == "kill-after":
            self._process.kill()
            return self._failed(call, Event("exit"))
        if self.alive:
            self._process.freeze()
            self._watch(False)
        return ending

    def _deliver(self, call: Call, deadline: float) -> None:
        ends = time.time() + deadline - time.monotonic()
        headers = [
            ("Content-Type", "application/json"),
            ("Lambda-Runtime-Aws-Request-Id", call.id),
            ("Lambda-Runtime-Deadline-Ms", str(int(ends * 1000))),
            ("Lambda-Runtime-Invoked-Function-Arn", self.config.arn),
            (
                "Lambda-Runtime-Trace-Id",
                f"Root=1-{int(time.time()):08x}-{call.id.replace('-', '')[:24]};Sampled=0",
            ),
        ]
        if call.client_context:
            headers.append(("Lambda-Runtime-Client-Context", call.client_context))
        self._api.answer(headers, call.payload)

    def _finish(self, call: Call, deadline: float) -> Ending:
        """Wait for the response, and until the runtime asks for the next call."""
        event = self._api.wait(deadline)
        if event.kind not in ("response", "error"):
            self.alive = False
            return self._failed(call, event)
        if len(event.body) > log_lines.RESPONSE_LIMIT:
            self._api.confirm(
                413,
                "RequestEntityTooLarge",
                f"Exceeded maximum allowed payload size ({log_lines.RESPONSE_LIMIT} bytes).",
            )
            ending = log_lines.too_large()
        else:
            self._api.confirm(202)
            ending = Ending(event.body, event.kind == "error")
        self.alive = self._api.wait(deadline).kind == "next"
        return ending

    def _failed(self, call: Call, event: Event) -> Ending:
        """Return the ending of a call to which there is no response."""
        self.alive = False
        process = self._process
        if event.kind == "init error":
            return Ending(event.body, True, f"\tStatus: error\tError Type: {event.error_type}")
        if event.kind == "time" or process is None:
            return log_lines.timed_out(call.id, self.config.timeout)
        code = process.wait()
        watcher = self._host.watcher
        out = process.group.oom_kills() > 0 if process.group is not None else False
        if watcher is not None:
            out = out or watcher.has_killed(process)
        return log_lines.exited(call.id, code, out and code == -9)

    def _report_init(self, event: Event, took: float, phase: str) -> None:
        status = "timeout" if event.kind == "time" else "error"
        kind = event.error_type or ("Runtime.ExitError" if event.kind == "exit" else "")
        self._say(log_lines.init_report(took, phase, status, kind))

    def _watch(self, on: bool) -> None:
        watcher, process = self._host.watcher, self._process
        if watcher is not None and process is not None:
            if on:
                watcher.watch(process, self.config.memory << 20)
            else:
                watcher.leave(process)

    def _collect(self) -> None:
        with contextlib.suppress(OSError):
            output = self._api.drain()
            self._log += output[-_LOG_LIMIT:]

    def _say(self, line: str) -> None:
        if line:
            self._log += line.encode()
