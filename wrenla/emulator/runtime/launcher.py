"""Launcher of environments: command line, user, folders and logs."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from wrenla.emulator.backend.moto_backend import MotoBackend
from wrenla.emulator.isolation.binds import GROUP, USER, own_users, system_binds
from wrenla.emulator.isolation.memory_watchdog import MemoryWatchdog
from wrenla.emulator.isolation.protection import Protection
from wrenla.emulator.runtime import bootstrap
from wrenla.emulator.runtime.code import CodeStore
from wrenla.emulator.runtime.function_config import FunctionConfig
from wrenla.emulator.runtime.process import RuntimeProcess
from wrenla.emulator.runtime.runtime import PYTHON, RUNTIME, link_runtime, runtime_pieces

__all__ = ["Launcher", "log_stream"]

_MB = 1 << 20


@dataclass
class Launcher:
    """Starts processes for environments.

    Parameters
    ----------
    folder : Path
        For code, and for what plain processes take for ``/tmp``.
    cloud : MotoBackend
    protection : Protection
    region : str
    """

    folder: Path
    cloud: MotoBackend
    protection: Protection
    region: str
    lambda_url: str = ""
    spawner: ThreadPoolExecutor = field(init=False)
    watcher: MemoryWatchdog | None = field(init=False, default=None)
    code: CodeStore = field(init=False)

    def __post_init__(self) -> None:
        self.spawner = ThreadPoolExecutor(1, "wrenla-emulator-spawner")
        self.code = CodeStore(self.folder / "code")
        if self.protection.groups is None:
            self.watcher = MemoryWatchdog()
        if self.protection.bubblewrap:
            self._outside = self._bubblewrap()
        else:
            link_runtime(self.folder / "runtime")

    def close(self) -> None:
        """End its threads; no environment is alive any more."""
        self.spawner.shutdown()
        if self.watcher is not None:
            self.watcher.close()

    def spawn(self, config: FunctionConfig, name: str, api: str) -> RuntimeProcess:
        """Start the process of an environment.

        Parameters
        ----------
        config : FunctionConfig
        name : str
            Of the environment.
        api : str
            Host and port of its Runtime API.
        """
        variables = self._variables(config, name, api)
        if self.protection.bubblewrap:
            # a function has 512 MB of /tmp at least; what it has for /dev/shm cannot be written, as on Lambda
            size = str(config.ephemeral * _MB)
            command = [*self._outside, "--size", size, "--tmpfs", "/tmp"]
            command += [
                "--ro-bind",
                str(config.code),
                "/var/task",
                "--remount-ro",
                "/var",
                "--remount-ro",
                "/",
            ]
            command += [
                "--chdir",
                "/var/task",
                "--",
                PYTHON,
                "-S",
                "-s",
                "-m",
                "awslambdaric",
                config.handler,
            ]
        else:
            own = self.folder / f"tmp-{name}"
            own.mkdir(exist_ok=True)
            task, client = str(config.code), str(self.folder / "runtime")
            # whoever is root could write byte code beside the code
            variables |= {"TMPDIR": str(own), "PYTHONDONTWRITEBYTECODE": "1"}
            variables |= {
                "LAMBDA_TASK_ROOT": task,
                "LAMBDA_RUNTIME_DIR": client,
                "PYTHONPATH": client,
            }
            command = [
                "/usr/bin/env",
                "-C",
                task,
                PYTHON,
                "-S",
                "-s",
                bootstrap.__file__,
                str(os.getpid()),
                config.handler,
            ]
        depth = 2 if self.protection.bubblewrap else 1  # bubblewrap has two processes, `start` is one
        groups = self.protection.groups
        if groups is None:
            return RuntimeProcess(command, variables, None, self.spawner, depth)
        group = groups.make(config.memory * _MB)
        try:
            group.limit_processor(max(2.0, config.memory / 1769))  # AWS lets initialisation have more
            return RuntimeProcess(command, variables, group, self.spawner, depth)
        except BaseException:
            group.close()
            raise

    def _bubblewrap(self) -> list[str]:
        """Return the arguments that are the same for all functions."""
        command = [self.protection.bubblewrap, "--unshare-user", "--uid", f"{USER}", "--gid", f"{GROUP}"]
        command += ["--unshare-pid", "--unshare-ipc", "--die-with-parent"]
        command += [*system_binds(), *own_users(self.folder), "--proc", "/proc", "--dev", "/dev"]
        command += ["--tmpfs", "/dev/shm", "--remount-ro", "/dev/shm", "--tmpfs", "/var"]
        for name, path in sorted(runtime_pieces().items()):
            command += ["--ro-bind", path, f"/var/runtime/{name}"]
        return command

    def _variables(self, config: FunctionConfig, name: str, api: str) -> dict[str, str]:
        return {
            "AWS_LAMBDA_RUNTIME_API": api,
            "AWS_LAMBDA_FUNCTION_NAME": config.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config.memory),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{config.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": log_stream(name),
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{RUNTIME}",
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL": self.cloud.url,
            "AWS_ENDPOINT_URL_LAMBDA": self.lambda_url,
            "NO_PROXY": "127.0.0.1",
            "_HANDLER": config.handler,
            "LAMBDA_TASK_ROOT": "/var/task",
            "LAMBDA_RUNTIME_DIR": "/var/runtime",
            "PYTHONPATH": "/var/runtime",
            "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin:/bin:/opt/bin",
            "LD_LIBRARY_PATH": "/var/task:/var/task/lib:/opt/lib",
            "LANG": "en_US.UTF-8",
            "TZ": ":UTC",
            **{name: os.environ[name] for name in _KERNELS if name in os.environ},
            **self.cloud.role_credentials(config.role, config.name),
            **config.variables,
        }


_KERNELS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""Functions run on this processor: whoever has chosen kernels for it has chosen theirs, too, and without
them the bits of a result would not be those of this process."""


def log_stream(name: str) -> str:
    """Return the name of an environment's stream in CloudWatch Logs."""
    return time.strftime("%Y/%m/%d/[$LATEST]", time.gmtime()) + name
