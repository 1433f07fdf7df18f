"""`wrenla emulator`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.cli.test_help import keys_on_the_page
from tests.processes import alive
from tests.waiting import until
from wrenla.cli.emulator import emulator
from wrenla.cli.main import main


def _emulator(*options: str) -> subprocess.Popen[str]:
    script = "import sys; from wrenla.cli.main import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", script, "emulator", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "AWS_PROFILE": "real"},
    )


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_emulator_command_prints_working_variables(number: signal.Signals, tmp_path: Path) -> None:
    running = _emulator("--no-deploy", "--isolation", "plain", "--memory", "512")
    assert running.stdout is not None
    assert running.stderr is not None
    try:
        lines = []
        while not (lines and lines[-1].startswith("unset AWS_USE_DUALSTACK")):
            lines.append(running.stdout.readline())
            assert lines[-1], running.stderr.read()
        said = ""
        while "Ctrl-C" not in said:
            said += running.stderr.readline()
        assert "no function yet" in said
        assert "unlike Lambda: functions see this machine's files" in said
        (tmp_path / "variables").write_text("".join(lines))
        script = f'. {tmp_path}/variables; exec "{sys.executable}" -c "$1"'
        code = "import boto3; print(boto3.client('lambda').list_functions()['Functions'])"
        asked = subprocess.run(
            ["/bin/sh", "-c", script, "sh", code],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "AWS_PROFILE": "real"},
        )
        assert asked.stdout == "[]\n"
        running.send_signal(number)
        assert running.wait(20) == 0
        assert running.stderr.read() == ""
    finally:
        running.kill()
        running.communicate()


def test_document_of_the_emulator() -> None:
    """It is printed when it is ready; the options are those of an example in its help."""
    first = emulator.examples[0].split()[2:]
    running = _emulator(*first, "--json")
    assert running.stdout is not None
    try:
        said = json.loads(running.stdout.readline())
        assert said.keys() == keys_on_the_page("emulator")
        assert said["variables"]["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 0
        assert running.stdout.read() == ""
    finally:
        running.kill()
        running.communicate()


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_the_start_is_interrupted(number: signal.Signals, status: int) -> None:
    # the function's package would take seconds: one sees that it is not waited for
    running = _emulator("--isolation", "plain")
    try:
        assert until(lambda: bool(_children(running.pid)), 30)
        (emulator,) = _children(running.pid)
        running.send_signal(number)
        out, err = running.communicate(timeout=30)
    finally:
        running.kill()
        running.communicate()
    assert (running.returncode, out) == (status, "")
    assert err.splitlines()[-1] == "ended before it was ready; nothing is left"
    assert {line[:2] for line in err.splitlines()[:-1]} <= {"# "}  # what it was doing
    assert until(lambda: not alive(emulator))
    assert not list(Path(tempfile.gettempdir()).glob(f"wrenla-emulator-{emulator}-*"))


def test_emulator_command_interrupted_while_deploying_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    before = _children(os.getpid())
    inside: list[int] = []

    def deploy(*_: object) -> None:
        inside.extend(set(_children(os.getpid())) - set(before))
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # the second one does not disturb what the first has begun
        time.sleep(5)

    monkeypatch.setattr("wrenla.emulator.lambda_emulator.deploy_wrenla", deploy)
    result = CliRunner().invoke(main, ["emulator", "--isolation", "plain"])
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr.splitlines() == [
        "# starting a Lambda and an S3 on this machine",
        "ended before it was ready; nothing is left",
    ]
    assert inside
    assert not any(map(alive, inside))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def _children(pid: int) -> list[int]:
    """Return the processes of emulators that a process has started."""
    found = [int(number) for number in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [pid for pid in found if b"wrenla.emulator" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--concurrency", "-1"], "--concurrency"),
        (["--concurrency", "0"], "--concurrency"),
        (["--account-concurrency", "0"], "--account-concurrency"),
        (["--port", "99999"], "--port"),
        (["--memory", "1"], "--memory"),
        (
            ["--concurrency", "100", "--account-concurrency", "10"],
            "concurrency=100: none can be had, for 100",
        ),
        (["--function", "a b"], "function = 'a b'"),
    ],
)
def test_wrong_options_are_usage(options: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["emulator", *options])
    assert result.exit_code == 2
    assert said in result.stderr.splitlines()[-1]


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(main, ["emulator", "--no-deploy", "--port", str(port)])
    assert result.exit_code == 1
    assert result.stderr.endswith(f"\nError: port {port} is taken: choose another one (--port)\n")


def test_emulator_command_without_requirements_prints_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "awslambdaric", None)
    result = CliRunner().invoke(main, ["emulator", "--no-deploy"])
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "pip install 'wrenla[emulator]'" in result.stderr
