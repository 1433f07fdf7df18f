"""`LambdaEmulator`: what it sets, and that it leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, cast

import boto3
import pytest

from tests.processes import alive, open_files
from tests.waiting import until
from wrenla.emulator import LambdaEmulator
from wrenla.emulator.isolation.cgroups import PREFIX, find_groups
from wrenla.emulator.runtime.process import descendants
from wrenla.errors import WrenlaError

from .stand import package


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    path = tmp_path / "package.zip"
    path.write_bytes(package())
    return path


def _folders(pid: int) -> list[Path]:
    """Return the temporary folders and control groups of an emulator."""
    groups = find_groups()
    parents = [Path(tempfile.gettempdir()), *(groups.parents if groups else ())]
    return [found for parent in parents for found in parent.glob(f"{PREFIX}{pid}-*")]


def _gone(pids: list[int], seconds: float = 20) -> bool:
    """Wait until processes have ended; tell whether they have."""
    return until(lambda: not any(map(alive, pids)), seconds)


def test_emulator_block_sets_all_up_and_leaves_nothing(zipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "my-real-account")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "real")
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "https://elsewhere.example")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    before = dict(os.environ)
    files = open_files()
    threads = threading.active_count()
    with LambdaEmulator(
        package=zipped, handler="handlers.echo", concurrency=3, environment={"LEVEL": "1"}
    ) as aws:
        assert "AWS_PROFILE" not in os.environ
        assert "AWS_SESSION_TOKEN" not in os.environ
        assert aws.variables.items() <= os.environ.items()
        assert aws.missing
        client = boto3.client("lambda")
        assert client.meta.endpoint_url == aws.lambda_url
        answer = client.invoke(FunctionName=aws.function, Payload=b'{"n": 1}')
        assert json.loads(answer["Payload"].read()) == {"n": 1}
        limit = client.get_function_concurrency(FunctionName=aws.function)
        assert limit["ReservedConcurrentExecutions"] == 3
        assert boto3.client("s3").head_bucket(Bucket=aws.bucket)
        who = boto3.client("sts").get_caller_identity()
        assert who["Arn"].endswith("user/wrenla-emulator")
        assert aws.counts()["executions"] == 1
        assert "REPORT" in aws.logs()
        aws.faults({"kind": "kill-before", "first": 1})
        assert client.invoke(FunctionName=aws.function, Payload=b"{}")["FunctionError"] == "Unhandled"
        aws.faults()
        assert json.loads(client.invoke(FunctionName=aws.function, Payload=b"1")["Payload"].read()) == 1
        pids = descendants(aws.pid)
        assert len(pids) > 1
        assert _folders(aws.pid)
        client.close()
    assert dict(os.environ) == before
    assert _gone(pids, 0)
    assert _folders(aws.pid) == []
    assert threading.active_count() <= threads
    del client, answer
    assert len(open_files() - files) <= 2  # boto3's own connections, until they are collected


@pytest.mark.slow
def test_a_failure_inside_leaves_nothing_either(zipped: Path) -> None:
    before = dict(os.environ)
    with pytest.raises(ZeroDivisionError), LambdaEmulator(deploy=False) as aws:
        raise ZeroDivisionError
    assert _folders(aws.pid) == []
    assert dict(os.environ) == before
    broken = zipped.with_name("broken.zip")
    broken.write_bytes(b"no zip")
    failing = LambdaEmulator(package=broken, handler="handlers.echo")
    with pytest.raises(Exception, match="Could not unzip"), failing:
        pytest.fail("there is no function")
    assert _gone([failing.pid], 0)
    assert dict(os.environ) == before


def test_impossible_options_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"go together"):
        LambdaEmulator(handler="a.b")
    with pytest.raises(ValueError, match=r"runtime='python2\.7'"):
        LambdaEmulator(runtime="python2.7")
    for options, said in (
        ({"concurrency": -1}, r"concurrency=-1: .* from 1 to 900, for 100 of account_concurrency=1000"),
        ({"concurrency": 0}, "concurrency=0"),
        ({"concurrency": 100, "account_concurrency": 10}, "concurrency=100: none can be had"),
        ({"account_concurrency": 0}, "account_concurrency=0: it takes a whole number 1 or more"),
        ({"account_concurrency": 1.5}, r"account_concurrency=1\.5"),
        ({"port": 99_999}, "port=99999: it takes a whole number from 0 to 65535"),
        ({"memory": 0}, "memory=0: it takes a whole number from 128 to 10240"),
        ({"isolation": "none"}, "isolation='none': it takes 'auto', 'bubblewrap', 'plain'"),
        ({"memory_guard": "dog"}, "memory_guard='dog'"),
    ):
        with pytest.raises(ValueError, match=said):
            LambdaEmulator(**cast("dict[str, Any]", options))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(WrenlaError, match="isolation='bubblewrap' does not work here"):
        LambdaEmulator(isolation="bubblewrap").__enter__()
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    with pytest.raises(WrenlaError, match="needs Linux, and this is Darwin"):
        LambdaEmulator().__enter__()


@pytest.mark.parametrize("module", ["awslambdaric", "moto"])
def test_a_missing_extra_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(WrenlaError, match=r"pip install 'wrenla\[emulator\]'"):
        LambdaEmulator().__enter__()


_PARENT = """
import json, os, sys, threading, boto3
from wrenla.emulator import LambdaEmulator
from wrenla.emulator.runtime.process import descendants

