"""`wrenla sandbox`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from wrenla.cli import main


def _sandbox(*options: str) -> subprocess.Popen[str]:
    script = "import sys; from wrenla.cli import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", script, "sandbox", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "AWS_PROFILE": "real"},
    )


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_what_it_prints_points_to_it(number: signal.Signals, tmp_path: Path) -> None:
    running = _sandbox("--no-deploy", "--isolation", "plain", "--memory", "512")
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


def test_what_cannot_be_had_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "awslambdaric", None)
    result = CliRunner().invoke(main, ["sandbox", "--no-deploy"])
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "pip install 'wrenla[sandbox]'" in result.stderr
