"""Emulator process: everything in it, from the first thread to the last."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import select
import signal
import socket
import sys
from types import FrameType

from wrenla.emulator.api.admin_api import AdminApi
from wrenla.emulator.api.control_plane import ControlPlane
from wrenla.emulator.api.lambda_api import LambdaApi
from wrenla.emulator.api.server import Server
from wrenla.emulator.backend.logs import Logs
from wrenla.emulator.backend.moto_backend import MotoBackend
from wrenla.emulator.cleanup import emulator_folder, sweep_folders
from wrenla.emulator.faults import Faults
from wrenla.emulator.isolation.cgroups import sweep_groups
from wrenla.emulator.isolation.protection import find_protection
from wrenla.emulator.metrics import Metrics
from wrenla.emulator.options import Options, Ready
from wrenla.emulator.runtime.launcher import Launcher
from wrenla.emulator.runtime.pool import Pool
from wrenla.errors import WrenlaError

__all__ = ["main"]


def main(arguments: list[str]) -> None:
    """Serve until told to end, or until the parent has ended."""
    options = Options.decode(arguments[0])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to us, too, but it is the driver's
    try:
        ends = _ends(options.parent)
        with contextlib.ExitStack() as stack:
            ready = _start(options, stack)
            signal.signal(signal.SIGTERM, lambda *_: None)  # from now on we read that it has come
            print_line(ready.encode())
            select.select(ends, (), ())
    except WrenlaError as error:
        sys.exit(str(error))
    os._exit(0)  # all that has an end has ended; to take hundreds of modules apart would take a second


def print_line(text: str) -> None:
    """Write a line to standard output, for the parent."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _start(options: Options, stack: contextlib.ExitStack) -> Ready:
    """Start all of it; what the stack has is undone from its end."""
    _allow_open_files()
    protection = find_protection(options.isolation, options.memory_guard)
    sweep_folders()
    if protection.groups is not None:
        sweep_groups(protection.groups)
    folder = stack.enter_context(emulator_folder())
    cloud = MotoBackend(options.region, options.account_concurrency, options.enforce_iam)
    logs = Logs(cloud)
    stack.callback(logs.close)
    host = Launcher(folder, cloud, protection, options.region)
    stack.callback(host.close)
    counts, faults = Metrics(), Faults()
    pool = Pool(host, options.account_concurrency, counts, logs.put)
    stack.callback(pool.free)
    plane = ControlPlane(cloud, host.code, pool, options.account_concurrency, faults, counts)
    control = AdminApi(cloud, faults, counts, logs)
    server = _server(LambdaApi(cloud, plane, pool, faults, counts, control), options.port)
    host.lambda_url = server.url
    stack.callback(server.close)
    stack.callback(pool.close)  # first: what is running ends, so that threads do
    server.start()
    return Ready(
        pid=os.getpid(),
        lambda_url=server.url,
        s3_url=cloud.url,
        key=cloud.key,
        secret=cloud.secret,
        account=cloud.account,
        isolation="bubblewrap" if protection.bubblewrap else "plain",
        memory_guard="watcher" if protection.groups is None else "cgroup",
        missing=protection.missing,
    )


def _allow_open_files() -> None:
    """Let this process open as many files as it may; a call takes about ten."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _server(api: LambdaApi, port: int) -> Server:
    try:
        return Server(api.handle, port, api.admit)
    except OSError as error:
        why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be had ({error.strerror})"
        raise WrenlaError(f"port {port} {why}: choose another one (--port)") from None


def _break_off(number: int, _: FrameType | None) -> None:
    """End while we start, which may take long: what there is until now is undone."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(1)  # so that the parent looks for what is left


def _ends(parent: int) -> tuple[int, int]:
    """Return descriptors that become readable at the end: a signal, or the parent's death.

    A pipe would not tell of the parent: other children of it may hold it open. And the main thread would not
    wake up from a lock for a signal that the system has given to another thread.
    """
    told, teller = socket.socketpair()
    teller.setblocking(False)
    signal.set_wakeup_fd(
        teller.detach()
    )  # it is written to in whatever thread, and open until the process ends
    signal.signal(signal.SIGTERM, _break_off)
    try:
        ended = os.pidfd_open(parent)
    except ProcessLookupError:
        raise WrenlaError("the process that started the emulator is gone") from None
    if os.getppid() != parent:
        raise WrenlaError("the process that started the emulator is gone")
    return ended, told.detach()