options = dict(package=sys.argv[1], isolation=sys.argv[2], memory_guard=sys.argv[3])
with LambdaEmulator(handler="handlers.sleeps", **options) as aws:
    client = boto3.client("lambda")
    client.invoke(FunctionName="wrenla", Payload=b'{"seconds": 0}')
    call = threading.Thread(
        target=client.invoke, kwargs=dict(FunctionName="wrenla", Payload=b'{"seconds": 50}'), daemon=True
    )
    call.start()
    print(json.dumps([aws.pid, descendants(aws.pid)]), flush=True)
    call.join()
"""


@pytest.mark.parametrize(
    "protection",
    [
        pytest.param(("auto", "auto"), id="best"),
        pytest.param(("plain", "watcher"), id="plain", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(
    "victim",
    [
        pytest.param("parent", marks=pytest.mark.slow),
        pytest.param("emulator", marks=pytest.mark.slow),
        "both",
    ],
)
def test_killed_emulator_leaves_no_processes_or_folders(
    zipped: Path, victim: str, protection: tuple[str, str]
) -> None:
    """The parent: its emulator ends in order. The emulator: its parent sweeps up. Both: the next one does."""
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(zipped), *protection],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert parent.stdout is not None
        emulator, pids = json.loads(parent.stdout.readline())
        assert len(pids) > 1
        if victim == "both":
            parent.send_signal(signal.SIGSTOP)
        if victim != "parent":
            os.kill(emulator, signal.SIGKILL)
        if victim != "emulator":
            parent.kill()
        assert _gone(pids)
        parent.wait(30)
    finally:
        parent.kill()
        parent.communicate()
    if victim == "both":
        assert _folders(emulator)
        with LambdaEmulator(deploy=False):
            pass
    assert _folders(emulator) == []


def test_stopped_emulator_is_killed_and_leaves_nothing(zipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wrenla.emulator.client._END", 0.2)
    with LambdaEmulator(package=zipped, handler="handlers.echo", isolation="plain") as aws:
        boto3.client("lambda").invoke(FunctionName=aws.function, Payload=b"{}")
        pids = descendants(aws.pid)
        assert _folders(aws.pid)
        os.kill(aws.pid, signal.SIGSTOP)
    assert _gone(pids)
    assert _folders(aws.pid) == []


@pytest.mark.slow
def test_ctrl_c_leaves_nothing(zipped: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(zipped), "auto", "auto"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        assert parent.stdout is not None
        emulator, pids = json.loads(parent.stdout.readline())
        os.killpg(parent.pid, signal.SIGINT)
        parent.wait(30)
        assert _gone(pids, 0)
    finally:
        parent.kill()
        parent.communicate()
    assert _folders(emulator) == []
