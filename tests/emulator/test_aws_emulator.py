"""Against AWS's own runtime interface emulator: the same handlers, the same answers."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wrenla.emulator.runtime.runtime import PYTHON, RUNTIME, link_runtime

from .stand import HANDLERS, Stand, package

pytestmark = pytest.mark.slow


_PROBES = [
    ["GET", "runtime/nothing", None],
    ["POST", "runtime/invocation/next", "{}"],
    ["POST", "runtime/invocation/wrong/response", "1"],
    ["POST", "runtime/invocation/wrong/error", "{}"],
    ["GET", "runtime/init/error", None],
    ["POST", "runtime/init/error", "{}"],
]

CASES: dict[str, tuple[str, Any]] = {
    "value": ("handlers.echo", {"a": [1, 2.5, None], "b": "x" * 1000}),
    "unicode": ("handlers.echo", {"ä€😀": "\u2028\x00"}),
    "no object": ("handlers.echo", [1, "two"]),
    "context": ("handlers.context_fields", {}),
    "output": ("handlers.says", {"text": "ä" * 1000}),
    "exception": ("handlers.fails", {"text": "no ä €"}),
    "not JSON": ("handlers.unserialisable", {}),
    "exit 0": ("handlers.ends", {"code": 0}),
    "exit 3": ("handlers.ends", {"code": 3}),
    "killed": ("handlers.ends", {"code": 0, "signal": int(signal.SIGKILL)}),
    "segmentation fault": ("handlers.ends", {"code": 0, "signal": int(signal.SIGSEGV)}),
    "aborted": ("handlers.ends", {"code": 0, "signal": int(signal.SIGABRT)}),
    "no such handler": ("handlers.nothing", {}),
    "no such module": ("nothing.handler", {}),
    "bad name": ("nothing", {}),
    "does not load": ("broken.handler", {}),
    "bad syntax": ("syntax.handler", {}),
    "just small enough": ("handlers.large", {"size": 6 * (1 << 20) + 98}),
    "too large": ("handlers.large", {"size": 6 * (1 << 20) + 99}),
    "too slow": ("handlers.sleeps", {"seconds": 30}),
    "probes": ("handlers.probes", {"requests": _PROBES}),
}

_FILES = {"handlers.py": HANDLERS, "broken.py": "1 / 0\n", "syntax.py": "def\n"}


@pytest.fixture(scope="module")
def emulator() -> Path:
    """The program, out of the wheel in which AWS publishes it; kept for the next time."""
    name = f"aws-lambda-rie-{'arm64' if platform.machine() == 'aarch64' else 'x86_64'}"
    folder = Path(tempfile.gettempdir()) / "wrenla-tests-emulator"
    program = folder / name
    if not program.exists():
        folder.mkdir(exist_ok=True)
        fetch = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), "aws-sam-cli"]
        fetched = subprocess.run(fetch, capture_output=True, text=True, check=False, timeout=100)
        wheels = list(folder.glob("aws_sam_cli-*.whl"))
        if not wheels:
            pytest.skip(f"the wheel aws-sam-cli cannot be fetched: {fetched.stderr[-300:]}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            half = folder / f"{name}.{os.getpid()}"
            half.write_bytes(wheel.read(f"samcli/local/rapid/{name}"))
        half.chmod(0o755)
        half.rename(program)
        wheels[0].unlink()
    return program


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("emulator")
    link_runtime(folder / "runtime")
    (folder / "task").mkdir()
    for name, text in _FILES.items():
        (folder / "task" / name).write_text(text)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_emulator_agrees_with_the_emulator_of_aws(
    case: str, emulator: Path, code: Path, stand: Stand
) -> None:
    handler, event = CASES[case]
    with _emulated(emulator, code, handler) as ask:
        theirs = ask(event)
    function = stand.function(Handler=handler, code=package(_FILES), Timeout=2)
    ours = json.dumps(stand.call(function, event).value)
    if case == "too slow":  # the emulator has its own words, and no error type
        assert theirs == "Task timed out after 2.00 seconds"
        assert theirs in ours
        return
    assert _without_names(ours, "/var/task", function) == _without_names(
        json.dumps(json.loads(theirs)), str(code / "task"), "emulated"
    )


def _without_names(text: str, folder: str, function: str) -> Any:
    """Replace what must differ."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "ID", text)
    text = re.sub(r'File \\"[^"]*/(\w+\.py)\\"', r"File \1", text.replace(folder, "TASK"))
    value = json.loads(text)
    if isinstance(value, dict):
        if "left" in value:
            assert 0 < value.pop("left") <= 2000
            assert value.pop("arn").endswith(f":function:{'f' if function == 'emulated' else function}")
            del value["name"], value["group"]
        if value.get("errorType", "").startswith("Runtime.") and "Traceback:" in value.get(
            "errorMessage", ""
        ):
            value["errorMessage"] = value["errorMessage"].partition("Traceback:")[0]
    return value


@contextlib.contextmanager
def _emulated(emulator: Path, code: Path, handler: str) -> Iterator[Callable[[Any], str]]:
    front, api = _free_port(), _free_port()
    variables = {
        "PYTHONPATH": str(code / "runtime"),
        "PATH": "/usr/bin:/bin",
        "AWS_LAMBDA_FUNCTION_NAME": "f",
        "AWS_LAMBDA_FUNCTION_TIMEOUT": "2",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{RUNTIME}",
    }
    addresses = ["--runtime-interface-emulator-address", f"127.0.0.1:{front}"]
    addresses += ["--runtime-api-address", f"127.0.0.1:{api}"]
    process = subprocess.Popen(
        [str(emulator), *addresses, PYTHON, "-S", "-s", "-m", "awslambdaric", handler],
        cwd=code / "task",
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )

    def ask(event: Any) -> str:
        connection = http.client.HTTPConnection(f"127.0.0.1:{front}", timeout=30)
        try:
            connection.request("POST", "/2015-03-31/functions/function/invocations", json.dumps(event))
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    try:
        _wait_for(front)
        yield ask
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
