"""The doctor, with the function's answers made up; logs; and the list of matrices."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wrenla as wl
from wrenla.aws.deploy import DeploySpec, deploy
from wrenla.aws.doctor import Check, examine
from wrenla.aws.invoking import invoking
from wrenla.aws.listing import stored_matrices
from wrenla.aws.logs import log_lines
from wrenla.aws.package import Package
from wrenla.aws.refusals import DeployError
from wrenla_handler.stores import open_store

from .conftest import Account

Packaging = Callable[[str], Package]


def pong(**changes: Any) -> dict[str, Any]:
    packages = {
        name: importlib.metadata.version(name) for name in ("wrenla", "numpy", "scipy", "cloudpickle")
    }
    return {
        "version": 1,
        "kind": "pong",
        "python": platform.python_version(),
        "packages": packages,
        "blas": {"architecture": "SkylakeX", "threads": 1, "version": "0.3.30"},
        "memory": 1769,
        **changes,
    }


def answering(answer: Mapping[str, Any]) -> Callable[[str, Mapping[str, Any]], Mapping[str, Any]]:
    def invoke(function: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
        assert event == {"version": 1, "kind": "ping"}
        return answer

    return invoke


def checks(account: Account, invoke: Any = None, **options: Any) -> dict[str, Check]:
    found = examine(account.admin, DeploySpec(**options), invoke or answering(pong()))
    return {check.name: check for check in found}


def test_all_is_well(account: Account, package: Packaging) -> None:
    done = deploy(account.admin)
    account.changes()
    found = checks(account)
    assert {check.state for check in found.values()} == {"ok"}
    assert account.number in found["credentials"].text
    assert found["bucket"].text == f"s3://{done.bucket}/wrenla"
    assert "MB/s" in found["tile throughput"].text
    assert "SkylakeX" in found["BLAS"].text
    assert "1769 MB, 900 s" in found["function"].text
    assert account.changes() == ["PutObject", "DeleteObject"]  # the tile


def test_where_nothing_is_deployed(account: Account) -> None:
    found = checks(account)
    assert {name: check.state for name, check in found.items()} == {
        "credentials": "ok",
        "region": "ok",
        "bucket": "failed",
        "clearing up": "skipped",
        "tile throughput": "skipped",
        "function": "failed",
        "round trip": "skipped",
        "versions": "skipped",
        "BLAS": "skipped",
    }
    assert "run wrenla deploy" in found["bucket"].remedy
    assert "run wrenla deploy" in found["function"].remedy


ANSWERS: list[tuple[dict[str, Any], str, str]] = [
    ({"python": "3.9.1"}, "versions", "python 3.9.1 there"),
    ({"packages": {"numpy": "1.0"}}, "versions", "numpy 1.0 there"),
    ({"packages": {"unheard-of": "1.0"}}, "versions", "unheard-of 1.0 there, none here"),
    ({"blas": {"architecture": "Prescott", "threads": 1}}, "BLAS", "Prescott kernels"),
    ({"kind": "error"}, "round trip", "answers 'error' to a ping"),
]


def test_what_the_function_says(account: Account, package: Packaging) -> None:
    deploy(account.admin)
    for changes, name, text in ANSWERS:
        found = checks(account, answering(pong(**changes)))
        assert found[name].state == "failed"
        assert text in found[name].text
        assert "deploy" in found[name].remedy
    minor = ".".join(platform.python_version().split(".")[:2])
    assert checks(account, answering(pong(python=f"{minor}.99")))["versions"].state == "ok"

    def fail(function: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
        raise DeployError("function wrenla fails: Runtime.ImportModuleError: no numpy: look at wrenla logs")

    found = checks(account, fail)
    assert found["round trip"].state == "failed"
    assert found["round trip"].remedy == "look at wrenla logs"
    assert found["versions"].state == "skipped"


def test_the_rule_that_somebody_removed(account: Account, package: Packaging) -> None:
    done = deploy(account.admin)
    account.admin.client("s3").delete_bucket_lifecycle(Bucket=done.bucket)
    assert checks(account)["clearing up"].state == "failed"


def test_another_bucket_than_the_function_has(account: Account, package: Packaging) -> None:
    other = deploy(account.admin, DeploySpec(function="other", bucket=f"other-{account.number}")).bucket
    deploy(account.admin)
    found = checks(account, bucket=other)
    assert found["function"].state == "failed"
    assert "leave --bucket out" in found["function"].remedy


def test_without_credentials(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    import boto3

    found = list(examine(boto3.Session(region_name="eu-central-1")))
    assert (found[0].name, found[0].state) == ("credentials", "failed")
    assert "--profile" in found[0].remedy
    assert {check.state for check in found[1:]} == {"skipped"}


class _Body:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self) -> bytes:
        return self._data


@pytest.mark.parametrize(
    ("payload", "failed", "message"),
    [
        (
            b'{"errorType": "Runtime.OutOfMemory", "errorMessage": "killed\\nby"}',
            True,
            "OutOfMemory: killed by",
        ),
        (b"oops", False, "no JSON"),
        (b"[1]", False, "no JSON"),
    ],
)
def test_an_invocation_that_fails_says_how(payload: bytes, failed: bool, message: str) -> None:
    class Client:
        def invoke(self, **arguments: Any) -> dict[str, Any]:
            return {"Payload": _Body(payload), **({"FunctionError": "Unhandled"} if failed else {})}

    with pytest.raises(DeployError, match=message):
        invoking(Client())("wrenla", {})


# logs


def test_logs_of_the_last_hour(account: Account, package: Packaging) -> None:
    deploy(account.admin)
    logs = account.admin.client("logs")
    now = int(time.time() * 1000)
    for stream in ("2026/01/01/[$LATEST]aaaa", "2026/01/01/[$LATEST]bbbb"):
        logs.create_log_stream(logGroupName="/aws/lambda/wrenla", logStreamName=stream)
        events = [{"timestamp": now - ago * 1000, "message": f"{ago} s ago\n"} for ago in (7200, 60)]
        logs.put_log_events(logGroupName="/aws/lambda/wrenla", logStreamName=stream, logEvents=events)
    found = list(log_lines(account.admin))
    assert [(line.stream[-4:], line.text) for line in found] == [("aaaa", "60 s ago"), ("bbbb", "60 s ago")]
    assert len(list(log_lines(account.admin, since=3 * 3600))) == 4
    following = log_lines(account.admin, follow=True)
    assert [next(following).text for _ in range(2)] == ["60 s ago", "60 s ago"]
    following.close()


def test_no_logs_without_a_deployment(account: Account) -> None:
    with pytest.raises(
        DeployError, match="no log group /aws/lambda/wrenla in eu-central-1: run wrenla deploy"
    ):
        list(log_lines(account.admin))


# the list


def test_the_matrices_of_a_store(tmp_path: Path) -> None:
    wl.from_array(np.ones((5, 7)), tile=4).save(str(tmp_path / "a"))
    wl.from_array(np.ones(6, dtype=np.float32), tile=4).save(str(tmp_path / "deep/v"))
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/zarr.json").write_text("{}")
    (tmp_path / "runs/r/t/c").mkdir(parents=True)
    (tmp_path / "runs/r/t/zarr.json").write_text("{}")
    store = open_store(tmp_path)
    found = {matrix.name: matrix for matrix in stored_matrices(store)}
    store.close()
    assert list(found) == ["a", "deep/v", "theirs"]
    assert (found["a"].tiles, found["a"].nbytes) == (4, 4 * 4 * 4 * 8)
    assert (found["deep/v"].tiles, found["deep/v"].nbytes) == (2, 2 * 4 * 4)
    assert found["theirs"].layout is None
    store = open_store(tmp_path / "a")
    assert [(matrix.name, matrix.tiles) for matrix in stored_matrices(store)] == [("", 4)]
    store.close()
